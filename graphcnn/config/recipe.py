"""The schema of a recipe: every setting of a training run, with its help, its default and its limits."""
# No `from __future__ import annotations`: the types of the fields are read at run time.

import dataclasses
import functools
import math
import operator
import re
from dataclasses import dataclass
from typing import Any, TypeVar

from graphcnn.common.errors import SettingError, literal, unknown_name

T = TypeVar("T")
Setting = int | float | str | bool  # a value of a Recipe field

PRECISIONS = ("auto", "float32", "bfloat16")
INITS = ("xavier", "he", "dirac")
BIAS_INITS = ("xavier", "zeros")
NORM_POSITIONS = ("before", "after")
ACTIVATIONS = ("relu", "silu")
FLIPS = ("none", "random", "alternating")
HEADS = ("own", "pooled")
SAMPLINGS = ("shuffle", "balanced")
PREPROCESSING = {  # {normalisation of published weights: (mean, scale)}, pixels 0..255; caffe: channels B, G, R
    "caffe": ((103.939, 116.779, 123.68), (1.0, 1.0, 1.0)),
    "tf": ((127.5, 127.5, 127.5), (127.5, 127.5, 127.5)),
    "torch": ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
    "lite": ((127.0, 127.0, 127.0), (128.0, 128.0, 128.0)),
}
AUGMENTATIONS = ("flip", "translate", "zoom", "rotate", "shear", "brightness", "blur")  # fields of a Recipe
LARGEST_INTEGER = 2**31 - 1  # maximum of TensorFlow's int32
TYPE_NAMES = {int: "a whole number", float: "a number", str: "a name", bool: "true or false"}
LIMITS = {  # {limit in a field's metadata: (its words in a message, its comparison)}
    "low": ("at least", operator.ge),
    "above": ("above", operator.gt),
    "high": ("at most", operator.le),
    "below": ("below", operator.lt),
}

NET, TRANSFER = "Network", "Transfer learning"  # groups of settings in --help
OPTIMISATION, REGULARISATION, AUGMENTATION = "Optimisation", "Regularisation", "Augmentation"
STOPPING, RUN = "Stopping", "Run"


def _field(
    default: T,
    group: str,
    help: str,
    *,
    choices: tuple[str, ...] | None = None,
    low: float | None = None,
    above: float | None = None,
    high: float | None = None,
    below: float | None = None,
    later: bool = False,
) -> T:
    """Return a dataclass field with its group, its help and its allowed values.

    Args:
        default: value in the recipe `assignment`.
        group: the heading under which --help shows the setting.
        help: a full phrase.
        choices: the allowed values.
        low, above, high, below: limits, as in low <= value, above < value, value <= high, value < below.
        later: whether config.json of a run of version 1 may lack the setting. Its default describes such runs.
    """
    bounds = {"low": low, "above": above, "high": high, "below": below}
    metadata = {"group": group, "help": help, "choices": choices, "later": later, **bounds}
    return dataclasses.field(default=default, metadata=metadata)


_later = functools.partial(_field, later=True)


