"""A .npz file as training data: the form of Keras' mnist.npz."""

import io
import struct
import tracemalloc
import zipfile
import zlib

import numpy as np
import pytest
from conftest import TINY, one_line, tiny_arrays, write_folder

from graphcnn.common.errors import InputError
from graphcnn.data import npz, sources

X, Y = tiny_arrays()
X_TEST, Y_TEST = tiny_arrays(24, seed=1)
ARRAYS = {"x_train": X, "y_train": Y, "x_test": X_TEST, "y_test": Y_TEST}


def written(path, save=np.savez, **arrays):
    save(path, **{name: array for name, array in {**ARRAYS, **arrays}.items() if array is not None})
    return path


def header(shape, descr="|u1", order=False):
    text = repr({"descr": descr, "fortran_order": order, "shape": shape}).encode() + b"\n"
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text


def zipped(path, members, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("x", [X, np.asfortranarray(X), X[..., 0], X / 255, X.astype(">u2")])
def test_the_arrays_are_those_of_numpy(save, x, tmp_path):
    tests = {"x_test": x[:24], "y_test": Y[:24]}
    dataset = sources.load(written(tmp_path / "set.npz", save, x_train=x, **tests), test=True)
    with np.load(tmp_path / "set.npz") as expected:
        for name in ("x_train", "x_test"):
            assert np.array_equal(getattr(dataset, name), expected[name])
            assert getattr(dataset, name).dtype == expected[name].dtype
        assert np.array_equal(dataset.y_train, expected["y_train"][:, 0])
        assert np.array_equal(dataset.y_test, expected["y_test"][:, 0])
    assert (dataset.class_names, dataset.dev_split) == (("0", "1", "2"), "first")
    assert dataset.source == str(tmp_path / "set.npz")


def test_the_fingerprint_is_that_of_the_training_arrays(tmp_path):
    cases = [
        {}, {"save": np.savez_compressed}, {"x_test": None, "y_test": None}, {"y_train": Y[:, 0].astype("u1")},
        {"x_train": X[::-1]}, {"y_train": Y[::-1]}, {"class_names": np.array(["a", "b", "c"])},
    ]  # fmt: skip
    prints = [sources.load(written(tmp_path / f"{n}.npz", **case)).fingerprint for n, case in enumerate(cases)]
    assert len(set(prints[:4])) == 1
    assert len(set(prints)) == 4


def test_the_digits_as_a_file_have_the_fingerprint_of_the_digits(tmp_path):
    digits = sources.load("digits")
    np.savez(tmp_path / "digits.npz", x_train=digits.x_train, y_train=digits.y_train)
    assert sources.load(tmp_path / "digits.npz").fingerprint == digits.fingerprint


def test_labels_and_names(tmp_path):
    names = np.array(["owl", "cat", "elk"])
    dataset = sources.load(written(tmp_path / "a.npz", y_train=names[Y], y_test=names[Y_TEST]), test=True)
    assert dataset.class_names == ("cat", "elk", "owl")
    assert np.array_equal(np.array(dataset.class_names)[dataset.y_test], names[Y_TEST[:, 0]])
    named = sources.load(written(tmp_path / "b.npz", class_names=names.astype("S3"), y_train=Y + 1, y_test=Y_TEST + 1))
    assert (named.class_names, named.first_label) == (("owl", "cat", "elk"), 1)


def test_test_arrays_are_optional_and_read_only_when_asked_for(tmp_path):
    without = sources.load(written(tmp_path / "a.npz", x_test=None, y_test=None), test=True)
    assert (without.x_test, without.has_test_labels, without.has_test_images()) == (None, False, False)
    bad = written(tmp_path / "b.npz", x_test=X_TEST[:, :8])
    assert sources.load(bad).has_test_labels
    with pytest.raises(InputError, match=r"b.npz: x_test: images are 8x16, expected 16x16"):
        sources.load(bad, test=True)


PICKLED = io.BytesIO()
np.save(PICKLED, np.array(["cat", None], object), allow_pickle=True)
GOOD_X, GOOD_Y = header(X.shape) + X.tobytes(), header((96,)) + Y.astype("u1").tobytes()
BAD = {  # name: (writes the file, words of the message)
    "other keys": (lambda p: np.savez(p, images=X, labels=Y), "has no array x_train, found images, labels; expected"),
    "no labels": (lambda p: written(p, y_train=None), "has no array y_train, found x_train, x_test, y_test"),
    "no array": (lambda p: np.savez(p), "found no array"),
    "objects": (lambda p: zipped(p, {"x_train.npy": GOOD_X, "y_train.npy": PICKLED.getvalue()}), "y_train: .*pickled"),
    "other images": (lambda p: written(p, x_train=X.transpose(0, 3, 1, 2)), "x_train: shape .* channels first"),
    "other labels": (lambda p: written(p, y_train=Y + 5), "y_train: .* no label is 0"),
    "fewer labels": (lambda p: written(p, y_train=Y[:9]), "y_train: 9 labels for 96 images"),
    "fewer names": (lambda p: written(p, class_names=np.array(["a", "b"])), "class_names: 2 different names"),
    "names are numbers": (lambda p: written(p, class_names=np.arange(3)), "class_names: found int64"),
    "names in rows": (lambda p: written(p, class_names=np.array([["a"], ["b"], ["c"]])), "class_names: found <U1"),
    "not a zip": (lambda p: p.write_bytes(b"hello"), "truncated or damaged"),
    "empty": (lambda p: p.write_bytes(b""), "truncated or damaged"),
    "not an array": (lambda p: zipped(p, {"x_train.npy": b"text", "y_train.npy": GOOD_Y}), "x_train: .*not a .npy"),
    "more pixels": (lambda p: zipped(p, {"x_train.npy": GOOD_X + b"0", "y_train.npy": GOOD_Y}), "header promises"),
    "fewer pixels": (lambda p: zipped(p, {"x_train.npy": GOOD_X[:-1], "y_train.npy": GOOD_Y}), "header promises"),
    "a huge shape": (
        lambda p: zipped(p, {"x_train.npy": header((1 << 40, 9, 9)), "y_train.npy": GOOD_Y}), "header promises",
    ),
    "a negative shape": (
        lambda p: zipped(p, {"x_train.npy": header((-1, 9, 9)), "y_train.npy": GOOD_Y}), "declares the shape",
    ),
    "another compression": (
        lambda p: zipped(p, {"x_train.npy": GOOD_X, "y_train.npy": GOOD_Y}, zipfile.ZIP_LZMA), "compression method 14",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_is_one_line(case, tmp_path):
    write, words = BAD[case]
    write(tmp_path / "bad.npz")
    with pytest.raises(InputError, match=words) as caught:
        sources.load(tmp_path / "bad.npz")
    assert str(caught.value).startswith(f"{tmp_path / 'bad.npz'}: ")
    assert "\n" not in str(caught.value)


def test_the_size_is_limited_before_an_array_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(npz, "MAX_BYTES", X.nbytes)
    with pytest.raises(InputError, match=r"its arrays have .* bytes, expected at most .* save them as .npy files"):
        sources.load(written(tmp_path / "large.npz"))


def test_no_more_is_decompressed_than_the_header_promises(tmp_path):
    """The size in the directory of the zip file is a lie: the stream holds 64 MB."""
    content = GOOD_X + b"\0" * (64 << 20)
    path = zipped(tmp_path / "bomb.npz", {"x_train.npy": content, "y_train.npy": GOOD_Y})
    packed = path.read_bytes().replace(struct.pack("<I", len(content)), struct.pack("<I", len(GOOD_X)))
    path.write_bytes(packed.replace(struct.pack("<I", zlib.crc32(content)), struct.pack("<I", zlib.crc32(GOOD_X))))
    tracemalloc.start()
    dataset = sources.load(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.array_equal(dataset.x_train, X)
    assert peak < 4 << 20


def test_random_damage_is_one_error_or_the_same_data(tmp_path):
    generator = np.random.default_rng(0)
    good = written(tmp_path / "good.npz", np.savez_compressed).read_bytes()
    refused = 0
    for n in range(200):
        content = bytearray(good)
        for offset in generator.integers(0, len(good), generator.integers(1, 4)):
            content[offset] = generator.integers(0, 256)
        path = tmp_path / f"{n}.npz"
        path.write_bytes(content[: generator.integers(1, len(good))] if n % 3 == 0 else content)
        try:
            dataset = sources.load(path)
            assert np.array_equal(dataset.x_train, X)
        except InputError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused > 100


def test_training_and_evaluation(tmp_path, command):
    """The scores are those of a run on the same arrays in .npy files."""
    data = {"npz": written(tmp_path / "set.npz"), "npy": write_folder(tmp_path / "set")}
    scores = []
    for name, source in data.items():
        root = f"--checkpoints={tmp_path / name}"
        outcome = command("train", f"--data={source}", root, *TINY, "--dev_split=stratified")
        assert outcome.status == 0, outcome.err
        outcome = command("eval", root, "--split=test")
        assert outcome.status == 0, outcome.err
        scores += [line for line in outcome.out.splitlines() if "macro F1" in line]
    assert scores[0] == scores[1]
    outcome = command("submit", f"--checkpoints={tmp_path / 'npz'}", f"--out={tmp_path / 'submission'}")
    assert outcome.status == 0, outcome.err
    assert np.array_equal(np.load(tmp_path / "submission" / "x_test.npy"), X_TEST)
    np.savez(tmp_path / "keys.npz", x=X, y=Y)
    outcome = command("train", f"--data={tmp_path / 'keys.npz'}", root, *TINY)
    assert (outcome.status, one_line(outcome.err)) == (2, True)
    np.savez(data["npz"], **{**ARRAYS, "x_train": X[::-1]})
    outcome = command("eval", f"--checkpoints={tmp_path / 'npz'}")
    assert (outcome.status, one_line(outcome.err)) == (2, True)
    assert "are not those of run" in outcome.err
