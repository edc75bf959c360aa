import dataclasses
import io
import itertools
import math
import struct
from pathlib import Path

import numpy as np
import pytest
from conftest import TINY, one_line, tiny_arrays, write_folder
from PIL import Image

from graphcnn.common.errors import InputError
from graphcnn.config.suites import SUITES
from graphcnn.data import digits, images, npy, sources
from graphcnn.data.checks import check_images
from graphcnn.data.splits import dev_count, split_dev

REAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "cifar10_jpeg.npz"


def npy_bytes(array, **options):
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


def npy_header(descr, shape):
    text = repr({"descr": descr, "fortran_order": False, "shape": shape}).encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


X, Y = tiny_arrays()
NAMES = np.array(["owl", "cat", "elk"])[Y[:, 0]]
GOOD = npy_bytes(X)
BAD_BYTES = {  # of x_train.npy: (bytes, words of the message)
    "empty": (b"", "empty"),
    "truncated header": (GOOD[:40], "truncated or damaged"),
    "truncated pixels": (GOOD[:-1], "ends early"),
    "no pixels": (GOOD[:128], "truncated or damaged|ends early"),
    "pickle": (b"\x80\x04\x95\x10\x00", "is a pickle"),
    "pickled objects": (npy_bytes(np.array([{}, None], object), allow_pickle=True), "pickled Python objects"),
    "lfs pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "git lfs pull"),
    "text": (b"1,2,3\n", "not a .npy file"),
    "header that is code": (b"\x93NUMPY\x01\x00" + struct.pack("<H", 20) + b"__import__('os')   \n", "damaged"),
    "header of a huge shape": (GOOD.replace(b"(96, 16", b"(9999999999, 16"[:7]), "damaged|ends early"),
}

BAD_BYTES |= {  # NumPy divides by zero when it maps values of 0 bytes, and the process ends
    f"{shape} values of {descr}": (npy_header(descr, shape), "truncated or damaged .declares the shape")
    for descr, shape in (("|S0", (-1,)), ("|V0", (2,)), ("|u1", (-1, 4, 4, 3)), ("|u1", (-96, -16, 16, 3)))
}


@pytest.mark.parametrize("case", BAD_BYTES)
def test_bad_files(case, tmp_path):
    content, words = BAD_BYTES[case]
    folder = write_folder(tmp_path)
    (folder / "x_train.npy").write_bytes(content)
    with pytest.raises(InputError, match=words) as caught:
        sources.load(folder)
    assert str(folder / "x_train.npy") in str(caught.value)


def with_pixel(value, dtype=np.float32):
    x = X.astype(dtype)
    x[5, 3, 3, 1] = value
    return x


def gap(labels):
    return np.where(labels == 1, 3, labels)