@dataclass(frozen=True)
class Recipe:
    """The settings of one training run; each field is also a flag.

    The defaults are those of the assignment's final network.
    """

    net: str = _field("vgg", NET, "name of the network; docs/reference/nets.md lists all names")
    weights: str = _later(
        "none",
        TRANSFER,
        "initial weights: none (random), imagenet (the published ImageNet weights of the network), FILE.h5 (a Keras "
        "file), the name of a run, or the prefix of a TensorFlow 1 checkpoint",
    )
    name_map: str = _later(
        "",
        TRANSFER,
        "map from the variable names of the TensorFlow 1 checkpoint in --weights to those of the network: assignment "
        "(for the assignment's scripts), or FILE.json with an object {name in the checkpoint: name in the network}",
    )
    head: str = _later(
        "own",
        TRANSFER,
        "layers after the last feature maps: own (those of the network), or pooled (global average pooling, dropout, "
        "one dense layer)",
        choices=HEADS,
    )
    freeze: str = _later(
        "none",
        TRANSFER,
        "weights that are not trained before fine-tuning: none, backbone (all weights except those of the pooled head, "
        "which is trained on cached features), or until:SCOPE (this layer and all layers before it)",
    )
    freeze_batch_norm: bool = _later(
        False,
        TRANSFER,
        "keep the moving mean and variance of each batch norm unchanged in all epochs, and normalise by them, as in "
        "inference; offsets and scales are trained; needs initial weights",
    )
    feature_views: int = _later(
        1,
        TRANSFER,
        "number of versions of each training image for which a frozen backbone computes features; the first version is "
        "the unchanged image, the others are augmented; the epochs use the versions in turn",
        low=1,
    )
    image_size: int = _field(
        32, NET, "height and width in pixels to which the graph resizes each image", low=16, high=1024
    )
    normalisation: str = _field(
        "bytes",
        NET,
        "normalisation of the pixels inside the graph: none, bytes (to 0..255), unit (to 0..1), standardize (each "
        "channel has mean 0 and standard deviation 1 over the training images), or the one that published ImageNet "
        "weights expect: caffe, tf, torch or lite",
        choices=("none", "bytes", "unit", "standardize", *PREPROCESSING),
    )
    whitening_patch_size: int = _later(
        0,
        NET,
        "height and width in pixels of the patches that a frozen first convolution whitens; 0 for no whitening",
        low=0,
        high=8,
    )
    init: str = _later(
        "xavier",
        NET,
        "initialisation of the convolutions: xavier, he, or dirac (each convolution starts as the identity; its kernel "
        "needs an odd size)",
        choices=INITS,
    )
    bias_init: str = _later("xavier", NET, "initialisation of the biases", choices=BIAS_INITS)
    activation: str = _later(
        "relu",
        NET,
        "activation function after each convolution, and after those dense layers that docs/reference/nets.md marks "
        "(vgg, the default network, has no activation after its dense layers)",
        choices=ACTIVATIONS,
    )
    batch_norm: bool = _later(False, NET, "use batch norm, if the network allows it; see --batch_norm_position")
    batch_norm_position: str = _later(
        "before",
        NET,
        "position of batch norm: before (before the activation of each convolution, without scale, in place of the "
        "bias) or after (after each activation, before the pool, with scale)",
        choices=NORM_POSITIONS,
    )
    flip: str = _later(
        "none",
        AUGMENTATION,
        "mirror training images left to right: none, random (half of the images in each epoch), or alternating (each "
        "image in every other epoch)",
        choices=FLIPS,
    )
    translate: int = _later(
        0, AUGMENTATION, "largest shift of a training image along each axis, in pixels; edges are mirrored", low=0
    )
    zoom: float = _later(
        0.0, AUGMENTATION, "largest fraction by which a training image is enlarged or shrunk", low=0, below=1
    )
    rotate: float = _later(
        0.0, AUGMENTATION, "largest rotation of a training image in degrees, in both directions", low=0, high=180
    )
    shear: float = _later(
        0.0, AUGMENTATION, "largest shear of a training image in degrees, in both directions", low=0, high=45
    )
    brightness: float = _later(
        0.0, AUGMENTATION, "largest fraction by which a training image becomes lighter or darker", low=0, high=1
    )
    blur: float = _later(
        0.0, AUGMENTATION, "largest standard deviation, in pixels, of the Gaussian blur of a training image", low=0
    )
    early_size: int = _later(
        0, OPTIMISATION, "height and width in pixels of the images in the first steps; 0 for --image_size", low=0
    )
    early_fraction: float = _later(
        0.0, OPTIMISATION, "fraction of all training steps in which images have --early_size", low=0, high=1
    )
    optimizer: str = _field(
        "adam",
        OPTIMISATION,
        "optimizer: adam, sgd, nesterov (SGD with Nesterov momentum), rmsprop, or muon (Muon for convolution kernels, "
        "nesterov for all other weights)",
        choices=("adam", "sgd", "nesterov", "rmsprop", "muon"),
    )
    learning_rate: float = _field(1e-3, OPTIMISATION, "learning rate after the warm-up", above=0)
    bias_lr_multiplier: float = _later(
        1.0, OPTIMISATION, "learning-rate multiplier for biases and for the offsets and scales of batch norm", above=0
    )
    momentum: float = _later(0.9, OPTIMISATION, "momentum coefficient of the Nesterov optimizer", low=0, below=1)
    muon_learning_rate: float = _later(
        0.24, OPTIMISATION, "learning rate of Muon; each kernel is scaled to the norm sqrt(number of filters)", above=0
    )
    muon_momentum: float = _later(0.6, OPTIMISATION, "momentum coefficient of Muon", low=0, below=1)
    warmup_steps: int = _field(
        0, OPTIMISATION, "number of warm-up steps, in which the learning rate rises linearly from near 0", low=0
    )
    schedule: str = _later(
        "constant",
        OPTIMISATION,
        "learning-rate schedule after the warm-up: constant, or linear (falls to 0 at the last step)",
        choices=("constant", "linear"),
    )
    lookahead: int = _later(
        0, OPTIMISATION, "number of steps between updates of Lookahead's slow weights; 0 for no Lookahead", low=0
    )
    label_smoothing: float = _later(
        0.0, REGULARISATION, "probability that label smoothing distributes evenly over all classes", low=0, below=1
    )
    class_weights: str = _later(
        "none",
        OPTIMISATION,
        "weight of each image's cross-entropy: none (1), balanced (inversely proportional to the number of training "
        "images of its class), sqrt (the square root of that), or FILE.json with an object {class name: weight}; the "
        "weights are scaled to a mean of 1 over the training images",
    )
    sampling: str = _later(
        "shuffle",
        OPTIMISATION,
        "images of an epoch: shuffle (each training image once) or balanced (as many images, the same number of each "
        "class; images of small classes occur several times)",
        choices=SAMPLINGS,
    )
    batch_size: int = _field(128, OPTIMISATION, "number of images in a training step", low=1)
    micro_batch: int = _later(
        0,
        OPTIMISATION,
        "number of images whose gradients are computed at a time, to save memory; an update uses the summed gradients "
        "of the whole batch; 0 computes the whole batch at once",
        low=0,
    )
    epochs: int = _field(
        50,
        OPTIMISATION,
        "largest number of epochs; 0 trains nothing and saves the initial weights of --weights as a run",
        low=0,
    )
    finetune_epochs: int = _later(
        0, TRANSFER, "number of fine-tuning epochs, which follow the other epochs and train all weights", low=0
    )
    finetune_learning_rate: float = _later(1e-4, TRANSFER, "learning rate of fine-tuning", above=0)
    l2: float = _field(
        0.01,
        REGULARISATION,
        "factor of the L2 penalty: the sum of ||w||^2 / 2 over the weights of convolutions and dense layers",
        low=0,
    )
    keep_prob: float = _field(
        0.6, REGULARISATION, "probability that dropout keeps a unit during training; 1 for no dropout", above=0, high=1
    )
    drop_connect: float = _later(
        0.0,
        REGULARISATION,
        "probability that training skips a residual branch of an EfficientNet for an image; it rises linearly from 0 "
        "in the first block to nearly this value in the last block",
        low=0,
        below=1,
    )
    stop_on: str = _field(
        "loss",
        STOPPING,
        "value that early stopping watches: loss (training loss, summed over the epoch), dev_macro_f1, or nothing (no "
        "early stopping)",
        choices=("loss", "dev_macro_f1", "nothing"),
    )
    patience: int = _field(
        5, STOPPING, "number of epochs in a row that may be worse than the best epoch before training stops", low=0
    )
    precision: str = _field(
        "auto",
        RUN,
        "precision of convolutions and matrix products: float32, bfloat16, or auto (bfloat16 if the CPU has fast "
        "instructions for it); weights, loss and softmax are always float32",
        choices=PRECISIONS,
    )
    seed: int = _field(
        51, RUN, "seed of initial weights, dropout, batch order and augmentation", low=0, high=LARGEST_INTEGER
    )

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            _check(field, getattr(self, field.name))
        _check_sizes(self)
        _check_transfer(self)

    def augmentation(self) -> dict[str, Any]:
        """Return {setting: value} of the augmentations that are on."""
        return {name: getattr(self, name) for name in AUGMENTATIONS if getattr(self, name) not in ("none", 0)}

    def head_sees_augmentation(self) -> bool:
        """Return whether the epochs before fine-tuning train on augmented images, given that augmentations are on.

        A frozen backbone computes its features before training. Its first version of each image is the unchanged one.
        """
        return self.freeze != "backbone" or self.feature_views > 1

    def trains_backbone(self) -> bool:
        """Return whether some epochs train layers before the head."""
        return self.freeze != "backbone" or self.finetune_epochs > 0

    def all_epochs(self) -> int:
        """Return the largest number of epochs, including fine-tuning."""
        return self.epochs + self.finetune_epochs

    def early_steps(self, total_steps: int) -> int:
        """Return the number of steps in which the training images have the early size.

        Args:
            total_steps: number of steps before fine-tuning, or in fine-tuning.
        """
        return round(self.early_fraction * total_steps) if self.early_size else 0

    def finetuning(self) -> "Recipe":
        """Return the Recipe of the fine-tuning epochs. It has no L2 penalty, which would pull trained weights to 0."""
        return dataclasses.replace(
            self,
            freeze="none",
            l2=0.0,
            feature_views=1,
            learning_rate=self.finetune_learning_rate,
            epochs=self.finetune_epochs,
            finetune_epochs=0,
        )

    def planned(self) -> bool:
        """Return whether training depends on the total number of steps. Such a run cannot be continued with more."""
        small_images = self.early_size and self.early_fraction
        return bool(self.finetune_epochs or self.schedule != "constant" or self.lookahead or small_images)


