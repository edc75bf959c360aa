"""Folders of images with a CSV file of labels."""

import csv
import io
import json
import shutil

import numpy as np
import pytest
from conftest import TINY, one_line
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from photo_files import COLOURS, by_pillow, picture, saved

from graphcnn.common.errors import InputError
from graphcnn.data import image_cache, sources
from graphcnn.data.folder import DEV_FOLDERS
from graphcnn.data.label_file import read_rows
from graphcnn.data.splits import split_settings

NAMES = [f"{place}{n:02d}.{('png', 'jpg')[n % 2]}" for place in ("", "deep/er/") for n in range(15)]
LABELS = [("owl", "bat", "cat")[n % 3] for n in range(30)]
SPLITS = ["test" if n % 5 == 0 else "train" for n in range(30)]


@pytest.fixture(autouse=True)
def cache_home(tmp_path, monkeypatch):
    """The default cache is this test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))


@pytest.fixture
def photos(tmp_path):
    """Return a folder with 30 photos and labels.csv, whose columns are file_name, label and split."""
    root = tmp_path / "set"
    for n, (name, label) in enumerate(zip(NAMES, LABELS, strict=True)):
        saved(picture(n, 20 + n % 4, 30, COLOURS[label]), root / name)
    write(root / "labels.csv", zip(NAMES, LABELS, SPLITS, strict=True))
    return root


def write(path, rows, header=("file_name", "label", "split"), **options):
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, **options).writerows([header, *rows])
    return path


def load(root, test=False, path=None, **options):
    options = {"image_size": 16, "fit": "stretch", "label_file": str(path or root / "labels.csv"), **options}
    return sources.load(root, test, sources.DataOptions(**options))


def test_rows_are_those_of_the_csv_module(photos):
    dataset = load(photos, test=True)
    with (photos / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert dataset.class_names == ("bat", "cat", "owl")
    for split, x, y in (("train", dataset.x_train, dataset.y_train), ("test", dataset.x_test, dataset.y_test)):
        expected = [row for row in rows if row["split"] == split]
        assert np.array_equal(x, [by_pillow(photos / row["file_name"]) for row in expected])
        assert [dataset.class_names[k] for k in y] == [row["label"] for row in expected]
        assert dataset.file_names[f"x_{split}"] == [row["file_name"] for row in expected]
        assert isinstance(x, np.memmap)
        assert y.dtype == np.int32
    assert (dataset.dev_split, dataset.has_test_labels, dataset.source) == ("stratified", True, str(photos))


@pytest.mark.parametrize(
    "change",
    [
        lambda text: b"\xef\xbb\xbf" + text,
        lambda text: text.replace(b"\r\n", b"\n"),
        lambda text: text.replace(b"\r\n", b"\r\n\r\n"),
        lambda text: text.replace(b",", b" , ").replace(b" ,", b","),
        lambda text: text.replace(b"deep/er/", b"./deep//er/"),
        lambda text: text.rstrip(),
    ],
)
def test_other_spellings_of_the_same_file(change, photos):
    expected = load(photos, test=True)
    path = photos / "labels.csv"
    path.write_bytes(change(path.read_bytes()))
    dataset = load(photos, test=True)
    assert dataset.fingerprint == expected.fingerprint
    assert dataset.test_fingerprint() == expected.test_fingerprint()


def test_a_file_elsewhere_without_splits_and_with_other_columns(photos, tmp_path):
    path = write(tmp_path / "l.csv", zip(LABELS, NAMES, strict=True), ("label", "file_name"), quoting=csv.QUOTE_ALL)
    dataset = load(photos, test=True, path=path)
    assert (len(dataset.y_train), dataset.x_test, dataset.has_test_images()) == (30, None, False)


@pytest.mark.parametrize("name", DEV_FOLDERS)
def test_a_dev_split(name, photos):
    splits = [name if n % 3 == 1 else split for n, split in enumerate(SPLITS)]
    write(photos / "labels.csv", zip(NAMES, LABELS, splits, strict=True))
    (photos / NAMES[4]).write_bytes(b"not an image")
    dataset = load(photos, skip_broken=True)
    expected = [image for image, split in zip(NAMES, splits, strict=True) if split == name and image != NAMES[4]]
    assert [dataset.file_names["x_train"][row] for row in dataset.dev_rows] == expected
    assert split_settings(dataset, None, None)["kind"] == "labels.csv"
    with pytest.raises(InputError, match=r"--dev_split=first: .*/labels.csv has the dev split of these data"):
        split_settings(dataset, "first", None)


def test_a_class_without_test_images(photos):
    rows = [(n, k, "train" if k == "bat" else s) for n, k, s in zip(NAMES, LABELS, SPLITS, strict=True)]
    write(photos / "labels.csv", rows)
    dataset = load(photos, test=True)
    assert {dataset.class_names[k] for k in dataset.y_test} == {"cat", "owl"}


def test_other_labels_need_no_decoding_but_are_other_data(photos, monkeypatch):
    before = load(photos)
    monkeypatch.setattr(image_cache, "read_image", lambda *_: 1 / 0)
    others = ["owl" if label == "bat" else label for label in LABELS]
    write(photos / "labels.csv", zip(NAMES, others, SPLITS, strict=True))
    after = load(photos)
    assert np.array_equal(after.x_train, before.x_train)
    assert after.class_names == ("cat", "owl")
    swapped = [{"owl": "bat", "bat": "owl"}.get(label, label) for label in LABELS]
    write(photos / "labels.csv", zip(NAMES, swapped, SPLITS, strict=True))
    assert len({before.fingerprint, after.fingerprint, load(photos).fingerprint}) == 3


def test_broken_images(photos):
    (photos / NAMES[1]).write_bytes(b"not an image")
    with pytest.raises(InputError, match=f"{NAMES[1]}: not an image"):
        load(photos)
    dataset = load(photos, skip_broken=True)
    assert len(dataset.y_train) == SPLITS.count("train") - 1
    assert NAMES[1] not in dataset.file_names["x_train"]
    for name, label in zip(NAMES, LABELS, strict=True):
        if label == "cat":
            (photos / name).write_bytes(b"not an image")
    with pytest.raises(InputError, match="no image with the label 'cat' can be read"):
        load(photos, skip_broken=True)


HEAD = "file_name,label,split\n"
BAD = {  # name: (content of the file, words of the message)
    "empty": ("", "has no column 'file_name', found an empty file"),
    "no label column": ("file_name,split\n00.png,train\n", "has no column 'label', found 'file_name', 'split'"),
    "semicolons": ("file_name;label\n", "has no column 'file_name', found 'file_name;label'"),
    "another column": ("file_name,label,Split\n", "has the column 'Split', expected"),
    "a column twice": ("file_name,label,label\n", "has the column 'label' twice"),
    "no rows": (HEAD, "0 different labels of training images"),
    "one class": (HEAD + "00.png,owl,train\n", "1 different labels of training images .owl., expected 2"),
    "only test rows": (HEAD + "00.png,owl,test\n", "0 different labels"),
    "missing file": (HEAD + "00.png,a,train\n\n99.png,b,train\n", "line 4: .*/set/99.png: no such file"),
    "a folder": (HEAD + "00.png,a,train\ndeep,b,train\n", "line 3: .*/set/deep: no such file"),
    "duplicate": (HEAD + "00.png,a,train\n./00.png,b,test\n", "line 3: 00.png is already in line 2"),
    "leaves the folder": (HEAD + "../set/00.png,a,train\n", "line 2: found file_name '../set/00.png', expected a path"),
    "leaves and comes back": (HEAD + "deep/../00.png,a,train\n", "has no .."),
    "absolute": (HEAD + "/etc/passwd,a,train\n", "starts with no /"),
    "two slashes": (HEAD + "//etc/passwd,a,train\n", "starts with no /"),
    "empty name": (HEAD + ",a,train\n", "line 2: found file_name ''"),
    "the folder itself": (HEAD + ".,a,train\n", "line 2: found file_name '.'"),
    "empty label": (HEAD + "00.png, ,train\n", "line 2: the label is empty"),
    "two lines in a label": (HEAD + '00.png,"a\nb",train\n', "found label .*expected one line"),
    "unknown split": (HEAD + "00.png,a,tain\n", "line 2: split: unknown name 'tain'; did you mean 'train'"),
    "empty split": (HEAD + "00.png,a,\n", "split: unknown name ''"),
    "fewer columns": (HEAD + "00.png,a\n", "line 2: 2 columns, expected 3: file_name,label,split"),
    "more columns": (HEAD + "00.png,a,train,1\n", "line 2: 4 columns, expected 3"),
    "open quotes": (HEAD + '00.png,"a,train\n', "is not valid CSV"),
    "text after quotes": (HEAD + '00.png,"a"b,train\n', "line 2: is not valid CSV"),
    "a long cell": (HEAD + f"00.png,{'a' * 200_000},train\n", "is not valid CSV .field larger"),
    "nul": (HEAD + "00\0.png,a,train\n", "line 2: "),
    "not utf-8": (b"file_name,label\n00.png,\xe9t\xe9\n", "is not UTF-8 text"),
    "utf-16": ("file_name,label\n".encode("utf-16"), "is not UTF-8 text"),
    "a label only in test": (HEAD + "00.png,a,train\n01.jpg,b,train\n02.png,c,test\n", "line 4: .*unknown name 'c'"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_is_one_line(case, photos):
    content, words = BAD[case]
    (photos / "labels.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=words) as caught:
        load(photos)
    assert str(caught.value).startswith(str(photos / "labels.csv"))
    assert "\n" not in str(caught.value)


def test_the_flag_goes_with_a_folder(photos, tmp_path, command):
    flags = [f"--label_file={photos / 'labels.csv'}", f"--checkpoints={tmp_path / 'runs'}", *TINY]
    np.savez(tmp_path / "a.npz", x_train=1)
    for source in ("digits", tmp_path / "a.npz"):
        outcome = command("train", f"--data={source}", *flags)
        assert (outcome.status, one_line(outcome.err)) == (2, True)
        assert "is not a folder of images" in outcome.err
    (photos / "labels.csv").unlink()
    outcome = command("train", f"--data={photos}", *flags)
    assert (outcome.status, one_line(outcome.err)) == (2, True)
    assert f"--label_file={photos / 'labels.csv'}: no such file" in outcome.err


CELLS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=8)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(CELLS.map("n{}".format), CELLS.map("{}k".format), st.sampled_from(["train", "test"])),
        unique_by=lambda row: row[0].rstrip("/."),
    ),
    st.permutations(("file_name", "label", "split")),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
)
def test_any_table_is_read_back(tmp_path, table, header, end, quoting):
    rows = [(n.replace("/", "_"), k, split) for n, k, split in table]
    if len({name for name, _, _ in rows}) < len(rows):
        return
    order = [("file_name", "label", "split").index(name) for name in header]
    path = write(
        tmp_path / "l.csv", [[row[k] for k in order] for row in rows], header, lineterminator=end, quoting=quoting
    )
    assert [row[:3] for row in read_rows(path)] == [(name, label.strip(), split) for name, label, split in rows]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(st.binary(max_size=60), st.text(st.sampled_from('ab,"\r\n./\0é'), max_size=60).map(str.encode)))
def test_any_bytes_are_rows_or_one_error(tmp_path, content):
    path = tmp_path / "l.csv"
    path.write_bytes(b"file_name,label\n" + content)
    try:
        rows = read_rows(path)
    except InputError as error:
        assert "\n" not in str(error)
    else:
        expected = [row for row in csv.reader(io.StringIO(content.decode(), newline="")) if row]
        assert [row.label for row in rows] == [label.strip() for _, label in expected]
        for row in rows:
            assert ".." not in row.name.split("/")
            assert not row.name.startswith("/")


def test_commands_find_the_file_again(photos, tmp_path, command):
    root = f"--checkpoints={tmp_path / 'runs'}"
    flags = [f"--data={photos}", f"--label_file={photos / 'labels.csv'}", root, "--run=a"]
    outcome = command("train", *flags, *TINY)
    assert outcome.status == 0, outcome.err
    options = json.loads((tmp_path / "runs" / "a" / "config.json").read_text())["data"]["options"]
    assert options["label_file"] == "labels.csv"
    moved = tmp_path / "moved"
    photos.rename(moved)
    for name, *arguments in (
        ("train", "--run=a", "--resume", "--epochs=3"),
        ("eval", "--split=dev,test"),
        ("submit", f"--out={tmp_path / 'submission'}"),
    ):
        outcome = command(name, root, f"--data={moved}", *arguments)
        assert outcome.status == 0, outcome.err
    assert len(np.load(tmp_path / "submission" / "result.npy")) == SPLITS.count("test")
    assert command("predict", root, moved / NAMES[0]).status == 0
    shutil.move(moved / "labels.csv", tmp_path / "labels.csv")
    outcome = command("eval", root, f"--data={moved}")
    assert (outcome.status, one_line(outcome.err)) == (2, True)
    assert f"--label_file={moved / 'labels.csv'}: no such file" in outcome.err
    outcome = command("eval", root, f"--data={moved}", f"--label_file={tmp_path / 'labels.csv'}")
    assert outcome.status == 0, outcome.err
    write(tmp_path / "labels.csv", zip(NAMES, LABELS[::-1], SPLITS, strict=True))
    outcome = command("eval", root, f"--data={moved}", f"--label_file={tmp_path / 'labels.csv'}")
    assert (outcome.status, one_line(outcome.err)) == (2, True)
    assert "are not those of run a" in outcome.err