BAD_ARRAYS = {  # name: (arrays of the folder, words of the message)
    "text dtype": ({"x_train": np.full((96, 16, 16, 3), "a")}, "dtype"),
    "complex dtype": ({"x_train": X.astype(complex)}, "dtype is complex128"),
    "boolean pixels": ({"x_train": X > 9}, "dtype is bool"),
    "rank 2": ({"x_train": X.reshape(96, -1)}, r"shape is \(96, 768\)"),
    "rank 5": ({"x_train": X[..., None]}, "shape is"),
    "channels first": ({"x_train": X.transpose(0, 3, 1, 2)}, r"x.transpose\(0, 2, 3, 1\)"),
    "four channels": ({"x_train": np.zeros((96, 16, 16, 4), np.uint8)}, "1 or 3 channels"),
    "no rows": ({"x_train": X[:0]}, "at least one image"),
    "nan": ({"x_train": with_pixel(np.nan)}, "image 5 has NaN or infinite"),
    "infinite": ({"x_train": with_pixel(np.inf)}, "image 5 has NaN or infinite"),
    "negative pixels": ({"x_train": with_pixel(-1)}, r"pixels are -1\.\."),
    "pixels above 255": ({"x_train": with_pixel(256, np.int64)}, "expected 0..255"),
    "lengths differ": ({"y_train": Y[:-1]}, "95 labels for 96 images"),
    "negative label": ({"y_train": Y - 1}, "smallest label is -1"),
    "fractional label": ({"y_train": Y + 0.5}, "fractional"),
    "nan label": ({"y_train": np.where(Y == 1, np.nan, Y)}, "non-finite"),
    "a gap": ({"y_train": gap(Y)}, "no label is 1"),
    "huge label": ({"y_train": Y + 2**40}, "largest label"),
    "dates as labels": ({"y_train": Y.astype("M8[s]")}, "dtype is datetime64"),
    "labels from 2": ({"y_train": Y + 2}, r"no label is 0; number the classes with .*np.unique"),
    "labels from 1 with a gap": ({"y_train": gap(Y) + 1}, "4 classes, 1 to 4, but no label is 2"),
    "single class from 1": ({"y_train": Y * 0 + 1}, "every label is 1"),
    "equal strings": ({"y_train": np.full(96, "cat")}, "a single class .every label is 'cat'"),
    "strings of rank 3": ({"y_train": Y[..., None].astype(str)}, "shape is"),
    "strings in columns": ({"y_train": np.full((96, 2), "cat")}, r"shape of the strings is \(96, 2\)"),
    "fewer strings": ({"y_train": NAMES[:-1]}, "95 labels for 96 images"),
    "empty string": ({"y_train": np.where(NAMES == "cat", "", NAMES)}, "holds label ''"),
    "blank string": ({"y_train": np.where(NAMES == "cat", " ", NAMES)}, "holds label ' '"),
    "two lines in a string": ({"y_train": np.where(NAMES == "cat", "a\nb", NAMES)}, "one line of UTF-8 text"),
    "lone surrogate": ({"y_train": np.where(NAMES == "cat", "\ud800", NAMES)}, "one line of UTF-8 text"),
    "bytes that are not UTF-8": ({"y_train": np.where(NAMES == "cat", b"\xff", b"dog")}, "not UTF-8 text"),
    "code points that Unicode lacks": ({"y_train": np.full(96, 0x110000, "u4").view("U1")}, "not Unicode text"),
    "long strings": ({"y_train": NAMES.astype("U1001")}, "at most 1,000 characters"),
    "test strings that training lacks": ({"y_test": np.array(["0", "5"] * 12)}, "unknown name '5'.*0, 1, 2"),
    "labels of rank 3": ({"y_train": Y[..., None]}, "one-hot"),
    "not one-hot": ({"y_train": np.ones((96, 3))}, "not one-hot"),
    "one-hot without a class": ({"y_train": np.eye(5)[gap(Y[:, 0])]}, "no label is 1"),
    "one-hot without the last class": ({"y_train": np.eye(4)[Y[:, 0]]}, "no label is 3"),
    "single class": ({"y_train": Y * 0}, "single class"),
    "test of another size": ({"x_test": X[:, :8]}, "8x16, expected 16x16"),
    "test in another range": ({"x_test": X / 255}, "expected 0..255"),
    "test longer than its labels": ({"y_test": Y[:5]}, "5 labels for 24 images"),
    "one-hot test labels of another width": ({"y_test": np.eye(4)[np.arange(24) % 3]}, "one-hot with 4 columns"),
    "test label unknown": ({"y_test": np.full(24, 3)}, "holds label 3"),
    "no x_train": ({"x_train": None}, "no x_train.npy and no class folders"),
    "no y_train": ({"y_train": None}, "no such file"),
}


@pytest.mark.parametrize("case", BAD_ARRAYS)
def test_bad_arrays(case, tmp_path):
    arrays, words = BAD_ARRAYS[case]
    (tmp_path / "x_train.npy").unlink(missing_ok=True)
    write_folder(tmp_path, **arrays)
    with pytest.raises(InputError, match=words) as caught:
        sources.load(tmp_path, test=True)
    assert f"{next(iter(arrays))}.npy" in str(caught.value)
    assert "\n" not in str(caught.value)