def _check(field: dataclasses.Field, value: object) -> None:
    """Raise SettingError for a value of the wrong type or outside the field's limits."""
    expected, metadata = field.type, field.metadata
    assert isinstance(expected, type)
    whole_as_float = expected is float and isinstance(value, int)
    if isinstance(value, bool) != (expected is bool) or not (isinstance(value, expected) or whole_as_float):
        raise SettingError(field.name, f"expected {TYPE_NAMES[expected]}", repr(value))
    if metadata["choices"] and value not in metadata["choices"]:
        raise SettingError(field.name, literal(unknown_name(value, metadata["choices"])))
    if isinstance(value, (str, bool)):
        return
    assert isinstance(value, (int, float))
    if isinstance(value, int) and abs(value) > LARGEST_INTEGER:
        raise SettingError(
            field.name, f"expected {TYPE_NAMES[expected]} between -{LARGEST_INTEGER} and {LARGEST_INTEGER}", value
        )
    limits = {name: metadata[name] for name in LIMITS if metadata[name] is not None}
    if not (all(LIMITS[name][1](value, limit) for name, limit in limits.items()) and math.isfinite(value)):
        words = " and ".join(f"{LIMITS[name][0]} {limit}" for name, limit in limits.items())
        raise SettingError(field.name, f"expected {TYPE_NAMES[expected]} {words}", value)


