"""CIFAR-10 from a small archive of the same format, in a folder or on a server in this process."""

import hashlib
import tarfile
import threading

import numpy as np
import pytest
from cifar10_files import ARCHIVE, NAMES, ROWS, batch, make_known, members, packed
from serving import Server

from graphcnn.common.errors import DownloadFailed, InputError
from graphcnn.data import cifar10, sources
from graphcnn.data.fingerprint import content_of


@pytest.fixture
def known(monkeypatch, tmp_path):
    """A function that expects `content` as the archive, and returns the path at which to write it."""
    return lambda content: make_known(monkeypatch, tmp_path, content)


def test_images_labels_and_names(known, tmp_path):
    content = packed(members())
    known(content).write_bytes(content)
    dataset = sources.load("cifar10", options=sources.DataOptions(data_cache=str(tmp_path)))
    for n in range(5):
        images, labels, _ = batch(n + 1)
        assert np.array_equal(dataset.x_train[n * ROWS : (n + 1) * ROWS], images)
        assert np.array_equal(dataset.y_train[n * ROWS : (n + 1) * ROWS], labels)
    assert dataset.x_train.flags.c_contiguous
    assert dataset.y_train.dtype == np.int32
    assert dataset.class_names == tuple(NAMES)
    assert (dataset.dev_split, dataset.pixel_max, dataset.x_test, dataset.y_test) == ("first", 255, None, None)
    whole = sources.load("cifar10", True, sources.DataOptions(data_cache=str(tmp_path)))
    assert np.array_equal(whole.x_test, batch(6)[0])
    assert np.array_equal(whole.y_test, batch(6)[1])
    assert whole.fingerprint == dataset.fingerprint
    assert content_of(dataset.fingerprint) == hashlib.sha256(content).hexdigest()


def test_the_test_batch_is_not_read_unless_asked_for(known, tmp_path):
    files = members()
    files["cifar-10-batches-bin/test_batch.bin"] = b"short"
    content = packed(files)
    known(content).write_bytes(content)
    assert len(cifar10.load(False, tmp_path).x_train) == 5 * ROWS
    with pytest.raises(InputError, match=r"test_batch.bin: 5 bytes, expected"):
        cifar10.load(True, tmp_path)


def test_the_expected_archive_is_the_official_one():
    assert cifar10.ARCHIVE_SIZE == 170_052_171
    assert cifar10.SHA256 == "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
    assert cifar10.BATCH_BYTES == 30_730_000
    assert f"https://www.cs.toronto.edu/~kriz/{ARCHIVE}" == cifar10.URL


FIRST = "cifar-10-batches-bin/data_batch_1.bin"


def without_first(kind=None, linkname="", **changes):
    """Return an archive in which data_batch_1.bin is another kind of member, or has other bytes, or is missing."""
    files = {name: content for name, content in members().items() if name != FIRST}
    others = []
    if kind:
        others = [tarfile.TarInfo(FIRST)]
        others[0].type, others[0].linkname = kind, linkname
    return packed(files | changes.get("files", {}), others)


def labelled(label):
    return bytes([label]) + batch(1)[2][1:]


