"""The command inspect: numbers of the splits, identical images, the picture."""

import csv
import hashlib
import inspect
import itertools
import json
from collections import Counter

import numpy as np
import processes
import pytest
from conftest import TINY, one_line, tiny_arrays, write_folder
from photo_files import picture, saved, write_photos
from PIL import Image

from graphcnn.data import duplicates, survey
from graphcnn.data.split_images import SplitImages


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Use a temporary folder as the default cache and as the current folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


def report(command, source, *flags):
    outcome = command("inspect", f"--data={source}", "--json", *flags)
    assert outcome.status == 0, outcome.err
    return json.loads(outcome.out)


def pairs(twins):
    """Return [("test 0", "train 1"), …]."""
    return [tuple(f"{image['split']} {image['row']}" for image in (t["image"], t["twin"])) for t in twins]


def by_dictionary(splits):
    """Return Duplicates, computed image by image in a dictionary."""
    first, own, found = {}, {}, ([], [], [])
    for name, images, rows, labels in splits:
        for n, row in enumerate(rows):
            digest, label = hashlib.sha256(images[row].tobytes()).digest(), None if labels is None else labels[n]
            twin_split, twin_row, twin_label = first.setdefault(digest, (name, row, label))
            if twin_split != name:
                found[0].append((name, row, twin_split, twin_row))
            if own.setdefault((name, digest), row) != row:
                found[1].append((name, row, name, own[name, digest]))
            if label is not None and label != twin_label:
                found[2].append((name, row, twin_split, twin_row))
    return found


@pytest.mark.parametrize("seed", range(8))
def test_identical_images_are_those_of_a_dictionary(seed):
    generator = np.random.default_rng(seed)
    train, test = (generator.integers(0, 2, (rows, 2, 2), np.uint8) for rows in (30, 300))
    is_dev = generator.random(30) < 0.3
    labels = generator.integers(0, 3, 30)
    splits = [("train", train, np.flatnonzero(~is_dev), labels[~is_dev])]
    splits += [("dev", train, np.flatnonzero(is_dev), labels[is_dev])]
    splits += [("test", test, np.arange(300), None if seed % 2 else generator.integers(0, 3, 300))]
    found = duplicates.find_duplicates([SplitImages(*split) for split in splits])
    assert [list(map(tuple, twins)) for twins in found] == list(map(list, by_dictionary(splits)))


@pytest.mark.parametrize("change", [lambda x: x.astype(np.float32), lambda x: x[..., :1], lambda x: x[..., 0]])
def test_images_of_another_form_are_compared_as_rgb(change):
    grey = np.random.default_rng(0).integers(0, 256, (6, 4, 4, 1), np.uint8)
    train, test = np.repeat(grey, 3, axis=3), change(np.repeat(grey[4:], 3, axis=3))
    splits = [
        SplitImages("train", train, np.arange(6), np.arange(6) % 2),
        SplitImages("test", test, np.arange(2), None),
    ]
    assert duplicates.find_duplicates(splits).across == [("test", 0, "train", 4), ("test", 1, "train", 5)]


def test_arrays(tmp_path, command):
    (x, y), (x_test, _) = tiny_arrays(), tiny_arrays(24, seed=1)
    y = y[:, 0]
    x[5] = x[40] = x[30]  # rows 0 to 23 are the dev split
    x_test[7] = x[2]
    y[[5, 30, 40]] = 2, 0, 1
    data = write_folder(tmp_path / "data", x_train=x, y_train=y, x_test=x_test)
    found = report(command, data)
    train, dev, test = found["splits"]
    assert [split["images"] for split in found["splits"]] == [72, 24, 24]
    assert train["counts"] == [int((y[24:] == k).sum()) for k in range(3)]
    assert (train["low"], train["high"], train["classes"]) == (x[24:].min(), x[24:].max(), 3)
    assert train["largest_to_smallest"] == max(train["counts"]) / min(train["counts"])
    assert (dev["counts"], test["counts"], found["suggestion"]) == ([8, 8, 8], [8, 8, 8], None)
    assert (found["height"], found["width"], found["channels"], found["dtype"]) == (16, 16, 3, "uint8")
    assert pairs(found["duplicates"]["across"]) == [("dev 5", "train 30"), ("test 7", "dev 2")]
    assert pairs(found["duplicates"]["inside"]) == [("train 40", "train 30")]
    assert pairs(found["duplicates"]["relabelled"]) == [
        ("train 40", "train 30"), ("dev 5", "train 30"), ("test 7", "dev 2"),
    ]  # fmt: skip

    outcome = command("inspect", f"--data={data}")
    assert (outcome.status, outcome.err) == (0, "")
    assert "warning: 1 of 24 dev images are identical to a training image\n  dev row 5 (2) = train row 30 (0)\n" in (
        outcome.out
    )
    assert "warning: 1 of 24 test images are identical to a dev image\n  test row 7" in outcome.out
    assert "1 of 72 training images repeat another training image\n  train row 40" in outcome.out
    assert outcome.out.endswith(f"\nwritten: {tmp_path / 'here' / 'data.png'}\n")


