"""Train a network and keep the epoch with the best dev macro F1.

./run.sh train                          data/ if it holds x_train.npy, else scikit-learn's digits
./run.sh train --data=DIR --run=NAME    a folder with x_train.npy and y_train.npy, or of images
./run.sh train --run=NAME --resume      continue an interrupted run exactly
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from graphcnn.common.command import run_command
from graphcnn.common.errors import InputError, unknown_name
from graphcnn.config import flags
from graphcnn.config.named import RECIPES
from graphcnn.config.suites import named_recipe
from graphcnn.training.request import DEV_FRACTION, DEV_SPLITS, TrainRequest

if TYPE_CHECKING:
    from absl.flags import FlagValues


def define_flags() -> FlagValues:
    """Return the flags of this command."""
    values = flags.new_flags()
    flags.define_run(values, "<recipe>-<n>; with --resume the newest run")
    sources = "a folder with x_train.npy and y_train.npy, a folder of images, cifar10 or digits (default: data/)"
    flags.define_data(values, sources)
    named = f"named recipe: {', '.join(RECIPES)}, or an experiment as <suite>/<name> (default: chosen by the data)"
    flags.define(values, str, "recipe", None, named)
    held_out = "fraction of the training rows that is held out as the dev split; 0 for no dev split"
    flags.define(values, float, "dev_fraction", DEV_FRACTION, held_out)
    kinds = (
        "which rows the dev split takes: first (the first rows) or stratified (by class) (default: chosen by the data)"
    )
    flags.define(values, str, "dev_split", None, kinds)
    flags.define(values, bool, "resume", False, "continue the run where it was interrupted; start it if there is none")
    flags.define(values, bool, "overwrite", False, "delete an existing run of this name first")
    shown = "write a picture of augmented training images to augmentation.png in --checkpoints, and train nothing"
    flags.define(values, bool, "show_augmentation", False, shown)
    flags.define_recipe(values)
    return values


def main(values: FlagValues, positional: list[str]) -> int:
    """Train as the flags say; return the exit status."""
    flags.no_positional(positional)
    for other in ("overwrite", "show_augmentation"):
        if values.resume and values[other].value:
            raise InputError(f"--resume and --{other} exclude each other; drop one of them")
    if values.dev_split not in (None, *DEV_SPLITS):
        raise InputError(f"--dev_split: {unknown_name(values.dev_split, DEV_SPLITS)}")
    if values.recipe is not None:
        named_recipe(values.recipe)
    if os.environ.get("TF_CONFIG", "").strip():
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # a worker that has not started yet is no error
    request = TrainRequest(
        root=flags.checkpoints_root(values),
        run=values.run,
        resume=values.resume,
        overwrite=values.overwrite,
        show_augmentation=values.show_augmentation,
        data=values.data,
        data_options=flags.given_options(values),
        recipe=values.recipe if values["recipe"].present else None,
        settings=flags.given_recipe_fields(values),
        dev_fraction=values.dev_fraction if values["dev_fraction"].present else None,
        dev_split=values.dev_split,
    )
    from graphcnn.training.start import train

    return train(request)


if __name__ == "__main__":
    sys.exit(run_command("train", __doc__, define_flags(), main))
