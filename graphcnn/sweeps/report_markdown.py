"""A suite's report as Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Mapping

from graphcnn.common import text
from graphcnn.sweeps import report_tables
from graphcnn.sweeps.report_tables import Row, Table

SCORES = ("precision", "recall", "f1-score")  # of each class


def markdown(report: Row, best: str, per_class: Mapping[str, Mapping[str, float]]) -> str:
    """Return the report as Markdown.

    Args:
        report: as in report.write.
        best: the experiment with the highest dev macro F1.
        per_class: {class: {"precision", "recall", "f1-score", "support"}} of this experiment's first seed.
    """
    rows = report["experiments"]
    lines = [f"# {report['suite']}: {text.markdown(report['source'])}", "", text.code(report["command"]), ""]
    lines += [text.markdown(report_tables.circumstances(report)), ""]
    lines += _table(report_tables.experiments(report))
    for note in report_tables.notes(report):
        lines += ["", text.markdown(note)]
    for title, table in (
        (None, report_tables.conclusions(report)),
        (report_tables.PUBLISHED, report_tables.further_scores(report)),
        (report_tables.ENSEMBLES, report_tables.ensembles(report)),
    ):
        if table.rows:
            lines += ["", *([title, ""] if title else []), *_table(table)]
    seed = next(row["seeds"][0] for row in rows if row["experiment"] == best)
    split = "test" if any(row["test_accuracy"] is not None for row in rows) else "dev"
    best = text.markdown(best)
    lines += ["", f"The best experiment by dev macro F1, {best}, on the {split} split, seed {seed}:"]
    lines += ["", *_classes(per_class)]
    if report.get("predictions"):
        lines += ["", f"Predictions of {best} for some images of the test split:", ""]
        lines += text.code_block(report["predictions"])
    return "\n".join([*lines, "", "![curves of each experiment](report.png)", ""])


def _table(table: Table) -> list[str]:
    """Return the lines of a Markdown table; columns with numbers are right-aligned."""
    rule = ["---"] * table.text_columns + ["--:"] * (len(table.titles) - table.text_columns)
    header, *body = [[text.markdown(cell) for cell in cells] for cells in (table.titles, *table.rows)]
    return ["| " + " | ".join(cells) + " |" for cells in (header, rule, *body)]


def _classes(per_class: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Return the lines of a table of the scores of each class and of their means."""
    rows = []
    for name, scores in per_class.items():
        cells = [f"{scores[key]:.4f}" for key in SCORES]
        rows.append([name, *cells, f"{scores['support']:.0f}"])
    classes = list(per_class.values())
    means = [f"{statistics.mean(scores[key] for scores in classes):.4f}" for key in SCORES]
    rows.append(["macro average", *means, f"{sum(scores['support'] for scores in classes):.0f}"])
    return _table(Table(["class", "precision", "recall", "F1", "images"], rows))
