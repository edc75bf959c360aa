"""IDX files as training data: MNIST's four files, plain and compressed."""

import gzip
import struct
import tracemalloc

import numpy as np
import pytest
from conftest import TINY, one_line, tiny_arrays
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays as any_array

from graphcnn.common.errors import InputError
from graphcnn.data import idx, sources

X, Y = tiny_arrays()
X, Y = X[..., 0], Y[:, 0].astype(np.uint8)
X_TEST, Y_TEST = X[::-1][:24].copy(), Y[::-1][:24].copy()
NAMES = {
    "x_train": "train-images-idx3-ubyte", "y_train": "train-labels-idx1-ubyte",
    "x_test": "t10k-images-idx3-ubyte", "y_test": "t10k-labels-idx1-ubyte",
}  # fmt: skip
CODES = {"u1": 8, "i1": 9, "i2": 11, "i4": 12, "f4": 13, "f8": 14}


def idx_bytes(array):
    """Return an IDX file as its description says: http://yann.lecun.com/exdb/mnist/."""
    code = CODES[array.dtype.str[1:]]
    head = struct.pack(f">BBBB{array.ndim}I", 0, 0, code, array.ndim, *array.shape)
    return head + array.astype(array.dtype.newbyteorder(">")).tobytes()


def write_idx(folder, form="{}", pack=bytes, **arrays):
    """Write the four files; an argument replaces an array or the bytes of a file, and None omits its file."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in {"x_train": X, "y_train": Y, "x_test": X_TEST, "y_test": Y_TEST, **arrays}.items():
        if array is not None:
            content = array if isinstance(array, bytes) else idx_bytes(array)
            (folder / form.format(NAMES[name])).write_bytes(pack(content))
    return folder


class TestForms:
    def test_plain_and_compressed_files_give_the_same_data(self, tmp_path):
        plain = sources.load(write_idx(tmp_path / "plain"), test=True)
        packed = sources.load(write_idx(tmp_path / "gz", "{}.gz", gzip.compress), test=True)
        assert isinstance(plain.x_train, np.memmap)
        for dataset in (plain, packed):
            assert np.array_equal(dataset.x_train, X)
            assert np.array_equal(dataset.y_train, Y)
            assert np.array_equal(dataset.x_test, X_TEST)
            assert np.array_equal(dataset.y_test, Y_TEST)
            assert (dataset.class_names, dataset.dev_split) == (("0", "1", "2"), "first")
        assert plain.fingerprint == packed.fingerprint
        assert plain.test_fingerprint() == packed.test_fingerprint()
        np.savez(tmp_path / "same.npz", x_train=X, y_train=Y)
        assert sources.load(tmp_path / "same.npz").fingerprint == plain.fingerprint

    def test_names_with_a_dot(self, tmp_path):
        for name in NAMES.values():
            (tmp_path / name).mkdir()  # as in the archives of Kaggle
        for path in write_idx(tmp_path / "files").iterdir():
            path.rename(tmp_path / path.name.replace("-idx", ".idx"))
        (tmp_path / "class_names.txt").write_text("cat\ndog\nowl\n")
        dataset = sources.load(tmp_path)
        assert np.array_equal(dataset.x_train, X)
        assert dataset.class_names == ("cat", "dog", "owl")
        assert dataset.has_test_labels

    def test_a_plain_file_is_preferred(self, tmp_path):
        write_idx(tmp_path, "{}.gz", gzip.compress, x_train=X[::-1])
        assert np.array_equal(sources.load(write_idx(tmp_path)).x_train, X)

    def test_x_train_npy_is_preferred(self, tmp_path):
        write_idx(tmp_path)
        np.save(tmp_path / "x_train.npy", X[::-1])
        np.save(tmp_path / "y_train.npy", Y[::-1])
        assert np.array_equal(sources.load(tmp_path).x_train, X[::-1])

    def test_labels_from_1_and_colour(self, tmp_path):
        colour = np.repeat(X[..., None], 3, axis=3)
        dataset = sources.load(write_idx(tmp_path, x_train=colour, y_train=Y + 1, y_test=Y_TEST + 1), test=True)
        assert (dataset.class_names, dataset.x_train.shape) == (("1", "2", "3"), (96, 16, 16, 3))
        assert np.array_equal(dataset.y_test, Y_TEST)

    def test_test_files_are_optional_and_read_only_when_asked_for(self, tmp_path):
        folder = write_idx(tmp_path, x_test=b"damaged", y_test=None)
        assert not sources.load(folder).has_test_labels
        with pytest.raises(InputError, match="t10k-images"):
            sources.load(folder, test=True)


def head(*shape, code=8):
    return struct.pack(f">BBBB{len(shape)}I", 0, 0, code, len(shape), *shape)


GOOD = idx_bytes(X)
BAD = {  # name: (files, words of the message)
    "empty": ({"x_train": b""}, "ends in its header"),
    "ends in the magic": ({"x_train": GOOD[:3]}, "ends in its header"),
    "ends in the sizes": ({"x_train": GOOD[:15]}, "ends in its header"),
    "text": ({"x_train": b"<html></html>"}, "starts with the bytes 3c 68 74 6d, expected an IDX file"),
    "unknown type": ({"x_train": b"\0\0\x0a" + GOOD[3:]}, "starts with the bytes 00 00 0a 03"),
    "no dimension": ({"x_train": b"\0\0\x08\0" + GOOD[4:]}, "1 to 4 dimensions"),
    "five dimensions": ({"x_train": head(96, 2, 2, 2, 2) + bytes(96 * 16)}, "1 to 4 dimensions"),
    "shorter": ({"x_train": GOOD[:-1]}, "has 24,591 bytes, its header promises 24,592"),
    "longer": ({"x_train": GOOD + b"\0"}, "has 24,593 bytes, its header promises 24,592"),
    "huge": ({"x_train": head(2**32 - 1, 2**32 - 1, 2**32 - 1)}, "its header promises"),
    "no image": ({"x_train": head(0, 28, 28)}, r"declares the shape \(0, 28, 28\)"),
    "labels as images": ({"x_train": Y}, r"shape is \(96,\)"),
    "images as labels": ({"y_train": X}, "shape is"),
    "fewer labels": ({"y_train": Y[:-1]}, "95 labels for 96 images"),
    "a gap": ({"y_train": Y * 2}, "no label is 1"),
    "no labels": ({"y_train": None}, "but no train-labels-idx1-ubyte"),
    "no images": ({"x_train": None}, "but no train-images-idx3-ubyte"),
    "other test labels": ({"y_test": Y_TEST + 1}, "holds label 3"),
}  # fmt: skip


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_is_one_line(case, packed, tmp_path):
    files, words = BAD[case]
    folder = write_idx(tmp_path, "{}.gz" if packed else "{}", gzip.compress if packed else bytes, **files)
    if packed:
        words = {
            "shorter": "ends early, after 24,575 of 24,576 bytes",
            "longer": "more than the 24,576 bytes that its header promises",
            "huge": "expected at most 2,147,483,648 in a compressed file; decompress it with gunzip",
        }.get(case, words)
    with pytest.raises(InputError, match=words) as caught:
        sources.load(folder, test=True)
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)
    if "but no" not in words:
        assert NAMES[next(iter(files))] in str(caught.value)


@pytest.mark.parametrize(
    "damage", [lambda c: c[:-9], lambda c: c[:40], lambda c: c[:-8] + bytes(8), lambda c: c + b"x"]
)
def test_damaged_compression(damage, tmp_path):
    write_idx(tmp_path, "{}.gz", lambda content: damage(gzip.compress(content)))
    with pytest.raises(InputError, match=r"train-images-idx3-ubyte.gz: truncated or damaged"):
        sources.load(tmp_path)


def test_no_more_is_decompressed_than_the_header_promises(tmp_path):
    write_idx(tmp_path, "{}.gz", gzip.compress, x_train=GOOD + bytes(64 << 20))
    tracemalloc.start()
    with pytest.raises(InputError, match="its header promises"):
        sources.load(tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 << 20


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(sorted(CODES)).flatmap(
        lambda code: any_array(code, st.lists(st.integers(1, 5), min_size=1, max_size=4).map(tuple))
    ),
    st.booleans(),
)
def test_any_array_is_read_back(tmp_path, array, packed):
    path = tmp_path / "array"
    path.write_bytes(gzip.compress(idx_bytes(array)) if packed else idx_bytes(array))
    read = idx.read_array(path)
    assert (read.shape, read.dtype) == (array.shape, array.dtype.newbyteorder(">"))
    assert np.array_equal(read, array, equal_nan=array.dtype.kind == "f")
    assert not read.flags.writeable


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(st.binary(max_size=40), st.binary(max_size=24).map(lambda tail: b"\0\0\x08\2" + tail)), st.booleans())
def test_any_bytes_are_an_array_or_one_error(tmp_path, content, packed):
    path = tmp_path / "bytes"
    path.write_bytes(gzip.compress(content) if packed else content)
    try:
        array = idx.read_array(path)
    except InputError as error:
        assert "\n" not in str(error)
    else:
        assert content == content[: 4 + 4 * array.ndim] + array.tobytes()
        assert array.shape == struct.unpack_from(f">{array.ndim}I", content, 4)


def test_training_and_evaluation(tmp_path, command):
    data, root = write_idx(tmp_path / "set", "{}.gz", gzip.compress), f"--checkpoints={tmp_path / 'runs'}"
    outcome = command("train", f"--data={data}", root, *TINY)
    assert outcome.status == 0, outcome.err
    for path in sorted(data.iterdir()):
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    outcome = command("eval", root, "--split=dev,test")
    assert outcome.status == 0, outcome.err
    assert command("submit", root, f"--out={tmp_path / 'submission'}").status == 0
    assert np.array_equal(np.load(tmp_path / "submission" / "x_test.npy"), X_TEST)
    (data / NAMES["x_test"]).write_bytes(GOOD[:-1])
    outcome = command("train", f"--data={data}", root, *TINY)
    assert (outcome.status, one_line(outcome.err)) == (2, True)
