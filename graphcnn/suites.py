"""Suites of experiments: the ladders of reports A, B and C as rows, and any named recipe by its name.

An experiment is what changes against its parent. It is a named recipe too: `train --recipe=ladder/complex_2`.
"""

import dataclasses
from typing import NamedTuple

from graphcnn import recipes
from graphcnn.errors import InputError
from graphcnn.recipes import NamedRecipe, Recipe


class Experiment(NamedTuple):
    """A row of a suite.

    said: what changes, in words. parent: the name of another row, or None for the suite's base. change: {Recipe field:
    value} against the parent. published: the report's score in the suite's unit, a (low, high) range, or None.
    """

    said: str
    parent: str | None
    change: dict
    published: float | tuple | None = None


class Claim(NamedTuple):
    """A conclusion of the report as a comparison: measure(one) `sign` factor * measure(each of the others).

    measure: "score" (dev macro F1), "gap" (training minus dev accuracy) or "epoch_seconds".
    """

    said: str
    measure: str
    one: str
    sign: str
    others: tuple
    factor: float = 1.0


class Suite(NamedTuple):
    """A report's ladder: where it is from, what its scores are, the base recipe, dev share, rows and conclusions."""

    source: str
    unit: str
    base: Recipe
    dev_fraction: float
    experiments: dict
    claims: tuple


def _rows(*rows):
    return {name: Experiment(*row) for name, *row in rows}


ASSIGNMENT = Suite(
    "report A: CIFAR-10 as the assignment gives it; warm-up ours, and for one and two convolutions that there is no L2",
    "dev F1",
    Recipe(),
    0.25,
    _rows(
        ("one_conv", "conv 5x5 64, pool 3x3/2, dense: the course's baseline", None,
         {"net": "one_conv", "l2": 0.0, "keep_prob": 1.0}),
        ("two_conv", "and conv 16x16 128, pool; 15 epochs", "one_conv",
         {"net": "two_conv", "epochs": 15, "stop_on": "nothing"}, 0.505674),
        ("two_conv_dropout", "dropout after both pools", "two_conv", {"keep_prob": 0.6}, 0.573845),
        ("two_conv_stopped", "stopped by patience 5", "two_conv_dropout", {"epochs": 50, "stop_on": "loss"}, 0.616821),
        ("final", "nine convolutions in four stages, three dense layers", None, {}, 0.760370),
        ("no_256", "without the 256-filter stage and its pool", "final", {"net": "vgg_no_256"}, (0.715190, 0.738178)),
        ("no_512", "without the 512-filter stage and its pool", "final", {"net": "vgg_no_512"}, 0.748226),
        ("one_dense", "the output layer alone", "final", {"net": "vgg_one_dense"}, 0.754192),
    ),
    (
        Claim("dropout helps two_conv", "score", "two_conv_dropout", ">", ("two_conv",)),
        Claim("more epochs help two_conv", "score", "two_conv_stopped", ">", ("two_conv_dropout",)),
        Claim("depth helps", "score", "final", ">", ("one_conv", "two_conv", "two_conv_stopped")),
        Claim("the 256-filter stage helps", "score", "final", ">", ("no_256",)),
        Claim("the 512-filter stage helps", "score", "final", ">", ("no_512",)),
        Claim("the two dense layers help", "score", "final", ">", ("one_dense",)),
    ),
)  # fmt: skip

KERAS = {  # what report B leaves at Keras's defaults, and its course
    "net": "four_layer", "normalisation": "unit", "bias_init": "zeros", "warmup_steps": 0, "batch_size": 512,
    "epochs": 300, "l2": 0.0, "keep_prob": 1.0, "stop_on": "nothing",
}  # fmt: skip
NORM = {"batch_norm": True, "batch_norm_at": "after"}
SHIFT_AND_FLIP = {"translate": 3, "flip": "random"}  # 0.1 of 32 pixels

