"""The choice of the run to submit: which runs are refused, and what `submit` says about the run and about others."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np

from graphcnn.common.errors import InputError
from graphcnn.common.progress import say
from graphcnn.config.parse import recipe_from_dict
from graphcnn.data import sources
from graphcnn.data.fingerprint import same_data
from graphcnn.evaluation.select_model import Model
from graphcnn.evaluation.trained_run import TrainedRun
from graphcnn.storage.recorded_data import RecordedData
from graphcnn.storage.run import Run
from graphcnn.storage.select_run import all_runs
from graphcnn.storage.state import read_state
from graphcnn.submission.previous import read_previous
from graphcnn.weights.loaded import NOT_TRAINED


class Progress(NamedTuple):
    """The progress of a run on the data of the submitted run.

    later: whether it was started after the submitted run. unfinished: "" for a finished run, else the reason in words.
    score: best dev macro F1; None if it has no finished epoch, or other dev rows.
    """

    name: str
    later: bool
    unfinished: str
    score: float | None


def check_newest(run: TrainedRun, out: Path) -> None:
    """Check that the newest run, which --run does not name, was trained on the expected data.

    The expected data are those in data/ beside run.sh, if this folder holds x_train.npy, and those of the submission
    that is replaced.

    Args:
        run: the newest run.
        out: folder of the submission.

    Raises:
        InputError: the run was trained on other data.
    """
    expected: dict[str, str] = {}
    default, previous = sources.default_source(), read_previous(out)
    if default not in sources.NAMES:
        expected[f"the data in {default}"] = sources.load(default).fingerprint
    if previous:
        expected[f"the data of the older submission {out} ({previous.source})"] = previous.fingerprint
    for data, fingerprint in expected.items():
        if not same_data(run.config["data"]["fingerprint"], fingerprint):
            raise InputError(
                f"--run: the newest run, {run.name}, was trained on {run.config['data']['source']}, not on {data}; "
                f"name the run to submit, as --run={_newest_on(run.run.root, fingerprint) or run.name}"
            )


def _newest_on(root: Path, fingerprint: str) -> str | None:
    """Return the name of the newest run with a best checkpoint that was trained on these data; None without one."""
    for run in all_runs(root):
        with suppress(InputError, OSError):
            if run.has_best() and same_data(run.config()["data"]["fingerprint"], fingerprint):
                return run.name
    return None


def say_choice(model: Model[TrainedRun], data: RecordedData) -> None:
    """Print each submitted run, and for a single run the other runs that the user may prefer.

    Args:
        model: the runs.
        data: the data of the runs.
    """
    for run in model.nets:
        state = read_state(run.run.path / "best")
        best = state["best_score"]
        score = "no dev split" if best is None else f"dev macro F1 {best:.6f} in training"
        say(
            f"{run.description}, recipe {run.config['recipe_name']}, data {data.dataset.source}, epoch "
            f"{state['epoch']}, {score}"
        )
        if best is not None and state["epoch"] == 0:
            say(NOT_TRAINED)
        unfinished = _unfinished(run.run)
        if unfinished:
            say(f"note: run {run.name} is not finished ({unfinished}); its best epoch so far is submitted")
    if len(model.nets) == 1:
        _say_others(_other_runs(model.nets[0], data), best)


def _say_others(others: list[Progress], own: float | None) -> None:
    """Print the run with the best score if it is above `own`, and the unfinished runs that were started later."""
    scored = [(other.score, other) for other in others if other.score is not None]
    score, best = max(scored, key=lambda pair: pair[0], default=(None, None))
    if own is not None and score is not None and best and score > own:
        state = f"not finished, {best.unfinished}" if best.unfinished else "finished"
        say(
            f"note: run {best.name} ({state}) has a higher dev macro F1 in training on the same dev rows, {score:.6f}; "
            f"add --run={best.name} to submit it"
        )
    for other in others:
        if other.later and other.unfinished:
            say(f"note: run {other.name} was started later on the same data and is not finished ({other.unfinished})")


def _other_runs(run: TrainedRun, data: RecordedData) -> list[Progress]:
    """Return the Progress of the other runs on the same data. A run that cannot be read is left out."""
    try:
        runs = all_runs(run.run.root)
    except InputError:
        return []
    names = [other.name for other in runs]
    position = names.index(run.name) if run.name in names else 0
    others = []
    for n, other in enumerate(runs):
        with suppress(InputError, OSError):
            same = same_data(other.config()["data"]["fingerprint"], run.config["data"]["fingerprint"])
            if same and other.name != run.name:
                others.append(Progress(other.name, n < position, _unfinished(other), _score(other, data)))
    return others


def _unfinished(run: Run) -> str:
    """Return why a run is not finished, "" for a finished run."""
    last = run.last_epoch()
    epochs = recipe_from_dict(run.config()["recipe"], run.config_path).all_epochs()
    if last.stopped_early or (last.epoch >= epochs and run.has_best()):
        return ""
    return f"{last.epoch} of {epochs} epochs; it is still training or was interrupted"


def _score(run: Run, data: RecordedData) -> float | None:
    """Return the best dev macro F1 of a run; None if it has no finished epoch, or other dev rows than `data`."""
    if not (run.has_best() and np.array_equal(run.dev_rows(len(data.dataset.y_train)), data.dev_rows)):
        return None
    score: float | None = read_state(run.path / "best")["best_score"]
    return score
