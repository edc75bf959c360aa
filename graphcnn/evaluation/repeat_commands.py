"""The command lines that repeat a run and its scores."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from graphcnn.common import paths
from graphcnn.config.command_flags import text_of
from graphcnn.config.flags import DATA_PATHS, DEV_SPLITS
from graphcnn.config.recipe import Setting
from graphcnn.data import sources
from graphcnn.evaluation.select_model import Model
from graphcnn.evaluation.trained_run import TrainedRun
from graphcnn.storage.recorded_data import recorded_options
from graphcnn.storage.run_record import RunRecord


def train_command(record: RunRecord) -> str:
    """Return the command that trains a run like this one; it has a new name.

    The settings that differ from the recipe are flags. All settings are, if there is no recipe of the recorded name.
    """
    config, changed = record.config, record.changed_settings()
    words = [f"--data={config['data']['source']}", *_data_flags(config)]
    if config["split"]["kind"] in DEV_SPLITS:  # otherwise the data have a dev split
        words += [f"--dev_fraction={config['split']['fraction']!r}", f"--dev_split={config['split']['kind']}"]
    if changed is None:
        changed = dataclasses.asdict(record.recipe)
    else:
        words.insert(0, f"--recipe={config['recipe_name']}")
    return _command("train", [*words, *map(_setting_flag, changed, changed.values())])


def eval_command(model: Model[TrainedRun], split: str, root: Path, against: Model[TrainedRun] | None = None) -> str:
    """Return the command that scores a model on a split, or compares it with another model.

    Args:
        model: a run or an ensemble.
        split: name of the split.
        root: folder of the runs.
        against: the other model; None for no comparison.
    """
    names, *others = (",".join(run.name for run in each.nets) for each in (model, against) if each)
    words = [f"--run={names}", *[f"--ensemble={model.ensemble}"] * (model.ensemble != "mean"), f"--split={split}"]
    words += [f"--against={name}" for name in others]
    return _command("eval", [*words, *[f"--checkpoints={root}"] * (root != paths.CHECKPOINTS)])


def _command(name: str, words: list[str]) -> str:
    return f"{paths.PROGRAM} {shlex.join([name, *words])}"


def _data_flags(config: Mapping[str, Any]) -> Iterator[str]:
    """Yield the flags for the options that the data were loaded with."""
    source, options = config["data"]["source"], config["data"].get("options", {})
    for name in DATA_PATHS:
        if options.get(name):
            yield f"--{name}={Path(source) / options[name]}"
    fit = recorded_options(config, {}).fit
    if fit != sources.DataOptions().fit:
        yield f"--fit={fit}"
    if options.get("skip_broken"):
        yield "--skip_broken"


def _setting_flag(name: str, value: Setting) -> str:
    """Return a setting as a flag."""
    if isinstance(value, bool):
        return f"--{name}" if value else f"--no{name}"
    return f"--{name}={text_of(value)}"