def _check_sizes(recipe: Recipe) -> None:
    """Raise SettingError for sizes of images and batches that do not fit other settings."""
    smallest = Recipe.__dataclass_fields__["image_size"].metadata["low"]
    if recipe.early_size and not smallest <= recipe.early_size <= recipe.image_size:
        expected = f"expected 0, or from {smallest} to {{image_size}} ({recipe.image_size})"
        raise SettingError("early_size", expected, recipe.early_size)
    if recipe.micro_batch and recipe.batch_norm:
        problem = (
            f"batch norm needs the mean and variance of the whole batch; lower {{batch_size}} ({recipe.batch_size}) "
            "instead, or switch off {batch_norm}"
        )
        raise SettingError("micro_batch", problem, recipe.micro_batch)


def _check_transfer(recipe: Recipe) -> None:
    """Raise SettingError for settings of transfer learning that exclude each other."""
    if not re.fullmatch(r"none|backbone|until:\S+", recipe.freeze):
        raise SettingError("freeze", "expected none, backbone or until:SCOPE", repr(recipe.freeze))
    if recipe.freeze == "backbone" and recipe.head != "pooled":
        raise SettingError("freeze", "a frozen backbone needs a pooled head; add {head}=pooled", "backbone")
    if recipe.name_map and recipe.weights == "none":
        raise SettingError("name_map", "needs a TF1 checkpoint; give its prefix as {weights}")
    if recipe.epochs == 0 and (recipe.weights == "none" or recipe.finetune_epochs):
        raise SettingError("epochs", "without training, {weights} is needed and {finetune_epochs} must be 0", 0)
    if recipe.finetune_epochs and recipe.optimizer == "muon":
        problem = (
            "Muon scales all filters to a fixed norm, so it would destroy trained filters; choose another {optimizer}"
        )
        raise SettingError("finetune_epochs", problem, recipe.finetune_epochs)
    if recipe.feature_views > 1 and not (recipe.freeze == "backbone" and recipe.augmentation()):
        some = ", ".join(f"{{{name}}}" for name in AUGMENTATIONS)
        problem = f"several views need a frozen backbone ({{freeze}}) and an augmentation ({some}); else expected 1"
        raise SettingError("feature_views", problem, recipe.feature_views)
