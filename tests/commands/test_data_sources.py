"""Data sources on the command line, from training to a submission."""

import csv
import json
import os

import numpy as np
import pytest
from cifar10_files import batch, make_known, members, packed
from conftest import TINY, one_line
from photo_files import picture, png_of_size, saved, write_photos

from graphcnn.data import images


@pytest.fixture(autouse=True)
def cache_home(tmp_path, monkeypatch):
    """Use a temporary folder as the default cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    return tmp_path / "xdg" / "graphcnn"


def test_a_folder_of_images_from_training_to_submission(tmp_path, command, cache_home):
    """Class names may be any text, the data and their cache may be moved, and images may have any size."""
    names = ("$5 $x^2$", "Käuze", "猫")
    write_photos(tmp_path / "set" / "train", rows=16, classes=names)
    write_photos(tmp_path / "set" / "test", rows=4, classes=names, seed=1)
    (tmp_path / "set" / "train" / "猫" / "00.png").write_bytes(b"")
    root, own = f"--checkpoints={tmp_path / 'runs'}", f"--cache_dir={tmp_path / 'own'}"
    outcome = command("train", f"--data={tmp_path / 'set'}", root, own, "--run=a", "--skip_broken", *TINY)
    assert outcome.status == 0, outcome.err
    assert "images: 36 training, 11 dev (stratified); 16x16 pixels, 3 classes" in outcome.out
    assert not cache_home.exists()
    for split in ("dev", "test"):
        outcome = command("eval", root, own, f"--split={split}")
        assert (outcome.status, outcome.err) == (0, "")
        assert all(name in outcome.out for name in names)
    numbers = json.loads((tmp_path / "runs" / "a" / "report" / "test.json").read_text())
    assert np.sum(numbers["confusion"]) == 12
    assert set(numbers["per_class"]) == set(names)

    path = tmp_path / "set" / "test" / "Käuze" / "03.png"
    outcome = command("predict", root, path, f"--out={tmp_path / 'p.npy'}")
    assert f"\n{path}: " in outcome.out
    outcome = command("submit", root, f"--out={tmp_path / 'hand-in'}")
    assert outcome.status == 0, outcome.err
    assert np.load(tmp_path / "hand-in" / "result.npy")[7] == pytest.approx(np.load(tmp_path / "p.npy")[0], abs=1e-6)
    assert np.array_equal(np.load(tmp_path / "hand-in" / "x_test.npy")[7], images.read_image(path, (16, 16), "crop"))
    with (tmp_path / "hand-in" / "test_files.csv").open(encoding="utf-8", newline="") as file:
        assert list(csv.reader(file))[8] == ["7", "Käuze/03.png"]

    (tmp_path / "set").rename(tmp_path / "moved")
    assert "no such folder" in command("eval", root).err
    moved = f"--data={tmp_path / 'moved'}"
    assert command("eval", root, moved).status == 0
    assert command("train", root, moved, f"--cache_dir={tmp_path / 'new'}", "--resume", "--epochs=3").status == 0
    assert (tmp_path / "new").exists()
    outcome = command("eval", root, moved, "--noskip_broken")
    assert outcome.status == 2
    assert "00.png: not an image" in outcome.err
    saved(picture(9), tmp_path / "moved" / "train" / "猫" / "99.png")
    assert "are not those of run a" in command("eval", root, moved).err


def test_dev_folder_and_test_images_without_labels(tmp_path, command):
    """val/ is the dev split in each command, and the rows of a submission have names."""
    data, root = tmp_path / "set", f"--checkpoints={tmp_path / 'runs'}"
    write_photos(data / "train")
    write_photos(data / "val", rows=3, seed=1)
    for n in range(2):
        saved(picture(n), data / "test" / f"{n}.png")
    start = ["train", f"--data={data}", root, "--run=a", *TINY, "--fit=pad"]
    for flag in ("--dev_fraction=0.2", "--dev_split=stratified"):
        outcome = command(*start, flag)
        assert (outcome.status, one_line(outcome.err)) == (2, True)
        assert f"{flag}: {data / 'val'} has the dev split of these data; drop the flag" in outcome.err
    outcome = command(*start, "--epochs=1")
    assert outcome.status == 0, outcome.err
    assert "images: 24 training, 9 dev (val/); 16x16 pixels, 3 classes" in outcome.out
    assert "submit --run=a" in outcome.out
    assert command(*start, "--resume", "--epochs=2").status == 0
    outcome = command(*start[:-1], "--resume", "--fit=crop")
    assert outcome.status == 2
    assert "--fit: found crop, but the run was started with pad" in outcome.err
    outcome = command("eval", root)
    assert outcome.status == 0, outcome.err
    assert np.sum(json.loads((tmp_path / "runs" / "a" / "report" / "dev.json").read_text())["confusion"]) == 9
    outcome = command("eval", root, "--split=test")
    assert "the test images have no labels" in outcome.err
    assert command("submit", root, f"--out={tmp_path / 'hand-in'}").status == 0
    assert (tmp_path / "hand-in" / "test_files.csv").read_text() == "row,file\n0,0.png\n1,1.png\n"
    assert "`test_files.csv`" in (tmp_path / "hand-in" / "README.md").read_text()
    assert command("predict", root, data / "test" / "1.png", f"--out={tmp_path / 'p.npy'}").status == 0
    result = np.load(tmp_path / "hand-in" / "result.npy")
    assert result[1] == pytest.approx(np.load(tmp_path / "p.npy")[0], abs=1e-6)
    (data / "val" / "owl" / "00.png").unlink()
    assert "are not those of run a" in command("eval", root).err


def test_a_folder_without_test_images(tmp_path, command):
    root = f"--checkpoints={tmp_path / 'runs'}"
    outcome = command("train", f"--data={write_photos(tmp_path / 'set')}", root, *TINY, "--epochs=1")
    assert outcome.status == 0, outcome.err
    for name, flags in (("eval", ["--split=test"]), ("submit", [f"--out={tmp_path / 'out'}"])):
        outcome = command(name, root, *flags)
        assert outcome.status == 2
        assert f"{tmp_path / 'set' / 'test'} is missing" in outcome.err


def test_a_run_without_recorded_data_options(trained_copy, command):
    path = trained_copy / "tiny" / "config.json"
    config = json.loads(path.read_text())
    assert config["data"].pop("options") == {
        "image_size": 16, "fit": "crop", "skip_broken": False, "cache_dir": None, "data_cache": None,
    }  # fmt: skip
    path.write_text(json.dumps(config))
    assert command("eval", f"--checkpoints={trained_copy}").status == 0
    for options in ({"image_size": "16"}, {"skip_broken": 1}, {"cache_dir": 5}, {"other": 1}, [], 3):
        path.write_text(json.dumps({**config, "data": {**config["data"], "options": options}}))
        outcome = command("eval", f"--checkpoints={trained_copy}")
        assert outcome.status == 2, options
        assert "config.json: cannot be read" in outcome.err


def test_files_that_are_not_images_are_refused_or_skipped(tmp_path, command):
    root = write_photos(tmp_path / "set")
    files = {"a.png": png_of_size(9000, 9000), os.fsdecode(b"caf\xe9.jpg"): b""}
    flags = [f"--data={root}", f"--checkpoints={tmp_path / 'runs'}", *TINY, "--epochs=1"]
    for name, content in files.items():
        (root / "owl" / name).write_bytes(content)
        outcome = command("train", *flags)
        assert outcome.status == 2
        assert one_line(outcome.err), outcome.err
        assert str(root / "owl" / name.split("\udce9")[0]) in outcome.err
        if name == "a.png":
            (root / "owl" / name).unlink()
    (root / "owl" / "a.png").write_bytes(files["a.png"])
    outcome = command("train", *flags, "--skip_broken", "--nodebug")
    assert (outcome.status, outcome.err) == (0, "")
    assert outcome.out.count(f"skipped: {root / 'owl'}") == 2
    assert "18 training, 6 dev" in outcome.out


def test_cifar10_from_training_to_submission(tmp_path, command, monkeypatch):
    """Each call names the cache folder, because it is not in the default folder."""
    content = packed(members())
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / make_known(monkeypatch, tmp_path, content).name).write_bytes(content)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "empty"))
    root = f"--checkpoints={tmp_path / 'runs'}"
    cache = f"--data_cache={os.path.relpath(tmp_path / 'cache')}"
    outcome = command("train", "--data=cifar10", cache, root, "--run=a", *TINY)
    assert outcome.status == 0, outcome.err
    assert "images: 75 training, 25 dev (first); 32x32 pixels, 10 classes" in outcome.out
    outcome = command("eval", root, cache, "--split=test")
    assert outcome.status == 0, outcome.err
    assert "automobile" in outcome.out
    (tmp_path / "cache").rename(tmp_path / "moved")
    assert "cannot be downloaded" in command("eval", root).err
    moved = f"--data_cache={tmp_path / 'moved'}"
    assert command("eval", root, moved).status == 0
    assert command("train", root, moved, "--run=a", "--resume", "--epochs=3").status == 0
    outcome = command("submit", root, moved, f"--out={tmp_path / 'hand-in'}")
    assert outcome.status == 0, outcome.err
    assert np.array_equal(np.load(tmp_path / "hand-in" / "x_test.npy"), batch(6)[0])
