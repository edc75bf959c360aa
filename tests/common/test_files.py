"""Atomic writes, locks and checksums."""

import errno
import hashlib
import multiprocessing

import numpy as np
import pytest

from graphcnn.common.errors import InputError
from graphcnn.common.files import atomic_write, lock, sha256_of, update_digest
from graphcnn.storage.run import OWN_FILES


def test_a_file_is_replaced_when_the_block_ends(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"old")
    with atomic_write(str(path)) as file:
        file.write(b"new")
        assert path.read_bytes() == b"old"
        assert [OWN_FILES.fullmatch(each.name) is not None for each in tmp_path.glob(".*")] == [True]
    assert path.read_bytes() == b"new"
    assert [each.name for each in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("wrong")])
def test_a_failed_block_leaves_the_old_content(tmp_path, error):
    path = tmp_path / "a.txt"
    path.write_bytes(b"old")
    with pytest.raises(type(error)), atomic_write(path) as file:
        file.write(b"new")
        raise error
    assert path.read_bytes() == b"old"
    assert [each.name for each in tmp_path.iterdir()] == ["a.txt"]


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


def test_checksums(tmp_path):
    path, content = tmp_path / "a.bin", bytes(range(256)) * 10_000
    path.write_bytes(content)
    assert sha256_of(path) == hashlib.sha256(content).hexdigest()
    digest = hashlib.md5(b"first")
    update_digest(digest, path)
    assert digest.hexdigest() == hashlib.md5(b"first" + content).hexdigest()
