"""The layers of ops/layers.py with the settings of a NetContext, from which the nets are built.

Letters in shapes: N batch, H W height and width, C channels in, K channels or units out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from graphcnn.ops import layers
from graphcnn.ops.batch_slice import WHOLE_BATCH, BatchSlice
from graphcnn.ops.layers import BatchNorm, Initialization, MomentUpdate, Padding, Window
from graphcnn.ops.recording import recorded
from graphcnn.ops.tf1 import tf, tf1


@dataclass(frozen=True)
class NetContext:
    """The settings of all layers in one pass through a net.

    Args:
        seed: seed of initial weights and masks.
        step: number of updates so far, an integer [].
        keep_prob: probability that dropout keeps a unit, float32 []; None for a net without dropout.
        drop_connect: see Recipe.
        whitening_patch_size, init, bias_init, activation: see Recipe.
        batch_norm_position: see Recipe; none for a net without batch norm.
        training: whether this is a training pass: dropout is active, and batch norm uses the moments of the batch.
        batch_slice: which rows of the global batch the input holds.
        frozen: names of the variables that training leaves unchanged. A batch norm with frozen moments works as in
            inference.
        portable: whether to use only TensorFlow's own convolutions, for a graph that other programs use.
        moment_updates: updates of the moving moments, from the batch norms that were built so far.
    """

    seed: int
    step: tf.Tensor
    keep_prob: tf.Tensor | None
    drop_connect: float
    whitening_patch_size: int
    init: str
    bias_init: str
    activation: str
    batch_norm_position: str
    training: bool = False
    batch_slice: BatchSlice = WHOLE_BATCH
    frozen: frozenset[str] = frozenset()
    portable: bool = False
    moment_updates: list[MomentUpdate] = field(default_factory=list, init=False)


class Auxiliary(NamedTuple):
    """An auxiliary classifier: its weight in the loss, and its logits, float32 [N, K]."""

    weight: float
    logits: tf.Tensor


class WithAuxiliary(NamedTuple):
    """The outputs of a training pass of a net with auxiliary classifiers: its logits [N, K], and the classifiers."""

    logits: tf.Tensor
    auxiliary: tuple[Auxiliary, ...]


# build(x [N, H, W, 3], classes, context) -> logits [N, classes]; with classes None the last maps [N, H', W', C]
Build = Callable[[tf.Tensor, int | None, NetContext], tf.Tensor | WithAuxiliary]


def conv(
    x: tf.Tensor,
    scope: str,
    filters: int,
    kernel: int | tuple[int, int],
    context: NetContext,
    *,
    stride: int = 1,
    padding: Padding = "SAME",
    pool: Window | None = None,
    bias: bool = True,
) -> tf.Tensor:
    """Convolve: [N, H, W, C] -> [N, H', W', K]; options and variables of layers.conv2d."""
    window = Window(kernel, stride, padding)
    init = Initialization(context.seed, context.init, context.bias_init)
    return layers.conv2d(x, scope, filters, window, init, pool=pool, bias=bias, portable=context.portable)


def depthwise(
    x: tf.Tensor, scope: str, kernel: int, context: NetContext, *, stride: int = 1, padding: Padding = "SAME"
) -> tf.Tensor:
    """Convolve each channel separately: [N, H, W, C] -> [N, H', W', C]; options of layers.depthwise_conv2d."""
    init = Initialization(context.seed, _variance_init(context))
    return layers.depthwise_conv2d(x, scope, Window(kernel, stride, padding), init, portable=context.portable)


def grouped(
    x: tf.Tensor,
    scope: str,
    filters: int,
    groups: int,
    context: NetContext,
    *,
    stride: int = 1,
    padding: Padding = "SAME",
) -> tf.Tensor:
    """Convolve groups of channels: [N, H, W, C] -> [N, H', W', K]; options of layers.grouped_conv2d."""
    window = Window(stride=stride, padding=padding)
    init = Initialization(context.seed, _variance_init(context))
    return layers.grouped_conv2d(x, scope, filters, groups, window, init, portable=context.portable)


def _variance_init(context: NetContext) -> str:
    """Return "he" or "xavier". dirac is not possible here: a filter does not see all input channels."""
    return "he" if context.init == "he" else "xavier"


def batch_norm(x: tf.Tensor, scope: str, norm: BatchNorm, context: NetContext) -> tf.Tensor:
    """Normalise each channel of x [N, H, W, C] or [N, C]; variables of layers.batch_norm."""
    training = context.training and f"{scope}/mean" not in context.frozen
    fold = not (context.training or context.portable)
    y, updates = layers.batch_norm(x, scope, norm, training=training, batch_slice=context.batch_slice, fold=fold)
    context.moment_updates.extend(updates)
    return y


def dense(x: tf.Tensor, scope: str, units: int, context: NetContext, *, bias: bool = True) -> tf.Tensor:
    """Multiply by a matrix: [N, C] -> [N, K]; variables of layers.dense."""
    return layers.dense(x, scope, units, Initialization(context.seed, biases=context.bias_init), bias=bias)


def activation(x: tf.Tensor, scope: str, context: NetContext, kind: str | None = None) -> tf.Tensor:
    """Apply an activation, by default that of the recipe, to each value."""
    kind = kind or context.activation
    return layers.activation(x, f"{scope}/{kind}", kind, portable=context.portable)


def batch_norm_activation(
    x: tf.Tensor, scope: str, norm: BatchNorm, context: NetContext, *, kind: str = "relu", name: str | None = None
) -> tf.Tensor:
    """Normalise x [N, H, W, C] and apply an activation.

    Args:
        scope: of the batch norm's variables.
        kind: relu, relu6 or silu.
        name: scope of the activation; None for `scope`.
    """
    return activation(batch_norm(x, scope, norm, context), name or scope, context, kind)


@recorded
def dropout(x: tf.Tensor, scope: str, context: NetContext) -> tf.Tensor:
    """Apply dropout to x [N, H, W, C] or [N, C]. In inference, it has an effect only if keep_prob is fed below 1."""
    if context.keep_prob is None:
        return x

    def dropped() -> tf.Tensor:
        return layers.dropout(
            x, scope, context.keep_prob, seed=context.seed, step=context.step, batch_slice=context.batch_slice
        )

    if context.training:
        return dropped()
    y = tf.cond(context.keep_prob < 1, dropped, lambda: tf.identity(x))  # drawing a mask takes time
    y.set_shape(x.shape)
    return y


@recorded
def drop_connect(x: tf.Tensor, scope: str, fraction: float, context: NetContext) -> tf.Tensor:
    """In training, set a residual branch x [N, H, W, C] to zero for some images, each with probability `fraction`.

    The branch of the other images is divided by 1 - fraction. Source: arXiv 1603.09382.
    """
    if not (context.training and fraction):
        return x
    with tf1.variable_scope(scope):
        shape = [tf.shape(x)[0], 1, 1, 1]
        uniform = context.batch_slice.uniform(shape, layers.stateless_seed(context.seed, context.step))  # [N, 1, 1, 1]
        mask = tf.cast(uniform >= fraction, tf.float32) / (1 - fraction)
        return x * tf.cast(mask, x.dtype)


def pooled_classifier(
    x: tf.Tensor,
    classes: int | None,
    context: NetContext,
    *,
    pool: str = "avg_pool",
    dropout_scope: str | None = None,
    dense_scope: str = "predictions",
) -> tf.Tensor:
    """Return the logits [N, classes] of the last maps x [N, H, W, C]; with classes None the maps.

    Args:
        pool: name of the global average pool's operation.
        dropout_scope: scope of the dropout between pool and dense layer; None for no dropout.
        dense_scope: scope of the dense layer's variables.
    """
    if classes is None:
        return x
    x = layers.global_average_pool(x, pool)  # [N, C]
    if dropout_scope is not None:
        x = dropout(x, dropout_scope, context)
    return dense(x, dense_scope, classes, context)
