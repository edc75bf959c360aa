"""Locks between processes."""

import fcntl
import importlib.util
import multiprocessing
import os
import sys
from types import SimpleNamespace

import pytest
from irregular_files import irregular

from graphcnn.common import locks
from graphcnn.common.errors import FileLocked, InputError, UnsafeFile
from graphcnn.common.locks import is_locked, lock


def _try(path, results):
    try:
        with lock(path, "busy: wait for it"):
            results.put("held")
    except InputError as error:
        results.put(str(error))


def test_a_lock_keeps_another_process_out(tmp_path):
    path, context = tmp_path / "folder" / ".lock", multiprocessing.get_context("spawn")
    results = context.Queue()

    def another():
        process = context.Process(target=_try, args=(path, results))
        process.start()
        process.join()
        return results.get()

    with lock(path):
        assert another() == "busy: wait for it"
    assert another() == "held"


def test_the_question_for_a_lock_changes_nothing(tmp_path):
    path = tmp_path / ".lock"
    assert not is_locked(path) and not path.exists()
    with lock(path):
        assert is_locked(path)
    assert not is_locked(path)


def test_a_lock_waits_while_another_process_asks_for_it(tmp_path, monkeypatch):
    with (tmp_path / ".lock").open("w") as asked:
        fcntl.flock(asked, fcntl.LOCK_SH)
        monkeypatch.setattr("graphcnn.common.locks.time.sleep", lambda seconds: asked.close())
        with lock(tmp_path / ".lock", "busy"):
            assert is_locked(tmp_path / ".lock")


@pytest.mark.parametrize("content", ["FIFO", "device", "link"])
def test_only_a_regular_file_is_asked_for_its_lock(tmp_path, content):
    irregular(tmp_path / ".lock", content)
    with pytest.raises(UnsafeFile):
        is_locked(tmp_path / ".lock")


def test_a_lock_does_not_follow_a_link(tmp_path):
    (tmp_path / ".lock").symlink_to(tmp_path / "target")
    with pytest.raises(UnsafeFile, match="is a symbolic link"), lock(tmp_path / ".lock"):
        raise AssertionError("the block must not run")
    assert not (tmp_path / "target").exists()


def test_an_error_in_a_locked_block_is_raised_unchanged(tmp_path):
    with pytest.raises(BlockingIOError), lock(tmp_path / ".lock", "busy"):
        raise BlockingIOError


def test_a_lock_keeps_the_content_of_its_file(tmp_path):
    (tmp_path / ".lock").write_text("a diary")
    with lock(tmp_path / ".lock"):
        pass
    assert (tmp_path / ".lock").read_text() == "a diary"


@pytest.fixture
def on_windows(monkeypatch):
    """Return the module as Windows imports it; msvcrt locks with flock and checks the offset of the locked byte."""

    def locking(descriptor, mode, length):
        assert (mode, length, os.lseek(descriptor, 0, os.SEEK_CUR)) == (2, 1, module.BYTE)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PermissionError from None

    monkeypatch.setitem(sys.modules, "msvcrt", SimpleNamespace(LK_NBLCK=2, locking=locking))
    spec = importlib.util.spec_from_file_location("locks_on_windows", locks.__file__)
    module = importlib.util.module_from_spec(spec)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "platform", "win32")
        spec.loader.exec_module(module)
    return module


def test_a_lock_on_windows(on_windows, tmp_path, monkeypatch):
    path = tmp_path / ".lock"
    path.write_bytes(b"content")
    with on_windows.lock(path):
        assert on_windows.is_locked(path)
        with pytest.raises(FileLocked, match="busy"), on_windows.lock(path, "busy"):
            raise AssertionError("the block must not run")
    assert not on_windows.is_locked(path)
    assert path.read_bytes() == b"content"
    with path.open("rb") as holder, path.open("rb") as file:
        assert on_windows.try_acquire(holder.fileno())
        monkeypatch.setattr(on_windows.time, "sleep", lambda seconds: holder.close())
        on_windows.acquire(file.fileno())  # waits until the holder has closed its file
        assert file.read() == b"content"
