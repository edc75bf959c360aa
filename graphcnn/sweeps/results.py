"""The results of a finished run, read from its folder."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

from graphcnn.common.errors import InputError
from graphcnn.common.files import read_json
from graphcnn.storage.run import Run
from graphcnn.storage.state import read_state

NUMBERS = ("parameters", "accuracy", "macro_f1", "cross_entropy", "top2_accuracy")  # required in eval's report

Result = dict[str, Any]  # as `read_result` returns it


def read_result(run: Run, test: bool, test_fingerprint: str | None) -> Result | None:
    """Return the numbers of a run's best epoch, with its config and history; None if eval must score it first.

    Args:
        run: a finished run.
        test: whether the data have test labels. If so, the result includes the scores on the test split.
        test_fingerprint: fingerprint of the test split. Scores with another fingerprint are ignored, and scores of
            version 1, which recorded none.

    Raises:
        InputError: the content of a file is not what train or eval writes.
        OSError: a file of the run cannot be read.
    """
    state = read_state(run.path / "last")
    scores = {split: _read_scores(run, split, state["best_epoch"]) for split in ("train", "dev", "test")}
    train, dev, test_scores = scores["train"], scores["dev"], scores["test"]
    if test_scores and test_scores.get("fingerprint") != test_fingerprint:
        test_scores = None
    if train is None or dev is None or (test and test_scores is None):
        return None
    history = run.history(state["epoch"])
    if not history:
        raise InputError(f"{run.path}: no epoch was trained, so there is nothing to compare; train it with --epochs=1")
    config = run.config()
    try:
        recipe, machine = config["recipe"], {"cores": config["cpu"]["cores"], "model": config["cpu"]["model"]}
        settings = {"seed": recipe["seed"], "precision": recipe["precision"], **config["versions"], **machine}
    except (KeyError, TypeError) as error:
        raise InputError(
            f"{run.config_path}: this is not a config.json of train ({type(error).__name__}: {error}); restore the file"
        ) from None
    return {
        "config": config,
        "seed": settings["seed"],
        "parameters": dev["parameters"],
        "cores": settings["cores"],
        "epochs": state["epoch"],
        "best_epoch": state["best_epoch"],
        "seconds": sum(row["seconds"] for row in history),
        "epoch_seconds": statistics.median(row["seconds"] for row in history),
        "train_loss": train["cross_entropy"],
        "dev_loss": dev["cross_entropy"],
        "train_accuracy": train["accuracy"],
        "dev_accuracy": dev["accuracy"],
        "dev_macro_f1": dev["macro_f1"],
        "gap": train["accuracy"] - dev["accuracy"],
        "test_accuracy": test_scores and test_scores["accuracy"],
        "test_macro_f1": test_scores and test_scores["macro_f1"],
        "test_loss": test_scores and test_scores["cross_entropy"],
        "test_top2_accuracy": test_scores and test_scores["top2_accuracy"],
        "dev_top2_accuracy": dev["top2_accuracy"],
        "weights": recipe.get("weights", "none"),  # the config.json of an old run may lack it
        "run": run.name,
        "per_class": (test_scores or dev)["per_class"],
        "history": history,
    }


def _read_scores(run: Run, split: str, epoch: int) -> dict[str, Any] | None:
    """Return eval's scores of a split; None unless they are of this epoch, in float32 and without augmentation."""
    path = run.path / "report" / f"{split}.json"
    try:
        scores = read_json(path, follow=False)
        if scores["epoch"] != epoch or scores["tta"] or scores["precision"] != "float32":
            return None
        wrong = [key for key in NUMBERS if not isinstance(scores[key], (int, float))]
        if wrong or not isinstance(scores["per_class"], dict):
            raise TypeError(f"{', '.join(wrong) or 'per_class'} has the wrong type")
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _not_a_report(path, error) from None
    return scores


def _not_a_report(path: Path, error: Exception) -> InputError:
    cause = f"{error} is missing" if isinstance(error, KeyError) else str(error)
    return InputError(
        f"{path}: this is not a report of eval ({cause}); delete the file, and experiments will score the run again"
    )
