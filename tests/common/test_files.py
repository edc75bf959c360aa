"""Reading of regular files, and checksums."""

import hashlib
from pathlib import Path

import pytest
from irregular_files import irregular

from graphcnn.common.errors import UnsafeFile
from graphcnn.common.files import (
    open_append,
    open_regular,
    read_bytes,
    read_json,
    sha256_of,
    update_digest,
)


def test_checksums(tmp_path):
    path, content = tmp_path / "a.bin", bytes(range(256)) * 10_000
    path.write_bytes(content)
    assert sha256_of(path) == hashlib.sha256(content).hexdigest()
    digest = hashlib.md5(b"first")
    update_digest(digest, path)
    assert digest.hexdigest() == hashlib.md5(b"first" + content).hexdigest()


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
