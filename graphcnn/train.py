"""Train a network and keep the epoch with the best dev macro F1.

./run.sh train                          train on data/ if it holds x_train.npy, else on scikit-learn's digits
./run.sh train --data=DIR --run=NAME    train on a folder with x_train.npy and y_train.npy, or on a folder of images
./run.sh train --run=NAME --resume      continue an interrupted run; the result is the same as without the interruption
"""

from __future__ import annotations

import os
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from graphcnn.common.command import run_command
from graphcnn.common.errors import InputError
from graphcnn.common.progress import say_if_slow
from graphcnn.config import flags
from graphcnn.config.command_flags import CommandFlags
from graphcnn.config.named import RECIPES, default_recipe
from graphcnn.config.recipe import AUGMENTATION, RUN
from graphcnn.config.suites import named_recipe
from graphcnn.data import sources
from graphcnn.data.splits import DEV_FRACTION
from graphcnn.training.request import TrainRequest

if TYPE_CHECKING:
    from absl.flags import FlagValues

MOST_USED = ("net", "image_size", "epochs", "batch_size", "learning_rate", "seed")  # settings, first in --help


def define_flags() -> FlagValues:
    """Return the flags of this command."""
    values = flags.new_flags()
    flags.define_data(values, flags.TRAINING_DATA)
    text = (
        f"recipe that gives the settings: {', '.join(RECIPES)}, or SUITE/EXPERIMENT (default: digits if the data are "
        "digits, else assignment)"
    )
    flags.define(values, str, "recipe", None, text)
    flags.define_run(values, "RECIPE-N, where N is the first free number; with --resume the newest run")
    text = "continue the run with its recorded settings; start a new run if there is none"
    flags.define(values, bool, "resume", False, text)
    flags.define_allow_changed_net(values, "with --resume, continue")
    text = "fraction of the training images in the dev split, which selects the best epoch; 0 for no dev split"
    flags.define_dev_split(values, DEV_FRACTION, text)
    flags.define_fit(values)
    text = "delete an existing run of the same name, and train a new one"
    flags.define(values, bool, "overwrite", False, text, group=RUN)
    text = "draw augmented training images into augmentation.png in the folder of --checkpoints, and train nothing"
    flags.define(values, bool, "show_augmentation", False, text, group=AUGMENTATION)
    flags.define_recipe(values, _defaults, most_used=MOST_USED)
    return values


def _defaults(values: CommandFlags) -> flags.Defaults:
    """Return the defaults that --help shows: the settings of the recipe that this call would train."""
    name = values.recipe or default_recipe(values.data or sources.default_source())
    note = f"The defaults below are those of the recipe {name}."
    if not values.recipe:
        note = f"{note[:-1]}, which fits the data. --recipe=NAME --help shows the defaults of another recipe."
    return flags.recipe_defaults(named_recipe(name).recipe, note)


def main(values: FlagValues, positional: list[str]) -> int:
    """Train a run with the settings of the flags; return the exit status."""
    flags.no_positional(positional)
    for flag in ("overwrite", "show_augmentation"):
        if values.resume and values[flag].value:
            raise InputError(f"--resume and --{flag} exclude each other; drop one of them")
    if values.allow_changed_net and not values.resume:
        raise InputError("--allow_changed_net: needs --resume; add --resume, or drop the flag")
    if values.recipe is not None:
        named_recipe(values.recipe)
    if os.environ.get("TF_CONFIG", "").strip():
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # a worker that has not started yet is no error
    request = TrainRequest(
        root=flags.checkpoints_root(values),
        run=values.run,
        resume=values.resume,
        allow_changed_net=values.allow_changed_net,
        overwrite=values.overwrite,
        show_augmentation=values.show_augmentation,
        data=values.data,
        data_options=flags.given_options(values),
        recipe=values.recipe if values["recipe"].present else None,
        settings=flags.given_recipe_fields(values),
        dev_fraction=values.dev_fraction if values["dev_fraction"].present else None,
        dev_split=flags.dev_split(values),
    )
    with say_if_slow("importing TensorFlow"):
        from graphcnn.training.start import train

    return train(request).status


class _Callable(ModuleType):
    """The type of this module: `graphcnn.train(data="photos")` calls the function of the Python API."""

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        """Call graphcnn.api.train."""
        from graphcnn import api

        return api.train(*arguments, **keywords)


if __name__ == "__main__":
    sys.exit(run_command("train", __doc__, define_flags(), main))
else:
    sys.modules[__name__].__class__ = _Callable
