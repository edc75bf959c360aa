"""The tables and notes of a suite's report, for the Markdown file and for the HTML page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

Row = dict[str, Any]
Cell = Callable[[Row], object]

MOST_COMPARED = 3  # if a conclusion compares with more experiments, only the closest one is listed
ENSEMBLES = "Ensembles, each the mean of its members' softmax outputs:"
PUBLISHED = "Scores of this report / published scores:"


class Table(NamedTuple):
    """A table.

    Attributes:
        titles: titles of the columns.
        rows: the cells of each row.
        text_columns: number of columns with texts; columns with numbers follow.
    """

    titles: Sequence[str]
    rows: Sequence[Sequence[str]]
    text_columns: int = 1


def circumstances(report: Row) -> str:
    """Return the data, the machine and the precision of a report."""
    machine = "{cores} core(s) of {cpu} for each run, TensorFlow {tensorflow}, Python {python}"
    machine = machine.format(**report["machine"])
    return f"{report['data']}; {machine}. Trained in {report['precision']}, scored in float32."


def experiments(report: Row) -> Table:
    """Return the table with the scores of each experiment."""
    rows = report["experiments"]
    published = _published_scores(report)
    columns: dict[str, Cell] = {
        "experiment": lambda row: row["experiment"],
        "change": lambda row: row["change"] + (f" (from {row['parent']})" if row["parent"] else ""),
        "parameters": lambda row: f"{row['parameters']:,}",
        "epochs": lambda row: f"{row['epochs']:g}",
        "seconds": lambda row: f"{row['seconds']:.0f}",
        "train loss": lambda row: f"{row['train_loss']:.3f}",
        "dev loss": lambda row: f"{row['dev_loss']:.3f}",
        "dev accuracy": lambda row: with_spread(row, "dev_accuracy"),
        "dev macro F1": lambda row: with_spread(row, "dev_macro_f1"),
        "train − dev": lambda row: f"{row['gap']:.3f}",
    }
    if any(row["test_accuracy"] is not None for row in rows):
        columns["test accuracy"] = lambda row: _score(row["test_accuracy"])
        columns["test macro F1"] = lambda row: _score(row["test_macro_f1"])
    if published:
        columns[f"published ({report['unit']})"] = _published
    if any(row["weights_wanted"] != "none" for row in rows):
        columns["initial weights"] = lambda row: "random" if row["weights"] == "none" else row["weights"]
    columns["rank here"] = lambda row: row["rank"] or ""
    if published:
        columns["published rank"] = lambda row: row["published_rank"] or ""
    return Table(list(columns), [[str(cell(row)) for cell in columns.values()] for row in rows], text_columns=2)


def notes(report: Row) -> list[str]:
    """Return the notes below the table of the experiments."""
    among = ", among the experiments with a published score" if _published_scores(report) else ""
    texts = [
        "Scores are those of each run's best epoch by dev macro F1, without dropout and augmentation. ± is the "
        "standard deviation over seeds; the number of seeds follows in parentheses. Ranks are by dev macro F1"
        f"{among}."
    ]
    if report.get("longer"):
        texts.append(f"Trained for more epochs than this command asks for: {', '.join(report['longer'])}.")
    if report["spearman"] is not None:
        texts.append(f"Spearman's rank correlation with the published order: {report['spearman']:.3f}.")
    return texts


def conclusions(report: Row) -> Table:
    """Return the table that says which conclusions of the source hold."""
    answers = {True: "yes", False: "no", None: "not compared"}
    rows = [[claim["claim"], _compared(claim), answers[claim["holds"]]] for claim in report["claims"]]
    return Table(("conclusion", "compared", "holds"), rows, text_columns=3)


def further_scores(report: Row) -> Table:
    """Return the table of the source's further scores, each after the corresponding score of this report."""
    columns = report["columns"]

    def cell(row: Row, key: str) -> str:
        published = row["also"].get(key)
        return f"{_score(row[key]) or '–'} / {'–' if published is None else f'{published:g}'}"

    rows = [[row["experiment"], *(cell(row, key) for key in columns)] for row in report["experiments"] if columns]
    return Table(["experiment", *columns.values()], rows)


def ensembles(report: Row) -> Table:
    """Return the table of the ensembles' scores."""
    rows = report.get("ensembles") or []
    columns = {"dev_accuracy": "dev accuracy", "dev_macro_f1": "dev macro F1"}
    if rows and "test_accuracy" in rows[0]:
        columns |= {"test_accuracy": "test accuracy", "test_macro_f1": "test macro F1"}
    columns["best_member_dev_macro_f1"] = "best member's dev macro F1"
    cells = [[row["ensemble"], *(_score(row[key]) for key in columns), _general(row["published"])] for row in rows]
    return Table(["ensemble", *columns.values(), f"published ({report['unit']})"], cells)


def with_spread(row: Row, key: str) -> str:
    """Return a score of an experiment, with its standard deviation and the number of seeds if there are several."""
    deviation = row[f"{key}_deviation"]
    return f"{row[key]:.4f}" + ("" if deviation is None else f" ± {deviation:.4f} ({len(row['seeds'])})")


def _published_scores(report: Row) -> bool:
    """Return whether an experiment has a published score."""
    return any(row["published"] is not None for row in report["experiments"])


def _compared(claim: Row) -> str:
    """Return the numbers of a claim: "dev_macro_f1 0.7 > 0.5 × 0.6 (b), …"."""
    digits = 1 if claim["measure"] == "epoch_seconds" else 4
    numbers = {name: f"{value:.{digits}f}" for name, value in claim["numbers"].items()}
    factor = "" if claim["factor"] == 1 else f"{claim['factor']:.3g} × "
    others = claim["others"]
    if len(others) > MOST_COMPARED and claim["holds"] is not None:
        nearest = max if claim["sign"] == ">" else min
        others = [nearest(others, key=lambda name: claim["numbers"][name])]
    against = ", ".join(f"{factor}{numbers.get(name, '?')} ({name})" for name in others)
    return f"{claim['measure']} {numbers.get(claim['one'], '?')} {claim['sign']} {against}"


def _score(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _general(value: float | None) -> str:
    return "" if value is None else f"{value:g}"


def _published(row: Row) -> str:
    if row["published_range"]:
        return "–".join(f"{value:g}" for value in row["published_range"])
    return _general(row["published"])
