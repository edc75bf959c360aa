"""One run of an experiment, and the action that it needs: nothing, training, or the user's decision."""

from __future__ import annotations

import dataclasses
import statistics
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from graphcnn.common.errors import InputError
from graphcnn.config.parse import recipe_from_dict
from graphcnn.config.recipe import Recipe
from graphcnn.config.setting_paths import absolute, recorded_settings
from graphcnn.data.fingerprint import same_data
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
        epoch_seconds: median duration of a finished epoch.
    """

    experiment: str
    recipe: Recipe
    run: Run
    state: Literal["waiting", "training", "scoring", "done", "failed"] = "waiting"
    epoch: int = 0
    score: float | None = None
    seconds: float = 0.0
    epoch_seconds: float = 0.0

    def read_progress(self, finished: bool = False) -> None:
        """Set epoch, score, seconds and epoch_seconds from the run's history.csv.

        Args:
            finished: whether the run is finished. If it is not, a file that cannot be read counts as no epochs.

        Raises:
            InputError: the run is finished, and the file is missing or cannot be read.
        """
        history = self.run.history() if finished else self.run.history_so_far()
        scores = [row["dev_macro_f1"] for row in history[: self.recipe.all_epochs()]]
        self.epoch, self.score = len(history), max((score for score in scores if score is not None), default=None)
        durations = [row["seconds"] for row in history]
        self.seconds, self.epoch_seconds = sum(durations), statistics.median(durations or [0.0])


class Standing(NamedTuple):
    """The action that a job needs.

    Attributes:
        action: "done": none. "resume": `train --resume`, which also starts a new run. "replace": rename the run, which
            has another recipe, data, dev split or net but no finished epoch, and train a new run. "changed": the user
            must decide, because such a run has a finished epoch.
        reason: text for the user; it may be empty.
    """

    action: Literal["done", "resume", "replace", "changed"]
    reason: str = ""


def standing(job: Job, split: dict[str, Any], fingerprint: str) -> Standing:
    """Return the action that a job needs, from the content of its run's folder.

    Args:
        job: the job.
        split: {"kind", "fraction"} of the requested dev split.
        fingerprint: fingerprint of the dataset at the recipe's image size.

    Raises:
        InputError: a file of the run is missing, or its content is not what train writes.
        OSError: a file of the run cannot be read.
    """
    run = job.run
    run.refuse_links()
    if run.lacks_config():
        raise InputError(
            f"{run.config_path}: this file is missing, but the run has checkpoints; restore it, or rename the folder "
            f"{run.path} to train the experiment again"
        )
    if not run.exists():
        return Standing("resume")
    config = run.config()
    recorded = recipe_from_dict(config["recipe"], str(run.config_path))
    recipe = _comparable(job.recipe, recorded)
    changes = _changes(config, recorded, recipe)
    data_changes = ["the data changed"] * (not same_data(config["data"]["fingerprint"], fingerprint))
    data_changes += ["the dev split changed"] * ({key: config["split"].get(key) for key in split} != split)
    last = run.last_epoch()
    finished = last.is_final(recipe)
    if data_changes or not _is_reusable(changes, recorded, recipe, finished):
        reason = "; ".join([*changes.values(), *data_changes])
        return Standing("changed" if run.has_epochs() else "replace", reason)
    if net := _net_change(config, recorded):
        return Standing("changed" if run.has_epochs() else "replace", net)
    if finished:
        return Standing("done", f"it has {last.epoch} epochs and is kept" if changes else "")
    if changes:
        return Standing("resume", "; ".join(changes.values()))
    return Standing("resume", f"continues after epoch {last.epoch}" if last.epoch else "")


def _net_change(config: dict[str, Any], recipe: Recipe) -> str:
    """Return how the net of a run has changed; "" if it has not, or if the run has no record of its net."""
    if "net" not in config:
        return ""
    from graphcnn.storage.recorded_net import net_change  # imports TensorFlow, which no other function here needs

    return net_change(config, recipe)


def _is_reusable(changes: dict[str, str], recorded: Recipe, recipe: Recipe, finished: bool) -> bool:
    """Return whether a run with the recipe `recorded` can be kept or continued as a run with `recipe`.

    The recipes may differ only in epochs and patience. A run can be continued with more epochs and more patience. With
    less patience, the run might have stopped earlier, so it cannot be continued. It is kept if it is finished and
    `recorded` has more epochs.
    """
    if recipe.planned() or not changes.keys() <= {"epochs", "patience"}:
        return not changes
    return recipe.patience >= recorded.patience or (finished and recipe.epochs < recorded.epochs)


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
