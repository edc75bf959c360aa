"""Write a submission: result.npy for the test images, the inference graph with the best weights, and a zip file."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from graphcnn.common.errors import InputError
from graphcnn.common.files import read_bytes
from graphcnn.common.progress import bar, say
from graphcnn.common.replace import recover_folder
from graphcnn.evaluation.dev_score import dev_macro_f1
from graphcnn.evaluation.ensemble import ensemble_weights
from graphcnn.evaluation.model_data import DataSource, load_data
from graphcnn.evaluation.one_graph import check_one_graph, open_one_graph
from graphcnn.evaluation.select_model import Model
from graphcnn.evaluation.trained_run import TrainedRun
from graphcnn.storage import checkpoint
from graphcnn.storage.recorded_data import RecordedData
from graphcnn.storage.run import HISTORY_BYTES
from graphcnn.submission.choice import check_newest, say_choice
from graphcnn.submission.files import archive_path, check_replaceable, previous_archive_path, replace_submission
from graphcnn.submission.previous import read_previous
from graphcnn.submission.readme import readme
from graphcnn.submission.verify import SAMPLE, verify

GRADER = Path(__file__).with_name("grader.py")
IMAGES = "x_test.npy"  # in the submission only if the test images are not from a .npy file
IMAGE_FILES = "test_files.csv"  # in the submission only if the test images are image files


def submit(model: Model[TrainedRun], source: DataSource, out: Path, named: bool, verify_all: bool) -> None:
    """Write, verify and zip a submission; it replaces an older submission only after the verification.

    Args:
        model: one run, or several runs as one graph.
        source: where the data are.
        out: the folder to write; its zip file is written beside it.
        named: whether the user named the runs. The newest run is refused if it was trained on unexpected data.
        verify_all: whether the verification compares the outputs of all test images, not only of a sample.

    Raises:
        InputError: the folder contains other files, there are no test images, the newest run was trained on other
            data, or the written graph does not reproduce result.npy.
    """
    recover_folder(out)
    check_replaceable(out)
    check_one_graph(model)
    if not (named or source.path):  # load_data compares the run with --data
        check_newest(model.nets[0], out)
    runs_data = load_data(model, source, test=True)
    say_choice(model, runs_data[0])
    dataset = runs_data[0].dataset
    images = dataset.x_test
    if images is None:
        raise InputError(f"{dataset.file('x_test')} is missing, so there are no test images; add it beside x_train")
    images_path = dataset.files.get("x_test")
    _say_replaced(out)
    with replace_submission(out) as folder:
        if images_path is None or images_path.suffix != ".npy":
            images_path = folder / IMAGES
            np.save(images_path, images)
            _write_file_names(folder / IMAGE_FILES, dataset.file_names.get("x_test", ()))
        write(folder, model, runs_data, images)
        say("verifying in a new process, with TensorFlow only")
        rows = len(images) if verify_all else min(SAMPLE, len(images))
        say(verify(folder, images_path, model.tta, rows))
    checked = f"the graph reproduces result.npy for {rows:,} of {len(images):,} test images"
    say(f"ready: {out} and {archive_path(out)}; {checked}")


def _write_file_names(path: Path, names: Sequence[str]) -> None:
    """Write the image file of each row of result.npy as a CSV file with the columns row and file."""
    if names:
        with path.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
            table = csv.writer(file, lineterminator="\n")
            table.writerow(["row", "file"])
            table.writerows(enumerate(names))


def _say_replaced(out: Path) -> None:
    """Print which older submission is replaced, and where its zip file is kept."""
    archive = archive_path(out)
    if out.exists() or archive.exists():
        previous = read_previous(out)
        description = (
            f"{previous.description}, data {previous.source}" if previous else "its config.json is not readable"
        )
        kept = f"; its zip file is kept as {previous_archive_path(out).name}" if archive.exists() else ""
        say(f"this replaces the older submission {out} ({description}){kept}")


def write(folder: Path, model: Model[TrainedRun], runs_data: Sequence[RecordedData], images: np.ndarray) -> None:
    """Write the files of a submission.

    Args:
        folder: the folder. It is empty, or it contains the test images as IMAGES.
        model: the submitted model.
        runs_data: the data of each run.
        images: the test images.
    """
    weights = ensemble_weights(model, lambda _: runs_data).tolist()
    with open_one_graph(model, [run.recipe for run in model.nets], weights) as predictor:
        say(f"predicting {len(images):,} test images")
        with bar("test", len(images)) as advance:
            probabilities = predictor.probabilities(images, advance=advance, tta=model.tta)
        np.save(folder / "result.npy", probabilities)
        score = dev_macro_f1(predictor, runs_data[0], model.tta)
        if score is not None:
            say(f"dev macro F1 of the submitted graph: {score:.6f} (in float32{' with tta' * model.tta})")
        checkpoint.export(predictor.session, predictor.saver, folder)
    (folder / "grader.py").write_bytes(GRADER.read_bytes())
    _copy_records(folder, model, weights, score)
    present = [name for name in (IMAGES, IMAGE_FILES) if (folder / name).exists()]
    text = readme(model, weights, score, len(probabilities), present)
    (folder / "README.md").write_text(text, encoding="utf-8")


def _copy_records(folder: Path, model: Model[TrainedRun], weights: Sequence[float], score: float | None) -> None:
    """Write config.json and history.csv; an ensemble gets history_<n>.csv for each run instead.

    Args:
        folder: the folder of the submission.
        model: the submitted model.
        weights: ensemble weight of each run.
        score: dev macro F1 of the submitted graph; None without a dev split.
    """
    runs = model.nets
    if len(runs) == 1:
        config, histories = runs[0].config, ["history.csv"]
    else:
        members = [{"run": run.name, "share": weight, **run.config} for run, weight in zip(runs, weights, strict=True)]
        config = {"ensemble": model.ensemble, "members": members}
        histories = [f"history_{n}.csv" for n in range(1, len(runs) + 1)]
    submission: dict[str, Any] = {"dev_macro_f1": score, "tta": model.tta}
    if model.temperature:
        submission["temperature"] = model.temperature
    config = {**config, "submission": submission}
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    for run, name in zip(runs, histories, strict=True):
        (folder / name).write_bytes(read_bytes(run.run.path / "history.csv", HISTORY_BYTES, follow=False))
