"""Recipes: every number of a training run as one frozen row, and the named rows."""

import dataclasses
import functools
import math
import operator
import re
from dataclasses import dataclass
from typing import NamedTuple

from graphcnn.common.errors import InputError, unknown_name

PRECISIONS = ("auto", "float32", "bfloat16")
INITS = ("xavier", "he", "dirac")
BIAS_INITS = ("xavier", "zeros")
NORM_PLACES = ("before", "after")
ACTIVATIONS = ("relu", "silu")
FLIPS = ("none", "random", "alternating")
HEADS = ("own", "pooled")
PREPROCESSING = {  # of published ImageNet weights: (mean, scale) of pixels of 0..255; caffe's channels are B, G, R
    "caffe": ((103.939, 116.779, 123.68), (1.0, 1.0, 1.0)),
    "tf": ((127.5, 127.5, 127.5), (127.5, 127.5, 127.5)),
    "torch": ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
    "lite": ((127.0, 127.0, 127.0), (128.0, 128.0, 128.0)),
}
ALIASES = {  # {name of a Recipe field in older versions: its name}; both are understood, one is documented
    "batch_norm_at": "batch_norm_position",
    "bias_rate": "bias_lr_multiplier",
    "early_share": "early_fraction",
    "finetune_rate": "finetune_learning_rate",
    "muon_rate": "muon_learning_rate",
    "views": "feature_views",
    "whitening": "whitening_patch_size",
}
AUGMENTATIONS = ("flip", "translate", "zoom", "rotate", "shear", "brightness", "blur")  # fields of a Recipe


def _field(default, help, *, choices=None, low=None, above=None, high=None, below=None, later=False):
    """Return a dataclass field with the help and what is allowed.

    choices: one of these. low, above, high, below: low <= v, above < v, v <= high, v < below.

    later: the first version's runs have not recorded it; what they did then is its default.
    """
    bounds = {"help": help, "choices": choices, "low": low, "above": above, "high": high, "below": below}
    return dataclasses.field(default=default, metadata=bounds | {"later": later})


_later = functools.partial(_field, later=True)


