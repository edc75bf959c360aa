"""Lines that `train` prints for the user: a better recipe before the training, the next commands after it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from graphcnn.common import paths
from graphcnn.config.named import RECIPES
from graphcnn.data.dataset import Dataset
from graphcnn.weights.published import install_command

NETWORK = {"net", "weights", "head", "freeze"}  # a user who sets one of them has chosen a network
FAST_SIZE = 32  # height and width of the images for which the recipe fast was made


def better_recipe(dataset: Dataset, settings: Mapping[str, Any]) -> list[str]:
    """Return lines that suggest another recipe to a user who has not chosen one.

    Args:
        dataset: the data.
        settings: {Recipe field: value} for the flags that were given.
    """
    if settings.keys() & NETWORK:
        return []
    if dataset.file_names:
        line = (
            "suggestion: for photos, add --recipe=transfer; it starts from ImageNet weights, and its scores are much "
            "higher than those from random weights"
        )
        command = install_command(RECIPES["transfer"].recipe.net)
        install = f"suggestion: --recipe=transfer needs a package; install it with: {command}"
        return [line, install] if command else [line]
    if dataset.image_shape == (FAST_SIZE, FAST_SIZE):
        return [
            "suggestion: for 32x32 images, add --recipe=fast; it trains a smaller network in less time, and its scores "
            "are higher on CIFAR-10 and on the digits"
        ]
    return []


def next_commands(dataset: Dataset, has_dev: bool, run_flags: str, data_flags: str) -> list[str]:
    """Return lines with the commands that can follow a training.

    Args:
        dataset: the data of the run.
        has_dev: whether the run has a dev split.
        run_flags: the flags that name the run, as text.
        data_flags: the flags for its data, as text: "" or " --data=...".
    """
    commands = []
    if has_dev or dataset.has_test_labels:
        split = "" if has_dev else " --split=test"
        commands.append((f"eval {run_flags}{data_flags}{split}", "scores, confusion matrix, mistakes"))
    commands.append((f"predict {run_flags} photo.png", "the classes of an image"))
    commands.append((f"export {run_flags}{data_flags}", "the network for other programs"))
    if dataset.has_test_images():
        commands.append((f"submit {run_flags}{data_flags}", "result.npy for the test images, and the graph"))
    width = max(len(command) for command, _ in commands)
    lines = [f"{paths.PROGRAM} {command:<{width}}  # {text}" for command, text in commands]
    return [f"{'' if n else 'next:':<5} {line}" for n, line in enumerate(lines)]
