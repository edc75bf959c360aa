"""The folder and the zip file of a submission: their files, and their safe replacement."""

from __future__ import annotations

import os
import shutil
import stat
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from graphcnn.common.errors import InputError
from graphcnn.common.files import file_type, is_litter, open_regular, sync
from graphcnn.common.replace import atomic_write, foreign_entry, new_folder, replace_folder

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
    "test_files.csv",  # only if the test images are image files
    "x_test.npy",  # only if the test images are not from a .npy file
}
SIGNATURE = {"grader.py", "model.ckpt.meta", "result.npy"}  # files that every submission has


def archive_path(out: Path) -> Path:
    """Return the path of the zip file beside a submission's folder."""
    return out.with_name(f"{out.name}.zip")


def previous_archive_path(out: Path) -> Path:
    """Return the path beside a submission's folder for the zip file of the submission before it."""
    return out.with_name(f"{out.name}.previous.zip")


def check_replaceable(out: Path) -> None:
    """Refuse an existing folder or zip file that is not an older submission, so that no other files are deleted.

    Raises:
        InputError: the folder or one of the two zip files is a link or has another type, or it contains other files.
    """
    if not out.name:
        raise InputError(f"--out={out}: this is not a folder that can be replaced; name another folder")
    archives = (archive_path(out), previous_archive_path(out))
    types = [(out, stat.S_ISDIR, "a folder"), *((path, stat.S_ISREG, "a regular file") for path in archives)]
    for path, is_type, type_name in types:
        if os.path.lexists(path) and not is_type(path.lstat().st_mode):
            actual = file_type(path.lstat().st_mode)
            raise InputError(f"--out={out}: {path} is {actual}, expected {type_name}; name another folder")
    for path, entries in [
        (out, _folder_entries(out)),
        *((path, _archive_entries(path, out.name)) for path in archives),
    ]:
        foreign = sorted(entries - FILES) or (sorted(entries) if not entries >= SIGNATURE else [])
        if foreign:
            raise InputError(
                f"--out={out}: {path} contains {foreign[0]} and is not an older submission; name another folder"
            )


def _folder_entries(folder: Path) -> set[str]:
    """Return the names of the files in a folder; if it has an entry that no submission has, return only this one."""
    if not folder.exists():
        return set()
    foreign = foreign_entry(folder, FILES)
    return {foreign} if foreign else {path.name for path in folder.iterdir() if not is_litter(path.name)}


def _archive_entries(archive: Path, prefix: str) -> set[str]:
    """Return the names of the files in a zip file, without the folder `prefix` before them."""
    if not archive.exists():
        return set()
    try:
        with open_regular(archive, follow=False) as file, zipfile.ZipFile(file) as packed:
            names = [name for name in packed.namelist() if not any(map(is_litter, name.split("/")))]
            return {name.removeprefix(f"{prefix}/") for name in names}
    except zipfile.BadZipFile:
        return {"something else"}


@contextmanager
def replace_submission(out: Path) -> Iterator[Path]:
    """Yield an empty folder; if the block ends without an error, zip this folder and replace an older submission.

    After an error in the block, the older submission is unchanged. Otherwise the older zip file is copied to
    `previous_archive_path`, the folder is replaced in one step, and then the zip file is replaced. If the process is
    killed between the last two steps, the folder is new and the zip file is old.
    """
    with new_folder(out) as new:
        yield new
        with atomic_write(archive_path(out)) as file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
                for path in sorted(new.iterdir()):
                    sync(path)
                    packed.write(path, f"{out.name}/{path.name}")
            file.flush()
            os.fsync(file.fileno())  # a full disk must be noticed before the folder is replaced
            check_replaceable(out)
            _keep_archive(out)
            replace_folder(new, out)


def _keep_archive(out: Path) -> None:
    """Copy the zip file of an older submission to `previous_archive_path`."""
    if archive_path(out).exists():
        with open_regular(archive_path(out), follow=False) as old, atomic_write(previous_archive_path(out)) as copy:
            shutil.copyfileobj(old, copy)