@dataclass(frozen=True)
class Recipe:
    """One training run's settings; the defaults are report A's final net with a warm-up. Each field is also a flag."""

    net: str = _field("vgg", "network, a name of graphcnn.nets.NETS")
    weights: str = _later(
        "none",
        "to begin with: none, imagenet (those published for the net), FILE.h5 (as Keras saves them), a run's name, or "
        "the prefix of a TF1 checkpoint",
    )
    name_map: str = _later(
        "", "of --weights=PREFIX: assignment (report A's names) or FILE.json, an object {its variable: the net's}"
    )
    head: str = _later(
        "own",
        "what stands on the net's last maps: its own layers, or pooled (their means, dropout, a dense layer)",
        choices=HEADS,
    )
    freeze: str = _later(
        "none",
        "what stays as it began, until finetune_epochs: none, backbone (all but a pooled head, which then trains on "
        "features computed once), or until:<scope> (that layer and all before it)",
    )
    feature_views: int = _later(
        1,
        "of each training image that a frozen backbone's features are computed of, epochs taking turns: the image as "
        "it is, then augmented ones",
        low=1,
    )
    image_size: int = _field(32, "side in pixels that the graph resizes images to", low=16, high=1024)
    normalisation: str = _field(
        "standardize",
        "in the graph: none (raw units), unit (0..1), standardize (mean 0, deviation 1 by channel, on training rows), "
        "or as ImageNet weights expect it: caffe, tf, torch, lite",
        choices=("none", "unit", "standardize", *PREPROCESSING),
    )
    whitening_patch_size: int = _later(
        0,
        "side of the patches whose whitening is the net's frozen first convolution, from training images; 0: none",
        low=0,
        high=8,
    )
    init: str = _later("xavier", "of convolutions: xavier, he, or dirac (they begin as the identity)", choices=INITS)
    bias_init: str = _later("xavier", "of biases", choices=BIAS_INITS)
    activation: str = _later("relu", "after each convolution and hidden dense layer", choices=ACTIVATIONS)
    batch_norm: bool = _later(False, "batch norm in each layer that has an activation, where the net's rows allow it")
    batch_norm_position: str = _later(
        "before",
        "where it stands: before a convolution's activation (no scale, its offset in the bias's place), or after "
        "each activation and before the pool (with scale, in dense layers too)",
        choices=NORM_PLACES,
    )
    flip: str = _later("none", "left-right while training: none, random, or alternating by epoch", choices=FLIPS)
    translate: int = _later(0, "pixels, at most, that training images are shifted by, mirrored at the edge", low=0)
    zoom: float = _later(0.0, "share, at most, that training images are enlarged or shrunk by", low=0, below=1)
    rotate: float = _later(0.0, "degrees, at most, that training images are turned by, either way", low=0, high=180)
    shear: float = _later(0.0, "degrees, at most, that training images are slanted by, either way", low=0, high=45)
    brightness: float = _later(0.0, "share, at most, of the light training images gain or lose", low=0, high=1)
    blur: float = _later(0.0, "pixels, at most, of the Gaussian's sigma that training images are blurred by", low=0)
    early_size: int = _later(0, "side in pixels of the images in the first steps; 0: as image_size", low=0)
    early_fraction: float = _later(0.0, "share of the steps that early_size lasts", low=0, high=1)
    optimizer: str = _field("adam", "update rule", choices=("adam", "sgd", "nesterov", "rmsprop", "muon"))
    learning_rate: float = _field(1e-3, "step size after the warm-up", above=0)
    bias_lr_multiplier: float = _later(1.0, "step size of biases and offsets, times learning_rate", above=0)
    momentum: float = _later(0.9, "of nesterov, and of muon's weights that are no filters", low=0, below=1)
    muon_learning_rate: float = _later(
        0.24, "step size of muon's filters, each filter bank having norm sqrt(K)", above=0
    )
    muon_momentum: float = _later(0.6, "of muon's filters", low=0, below=1)
    warmup_steps: int = _field(300, "steps over which the learning rate rises linearly from near 0", low=0)
    schedule: str = _later(
        "constant",
        "of the learning rate after the warm-up: constant, or linear to 0 at the last step",
        choices=("constant", "linear"),
    )
    lookahead: int = _later(0, "steps between pulls of the weights to their slow average; 0: none", low=0)
    label_smoothing: float = _later(0.0, "probability spread over all classes in the loss's target", low=0, below=1)
    batch_size: int = _field(128, "images per step", low=1)
    micro_batch: int = _later(
        0, "images at once, a step's gradients being summed over them, where memory is short; 0: the whole batch", low=0
    )
    epochs: int = _field(
        50, "passes over the training rows, at most; 0, with weights: none, they stay as they are", low=0
    )
    finetune_epochs: int = _later(0, "passes after these, in which nothing is frozen", low=0)
    finetune_learning_rate: float = _later(1e-4, "learning_rate in these", above=0)
    l2: float = _field(0.01, "weight of the sum of ||w||^2 / 2 over weights of rank > 1", low=0)
    keep_prob: float = _field(0.6, "probability of keeping a unit in dropout while training", above=0, high=1)
    drop_connect: float = _later(
        0.0,
        "share of images that efficientnet's last residual branch leaves out in training, earlier ones less",
        low=0,
        below=1,
    )
    stop_on: str = _field(
        "loss",
        "what early stopping watches: loss (the epoch's summed training loss), dev_macro_f1, or nothing",
        choices=("loss", "dev_macro_f1", "nothing"),
    )
    patience: int = _field(5, "epochs in a row that may be worse than the best before the run stops", low=0)
    precision: str = _field(
        "auto",
        "of convolutions and matmuls (auto: bfloat16 where the CPU is faster with it); weights, loss and softmax stay "
        "float32",
        choices=PRECISIONS,
    )
    seed: int = _field(51, "of weights, dropout, batch order and augmentation", low=0, high=2**31 - 1)

    def __post_init__(self):
        for field in dataclasses.fields(self):
            _check(field, getattr(self, field.name))
        smallest = Recipe.__dataclass_fields__["image_size"].metadata["low"]
        if self.early_size and not smallest <= self.early_size <= self.image_size:
            allowed = f"0, or from {smallest} to image_size ({self.image_size})"
            raise InputError(f"--early_size: found {self.early_size}, expected {allowed}")
        if self.micro_batch and self.batch_norm:
            raise InputError(
                f"--micro_batch={self.micro_batch}: batch norm needs the moments of the whole batch; lower "
                f"--batch_size (now {self.batch_size}) instead, or use --nobatch_norm"
            )
        if not re.fullmatch(r"none|backbone|until:\S+", self.freeze):
            raise InputError(f"--freeze: found {self.freeze!r}, expected none, backbone or until:<scope>")
        if self.freeze == "backbone" and self.head != "pooled":
            raise InputError("--freeze=backbone: the head that is trained must be pooled; add --head=pooled")
        if self.name_map and self.weights == "none":
            raise InputError("--name_map: is of a TF1 checkpoint; name its prefix with --weights")
        if self.epochs == 0 and (self.weights == "none" or self.finetune_epochs):
            raise InputError("--epochs=0: nothing is trained then, so it wants --weights, and no --finetune_epochs")
        if self.finetune_epochs and self.optimizer == "muon":
            raise InputError(
                f"--finetune_epochs={self.finetune_epochs}: muon brings each filter bank to a norm of its own, so that "
                "nothing of it is kept; use another --optimizer"
            )
        if self.feature_views > 1 and not (self.freeze == "backbone" and self.augmentation()):
            raise InputError(
                f"--feature_views={self.feature_views}: expected 1, or --freeze=backbone and some of "
                f"{', '.join(f'--{name}' for name in AUGMENTATIONS)}"
            )

    def augmentation(self):
        """Return {field: value} of what is done to training images."""
        return {name: getattr(self, name) for name in AUGMENTATIONS if getattr(self, name) not in ("none", 0)}

    def all_epochs(self):
        """Return how many passes there are at most, those of fine-tuning included."""
        return self.epochs + self.finetune_epochs

    def finetuning(self):
        """Return the Recipe of the passes in which nothing is frozen; without L2, which would pull all weights to 0."""
        return dataclasses.replace(
            self,
            freeze="none",
            l2=0.0,
            feature_views=1,
            learning_rate=self.finetune_learning_rate,
            epochs=self.finetune_epochs,
            finetune_epochs=0,
        )

    def planned(self):
        """Whether a step depends on how many there are to be, so that the run cannot be made longer."""
        courses = (self.schedule != "constant", self.lookahead, self.early_size and self.early_fraction)
        return bool(self.finetune_epochs or any(courses))