FORMS = {  # the same data in the forms a folder may have
    "labels (N,)": ({"y_train": Y[:, 0]}, 255),
    "one-hot": ({"y_train": np.eye(3)[Y[:, 0]]}, 255),
    "float labels": ({"y_train": Y.astype(float)}, 255),
    "float 0..255": ({"x_train": X.astype(np.float64)}, 255),
    "float 0..1": ({"x_train": X / 255, "x_test": None}, 1),
    "int64 0..255": ({"x_train": X.astype(np.int64)}, 255),
    "big-endian": ({"x_train": X.astype(">f4")}, 255),
    "column order": ({"x_train": np.asfortranarray(X)}, 255),
    "grey": ({"x_train": X[..., 0], "x_test": None}, 255),
    "grey with an axis": ({"x_train": X[..., :1], "x_test": None}, 255),
}


@pytest.mark.parametrize("case", FORMS)
def test_forms(case, tmp_path):
    arrays, pixel_max = FORMS[case]
    dataset = sources.load(write_folder(tmp_path, **arrays))
    assert dataset.pixel_max == pixel_max
    assert dataset.y_train.dtype == np.int32
    assert np.array_equal(dataset.y_train, Y[:, 0])
    assert isinstance(dataset.x_train, np.memmap)
    assert dataset.x_train.dtype == arrays.get("x_train", X).dtype
    assert dataset.image_shape == (16, 16)
    assert dataset.class_names == ("0", "1", "2")


def test_different_data_have_different_fingerprints(tmp_path):
    prints = [sources.load(write_folder(tmp_path / str(n), **arrays)).fingerprint for n, arrays in
              enumerate([{}, {}, {"x_train": X[::-1]}, {"y_train": Y[::-1]}])]  # fmt: skip
    assert prints[0] == prints[1]
    assert len(set(prints)) == 3


def test_a_different_test_split_has_a_different_test_fingerprint(tmp_path):
    x, y = tiny_arrays(600, seed=1)
    one_pixel = x.copy()
    one_pixel[-1, -1, -1, -1] ^= 1
    cases = [
        {"x_test": x, "y_test": y}, {"x_test": x, "y_test": y, "x_train": X[::-1]}, {"x_test": x, "y_test": y[::-1]},
        {"x_test": one_pixel, "y_test": y}, {"x_test": x[1:], "y_test": y[1:]},
    ]  # fmt: skip
    folders = [write_folder(tmp_path / str(n), **arrays) for n, arrays in enumerate(cases)]
    folders.append(write_folder(tmp_path / "names", **cases[0]))
    (folders[-1] / "class_names.txt").write_text("cat\ndog\nowl\n")
    prints = [sources.load(folder, test=True).test_fingerprint() for folder in folders]
    assert prints[0] == prints[1]
    assert len(set(prints)) == 5
    assert sources.load(folders[0]).test_fingerprint() is None
    unlabelled = write_folder(tmp_path / "unlabelled", y_test=None)
    assert sources.load(unlabelled, test=True).test_fingerprint() is None


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf", b"\xef\xbb\xbf\r\n"])
def test_a_byte_order_mark_is_not_in_a_class_name(mark, tmp_path):
    folder = write_folder(tmp_path)
    (folder / "class_names.txt").write_bytes(mark + b"cat\r\ndog\r\nowl")
    assert sources.load(folder).class_names == ("cat", "dog", "owl")


BAD_TEST_FILES = {  # name: (files, words of the message)
    "other size": ({"x_test": X[:, :8]}, "x_test.npy: images are 8x16, expected 16x16"),
    "other range": ({"x_test": X / np.float32(255)}, "x_test.npy: pixels are 0..1, expected 0..255"),
    "channels first": ({"x_test": X.transpose(0, 3, 1, 2)}, "x_test.npy: shape (96, 3, 16, 16) has its channels first"),
    "fewer labels": ({"y_test": Y[:9]}, "y_test.npy: 9 labels for 24 images"),
}


@pytest.mark.parametrize("case", BAD_TEST_FILES)
def test_train_refuses_bad_test_files_before_the_first_step(case, tmp_path, command):
    files, words = BAD_TEST_FILES[case]
    data = write_folder(tmp_path / "data", **files)
    outcome = command("train", f"--data={data}", f"--checkpoints={tmp_path / 'runs'}", *TINY)
    assert outcome.status == 2
    assert one_line(outcome.err)
    assert words in outcome.err
    assert not (tmp_path / "runs").exists()