BAD = {  # name: (the archive, words of the message)
    "a symbolic link": (without_first(tarfile.SYMTYPE, "/etc/passwd"), "is a link or a device"),
    "a hard link": (without_first(tarfile.LNKTYPE, "cifar-10-batches-bin/data_batch_2.bin"), "is a link or a device"),
    "a device": (without_first(tarfile.CHRTYPE), "is a link or a device"),
    "a folder": (without_first(tarfile.DIRTYPE), "is a link or a device"),
    "missing": (without_first(), "cifar-10-batches-bin/data_batch_1.bin is missing"),
    "elsewhere": (without_first(files={f"../{FIRST}": batch(1)[2]}), "is missing"),
    "absolute": (without_first(files={f"/{FIRST}": batch(1)[2]}), "is missing"),
    "too short": (without_first(files={FIRST: batch(1)[2][:-1]}), "61459 bytes, expected 61460"),
    "too long": (without_first(files={FIRST: batch(1)[2] + b"0"}), "61461 bytes, expected at most 61460"),
    "a label of 10": (without_first(files={FIRST: labelled(10)}), "holds label 10, expected 0 to 9"),
    "nine names": (packed(members() | {cifar10.NAMES: b"\n".join(map(str.encode, NAMES[1:]))}), "9 names, expected 10"),
    "truncated": (packed(members())[:-5000], "truncated or damaged"),
    "no archive": (b"hello", "truncated or damaged"),
    "CIFAR-10's Python version": (packed({"cifar-10-batches-py/data_batch_1": b"\x80\x02"}), "is missing"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_archives(case, known, tmp_path):
    """The archive is refused even if its checksum is right."""
    content, words = BAD[case]
    known(content).write_bytes(content)
    with pytest.raises(InputError, match=words) as caught:
        cifar10.load(False, tmp_path)
    assert "\n" not in str(caught.value)
    assert {path.name for path in tmp_path.iterdir()} == {ARCHIVE}


def test_an_archive_with_another_checksum_is_refused_unopened(known, tmp_path, monkeypatch):
    content = packed(members())
    path = known(content)
    monkeypatch.setattr(tarfile, "open", None)
    for wrong in (content[:-1], content[:-1] + b"0", b""):
        path.write_bytes(wrong)
        with pytest.raises(InputError, match=rf"{ARCHIVE}: is not the file of .* delete it"):
            cifar10.load(False, tmp_path)
        assert path.read_bytes() == wrong


@pytest.fixture
def serve(monkeypatch):
    """Serve bytes as the archive: serve(content, manner="") -> Server."""
    servers = []

    def start(content, manner=""):
        server = Server(content, manner)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        servers.append(server)
        monkeypatch.setattr(cifar10, "URL", f"http://127.0.0.1:{server.server_port}/{ARCHIVE}")
        return server

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def cached_files(tmp_path):
    """Return the names of the files in the cache, without its lock."""
    return {path.name for path in tmp_path.iterdir() if not path.name.endswith(".lock")}


def test_downloaded_once(known, serve, tmp_path):
    content = packed(members())
    known(content)
    server = serve(content)
    for _ in range(2):
        assert len(cifar10.load(False, tmp_path / "new").x_train) == 5 * ROWS
    assert server.asked == [None]
    assert cached_files(tmp_path / "new") == {ARCHIVE}


@pytest.mark.parametrize(
    ("manner", "have", "asked"),
    [
        ("", 1000, ["bytes=1000-"]),
        ("ignores ranges", 1000, ["bytes=1000-"]),
        ("other offset", 1000, ["bytes=1000-", None]),
        ("has less", 1000, ["bytes=1000-", None]),
        ("", 10**7, [None]),  # more than there is
        ("", 0, [None]),
    ],
)
def test_an_interrupted_download_resumes(manner, have, asked, known, serve, tmp_path):
    content = packed(members())
    path = known(content)
    kept = content[:have] if have <= len(content) else bytes(have)
    path.with_name(f"{ARCHIVE}.part").write_bytes(kept)
    server = serve(content, manner)
    assert len(cifar10.load(False, tmp_path).x_train) == 5 * ROWS
    assert server.asked == asked
    assert path.read_bytes() == content
    assert cached_files(tmp_path) == {ARCHIVE}


def test_a_complete_part_file_is_not_downloaded_again(known, tmp_path):
    content = packed(members())
    known(content).with_name(f"{ARCHIVE}.part").write_bytes(content)
    assert len(cifar10.load(False, tmp_path).x_train) == 5 * ROWS


def test_a_download_does_not_write_behind_a_link(known, serve, tmp_path):
    content = packed(members())
    path = known(content)
    (tmp_path / "mine").write_bytes(content[:9])
    path.with_name(f"{ARCHIVE}.part").symlink_to(tmp_path / "mine")
    serve(content, "")
    assert len(cifar10.load(False, tmp_path).x_train) == 5 * ROWS
    assert (tmp_path / "mine").read_bytes() == content[:9]
    assert not path.is_symlink()
    assert path.read_bytes() == content


def test_a_server_that_closes_the_connection(known, serve, tmp_path):
    content = packed(members())
    path = known(content)
    server = serve(content, "hangs up")
    with pytest.raises(InputError, match=r"run the command again to continue"):
        cifar10.load(False, tmp_path)
    assert cached_files(tmp_path) == {f"{ARCHIVE}.part"}
    have = (tmp_path / f"{ARCHIVE}.part").stat().st_size
    assert 0 < have <= len(content) // 2
    server.manner = ""
    cifar10.load(False, tmp_path)
    assert server.asked[1] == f"bytes={have}-"
    assert path.read_bytes() == content


@pytest.mark.parametrize("wrong", ["other bytes", "longer"])
def test_wrong_bytes_are_not_kept(wrong, known, serve, tmp_path):
    content = packed(members())
    known(content)
    serve(content[:-9] + bytes(9) if wrong == "other bytes" else b"0" + content)
    with pytest.raises(InputError, match="not the known file") as caught:
        cifar10.load(False, tmp_path)
    assert str(tmp_path / ARCHIVE) in str(caught.value)
    assert cached_files(tmp_path) == set()


def test_no_network_says_where_to_put_the_file(known, serve, tmp_path):
    known(packed(members()))
    for refuses in (False, True):
        if refuses:
            serve(b"", "refuses")
        with pytest.raises(DownloadFailed, match=f"or put the file at {tmp_path / ARCHIVE} by hand") as caught:
            cifar10.load(False, tmp_path)
        assert "\n" not in str(caught.value)
        assert cached_files(tmp_path) == set()


def test_two_concurrent_calls_download_once(known, serve, tmp_path):
    content = packed(members())
    known(content)
    server = serve(content)
    threads = [threading.Thread(target=cifar10.load, args=(False, tmp_path)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert server.asked == [None]
    assert cached_files(tmp_path) == {ARCHIVE}
