"""The layer vocabulary: plain functions over tf.nn, from a tensor, a scope and a width to a tensor.

Letters in shapes: N batch, H W height and width, C channels in, K channels or units out.
Weights are float32; a layer computes in its input's dtype, so bfloat16 in means bfloat16 multiplications.
"""

import zlib
from typing import Any, NamedTuple

import numpy as np

from graphcnn.ops import kernels
from graphcnn.ops.tf1 import tf, tf1


class Norm(NamedTuple):
    """How a net's batch norm is: epsilon, added to variances; share, a whole batch's in the moving moments; scale."""

    epsilon: float
    share: float
    scale: bool = True


class Part(NamedTuple):
    """Which rows of a step's batch x is: those from `first` on of `whole`, int32 scalars.

    total: total(tensor) sums a float32 tensor over the tasks that have the other rows at this moment, with its
    gradient; None where x's rows come alone.
    """

    first: Any
    whole: Any
    total: Any = None


def conv2d(
    x, scope, filters, *, seed, kernel=3, stride=1, padding="SAME", pool=1, pool_stride=None, pool_padding="SAME",
    bias=True, init="xavier", bias_init="xavier", portable=False,
):  # fmt: skip
    """Convolve and add a bias: [N, H, W, C] -> [N, H', W', K].

    With pool above 1 the maximum of each pool x pool window, pool_stride (None: pool) apart, comes before the bias: as
    the bias and a ReLU after it are monotone this is pooling last, on a fraction of the numbers. Portable: tf.nn's
    convolution, no form of kernels.py.

    kernel: its side, or (height, width). padding: SAME, VALID, or how many zeros stand (before, after) each axis.

    Variables: <scope>/w [kernel, kernel, C, K], <scope>/b [K]; see `_variable` for init and bias_init.
    """
    _expect_rank(x, scope, 4)
    with tf1.variable_scope(scope):
        height, width = kernel if isinstance(kernel, tuple) else (kernel, kernel)
        w = _variable("w", [height, width, int(x.shape[3]), filters], seed, init)  # [h, w, C, K]
        convolve = tf.nn.conv2d if portable else kernels.conv2d
        x, padding = _padded(x, (height, width), stride, padding)
        x = convolve(x, tf.cast(w, x.dtype), strides=stride, padding=padding)  # [N, H', W', K]
        if pool > 1:
            x = max_pool(x, "pool", pool, stride=pool_stride or pool, padding=pool_padding)
        if not bias:
            return x
        b = _variable("b", [filters], seed, bias_init)  # [K]
        return tf.nn.bias_add(x, tf.cast(b, x.dtype))


def depthwise_conv2d(x, scope, *, seed, kernel=3, stride=1, padding="SAME", init="xavier", portable=False):
    """Convolve each channel with a kernel of its own, without a bias: [N, H, W, C] -> [N, H', W', C].

    Variables: <scope>/w [kernel, kernel, C, 1], drawn as for one channel.
    """
    _expect_rank(x, scope, 4)
    with tf1.variable_scope(scope):
        w = _variable("w", [kernel, kernel, int(x.shape[3]), 1], seed, init, channels=1)  # [h, w, C, 1]
        convolve = tf.nn.depthwise_conv2d if portable else kernels.depthwise_conv2d
        x, padding = _padded(x, (kernel, kernel), stride, padding)
        return convolve(x, tf.cast(w, x.dtype), strides=[1, stride, stride, 1], padding=padding)


