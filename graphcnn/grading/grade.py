"""The grade of one submission, and its file results.json."""

from __future__ import annotations

import dataclasses
import json
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from graphcnn.common.errors import InputError
from graphcnn.common.files import read_json
from graphcnn.common.replace import atomic_write

RESULTS = "results.json"


@dataclass
class Grade:
    """The grade of one submission. All values except `path` and `fault` are in results.json.

    Attributes:
        name: name of the student.
        folder: name of the folder of its results.
        key: checksum of the submission and of all that its grade depends on; "" if it could not be read.
        problem: why the submission was refused; None for a graded submission.
        notes: what the staff should know.
        ignored: names of files that no submission has.
        scores: see AnswerKey.score; None for a refused submission.
        identity: what is compared with other submissions.
        seconds: time of the grading.
        path: the submission.
        fault: whether `problem` is a fault of this package.
    """

    name: str
    folder: str
    key: str = ""
    problem: str | None = None
    notes: list[str] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    scores: dict[str, Any] | None = None
    identity: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    path: Path = Path()
    fault: bool = False

    @property
    def macro_f1(self) -> float:
        """The macro F1 of the scored rows; 0 for a refused submission."""
        return float(self.scores["macro_f1"]) if self.scores else 0.0

    def line(self, digits: int) -> str:
        """Return the grade as one line; `digits`: decimals of the scores."""
        if self.scores is None:
            return f"{self.name}: refused: {self.problem}"
        low, high = self.scores["intervals"]["macro_f1"]
        others = f"accuracy {self.scores['accuracy']:.{digits}f}, top-2 {self.scores['top2_accuracy']:.{digits}f}"
        interval = f"95% interval {low:.{digits}f} to {high:.{digits}f}"
        return f"{self.name}: macro F1 {self.macro_f1:.{digits}f} ({interval}), {others}"

    def write(self, out: Path) -> None:
        """Write results.json into the submission's folder of `out`, which is created."""
        values = dataclasses.asdict(self)
        del values["path"], values["fault"]
        (out / self.folder).mkdir(parents=True, exist_ok=True)
        with atomic_write(out / self.folder / RESULTS) as file:
            file.write(json.dumps(values, indent=2).encode() + b"\n")


def read_grade(out: Path, folder: str, key: str) -> Grade | None:
    """Return the grade in results.json; None if there is none for this key.

    Args:
        out: folder of the results.
        folder: the submission's folder in it.
        key: see Grade.key.
    """
    with suppress(OSError, InputError, ValueError, TypeError, RecursionError):
        grade = Grade(**read_json(out / folder / RESULTS, follow=False))
        return grade if grade.key == key and grade.folder == folder else None
    return None
