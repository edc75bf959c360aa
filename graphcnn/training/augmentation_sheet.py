"""A picture of augmented training images."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from graphcnn.common.errors import InputError
from graphcnn.common.progress import say
from graphcnn.config.recipe import AUGMENTATIONS, Recipe
from graphcnn.data.batches import as_rgb
from graphcnn.data.dataset import Dataset
from graphcnn.evaluation import pictures
from graphcnn.training import augment

IMAGES, EPOCHS = 8, 5  # largest numbers of images and epochs in the picture


def show_augmentation(root: Path, recipe: Recipe, dataset: Dataset, train_rows: np.ndarray) -> int:
    """Draw some training images, and their augmentation in the first epochs, into root/augmentation.png.

    Returns: the exit status 0.

    Raises:
        InputError: the recipe has no augmentation.
    """
    settings = recipe.augmentation()
    if not settings:
        flags = ", ".join(f"--{name}" for name in AUGMENTATIONS)
        raise InputError(f"--show_augmentation: this recipe has no augmentation; add one or more of {flags}")
    positions = np.linspace(0, len(train_rows) - 1, IMAGES).astype(
        int
    )  # evenly spaced, because the file may be sorted by class
    rows = train_rows[np.unique(positions)]
    originals, epochs = dataset.x_train[rows], []
    for epoch in range(1, 1 + min(EPOCHS, recipe.epochs)):
        parameters = augment.draw_parameters(recipe, len(dataset.y_train), epoch)[rows]
        epochs.append(augment.augmented(originals, recipe, parameters, dataset.pixel_max) / dataset.pixel_max)
    root.mkdir(parents=True, exist_ok=True)
    title = "  ".join(f"{name} {value}" for name, value in settings.items())
    pictures.augmentation(as_rgb(originals) / dataset.pixel_max, epochs, title, root / "augmentation.png")
    say(f"augmentation of {len(epochs)} epochs: {root / 'augmentation.png'}; nothing was trained")
    return 0