def test_class_names_file(tmp_path):
    folder = write_folder(tmp_path)
    (folder / "class_names.txt").write_text("cat\ndog\nowl\n")
    assert sources.load(folder).class_names == ("cat", "dog", "owl")
    (folder / "class_names.txt").write_text("cat\ndog\n")
    with pytest.raises(InputError, match="2 different names, expected 3"):
        sources.load(folder)


def test_sources(tmp_path, monkeypatch):
    for source, words in ((tmp_path / "none", "no such folder"), (__file__, "is a file")):
        with pytest.raises(InputError, match=words):
            sources.load(source)
    monkeypatch.setattr(sources, "DEFAULT_FOLDER", tmp_path)
    assert sources.default_source() == "digits"
    write_folder(tmp_path)
    assert sources.default_source() == str(tmp_path)


def test_digits_are_scikit_learn_s_enlarged():
    from sklearn.datasets import load_digits

    dataset, raw = digits.load(test=True), load_digits()
    assert (len(dataset.x_train), len(dataset.x_test)) == (1437, 360)
    assert dataset.x_train.shape[1:] == (32, 32, 3)
    assert np.array_equal(np.bincount(np.r_[dataset.y_train, dataset.y_test]), np.bincount(raw.target))
    shrunk = dataset.x_test[..., 0].reshape(360, 8, 4, 8, 4).mean(axis=(2, 4)).reshape(360, -1)
    originals = raw.data[::5] * 255 / 16
    assert np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(shrunk, originals, strict=True)]) > 0.97


class TestSplit:
    def test_first_is_the_first_quarter(self, data_folder):
        train, dev = split_dev(sources.load(data_folder), "first", 0.25)
        assert np.array_equal(dev, np.arange(24))
        assert np.array_equal(train, np.arange(24, 96))

    def test_stratified_keeps_class_fractions_and_is_reproducible(self):
        dataset = digits.load(test=False)
        train, dev = split_dev(dataset, "stratified", 0.25)
        assert len(dev) == 359
        assert np.array_equal(np.sort(np.r_[train, dev]), np.arange(1437))
        expected = np.bincount(dataset.y_train) * 359 / 1437
        assert np.abs(np.bincount(dataset.y_train[dev]) - expected).max() < 1
        assert np.array_equal(dev, split_dev(dataset, "stratified", 0.25)[1])

    @pytest.mark.parametrize(
        ("rows", "fraction", "count"),
        [
            (100, 0.29, 29),
            (50, 0.58, 29),
            (200, 0.57, 114),
            (96, 0.25, 24),
            (1437, 0.25, 359),
            (10, 0.99, 9),
            (9, 0, 0),
        ],
    )
    def test_the_fraction_is_a_decimal_number(self, rows, fraction, count):
        assert dev_count(rows, fraction) == count

    @pytest.mark.parametrize("fraction", sorted({0.1, 0.25, *(suite.dev_fraction for suite in SUITES.values())}))
    def test_fractions_of_the_suites_give_the_same_rows_as_products_of_floats(self, fraction):
        rows = range(1, 100_000, 7)
        assert [dev_count(count, fraction) for count in rows] == [int(count * fraction) for count in rows]

    def test_none(self, data_folder):
        train, dev = split_dev(sources.load(data_folder), "first", 0)
        assert (len(train), len(dev)) == (96, 0)

    @pytest.mark.parametrize(
        ("kind", "fraction", "words"),
        [
            ("first", 0.001, "leaves the dev split empty"),
            ("first", 1.0, "from 0 to below 1"),
            ("first", -0.1, "from 0 to below 1"),
            ("first", float("nan"), "from 0 to below 1"),
            ("first", 0.99, "too few rows to split: class"),
            ("stratified", 0.011, "too few rows to split"),
            ("stratified", 0.99, "too few rows to split"),
        ],
    )
    def test_refused(self, data_folder, kind, fraction, words):
        with pytest.raises(InputError, match=words):
            split_dev(sources.load(data_folder), kind, fraction)

    @pytest.mark.parametrize(("kind", "words"), [("first", "class 2 has none"), ("stratified", "smallest with 1")])
    def test_a_class_absent_from_the_training_rows(self, tmp_path, kind, words):
        y = np.r_[2, np.arange(95) % 2]
        with pytest.raises(InputError, match=words):
            split_dev(sources.load(write_folder(tmp_path, y_train=y, y_test=None)), kind, 0.25)


