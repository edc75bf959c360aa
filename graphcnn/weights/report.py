"""Print a table of the variables: loaded, newly initialised or skipped."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import zip_longest
from typing import NamedTuple

from rich.table import Table

from graphcnn.common.progress import print_table, say
from graphcnn.weights.loaded import Fit, Shapes, split_name

MAX_ROWS = 24  # of the table; if there are more, loaded layers are left out
MAX_NAMES = 300  # rows of the table of weights of which none fits


class Cells(NamedTuple):
    """A row of the table: the variables of a layer that have the same result, "w 3x3x3x8"."""

    net: list[str]
    weights: list[str]


def print_fit(source: str, shapes: Shapes, fit: Fit) -> None:
    """Print how many variables were loaded, and a table of the layers.

    Args:
        source: name of the source of the weights.
        shapes: {variable: shape} of the net.
        fit: Fit.
    """
    loaded = sum(name in shapes for name in fit.values)
    skipped = [name for name in fit.stored if name not in shapes]
    order = " (its layers have numbers, not names, so they are matched by order)" if fit.by_order else ""
    say(
        f"weights: {source}{order}: {loaded} of the net's {len(shapes)} variables loaded, {len(shapes) - loaded} newly "
        f"initialised; {len(skipped)} of the source's variables skipped"
    )
    rows = _rows([*shapes, *skipped], shapes, fit)
    if len(rows) > MAX_ROWS:
        rows = {(layer, result): cells for (layer, result), cells in rows.items() if result != "loaded"}
    if not rows:
        return
    table = Table("layer", "in the net", "in the weights", "result")
    for (layer, result), cells in list(rows.items())[:MAX_ROWS]:
        table.add_row(layer, ", ".join(cells.net), ", ".join(cells.weights), result)
    print_table(table)
    if len(rows) > MAX_ROWS:
        say(f"and {len(rows) - MAX_ROWS} more")


def print_names(source: str, shapes: Shapes, stored: Shapes) -> None:
    """Print the variables of the net and those of weights of which none fits, each with its shape.

    Args:
        source: name of the source of the weights.
        shapes, stored: {variable: shape} of the net and of the weights.
    """
    table = Table("in the net", f"in {source}")
    columns = [
        [f"{name} {'x'.join(map(str, shape)) or '1'}" for name, shape in side.items()] for side in (shapes, stored)
    ]
    rows = list(zip_longest(*columns, fillvalue=""))
    for row in rows[:MAX_NAMES]:
        table.add_row(*row)
    print_table(table)
    if len(rows) > MAX_NAMES:
        say(f"and {len(rows) - MAX_NAMES} more rows")


def _rows(names: Iterable[str], shapes: Shapes, fit: Fit) -> dict[tuple[str, str], Cells]:
    """Return {(layer, result): Cells} of the variables."""
    rows: dict[tuple[str, str], Cells] = {}
    for name in names:
        layer, leaf = split_name(name)
        cells = rows.setdefault((layer, _result(name, shapes, fit)), Cells([], []))
        for cell, shape_of in ((cells.net, shapes), (cells.weights, fit.stored)):
            if name in shape_of:
                cell.append(f"{leaf} {'x'.join(map(str, shape_of[name])) or '1'}")
    return rows


def _result(name: str, shapes: Shapes, fit: Fit) -> str:
    """Return the result for a variable: loaded, skipped or newly initialised."""
    if name in fit.values:
        return "loaded"
    if name not in shapes:
        return "skipped: not in the net"
    return f"newly initialised: {'other shape' if name in fit.stored else 'not in the weights'}"
