"""Folders of images: which files are read, how they are decoded, and the cache of their pixels."""

import errno
import json
import os
import shutil
import threading
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
from photo_files import by_pillow, jpeg, picture, png_16_bit, png_of_size, saved, write_photos
from PIL import Image

from graphcnn.common.errors import InputError, UnreadableFile
from graphcnn.data import cache, folder, image_cache, images, sources
from graphcnn.data.fingerprint import content_of
from graphcnn.data.splits import split_dev, split_settings

REAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "ants_bees.zip"


@pytest.fixture(autouse=True)
def cache_home(tmp_path, monkeypatch):
    """The default cache is this test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    return tmp_path / "xdg" / "graphcnn"


@pytest.fixture
def decoded(monkeypatch):
    """The names of the files that are decoded from here on."""
    names, read = [], image_cache.read_image
    monkeypatch.setattr(image_cache, "read_image", lambda path, *others: names.append(path.name) or read(path, *others))
    return names


def load(root, test=False, **options):
    return sources.load(root, test, sources.DataOptions(**{"image_size": 16, "fit": "stretch", **options}))


class TestRows:
    def test_train_and_test(self, tmp_path, cache_home):
        write_photos(tmp_path / "set" / "train")
        write_photos(tmp_path / "set" / "test", rows=2, seed=1)
        dataset = load(tmp_path / "set", test=True)
        assert dataset.class_names == ("bat", "cat", "owl")
        for split, x, y in (("train", dataset.x_train, dataset.y_train), ("test", dataset.x_test, dataset.y_test)):
            paths = sorted((tmp_path / "set" / split).glob("*/*"))
            assert np.array_equal(x, [by_pillow(path) for path in paths])
            assert np.array_equal(y, [dataset.class_names.index(path.parent.name) for path in paths])
            assert isinstance(x, np.memmap)
            assert not x.flags.writeable
            assert y.dtype == np.int32
        assert (dataset.dev_split, dataset.pixel_max, dataset.image_shape) == ("stratified", 255, (16, 16))
        entries = [entry for entry in cache_home.iterdir() if entry.is_dir()]
        assert len(entries) == 2
        index = json.loads((cache_home / f"images-{content_of(dataset.fingerprint)[:32]}" / "index.json").read_text())
        assert index["files"] == [f"{p.parent.name}/{p.name}" for p in sorted((tmp_path / "set/train").glob("*/*"))]
        assert (index["class_names"], index["skipped"]) == (["bat", "cat", "owl"], {})

    def test_classes_alone(self, tmp_path):
        dataset = load(write_photos(tmp_path / "set"), test=True)
        assert np.array_equal(np.bincount(dataset.y_train), [8, 8, 8])
        assert (dataset.x_test, dataset.y_test) == (None, None)

    def test_classes_called_train_and_test(self, tmp_path):
        dataset = load(write_photos(tmp_path, classes=("car", "train", "test")))
        assert dataset.class_names == ("car", "test", "train")
        assert not dataset.has_test_images()

    def test_the_test_split_is_read_only_when_asked_for(self, tmp_path, decoded):
        write_photos(tmp_path / "train")
        write_photos(tmp_path / "test", rows=1)
        (tmp_path / "test" / "cat" / "broken.png").write_bytes(b"")
        load(tmp_path)
        assert len(decoded) == 24
        with pytest.raises(InputError, match=r"broken.png: not an image"):
            load(tmp_path, test=True)

    def test_litter_and_links(self, tmp_path):
        root = write_photos(tmp_path / "set")
        expected = load(root).fingerprint
        for name in ("owl/.DS_Store", "owl/._00.png", "owl/Thumbs.db", "owl/desktop.ini", "LICENSE.txt", ".git/x"):
            (root / name).parent.mkdir(exist_ok=True)
            (root / name).write_bytes(b"litter")
        (root / "__MACOSX").mkdir()
        assert load(root).fingerprint == expected
        shutil.move(root / "owl", tmp_path / "elsewhere")
        (root / "owl").symlink_to(tmp_path / "elsewhere")
        shutil.move(root / "cat" / "00.png", tmp_path / "photo")
        (root / "cat" / "00.png").symlink_to(tmp_path / "photo")
        assert load(root).fingerprint == expected

    def test_a_loop_of_links_is_no_file(self, tmp_path):
        root = write_photos(tmp_path / "set")
        (root / "owl" / "loop.png").symlink_to("loop.png")
        with pytest.raises(InputError, match=r"loop.png: expected only .*, .tiff files"):
            load(root)
        (root / "owl" / "loop.png").unlink()
        (root / "owl" / "again").symlink_to(root)
        with pytest.raises(InputError, match="again: is a folder in a class folder"):
            load(root)

    @pytest.mark.parametrize("name", folder.DEV_FOLDERS)
    def test_a_dev_folder_is_the_dev_split(self, name, tmp_path):
        root = tmp_path / "set"
        write_photos(root / "train")
        write_photos(root / name, rows=2, seed=1)
        dataset = load(root)
        train, dev = split_dev(dataset, None, split_settings(dataset, None, None)["fraction"])
        for rows, split in ((train, "train"), (dev, name)):
            paths = sorted((root / split).glob("*/*"))
            assert [root / dataset.file_names["x_train"][row] for row in rows] == paths
            assert np.array_equal(dataset.x_train[rows], [by_pillow(path) for path in paths])
            assert np.array_equal(dataset.y_train[rows], [("bat", "cat", "owl").index(p.parent.name) for p in paths])
        assert split_settings(dataset, None, None) == {"kind": f"{name}/", "fraction": 0.2}
        for choice in (("first", None), (None, 0.2)):
            with pytest.raises(InputError, match=rf"set/{name} has the dev split of these data"):
                split_settings(dataset, *choice)

    def test_a_class_without_images_in_the_dev_folder_is_told(self, tmp_path, capfd):
        write_photos(tmp_path / "train")
        write_photos(tmp_path / "val", rows=2, classes=("owl", "bat"))
        split_dev(load(tmp_path), None, 0.2)
        assert "1 of 3 classes have no row among the 4 dev rows (val/), the first is cat" in capfd.readouterr().out

    def test_images_without_labels_in_test(self, tmp_path):
        write_photos(tmp_path / "train")
        paths = [saved(picture(n), tmp_path / "test" / f"{n}.png") for n in range(3)]
        dataset = load(tmp_path, test=True)
        assert np.array_equal(dataset.x_test, [by_pillow(path) for path in paths])
        assert (dataset.y_test, dataset.has_test_labels, dataset.has_test_images()) == (None, False, True)
        assert dataset.file_names["x_test"] == ["0.png", "1.png", "2.png"]

    def test_unused_folders_are_told(self, tmp_path, capfd):
        for name in ("train", "extra", "Val"):
            write_photos(tmp_path / name)
        assert len(load(tmp_path).x_train) == 24
        assert f"note: {tmp_path}: these folders are not used: Val/, extra/; the splits are" in capfd.readouterr().out

    def test_x_train_npy_comes_first(self, data_folder):
        write_photos(data_folder)
        assert sources.load(data_folder).class_names == ("0", "1", "2")


def exif(orientation):
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


TURNS = {  # EXIF orientation: how the stored pixels [H, W, C] become upright ones
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a.transpose(1, 0, 2)[::-1, ::-1],
    8: lambda a: np.rot90(a),
}
SIDE = 16


class TestPixels:
    """Decoding of images that need no resizing, against NumPy."""

    @pytest.mark.parametrize("orientation", TURNS)
    @pytest.mark.parametrize("suffix", ["png", "jpg"])
    def test_orientation(self, orientation, suffix, tmp_path):
        pixels = picture(0, SIDE, SIDE)
        path = saved(pixels, tmp_path / f"a.{suffix}", exif=exif(orientation))
        expected = TURNS[orientation](np.asarray(Image.open(path)))
        assert np.array_equal(images.read_image(path, (SIDE, SIDE)), expected)

    def test_a_damaged_exif_block_is_passed_over(self, tmp_path):
        path = saved(picture(0, SIDE, SIDE), tmp_path / "a.jpg", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x05cut")
        with images.suppress_warnings():
            assert np.array_equal(images.read_image(path, (SIDE, SIDE)), np.asarray(Image.open(path)))

    def test_modes(self, tmp_path):
        pixels, alpha = picture(0, SIDE, SIDE), np.full((SIDE, SIDE, 1), 9, np.uint8)
        grey = pixels[..., :1]
        cases = {
            "rgb": (Image.fromarray(pixels), pixels),
            "rgba": (Image.fromarray(np.concatenate([pixels, alpha], 2)), pixels),
            "grey": (Image.fromarray(grey[..., 0]), np.repeat(grey, 3, 2)),
            "la": (Image.fromarray(np.concatenate([grey, alpha], 2)), np.repeat(grey, 3, 2)),
            "bilevel": (Image.fromarray(grey[..., 0] > 30), np.repeat((grey > 30) * np.uint8(255), 3, 2)),
        }
        palette = Image.fromarray(grey[..., 0] // 8).convert("P")
        palette.putpalette(list(range(256)) * 3)
        colours = np.arange(768).reshape(256, 3).astype(np.uint8)
        cases["palette"] = (palette, colours[np.asarray(palette)])
        for name, (image, expected) in cases.items():
            image.save(tmp_path / f"{name}.png")
            assert np.array_equal(images.read_image(tmp_path / f"{name}.png", (SIDE, SIDE)), expected), name
        palette.save(tmp_path / "transparent.png", transparency=bytes(range(256)))
        with images.suppress_warnings():
            found = images.read_image(tmp_path / "transparent.png", (SIDE, SIDE))
        assert np.array_equal(found, cases["palette"][1])

    def test_16_bits(self, tmp_path):
        values = np.linspace(0, 65535, SIDE * SIDE).reshape(SIDE, SIDE).astype(np.uint16)
        path = saved(values, tmp_path / "grey.png")
        found = images.read_image(path, (SIDE, SIDE))
        assert np.array_equal(found, np.repeat((values // 257).astype(np.uint8)[..., None], 3, 2))
        turned = saved(values, tmp_path / "turned.png", exif=exif(6))
        assert np.array_equal(images.read_image(turned, (SIDE, SIDE)), np.rot90(found, -1))
        rgb = np.stack([values, values[::-1], values.T], axis=2)
        (tmp_path / "rgb.png").write_bytes(png_16_bit(rgb))
        found = images.read_image(tmp_path / "rgb.png", (SIDE, SIDE))
        assert np.abs(found.astype(float) - rgb / 257).max() <= 1

    def test_cmyk(self, tmp_path):
        """Adobe's JPEGs store ink inverted; ink and black make colours by (255 - ink)(255 - black) / 255."""
        ink = np.concatenate([picture(1, SIDE, SIDE) * 3, picture(2, SIDE, SIDE)[..., :1]], axis=2)
        Image.fromarray(ink, "CMYK").save(tmp_path / "a.jpg", quality=100, subsampling=0)
        assert b"Adobe" in (tmp_path / "a.jpg").read_bytes()
        ink = ink.astype(float)
        expected = (255 - ink[..., :3]) * (255 - ink[..., 3:]) / 255
        found = images.read_image(tmp_path / "a.jpg", (SIDE, SIDE))
        assert np.abs(found - expected).mean() < 2
        assert np.abs(found - expected).max() < 12

    def test_shrinking_averages(self, tmp_path):
        """A checkerboard of single pixels becomes grey when it is shrunk."""
        board = (np.indices((160, 160)).sum(axis=0) % 2 * 255).astype(np.uint8)
        found = images.read_image(saved(board, tmp_path / "a.png"), (SIDE, SIDE))
        assert np.abs(found[1:-1, 1:-1].astype(int) - 127).max() <= 3


