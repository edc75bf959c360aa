"""Layers: plain functions over tf.nn that take a tensor, a variable scope and a width, and return a tensor.

Weights are float32. A layer computes in the dtype of its input: bfloat16 input means bfloat16 multiplications. Letters
in shapes: N batch, H W height and width, C channels in, K channels or units out, h w height and width of a kernel.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from graphcnn.ops import kernels
from graphcnn.ops.batch_slice import WHOLE_BATCH, BatchSlice, fused_batch_norm
from graphcnn.ops.recording import recorded
from graphcnn.ops.tf1 import tf, tf1

Padding = str | tuple[int, int]  # SAME, VALID, or the zeros (before, after) each axis


@dataclass(frozen=True)
class BatchNorm:
    """Settings of a net's batch norm.

    Args:
        epsilon: added to the variance.
        momentum: weight of the current batch in the moving mean and variance.
        scale: whether the normalised values are multiplied by a trained gamma.
    """

    epsilon: float
    momentum: float
    scale: bool = True


@dataclass(frozen=True)
class Window:
    """The windows of a convolution or of a max pool.

    Args:
        size: height and width, or (height, width), in pixels.
        stride: distance between two windows, in pixels.
        padding: SAME, VALID, or for a convolution the number of zeros (before, after) each axis.
    """

    size: int | tuple[int, int] = 3
    stride: int = 1
    padding: Padding = "SAME"

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width)."""
        return self.size if isinstance(self.size, tuple) else (self.size, self.size)


@dataclass(frozen=True)
class Initialization:
    """How the initial values of a layer's variables are computed; see `_variable` for the names.

    Args:
        seed: of the random values.
        weights: of a convolution's weights.
        biases: of the biases.
    """

    seed: int
    weights: str = "xavier"
    biases: str = "xavier"


class MomentUpdate(NamedTuple):
    """An update of a moving moment: variable += momentum * (value - variable).

    Attributes:
        variable: the moving mean or variance, float32 [C].
        value: mean or variance of the current batch, float32 [C].
        momentum: weight of the current batch.
    """

    variable: tf.Variable
    value: tf.Tensor
    momentum: float


@recorded
def conv2d(
    x: tf.Tensor,
    scope: str,
    filters: int,
    window: Window,
    init: Initialization,
    *,
    pool: Window | None = None,
    bias: bool = True,
    portable: bool = False,
) -> tf.Tensor:
    """Convolve and add a bias: [N, H, W, C] -> [N, H', W', K].

    The max pool, if any, comes before the bias. The bias and a ReLU after it are monotone, so the result is the same as
    with the max pool last, and they are computed on fewer values.

    Args:
        x: [N, H, W, C].
        scope: variable scope.
        filters: K.
        window: size, stride and padding of the kernel.
        init: initial values of the variables.
        pool: the max pool; None for no pool.
        bias: whether to add a bias.
        portable: whether to use tf.nn.conv2d instead of the faster algorithms of kernels.py.

    Variables: <scope>/w [h, w, C, K], <scope>/b [K].
    """
    _expect_rank(x, scope, 4)
    with tf1.variable_scope(scope):
        w = _variable("w", [*window.shape, int(x.shape[3]), filters], init.seed, init.weights)  # [h, w, C, K]
        convolve = tf.nn.conv2d if portable else kernels.conv2d
        x, padding = _padded(x, window)
        x = convolve(x, tf.cast(w, x.dtype), strides=window.stride, padding=padding)  # [N, H', W', K]
        if pool is not None:
            x = max_pool(x, "pool", pool.size, stride=pool.stride, padding=pool.padding)  # [N, H'', W'', K]
        if not bias:
            return x
        b = _variable("b", [filters], init.seed, init.biases)  # [K]
        return tf.nn.bias_add(x, tf.cast(b, x.dtype))


@recorded
def depthwise_conv2d(
    x: tf.Tensor, scope: str, window: Window, init: Initialization, *, portable: bool = False
) -> tf.Tensor:
    """Convolve each channel with a kernel of its own, without a bias: [N, H, W, C] -> [N, H', W', C].

    Args: see conv2d.

    Variables: <scope>/w [h, w, C, 1]. Its initial values are those of a convolution with one input channel.
    """
    _expect_rank(x, scope, 4)
    with tf1.variable_scope(scope):
        shape = [*window.shape, int(x.shape[3]), 1]
        w = _variable("w", shape, init.seed, init.weights, channels=1)  # [h, w, C, 1]
        convolve = tf.nn.depthwise_conv2d if portable else kernels.depthwise_conv2d
        x, padding = _padded(x, window)
        strides = [1, window.stride, window.stride, 1]
        return convolve(x, tf.cast(w, x.dtype), strides=strides, padding=padding)  # [N, H', W', C]