LADDER = Suite(
    "report B: CIFAR-10, scored there on the test split, at the end or at its best; the dev share of 0.2 and mirrored "
    "edges in shifts are ours",
    "test accuracy %",
    Recipe(**KERAS),
    0.2,
    _rows(
        ("four_layer_1", "three convolutions of 32 filters, raw pixels", None, {"normalisation": "none"}, 63.00),
        ("four_layer_2", "divided by 255", "four_layer_1", {"normalisation": "unit"}, 72.87),
        ("six_layer_1", "a fourth convolution", "four_layer_2", {"net": "six_layer_1"}, 70.27),
        ("six_layer_2", "16 to 256 filters in five stages", "four_layer_2", {"net": "six_layer_2"}, 73.0),
        ("six_layer_3", "32 to 128 filters in five stages", "four_layer_2", {"net": "six_layer_3"}, 74.77),
        ("seven_layer_1", "and dense 128", "six_layer_3", {"net": "seven_layer"}, 75.02),
        ("weight_init_1", "convolutions He-uniform", "seven_layer_1", {"init": "he"}, 72.94),
        ("batch_norm_1", "batch norm after each ReLU", "seven_layer_1", NORM, 77.27),
        ("dropout_1", "dropout 0.3 after each pool and the dense", "seven_layer_1", {"keep_prob": 0.7}, 80.67),
        ("complex_1", "batch norm and dropout", "dropout_1", NORM, 82.98),
        ("complex_2", "and He-uniform", "complex_1", {"init": "he"}, 83.75),
        ("augment_1", "shifts of 0.1 and flips", "complex_2", SHIFT_AND_FLIP, 81.40),
        ("vgg_like_1", "every convolution doubled", "complex_2", {"net": "seven_layer_doubled"}, 85.87),
        ("vgg_like_augment_1", "shifts of 0.1 and flips", "vgg_like_1", SHIFT_AND_FLIP, 89.02),
        ("norm_before", "batch norm without scale before each convolution's ReLU", "seven_layer_1",
         {**NORM, "batch_norm_at": "before"}),
        ("dropout_he", "dropout and He-uniform", "dropout_1", {"init": "he"}),
        ("norm_he", "batch norm and He-uniform", "batch_norm_1", {"init": "he"}),
        ("dense_only", "dense 512, dense 256 and no convolution", "four_layer_2", {"net": "dense_only"}),
        ("batch_128", "batch 128", "complex_2", {"batch_size": 128}),
        ("batch_2048", "batch 2048", "complex_2", {"batch_size": 2048}),
        ("rate_3e-4", "learning rate 0.0003", "complex_2", {"learning_rate": 3e-4}),
        ("rate_3e-3", "learning rate 0.003", "complex_2", {"learning_rate": 3e-3}),
    ),
    (
        Claim("dividing by 255 helps", "score", "four_layer_2", ">", ("four_layer_1",)),
        Claim("five stages beat three", "score", "six_layer_3", ">", ("four_layer_2",)),
        Claim("a hidden dense layer helps", "score", "seven_layer_1", ">", ("six_layer_3",)),
        Claim("He-uniform alone does not help", "score", "weight_init_1", "<", ("seven_layer_1",)),
        Claim("batch norm helps", "score", "batch_norm_1", ">", ("seven_layer_1",)),
        Claim("dropout helps", "score", "dropout_1", ">", ("seven_layer_1",)),
        Claim("dropout cuts the train-dev gap by more than half", "gap", "dropout_1", "<", ("seven_layer_1",), 0.5),
        Claim("batch norm, dropout and He-uniform together beat each alone", "score", "complex_2", ">",
              ("batch_norm_1", "dropout_1", "weight_init_1")),
        Claim("augmentation does not help before doubling", "score", "augment_1", "<", ("complex_2",)),
        Claim("doubling helps", "score", "vgg_like_1", ">", ("complex_2",)),
        Claim("doubling with augmentation is best", "score", "vgg_like_augment_1", ">", (
            "four_layer_1", "four_layer_2", "six_layer_1", "six_layer_2", "six_layer_3", "seven_layer_1",
            "weight_init_1", "batch_norm_1", "dropout_1", "complex_1", "complex_2", "augment_1", "vgg_like_1")),
    ),
)  # fmt: skip

RESTAURANT = Suite(
    "report C: restaurant photos at 300x300; optimizer, rate and what its nets leave open are ours",
    "validation accuracy %",
    Recipe(
        net="photos_three", image_size=300, normalisation="unit", bias_init="zeros", warmup_steps=0, batch_size=32,
        epochs=20, l2=0.0, keep_prob=1.0, stop_on="nothing",
    ),
    0.3,
    _rows(
        ("model_1", "three convolutions of 32, 128 and 512 filters", None, {}, (91, 92)),
        ("model_2_1", "four of 16 to 128 filters, the first two of stride 2", "model_1", {"net": "photos_strided"}, 90),
        ("model_2_2", "a hidden dense layer", "model_2_1", {"net": "photos_strided_two_dense"}, 90),
        ("model_2_3", "batch 64", "model_2_2", {"batch_size": 64}, 91),
        ("model_2_4", "batch 128", "model_2_3", {"batch_size": 128}, 92),
        ("model_2_5", "batch 256, 50 epochs", "model_2_4", {"batch_size": 256, "epochs": 50}, 94),
        ("model_3_1", "six of stride 1, one dense layer", "model_2_5", {"net": "photos_six", "micro_batch": 32}, 95),
        ("model_3_2", "raw pixels", "model_3_1", {"normalisation": "none"}, (91, 92)),
        ("model_4", "seven, SAME padding", "model_3_1", {"net": "photos_seven"}, (94, 95)),
        ("model_3_3", "batch norm, dropout 0.3 and batch 32: coded there, never run", "model_3_1",
         {**NORM, "keep_prob": 0.7, "batch_size": 32, "micro_batch": 0}),
    ),
    (
        Claim("stride 2 takes less than two thirds as long", "epoch_seconds", "model_2_1", "<", ("model_1",), 2 / 3),
        Claim("larger batches and more epochs help", "score", "model_2_5", ">",
              ("model_2_2", "model_2_3", "model_2_4")),
        Claim("six convolutions are best", "score", "model_3_1", ">",
              ("model_1", "model_2_1", "model_2_2", "model_2_3", "model_2_4", "model_2_5")),
        Claim("normalisation helps", "score", "model_3_1", ">", ("model_3_2",)),
        Claim("a seventh convolution does not help", "score", "model_4", "<", ("model_3_1",)),
    ),
)  # fmt: skip

SUITES = {"assignment": ASSIGNMENT, "ladder": LADDER, "restaurant": RESTAURANT}


def recipe(suite, name):
    """Return the Recipe of an experiment: the suite's base, changed by each ancestor and by its own row."""
    row = suite.experiments[name]
    before = recipe(suite, row.parent) if row.parent else suite.base
    return dataclasses.replace(before, **row.change)


def names():
    """Return every recipe's name, those of experiments as <suite>/<experiment>."""
    return [*recipes.RECIPES, *(f"{name}/{row}" for name, suite in SUITES.items() for row in suite.experiments)]


def named(name):
    """Return the NamedRecipe called `name`, or refuse with the nearest match."""
    if name in recipes.RECIPES:
        return recipes.RECIPES[name]
    if name not in names():
        raise InputError(f"--recipe: {recipes.unknown(name, names())}")
    suite, row = name.split("/")
    suite = SUITES[suite]
    return NamedRecipe(recipe(suite, row), f"{suite.source}; {suite.experiments[row].said}", None)
