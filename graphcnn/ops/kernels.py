"""Convolutions and SiLU that are faster on a CPU than those of tf.nn. Values and gradients agree up to rounding.

The shape of a convolution determines its algorithm:

- TensorFlow's convolution, by oneDNN. Its products of a 3x3 kernel and a map are at the speed limit of the processor,
  but on small maps there are many more of them than necessary. Some of its filter gradients are far from that limit.
- Spectral convolution, for maps that are small for their number of channels, and for large kernels. A Fourier transform
  turns the convolution into products of frequencies: 121 for a 3x3 kernel and a map of 8x8 pixels, instead of 576. Each
  one is a matrix product of all images and all channels. The transforms are matrix products too.
- Pointwise filter gradient: one matrix product, for 1x1 kernels.

The limits below come from timing both algorithms for each shape (`./run.sh bench --convolutions`). Letters in shapes:
N batch, H W height and width, C channels in, K channels out, h w height and width of a kernel, S size of a square map,
R products of spectral convolution.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from graphcnn.ops.tf1 import session, tf, tf1

POINTWISE_MAX_SIZE = {tf.bfloat16: 12, tf.float32: float("inf")}  # height and width of the map
SPECTRAL_MAX_SIZE = 24  # height and width of the map; the transforms of larger maps are large constants
SPECTRAL_FORWARD_COST = 0.48  # largest relative_cost with which the forward pass is spectral
SPECTRAL_GRADIENT_COST = 0.67  # largest relative_cost with which the gradients are spectral
SAME: dict[str, Any] = {"strides": [1, 1, 1, 1], "padding": "SAME"}

Gradients = Callable[[tf.Tensor], "tf.Tensor | tuple[tf.Tensor, ...]"]  # gradient function for tf.custom_gradient


class Algorithms(NamedTuple):
    """Which faster algorithms compute a convolution: spectral forward pass, spectral gradients, pointwise gradient."""

    spectral_forward: bool = False
    spectral_gradients: bool = False
    pointwise: bool = False


def conv2d(x: tf.Tensor, w: tf.Tensor, strides: int = 1, padding: str = "SAME") -> tf.Tensor:
    """Convolve like tf.nn.conv2d: [N, H, W, C] -> [N, H', W', K].

    Args:
        x: [N, H, W, C].
        w: kernel, [h, w, C, K].
        strides: of the kernel, in pixels.
        padding: SAME or VALID.
    """
    algorithms = choose_algorithms(x, w) if strides == 1 and padding == "SAME" else Algorithms()
    if algorithms.spectral_gradients:
        return spectral_conv2d(x, w, algorithms.spectral_forward)
    if algorithms.pointwise:
        return _pointwise_conv2d(x, w)
    return tf.nn.conv2d(x, w, strides=strides, padding=padding)


def choose_algorithms(x: tf.Tensor, w: tf.Tensor) -> Algorithms:
    """Return the Algorithms for a convolution of x [N, H, W, C] with w [h, w, C, K], stride 1 and SAME padding."""
    map_size, shape = x.shape[1:3].as_list(), w.shape.as_list()
    if None in map_size or min(map_size) < 2:
        return Algorithms()
    if shape[:2] == [1, 1]:
        return Algorithms(pointwise=max(map_size) <= POINTWISE_MAX_SIZE.get(x.dtype.base_dtype, 0))
    if map_size[0] != map_size[1] or shape[0] != shape[1] or map_size[0] > SPECTRAL_MAX_SIZE:
        return Algorithms()
    cost = relative_cost(map_size[0], *shape[1:])
    return Algorithms(cost <= SPECTRAL_FORWARD_COST, cost <= SPECTRAL_GRADIENT_COST)


def relative_cost(size: int, kernel: int, channels: int, units: int) -> float:
    """Return the multiplications of a spectral convolution divided by those of a direct convolution.

    The transform of the kernel is not counted, since its cost does not grow with the batch.

    Args:
        size: S.
        kernel: height and width of the kernel.
        channels: C.
        units: K.
    """
    period = size + kernel // 2
    frequencies = period**2 / 2  # a complex product each, by three real products
    spectral = 3 * frequencies * (channels * units + size**2 * (channels + units))
    return spectral / (kernel**2 * size**2 * channels * units)


def _pointwise_conv2d(x: tf.Tensor, w: tf.Tensor) -> tf.Tensor:
    """Convolve with a 1x1 kernel. The filter gradient is one matrix product: [N, H, W, C] -> [N, H, W, K]."""

    @tf.custom_gradient
    def convolution(x: tf.Tensor, w: tf.Tensor) -> tuple[tf.Tensor, Gradients]:
        def gradients(dy: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            channels, units = (int(size) for size in w.shape[2:])
            dw = tf.matmul(tf.reshape(x, [-1, channels]), tf.reshape(dy, [-1, units]), transpose_a=True)  # [C, K]
            return tf1.nn.conv2d_backprop_input(tf.shape(x), w, dy, **SAME), dw[None, None]

        return tf.nn.conv2d(x, w, **SAME), gradients

    return convolution(x, w)


class SpectralTransforms(NamedTuple):
    """The matrices of a convolution as R products: y = output @ ((image @ x) * (kernel @ w)).

    Here x and y are the pixels of one channel of a map, and w the numbers of one channel of a kernel. With several
    channels, each of the R products is a matrix product.

    Attributes:
        output: float64 [S S, R].
        image: float64 [R, S S].
        kernel: float64 [R, h h].
    """

    output: np.ndarray
    image: np.ndarray
    kernel: np.ndarray


@functools.cache
def spectral_transforms(size: int, kernel: int) -> SpectralTransforms:
    """Return the transforms of a convolution with stride 1 and SAME padding, by the discrete Fourier transform.

    The product of a real frequency is one product of real numbers. The product of a complex frequency is three:
    (a + bi)(c + di) = k1 - k3 + (k1 + k2)i with k1 = (a + b)c, k2 = a(d - c), k3 = b(c + d). Of two conjugate
    frequencies, one is left out. The period is S + h // 2, so that no output depends on pixels of the opposite edge.

    Args:
        size: S, height and width of the map.
        kernel: h, height and width of the kernel.
    """
    period = size + kernel // 2
    real, imaginary = _frequencies(period)
    pixels, taps = np.indices([size, size]).reshape(2, -1), np.indices([kernel, kernel]).reshape(2, -1)
    outputs = pixels - (kernel - 1) // 2  # SAME padding: tap (kernel - 1) // 2 is on the pixel of the output

    def waves(frequencies: np.ndarray, positions: np.ndarray) -> np.ndarray:
        return np.exp(-2j * np.pi / period * frequencies @ positions)  # [F, positions]

    x, w = waves(imaginary, pixels), waves(imaginary, taps).conj()
    y = 2 * waves(imaginary, outputs).conj().T / period**2  # [S S, F]; 2 for the conjugate frequency
    return SpectralTransforms(
        np.concatenate(
            [waves(real, outputs).real.T / period**2, y.real - y.imag, -y.imag, -y.real],
            axis=1,
        ),
        np.concatenate([waves(real, pixels).real, x.real + x.imag, x.real, x.imag]),
        np.concatenate([waves(real, taps).real, w.real, w.imag - w.real, w.real + w.imag]),
    )


def _frequencies(period: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the frequencies of a real map whose coefficients are real, and one of each pair of conjugate ones.

    Returns: two arrays of (row, column), int [F, 2].
    """
    frequencies = np.indices([period, period]).reshape(2, -1).T
    conjugates = -frequencies % period
    order, conjugate_order = (pairs @ [period, 1] for pairs in (frequencies, conjugates))
    return frequencies[order == conjugate_order], frequencies[order < conjugate_order]