@recorded
def grouped_conv2d(
    x: tf.Tensor,
    scope: str,
    filters: int,
    groups: int,
    window: Window,
    init: Initialization,
    *,
    portable: bool = False,
) -> tf.Tensor:
    """Convolve equal groups of channels separately, without a bias: [N, H, W, C] -> [N, H', W', K].

    Group g of the output channels is computed from group g of the input channels.

    Args:
        groups: number of groups.
        x, scope, filters, window, init, portable: see conv2d.

    Variables: <scope>/w [h, w, C / groups, K].
    """
    _expect_rank(x, scope, 4)
    with tf1.variable_scope(scope):
        shape = [*window.shape, int(x.shape[3]) // groups, filters]
        w = _variable("w", shape, init.seed, init.weights)  # [h, w, C / groups, K]
        x, padding = _padded(x, window)
        if portable:
            return tf.nn.conv2d(x, tf.cast(w, x.dtype), strides=window.stride, padding=padding)  # [N, H', W', K]
        return kernels.grouped_conv2d(x, tf.cast(w, x.dtype), groups, strides=window.stride, padding=padding)


@recorded
def whitening(x: tf.Tensor, scope: str, patch_size: int) -> tf.Tensor:
    """Convolve with frozen filters, without padding: [N, H, W, C] -> [N, H', W', K].

    H' = H - patch_size + 1, W' = W - patch_size + 1, K = 2 * patch_size^2 * C.

    Variables, not trainable: <scope>/w [h, w, C, K], zeros until statistics.whitening_filters are assigned to it.
    """
    _expect_rank(x, scope, 4)
    with tf1.variable_scope(scope):
        channels = int(x.shape[3])
        shape = [patch_size, patch_size, channels, 2 * patch_size * patch_size * channels]
        w = tf1.get_variable("w", shape, tf.float32, initializer=tf1.zeros_initializer(), trainable=False)
        return tf.nn.conv2d(x, tf.cast(w, x.dtype), strides=1, padding="VALID")


@recorded
def batch_norm(
    x: tf.Tensor,
    scope: str,
    norm: BatchNorm,
    *,
    training: bool,
    batch_slice: BatchSlice = WHOLE_BATCH,
    fold: bool = False,
) -> tuple[tf.Tensor, tuple[MomentUpdate, ...]]:
    """Normalise each channel to mean 0 and variance 1, scale it if norm.scale is set, and add an offset.

    Args:
        x: [N, H, W, C] or [N, C].
        scope: variable scope.
        norm: BatchNorm.
        training: whether to normalise by the moments of the global batch; else by the moving moments.
        batch_slice: which rows of the global batch x holds.
        fold: whether to compute batch norm by scaled kernels if x is the output of a convolution; only without
            training.

    Returns: (a tensor of the shape of x, the updates of the moving moments: two in training, else none). The variance
        of an update is n / (n - 1) times the variance of the batch, where n is the number of values in a channel.

    Variables: <scope>/beta [C], zeros; if norm.scale is set <scope>/gamma [C], ones; not trainable: <scope>/mean [C],
    zeros, and <scope>/variance [C], ones.
    """
    _expect_rank(x, scope, 2, 4)
    with tf1.variable_scope(scope):
        shape = [int(x.shape[-1])]
        zeros, ones = tf1.zeros_initializer(), tf1.ones_initializer()
        beta = tf1.get_variable("beta", shape, tf.float32, initializer=zeros)  # [C]
        mean = tf1.get_variable("mean", shape, tf.float32, initializer=zeros, trainable=False)  # [C]
        variance = tf1.get_variable("variance", shape, tf.float32, initializer=ones, trainable=False)  # [C]
        gamma = tf1.get_variable("gamma", shape, tf.float32, initializer=ones) if norm.scale else tf.ones(shape)  # [C]
        if fold and not training:
            scale = gamma * tf.math.rsqrt(variance + norm.epsilon)
            y = kernels.scale_convolution(x, scale, beta - scale * mean)
            if y is not None:
                return y, ()
        if not training:
            return fused_batch_norm(x, gamma, beta, norm.epsilon, (mean, variance))[0], ()
        y, batch_mean, batch_variance = batch_slice.normalize(x, gamma, beta, norm.epsilon)
        return y, (
            MomentUpdate(mean, batch_mean, norm.momentum),
            MomentUpdate(variance, batch_variance, norm.momentum),
        )


@recorded
def activation(x: tf.Tensor, scope: str, kind: str, *, portable: bool = False) -> tf.Tensor:
    """Apply relu, relu6 or silu (x * sigmoid(x)) to each number. No variables.

    Args:
        x: a tensor of any shape.
        scope: name of the operation.
        kind: relu, relu6 or silu.
        portable: see conv2d.
    """
    if kind in ("relu", "relu6"):
        return (tf.nn.relu if kind == "relu" else tf.nn.relu6)(x, name=scope)
    return tf.multiply(x, tf.sigmoid(x), name=scope) if portable else kernels.silu(x, name=scope)


@recorded
def dense(x: tf.Tensor, scope: str, units: int, init: Initialization, *, bias: bool = True) -> tf.Tensor:
    """Multiply by a matrix and add a bias: [N, C] -> [N, K].

    Args:
        units: K.
        x, scope, init, bias: see conv2d. init.weights has no effect.

    Variables: <scope>/w [C, K], Xavier-uniform, <scope>/b [K].
    """
    _expect_rank(x, scope, 2)
    with tf1.variable_scope(scope):
        w = _variable("w", [int(x.shape[1]), units], init.seed)  # [C, K]
        x = tf.matmul(x, tf.cast(w, x.dtype))  # [N, K]
        if not bias:
            return x
        b = _variable("b", [units], init.seed, init.biases)  # [K]
        return tf.nn.bias_add(x, tf.cast(b, x.dtype))


@recorded
def max_pool(
    x: tf.Tensor, scope: str, size: int | tuple[int, int], *, stride: int, padding: Padding = "SAME"
) -> tf.Tensor:
    """Return the maximum of each size x size window: [N, H, W, C] -> [N, H', W', C]. No variables."""
    _expect_rank(x, scope, 4)
    return tf.nn.max_pool2d(x, ksize=size, strides=stride, padding=padding, name=scope)


@recorded
def average_pool(x: tf.Tensor, scope: str, size: int, *, stride: int, padding: str = "SAME") -> tf.Tensor:
    """Return the mean of each size x size window, padding excluded: [N, H, W, C] -> [N, H', W', C]. No variables."""
    _expect_rank(x, scope, 4)
    return tf.nn.avg_pool2d(x, ksize=size, strides=stride, padding=padding, name=scope)


@recorded
def adaptive_average_pool(x: tf.Tensor, scope: str, size: int) -> tf.Tensor:
    """Return the means of size x size windows that cover the map evenly: [N, H, W, C] -> [N, size, size, C].

    Window i of an axis of n pixels spans the pixels from floor(i n / size) to ceil((i + 1) n / size) - 1, as in
    PyTorch's AdaptiveAvgPool2d. No variables.
    """
    _expect_rank(x, scope, 4)
    if x.shape[1] == x.shape[2] == size:
        return tf.identity(x, name=scope)
    rows, columns = (tf.constant(_window_means(int(n), size), x.dtype) for n in x.shape[1:3])  # [size, H], [size, W]
    return tf.einsum("ih,nhwc,jw->nijc", rows, x, columns, name=scope)


def _window_means(pixels: int, windows: int) -> np.ndarray:
    """Return the matrix [windows, pixels] that maps an axis to its means over the windows of adaptive_average_pool."""
    window, pixel = np.arange(windows)[:, None], np.arange(pixels)
    inside = (pixel >= window * pixels // windows) & (pixel < -(-(window + 1) * pixels // windows))
    return inside / inside.sum(axis=1, keepdims=True)


@recorded
def global_average_pool(x: tf.Tensor, scope: str) -> tf.Tensor:
    """Return the mean of each channel over the map: [N, H, W, C] -> [N, C]. No variables."""
    _expect_rank(x, scope, 4)
    return tf.reduce_mean(x, axis=[1, 2], name=scope)


@recorded
def pad(x: tf.Tensor, before: int, after: int) -> tf.Tensor:
    """Pad the map with zeros: [N, H, W, C] -> [N, before + H + after, before + W + after, C]. No variables."""
    return tf.pad(x, [[0, 0], [before, after], [before, after], [0, 0]])


@recorded
def global_max_pool(x: tf.Tensor, scope: str) -> tf.Tensor:
    """Return the maximum of each channel over the map: [N, H, W, C] -> [N, C]. No variables."""
    _expect_rank(x, scope, 4)
    return tf.reduce_max(x, axis=[1, 2], name=scope)


@recorded
def flatten(x: tf.Tensor, scope: str) -> tf.Tensor:
    """Join all axes but the first: [N, H, W, C] -> [N, H * W * C]. No variables."""
    _expect_rank(x, scope, 4)
    return tf.reshape(x, [-1, int(x.shape[1] * x.shape[2] * x.shape[3])], name=scope)


def dropout(
    x: tf.Tensor,
    scope: str,
    keep_prob: float | tf.Tensor,
    *,
    seed: int,
    step: int | tf.Tensor,
    batch_slice: BatchSlice = WHOLE_BATCH,
) -> tf.Tensor:
    """Keep each unit with probability keep_prob and divide it by keep_prob; set the other units to zero.

    The mask depends only on (seed, scope, step). With keep_prob 1.0, the result is x. No variables.

    Args:
        x: [N, H, W, C] or [N, C].
        scope: variable scope.
        keep_prob: float32 [].
        seed: of the mask.
        step: number of updates so far.
        batch_slice: which rows of the global batch x holds. The mask is drawn for the global batch.

    Returns: a tensor of the shape of x.
    """
    _expect_rank(x, scope, 2, 4)
    with tf1.variable_scope(scope):
        uniform = batch_slice.uniform(tf.shape(x), stateless_seed(seed, step))  # shape of x, in [0, 1)
        mask = tf.cast(uniform < keep_prob, tf.float32) / keep_prob
        return x * tf.cast(mask, x.dtype)


def stateless_seed(seed: int, step: int | tf.Tensor) -> tf.Tensor:
    """Return the seed of a stateless random op, int64 [2]: a hash of (seed, current variable scope), and the step."""
    scope_hash = zlib.crc32(f"{seed}/{tf1.get_variable_scope().name}".encode())
    return tf.stack([tf.constant(scope_hash, tf.int64), tf.cast(step, tf.int64)])


def _padded(x: tf.Tensor, window: Window) -> tuple[tf.Tensor, str]:
    """Return x, padded if necessary, and SAME or VALID. Gradients of other paddings are tens of times slower."""
    if isinstance(window.padding, str):
        return x, window.padding
    if window.stride == 1 and all((size // 2, size // 2) == window.padding and size % 2 for size in window.shape):
        return x, "SAME"
    return pad(x, *window.padding), "VALID"


def _variable(name: str, shape: list[int], seed: int, init: str = "xavier", channels: int | None = None) -> tf.Variable:
    """Return the variable <current scope>/<name>. Its initial values depend only on the seed and on its full name.

    Args:
        name: name of the variable in the current scope.
        shape: [h, w, C, K], [C, K] or [K].
        seed: seed of the initial values.
        init: xavier: uniform in +-sqrt(6 / (fan in + fan out)), as in tf.contrib of TensorFlow 1; fan in and fan out of
            a vector are its length. he: uniform in +-sqrt(6 / fan in). zeros. dirac: like xavier, but the first
            min(C, K) filters of a kernel [h, w, C, K] with odd h and w copy one input channel each (arXiv 2404.00498,
            section 3.2).
        channels: number of input channels of a filter. None: C.
    """
    area = 1
    for size in shape[:-2]:
        area *= size
    fans = (channels or shape[-2 if len(shape) > 1 else -1]) + (0 if init == "he" else shape[-1])
    limit = 0.0 if init == "zeros" else (6 / (area * fans)) ** 0.5

    def initial(shape: list[int], dtype: tf.DType = tf.float32, partition_info: object = None) -> tf.Tensor:
        with tf1.variable_scope(name):
            values = tf.random.stateless_uniform(shape, stateless_seed(seed, 0), -limit, limit, dtype)
        if init != "dirac":
            return values
        height, width, channels, filters = shape
        copies = min(channels, filters)
        padding = [[height // 2] * 2, [width // 2] * 2, [0, 0], [0, 0]]
        return tf.concat([tf.pad(tf.eye(channels, copies)[None, None], padding), values[..., copies:]], axis=3)

    return tf1.get_variable(name, shape, tf.float32, initializer=initial)


def _expect_rank(x: tf.Tensor, scope: str, *ranks: int) -> None:
    """Raise a ValueError that names the tensor, the scope and the ranks, unless x has one of the ranks."""
    if x.shape.rank not in ranks:
        layer, expected = f"{tf1.get_variable_scope().name}/{scope}".lstrip("/"), " or ".join(map(str, ranks))
        raise ValueError(f"layer {layer!r}: tensor {x.name!r} has rank {x.shape.rank}, expected {expected}: {x.shape}")