def _check(field, value):
    """Refuse a value of the wrong type or out of range with the flag's name, what was found and what is allowed."""
    kind, allowed = field.type, field.metadata
    wanted = {int: "a whole number", float: "a number", str: "a name", bool: "true or false"}[kind]
    whole_as_float = kind is float and isinstance(value, int)
    if isinstance(value, bool) != (kind is bool) or not (isinstance(value, kind) or whole_as_float):
        raise InputError(f"--{field.name}: found {value!r}, expected {wanted}")
    if allowed["choices"] and value not in allowed["choices"]:
        raise InputError(f"--{field.name}: {unknown_name(value, allowed['choices'])}")
    if kind in (str, bool):
        return
    words = {"low": "at least", "above": "above", "high": "at most", "below": "below"}
    holds = {"low": operator.ge, "above": operator.gt, "high": operator.le, "below": operator.lt}
    limits = {name: allowed[name] for name in words if allowed[name] is not None}
    if not (all(holds[name](value, limit) for name, limit in limits.items()) and math.isfinite(value)):
        said = " and ".join(f"{words[name]} {limit}" for name, limit in limits.items())
        raise InputError(f"--{field.name}: found {value}, expected {wanted} {said}")


def check_one_name(names, source, prefix="", aliases=ALIASES):
    """Refuse names that hold both the old and the present name of a Recipe field, or of what `aliases` has.

    Args:
        names: of settings. source: the file or flag for the error line. prefix: "--" for names of flags.
    """
    for old, name in aliases.items():
        if old in names and name in names:
            both = f"{prefix}{old} and {prefix}{name} are names of the same setting"
            raise InputError(f"{source}{both}; use only {prefix}{name}")


def parse_setting(name, text, flag):
    """Return the value of the Recipe field that `text` means; `flag` is named where it means none."""
    name = ALIASES.get(name, name)
    fields = {field.name: field.type for field in dataclasses.fields(Recipe)}
    if name not in fields:
        raise InputError(f"{flag}: {unknown_name(name, list(fields))}")
    kind = fields[name]
    try:
        return {"true": True, "false": False}[text.lower()] if kind is bool else kind(text)
    except (KeyError, ValueError):
        wanted = {int: "a whole number", float: "a number", bool: "true or false"}[kind]
        raise InputError(f"{flag}: found {name}={text}, expected {wanted}") from None


