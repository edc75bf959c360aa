"""The list of all runs as a table or as JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich import box
from rich.table import Table

from graphcnn.common import paths
from graphcnn.common.progress import LOG_WIDTH, bar, console, print_table, say
from graphcnn.common.text import shortened
from graphcnn.config.command_flags import text_of
from graphcnn.config.recipe import Setting
from graphcnn.storage.list_runs import ORDERS, ListedRun, find_runs, list_run

CELL_LETTERS = 24  # of a data source, of the name of a recipe and of a setting's value
MOST_SETTINGS = 8  # of a run in the table; the JSON document has all of them
WIDE = 110  # characters of a terminal that has room for the settings beside the scores
PROBLEM_LETTERS = 400  # of the line about a damaged run
UNITS = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"))  # seconds of a unit of the age


def print_runs(root: Path, order: str, as_json: bool) -> None:
    """Print the runs under `root`, also the damaged ones.

    Args:
        root: folder of all runs.
        order: a key of ORDERS.
        as_json: whether to print a JSON array of ListedRun instead of a table.

    Raises:
        InputError: `root` is not a folder.
    """
    found = find_runs(root)
    rows = []
    with bar("reading the runs", len(found)) as advance:
        for run in found:
            rows.append(list_run(run))
            advance(1)
    rows.sort(key=ORDERS[order])  # runs with the same key stay in the order of their names
    if as_json:
        print(json.dumps([dataclasses.asdict(row) for row in rows], indent=2, allow_nan=False))
    elif not rows:
        say(f"no runs in {root}; train one with {paths.PROGRAM} train")
    else:
        _print_tables(rows, console.width if console.is_terminal else LOG_WIDTH)
        say(*(f"{row.name}: {shortened(row.problem, PROBLEM_LETTERS)}" for row in rows if row.problem))


def setting_text(value: Setting) -> str:
    """Return the value of a setting as on a command line, in at most CELL_LETTERS characters."""
    return shortened(text_of(value), CELL_LETTERS)


def duration_text(seconds: float | None) -> str:
    """Return a duration of a training in whole seconds; "" for None."""
    return "" if seconds is None else f"{seconds:.0f}"


def score_text(score: float | None) -> str:
    """Return a score with four digits; "" for None."""
    return "" if score is None else f"{score:.4f}"


def source_text(source: str) -> str:
    """Return a data source in at most CELL_LETTERS characters. A longer path loses its start."""
    return source if len(source) <= CELL_LETTERS else f"…{source[1 - CELL_LETTERS :]}"


def run_table(first: str, numbers: Sequence[str] = (), texts: Sequence[str] = ()) -> Table:
    """Return a table without vertical lines, which saves width.

    Args:
        first: title of the first column.
        numbers: titles of right-aligned columns, whose cells stay on one line.
        texts: titles of left-aligned columns.
    """
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column(first, overflow="fold", min_width=len(first))
    for title in numbers:
        table.add_column(title, justify="right", min_width=max(map(len, title.split())))
    for title in texts:
        table.add_column(title, overflow="fold")
    return table


def _print_tables(rows: Sequence[ListedRun], width: int) -> None:
    """Print the rows as one table, or as two tables if less than WIDE characters fit into a line."""
    results, recipes = ("state", "epochs", "dev macro F1", "seconds", "age"), ("data", "recipe", "changed settings")
    if width >= WIDE:
        tables = [(run_table("name", results, recipes), lambda row: [*_results(row), *_recipe(row)])]
    else:
        tables = [(run_table("name", results), _results), (run_table("name", (), recipes), _recipe)]
    for table, cells in tables:
        for row in rows:
            if any(texts := cells(row)):  # a damaged run has no recipe
                table.add_row(row.name, *texts)
        if table.row_count:
            print_table(table)


def _results(row: ListedRun) -> list[str]:
    """Return the cells of a run about its training."""
    return [
        row.state,
        "" if row.epochs is None else f"{row.epochs}/{row.planned_epochs}",
        score_text(row.dev_macro_f1),
        duration_text(row.training_seconds),
        _age(row.age_seconds),
    ]


def _recipe(row: ListedRun) -> list[str]:
    """Return the cells of a run about its data and its settings."""
    settings = "" if row.recipe is None else "unknown recipe" if row.settings is None else _settings_text(row.settings)
    return [source_text(row.data or ""), shortened(row.recipe or "", CELL_LETTERS), settings]


def _settings_text(settings: Mapping[str, Setting]) -> str:
    """Return the first MOST_SETTINGS settings as "net=vgg6 epochs=2", and the number of the others."""
    texts = [f"{name}={setting_text(value)}" for name, value in settings.items()]
    others = len(texts) - MOST_SETTINGS
    return " ".join(texts[:MOST_SETTINGS] + [f"and {others} more"] * (others > 0))


def _age(seconds: float | None) -> str:
    """Return an age such as "5 min"; "" for None."""
    if seconds is None:
        return ""
    for unit, name in UNITS:
        if seconds >= unit:
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds:.0f} s"
