"""Reading of regular files, locks and checksums."""

import fcntl
import hashlib
import multiprocessing
import os
from pathlib import Path

import pytest

from graphcnn.common.errors import InputError, UnsafeFile
from graphcnn.common.files import (
    is_locked,
    lock,
    open_append,
    open_regular,
    read_bytes,
    read_json,
    sha256_of,
    update_digest,
)


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
        monkeypatch.setattr("graphcnn.common.files.time.sleep", lambda seconds: asked.close())
        with lock(tmp_path / ".lock", "busy"):
            assert is_locked(tmp_path / ".lock")


@pytest.mark.parametrize("content", ["FIFO", "device", "link"])
def test_only_a_regular_file_is_asked_for_its_lock(tmp_path, content):
    irregular(tmp_path / ".lock", content)
    with pytest.raises(UnsafeFile):
        is_locked(tmp_path / ".lock")


def test_checksums(tmp_path):
    path, content = tmp_path / "a.bin", bytes(range(256)) * 10_000
    path.write_bytes(content)
    assert sha256_of(path) == hashlib.sha256(content).hexdigest()
    digest = hashlib.md5(b"first")
    update_digest(digest, path)
    assert digest.hexdigest() == hashlib.md5(b"first" + content).hexdigest()


def test_a_lock_keeps_the_content_of_its_file(tmp_path):
    (tmp_path / ".lock").write_text("a diary")
    with lock(tmp_path / ".lock"):
        pass
    assert (tmp_path / ".lock").read_text() == "a diary"


def test_a_lock_does_not_follow_a_link(tmp_path):
    (tmp_path / ".lock").symlink_to(tmp_path / "target")
    with pytest.raises(UnsafeFile, match="is a symbolic link"), lock(tmp_path / ".lock"):
        raise AssertionError("the block must not run")
    assert not (tmp_path / "target").exists()


def test_an_error_in_a_locked_block_is_raised_unchanged(tmp_path):
    with pytest.raises(BlockingIOError), lock(tmp_path / ".lock", "busy"):
        raise BlockingIOError


def irregular(path, content):
    """Make a FIFO, a link to a device, a folder or a link to a file, as `content` says."""
    if content == "FIFO":
        os.mkfifo(path)
    elif content == "device":
        path.symlink_to("/dev/zero")
    elif content == "folder":
        path.mkdir()
    else:
        path.symlink_to(__file__)


@pytest.mark.parametrize("content", ["FIFO", "device"])
@pytest.mark.parametrize("read", [open_regular, sha256_of, read_json, lambda path: read_bytes(path, 10)])
def test_only_regular_files_are_read(tmp_path, content, read):
    irregular(tmp_path / "x", content)
    with pytest.raises(UnsafeFile, match=f"x: is a {content}, expected a regular file"):
        read(tmp_path / "x")


def test_a_folder_is_an_os_error(tmp_path):
    with pytest.raises(IsADirectoryError):
        read_bytes(tmp_path, 10)


def test_links_are_followed_only_with_follow(tmp_path):
    irregular(tmp_path / "x", "link")
    assert read_bytes(tmp_path / "x", 1 << 20).startswith(b'"""')
    with pytest.raises(UnsafeFile, match="x: is a symbolic link"):
        read_bytes(tmp_path / "x", 1 << 20, follow=False)


def test_a_file_is_created_and_appended_to_and_a_link_is_refused(tmp_path):
    for word in (b"one", b"two"):
        with open_append(tmp_path / "a.log") as file:
            file.write(word)
    assert (tmp_path / "a.log").read_bytes() == b"onetwo"
    (tmp_path / "b.log").symlink_to(tmp_path / "a.log")
    with pytest.raises(UnsafeFile, match="is a symbolic link"):
        open_append(tmp_path / "b.log")


def test_a_file_is_read_up_to_a_limit(tmp_path):
    (tmp_path / "x").write_bytes(b"12345")
    assert read_bytes(tmp_path / "x", 5) == b"12345"
    with pytest.raises(UnsafeFile, match="x: is longer than 4 bytes"):
        read_bytes(tmp_path / "x", 4)


def test_an_error_while_a_file_is_read_names_the_file():
    """Reading the first page of the memory of a process fails with EIO."""
    path = Path("/proc/self/mem")
    if not path.exists():
        pytest.skip("this system has no file that can be opened and not read")
    for read in (lambda: read_bytes(path, 10), lambda: sha256_of(path)):
        with pytest.raises(OSError) as error:
            read()
        assert error.value.filename == str(path)
