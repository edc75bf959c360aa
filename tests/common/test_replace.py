"""Atomic replacement of files and folders."""

import errno
import fcntl
import os

import numpy as np
import pytest

from graphcnn.common import replace
from graphcnn.common.errors import InputError
from graphcnn.common.replace import (
    TEMPORARY,
    atomic_write,
    delete_folder,
    new_folder,
    recover_folder,
    remove_deleted,
    remove_leftovers,
    replace_folder,
)
from graphcnn.storage.run import OWN_FILES

LEFTOVER = ".a.txt.0123456789abcdef.new"


def test_a_file_is_replaced_when_the_block_ends(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"old")
    with atomic_write(str(path)) as file:
        file.write(b"new")
        assert path.read_bytes() == b"old"
        assert [OWN_FILES.fullmatch(path.name) is not None for path in tmp_path.glob(".*")] == [True]
    assert path.read_bytes() == b"new"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("wrong")])
def test_a_failed_block_leaves_the_old_content(tmp_path, error):
    path = tmp_path / "a.txt"
    path.write_bytes(b"old")
    with pytest.raises(type(error)), atomic_write(path) as file:
        file.write(b"new")
        raise error
    assert path.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_a_full_disk_is_an_input_error_that_names_the_file(tmp_path):
    path = tmp_path / "a.txt"
    with pytest.raises(InputError, match=r"a\.txt: cannot be written \(No space left on device\)"), atomic_write(path):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_write(tmp_path / "none" / "a.txt"):
        raise AssertionError("the block must not run")


def test_the_temporary_file_can_be_memory_mapped(tmp_path):
    with atomic_write(tmp_path / "a.bin") as file:
        file.truncate(8)
        np.memmap(file, np.float32, "r+", 0, (2,))[:] = 1, 2
    assert np.fromfile(tmp_path / "a.bin", np.float32).tolist() == [1, 2]


def test_the_target_of_a_link_stays_as_it_is(tmp_path):
    (tmp_path / "diary").write_text("mine")
    for name in ("a.txt", ".a.txt.new", LEFTOVER):
        (tmp_path / name).symlink_to(tmp_path / "diary")
    with atomic_write(tmp_path / "a.txt") as file:
        file.write(b"new")
    assert (tmp_path / "diary").read_text() == "mine"
    assert (tmp_path / "a.txt").read_bytes() == b"new" and not (tmp_path / "a.txt").is_symlink()


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_leftover_of_a_killed_process_is_deleted(tmp_path, kind):
    path = tmp_path / LEFTOVER
    if kind == "folder":
        path.mkdir()
        path /= "part"
    path.write_text("half")
    remove_leftovers(tmp_path / "b.txt")
    assert path.exists(), "it belongs to another target"
    remove_leftovers(tmp_path / "a.txt")
    assert list(tmp_path.iterdir()) == []


def test_files_of_users_and_of_running_processes_stay(tmp_path):
    names = [".a.txt.new", ".a.txt.old", ".a.txt.backup.new", LEFTOVER, LEFTOVER.replace("0", "1")]
    for name in names:
        (tmp_path / name).write_text("mine")
    (tmp_path / names[-1]).write_text("")  # a process has just created it
    with (tmp_path / LEFTOVER).open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        remove_leftovers(tmp_path / "a.txt")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)


def folder(path, content):
    path.mkdir()
    (path / "file").write_text(content)
    return path


@pytest.mark.parametrize("exchange", [True, False])
def test_a_folder_is_replaced(tmp_path, exchange, monkeypatch):
    if not exchange:
        monkeypatch.setattr(replace, "_exchange_function", lambda: None)
    folder(tmp_path / "a", "old")
    for content in ("new", "newer"):
        with new_folder(tmp_path / "a") as new:
            (new / "file").write_text(content)
            replace_folder(new, tmp_path / "a")
        assert (tmp_path / "a/file").read_text() == content
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("number", [*replace.NO_EXCHANGE, errno.EIO])
def test_a_file_system_without_exchange_gets_two_renames(tmp_path, number, monkeypatch):
    def fails(one, other):
        replace.ctypes.set_errno(number)
        return -1

    monkeypatch.setattr(replace, "_exchange_function", lambda: fails)
    folder(tmp_path / "a", "old")
    new = folder(tmp_path / "b", "new")
    if number == errno.EIO:
        with pytest.raises(OSError, match=os.strerror(errno.EIO)):
            replace_folder(new, tmp_path / "a")
        assert (tmp_path / "a/file").read_text() == "old"
    else:
        replace_folder(new, tmp_path / "a")
        assert (tmp_path / "a/file").read_text() == "new"


def test_an_old_folder_is_recovered(tmp_path):
    folder(tmp_path / ".a.0123456789abcdef.old", "old")
    recover_folder(tmp_path / "a")
    assert (tmp_path / "a/file").read_text() == "old"


def test_a_folder_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(ZeroDivisionError), new_folder(tmp_path / "a") as new:
        (new / "file").write_text("half")
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


DELETED = ".a.0123456789abcdef.deleted"


def test_a_folder_is_deleted(tmp_path):
    (folder(tmp_path / "a", "old") / "link").symlink_to(folder(tmp_path / "b", "mine"))
    delete_folder(tmp_path / "a")
    assert [path.name for path in tmp_path.iterdir()] == ["b"]
    assert (tmp_path / "b/file").read_text() == "mine"


def test_a_deletion_that_fails_leaves_no_folder_of_the_name_and_is_finished_later(tmp_path, monkeypatch):
    folder(tmp_path / "a", "old")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(replace.shutil, "rmtree", lambda path: (_ for _ in ()).throw(KeyboardInterrupt))
        delete_folder(tmp_path / "a")
    (left,) = tmp_path.iterdir()
    assert TEMPORARY.fullmatch(left.name) and left.suffix == ".deleted"
    remove_deleted(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_only_the_rest_of_deleted_folders_is_deleted(tmp_path):
    kept = ["a", ".a.deleted", "a.0123456789abcdef.deleted", LEFTOVER]
    for name in [*kept, DELETED]:
        folder(tmp_path / name, "mine")
    (tmp_path / DELETED.replace("0", "1")).symlink_to("a")
    (tmp_path / DELETED.replace("0", "2")).write_text("mine")
    with replace._locked(folder(tmp_path / DELETED.replace("0", "3"), "another process deletes it")):
        remove_deleted(tmp_path)
    kept += [DELETED.replace("0", digit) for digit in "123"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(kept)
    assert (tmp_path / "a/file").exists()
