"""Suites of experiments: the five reports' experiments as rows, and any named recipe by its name.

An experiment is what changes against its parent. It is a named recipe too: `train --recipe=ladder/complex_2`.
"""

import dataclasses
from typing import NamedTuple

from graphcnn.common.errors import InputError, unknown_name
from graphcnn.config.recipe import RECIPES, NamedRecipe, Recipe


class Experiment(NamedTuple):
    """A row of a suite.

    said: what changes, in words. parent: the name of another row, or None for the suite's base. change: {Recipe field:
    value} against the parent. published: the report's score in the suite's unit, a (low, high) range, or None.
    also: {what report.finished returns: the report's number} of other scores.
    """

    said: str
    parent: str | None
    change: dict
    published: float | tuple | None = None
    also: dict = {}  # noqa: RUF012 (never changed)


class Ensemble(NamedTuple):
    """Several of a suite's experiments as one, the mean of their softmax outputs; published as an Experiment's."""

    said: str
    members: tuple
    published: float | None = None


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
    """A report's ladder: where it is from, what its scores are, the base recipe, dev share, rows and conclusions.

    columns: of the scores in the experiments' `also`, {what report.finished returns: the column's title}.
    """

    source: str
    unit: str
    base: Recipe
    dev_fraction: float
    experiments: dict
    claims: tuple
    ensembles: tuple = ()
    columns: dict = {}  # noqa: RUF012 (never changed)


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
NORM = {"batch_norm": True, "batch_norm_position": "after"}
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
         {**NORM, "batch_norm_position": "before"}),
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

CAFFE, TF, TORCH = ({"normalisation": kind} for kind in ("caffe", "tf", "torch"))  # as published weights expect it
ADAM, RMSPROP = {"optimizer": "adam"}, {"optimizer": "rmsprop"}
FACES = Recipe(
    net="resnet50_v2", weights="imagenet", head="pooled", freeze="backbone", image_size=150, init="he",
    bias_init="zeros", normalisation="tf", learning_rate=1e-4, warmup_steps=0, batch_size=32, epochs=30, l2=0.0,
    keep_prob=0.6, stop_on="nothing",
)  # fmt: skip

