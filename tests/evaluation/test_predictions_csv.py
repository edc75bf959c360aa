"""The CSV file with the predictions of eval, read with the csv module."""

import csv
import errno
import json
import tracemalloc

import numpy as np
import pytest
from conftest import TINY
from photo_files import write_photos

from graphcnn.common.errors import InputError
from graphcnn.common.text import cell
from graphcnn.evaluation import predictions_csv
from graphcnn.evaluation.pictures import Predictions
from graphcnn.evaluation.predictions_csv import write_predictions

COLUMNS = ["row", "file", "label", "predicted", "probability", "label_probability", "loss"]


def read(path):
    """Return the header and the rows, {column: cell} each."""
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        return reader.fieldnames, list(reader)


def random_predictions(rows, classes, names=None, files=(), seed=0):
    generator = np.random.default_rng(seed)
    probabilities = generator.dirichlet(np.full(classes, 0.1), rows).astype(np.float32)
    indices = np.arange(rows)[::-1] * 2
    labels = generator.integers(0, classes, rows)
    return Predictions(np.zeros(0), indices, labels, probabilities, names or [*map(str, range(classes))], 255, files)


@pytest.mark.parametrize("block", [1, 7, 1 << 16])
def test_the_numbers_are_exact(block, tmp_path, monkeypatch):
    monkeypatch.setattr(predictions_csv, "BLOCK_CELLS", block)
    predictions = random_predictions(20, 3, ["a", "b,\"c'", "日本"])
    write_predictions(predictions, tmp_path / "p.csv")
    header, rows = read(tmp_path / "p.csv")
    assert header == [*COLUMNS, "p:a", "p:b,\"c'", "p:日本"]
    written = np.array([[row[name] for name in header[7:]] for row in rows]).astype(np.float32)
    assert np.array_equal(written, predictions.probabilities)  # bit for bit
    assert [int(row["row"]) for row in rows] == predictions.rows.tolist()
    assert {row["file"] for row in rows} == {""}
    best, of_label = written.argmax(axis=1), written[np.arange(20), predictions.labels]
    assert [row["label"] for row in rows] == [predictions.class_names[k] for k in predictions.labels]
    assert [row["predicted"] for row in rows] == [predictions.class_names[k] for k in best]
    assert np.float32([row["probability"] for row in rows]) == pytest.approx(written.max(axis=1), abs=0)
    assert np.float32([row["label_probability"] for row in rows]) == pytest.approx(of_label, abs=0)
    expected = -np.log(np.maximum(of_label.astype(np.float64), np.finfo(np.float32).tiny))
    assert np.array([float(row["loss"]) for row in rows]) == pytest.approx(expected, rel=1e-8)
    assert "\r" not in (tmp_path / "p.csv").read_bytes().decode()


def test_a_certain_and_right_prediction_has_the_loss_0(tmp_path):
    predictions = Predictions(np.zeros(0), np.array([0]), np.array([0]), np.float32([[1, 0]]), ["a", "b"], 255)
    write_predictions(predictions, tmp_path / "p.csv")
    assert (tmp_path / "p.csv").read_text().splitlines()[1] == "0,,a,a,1,1,0,1,0"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cat", "cat"),
        ("=1+1", "'=1+1"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        (" =1", "' =1"),
        ("\t=1", "\\t=1"),
        ("\r=1", "\\r=1"),
        ("＝1", "'＝1"),
        ("a;=1", "a;'=1"),
        ("t-shirt", "t-shirt"),
        ("a=b", "a=b"),
        ("\ud800\x1b\n", "\\ud800\\x1b\\n"),
    ],
)
def test_a_name_does_not_become_a_formula(name, expected, tmp_path):
    assert cell(name) == expected
    files = {row: name for row in range(6)}
    write_predictions(random_predictions(3, 2, [name, "other"], files), tmp_path / "p.csv")
    _, rows = read(tmp_path / "p.csv")
    assert {row["file"] for row in rows} == {expected}
    assert {row["label"] for row in rows} | {row["predicted"] for row in rows} <= {expected, "other"}
    for row in rows:
        assert not any(text.startswith(("=", "+", "-", "@", "\t", "\r")) for text in (*row, *row.values()))


def test_a_failed_write_keeps_the_old_file(tmp_path, monkeypatch):
    (tmp_path / "p.csv").write_text("old")

    def failing(_):
        raise OSError(errno.ENOSPC, "the disk is full")

    monkeypatch.setattr(predictions_csv, "_csv", failing)
    with pytest.raises(InputError, match="its old content is unchanged"):
        write_predictions(random_predictions(3, 2), tmp_path / "p.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["p.csv"]
    assert (tmp_path / "p.csv").read_text() == "old"


def test_the_memory_does_not_grow_with_the_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(predictions_csv, "BLOCK_CELLS", 1 << 12)
    peaks = []
    for rows in (500, 2_000):
        predictions = random_predictions(rows, 50)
        tracemalloc.start()
        try:
            write_predictions(predictions, tmp_path / "p.csv")
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0] < 5e6


def test_eval_writes_a_row_for_each_image(trained_copy, trained, predicted, command):
    assert command("eval", f"--checkpoints={trained_copy}", "--split=dev,test").status == 0
    report = trained_copy / "tiny" / "report"
    header, rows = read(report / "test.csv")
    assert header == [*COLUMNS, "p:0", "p:1", "p:2"]
    written = np.array([[row[name] for name in header[7:]] for row in rows]).astype(np.float32)
    assert written == pytest.approx(predicted.softmax, abs=1e-6)
    assert [int(row["label"]) for row in rows] == predicted.labels.tolist()
    assert [int(row["row"]) for row in rows] == list(range(24))
    labels = np.load(trained[1] / "y_train.npy")[:, 0]
    _, rows = read(report / "dev.csv")
    assert [labels[int(row["row"])] for row in rows] == [int(row["label"]) for row in rows]
    numbers = json.loads((report / "dev.json").read_text())
    assert np.mean([row["label"] == row["predicted"] for row in rows]) == pytest.approx(numbers["accuracy"])
    assert np.mean([float(row["loss"]) for row in rows]) == pytest.approx(numbers["cross_entropy"])


def test_photos_have_their_files(tmp_path, command):
    photos = write_photos(tmp_path / "photos" / "train").parent
    root = f"--checkpoints={tmp_path}"
    assert command("train", root, f"--data={photos}", "--run=a", *TINY, "--epochs=1").status == 0
    assert command("eval", root, "--split=dev").status == 0
    assert command("eval", root, f"--images={photos / 'train'}").status == 0
    for split in ("dev", "images"):
        _, rows = read(tmp_path / "a" / "report" / f"{split}.csv")
        for row in rows:
            assert (photos / "train" / row["file"]).is_file()
            assert row["file"].split("/")[0] == row["label"]
