"""One run of an experiment, and the action that it needs: nothing, resume or retrain."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from graphcnn.common.errors import InputError
from graphcnn.config.recipe import Recipe, recipe_from_dict
from graphcnn.config.setting_paths import absolute, recorded_settings
from graphcnn.storage.run import Run


@dataclass
class Job:
    """One run of an experiment and its progress.

    Attributes:
        experiment: name of the experiment.
        recipe: settings of the experiment, with the seed of this run.
        run: folder of the run.
        state: waiting, then training and scoring, finally done or failed.
        epoch: number of finished epochs.
        score: best dev macro F1 of the finished epochs up to the recipe's number of epochs.
        seconds: duration of all finished epochs.
    """

    experiment: str
    recipe: Recipe
    run: Run
    state: Literal["waiting", "training", "scoring", "done", "failed"] = "waiting"
    epoch: int = 0
    score: float | None = None
    seconds: float = 0.0

    def read_progress(self) -> None:
        """Set epoch, score and seconds from the run's history.csv."""
        history = self.run.history_so_far()
        scores = [row["dev_macro_f1"] for row in history[: self.recipe.all_epochs()]]
        self.epoch, self.score = len(history), max((score for score in scores if score is not None), default=None)
        self.seconds = sum(row["seconds"] for row in history)


class Standing(NamedTuple):
    """The action that a job needs, and its reason for the user; the reason may be empty."""

    action: Literal["done", "resume", "retrain"]
    reason: str = ""


def standing(job: Job, split: dict[str, Any], fingerprint: str) -> Standing:
    """Return the action that a job needs, from the content of its run's folder.

    A job needs "retrain" only if the recipe, the dataset or the dev split changed.

    Args:
        job: the job.
        split: {"kind", "fraction"} of the requested dev split.
        fingerprint: fingerprint of the dataset at the recipe's image size.

    Raises:
        InputError: a file of the run is missing, or its content is not what train writes.
        OSError: a file of the run cannot be read.
    """
    run = job.run
    if run.lacks_config():
        raise InputError(
            f"{run.config_path}: this file is missing, but the run has checkpoints; restore it, or delete the folder "
            f"{run.path} to train the experiment again"
        )
    if not run.exists():
        return Standing("resume")
    config = run.config()
    recorded = recipe_from_dict(config["recipe"], str(run.config_path))
    changes = _changes(config, recorded, _comparable(job.recipe, recorded))
    longer = list(changes) == ["epochs"] and not job.recipe.planned()
    reasons = list(changes.values())
    if config["data"]["fingerprint"] != fingerprint:
        reasons.append("the data changed")
    if {key: config["split"].get(key) for key in split} != split:
        reasons.append("the dev split changed")
    if reasons and not (longer and len(reasons) == 1):
        return Standing("retrain", "; ".join(reasons))
    epoch, stopped_early = run.last_epoch()
    if epoch >= job.recipe.all_epochs() or stopped_early:
        return Standing("done", f"it has {epoch} epochs and is kept" if changes else "")
    if changes:
        return Standing("resume", changes["epochs"])
    return Standing("resume", f"continues after epoch {epoch}" if epoch else "")


def _comparable(recipe: Recipe, recorded: Recipe) -> Recipe:
    """Return the recipe with the recorded values of settings that do not change the result of the run."""
    if recipe.precision == "auto":
        recipe = dataclasses.replace(recipe, precision=recorded.precision)
    if recipe.stop_on == recorded.stop_on == "nothing":
        recipe = dataclasses.replace(recipe, patience=recorded.patience)
    return recipe


def _changes(config: dict[str, Any], recorded: Recipe, recipe: Recipe) -> dict[str, str]:
    """Return {setting: "setting was 1, is now 2"} for the settings that differ."""
    old, new = recorded_settings(config, dataclasses.asdict(recorded)), absolute(dataclasses.asdict(recipe))
    return {name: f"{name} was {old[name]}, is now {new[name]}" for name in new if new[name] != old[name]}