BROKEN = {  # a file in owl/: (name, its bytes, words of the message)
    "a text": ("notes.txt", b"hello", "expected only .png, .jpg, .jpeg, .bmp"),
    "no suffix": ("photo", jpeg(), "expected only .png, .jpg, .jpeg, .bmp"),
    "a PPM": ("a.ppm", jpeg(form="PPM"), "expected only .png, .jpg, .jpeg, .bmp"),
    "a PPM in disguise": ("a.png", jpeg(form="PPM"), "not an image, expected one of PNG, JPEG"),
    "a text in disguise": ("a.jpg", b"hello", "not an image, expected one of PNG, JPEG"),
    "no bytes": ("a.jpg", b"", "not an image, expected one of PNG, JPEG"),
    "a truncated JPEG": ("a.jpg", jpeg()[:-500], "truncated or damaged"),
    "a truncated PNG": ("a.png", jpeg(form="PNG")[:-500], "truncated or damaged"),
    "a large PNG": ("a.png", png_of_size(9000, 9000), "too many pixels, expected at most 64000000"),
    "a larger PNG": ("a.png", png_of_size(12000, 12000), "too many pixels, expected at most 64000000"),
    "a huge PNG": ("a.png", png_of_size(2**31 - 1, 2**31 - 1), "too many pixels, expected at most 64000000"),
    "a folder": ("more.jpg/a.jpg", jpeg(), "more.jpg: is a folder in a class folder, expected only images"),
    "a name in another encoding": (os.fsdecode(b"caf\xe9.jpg"), b"", "not an image"),
}


