"""predict with many image files: which files it finds, what it prints, and the files that it writes."""

import csv
import json

import numpy as np
import pytest
from conftest import one_line
from photo_files import picture, saved
from PIL import Image

from graphcnn.common.errors import InputError
from graphcnn.data.images import read_image
from graphcnn.data.photo_files import PhotoFiles, find_files


@pytest.fixture
def photos(tmp_path):
    """A folder with six images in two folders, one of them broken, and other files."""
    for n, name in enumerate(["b.jpg", "a.png", "more/=1+1.png", "more/d.webp", "more/e.GIF"]):
        saved(picture(n, 20 + n, 30 - n), tmp_path / "photos" / name)
    (tmp_path / "photos" / "more" / "broken.png").write_bytes(b"hello")
    (tmp_path / "photos" / "notes.txt").write_bytes(b"hello")
    (tmp_path / "photos" / ".hidden.png").write_bytes(b"hello")
    saved(picture(0), tmp_path / "photos" / ".thumbnails" / "a.png")
    (tmp_path / "photos" / "loop").symlink_to(tmp_path / "photos")
    return tmp_path / "photos"


FOUND = {  # argument: files below photos/
    "photos": ["a.png", "b.jpg", "more/=1+1.png", "more/broken.png", "more/d.webp", "more/e.GIF"],
    "photos/*.jpg": ["b.jpg"],
    "photos/**/*.png": ["a.png", "more/=1+1.png", "more/broken.png"],
    "photos/a.png": ["a.png"],
}


@pytest.mark.parametrize("argument", FOUND)
def test_found_files(argument, photos, monkeypatch):
    monkeypatch.chdir(photos.parent)
    found = find_files([argument])
    assert found == [f"photos/{name}" for name in FOUND[argument]]


def test_an_existing_file_is_no_pattern(tmp_path):
    path = saved(picture(0), tmp_path / "a[1]*.png")
    assert find_files([str(path)]) == [str(path)]


NOTHING = {"x*.png": "no file fits this pattern", ".": "holds no image files", "a.png": "a.png: no such file"}


@pytest.mark.parametrize("argument", NOTHING)
def test_nothing_found(argument, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=NOTHING[argument]):
        find_files([argument])


def test_pixels_of_files(photos):
    files = PhotoFiles([str(photos / "a.png"), str(photos / "more" / "broken.png")], (16, 12), "crop", 1)
    pixels = files[np.array([1, 0])]
    assert (len(files), files.shape, pixels.dtype) == (2, (2, 16, 12, 3), np.float32)
    assert not pixels[0].any()
    assert pixels[1] == pytest.approx(read_image(photos / "a.png", (16, 12), "crop") / 255)
    assert list(files.problems) == [1]


def expected_softmax(trained, paths, tmp_path, command):
    """Return the softmax outputs of single calls, {path: [K]}."""
    outputs = {}
    for path in paths:
        out = tmp_path / "one.npy"
        assert command("predict", f"--checkpoints={trained[0]}", path, f"--out={out}").status == 0
        outputs[str(path)] = np.load(out)[0]
    return outputs


def test_a_broken_image_is_a_row_and_the_status_is_2(photos, trained, tmp_path, command):
    """The rows of a .csv, a .json and a .npy file are those of calls with single files."""
    call = ["predict", f"--checkpoints={trained[0]}", photos, "--top=2"]
    (photos / "loop").unlink()
    outcomes = {kind: command(*call, f"--out={tmp_path / kind}") for kind in ("p.csv", "p.json", "p.npy")}
    for outcome in outcomes.values():
        assert (outcome.status, one_line(outcome.err)) == (2, True)
        assert "graphcnn predict: 1 of 6 files could not be read; stdout names them" in outcome.err
        assert f"\n{photos / 'more' / 'broken.png'}: not an image" in outcome.out
    names = [str(photos / name) for name in FOUND["photos"]]
    singles = expected_softmax(trained, [name for name in names if not name.endswith("broken.png")], tmp_path, command)

    with (tmp_path / "p.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["file", "predicted", "probability", "top2", "top2_probability", "error"]
    assert [row[0] for row in rows[1:]] == names
    entries, softmax = json.loads((tmp_path / "p.json").read_text()), np.load(tmp_path / "p.npy")
    for row, entry, name, output in zip(rows[1:], entries, names, softmax, strict=True):
        assert entry["file"] == name
        if name not in singles:
            assert row[1:5] == ["", "", "", ""]
            assert "not an image" in row[5] and row[5] == entry["error"]
            assert (entry["predicted"], entry["probability"], entry["top"]) == (None, None, [])
            assert np.isnan(output).all()
            continue
        best = np.argsort(-output, kind="stable")[:2]
        assert output == pytest.approx(singles[name], abs=1e-6)
        assert [row[1], row[3], row[5]] == [*map(str, best), ""]
        assert [np.float32(row[2]), np.float32(row[4])] == list(output[best])
        assert [(top["class"], np.float32(top["probability"])) for top in entry["top"]] == [
            (str(k), output[k]) for k in best
        ]
        assert (entry["predicted"], entry["error"]) == (str(best[0]), None)


def test_names_are_no_formulas(photos, trained, tmp_path, command, monkeypatch):
    monkeypatch.chdir(photos / "more")
    call = ["predict", f"--checkpoints={trained[0]}", "=1+1.png", "d.webp", f"--out={tmp_path / 'p.csv'}"]
    assert command(*call).status == 0
    assert "\n'=1+1.png," in (tmp_path / "p.csv").read_text()


def test_many_images_are_counted(trained, tmp_path, command):
    """In batches, also if there are more images than in one batch."""
    for n in range(300):
        saved(picture(n, 16, 16), tmp_path / "photos" / f"{n:03d}.png")
    call = ["predict", f"--checkpoints={trained[0]}", tmp_path / "photos"]
    outcome = command(*call, f"--out={tmp_path / 'p.npy'}")
    assert outcome.status == 0, outcome.err
    assert ".png" not in outcome.out
    predicted = np.load(tmp_path / "p.npy").argmax(axis=1)
    counts = [line.split() for line in outcome.out.splitlines() if line.split()[1:] and line.split()[0] in "012"]
    assert sum(int(count) for _, count in counts) == 300
    assert dict(counts) == {str(k): str(n) for k, n in enumerate(np.bincount(predicted)) if n}


REFUSED = {  # flags: words of the message
    ("--out=missing/p.csv",): "--out=missing/p.csv: the folder missing does not exist",
    ("--out=p.txt",): "--out=p.txt: expected a name that ends in .npy, .csv, .json",
    ("--top=0",): "--top: found 0, expected at least 1",
}


@pytest.mark.parametrize("flags", REFUSED)
def test_refused(flags, photos, trained, command):
    outcome = command("predict", f"--checkpoints={trained[0]}", photos / "a.png", *flags)
    assert (outcome.status, one_line(outcome.err)) == (2, True)
    assert REFUSED[flags] in outcome.err


@pytest.mark.parametrize("size", [(64, 1), (1, 64)])
def test_top_is_at_most_the_number_of_classes(size, photos, trained, tmp_path, command):
    Image.new("RGB", size).save(tmp_path / "thin.png")
    outcome = command("predict", f"--checkpoints={trained[0]}", tmp_path / "thin.png", "--top=99")
    assert outcome.status == 0, outcome.err
    assert outcome.out.count("(0.") + outcome.out.count("(1.0000") == 3
