"""The tables of a class: grades.csv for the staff, leaderboard.md and leaderboard.html for everybody."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from graphcnn.common.replace import atomic_write
from graphcnn.common.text import cell, markdown, shortened
from graphcnn.evaluation.html_page import Section, element, page, table
from graphcnn.grading.answer_key import FINAL, PUBLIC, SCORES
from graphcnn.grading.grade import Grade
from graphcnn.grading.grade_one import Settings

GRADES, LEADERBOARD = "grades.csv", "leaderboard"
NAME_LETTERS = 80  # of a name in a leaderboard
ROWS = {PUBLIC: "the public test rows", FINAL: "the test rows that are not public"}  # else "all test rows"
TITLES = ("rank", "name", "macro F1", "95% interval", "accuracy", "top-2 accuracy")


def write_grades(grades: Sequence[Grade], settings: Settings) -> Path:
    """Write grades.csv, a row for each submission; return its path.

    Names and messages are written so that a spreadsheet runs none of them as a formula.
    """
    text = io.StringIO(newline="")
    rows = [_row(grade, settings.key.digits) for grade in grades]
    table = csv.writer(text, lineterminator="\n")
    table.writerow(rows[0])
    table.writerows([cell(str(value)) for value in row.values()] for row in rows)
    path = settings.out / GRADES
    with atomic_write(path) as file:
        file.write(text.getvalue().encode("utf-8", "backslashreplace"))
    return path


def _row(grade: Grade, digits: int) -> dict[str, Any]:
    """Return {column of grades.csv: value} of a submission."""
    scores = grade.scores
    numbers: dict[str, Any] = dict.fromkeys(("macro_f1", "macro_f1_low", "macro_f1_high", *SCORES[1:]), "")
    if scores:
        low, high = scores["intervals"]["macro_f1"]
        values = {"macro_f1_low": low, "macro_f1_high": high} | {name: scores[name] for name in SCORES}
        numbers = {name: f"{values[name]:.{digits}f}" for name in numbers}
    return {
        "name": grade.name,
        "status": "refused" if scores is None else "graded",
        **numbers,
        "problem": grade.problem or "",
        "notes": "; ".join(grade.notes),
    }


def ranking(grades: Sequence[Grade]) -> list[tuple[int, Grade]]:
    """Return (rank, grade) of the graded submissions, the highest macro F1 first; equal scores have the same rank."""
    graded = sorted((grade for grade in grades if grade.scores), key=lambda grade: -grade.macro_f1)
    ranks: dict[float, int] = {}
    for n, grade in enumerate(graded, start=1):
        ranks.setdefault(grade.macro_f1, n)
    return [(ranks[grade.macro_f1], grade) for grade in graded]


def write_leaderboard(grades: Sequence[Grade], settings: Settings) -> list[Path]:
    """Write leaderboard.md and leaderboard.html, in which every name is shown as text; return their paths."""
    digits = settings.key.digits
    rows = [_leaderboard_row(rank, grade, digits) for rank, grade in ranking(grades)]
    scored = f"Scores on {ROWS.get(settings.key.split, 'all test rows')}, {len(settings.key.rows):,} images."
    lines = [
        "# Leaderboard", "", scored, "",
        f"| {' | '.join(TITLES)} |", "|" + "---|" * len(TITLES),
        *(f"| {' | '.join(map(markdown, row))} |" for row in rows), "",
    ]  # fmt: skip
    by_name = table((TITLES[1], TITLES[0], *TITLES[2:]), [(row[1], row[0], *row[2:]) for row in rows])
    head = [element("h1", "Leaderboard"), element("p", scored, class_="note")]
    html = page("Leaderboard", head, [Section("ranking", "Ranking", [by_name])])
    paths = []
    for ending, content in (("md", "\n".join(lines)), ("html", html)):
        paths.append(settings.out / f"{LEADERBOARD}.{ending}")
        with atomic_write(paths[-1]) as file:
            file.write(content.encode("utf-8", "backslashreplace"))
    return paths


def _leaderboard_row(rank: int, grade: Grade, digits: int) -> tuple[str, ...]:
    assert grade.scores
    low, high = grade.scores["intervals"]["macro_f1"]
    numbers = [f"{grade.scores[name]:.{digits}f}" for name in SCORES]
    name = shortened(grade.name, NAME_LETTERS)
    return str(rank), name, numbers[0], f"{low:.{digits}f} to {high:.{digits}f}", *numbers[1:]