FORMATS = {"a.bmp": {}, "a.gif": {}, "a.webp": {"lossless": True}, "a.TIF": {}, "a.tiff": {"compression": "tiff_lzw"}}


@pytest.mark.parametrize("name", FORMATS)
def test_formats(name, tmp_path):
    """Of an image with several frames, the first one is read."""
    pixels = np.zeros((20, 30, 3), np.uint8)
    pixels[:, 10:] = 255
    frames = {"save_all": True, "append_images": [Image.new("RGB", (30, 20), (0, 255, 0))]} if name != "a.bmp" else {}
    saved(pixels, tmp_path / name, **FORMATS[name], **frames)
    assert np.array_equal(images.read_image(tmp_path / name), pixels)


def test_floating_point_pixels_are_refused(tmp_path):
    Image.fromarray(np.zeros((4, 4), np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(InputError, match=r"a.tif: has floating-point pixels"):
        images.read_image(tmp_path / "a.tif")


FITS = {  # {--fit: columns of the 8x8 image that show the outer thirds of a 24x12 image, rows that are black}
    "stretch": ([0, 7], []),
    "crop": ([], []),
    "pad": ([0, 7], [0, 1, 6, 7]),
}


class TestFit:
    @pytest.mark.parametrize("fit", FITS)
    def test_shown_parts(self, fit, tmp_path):
        """The middle half of the image is white, its outer quarters are red."""
        outer, black = FITS[fit]
        pixels = np.full((12, 24, 3), 255, np.uint8)
        pixels[:, :6, 1:] = pixels[:, 18:, 1:] = 0
        path = saved(pixels, tmp_path / "a.png")
        shown = images.read_image(path, (8, 8), fit)
        assert [n for n in range(8) if not shown[n].any()] == black
        assert [n for n in range(8) if (shown[4, n] == (255, 0, 0)).all()] == outer

    @pytest.mark.parametrize("fit", FITS)
    def test_square_images_are_only_resized(self, fit, tmp_path):
        path = saved(picture(0, 30, 30), tmp_path / "a.png")
        assert np.array_equal(images.read_image(path, (16, 16), fit), by_pillow(path))

    def test_each_has_its_own_cache_entry(self, tmp_path, cache_home):
        root = write_photos(tmp_path / "set")
        loaded = {fit: load(root, fit=fit) for fit in FITS}
        assert len({dataset.fingerprint for dataset in loaded.values()}) == 3
        assert len([entry for entry in cache_home.iterdir() if entry.is_dir()]) == 3

    def test_an_image_too_narrow_to_be_padded(self, tmp_path):
        path = saved(np.zeros((1, 100, 3), np.uint8), tmp_path / "a.png")
        with pytest.raises(InputError, match=r"a.png: is too narrow to be padded to 8x8"):
            images.read_image(path, (8, 8), "pad")


class TestBroken:
    @pytest.mark.parametrize("case", BROKEN)
    def test_refused_or_skipped(self, case, tmp_path, capfd, cache_home):
        name, content, words = BROKEN[case]
        root = write_photos(tmp_path / "set")
        whole = load(root)
        (root / "owl" / name).parent.mkdir(exist_ok=True)
        (root / "owl" / name).write_bytes(content)
        with pytest.raises(InputError, match=words) as caught:
            load(root)
        path = root / "owl" / name.split("/")[0]
        assert str(caught.value).startswith(f"{path}: ")
        assert "\n" not in str(caught.value)
        assert "skip_broken skips such files" in str(caught.value)
        assert len([entry for entry in cache_home.iterdir() if not entry.name.endswith(".lock")]) == 1
        capfd.readouterr()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            dataset = load(root, skip_broken=True)
        out, err = capfd.readouterr()
        assert err == ""
        assert f"skipped: {os.fsencode(path).decode(errors='replace')}"[:60] in out
        assert words in out
        assert np.array_equal(dataset.x_train, whole.x_train)
        with pytest.raises(InputError, match="skip_broken skips such files"):
            load(root)

    def test_skipped_files_are_named_each_time_and_rows_keep_their_classes(self, tmp_path, capfd, decoded):
        root = write_photos(tmp_path / "set", rows=4)
        for name in ("bat/00.png", "bat/02.JPEG", "cat/03.png"):
            (root / name).write_bytes(b"hello")
        expected = [p for p in sorted(root.glob("*/*")) if p.read_bytes() != b"hello"]
        for _ in range(2):
            dataset = load(root, skip_broken=True)
            assert len(decoded) == 12
            assert capfd.readouterr().out.count("skipped: ") == 3
            assert np.array_equal(dataset.x_train, [by_pillow(path) for path in expected])
            assert np.array_equal(dataset.y_train, [("bat", "cat", "owl").index(p.parent.name) for p in expected])

    def test_an_image_is_not_skipped_because_of_an_error_of_the_disk(self, tmp_path, cache_home, monkeypatch):
        """If it were skipped, the cache would lack the image until somebody deletes the cache."""
        root, read = write_photos(tmp_path / "set"), images.open_regular

        def failing(path):
            if path.name == "03.png":
                raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
            return read(path)

        with monkeypatch.context() as patch:
            patch.setattr(images, "open_regular", failing)
            with pytest.raises(OSError, match="Input/output error"):
                load(root, skip_broken=True)
        assert [entry.name for entry in cache_home.iterdir() if not entry.name.endswith(".lock")] == []
        assert len(load(root, skip_broken=True).x_train) == 24

    def test_an_image_beside_the_class_folders(self, tmp_path):
        root = write_photos(tmp_path / "set")
        saved(picture(0), root / "stray.png")
        with pytest.raises(InputError, match=r"stray.png: this image is beside the class folders"):
            load(root)
        assert len(load(root, skip_broken=True).x_train) == 24


def write_layout(root, layout):
    for name in layout:
        (root / name).mkdir(parents=True) if name.endswith("/") else saved(picture(0), root / name)
    return root


LAYOUTS = {  # name: (what is in the folder, words of the message)
    "nothing": ([], ": no x_train.npy and no class folders in it; expected"),
    "images alone": (["a.png"], "no x_train.npy and no class folders"),
    "one class": (["owl/a.png"], r"1 class folders \(owl\), expected at least two"),
    "train without classes": (["train/a.png"], r"1 class folders \(train\), expected at least two"),
    "one class in train": (["train/owl/a.png", "test/owl/a.png"], r"1 class folders \(owl\)"),
    "an empty class": (["owl/a.png", "bat/"], "bat: holds no image; add .png, .jpg, .jpeg, .bmp"),
    "an empty class in test": (
        ["train/owl/a.png", "train/bat/a.png", "test/owl/a.png", "test/bat/"],
        "test/bat: holds no image",
    ),
    "a class only in test": (
        ["train/owl/a.png", "train/bat/a.png", "test/owl/a.png", "test/bat/a.png", "test/cat/a.png"],
        "test/cat: this class is only in test/",
    ),
    "a class only in train": (
        ["train/owl/a.png", "train/bat/a.png", "test/owl/a.png"],
        "train/bat: this class is only in train/",
    ),
    "an empty test": (["train/owl/a.png", "train/bat/a.png", "test/"], "test: holds neither class folders nor images"),
    "images beside the classes of test": (
        ["train/owl/a.png", "train/bat/a.png", "test/owl/a.png", "test/bat/a.png", "test/a.png"],
        "test/a.png: this image is beside the class folders",
    ),
    "two dev folders": (
        ["train/owl/a.png", "train/bat/a.png", "val/owl/a.png", "dev/owl/a.png"],
        "has val/ and dev/; keep one folder for the dev split",
    ),
    "a class only in val": (
        ["train/owl/a.png", "train/bat/a.png", "val/owl/a.png", "val/cat/a.png"],
        "val/cat: this class is only in val/",
    ),
    "images alone in val": (["train/owl/a.png", "train/bat/a.png", "val/a.png"], "val: holds no class folders"),
    "val without train": (["val/owl/a.png", "val/bat/a.png"], "has val/ but no train/"),
    "splits without classes": (["train/a.png", "val/a.png"], "train/ and val/ hold no class folders"),
    "a class of folders": (["owl/one/a.png", "bat/a.png"], "owl/one: is a folder in a class folder"),
    "test without train": (["test/owl/a.png", "test/bat/a.png"], "has test/ but no train/"),
    "a class of two lines": (["owl/a.png", "b\nat/a.png"], r"'b\\nat' is not one line of UTF-8 text"),
    "a class in another encoding": (["owl/a.png", os.fsdecode(b"caf\xe9/a.png")], "is not one line of UTF-8 text"),
}


@pytest.mark.parametrize("case", LAYOUTS)
def test_bad_layouts(case, tmp_path):
    layout, words = LAYOUTS[case]
    (tmp_path / "set").mkdir()
    root = write_layout(tmp_path / "set", layout)
    with pytest.raises(InputError, match=words) as caught:
        load(root, test=True)
    assert "\n" not in str(caught.value)


def test_a_class_whose_images_are_all_skipped_is_refused(tmp_path, cache_home):
    root = write_photos(tmp_path / "set")
    for path in (root / "owl").iterdir():
        path.write_bytes(b"")
    with pytest.raises(InputError, match="owl: holds no image"):
        load(root, skip_broken=True)
    assert not [entry for entry in cache_home.iterdir() if entry.is_dir()]


DAMAGES = [
    "shorter", "other shape", "reversed rows", "no index", "bad index", "odd index", "list", "no sha256", "no pixels",
    "linked index", "linked pixels", "linked folder", "a file", "a FIFO",
]  # fmt: skip


class TestCache:
    def test_built_once_whatever_the_folder_and_the_dates(self, tmp_path, decoded):
        root = write_photos(tmp_path / "set")
        first = load(root)
        assert len(decoded) == 24
        for path in root.glob("*/*"):
            os.utime(path, (1, 1))
        second = load(root)
        root.rename(tmp_path / "moved")
        third = load(tmp_path / "moved")
        assert len(decoded) == 24
        assert first.fingerprint == second.fingerprint == third.fingerprint
        assert np.array_equal(first.x_train, third.x_train)

    @pytest.mark.parametrize("change", ["one byte", "a name", "one less", "one more", "another class", "another size"])
    def test_built_again_when_something_changes(self, change, tmp_path, decoded):
        root = write_photos(tmp_path / "set")
        first, size = load(root), 16
        kept = np.array(first.x_train)
        path = root / "owl" / "00.png"
        before = path.stat()
        if change == "one byte":  # of the same length and date
            content = bytearray(path.read_bytes())
            content[-1] ^= 1
            path.write_bytes(content)
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        elif change == "a name":
            path.rename(path.with_name("99.png"))
        elif change == "one less":
            path.unlink()
        elif change == "one more":
            shutil.copy(path, path.with_name("99.png"))
        elif change == "another class":
            path.rename(root / "bat" / "99.png")
        else:
            size = 17
        decoded.clear()
        second = load(root, image_size=size)
        assert len(decoded) == len(second.x_train) >= 23
        assert second.fingerprint != first.fingerprint
        assert np.array_equal(first.x_train, kept)

    @pytest.mark.parametrize("damage", DAMAGES)
    def test_a_damaged_entry_is_built_again(self, damage, tmp_path, decoded, capfd):
        root = write_photos(tmp_path / "set")
        dataset = load(root, cache_dir=str(tmp_path / "cache"))
        entry = tmp_path / "cache" / f"images-{content_of(dataset.fingerprint)[:32]}"
        whole = np.array(dataset.x_train)
        pixels, index = entry / "x.npy", entry / "index.json"
        if damage == "shorter":
            os.truncate(pixels, pixels.stat().st_size - 1)
        elif damage == "other shape":
            np.save(pixels, whole[1:])
        elif damage == "reversed rows":
            np.save(pixels, whole[::-1])
        elif damage == "list":
            index.write_text("[]")
        elif damage == "no sha256":  # an entry of version 1
            content = json.loads(index.read_text())
            del content["sha256"]
            index.write_text(json.dumps(content))
        elif damage in ("linked index", "linked pixels", "linked folder"):
            path = {"linked index": index, "linked pixels": pixels, "linked folder": entry}[damage]
            path.rename(tmp_path / "elsewhere")
            path.symlink_to(tmp_path / "elsewhere")
        elif damage == "a file":
            shutil.rmtree(entry)
            entry.write_text("")
        elif damage == "a FIFO":
            pixels.unlink()
            os.mkfifo(pixels)
        elif damage == "no index":
            index.unlink()
        elif damage == "bad index":
            index.write_text("{")
        elif damage == "odd index":
            index.write_text(json.dumps({**json.loads(index.read_text()), "skipped": 5}))
        else:
            pixels.unlink()
        decoded.clear()
        capfd.readouterr()
        again = load(root, cache_dir=str(tmp_path / "cache"))
        assert f"{entry}: damaged, or without a checksum; the images are decoded again" in capfd.readouterr().out
        assert len(decoded) == 24
        assert np.array_equal(again.x_train, whole)
        assert not entry.is_symlink()
        assert sorted(path.name for path in entry.iterdir()) == ["index.json", "x.npy"]
        if damage == "linked folder":
            assert np.array_equal(np.load(tmp_path / "elsewhere" / "x.npy"), whole)
        capfd.readouterr()
        load(root, cache_dir=str(tmp_path / "cache"))
        assert capfd.readouterr().out == ""

    @pytest.mark.parametrize("name", ["index.json", "x.npy"])
    @pytest.mark.parametrize("number", [errno.EIO, errno.EACCES, errno.EMFILE, errno.ESTALE])
    def test_an_error_of_the_disk_is_no_damage(self, name, number, tmp_path, decoded, monkeypatch):
        root = write_photos(tmp_path / "set")
        load(root)
        decoded.clear()
        real = os.open

        def fails(path, *arguments, **options):
            if Path(path).name == name:
                raise OSError(number, os.strerror(number), path)
            return real(path, *arguments, **options)

        with monkeypatch.context() as patched:
            patched.setattr(os, "open", fails)
            with pytest.raises((OSError, UnreadableFile), match=os.strerror(number)):
                load(root)
        load(root)
        assert decoded == []

    @pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
    def test_an_interrupted_build_leaves_nothing(self, error, tmp_path, cache_home, monkeypatch):
        root = write_photos(tmp_path / "set")
        read, count = image_cache.read_image, []

        def stops(*arguments):
            count.append(1)
            if len(count) > 10:
                raise error
            return read(*arguments)

        monkeypatch.setattr(image_cache, "read_image", stops)
        with pytest.raises(error):
            load(root)
        assert [entry for entry in cache_home.iterdir() if not entry.name.endswith(".lock")] == []
        monkeypatch.undo()
        monkeypatch.setenv("XDG_CACHE_HOME", str(cache_home.parent))
        assert len(load(root).x_train) == 24

    @pytest.mark.parametrize("name", [".{}.new", ".{}.0123456789abcdef.new"], ids=["version 1", "random"])
    def test_files_of_a_killed_build_are_removed(self, name, tmp_path, cache_home):
        root = write_photos(tmp_path / "set")
        fingerprint = load(root).fingerprint
        entry = cache_home / f"images-{content_of(fingerprint)[:32]}"
        entry.rename(entry.with_name(name.format(entry.name)))
        assert len(load(root).x_train) == 24
        assert [path for path in cache_home.iterdir() if path.is_dir()] == [entry]

    def test_images_that_change_after_the_check_are_found(self, tmp_path, cache_home):
        write_photos(tmp_path / "set" / "train")
        write_photos(tmp_path / "set" / "test", rows=2, seed=1)
        dataset = load(tmp_path / "set", test=True)
        dataset.check_unchanged()
        for image in (dataset.x_train, dataset.x_test):
            with Path(image.filename).open("r+b") as file:
                file.seek(-1, 2)
                file.write(b"x")
            with pytest.raises(InputError, match=r"x.npy: changed while it was read"):
                dataset.check_unchanged()
            dataset = load(tmp_path / "set", test=True)

    def test_concurrent_loads_decode_once(self, tmp_path, decoded):
        root, found = write_photos(tmp_path / "set"), []
        threads = [threading.Thread(target=lambda: found.append(load(root))) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(decoded) == 24
        assert len(found) == 4
        assert all(np.array_equal(dataset.x_train, found[0].x_train) for dataset in found)

    def test_many_rows_are_in_order(self, tmp_path):
        for n in range(300):
            saved(np.full((2, 2, 3), n % 256, np.uint8), tmp_path / "set" / "ab"[n % 2] / f"{n:03d}.png")
        found = load(tmp_path / "set").x_train
        assert found[:, 3, 3, 0].tolist() == [n % 256 for n in [*range(0, 300, 2), *range(1, 300, 2)]]


def test_the_default_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", "/there")
    assert cache.folder() == Path("/there/graphcnn")
    monkeypatch.setenv("XDG_CACHE_HOME", "here")  # relative ones are to be ignored
    assert cache.folder() == tmp_path / ".cache" / "graphcnn"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache.folder() == tmp_path / ".cache" / "graphcnn"
    assert cache.folder(tmp_path / "x") == tmp_path / "x"


@pytest.mark.skipif(not REAL.exists(), reason=f"the real photos are not here: {REAL.parent.name}/{REAL.name}")
def test_real_photos(tmp_path):
    with zipfile.ZipFile(REAL) as packed:
        packed.extractall(tmp_path)
    dataset = load(tmp_path / "ants_bees", test=True, image_size=64)
    assert (len(dataset.x_train), len(dataset.x_test)) == (243, 153)
    assert dataset.class_names == ("ants", "bees")
    paths = sorted((tmp_path / "ants_bees" / "train").glob("*/*"))
    assert np.array_equal(dataset.x_train[::20], [by_pillow(path, 64) for path in paths[::20]])