def grouped_conv2d(
    x, scope, filters, groups, *, seed, kernel=3, stride=1, padding="SAME", init="xavier", portable=False,
):  # fmt: skip
    """Convolve equal slices of the channels apart, without a bias: [N, H, W, C] -> [N, H', W', K].

    Slice g of the output comes from slice g of the input; options as conv2d's.

    Variables: <scope>/w [kernel, kernel, C / groups, K].
    """
    _expect_rank(x, scope, 4)
    with tf1.variable_scope(scope):
        w = _variable("w", [kernel, kernel, int(x.shape[3]) // groups, filters], seed, init)  # [h, w, C / groups, K]
        x, padding = _padded(x, (kernel, kernel), stride, padding)
        if portable:
            return tf.nn.conv2d(x, tf.cast(w, x.dtype), strides=stride, padding=padding)
        return kernels.grouped_conv2d(x, tf.cast(w, x.dtype), groups, strides=stride, padding=padding)


def whitening(x, scope, side):
    """Convolve with frozen filters, VALID: [N, H, W, C] -> [N, H - side + 1, W - side + 1, 2 * side * side * C].

    Variables, not trainable: <scope>/w [side, side, C, 2 * side * side * C], zeros until they are given
    statistics.whitening_filters.
    """
    _expect_rank(x, scope, 4)
    with tf1.variable_scope(scope):
        channels = int(x.shape[3])
        shape = [side, side, channels, 2 * side * side * channels]
        w = tf1.get_variable("w", shape, tf.float32, initializer=tf1.zeros_initializer(), trainable=False)
        return tf.nn.conv2d(x, tf.cast(w, x.dtype), strides=1, padding="VALID")


def batch_norm(x, scope, norm, *, training, moments, part=None):
    """Bring each channel to mean 0 and deviation 1, scale it where norm.scale, add an offset: [N(, H, W), C] -> same.

    Training takes the batch's mean and variance (over n) and appends (moving variable, the batch's value, norm.share)
    to the list `moments`, for the graph to update them by, the variance as n / (n - 1) of it; otherwise the moving
    ones count. With a Part that has a total, the batch is the whole one.

    Variables: <scope>/beta [C], zeros; with a scale <scope>/gamma [C], ones; not trainable: <scope>/mean [C], zeros,
    and <scope>/variance [C], ones.
    """
    _expect_rank(x, scope, 2, 4)
    flat = x.shape.rank == 2
    with tf1.variable_scope(scope):
        shape = [int(x.shape[-1])]
        zeros, ones = tf1.zeros_initializer(), tf1.ones_initializer()
        beta = tf1.get_variable("beta", shape, tf.float32, initializer=zeros)
        mean = tf1.get_variable("mean", shape, tf.float32, initializer=zeros, trainable=False)
        variance = tf1.get_variable("variance", shape, tf.float32, initializer=ones, trainable=False)
        gamma = tf1.get_variable("gamma", shape, tf.float32, initializer=ones) if norm.scale else tf.ones(shape)
        if training and part is not None and part.total is not None:
            y, batch_mean, batch_variance = _normalised_across(x, part, gamma, beta, norm.epsilon)
            moments += [(mean, batch_mean, norm.share), (variance, batch_variance, norm.share)]
            return y
        known = {} if training else {"mean": mean, "variance": variance}
        y, batch_mean, batch_variance = tf1.nn.fused_batch_norm(
            x[:, None, None] if flat else x, gamma, beta, epsilon=norm.epsilon, is_training=training, **known
        )
        if training:
            moments += [(mean, batch_mean, norm.share), (variance, batch_variance, norm.share)]
        return y[:, 0, 0] if flat else y


def _normalised_across(x, part, gamma, beta, epsilon):
    """Return (x normalised by the moments of all tasks' rows, these rows' mean, and variance times n / (n - 1))."""
    axes = list(range(x.shape.rank - 1))
    numbers = tf.cast(x, tf.float32)
    count = tf.cast(part.whole, tf.float32) * float(np.prod(x.shape[1:-1], dtype=int))  # of numbers in a channel
    mean = part.total(tf.reduce_sum(numbers, axes)) / count
    variance = part.total(tf.reduce_sum(tf.square(numbers - mean), axes)) / count
    y = tf.cast((numbers - mean) * (tf.math.rsqrt(variance + epsilon) * gamma) + beta, x.dtype)
    return y, mean, variance * count / tf.maximum(count - 1, 1)


def activation(x, scope, kind, *, portable=False):
    """Apply relu, relu6 or silu (x times its sigmoid) to each number. No variables. Portable: no form of kernels.py."""
    if kind in ("relu", "relu6"):
        return (tf.nn.relu if kind == "relu" else tf.nn.relu6)(x, name=scope)
    return tf.multiply(x, tf.sigmoid(x), name=scope) if portable else kernels.silu(x, name=scope)


def dense(x, scope, units, *, seed, bias=True, bias_init="xavier"):
    """Multiply by a matrix and add a bias: [N, C] -> [N, K].

    Variables: <scope>/w [C, K], Xavier-uniform, <scope>/b [K]; see `_variable` for bias_init.
    """
    _expect_rank(x, scope, 2)
    with tf1.variable_scope(scope):
        w = _variable("w", [int(x.shape[1]), units], seed)  # [C, K]
        x = tf.matmul(x, tf.cast(w, x.dtype))  # [N, K]
        if not bias:
            return x
        b = _variable("b", [units], seed, bias_init)  # [K]
        return tf.nn.bias_add(x, tf.cast(b, x.dtype))


def max_pool(x, scope, size, *, stride, padding="SAME"):
    """Take the maximum of each size x size window: [N, H, W, C] -> [N, H', W', C]. No variables."""
    _expect_rank(x, scope, 4)
    return tf.nn.max_pool2d(x, ksize=size, strides=stride, padding=padding, name=scope)


def average_pool(x, scope, size, *, stride, padding="SAME"):
    """Take the mean of each size x size window, padding left out: [N, H, W, C] -> [N, H', W', C]. No variables."""
    _expect_rank(x, scope, 4)
    return tf.nn.avg_pool2d(x, ksize=size, strides=stride, padding=padding, name=scope)


def adaptive_average_pool(x, scope, side):
    """Take the means of side x side windows that cover the map evenly: [N, H, W, C] -> [N, side, side, C].

    Window i of an axis of n pixels goes from floor(i n / side) to below ceil((i + 1) n / side), as PyTorch's. No
    variables.
    """
    _expect_rank(x, scope, 4)
    if x.shape[1] == x.shape[2] == side:
        return tf.identity(x, name=scope)
    rows, columns = (tf.constant(_windows(int(n), side), x.dtype) for n in x.shape[1:3])
    return tf.einsum("ih,nhwc,jw->nijc", rows, x, columns, name=scope)


def _windows(size, count):
    """Return the matrix [count, size] of the means of adaptive_average_pool."""
    position, pixel = np.arange(count)[:, None], np.arange(size)
    inside = (pixel >= position * size // count) & (pixel < -(-(position + 1) * size // count))
    return inside / inside.sum(axis=1, keepdims=True)


def global_average_pool(x, scope):
    """Take each channel's mean over the map: [N, H, W, C] -> [N, C]. No variables."""
    _expect_rank(x, scope, 4)
    return tf.reduce_mean(x, axis=[1, 2], name=scope)


def pad(x, before, after):
    """Put zeros around the map: [N, H, W, C] -> [N, before + H + after, before + W + after, C]. No variables."""
    return tf.pad(x, [[0, 0], [before, after], [before, after], [0, 0]])


def global_max_pool(x, scope):
    """Take each channel's maximum over the map: [N, H, W, C] -> [N, C]. No variables."""
    _expect_rank(x, scope, 4)
    return tf.reduce_max(x, axis=[1, 2], name=scope)


def flatten(x, scope):
    """Join all but the first axis: [N, H, W, C] -> [N, H * W * C]. No variables."""
    _expect_rank(x, scope, 4)
    return tf.reshape(x, [-1, int(x.shape[1] * x.shape[2] * x.shape[3])], name=scope)


def dropout(x, scope, keep_prob, *, seed, step, part=None):
    """Keep each unit with probability keep_prob and divide it by that; zero the others: [N(, H, W), C] -> the same.

    The mask is a function of (seed, scope, step) alone. keep_prob 1.0 is the identity. No variables.

    part: Part where x is some rows of a batch: they get that batch's mask.
    """
    _expect_rank(x, scope, 2, 4)
    with tf1.variable_scope(scope):
        shape, seeds = tf.shape(x), stateless_seed(seed, step)
        if part is None:
            uniform = tf.random.stateless_uniform(shape, seeds)  # x's shape, in [0, 1)
        else:
            uniform = tf.random.stateless_uniform(tf.concat([[part.whole], shape[1:]], axis=0), seeds)
            uniform = uniform[part.first : part.first + shape[0]]
        scale = tf.cast(uniform < keep_prob, tf.float32) / keep_prob
        return x * tf.cast(scale, x.dtype)


def stateless_seed(seed, step):
    """Return the int64 pair [2] for a stateless random op: a hash of (seed, current variable scope), and the step."""
    named = zlib.crc32(f"{seed}/{tf1.get_variable_scope().name}".encode())
    return tf.stack([tf.constant(named, tf.int64), tf.cast(step, tf.int64)])


def _padded(x, kernel, stride, padding):
    """Return x and the padding as SAME or VALID; TensorFlow's gradients with any other are tens of times as slow."""
    if isinstance(padding, str):
        return x, padding
    if stride == 1 and all((side // 2, side // 2) == padding and side % 2 for side in kernel):
        return x, "SAME"
    return pad(x, *padding), "VALID"


def _variable(name, shape, seed, init="xavier", channels=None):
    """Return the variable <current scope>/<name>, drawn from (seed, its full name) as `init` says.

    xavier: uniform in +-sqrt(6 / (fan in + fan out)), as contrib's was; a vector counts as fan in = fan out = its
    length. he: +-sqrt(6 / fan in). zeros. dirac: xavier but for the first min(C, K) filters of an odd-sided bank
    [h, w, C, K], which copy an input channel each (arXiv 2404.00498, section 3.2). channels: how many a filter sees,
    where that is not C.
    """
    area = 1
    for side in shape[:-2]:
        area *= side
    fans = (channels or shape[-2 if len(shape) > 1 else -1]) + (0 if init == "he" else shape[-1])
    limit = 0.0 if init == "zeros" else (6 / (area * fans)) ** 0.5

    def initial(shape, dtype=tf.float32, partition_info=None):
        with tf1.variable_scope(name):
            values = tf.random.stateless_uniform(shape, stateless_seed(seed, 0), -limit, limit, dtype)
        if init != "dirac":
            return values
        height, width, channels, filters = shape
        copies = min(channels, filters)
        around = [[height // 2] * 2, [width // 2] * 2, [0, 0], [0, 0]]
        return tf.concat([tf.pad(tf.eye(channels, copies)[None, None], around), values[..., copies:]], axis=3)

    return tf1.get_variable(name, shape, tf.float32, initializer=initial)


def _expect_rank(x, scope, *ranks):
    """Refuse a tensor of another rank with its name, the scope and the ranks."""
    if x.shape.rank not in ranks:
        where, wanted = f"{tf1.get_variable_scope().name}/{scope}".lstrip("/"), " or ".join(map(str, ranks))
        raise ValueError(f"layer {where!r}: tensor {x.name!r} has rank {x.shape.rank}, expected {wanted}: {x.shape}")
