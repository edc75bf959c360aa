"""eval on labelled images that are not in the data of the run: class folders, and an array with labels."""

import json
import shutil

import numpy as np
import pytest
from conftest import TINY, one_line, tiny_arrays, write_folder
from photo_files import write_photos
from sklearn.metrics import accuracy_score, f1_score

SCORES = ("macro_f1", "accuracy", "cross_entropy", "confusion")


@pytest.fixture
def photos(tmp_path, command, monkeypatch):
    """Train a run on class folders with a test split; return (flag of the runs, the report folder, the data)."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    write_photos(tmp_path / "set" / "train")
    write_photos(tmp_path / "set" / "test", rows=4, seed=1)
    root = f"--checkpoints={tmp_path / 'runs'}"
    outcome = command("train", f"--data={tmp_path / 'set'}", root, "--run=a", *TINY, "--epochs=1")
    assert outcome.status == 0, outcome.err
    return root, tmp_path / "runs" / "a" / "report", tmp_path / "set"


def test_class_folders_give_the_scores_of_the_test_split(photos, tmp_path, command):
    root, report, data = photos
    assert command("eval", root, "--split=test").status == 0
    expected = json.loads((report / "test.json").read_text())
    shutil.move(data / "test", tmp_path / "elsewhere")
    shutil.rmtree(data)
    outcome = command("eval", root, f"--images={tmp_path / 'elsewhere'}")
    assert outcome.status == 0, outcome.err
    assert "note:" not in outcome.out
    assert f"images macro F1: {expected['macro_f1']:.6f}" in outcome.out
    numbers = json.loads((report / "images.json").read_text())
    assert {name: numbers[name] for name in SCORES} == {name: expected[name] for name in SCORES}
    assert numbers["source"] == str(tmp_path / "elsewhere")
    assert (report / "images_confusion.png").exists()
    assert (report / "images_mistakes.png").exists()


def test_class_folders_are_matched_by_name(photos, tmp_path, command):
    root, report, data = photos
    shutil.rmtree(data / "test" / "bat")
    outcome = command("eval", root, f"--images={data / 'test'}")
    assert outcome.status == 0, outcome.err
    assert "note: 1 of 3 classes have no image here, the first is bat; " in outcome.out
    counts = np.array(json.loads((report / "images.json").read_text())["confusion"])
    assert counts.sum(axis=1).tolist() == [0, 4, 4]  # bat, cat, owl
    (data / "test" / "cat").rename(data / "test" / "cats")
    outcome = command("eval", root, f"--images={data / 'test'}")
    assert outcome.status == 2
    assert one_line(outcome.err)
    assert f"{data / 'test' / 'cats'}: the folders are matched by name with the classes of run a; " in outcome.err
    assert "did you mean 'cat'?" in outcome.err
    (tmp_path / "empty").mkdir()
    assert "found no folders in it" in command("eval", root, f"--images={tmp_path / 'empty'}").err
    assert "found no folders in it" in command("eval", root, f"--images={tmp_path / 'nowhere'}").err


def test_an_array_gives_the_scores_of_scikit_learn(trained_copy, trained, predicted, tmp_path, command):
    np.save(tmp_path / "y.npy", predicted.labels)
    arguments = [f"--array={trained[1] / 'x_test.npy'}", f"--labels={tmp_path / 'y.npy'}", "--precision=float32"]
    outcome = command("eval", f"--checkpoints={trained_copy}", *arguments)
    assert outcome.status == 0, outcome.err
    numbers = json.loads((trained_copy / "tiny" / "report" / "array.json").read_text())
    classes = predicted.softmax.argmax(axis=1)
    assert numbers["macro_f1"] == pytest.approx(f1_score(predicted.labels, classes, average="macro"))
    assert numbers["accuracy"] == pytest.approx(accuracy_score(predicted.labels, classes))


def test_photos_for_a_run_on_pixels_up_to_1_and_ensembles(tmp_path, command, monkeypatch):
    """The members decode the photos at their own image sizes. Only fitted weights need the data of the runs."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    write_photos(tmp_path / "photos", classes=("0", "1", "2"))
    root = f"--checkpoints={tmp_path / 'runs'}"
    for name, side in (("a", 16), ("b", 16), ("c", 20)):
        x, y = tiny_arrays(side=side)
        data = write_folder(tmp_path / f"data{side}", x_train=x / np.float32(255), y_train=y, x_test=None, y_test=None)
        assert command("train", f"--data={data}", root, f"--run={name}", *TINY, "--epochs=1").status == 0
    for runs, kind in (("a,c", "mean"), ("a,b", "fitted")):
        outcome = command("eval", root, f"--run={runs}", f"--ensemble={kind}", f"--images={tmp_path / 'photos'}")
        assert outcome.status == 0, outcome.err
        assert "images macro F1: " in outcome.out
    photo = tmp_path / "photos" / "2" / "00.png"
    shutil.rmtree(tmp_path / "photos" / "0")
    shutil.rmtree(tmp_path / "photos" / "1")
    for other in sorted((tmp_path / "photos" / "2").glob("0[1-9]*")):
        other.unlink()
    assert command("eval", root, "--run=a", "--precision=float32", f"--images={tmp_path / 'photos'}").status == 0
    assert command("predict", root, "--run=a", photo, f"--out={tmp_path / 'p.npy'}").status == 0
    numbers = json.loads((tmp_path / "runs" / "a" / "report" / "images.json").read_text())
    assert numbers["cross_entropy"] == pytest.approx(-np.log(np.load(tmp_path / "p.npy")[0, 2]), rel=1e-4)


REFUSED = {  # name: (flags, words of the message)
    "two sources": (["--images=d", "--array=x.npy", "--labels=y.npy"], "--images and --array exclude each other"),
    "an array without labels": (["--array=x.npy"], "--labels goes with --predictions or --array"),
    "labels of folders": (["--images=d", "--labels=y.npy"], "--labels goes with --predictions or --array"),
    "a split": (["--images=d", "--split=dev"], "--split: --images is scored instead of the run's data"),
    "data": (["--array=x.npy", "--labels=y.npy", "--data=d"], "--data: --array is scored instead of the run's data"),
    "labels of other classes": (
        ["--array={data}/x_test.npy", "--labels={tmp}/3.npy"],
        "3.npy: holds label 3, expected",
    ),
    "fewer labels": (["--array={data}/x_test.npy", "--labels={tmp}/1.npy"], "1.npy: 1 labels for 24 images"),
    "images of another size": (["--array={tmp}/small.npy", "--labels={tmp}/1.npy"], "images are 8x8, expected 16x16"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case, trained, tmp_path, command):
    np.save(tmp_path / "1.npy", [1])
    np.save(tmp_path / "3.npy", np.full(24, 3))
    np.save(tmp_path / "small.npy", np.zeros((1, 8, 8, 3), np.uint8))
    flags, words = REFUSED[case]
    flags = [flag.format(data=trained[1], tmp=tmp_path) for flag in flags]
    outcome = command("eval", f"--checkpoints={trained[0]}", *flags)
    assert outcome.status == 2
    assert one_line(outcome.err)
    assert words in outcome.err