class NamedRecipe(NamedTuple):
    """A row of RECIPES: the settings, where they come from, and the dev macro F1 published there (None: none)."""

    recipe: Recipe
    source: str
    published: float | None


RECIPES = {
    "assignment": NamedRecipe(
        Recipe(),
        "report A, final net; the warm-up is ours: without it the net dies within twenty steps",
        0.760370,
    ),
    "digits": NamedRecipe(
        Recipe(epochs=16, warmup_steps=50, batch_size=32, learning_rate=3e-4),
        "ours: the assignment's net on scikit-learn's digits, whose 1,078 training rows want small batches, "
        "a lower rate and fewer epochs and warm-up steps",
        None,
    ),
    "zoo": NamedRecipe(
        Recipe(
            net="resnet50_v2",
            image_size=160,
            init="he",
            bias_init="zeros",
            normalisation="torch",
            batch_size=32,
            epochs=30,
            l2=0.0,
            keep_prob=1.0,
            stop_on="nothing",
        ),
        "ours: for the ImageNet nets, at a size that two cores can afford",
        None,
    ),
    "transfer": NamedRecipe(
        Recipe(
            net="efficientnet_lite0",
            weights="imagenet",
            head="pooled",
            freeze="backbone",
            image_size=224,
            init="he",
            bias_init="zeros",
            normalisation="lite",
            optimizer="adam",
            learning_rate=3e-3,
            finetune_learning_rate=5e-4,
            warmup_steps=20,
            schedule="linear",
            label_smoothing=0.1,
            batch_size=32,
            epochs=100,
            l2=0.01,
            keep_prob=0.5,
            stop_on="nothing",
        ),
        "ours: a new head on published ImageNet weights, and with --finetune_epochs the whole net after it",
        None,
    ),
    # On the JPEG copy of CIFAR-10, two cores of an AMD EPYC with AVX512-BF16 (no AMX), TensorFlow 2.21.0, Python 3.11:
    #   --epochs=1                     seeds 51, 1, 2: 24 to 27 s, dev macro F1 0.782, 0.786, 0.777
    #   --epochs=2                     seeds 51, 1, 2: 49 to 51 s, 0.828, 0.825, 0.833
    #   --dev_fraction=0.1 --epochs=6  seeds 51, 1, 2: 181 to 190 s, 0.880, 0.875, 0.875, with --tta 0.890, 0.885, 0.885
    #   --dev_fraction=0.1             seed 51: 292 s, 0.884, with --tta 0.902
    #   --dev_fraction=0               seed 51: 304 s, no dev split
    # Seconds from the first batch to the last update, whitening included, dev passes and saves not. Command:
    # ./run.sh train --recipe=fast --data=DIR, then ./run.sh eval --tta
    "fast": NamedRecipe(
        Recipe(
            net="vgg6",
            whitening_patch_size=2,
            init="dirac",
            activation="silu",
            batch_norm=True,
            flip="alternating",
            translate=2,
            early_size=20,
            early_fraction=0.5,
            optimizer="muon",
            learning_rate=1.7,
            bias_lr_multiplier=30.0,
            momentum=0.85,
            muon_learning_rate=0.12,
            muon_momentum=0.6,
            warmup_steps=0,
            schedule="linear",
            label_smoothing=0.2,
            batch_size=250,
            epochs=9,
            l2=0.0,
            keep_prob=1.0,
            stop_on="nothing",
        ),
        "ours, of what airbench94 and its Muon variant (arXiv 2404.00498) taught, for a CPU",
        None,
    ),
}


def recipe_from_dict(values, source):
    """Return the Recipe of a config.json's `recipe` object; `source` is the file's name for the error line."""
    fields = dataclasses.fields(Recipe)
    names = [field.name for field in fields]
    if not isinstance(values, dict):
        raise InputError(f"{source}: 'recipe' is not an object of settings; the file was edited or is damaged")
    check_one_name(values, f"{source}: ")
    values = {ALIASES.get(name, name): value for name, value in values.items()}
    for name in values:
        if name not in names:
            raise InputError(f"{source}: {unknown_name(name, names)}")
    missing = [field.name for field in fields if field.name not in values and not field.metadata["later"]]
    if missing:
        raise InputError(f"{source}: the recipe lacks {', '.join(missing)}")
    try:
        return Recipe(**values)
    except InputError as error:
        raise InputError(f"{source}: {error}") from None
