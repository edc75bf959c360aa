"""Small training graphs, and batches of random images for them."""

import contextlib
import dataclasses

import numpy as np

from graphcnn.config.named import RECIPES
from graphcnn.config.recipe import Recipe
from graphcnn.graphs.training import build_training
from graphcnn.ops.tf1 import session

TINY = Recipe(
    net="vgg_tiny",
    image_size=16,
    l2=0.01,
    keep_prob=1.0,
    warmup_steps=4,
    optimizer="sgd",
    learning_rate=0.1,
    precision="float32",
)
NO_STATISTICS = (np.zeros(3), np.ones(3))
FAST = dataclasses.replace(
    RECIPES["fast"].recipe, image_size=18, early_size=16, batch_size=8, precision="float32", l2=0.01
)


def batch(rows=8, size=16, seed=0):
    """Return random images [rows, size, size, 3], and labels [rows] of three classes."""
    generator = np.random.default_rng(seed)
    return generator.normal(size=(rows, size, size, 3)).astype(np.float32), generator.integers(0, 3, rows)


@contextlib.contextmanager
def started(recipe, total_steps=100, **options):
    """Yield a TrainingGraph for images of the recipe's own size and 3 classes, and its session with initial weights."""
    graph = build_training(recipe, (recipe.image_size,) * 2, 3, NO_STATISTICS, total_steps, **options)
    with session(graph.graph) as running:
        running.run(graph.initialize)
        if graph.whitening_filters is not None:
            filters = np.random.default_rng(0).normal(size=graph.whitening_filters.shape, scale=0.3)
            running.run(graph.whitening_filters.initializer, {graph.whitening_filters.initializer.inputs[1]: filters})
        yield graph, running
