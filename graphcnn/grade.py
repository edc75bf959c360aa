"""Grade submissions that are not trusted: score them, rank them, and write a table of the class.

./run.sh grade submissions/ --labels=y_test.npy    grade each folder and each zip file in submissions/
./run.sh grade one.zip --labels=y_test.npy         grade one submission
./run.sh grade submissions/ --labels=y_test.npy --public=0.3    score a fraction of the test rows, for a leaderboard

It reads result.npy of each submission and runs nothing of it. It needs no TensorFlow. A submission that has not
changed is not graded again.
"""

from __future__ import annotations

import sys
from pathlib import Path

from absl.flags import FlagValues

from graphcnn.common import paths
from graphcnn.common.command import run_command
from graphcnn.common.errors import InputError
from graphcnn.config import flags


def define_flags() -> FlagValues:
    """Return the flags of this command."""
    values = flags.new_flags()
    text = "true classes of the test images: a .npy file of shape (N,), (N, 1) or one-hot (N, K)"
    flags.define(values, str, "labels", None, text)
    text = f"folder to write: the tables, and a folder for each submission (default: grades/ {paths.BASE_NAME})"
    flags.define(values, str, "out", None, text)
    text = (
        "fraction of the test rows of each class that is public: only these rows are scored, unless --final is given "
        "(default: all rows are scored)"
    )
    flags.define(values, float, "public", None, text)
    text = "with --public: score the rows that are not public, and show the scores on the public rows beside them"
    flags.define(values, bool, "final", False, text)
    text = (
        "number to whose multiples the scores are rounded, so that repeated submissions reveal few labels (default: "
        "0.01 for public rows, else 0.000001)"
    )
    flags.define(values, float, "resolution", None, text)
    return values


def main(values: FlagValues, positional: list[str]) -> int:
    """Grade the submissions that `positional` names; return the exit status."""
    _check(values, positional)
    from graphcnn.grading.answer_key import read_answer_key
    from graphcnn.grading.find import find_submissions
    from graphcnn.grading.grade_class import grade_class
    from graphcnn.grading.grade_one import Settings

    out = paths.output_path(values.out) if values.out else paths.GRADES
    key = read_answer_key(values.labels, None, values.public, values.final, values.resolution)
    submissions = find_submissions([Path(path) for path in positional], out)
    grades = grade_class(submissions, Settings(key, out))
    return int(any(grade.fault for grade in grades))


def _check(values: FlagValues, positional: list[str]) -> None:
    """Refuse missing arguments and flags that do not go together."""
    if not positional:
        raise InputError("no submission given; name a zip file or a folder of submissions")
    if not values.labels:
        raise InputError("--labels: missing; name the .npy file with the true classes of the test images")
    if values.public is not None and not 0 < values.public < 1:
        raise InputError(f"--public: found {values.public:g}, expected a fraction between 0 and 1")
    if values.final and values.public is None:
        raise InputError("--final: needs --public, the fraction that was public; without both, all rows are scored")
    if values.resolution is not None and not 1e-6 <= values.resolution <= 0.5:
        raise InputError(f"--resolution: found {values.resolution:g}, expected a number from 0.000001 to 0.5")


if __name__ == "__main__":
    sys.exit(run_command("grade", __doc__, define_flags(), main))
