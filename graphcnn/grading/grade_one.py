"""The grading of one submission."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from graphcnn import __version__
from graphcnn.common.errors import InputError, error_line
from graphcnn.grading.answer_key import AnswerKey
from graphcnn.grading.contents import Contents, open_contents
from graphcnn.grading.find import Found
from graphcnn.grading.grade import Grade, read_grade
from graphcnn.grading.result_file import read_result

WEIGHTS = "model.ckpt.data-00000-of-00001"


@dataclass(frozen=True)
class Settings:
    """What all submissions of a class are graded by.

    Attributes:
        key: the true labels.
        out: folder of the results.
    """

    key: AnswerKey
    out: Path

    def identity(self) -> str:
        """Return a checksum of all that a grade depends on, beside the submission."""
        return hashlib.sha256(repr((__version__, self.key.identity())).encode()).hexdigest()


def grade_one(found: Found, settings: Settings) -> Grade:
    """Return the grade of a submission, and write it into its results.json.

    A submission that has not changed since it was graded with the same settings is not graded again. No error of a
    submission is raised: a submission that cannot be graded has a `problem`.
    """
    grade, start = Grade(found.name, found.folder, path=found.path), time.monotonic()
    try:
        with open_contents(found.path) as contents:
            grade.key = _key(contents, found, settings)
            earlier = read_grade(settings.out, found.folder, grade.key)
            if earlier:
                earlier.path = found.path
                return earlier
            _grade_contents(grade, contents, found, settings)
    except (InputError, OSError) as error:
        grade.problem = error_line(error)
    except Exception as error:  # a fault of this package must not stop the grading of the others
        grade.problem, grade.fault = f"fault of graphcnn, {type(error).__name__}: {error}; report it", True
    if grade.problem:
        grade.scores = None
    grade.seconds = round(time.monotonic() - start, 3)
    grade.write(settings.out)
    return grade


def _key(contents: Contents, found: Found, settings: Settings) -> str:
    parts = (settings.identity(), contents.signature(), found.name, found.several)
    return hashlib.sha256(repr(parts).encode(errors="surrogatepass")).hexdigest()


def _grade_contents(grade: Grade, contents: Contents, found: Found, settings: Settings) -> None:
    """Set the scores, the notes and the identity of a grade."""
    grade.ignored = list(contents.ignored)
    if found.several > 1:
        grade.notes.append(f"one of {found.several} submissions with this name")
    if grade.ignored:
        grade.notes.append(f"ignored: {', '.join(grade.ignored)}")
    result = read_result(contents, len(settings.key.labels), len(settings.key.class_names))
    grade.identity = _identity(contents, result)
    grade.scores = settings.key.score(result)


def _identity(contents: Contents, result: np.ndarray) -> dict[str, Any]:
    """Return what is compared with other submissions: the results, and the size and CRC-32 of the weights."""
    rounded = np.ascontiguousarray(result, np.float32)
    weights = contents.entries.get(WEIGHTS)
    return {"result_sha256": hashlib.sha256(rounded.tobytes()).hexdigest(), "weights": weights and list(weights)}