TRANSFER = Suite(
    "report D: cartoon faces, features of ImageNet backbones and one dense layer on their means; what the head is, the "
    "dev share and the simple CNN are ours",
    "validation accuracy",
    FACES,
    0.2,
    _rows(
        ("densenet201", "DenseNet201", None, {"net": "densenet201", "keep_prob": 0.8, **TORCH, **RMSPROP}, 0.9884,
         {"dev_loss": 0.0684}),
        ("xception", "Xception; its sweep's 150 px and dropout 0.4 too", None, {"net": "xception", **TF},
         (0.9809, 0.9822), {"dev_loss": 0.1217}),
        ("resnet152_v2", "ResNet152V2", None, {"net": "resnet152_v2", "keep_prob": 0.5, **TF}, 0.9791,
         {"dev_loss": 0.0971}),
        ("resnet50_v2", "ResNet50V2, 50 epochs; its sweep's 150 px and 50 epochs too", None,
         {"net": "resnet50_v2", "epochs": 50, **TF}, 0.9778, {"dev_loss": 0.1146}),
        ("inception_resnet_v2", "InceptionResNetV2", None, {"net": "inception_resnet_v2", **TF}, 0.9738,
         {"dev_loss": 0.5949}),
        ("vgg19", "VGG19", None, {"net": "vgg19", "keep_prob": 0.8, **CAFFE, **RMSPROP}, 0.9738, {"dev_loss": 0.1456}),
        ("vgg16", "VGG16", None, {"net": "vgg16", "keep_prob": 0.8, **CAFFE, **RMSPROP}, 0.9693, {"dev_loss": 0.1315}),
        ("inception_v3", "InceptionV3, 10 epochs", None, {"net": "inception_v3", "epochs": 10, **TF}, 0.9582,
         {"dev_loss": 0.1715}),
        ("mobilenet_v2", "MobileNetV2, 10 epochs", None, {"net": "mobilenet_v2", "epochs": 10, **TF}, 0.6533,
         {"dev_loss": 1.0634}),
        ("simple_cnn", "four convolutions of 16 to 128 filters, from scratch", None,
         {"net": "photos_four", "weights": "none", "head": "own", "freeze": "none", "normalisation": "unit",
          "keep_prob": 1.0}, 0.8449, {"dev_loss": 0.6466}),
        *((f"resnet_{side}_{epochs}", f"{side} px, {epochs} epochs, dropout {1 - keep:.1g}", "resnet50_v2",
           {"image_size": side, "epochs": epochs, "keep_prob": keep}, published)
          for epochs, keep, published in ((20, 0.5, 0.976), (30, 0.6, 0.960), (50, 0.6, 0.9778))
          for side in (150, 180) if (side, epochs) != (150, 50)),
        *((f"xception_{side}_{dropout}", f"{side} px, dropout 0.{dropout}", "xception",
           {"image_size": side, "keep_prob": 1 - dropout / 10}, published)
          for side, dropout, published in ((150, 5, 0.9462), (180, 4, 0.9787), (180, 5, 0.9524))),  # best epochs
        *((f"vgg_{name}_{dropout}", f"10 epochs, {name}, dropout 0.{dropout}", "vgg16",
           {"epochs": 10, "optimizer": name, "keep_prob": 1 - dropout / 10}, published)
          for name, dropout, published in (
              ("adam", 2, 0.9538), ("adam", 3, 0.96), ("adam", 4, 0.9542),
              ("rmsprop", 2, 0.9613), ("rmsprop", 3, 0.9516), ("rmsprop", 4, 0.9596))),
    ),
    (
        Claim("DenseNet201 is best", "score", "densenet201", ">", (
            "xception", "resnet152_v2", "resnet50_v2", "inception_resnet_v2", "vgg19", "vgg16", "inception_v3",
            "mobilenet_v2", "simple_cnn")),
        Claim("each borrowed backbone but MobileNetV2 beats the simple CNN", "score", "simple_cnn", "<", (
            "densenet201", "xception", "resnet152_v2", "resnet50_v2", "inception_resnet_v2", "vgg19", "vgg16",
            "inception_v3")),
        Claim("MobileNetV2 is worst", "score", "mobilenet_v2", "<", ("simple_cnn",)),
        Claim("larger images help Xception", "score", "xception_180_4", ">", ("xception",)),
        Claim("less dropout helps Xception", "score", "xception_180_4", ">", ("xception_180_5",)),
    ),
    columns={"dev_loss": "validation loss"},
)  # fmt: skip

FIVE = {  # name: what changes against the base
    "resnet152_v2": {"net": "resnet152_v2", **TF},
    "xception": {"net": "xception", **TF},
    "inception_v3": {"net": "inception_v3", **TF},
    "densenet201": {"net": "densenet201", "keep_prob": 0.8, **TORCH, **RMSPROP},
    "vgg16": {"net": "vgg16", "epochs": 50, **CAFFE, **RMSPROP},
}
FIVE_SCORES = dict(zip(FIVE, (0.9738, 0.9818, 0.976, 0.9849, 0.9387), strict=True))
FIVE_TOGETHER = {150: 0.985267, 180: 0.989871, 200: 0.991712}

ENSEMBLE = Suite(
    "report D: cartoon faces, five backbones as one, at three sizes; scored there on the test split",
    "accuracy",
    FACES,
    0.2,
    _rows(
        *((f"{name}_{side}", f"{name}, {side} px", None, {**change, "image_size": side},
           FIVE_SCORES[name] if side == 150 else None)
          for side in FIVE_TOGETHER for name, change in FIVE.items()),
    ),
    (),
    tuple(
        Ensemble(f"all five at {side} px", tuple(f"{name}_{side}" for name in FIVE), published)
        for side, published in FIVE_TOGETHER.items()
    ),
)  # fmt: skip