def test_image_files_are_named(tmp_path, command):
    write_photos(tmp_path / "set" / "train", rows=8)
    write_photos(tmp_path / "set" / "test", rows=2, seed=1)
    copy = (tmp_path / "set" / "train" / "cat" / "03.png").read_bytes()
    (tmp_path / "set" / "test" / "cat" / "copy.png").write_bytes(copy)
    found = report(command, tmp_path / "set", "--image_size=16", "--dev_fraction=0")
    (twin,) = found["duplicates"]["across"]
    assert twin["image"] == {"split": "test", "row": 4, "file": "cat/copy.png"}  # the classes are bat, cat and owl
    assert twin["twin"]["file"] == "cat/03.png"
    sizes = []
    for path in (tmp_path / "set").glob("*/*/*"):
        with Image.open(path) as image:
            sizes.append(image.size)
    widths, heights = zip(*sizes, strict=True)
    assert found["file_sizes"] == {
        "files": len(sizes), "width": [min(widths), int(np.median(widths)), max(widths)],
        "height": [min(heights), int(np.median(heights)), max(heights)], "smaller": 0,
    }  # fmt: skip
    outcome = command("inspect", f"--data={tmp_path / 'set'}", "--image_size=24", "--dev_fraction=0")
    assert "  test cat/copy.png (cat) = train cat/03.png (cat)\n" in outcome.out
    smaller = sum(min(size) < 24 for size in sizes)
    assert f"image files: {len(sizes)}, " in outcome.out
    assert f"; {smaller} are smaller than 24x24 and were enlarged\n" in outcome.out


def test_a_file_of_labels_and_a_folder_without_test_labels(tmp_path, command):
    for n in range(12):
        saved(picture(n), tmp_path / "set" / f"{n}.png")
    with (tmp_path / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("file_name", "label"), *((f"{n}.png", "ab"[n % 2]) for n in range(12))])
    found = report(command, tmp_path / "set", f"--label_file={tmp_path / 'labels.csv'}", "--dev_fraction=0.5")
    assert [split["counts"] for split in found["splits"]] == [[3, 3], [3, 3]]

    write_photos(tmp_path / "classes" / "train", rows=4)
    (tmp_path / "classes" / "test").mkdir()
    (tmp_path / "set" / "3.png").rename(tmp_path / "classes" / "test" / "3.png")
    outcome = command("inspect", f"--data={tmp_path / 'classes'}")
    assert outcome.status == 0, outcome.err
    assert [line for line in outcome.out.splitlines() if line.split()[:4] == ["test", "1", "no", "labels"]]


def test_many_files_have_no_sizes(tmp_path, command, monkeypatch):
    monkeypatch.setattr(survey, "MOST_FILES", 23)
    monkeypatch.setattr("graphcnn.evaluation.data_report.MOST_FILES", 23)
    write_photos(tmp_path / "set")
    assert report(command, tmp_path / "set")["file_sizes"] is None
    out = command("inspect", f"--data={tmp_path / 'set'}").out
    assert "image files: 24, so their sizes were not read (at most 23 are)\n" in out


@pytest.mark.parametrize(("classes", "lines"), [(100, 100), (101, 41)])
def test_a_table_of_many_classes_has_the_largest_and_the_smallest(classes, lines, tmp_path, command):
    labels = np.repeat(np.arange(classes), 2 + np.arange(classes) % 7)
    x = np.random.default_rng(0).integers(0, 256, (len(labels), 4, 4, 3), np.uint8)
    data = write_folder(tmp_path / "data", x_train=x, y_train=labels, x_test=None, y_test=None)
    out = command("inspect", f"--data={data}", "--dev_fraction=0").out
    printed = out.splitlines()
    head = next(n for n, line in enumerate(printed) if line.split() == ["class", "train"])
    rows = list(itertools.takewhile(str.strip, printed[head + 2 :]))
    counts = Counter(labels.tolist())
    assert len(rows) == lines
    assert sum(int(row.split()[-1].replace(",", "")) for row in rows) == len(labels)
    if lines == 41:
        assert [int(row.split()[1]) for row in rows[:20]] == sorted(counts.values(), reverse=True)[:20]
        assert rows[20].split()[:3] == ["61", "other", "classes"]
    assert "suggestion: class 6 has 8 training images, class 0 only 2" in out


