"""eval on a tiny run: scores, files, precisions, and files of predictions."""

import errno
import json

import numpy as np
import pytest
from conftest import TINY, one_line, write_folder
from photo_files import write_photos
from PIL import Image
from sklearn.metrics import accuracy_score, f1_score

from graphcnn.evaluation import dev_score, text_report
from graphcnn.ops import tf1
from graphcnn.storage.run import Run


class TestRun:
    @pytest.mark.pictures
    def test_scores_and_files(self, trained_copy, command):
        outcome = command("eval", f"--checkpoints={trained_copy}", "--split=dev,train,test")
        assert outcome.status == 0, outcome.err
        report = trained_copy / "tiny" / "report"
        for split, rows in {"dev": 24, "train": 72, "test": 24}.items():
            numbers = json.loads((report / f"{split}.json").read_text())
            assert set(numbers) == {
                "macro_f1", "accuracy", "top2_accuracy", "cross_entropy", "precision", "tta", "epoch", "parameters",
                "intervals", "ece", "reliability", "per_class", "confusion", *["fingerprint"] * (split == "test"),
            }  # fmt: skip
            assert numbers["parameters"] > 0
            assert numbers["epoch"] == json.loads((trained_copy / "tiny/best/state.json").read_text())["epoch"]
            for key, title in text_report.TITLES.items():
                low, high = numbers["intervals"][key]
                line = f"{split} {title}: {numbers[key]:.6f} (95% interval {low:.4f} to {high:.4f})"
                assert line in outcome.out.splitlines()
                assert low <= numbers[key] <= high
            assert np.sum(numbers["confusion"]) == rows
            f1 = [numbers["per_class"][name]["f1-score"] for name in "012"]
            assert numbers["macro_f1"] == pytest.approx(np.mean(f1))
            for picture in ("confusion", "mistakes", "reliability"):
                with Image.open(report / f"{split}_{picture}.png") as image:
                    assert image.width > 200
        assert outcome.out.splitlines()[1].startswith("dev macro F1: ")

    def test_several_splits_get_the_same_scores_as_each_split_alone(self, trained_copy, command):
        common = ["eval", f"--checkpoints={trained_copy}"]
        together = command(*common, "--split=train,test")
        assert together.status == 0
        for split in ("train", "test"):
            line = command(*common, f"--split={split}").out.splitlines()[1]
            assert line.startswith(f"{split} macro F1: ")
            assert line in together.out
        assert command(*common, "--split=train,tests").status == 2

    def test_dev_score_equals_the_dev_score_of_training(self, trained_copy, command):
        command("eval", f"--checkpoints={trained_copy}")
        run = Run(trained_copy, "tiny")
        macro_f1 = json.loads((run.path / "report" / "dev.json").read_text())["macro_f1"]
        assert macro_f1 == max(row["dev_macro_f1"] for row in run.history(2))

    @pytest.mark.parametrize("precision", ["float32", "bfloat16"])
    def test_the_score_is_that_of_float32_whatever_the_training_used(self, precision, trained, tmp_path, command):
        common = [f"--checkpoints={tmp_path}", "--run=r"]
        settings = ["--dev_split=stratified", *TINY, "--epochs=1", f"--precision={precision}"]
        training = command("train", f"--data={trained[1]}", *common, *settings)
        assert training.status == 0, training.err
        in_training = Run(tmp_path, "r").history(1)[0]["dev_macro_f1"]
        assert f", trained in {precision}, computed in float32 (" in command("eval", *common).out
        score = json.loads((tmp_path / "r" / "report" / "dev.json").read_text())["macro_f1"]
        assert Run(tmp_path, "r").config()["best"] == {
            "epoch": 1,
            "dev_macro_f1": score,
            "training_dev_macro_f1": in_training,
            "training_precision": precision,
        }
        both = f" in float32 ({in_training:.6f} in bfloat16)" if precision == "bfloat16" else ""
        assert f"best epoch 1, dev macro F1 {score:.6f}{both}; run folder:" in training.out

        dev_rows = Run(tmp_path, "r").dev_rows(96)
        np.save(tmp_path / "dev.npy", np.load(trained[1] / "x_train.npy")[dev_rows])
        out = tmp_path / "p.npy"
        assert command("predict", *common, f"--array={tmp_path / 'dev.npy'}", f"--out={out}").status == 0
        labels = np.load(trained[1] / "y_train.npy")[dev_rows, 0]
        assert f1_score(labels, np.load(out).argmax(axis=1), average="macro") == pytest.approx(score)

    def test_the_float32_score_of_a_bfloat16_run_is_computed_once_for_each_best_epoch(
        self, trained, tmp_path, command, monkeypatch
    ):
        scored = []
        original = dev_score.dev_macro_f1
        monkeypatch.setattr(dev_score, "dev_macro_f1", lambda *args: scored.append(1) or original(*args))
        common = [f"--data={trained[1]}", f"--checkpoints={tmp_path}", "--run=r"]
        first = command("train", *common, "--dev_split=stratified", *TINY, "--epochs=1", "--precision=bfloat16")
        assert first.status == 0, first.err
        again = command("train", *common, "--resume")
        line = next(line for line in first.out.splitlines() if "best epoch" in line)
        assert line.partition("best epoch")[2] in again.out
        assert len(scored) == 1
        Run(tmp_path, "r").write_config({**Run(tmp_path, "r").config(), "best": {"epoch": 1, "dev_macro_f1": "x"}})
        assert command("train", *common, "--resume").status == 0
        assert len(scored) == 2

    def test_precisions_agree_to_the_stated_tolerance(self, trained_copy, command):
        scores = {}
        for precision in ("float32", "bfloat16", "auto"):
            outcome = command("eval", f"--checkpoints={trained_copy}", "--split=train", f"--precision={precision}")
            assert outcome.status == 0, outcome.err
            expected = tf1.choose_precision(precision)
            assert outcome.out.splitlines()[0].endswith(f"computed in {expected[0]} ({expected[1]})")
            scores[precision] = json.loads((trained_copy / "tiny" / "report" / "train.json").read_text())
            assert scores[precision]["precision"] == expected[0]
        assert scores["auto"] == scores[expected[0]]
        assert scores["bfloat16"]["accuracy"] == pytest.approx(scores["float32"]["accuracy"], abs=0.02)
        assert scores["bfloat16"]["cross_entropy"] == pytest.approx(scores["float32"]["cross_entropy"], rel=0.01)

    def test_test_score_equals_scikit_learn(self, trained_copy, predicted, command):
        command("eval", f"--checkpoints={trained_copy}", "--split=test")
        numbers = json.loads((trained_copy / "tiny" / "report" / "test.json").read_text())
        predictions = predicted.softmax.argmax(axis=1)
        assert numbers["macro_f1"] == pytest.approx(f1_score(predicted.labels, predictions, average="macro"))
        assert numbers["accuracy"] == pytest.approx(accuracy_score(predicted.labels, predictions))

    def test_messages_name_the_missing_input(self, tmp_path, trained, command):
        unlabelled = write_folder(tmp_path / "data", y_test=None)
        outcome = command("eval", f"--checkpoints={trained[0]}", f"--data={unlabelled}", "--split=test")
        assert outcome.status == 2
        assert "y_test.npy is missing, so the test images have no labels" in outcome.err
        assert "goes with --predictions" in command("eval", "--predictions=x.npy").err
        assert "expected dev, train, test" in command("eval", f"--checkpoints={trained[0]}", "--split=valid").err


