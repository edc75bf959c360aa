"""The folder and the zip file of a submission: their files, and their safe replacement."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from graphcnn.common.errors import InputError
from graphcnn.common.replace import atomic_write

FILES = {
    "README.md",
    "checkpoint",
    "config.json",
    "grader.py",
    "history.csv",
    *(f"history_{n}.csv" for n in range(1, 100)),  # one for each member of an ensemble
    "model.ckpt.data-00000-of-00001",
    "model.ckpt.index",
    "model.ckpt.meta",
    "result.npy",
    "x_test.npy",  # only if the test images are not from a .npy file
}
SIGNATURE = {"grader.py", "model.ckpt.meta", "result.npy"}  # files that every submission has


def archive_path(out: Path) -> Path:
    """Return the path of the zip file beside a submission's folder."""
    return out.with_name(f"{out.name}.zip")


def check_replaceable(out: Path) -> None:
    """Refuse an existing folder or zip file that is not an older submission, so that no other files are deleted."""
    if not out.name or out.is_symlink() or (out.exists() and not out.is_dir()):
        raise InputError(f"--out={out}: this is not a folder that can be replaced; name another folder")
    archive = archive_path(out)
    contents = {out: {path.name for path in out.iterdir()} if out.exists() else set()}
    if archive.exists():
        try:
            with zipfile.ZipFile(archive) as packed:
                contents[archive] = {name.removeprefix(f"{out.name}/") for name in packed.namelist()}
        except (OSError, zipfile.BadZipFile):
            contents[archive] = {"something else"}
    for path, names in contents.items():
        foreign = sorted(names - FILES) or (sorted(names) if names and not names >= SIGNATURE else [])
        if foreign:
            raise InputError(
                f"--out={out}: {path} contains {foreign[0]} and is not an older submission; name another folder"
            )


@contextmanager
def replace_submission(out: Path) -> Iterator[Path]:
    """Yield an empty folder; if the block ends without an error, zip this folder and replace an older submission.

    After an error in the block, the older submission is unchanged.
    """
    new, old = out.with_name(f".{out.name}.new"), out.with_name(f".{out.name}.old")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    try:
        yield new
        with atomic_write(archive_path(out)) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
            for path in sorted(new.iterdir()):
                packed.write(path, f"{out.name}/{path.name}")
        if out.exists():
            shutil.rmtree(old, ignore_errors=True)
            out.rename(old)
        new.rename(out)
    finally:
        shutil.rmtree(new, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)
