"""Convolutions and SiLU that are faster on a CPU than those of tf.nn. Values and gradients agree up to rounding.

The shape of a convolution determines its algorithm:

- TensorFlow's convolution, by oneDNN. It is slow on small maps: a row of four pixels fills a quarter of a register
  block, all weights are read again for each image, and the zeros of the padding are multiplied like pixels. The filter
  gradient is even slower.
- Interleaved convolution: the pixels of 32 images alternate in one map that is 32 times as wide, and the kernel has
  dilation 32. The padding is not multiplied.
- Per-tap filter gradient: one matrix product for each position (tap) of the kernel, of the pixels and the output
  gradients that are multiplied at this tap. The padding is not multiplied. With a 1x1 kernel in float32, it is used for
  maps of any size.
- Spectral convolution, for a kernel that is about as large as the map: one matrix product for each frequency. The
  discrete Fourier transforms are also matrix products.

The limits below come from timing both algorithms for each shape (`./run.sh bench --convolutions`). Letters in shapes:
N batch, H W height and width, C channels in, K channels out, h w height and width of a kernel, F frequencies, S size.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from graphcnn.ops.tf1 import session, tf, tf1

MAX_KERNEL = 3  # size of the kernel, for interleaved convolution and per-tap filter gradients
INTERLEAVED_MAX_SIZE = 6  # height and width of the map
INTERLEAVED_MIN_WEIGHTS = 1 << 16  # C * K; so many weights do not fit into the cache of a core
INTERLEAVED_IMAGES = 32  # images in an interleaved map
PER_TAP_MAX_SIZE = 24  # height and width of the map
PER_TAP_CHANNELS = {tf.bfloat16: 16, tf.float32: 64}  # smallest C and K per pixel of the map's height or width
POINTWISE_MAX_SIZE = {tf.bfloat16: 12, tf.float32: float("inf")}  # height and width of the map, for 1x1 kernels
SPECTRAL_MIN_KERNEL = 9  # size of the kernel
SPECTRAL_MAX_SIZE = 16  # height and width of the map
SPECTRAL_MIN_CHANNELS = 64  # C and K
SAME: dict[str, Any] = {"strides": [1, 1, 1, 1], "padding": "SAME"}

Gradients = Callable[[tf.Tensor], "tf.Tensor | tuple[tf.Tensor, ...]"]  # gradient function for tf.custom_gradient


class Algorithms(NamedTuple):
    """Which faster algorithms compute a convolution: interleaved convolution, per-tap filter gradients."""

    interleaved: bool
    per_tap: bool


def conv2d(x: tf.Tensor, w: tf.Tensor, strides: int = 1, padding: str = "SAME") -> tf.Tensor:
    """Convolve like tf.nn.conv2d: [N, H, W, C] -> [N, H', W', K].

    Args:
        x: [N, H, W, C].
        w: kernel, [h, w, C, K].
        strides: of the kernel, in pixels.
        padding: SAME or VALID.
    """
    plain = strides == 1 and padding == "SAME"
    if plain and is_spectral(x, w):
        return spectral_conv2d(x, w)
    interleaved, per_tap = choose_algorithms(x, w) if plain else Algorithms(False, False)
    if not (interleaved or per_tap):
        return tf.nn.conv2d(x, w, strides=strides, padding=padding)

    @tf.custom_gradient
    def convolution(x: tf.Tensor, w: tf.Tensor) -> tuple[tf.Tensor, Gradients]:
        def gradients(dy: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            dy.set_shape([*x.shape[:3], w.shape[3]])
            if interleaved:
                dx = interleaved_conv2d(dy, input_gradient_kernel(w))
            else:
                dx = tf1.nn.conv2d_backprop_input(tf.shape(x), w, dy, **SAME)
            if per_tap:
                dw = per_tap_filter_gradient(x, dy, w.shape[:2])
            else:
                dw = tf1.nn.conv2d_backprop_filter(x, w.shape, dy, **SAME)
            return dx, dw

        return interleaved_conv2d(x, w) if interleaved else tf.nn.conv2d(x, w, **SAME), gradients

    return convolution(x, w)


def choose_algorithms(x: tf.Tensor, w: tf.Tensor) -> Algorithms:
    """Return the Algorithms for a convolution of x [N, H, W, C] with w [h, w, C, K], stride 1 and SAME padding."""
    map_size, kernel, channels = x.shape[1:3].as_list(), w.shape[:2].as_list(), w.shape[2:].as_list()
    if None in map_size or min(map_size) < 2 or not all(size % 2 and size <= MAX_KERNEL for size in kernel):
        return Algorithms(False, False)
    largest, dtype = max(map_size), x.dtype.base_dtype
    if kernel == [1, 1]:
        return Algorithms(False, largest <= POINTWISE_MAX_SIZE.get(dtype, 0))
    if 1 in kernel:
        return Algorithms(False, False)
    interleaved = largest <= INTERLEAVED_MAX_SIZE and channels[0] * channels[1] >= INTERLEAVED_MIN_WEIGHTS
    enough_channels = min(channels) >= PER_TAP_CHANNELS.get(dtype, float("inf")) * largest
    return Algorithms(interleaved, largest <= PER_TAP_MAX_SIZE and enough_channels)


def is_spectral(x: tf.Tensor, w: tf.Tensor) -> bool:
    """Return whether spectral convolution computes x [N, H, W, C] with w [h, w, C, K], stride 1 and SAME padding."""
    (height, width), (rows, columns, *channels) = x.shape[1:3].as_list(), w.shape.as_list()
    if height is None or height != width or rows != columns:
        return False
    return height <= SPECTRAL_MAX_SIZE and rows >= SPECTRAL_MIN_KERNEL and min(channels) >= SPECTRAL_MIN_CHANNELS


def interleaved_conv2d(x: tf.Tensor, w: tf.Tensor) -> tf.Tensor:
    """Convolve INTERLEAVED_IMAGES images at once, with stride 1 and SAME padding: [N, H, W, C] -> [N, H, W, K].

    The pixels of the images alternate along the width, so the columns of the kernel are INTERLEAVED_IMAGES pixels
    apart. Images of zeros fill the last group.

    Args:
        x: [N, H, W, C].
        w: kernel, [h, w, C, K]; h and w are odd.
    """
    count = tf.shape(x)[0]
    height, width, channels = (int(size) for size in x.shape[1:])
    rows, columns = (int(size) // 2 for size in w.shape[:2])
    x = tf.pad(x, [[0, -count % INTERLEAVED_IMAGES], [0, 0], [0, 0], [0, 0]])
    x = tf.reshape(x, [-1, INTERLEAVED_IMAGES, height, width, channels])
    x = tf.transpose(x, [0, 2, 3, 1, 4])  # [N / 32, H, W, 32, C]
    x = tf.reshape(x, [-1, height, width * INTERLEAVED_IMAGES, channels])  # [N / 32, H, 32 W, C]
    padding = [[0, 0], [rows, rows], [columns * INTERLEAVED_IMAGES, columns * INTERLEAVED_IMAGES], [0, 0]]
    y = tf.nn.conv2d(x, w, strides=1, padding=padding, dilations=[1, 1, INTERLEAVED_IMAGES, 1])  # [N / 32, H, 32 W, K]
    y = tf.reshape(y, [-1, height, width, INTERLEAVED_IMAGES, int(w.shape[3])])
    y = tf.transpose(y, [0, 3, 1, 2, 4])  # [N / 32, 32, H, W, K]
    return tf.reshape(y, [-1, height, width, int(w.shape[3])])[:count]


def input_gradient_kernel(w: tf.Tensor) -> tf.Tensor:
    """Return the kernel of the input gradient, which is a convolution of the output gradient.

    It is w [h, w, C, K] rotated by 180 degrees, with C and K exchanged: [h, w, K, C].
    """
    height, width, channels, units = (int(size) for size in w.shape)
    taps = tf.gather(tf.reshape(w, [-1, channels, units]), list(range(height * width))[::-1])  # [h w, C, K]
    return tf.reshape(tf.transpose(taps, [0, 2, 1]), [height, width, units, channels])


def per_tap_filter_gradient(x: tf.Tensor, dy: tf.Tensor, kernel: Sequence[int]) -> tf.Tensor:
    """Return the filter gradient of a convolution with stride 1 and SAME padding: one matrix product for each tap.

    Each product leaves out the positions where its tap is on the padding. The batch axis comes after the axes of the
    map, so that a slice of map rows needs no copy.

    Args:
        x: input, [N, H, W, C].
        dy: output gradient, [N, H, W, K].
        kernel: (h, w), both odd.

    Returns: [h, w, C, K].
    """
    height, width, channels = (int(size) for size in x.shape[1:])
    units = int(dy.shape[3])
    if [int(size) for size in kernel] == [1, 1]:
        product = tf.matmul(tf.reshape(x, [-1, channels]), tf.reshape(dy, [-1, units]), transpose_a=True)  # [C, K]
        return product[None, None]
    x = tf.transpose(x, [1, 2, 0, 3])  # [H, W, N, C]
    dy = tf.transpose(dy, [1, 2, 0, 3])  # [H, W, N, K]
    kernel = [int(size) for size in kernel]
    taps = {}
    for column in range(kernel[1]):
        inputs, outputs = _meeting_slices(column - kernel[1] // 2, width)
        x_columns, dy_columns = x[:, inputs], dy[:, outputs]
        for row in range(kernel[0]):
            inputs, outputs = _meeting_slices(row - kernel[0] // 2, height)
            a = tf.reshape(x_columns[inputs], [-1, channels])
            b = tf.reshape(dy_columns[outputs], [-1, units])
            taps[row, column] = tf.matmul(a, b, transpose_a=True)  # [C, K]
    return tf.reshape(tf.stack([taps[tap] for tap in sorted(taps)]), [*kernel, channels, units])


def _meeting_slices(offset: int, size: int) -> tuple[slice, slice]:
    """Return the slices of an axis, of the input and of the output, that are multiplied at a tap.

    Args:
        offset: offset of the tap from the centre of the kernel.
        size: length of the axis.
    """
    count = max(0, size - abs(offset))
    inputs, outputs = max(0, offset), max(0, -offset)
    return slice(inputs, inputs + count), slice(outputs, outputs + count)


def spectral_conv2d(x: tf.Tensor, w: tf.Tensor) -> tf.Tensor:
    """Convolve frequency by frequency, with stride 1 and SAME padding: [N, S, S, C] -> [N, S, S, K].

    TensorFlow derives the gradients from the matrix products. The period of the Fourier transform is S + h // 2, so
    that no output of the result depends on pixels of the opposite edge.

    Args:
        x: [N, S, S, C].
        w: kernel, [h, h, C, K].
    """
    size, kernel = int(x.shape[1]), int(w.shape[0])
    channels, units = int(w.shape[2]), int(w.shape[3])
    period = size + kernel // 2
    x = tf.reshape(tf.transpose(x, [1, 2, 0, 3]), [size * size, -1])  # [S S, N C]
    x = tf.matmul(_to_spectrum(size, period, x.dtype), x)  # [2 F, N C], real parts before imaginary ones
    x = tf.reshape(x, [2, -1, tf.shape(x)[1] // channels, channels])  # [2, F, N, C]
    w = tf.matmul(_to_spectrum(kernel, period, w.dtype), tf.reshape(w, [kernel * kernel, -1]))  # [2 F, C K]
    w = tf.reshape(w, [2, -1, channels, units])  # [2, F, C, K]
    w = tf.concat([w[0], w[1]], axis=1)  # [F, 2 C, K]
    real = tf.matmul(tf.concat([x[0], x[1]], axis=2), w)  # of x times the conjugate of w, [F, N, K]
    imaginary = tf.matmul(tf.concat([x[1], -x[0]], axis=2), w)  # [F, N, K]
    y = tf.reshape(tf.stack([real, imaginary]), [2 * int(w.shape[0]), -1])  # [2 F, N K]
    y = tf.matmul(_from_spectrum(size, period, -((kernel - 1) // 2), y.dtype), y)  # [S S, N K]
    return tf.transpose(tf.reshape(y, [size, size, -1, units]), [2, 0, 1, 3])


def _waves(size: int, period: int, first: int = 0) -> np.ndarray:
    """Return exp(-2 pi i f p / period) for frequencies f and pixels p of a square map, complex [F, S S].

    As the map is real, half of the frequencies suffice.

    Args:
        size: S, height and width of the map.
        period: period of the Fourier transform, in pixels.
        first: row and column of the first pixel.
    """
    frequencies = np.indices([period, period // 2 + 1]).reshape(2, -1)
    pixels = np.indices([size, size]).reshape(2, -1) + first
    return np.exp(-2j * np.pi / period * frequencies.T @ pixels)


def _to_spectrum(size: int, period: int, dtype: tf.DType) -> tf.Tensor:
    """Return the matrix [2 F, S S] from a map to the real and imaginary parts of its spectrum."""
    waves = _waves(size, period)
    return tf.constant(np.concatenate([waves.real, waves.imag]), dtype)


def _from_spectrum(size: int, period: int, first: int, dtype: tf.DType) -> tf.Tensor:
    """Return the matrix [S S, 2 F] from a spectrum to the pixels of its map; arguments as for _waves."""
    columns = np.indices([period, period // 2 + 1])[1].reshape(-1, 1)
    counts = np.where((columns == 0) | (2 * columns == period), 1, 2)  # the conjugate frequency is left out
    waves = _waves(size, period, first) * counts / period**2
    return tf.constant(np.concatenate([waves.real, waves.imag]).T, dtype)


def depthwise_conv2d(x: tf.Tensor, w: tf.Tensor, strides: Sequence[int], padding: str) -> tf.Tensor:
    """Convolve each channel like tf.nn.depthwise_conv2d: [N, H, W, C] -> [N, H', W', C].

    The input gradient is also computed as a depthwise convolution: of dy, with stride - 1 zeros between its pixels, and
    the kernel rotated by 180 degrees. The input gradient of oneDNN takes several times as long. TensorFlow computes
    kernels that are even or not square, and maps of unknown size.

    Args:
        x: [N, H, W, C].
        w: kernel, [h, w, C, 1].
        strides: [1, stride, stride, 1].
        padding: SAME or VALID.
    """
    kernel, stride, map_size = w.shape[:2].as_list(), strides[1], x.shape[1:3].as_list()
    if None in map_size or kernel[0] != kernel[1] or kernel[0] % 2 == 0:
        return tf.nn.depthwise_conv2d(x, w, strides=strides, padding=padding)
    same = padding == "SAME"
    windows = [-(-size // stride) if same else (size - kernel[0]) // stride + 1 for size in map_size]
    reach = [(n - 1) * stride + kernel[0] for n in windows]  # pixels that the windows cover, padding included
    before = [max(0, r - size) // 2 if same else 0 for r, size in zip(reach, map_size, strict=True)]

    @tf.custom_gradient
    def convolution(x: tf.Tensor, w: tf.Tensor) -> tuple[tf.Tensor, Gradients]:
        def gradients(dy: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            dy.set_shape([x.shape[0], *windows, x.shape[3]])
            dw = tf1.nn.depthwise_conv2d_backprop_filter(x, w.shape, dy, strides=strides, padding=padding)
            spread = _spread(dy, stride)
            margins = [
                (kernel[0] - 1 - b, size + b - (n - 1) * stride - 1)
                for b, size, n in zip(before, map_size, windows, strict=True)
            ]
            if all(margin == (kernel[0] // 2,) * 2 for margin in margins):
                return tf.nn.depthwise_conv2d(spread, tf.reverse(w, [0, 1]), [1, 1, 1, 1], "SAME"), dw
            spread = tf.pad(spread, [[0, 0], *margins, [0, 0]])
            return tf.nn.depthwise_conv2d(spread, tf.reverse(w, [0, 1]), [1, 1, 1, 1], "VALID"), dw

        return tf.nn.depthwise_conv2d(x, w, strides=strides, padding=padding), gradients

    return convolution(x, w)


def _spread(x: tf.Tensor, stride: int) -> tf.Tensor:
    """Put stride - 1 zeros between pixels: [N, H, W, C] -> [N, (H - 1) stride + 1, (W - 1) stride + 1, C]."""
    if stride == 1:
        return x
    height, width, channels = (int(size) for size in x.shape[1:])
    x = tf.pad(x[:, :, None, :, None], [[0, 0], [0, 0], [0, stride - 1], [0, 0], [0, stride - 1], [0, 0]])
    x = tf.reshape(x, [-1, height * stride, width * stride, channels])
    return x[:, : (height - 1) * stride + 1, : (width - 1) * stride + 1]


def grouped_conv2d(x: tf.Tensor, w: tf.Tensor, groups: int, strides: int, padding: str) -> tf.Tensor:
    """Convolve equal groups of channels separately: [N, H, W, C] -> [N, H', W', K].

    On a CPU, only oneDNN has the gradients of a grouped convolution. Without oneDNN, each group is convolved
    separately, which takes 1.3 to 3.0 times as long as oneDNN for the shapes of ResNeXt-50 at 160x160, forward and
    gradients. Other algorithms take 1.1 to 2.3 times as long (blocks of 16 channels with zeros between the groups), 1.2
    to 2.4 times (blocks of 32 channels) and 7 to 23 times (one batched matrix product of all patches).

    Args:
        x: [N, H, W, C].
        w: kernel, [h, w, C / groups, K].
        groups: number of groups.
        strides: of the kernel, in pixels.
        padding: SAME or VALID; oneDNN has gradients for these two.
    """
    if has_grouped_gradients(x.dtype.base_dtype):
        return tf.nn.conv2d(x, w, strides=strides, padding=padding)
    pairs = zip(tf.split(x, groups, axis=3), tf.split(w, groups, axis=3), strict=True)
    return tf.concat([tf.nn.conv2d(a, b, strides=strides, padding=padding) for a, b in pairs], axis=3)


@functools.cache
def has_grouped_gradients(dtype: tf.DType) -> bool:
    """Return whether TensorFlow can compute the gradients of a grouped convolution. It computes one to find out."""
    with tf1.Graph().as_default() as graph:
        x, w = tf1.placeholder(dtype, [None, 4, 4, 4]), tf1.placeholder(dtype, [3, 3, 2, 4])
        gradients = tf1.gradients(tf.nn.conv2d(x, w, strides=1, padding="SAME"), [x, w])
        with session(graph) as trial:
            try:
                trial.run(gradients, {x: np.ones([1, 4, 4, 4]), w: np.ones([3, 3, 2, 4])})
            except tf.errors.OpError:
                return False
    return True


def silu(x: tf.Tensor, name: str | None = None) -> tf.Tensor:
    """Return x * sigmoid(x). In bfloat16, its gradient takes about 0.6 times as long as the gradient of tf.nn.silu."""

    @tf.custom_gradient
    def multiplied(x: tf.Tensor) -> tuple[tf.Tensor, Gradients]:
        sigmoid = tf.sigmoid(x)
        y = tf.multiply(x, sigmoid, name=name)
        return y, lambda dy: dy * (sigmoid + y * (1 - sigmoid))

    return multiplied(x)