class TestPredictionsFile:
    def test_it_is_scored_without_a_run(self, tmp_path, predicted, command):
        np.save(tmp_path / "result.npy", predicted.softmax)
        np.save(tmp_path / "y.npy", predicted.labels)
        arguments = [f"--predictions={tmp_path / 'result.npy'}", f"--labels={tmp_path / 'y.npy'}"]
        outcome = command("eval", *arguments, f"--checkpoints={tmp_path / 'none'}")
        assert outcome.status == 0, outcome.err
        expected = f1_score(predicted.labels, predicted.softmax.argmax(axis=1), average="macro")
        assert outcome.out.startswith(f"macro F1: {expected:.6f} (95% interval ")

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            (lambda p: p[:-1], "24 labels for 23 images"),
            (lambda p: p[:, :2] / p[:, :2].sum(axis=1, keepdims=True), "has 2 columns"),
            (lambda p: p * 2, "apply softmax"),
            (lambda p: p - 1, "negative"),
            (lambda p: p * np.nan, "NaN"),
            (lambda p: p.argmax(axis=1), "expected float softmax outputs"),
            (lambda p: p[:0], "expected float softmax outputs"),
        ],
    )
    def test_a_bad_file_is_refused(self, change, words, tmp_path, predicted, command):
        np.save(tmp_path / "result.npy", change(predicted.softmax))
        np.save(tmp_path / "y.npy", predicted.labels)
        outcome = command("eval", f"--predictions={tmp_path / 'result.npy'}", f"--labels={tmp_path / 'y.npy'}")
        assert outcome.status == 2
        assert one_line(outcome.err)
        assert words in outcome.err

    @pytest.mark.parametrize(
        ("shape", "words"),
        [((10**8, 3), "24 labels for 100000000 images"), ((24, 10**7), "found 10,000,000 columns")],
    )
    def test_shapes_are_compared_before_values_are_read(self, shape, words, tmp_path, predicted, command, monkeypatch):
        """The file is sparse, so it takes no space on the disk, but its values would take gigabytes of memory."""
        with (tmp_path / "result.npy").open("wb") as file:
            header = {"descr": "<f4", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            file.truncate(file.tell() + 4 * shape[0] * shape[1])
        np.save(tmp_path / "y.npy", predicted.labels)
        monkeypatch.setattr("numpy.isfinite", lambda *_: 1 / 0)
        outcome = command("eval", f"--predictions={tmp_path / 'result.npy'}", f"--labels={tmp_path / 'y.npy'}")
        assert outcome.status == 2
        assert one_line(outcome.err)
        assert words in outcome.err

    def test_flags_of_a_run_are_refused(self, command):
        for flag in ("tta", "precision=float32"):
            outcome = command("eval", f"--{flag}", "--predictions=p.npy", "--labels=y.npy")
            assert outcome.status == 2
            assert f"--{flag.partition('=')[0]}: nothing is computed with --predictions" in outcome.err


def test_the_scores_are_written_after_the_pictures(trained_copy, command, monkeypatch):
    """`experiments` scores a run until its dev.json exists, so the next call draws the pictures after a killed eval."""

    def failing(*_):
        raise OSError(errno.ENOSPC, "the disk is full")

    monkeypatch.setattr("graphcnn.evaluation.pictures.mistakes", failing)
    assert command("eval", f"--checkpoints={trained_copy}", "--run=tiny").status == 2
    report = Run(trained_copy, "tiny").path / "report"
    assert sorted(path.name for path in report.iterdir()) == ["dev.csv", "dev_confusion.png"]


def test_the_mistakes_are_drawn_with_the_files_of_their_images(tmp_path, command, monkeypatch):
    drawn = {}
    monkeypatch.setattr(
        "graphcnn.evaluation.pictures.mistakes", lambda predictions, title, path: drawn.update({path.name: predictions})
    )
    photos = write_photos(tmp_path / "photos" / "train").parent
    write_photos(photos / "test", rows=2, seed=1)
    root = f"--checkpoints={tmp_path}"
    assert command("train", root, f"--data={photos}", *TINY, "--epochs=1").status == 0
    assert command("eval", root, "--split=train,dev,test").status == 0
    assert command("eval", root, f"--images={photos / 'test'}").status == 0
    assert sorted(drawn) == [f"{split}_mistakes.png" for split in ("dev", "images", "test", "train")]
    for predictions in drawn.values():
        classes = [predictions.file_names[row].split("/")[0] for row in predictions.rows]
        assert classes == [predictions.class_names[label] for label in predictions.labels]
