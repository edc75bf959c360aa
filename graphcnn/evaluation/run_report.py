"""The report of a run or an ensemble as one HTML page that needs no other file."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from graphcnn.common.progress import say_if_slow
from graphcnn.evaluation import pictures, report_sections
from graphcnn.evaluation.explain_images import Examples, explain, row_examples
from graphcnn.evaluation.html_page import Section, write_page
from graphcnn.evaluation.image_uris import picture_uri
from graphcnn.evaluation.model_data import DataSource
from graphcnn.evaluation.model_outputs import compute_outputs
from graphcnn.evaluation.predictor import Predictor
from graphcnn.evaluation.repeat_commands import eval_command, train_command
from graphcnn.evaluation.score import score
from graphcnn.evaluation.score_against import check_pair, score_against
from graphcnn.evaluation.scored_data import ScoredData, read_splits
from graphcnn.evaluation.select_model import Model
from graphcnn.evaluation.split_scores import Expected, SplitScores, scores_of
from graphcnn.evaluation.trained_run import TrainedRun
from graphcnn.storage.run_record import RunRecord, read_record

EXAMPLES = 12  # images of each of the two sections with examples
PRECISION = "float32"  # of the scores, as of `eval` without --precision


class ModelReport(NamedTuple):
    """The content of the report of a model.

    Attributes:
        scores: the scores of the model.
        sections: the sections of the page.
    """

    scores: SplitScores
    sections: list[Section]


def write_report(
    models: Sequence[Model[TrainedRun]], split: str, source: DataSource, out: Path | None, rescore: bool
) -> None:
    """Write the report of a model on a split; print its path.

    Args:
        models, split, source, rescore: see report_on.
        out: the HTML file; None for report.html in the model's report folder.

    Raises:
        InputError: a run or its data cannot be used.
    """
    scores, sections = report_on(models, split, source, rescore)
    name = models[0].name
    title = f"{name}: {split} macro F1 {scores.scores['macro_f1']:.4f}"
    write_page(out or models[0].report_folder / "report.html", title, report_sections.heading(name, scores), sections)


def report_on(models: Sequence[Model[TrainedRun]], split: str, source: DataSource, rescore: bool) -> ModelReport:
    """Return the report of a model on a split.

    The split is scored first if the report folder has no scores of the best epoch, and always for an ensemble, because
    a member may have been trained again since.

    Args:
        models: the model, and optionally another model to compare it with.
        split: dev, train or test.
        source: where the data are.
        rescore: whether the split is scored even if the report folder has its scores.

    Raises:
        InputError: a run or its data cannot be used.
    """
    if len(models) > 1:
        check_pair(*models)
    model, root = models[0], models[0].nets[0].run.root
    data = read_splits(models, [split], source)
    records = [read_record(run.run) for run in model.nets]
    scores = _scores(model, records, data[0], split, rescore)
    commands = [*map(train_command, records), eval_command(model, split, root)]
    sections = [
        *_scored(model, records, scores),
        *_examples(model, data[0], scores),
        *(_compared(models, data, split) if len(models) > 1 else ()),
        report_sections.settings(records),
        report_sections.environment(records),
        report_sections.commands([*commands, *(eval_command(model, split, root, other) for other in models[1:])]),
    ]
    return ModelReport(scores, sections)


def _scores(
    model: Model[TrainedRun], records: Sequence[RunRecord], data: ScoredData, split: str, rescore: bool
) -> SplitScores:
    """Return the scores of the model on the split; see scores_of."""
    entries = {"tta": False, **data.details(split)}
    if several := len(model.nets) > 1:
        entries |= {"ensemble": model.ensemble}
    else:
        entries |= {"epoch": records[0].best_epoch, "precision": PRECISION}
    expected = Expected(data.splits[0][split].rows, len(model.class_names), entries)
    return scores_of(model.report_folder, split, expected, lambda: score(model, data, PRECISION), rescore or several)


def _scored(model: Model[TrainedRun], records: Sequence[RunRecord], scores: SplitScores) -> Iterator[Section]:
    """Yield the sections about the training and the scores."""
    folder, names = model.report_folder, model.class_names
    yield report_sections.training(records, scores)
    if len(records) == 1:
        curves, text = picture_uri(model.nets[0].run.path / "curves.png"), report_sections.CURVES
    else:
        curves, text = _compared_curves(records), report_sections.COMPARED_CURVES
    if curves:
        yield report_sections.picture("curves", "Curves", curves, text, f"curves of {model.name}")
    if scores.members:
        yield report_sections.members(scores.members, model.ensemble == "fitted")
    yield report_sections.score_table(scores)
    yield report_sections.class_table(names, scores.confusion)
    many = len(names) > report_sections.MATRIX_CLASSES
    matrix = picture_uri(folder / f"{scores.split}_confusion.png") if many else None
    diagram = picture_uri(folder / f"{scores.split}_reliability.png")
    for section in (
        report_sections.confusion_matrix(names, scores.confusion, matrix),
        report_sections.reliability(scores, diagram),
    ):
        if section:
            yield section


def _examples(model: Model[TrainedRun], data: ScoredData, scores: SplitScores) -> list[Section]:
    """Return the sections with the most confident mistakes and the least certain predictions.

    The activation maps of an ensemble are those of the member with the highest macro F1.
    """
    mistakes, uncertain = scores.most_confident_mistakes(EXAMPLES), scores.least_certain(EXAMPLES)
    rows = np.concatenate([mistakes, uncertain])
    shown = max(range(len(model.nets)), key=lambda n: scores.members[n].scores["macro_f1"] if scores.members else 0)
    run, split = model.nets[shown], data.splits[shown][scores.split]

    def choose(predictor: Predictor) -> Examples:
        if scores.members:
            probabilities = _ensemble_probabilities(model, data, scores, rows)
        else:
            probabilities = predictor.probabilities(split.images, rows)
        return row_examples(run, split, rows, probabilities)

    with say_if_slow(f"computing the activation maps of {len(rows)} images"):
        explained = explain(run, choose)
    numbers, first = range(len(rows)), len(mistakes)
    mapped = run.name if scores.members else None
    return [
        report_sections.mistakes(explained, numbers[:first], run.class_names, mapped),
        report_sections.uncertain(explained, numbers[first:], run.class_names, mapped),
    ]


def _ensemble_probabilities(
    model: Model[TrainedRun], data: ScoredData, scores: SplitScores, rows: np.ndarray
) -> np.ndarray:
    """Return the softmax outputs of an ensemble for some rows of a split, float32 [N, K]."""
    weights = np.array([member.weight for member in scores.members])
    chosen = [{scores.split: splits[scores.split]._replace(rows=rows)} for splits in data.splits]
    few = ScoredData(chosen, lambda _: weights, data.details)
    return compute_outputs(model, few, PRECISION).probabilities(scores.split)


def _compared(models: Sequence[Model[TrainedRun]], data: Sequence[ScoredData], split: str) -> list[Section]:
    """Return the section that compares the model with another one; the comparison is also printed and written."""
    comparison = score_against(models, data, PRECISION)[split]
    runs = {run.name: run.run for model in models for run in model.nets}
    curves = _compared_curves([read_record(run) for run in runs.values()])
    return [report_sections.against(models[0].name, models[1].name, comparison, curves)]


def _compared_curves(records: Sequence[RunRecord]) -> str | None:
    """Return the picture with the dev macro F1 of several runs; None if no run has a dev score."""
    if not any(row["dev_macro_f1"] is not None for record in records for row in record.history):
        return None
    with tempfile.TemporaryDirectory() as folder:
        pictures.comparison({record.name: record.history for record in records}, Path(folder) / "curves.png")
        return picture_uri(Path(folder) / "curves.png")