class TestClassesWithoutDevRows:
    """A file that is sorted by class, and a class with two of 200 rows."""

    SORTED = np.repeat([0, 1, 2], 32)
    WORDS = "2 of 3 classes have no row among the 24 dev rows (first), the first is 1"

    @pytest.fixture
    def sorted_folder(self, tmp_path):
        return write_folder(tmp_path / "data", y_train=self.SORTED)

    def test_a_default_split_is_refused(self, sorted_folder):
        with pytest.raises(InputError) as caught:
            split_dev(sources.load(sorted_folder), None, 0.25)
        assert str(caught.value) == (
            f"{sorted_folder / 'y_train.npy'}: {self.WORDS}; use --dev_split=stratified, or keep this split with "
            "--dev_split=first"
        )

    def test_a_chosen_split_is_warned_of(self, sorted_folder, capsys):
        train, dev = split_dev(sources.load(sorted_folder), "first", 0.25)
        assert (len(train), len(dev)) == (72, 24)
        assert f"warning: {sorted_folder / 'y_train.npy'}: {self.WORDS}; " in capsys.readouterr().out

    @pytest.mark.parametrize(("kind", "fraction"), [("stratified", 0.25), (None, 0)])
    def test_the_remedy_and_no_dev_split_need_no_warning(self, kind, fraction, sorted_folder, capsys):
        split_dev(sources.load(sorted_folder), kind, fraction)
        assert capsys.readouterr().out == ""

    def test_a_stratified_default_without_rows_of_a_rare_class(self, tmp_path):
        x, _ = tiny_arrays(rows=200)
        y = np.r_[[2, 2], np.arange(198) % 2]
        rare = dataclasses.replace(sources.load(write_folder(tmp_path, x_train=x, y_train=y)), dev_split="stratified")
        with pytest.raises(InputError, match=r"classes have no row .* set a larger --dev_fraction, or keep this split"):
            split_dev(rare, None, 0.1)

    @pytest.mark.parametrize("name", ["train", "experiments"])
    def test_the_commands_refuse_it(self, name, sorted_folder, tmp_path, command):
        suite = ["--suite=assignment", "--dev_fraction=0.25"] if name == "experiments" else []
        outcome = command(name, f"--data={sorted_folder}", f"--checkpoints={tmp_path / 'runs'}", *suite)
        assert outcome.status == 2
        assert self.WORDS in outcome.err
        assert not (tmp_path / "runs").exists()


def sparse(path, dtype, shape):
    """Write a .npy file that holds only its header; the values are a hole in the file."""
    with path.open("wb") as file:
        header = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        file.truncate(file.tell() + np.dtype(dtype).itemsize * math.prod(shape))


SPARSE = {  # name: (file, dtype, shape, words)
    "one-hot labels of many classes": ("y_train", "u1", (96, 10**8), "at most 10,000 classes"),
    "more images than labels": ("x_train", "f4", (10**7, 32, 32, 3), "96 labels for 10000000 images"),
    "large images": ("x_train", "f4", (96, 1, 1 << 24, 3), "expected at most 8192 pixels in each direction"),
}


@pytest.mark.parametrize("case", SPARSE)
def test_shapes_are_compared_before_values_are_read(case, tmp_path):
    name, dtype, shape, words = SPARSE[case]
    folder = write_folder(tmp_path)
    sparse(folder / f"{name}.npy", dtype, shape)
    with pytest.raises(InputError, match=words):
        sources.load(folder)


def test_uint8_pixels_are_not_scanned():
    class Unread:
        dtype, ndim, shape = np.dtype(np.uint8), 4, (1_000_000, 32, 32, 3)

    assert check_images(Unread(), "x") == 255


def test_the_test_split_is_touched_only_when_asked_for(tmp_path):
    folder = write_folder(tmp_path)
    (folder / "x_test.npy").write_bytes(b"damaged")
    assert sources.load(folder).x_test is None
    with pytest.raises(InputError, match="x_test"):
        sources.load(folder, test=True)
    assert digits.load(test=False).x_test is None