def spectral_conv2d(x: tf.Tensor, w: tf.Tensor, spectral_forward: bool = True) -> tf.Tensor:
    """Convolve by spectral_transforms, with stride 1 and SAME padding: [N, S, S, C] -> [N, S, S, K].

    Args:
        x: [N, S, S, C].
        w: kernel, [h, h, C, K].
        spectral_forward: whether the forward pass is spectral; if not, only the gradients are.
    """
    size, (taps, _, channels, units) = int(x.shape[1]), (int(length) for length in w.shape)
    output, image, kernel = (tf.constant(matrix, x.dtype) for matrix in spectral_transforms(size, taps))
    products = int(image.shape[0])

    def spectra(x: tf.Tensor, w: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        images = tf.reshape(tf.matmul(image, _pixels_first(x)), [products, -1, channels])  # [R, N, C]
        kernels = tf.reshape(tf.matmul(kernel, tf.reshape(w, [taps * taps, -1])), [products, channels, units])
        return images, kernels

    @tf.custom_gradient
    def convolution(x: tf.Tensor, w: tf.Tensor) -> tuple[tf.Tensor, Gradients]:
        if spectral_forward:
            images, kernels = spectra(x, w)
            y = tf.matmul(output, tf.reshape(tf.matmul(images, kernels), [products, -1]))  # [S S, N K]
            y = _images_first(y, size, units)
        else:
            y = tf.nn.conv2d(x, w, **SAME)

        def gradients(dy: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            dy.set_shape([*x.shape[:3], units])
            image_spectra, kernel_spectra = (images, kernels) if spectral_forward else spectra(x, w)
            dy = tf.matmul(output, _pixels_first(dy), transpose_a=True)  # [R, N K]
            dy = tf.reshape(dy, [products, -1, units])  # [R, N, K]
            dx = tf.reshape(tf.matmul(dy, kernel_spectra, transpose_b=True), [products, -1])  # [R, N C]
            dw = tf.reshape(tf.matmul(image_spectra, dy, transpose_a=True), [products, -1])  # [R, C K]
            dx = _images_first(tf.matmul(image, dx, transpose_a=True), size, channels)
            return dx, tf.reshape(tf.matmul(kernel, dw, transpose_a=True), w.shape)

        return y, gradients

    return convolution(x, w)


def _pixels_first(x: tf.Tensor) -> tf.Tensor:
    """Return maps [N, S, S, C] as a matrix [S S, N C]."""
    pixels, channels = int(x.shape[1]) * int(x.shape[2]), int(x.shape[3])
    return tf.reshape(tf.transpose(tf.reshape(x, [-1, pixels, channels]), [1, 0, 2]), [pixels, -1])


def _images_first(matrix: tf.Tensor, size: int, channels: int) -> tf.Tensor:
    """Return a matrix [S S, N C] as maps [N, S, S, C]."""
    x = tf.transpose(tf.reshape(matrix, [size * size, -1, channels]), [1, 0, 2])
    return tf.reshape(x, [-1, size, size, channels])


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


def scale_convolution(x: tf.Tensor, scale: tf.Tensor, offset: tf.Tensor) -> tf.Tensor | None:
    """Return x * scale + offset as a convolution with a scaled kernel and a bias; None if x is no convolution.

    In inference, batch norm then needs no pass over the maps of its own, and TensorFlow fuses the bias and a ReLU into
    the convolution.

    Args:
        x: [N, H, W, K], the output of conv2d, grouped_conv2d or depthwise_conv2d of this module or of tf.nn, with or
            without a bias; not of a spectral convolution.
        scale, offset: float32 [K].
    """
    op = _without_custom_gradient(x).op
    if op.type == "BiasAdd":
        offset += scale * tf.cast(op.inputs[1], tf.float32)
        op = _without_custom_gradient(op.inputs[0]).op
    if op.type not in SCALED or op.get_attr("padding") == b"EXPLICIT":
        return None
    inputs, w = op.inputs
    w = tf.cast(w.op.inputs[0] if w.op.type == "Cast" else w, tf.float32)  # before it is rounded
    if op.type == "DepthwiseConv2dNative":
        scale = scale[:, None]
    w = tf.cast(w * scale, inputs.dtype)
    y = SCALED[op.type](inputs, w, op.get_attr("strides"), op.get_attr("padding").decode())
    return tf.nn.bias_add(y, tf.cast(offset, y.dtype))


SCALED = {"Conv2D": tf.nn.conv2d, "DepthwiseConv2dNative": tf.nn.depthwise_conv2d}  # by type of operation


def _without_custom_gradient(x: tf.Tensor) -> tf.Tensor:
    """Return the tensor that tf.custom_gradient wraps, or x itself."""
    return x.op.inputs[x.value_index] if x.op.type == "IdentityN" else x


def silu(x: tf.Tensor, name: str | None = None) -> tf.Tensor:
    """Return x * sigmoid(x). In bfloat16, value and gradient take about half the time of tf.nn.silu.

    The gradient computes the sigmoid again. In this way, TensorFlow can fuse sigmoid and product in the forward pass.
    In bfloat16, TensorFlow's sigmoid takes several times as long as in float32, casts included.
    """

    @tf.custom_gradient
    def multiplied(x: tf.Tensor) -> tuple[tf.Tensor, Gradients]:
        y = tf.multiply(x, tf.sigmoid(x), name=name)

        def gradient(dy: tf.Tensor) -> tf.Tensor:
            sigmoid = tf.cast(tf.sigmoid(tf.cast(x, tf.float32)), x.dtype)
            return dy * (sigmoid + y * (1 - sigmoid))

        return y, gradient

    return multiplied(x)
