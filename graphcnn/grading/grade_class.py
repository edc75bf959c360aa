"""The grading of all submissions of a class, and the files about them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed

from graphcnn.common.locks import lock
from graphcnn.common.progress import bar, say
from graphcnn.grading.find import Found
from graphcnn.grading.grade import Grade
from graphcnn.grading.grade_one import Settings, grade_one
from graphcnn.grading.tables import write_grades, write_leaderboard


def grade_class(submissions: Sequence[Found], settings: Settings, workers: int = 1) -> list[Grade]:
    """Grade submissions, print a line for each, and write the tables; return the grades in the order of the names.

    Args:
        submissions: the submissions.
        settings: what they are graded by.
        workers: number of submissions that are graded at the same time.

    Raises:
        FileLocked: another process writes into the folder of the results.
    """
    settings.out.mkdir(parents=True, exist_ok=True)
    start, grades = time.monotonic(), {}
    with lock(settings.out / ".lock", f"--out={settings.out}: another process writes into this folder; wait for it"):
        with ThreadPoolExecutor(workers) as pool, bar("submissions", len(submissions)) as advance:
            jobs = {pool.submit(grade_one, found, settings): found for found in submissions}
            try:
                for job in as_completed(jobs):
                    grade = job.result()
                    grades[jobs[job].folder] = grade
                    say(grade.line(settings.key.digits))
                    advance(1, grade.name[:20])
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        ordered = [grades[found.folder] for found in submissions]
        files = [write_grades(ordered, settings), *write_leaderboard(ordered, settings)]
    refused = sum(grade.scores is None for grade in ordered)
    seconds = time.monotonic() - start
    say(f"graded {len(ordered) - refused} of {len(ordered)} submissions, {refused} refused, in {seconds:.1f} s")
    say(*(f"written: {file}" for file in files))
    return ordered