def test_random_damage_to_a_header_is_one_error(tmp_path):
    generator = np.random.default_rng(0)
    refused = 0
    for n in range(300):
        content = bytearray(GOOD)
        for offset in generator.integers(6, 128, generator.integers(1, 4)):
            content[offset] = generator.integers(0, 256)
        path = tmp_path / f"{n}.npy"
        path.write_bytes(content)
        try:
            check_images(npy.read_array(path), path)
        except InputError as error:
            refused += 1
            assert "\n" not in str(error)
        path.unlink()
    assert refused > 100


def test_black_test_images_fit_any_range(tmp_path):
    folder = write_folder(tmp_path, x_test=np.zeros((24, 16, 16, 3), np.float32))
    assert len(sources.load(folder, test=True).x_test) == 24


def png(tmp_path, image, name="image.png", **options):
    image.save(tmp_path / name, **options)
    return tmp_path / name


class TestImages:
    def test_modes_become_rgb(self, tmp_path):
        rgb = Image.fromarray(X[0])
        for mode in ("RGB", "L", "RGBA", "P", "1", "CMYK"):
            path = png(tmp_path, rgb.convert(mode), "image.jpg" if mode == "CMYK" else "image.png")
            pixels = images.read_image(path, (8, 4))
            assert pixels.shape == (8, 4, 3)
            assert pixels.dtype == np.uint8

    def test_16_bit_grey_is_scaled_not_clipped(self, tmp_path):
        path = png(tmp_path, Image.fromarray(np.full((4, 4), 32896, np.uint16)))
        assert np.unique(images.read_image(path, (4, 4))) == [128]

    def test_exif_orientation(self, tmp_path):
        pixels = np.zeros((8, 8, 3), np.uint8)
        pixels[:4] = 255
        exif = Image.Exif()
        exif[0x0112] = 3  # turned by 180 degrees
        path = png(tmp_path, Image.fromarray(pixels), exif=exif)
        assert images.read_image(path, (8, 8))[7, 0, 0] == 255

    @pytest.mark.parametrize(
        ("content", "words"),
        [(None, "no such file"), (b"", "not an image"), (b"hello", "not an image"), ("half", "truncated or damaged")],
    )
    def test_bad_files(self, tmp_path, content, words):
        path = tmp_path / "image.png"
        if content == "half":
            whole = png(tmp_path, Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)))
            path.write_bytes(whole.read_bytes()[:2000])
        elif content is not None:
            path.write_bytes(content)
        with pytest.raises(InputError, match=words):
            images.read_image(path, (8, 8))

    def test_a_folder_and_a_huge_declared_size(self, tmp_path):
        with pytest.raises(InputError, match="is a folder"):
            images.read_image(tmp_path, (8, 8))
        path = png(tmp_path, Image.new("1", (9000, 9000)))
        with pytest.raises(InputError, match="expected at most"):
            images.read_image(path, (8, 8))


@pytest.mark.skipif(not REAL.exists(), reason=f"the real data is not here: {REAL.parent.name}/{REAL.name}")
def test_the_real_data_in_the_assignment_s_form(tmp_path):
    """A thousand real images through the folder loader: fitted statistics near CIFAR-10's well-known ones."""
    from graphcnn.data.statistics import channel_statistics

    with np.load(REAL, allow_pickle=False) as packed:
        offsets = packed["train_offsets"]
        blob = packed["train_jpeg"][: offsets[1000]].tobytes()
        jpegs = [blob[a:b] for a, b in itertools.pairwise(offsets[:1001])]
        labels = packed["train_labels"][:1000].reshape(-1, 1)
    x = np.stack([np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB")) for jpeg in jpegs])
    dataset = sources.load(write_folder(tmp_path, x_train=x, y_train=labels, x_test=None, y_test=None))
    mean, deviation = channel_statistics(dataset.x_train, np.arange(1000))
    assert mean == pytest.approx([125.3, 123.0, 113.9], abs=5)
    assert deviation == pytest.approx([63.0, 62.1, 66.7], abs=5)
    assert dataset.classes == 10
