"""The submissions in a folder, as course systems export them: their names and their paths."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from graphcnn.common.errors import InputError
from graphcnn.common.files import is_litter
from graphcnn.grading.contents import MOST_ENTRIES
from graphcnn.submission.files import FILES

DEPTH = 5  # folders between a student's folder and the submission
ARCHIVES = (".zip", ".7z", ".rar", ".tar", ".gz", ".tgz", ".bz2", ".xz")  # a student may submit them; only .zip is read
OWN = FILES - {"README.md"}  # a folder with one of these files is a submission
NAME_LETTERS = 80  # of the name of a folder in --out
UNUSUAL = re.compile(r"[^\w .@+=,-]+")  # characters that the name of a folder in --out does not have


class Found(NamedTuple):
    """A submission that was found.

    Attributes:
        name: name of the student: the name of the folder or the file, never one from its content.
        path: a folder or a file.
        folder: name of the folder for its results.
        several: number of submissions with this name.
    """

    name: str
    path: Path
    folder: str
    several: int


def find_submissions(paths: list[Path], out: Path) -> list[Found]:
    """Return the submissions in folders, sorted by name.

    A zip file is a submission, and so is a folder that directly holds a file of a submission. Any other folder of
    `paths` holds one entry for each student: a zip file, or a folder with the submission somewhere in it. A student's
    folder without one is listed too, and refused later.

    Args:
        paths: zip files, submissions, or folders of submissions.
        out: folder of the results, which is skipped.

    Raises:
        InputError: a path does not exist, or there is no submission.
    """
    pairs: list[tuple[str, Path]] = []
    for path in paths:
        if not os.path.lexists(path):
            raise InputError(f"{path}: no such file or folder; name a zip file or a folder of submissions")
        if path.is_dir() and not _is_submission(path):
            for entry in _entries(path):
                pairs += _of_student(entry) if os.path.realpath(entry) != os.path.realpath(out) else []
        else:
            pairs.append((_name_of(path), path))
    if not pairs:
        raise InputError(f"{paths[0]}: has no zip file and no folder, expected submissions")
    counts = Counter(name for name, _ in pairs)
    folders: set[str] = set()
    found = []
    for name, path in sorted(pairs, key=lambda pair: (pair[0].casefold(), str(pair[1]))):
        folder = _folder_name(name, folders)
        folders.add(folder.casefold())
        found.append(Found(name, path, folder, counts[name]))
    return found


def only_submission(path: Path) -> Path:
    """Return the one submission in a student's folder, for a course system that grades one; `path` if it is one itself.

    Raises:
        InputError: the folder holds several submissions.
    """
    if not path.is_dir() or _is_submission(path):
        return path
    paths = _search(path, DEPTH)
    if len(paths) > 1:
        raise InputError(f"found several submissions, {paths[0].name} and {paths[1].name}; submit one")
    return paths[0] if paths else path


def _of_student(entry: Path) -> list[tuple[str, Path]]:
    """Return (name, path) of each submission of an entry of the class's folder; [] for a file that is none."""
    mode = entry.lstat().st_mode
    if not stat.S_ISDIR(mode):
        is_archive = entry.suffix.lower() in ARCHIVES
        return [(_name_of(entry), entry)] if is_archive or not stat.S_ISREG(mode) else []
    paths = [entry] if _is_submission(entry) else _search(entry, DEPTH)
    return [(entry.name, path) for path in paths or [entry]]


def _search(folder: Path, depth: int) -> list[Path]:
    """Return the submissions below a folder, at most `depth` folders deep. Links are not followed."""
    found = []
    for entry in _entries(folder):
        mode = entry.lstat().st_mode
        if stat.S_ISDIR(mode):
            if _is_submission(entry):
                found.append(entry)
            elif depth > 0:
                found += _search(entry, depth - 1)
        elif entry.suffix.lower() in ARCHIVES:
            found.append(entry)
    return found


def _entries(folder: Path) -> list[Path]:
    """Return the entries of a folder, sorted, without those that operating systems leave."""
    with os.scandir(folder) as scanned:
        names = sorted(entry.name for entry in islice(scanned, MOST_ENTRIES))
    return [folder / name for name in names if not is_litter(name)]


def _is_submission(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink() and any(os.path.lexists(path / name) for name in OWN)


def _name_of(path: Path) -> str:
    """Return the name of a student from a path: a folder's name, or a file's name without the ending of an archive."""
    resolved = path if path.name not in ("", ".", "..") else path.resolve()
    return resolved.stem if resolved.suffix.lower() in ARCHIVES and not path.is_dir() else resolved.name


def _folder_name(name: str, used: set[str]) -> str:
    """Return a name of a folder that any file system takes; `used`: names that are taken, in lower case."""
    plain = UNUSUAL.sub("_", name)[:NAME_LETTERS].strip(" ._")
    digest = hashlib.sha256(name.encode(errors="surrogateescape")).hexdigest()[:8]
    folder = name if plain == name else f"{plain or 'student'}~{digest}"
    first, n = folder, 1
    while folder.casefold() in used:
        n += 1
        folder = f"{first}~{n}"
    return folder
