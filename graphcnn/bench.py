"""Compare the speed of graphcnn, Keras and PyTorch on this machine, in training and in evaluation.

./run.sh bench                          time the default network; write bench.json and bench.png into checkpoints/
./run.sh bench --implementations=all    also install PyTorch into .venv-peers, and compare with it
./run.sh bench --recipe=NAME            time the network, loss and batch size of another recipe (ladder/vgg_like_1)
./run.sh bench --recipe=zoo --net=resnet50_v2    time an ImageNet network
./run.sh bench --profile                print the time of a training step by type of operation and by layer
./run.sh bench --convolutions           time TensorFlow's and graphcnn's implementation of each convolution
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from absl.flags import FlagValues

from graphcnn.common import paths
from graphcnn.common.command import run_command
from graphcnn.common.errors import InputError
from graphcnn.common.progress import say, say_if_slow
from graphcnn.common.replace import atomic_write
from graphcnn.config import flags, suites
from graphcnn.config.named import RECIPES

ALIASES = {"peers": "implementations", "forms": "convolutions"}


def define_flags() -> FlagValues:
    """Return this command's flags."""
    values = flags.new_flags(ALIASES)
    flags.define_precision(values, "auto")
    names = f"{', '.join(RECIPES)}, or SUITE/EXPERIMENT"
    text = f"recipe whose network, loss and batch size are timed, without augmentation: {names}"
    flags.define(values, str, "recipe", "assignment", text)
    flags.define(values, str, "net", None, "name of the network to time (default: the network of the recipe)")
    text = "number of images in a training step (default: the batch size of the recipe)"
    flags.define(values, int, "batch_size", None, text)
    text = "height and width of the images in pixels (default: the image size of the recipe)"
    flags.define(values, int, "image_size", None, text)
    text = (
        "implementations to compare with: installed, all (installs PyTorch too), none, or names such as keras,pytorch"
    )
    flags.define(values, str, "implementations", "installed", text)
    flags.define(values, int, "rounds", 5, "number of rounds; the implementations take turns in each round")
    flags.define(values, int, "steps", 6, "number of training steps of each implementation in a round")
    text = "number of images that each implementation evaluates, in all rounds together"
    flags.define(values, int, "images", 10_000, text)
    text = "FILE.json for the results; the chart is written to FILE.png (default: checkpoints/bench.json)"
    flags.define(values, str, "out", None, text)
    text = "print the time of a training step by type of operation and by layer, and compare nothing"
    flags.define(values, bool, "profile", False, text)
    text = "time TensorFlow's and graphcnn's implementation of each convolution of the network, and nothing else"
    flags.define(values, bool, "convolutions", False, text)
    return values


def main(values: FlagValues, positional: list[str]) -> int:
    """Print the table; write the JSON file and the chart."""
    flags.no_positional(positional)
    precision = flags.precision(values)
    for name in ("rounds", "steps", "images"):
        if getattr(values, name) < 1:
            raise InputError(f"--{name}: found {values[name].value}, expected a whole number at least 1")
    if values.profile and values.convolutions:
        raise InputError("--profile and --convolutions exclude each other; drop one of them")
    named = suites.named_recipe(values.recipe).recipe
    changes = {name: values[name].value for name in ("net", "image_size", "batch_size") if values[name].present}
    # These imports load TensorFlow and matplotlib
    with say_if_slow("importing TensorFlow"):
        from graphcnn.benchmark import contest, convolutions, environments, profile, table, timed_recipe
        from graphcnn.evaluation import pictures
        from graphcnn.ops.tf1 import choose_precision

    chosen, reason = choose_precision(precision)
    recipe = timed_recipe.whole_net(named, **changes, precision=chosen)
    say(f"precision: {chosen} ({reason})")
    if values.profile:
        profile.print_profile(recipe)
        return 0
    if values.convolutions:
        convolutions.print_convolutions(recipe)
        return 0
    out = _output_file(values.out)
    interpreters = environments.find_interpreters(values.implementations)
    timed_recipe.check_others(recipe, values.recipe, interpreters)
    turns = contest.Turns(values.rounds, values.steps, -(-values.images // values.rounds))
    results = contest.run(recipe, values.recipe, turns, interpreters)
    table.print_contest(results)
    with atomic_write(out) as file:
        file.write((json.dumps(results, indent=2) + "\n").encode())
    pictures.benchmark(results, out.with_suffix(".png"))
    say(f"written: {out}, {out.with_suffix('.png').name}")
    return 0


def _output_file(value: str | None) -> Path:
    """Return the JSON file of --out; InputError if it cannot be written there."""
    out = Path(value) if value else paths.CHECKPOINTS / "bench.json"
    if out.suffix != ".json" or out.is_dir():
        raise InputError(
            f"--out={out}: expected a file name that ends in .json; the chart gets the same name with .png"
        )
    if not os.access(out.parent, os.W_OK):
        raise InputError(f"--out={out}: {out.parent} is not a folder that can be written to; name another")
    return out


if __name__ == "__main__":
    sys.exit(run_command("bench", __doc__, define_flags(), main))