def test_at_most_twenty_are_named(tmp_path, command):
    x, _ = tiny_arrays()
    data = write_folder(tmp_path / "data", x_test=x[40:70], y_test=None)
    out = command("inspect", f"--data={data}").out
    assert "warning: 30 of 30 test images are identical to a training image\n" in out
    assert out.count("\n  test row ") == 20
    assert "\n  and 10 more\n" in out
    assert len(report(command, data)["duplicates"]["across"]) == 30


def test_mean_images_are_those_of_numpy():
    generator = np.random.default_rng(0)
    images, labels = generator.random((700, 300, 5, 3), np.float32), generator.integers(0, 4, 600)
    rows = np.sort(generator.permutation(700)[:600])
    means = survey.mean_images(SplitImages("train", images, rows, labels), [1, 3])
    expected = [images[rows], images[rows[labels == 1]], images[rows[labels == 3]]]
    assert means == pytest.approx(np.stack([part[:, ::3, ::3].mean(axis=0) for part in expected]), abs=1e-5)


@pytest.mark.parametrize(("limit", "dev", "test", "words"), [
    (10**9, 0, 0, None), (10**9, 2, 0, "2 dev"), (10**9, 0, 3, "3 test"), (10**9, 2, 3, "2 dev and 3 test"),
    (10**3, 2, 3, None),
])  # fmt: skip
def test_train_warns_of_images_of_dev_and_test_that_are_training_images(
    limit, dev, test, words, tmp_path, command, monkeypatch
):
    monkeypatch.setattr(duplicates, "MOST_BYTES", limit)
    (x, _), (x_test, _) = tiny_arrays(), tiny_arrays(24, seed=1)
    x[:dev], x_test[:test] = x[40], x[50]  # rows 0 to 23 are the dev split
    data = write_folder(tmp_path / "data", x_train=x, x_test=x_test)
    flags = [f"--data={data}", f"--checkpoints={tmp_path}", *TINY, "--flip=random", "--show_augmentation"]
    outcome = command("train", *flags)
    assert (outcome.status, outcome.err) == (0, "")
    lines = [line for line in outcome.out.splitlines() if line.startswith("warning")]
    text = (
        f"warning: {words} images are identical to a training image, which makes the scores on these splits too high; "
    )
    assert lines == ([text + "./run.sh inspect names them"] if words else [])


@pytest.mark.pictures
@pytest.mark.parametrize("classes", [2, 30, 60])
def test_the_picture(classes, tmp_path, command):
    x, y = tiny_arrays(classes * 4, classes=classes)
    data = write_folder(tmp_path / "data", x_train=x, y_train=y, x_test=None, y_test=None)
    (data / "class_names.txt").write_text(
        "\n".join(["$x^2$", "猫", *(f"a long name {n}" * 3 for n in range(2, classes))])
    )
    found = report(command, data, f"--out={tmp_path / 'a.png'}", "--dev_split=stratified")
    assert found["picture"] == str(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        assert image.format == "PNG"
        assert image.width == 11 * 110


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--data=nowhere"], "--data=nowhere: no such folder"),
        (["--image_size=4"], "--image_size: found 4, expected a number from 16 to 1024"),
        (["--dev_fraction=1"], "--dev_fraction: found 1"),
        (["--dev_split=last"], "--dev_split: unknown name 'last'"),
        (["--fit=cropp"], "did you mean 'crop'"),
        (["more"], "found 'more', expected only flags"),
        (["--out=/nowhere/a.png"], "/nowhere"),
    ],
)
def test_refused(flags, words, command):
    outcome = command("inspect", "--data=digits", *flags)
    assert (outcome.status, one_line(outcome.err)) == (2, True), outcome.err
    assert words in outcome.err


def test_tensorflow_is_not_imported_and_the_module_inspect_of_python_is_not_replaced(tmp_path):
    program = (
        "import runpy, sys\n"
        "try: runpy.run_module('graphcnn.inspect', run_name='__main__')\n"
        "except SystemExit as end: code = end.code\n"
        "import inspect\n"
        "print(code, 'tensorflow' in sys.modules, inspect.__file__, file=sys.stderr)\n"
    )
    data = write_folder(tmp_path / "data")
    status, _, err = processes.run("-c", program, f"--data={data}", f"--out={tmp_path / 'a.png'}", fresh=True)
    assert (status, err) == (0, f"0 False {inspect.__file__}\n")
