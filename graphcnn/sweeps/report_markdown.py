"""A suite's report as Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from graphcnn.common import text

Row = dict[str, Any]
Cell = Callable[[Row], object]

SCORES = ("precision", "recall", "f1-score")  # of each class
MOST_COMPARED = 3  # if a conclusion compares with more experiments, only the closest one is listed


def markdown(report: Row, best: str, per_class: Mapping[str, Mapping[str, float]]) -> str:
    """Return the report as Markdown.

    Args:
        report: as in report.write.
        best: the experiment with the highest dev macro F1.
        per_class: {class: {"precision", "recall", "f1-score", "support"}} of this experiment's first seed.
    """
    rows, unit = report["experiments"], report["unit"]
    tested = any(row["test_accuracy"] is not None for row in rows)
    machine = "{cores} core(s) of {cpu} for each run, TensorFlow {tensorflow}, Python {python}"
    machine = text.markdown(machine.format(**report["machine"]))
    lines = [f"# {report['suite']}: {text.markdown(report['source'])}", "", text.code(report["command"]), ""]
    lines += [f"{report['data']}; {machine}. Trained in {report['precision']}, scored in float32.", ""]
    lines += _experiments(rows, unit, tested)
    if report.get("longer"):
        longer = text.markdown(", ".join(report["longer"]))
        lines += ["", f"Trained for more epochs than this command asks for: {longer}."]
    if report["spearman"] is not None:
        lines += ["", f"Spearman's rank correlation with the published order: {report['spearman']:.3f}."]
    lines += _claims(report["claims"])
    lines += _published_scores(rows, report["columns"])
    lines += _ensembles(report.get("ensembles") or [], unit)
    seed = next(row["seeds"][0] for row in rows if row["experiment"] == best)
    split, best = "test" if tested else "dev", text.markdown(best)
    lines += ["", f"The best experiment by dev macro F1, {best}, on the {split} split, seed {seed}:"]
    lines += ["", *_classes(per_class)]
    if report.get("predictions"):
        lines += ["", f"Predictions of {best} for some images of the test split:", ""]
        lines += text.code_block(report["predictions"])
    return "\n".join([*lines, "", "![curves of each experiment](report.png)", ""])


def table(titles: Sequence[str], rows: Iterable[Sequence[object]], text_columns: int = 1) -> list[str]:
    """Return the lines of a Markdown table; columns after the first `text_columns` are right-aligned."""
    rule = ["---"] * text_columns + ["--:"] * (len(titles) - text_columns)
    header, *body = [[text.markdown(str(cell)) for cell in cells] for cells in (titles, *rows)]
    return ["| " + " | ".join(cells) + " |" for cells in (header, rule, *body)]


def _experiments(rows: list[Row], unit: str, tested: bool) -> list[str]:
    """Return the lines of the main table and of the notes below it."""
    published = any(row["published"] is not None for row in rows)
    columns: dict[str, Cell] = {
        "experiment": lambda row: row["experiment"],
        "change": lambda row: row["change"] + (f" (from {row['parent']})" if row["parent"] else ""),
        "parameters": lambda row: f"{row['parameters']:,}",
        "epochs": lambda row: f"{row['epochs']:g}",
        "seconds": lambda row: f"{row['seconds']:.0f}",
        "train loss": lambda row: f"{row['train_loss']:.3f}",
        "dev loss": lambda row: f"{row['dev_loss']:.3f}",
        "dev accuracy": lambda row: _with_spread(row, "dev_accuracy"),
        "dev macro F1": lambda row: _with_spread(row, "dev_macro_f1"),
        "train − dev": lambda row: f"{row['gap']:.3f}",
    }
    if tested:
        columns["test accuracy"] = lambda row: _score(row["test_accuracy"])
        columns["test macro F1"] = lambda row: _score(row["test_macro_f1"])
    if published:
        columns[f"published ({unit})"] = _published
    if any(row["weights_wanted"] != "none" for row in rows):
        columns["initial weights"] = lambda row: "random" if row["weights"] == "none" else row["weights"]
    columns["rank here"] = lambda row: row["rank"] or ""
    if published:
        columns["published rank"] = lambda row: row["published_rank"] or ""
    among = ", among the experiments with a published score" if published else ""
    return [
        *table(list(columns), ([cell(row) for cell in columns.values()] for row in rows), text_columns=2),
        "",
        "Scores are those of each run's best epoch by dev macro F1, without dropout and augmentation. ± is the "
        "standard deviation over seeds; the number of seeds follows in parentheses. Ranks are by dev macro F1"
        f"{among}.",
    ]


def _claims(claims: list[Row]) -> list[str]:
    """Return the lines of a table that says which conclusions of the source hold."""
    if not claims:
        return []
    answers = {True: "yes", False: "no", None: "not compared"}
    rows = [[claim["claim"], _compared(claim), answers[claim["holds"]]] for claim in claims]
    return ["", *table(["conclusion", "compared", "holds"], rows, text_columns=3)]


def _published_scores(rows: list[Row], columns: dict[str, str]) -> list[str]:
    """Return the lines of a table of the source's further scores, each after the corresponding score of this report."""
    if not columns:
        return []

    def cell(row: Row, key: str) -> str:
        published = row["also"].get(key)
        return f"{_score(row[key]) or '–'} / {'–' if published is None else f'{published:g}'}"

    cells = ([row["experiment"], *(cell(row, key) for key in columns)] for row in rows)
    return ["", "Scores of this report / published scores:", "", *table(["experiment", *columns.values()], cells)]


def _ensembles(rows: list[Row], unit: str) -> list[str]:
    """Return the lines of a table of the ensembles' scores."""
    if not rows:
        return []
    columns = {"dev_accuracy": "dev accuracy", "dev_macro_f1": "dev macro F1"}
    if "test_accuracy" in rows[0]:
        columns |= {"test_accuracy": "test accuracy", "test_macro_f1": "test macro F1"}
    columns["best_member_dev_macro_f1"] = "best member's dev macro F1"
    cells = ([row["ensemble"], *(_score(row[key]) for key in columns), _general(row["published"])] for row in rows)
    titles = ["ensemble", *columns.values(), f"published ({unit})"]
    return ["", "Ensembles, each the mean of its members' softmax outputs:", "", *table(titles, cells)]


def _classes(per_class: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Return the lines of a table of the scores of each class and of their means."""
    rows = []
    for name, scores in per_class.items():
        cells = [f"{scores[key]:.4f}" for key in SCORES]
        rows.append([name, *cells, f"{scores['support']:.0f}"])
    classes = list(per_class.values())
    means = [f"{statistics.mean(scores[key] for scores in classes):.4f}" for key in SCORES]
    rows.append(["macro average", *means, f"{sum(scores['support'] for scores in classes):.0f}"])
    return table(["class", "precision", "recall", "F1", "images"], rows)


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


def _with_spread(row: Row, key: str) -> str:
    deviation = row[f"{key}_deviation"]
    return f"{row[key]:.4f}" + ("" if deviation is None else f" ± {deviation:.4f} ({len(row['seeds'])})")
