"""The fingerprint of data: it shows changes of the data, and it is compared with the fingerprint of version 1."""

import hashlib
import io

import numpy as np
import pytest
from conftest import tiny_arrays, write_folder
from photo_files import write_photos

from graphcnn.data import sources
from graphcnn.data.fingerprint import content_of, same_data

NAMES = "cat\ndog\nowl\n"


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def test_two_folders_whose_concatenated_files_are_equal(tmp_path):
    """NumPy ignores bytes after an array, so bytes may move from the start of y_train.npy to the end of x_train.npy."""
    x, y = (npy(array) for array in tiny_arrays())
    other = npy(tiny_arrays()[1][::-1])
    contents = {"one": (x, other + y), "two": (x + other, y)}
    for name, files in contents.items():
        folder = write_folder(tmp_path / name, x_train=None, y_train=None)
        for file, content in zip(("x_train.npy", "y_train.npy"), files, strict=True):
            (folder / file).write_bytes(content)
    one, two = (sources.load(tmp_path / name) for name in contents)
    assert not np.array_equal(one.y_train, two.y_train)
    assert content_of(one.fingerprint) == content_of(two.fingerprint)
    assert one.fingerprint != two.fingerprint
    assert not same_data(one.fingerprint, two.fingerprint)


def test_class_names_are_in_the_fingerprint(tmp_path):
    folder = write_folder(tmp_path)
    fingerprints = [sources.load(folder).fingerprint]
    for names in (NAMES, "owl\ndog\ncat\n", "cat, dog\nowl\nbat\n", NAMES.replace("\n", " \r\n")):
        (folder / "class_names.txt").write_text(names)
        fingerprints.append(sources.load(folder).fingerprint)
    assert len(set(fingerprints)) == 4
    assert fingerprints[1] == fingerprints[4]  # white space around a class name is ignored


def test_class_folders_are_in_the_fingerprint(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    options = sources.DataOptions(16)
    before = sources.load(write_photos(tmp_path / "set"), options=options).fingerprint
    (tmp_path / "set" / "owl").rename(tmp_path / "set" / "pig")
    assert not same_data(sources.load(tmp_path / "set", options=options).fingerprint, before)


def test_the_content_is_the_fingerprint_of_version_1(tmp_path):
    folder = write_folder(tmp_path)
    files = b"".join((folder / f"{name}_train.npy").read_bytes() for name in "xy")
    assert content_of(sources.load(folder).fingerprint) == hashlib.sha256(files).hexdigest()
    digits = "5ddf06698e882f493d43d3a855d36f5e1c28451251b4095f2acc8e75a62581cc"
    assert content_of(sources.load("digits").fingerprint) == digits


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2:a:b", "2:a:b", True),
        ("2:a:b", "2:a:c", False),
        ("2:a:b", "2:c:b", False),
        ("2:a:b", "a", True),
        ("a", "2:a:b", True),
        ("a", "2:b:a", False),
        ("a", "a", True),
        ("a", "b", False),
        ("3:a:b", "2:a:b", False),
        ("3:a:b", "a", False),
        ("2:a", "2:a:b", False),
    ],
)
def test_same_data(one, other, same):
    assert same_data(one, other) == same
