"""The report of a run as one HTML page that needs no other file."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from graphcnn.common.errors import FileError
from graphcnn.common.progress import say, say_if_slow
from graphcnn.common.replace import atomic_write
from graphcnn.evaluation import pictures, report_sections
from graphcnn.evaluation.explain_images import explain, row_examples
from graphcnn.evaluation.html_page import Section, page
from graphcnn.evaluation.image_uris import picture_uri
from graphcnn.evaluation.model_data import DataSource
from graphcnn.evaluation.repeat_commands import eval_command, train_command
from graphcnn.evaluation.score import score
from graphcnn.evaluation.score_against import check_pair, score_against
from graphcnn.evaluation.scored_data import ScoredData, read_splits
from graphcnn.evaluation.select_model import Model
from graphcnn.evaluation.split_scores import Expected, SplitScores, scores_of
from graphcnn.evaluation.trained_run import TrainedRun
from graphcnn.storage.recorded_data import Split
from graphcnn.storage.run_record import RunRecord, read_record

EXAMPLES = 12  # images of each of the two sections with examples
PRECISION = "float32"  # of the scores, as of `eval` without --precision


def write_report(
    models: Sequence[Model[TrainedRun]], split: str, source: DataSource, out: Path | None, rescore: bool
) -> None:
    """Write the report of a run on a split; print its path.

    The split is scored first if the report folder has no scores of the best epoch.

    Args:
        models: the run, and optionally another run to compare it with.
        split: dev, train or test.
        source: where the data are.
        out: the HTML file; None for report.html in the run's report folder.
        rescore: whether the split is scored even if the report folder has its scores.

    Raises:
        InputError: a run or its data cannot be used, or the output is a folder.
    """
    if len(models) > 1:
        check_pair(*models)
    model, run = models[0], models[0].only_net()
    path = out or model.report_folder / "report.html"
    if path.is_dir():
        raise FileError(path, "is a folder, expected the name of a file to write; add a file name")
    data = read_splits(models, [split], source)
    record = read_record(run.run)
    scores = _scores(model, record, data[0], split, rescore)
    sections = [
        *_scored(model, record, scores),
        *_examples(run, data[0].splits[0][split], scores),
        *(_compared(models, data, split, record) if len(models) > 1 else ()),
        report_sections.settings(record),
        report_sections.environment(record.config),
        report_sections.commands(_commands(models, record, split)),
    ]
    title = f"{run.name}: {split} macro F1 {scores.scores['macro_f1']:.4f}"
    content = page(title, report_sections.heading(run.name, scores), sections).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as file:
        file.write(content)
    say(f"written: {path} ({max(1, len(content) >> 10):,} KiB)")


def _scores(model: Model[TrainedRun], record: RunRecord, data: ScoredData, split: str, rescore: bool) -> SplitScores:
    """Return the scores of the run's best epoch on the split; see scores_of."""
    entries = {"epoch": record.best_epoch, "precision": PRECISION, "tta": False, **data.details(split)}
    expected = Expected(data.splits[0][split].rows, len(model.class_names), entries)
    return scores_of(model.report_folder, split, expected, lambda: score(model, data, PRECISION), rescore)


def _scored(model: Model[TrainedRun], record: RunRecord, scores: SplitScores) -> list[Section]:
    """Return the sections about the training and the scores."""
    run, folder, names = model.only_net(), model.report_folder, model.class_names
    curves = picture_uri(run.run.path / "curves.png")
    text = "The scores, the cross-entropy and the training loss over the epochs."
    many = len(names) > report_sections.MATRIX_CLASSES
    matrix = picture_uri(folder / f"{scores.split}_confusion.png") if many else None
    sections = [
        report_sections.training(record, scores),
        report_sections.picture("curves", "Curves", curves, text, f"curves of {run.name}") if curves else None,
        report_sections.score_table(scores),
        report_sections.class_table(names, scores.confusion),
        report_sections.confusion_matrix(names, scores.confusion, matrix),
        report_sections.reliability(scores, picture_uri(folder / f"{scores.split}_reliability.png")),
    ]
    return [section for section in sections if section]


def _examples(run: TrainedRun, split: Split, scores: SplitScores) -> list[Section]:
    """Return the sections with the most confident mistakes and the least certain predictions."""
    mistakes, uncertain = scores.most_confident_mistakes(EXAMPLES), scores.least_certain(EXAMPLES)
    rows = np.concatenate([mistakes, uncertain])
    with say_if_slow(f"computing the activation maps of {len(rows)} images"):
        explained = explain(
            run, lambda predictor: row_examples(run, split, rows, predictor.probabilities(split.images, rows))
        )
    numbers, names = range(len(rows)), run.class_names
    text = "The wrong predictions with the highest probabilities."
    first = report_sections.examples(
        "mistakes", "The most confident mistakes", text, explained, numbers[: len(mistakes)], names
    )
    text = "The images whose predicted class has the lowest probability."
    second = report_sections.examples(
        "uncertain", "The least certain predictions", text, explained, numbers[len(mistakes) :], names
    )
    return [first, second]


def _compared(
    models: Sequence[Model[TrainedRun]], data: Sequence[ScoredData], split: str, record: RunRecord
) -> list[Section]:
    """Return the section that compares the run with another one; the comparison is also printed and written."""
    run, other = (model.only_net() for model in models)
    comparison = score_against(models, data, PRECISION)[split]
    histories = {run.name: record.history, other.name: read_record(other.run).history}
    uri = None
    if any(row["dev_macro_f1"] is not None for history in histories.values() for row in history):
        with tempfile.TemporaryDirectory() as folder:
            pictures.comparison(histories, Path(folder) / "curves.png")
            uri = picture_uri(Path(folder) / "curves.png")
    return [report_sections.against(run.name, other.name, comparison, uri)]


def _commands(models: Sequence[Model[TrainedRun]], record: RunRecord, split: str) -> list[str]:
    """Return the commands that repeat the training and the scores."""
    run, *others = (model.only_net() for model in models)
    root = run.run.root
    lines = [train_command(record), eval_command(run.name, split, root)]
    return lines + [eval_command(run.name, split, root, other.name) for other in others]