IMAGENET10 = Suite(
    "report E: ten classes of ImageNet; its ResNet began pretrained; batches and rates it does not give, and how much "
    "augmentation, are ours",
    "top-1 %",
    Recipe(
        net="vgg16", image_size=224, init="he", bias_init="zeros", warmup_steps=50, batch_size=32, epochs=25, l2=0.0,
        learning_rate=1e-4, keep_prob=0.5, rotate=15, zoom=0.1, shear=5, stop_on="nothing",
    ),
    0.2,
    _rows(
        ("alexnet", "AlexNet, SGD with decay 0.0005", None,
         {"net": "alexnet", "image_size": 227, "batch_size": 128, "epochs": 90, "optimizer": "sgd",
          "learning_rate": 0.01, "l2": 0.0005}, 44.4,
         {"train_accuracy": 0.713, "train_loss": 0.886, "dev_accuracy": 0.684, "dev_loss": 98.5, "test_loss": 3.974,
          "test_accuracy": 0.444, "test_top2_accuracy": 0.604, "test_macro_f1": 0.457}),
        ("alexnet_adam", "Adam at 0.001", "alexnet", {"optimizer": "adam", "learning_rate": 1e-3, "l2": 0.0}),
        ("vgg", "VGG16", None, {}, 69.6,
         {"train_accuracy": 0.863, "train_loss": 0.536, "dev_accuracy": 0.678, "dev_loss": 0.97, "test_loss": 0.961,
          "test_accuracy": 0.696, "test_top2_accuracy": 0.852, "test_macro_f1": 0.7}),
        ("googlenet", "GoogLeNet with its auxiliary classifiers", None,
         {"net": "googlenet", "learning_rate": 1e-5, "batch_size": 16, "keep_prob": 0.6}, 36.0,
         {"train_loss": 2.59, "dev_accuracy": 0.38, "dev_loss": 1.627, "test_loss": 1.44, "test_accuracy": 0.36,
          "test_top2_accuracy": 0.6, "test_macro_f1": 0.287}),
        ("resnet", "ResNet50, pretrained", None,
         {"net": "resnet50", "weights": "imagenet", "head": "pooled", **CAFFE}, None,
         {"train_accuracy": 0.83, "train_loss": 0.534, "dev_accuracy": 0.69, "dev_loss": 0.917, "test_loss": 0.895,
          "test_macro_f1": 0.7}),
        ("resnext", "ResNeXt50 32x4d: its bottleneck", None, {"net": "resnext50_32x4d"}),
        ("mobilenet", "MobileNet", None, {"net": "mobilenet", "keep_prob": 0.8}, None,
         {"train_accuracy": 0.98, "train_loss": 0.115, "dev_accuracy": 0.755, "dev_loss": 0.894}),
        ("efficientnet", "EfficientNet-B0", None, {"net": "efficientnet_b0", "keep_prob": 0.8}, 71.2,
         {"train_accuracy": 0.78, "train_loss": 0.81, "dev_accuracy": 0.67, "dev_loss": 0.923, "test_loss": 0.936,
          "test_accuracy": 0.712, "test_top2_accuracy": 0.856, "test_macro_f1": 0.707}),
    ),
    (
        Claim("EfficientNet beats AlexNet and GoogLeNet", "score", "efficientnet", ">", ("alexnet", "googlenet")),
        Claim("VGG beats AlexNet", "score", "vgg", ">", ("alexnet",)),
        Claim("GoogLeNet is worst", "score", "googlenet", "<",
              ("alexnet", "vgg", "resnet", "mobilenet", "efficientnet")),
    ),
    columns={
        "train_accuracy": "train accuracy", "train_loss": "train loss", "dev_accuracy": "valid accuracy",
        "dev_loss": "valid loss", "dev_top2_accuracy": "valid top-2", "test_loss": "test loss",
        "test_accuracy": "top-1", "test_top2_accuracy": "top-2", "test_macro_f1": "macro F1",
    },
)  # fmt: skip

SUITES = {
    "assignment": ASSIGNMENT,
    "ladder": LADDER,
    "restaurant": RESTAURANT,
    "transfer": TRANSFER,
    "ensemble": ENSEMBLE,
    "imagenet10": IMAGENET10,
}


def recipe(suite, name):
    """Return the Recipe of an experiment: the suite's base, changed by each ancestor and by its own row."""
    row = suite.experiments[name]
    before = recipe(suite, row.parent) if row.parent else suite.base
    return dataclasses.replace(before, **row.change)


def names():
    """Return every recipe's name, those of experiments as <suite>/<experiment>."""
    return [*RECIPES, *(f"{name}/{row}" for name, suite in SUITES.items() for row in suite.experiments)]


def named(name):
    """Return the NamedRecipe called `name`, or refuse with the nearest match."""
    if name in RECIPES:
        return RECIPES[name]
    if name not in names():
        raise InputError(f"--recipe: {unknown_name(name, names())}")
    suite, row = name.split("/")
    suite = SUITES[suite]
    return NamedRecipe(recipe(suite, row), f"{suite.source}; {suite.experiments[row].said}", None)
