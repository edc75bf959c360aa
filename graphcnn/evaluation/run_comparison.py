"""A comparison of several runs: their different settings, their scores, and a picture of their dev macro F1."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path

from graphcnn.common.errors import InputError
from graphcnn.common.files import read_json
from graphcnn.common.progress import print_table, say, say_if_slow
from graphcnn.common.text import shortened
from graphcnn.data.fingerprint import short
from graphcnn.evaluation.run_list import CELL_LETTERS, duration_text, run_table, score_text, setting_text, source_text
from graphcnn.storage.recorded_data import recorded_options
from graphcnn.storage.run import Run
from graphcnn.storage.run_record import RunRecord, plausible_score, read_record
from graphcnn.storage.select_run import newest_names


def compare_runs(root: Path, names: Sequence[str], out: Path) -> None:
    """Print the settings in which runs differ and their scores; draw their curves.

    Args:
        root: folder of all runs.
        names: names of at least two runs.
        out: the PNG file to write.

    Raises:
        InputError: a run does not exist, is named twice or is damaged.
    """
    if len(set(names)) < len(names):
        raise InputError(f"runs {' '.join(names)}: a run is named twice; name each run once")
    runs = [Run(root, name, "runs") for name in names]
    for run in runs:
        if not run.exists():
            raise InputError(f"runs: {run.name}: no such run in {root} (newest: {newest_names(root)}); name other runs")
    records = [read_record(run) for run in runs]
    _print_settings(records)
    _print_scores(records, [_test_score(run, record) for run, record in zip(runs, records, strict=True)])
    if not any(row["dev_macro_f1"] is not None for record in records for row in record.history):
        say("no picture: none of these runs has an epoch with a dev score")
        return
    with say_if_slow("importing matplotlib"):
        from graphcnn.evaluation import pictures
    pictures.comparison({record.name: record.history for record in records}, out)
    say(f"written: {out}")


def _print_settings(records: Sequence[RunRecord]) -> None:
    """Print a table of the settings in which the runs differ; a line for each run, or for each setting if fewer."""
    columns = {name: cells for name, cells in _settings(records) if len(set(cells)) > 1}
    names = [record.name for record in records]
    if not columns:
        say("the recipes, the data and all settings of these runs are the same")
    elif len(columns) < len(records):
        _print("run", list(columns), zip(names, *columns.values(), strict=True))
    else:
        _print("setting", names, ((name, *cells) for name, cells in columns.items()))


def _settings(records: Sequence[RunRecord]) -> Iterable[tuple[str, list[str]]]:
    """Yield each setting with its text for each run, also the recipe, the data and the dev split."""
    configs = [record.config for record in records]
    yield "recipe", [shortened(config["recipe_name"], CELL_LETTERS) for config in configs]
    yield "data", [source_text(config["data"]["source"]) for config in configs]
    yield "fingerprint", [short(config["data"]["fingerprint"]) for config in configs]
    yield "fit", [recorded_options(config, {}).fit for config in configs]
    yield "dev split", [f"{config['split']['kind']} {config['split']['fraction']:g}" for config in configs]
    for field in dataclasses.fields(records[0].recipe):
        yield field.name, [setting_text(getattr(record.recipe, field.name)) for record in records]


def _print_scores(records: Sequence[RunRecord], test_scores: Sequence[str]) -> None:
    """Print a table of the scores of the runs; test_scores: a cell for each run."""
    titles = ["epochs", "best epoch", "dev macro F1", "dev cross-entropy", "seconds"]
    rows = []
    for record, test_score in zip(records, test_scores, strict=True):
        cross_entropy = record.dev_cross_entropy
        row = [
            record.name,
            f"{record.last.epoch}/{record.planned_epochs}",
            "" if record.best_epoch is None else str(record.best_epoch),
            score_text(record.dev_macro_f1),
            "" if cross_entropy is None else f"{cross_entropy:.4g}",
            duration_text(record.training_seconds),
        ]
        rows.append([*row, test_score] if any(test_scores) else row)
    _print("run", [*titles, *["test macro F1"] * any(test_scores)], rows)


def _print(first: str, titles: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table whose first column has the title `first`."""
    table = run_table(first, titles)
    for row in rows:
        table.add_row(*row)
    print_table(table)


def _test_score(run: Run, record: RunRecord) -> str:
    """Return the macro F1 that `eval --split=test` wrote for the best epoch; "" if there is none."""
    try:
        report = read_json(run.path / "report" / "test.json", follow=False)
        if report["epoch"] != record.best_epoch:
            return ""
        score = plausible_score(report["macro_f1"])
        details = " tta" * bool(report["tta"])
    except FileNotFoundError:
        return ""
    except (ValueError, KeyError, TypeError, RecursionError):
        return "unreadable"
    return "unreadable" if score is None else f"{score_text(score)}{details}"
