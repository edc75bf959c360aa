"""tf.nn's convolution and SiLU, their values and gradients up to rounding, in faster forms.

A convolution has three; its shape alone decides.

oneDNN's convolutions lose on small maps: a row of four pixels fills a quarter of a register block, all weights are read
again for each image, and zeros of the padding are multiplied like pixels. Its filter gradients lose more. The other
forms do not multiply padding:

- interleaved: 32 images side by side, pixel by pixel, are one map 32 times as wide on which the kernel has dilation 32;
- filter gradient by taps: for each kernel position one matrix product of the pixels and gradients that meet there; of a
  1x1 kernel on maps of any size in float32.

A kernel about as large as the map costs most of all: side^2 products for each of side^2 pixels. Its spectral form:

- a product for each frequency, the discrete Fourier transforms being matrix products too.

The limits come from timing both forms of each shape, as `./run.sh bench --forms` does; README has its table.
"""

import functools

import numpy as np

from graphcnn.ops.tf1 import session, tf, tf1

LARGEST_KERNEL = 3  # side; of the first two forms
INTERLEAVE_UP_TO = 6  # side of the map
INTERLEAVE_FROM = 1 << 16  # C * K: from where on the weights do not stay in a core's cache
TOGETHER = 32  # images in an interleaved map
TAPS_UP_TO = 24  # side of the map
SPECTRAL_FROM = 9  # side of the kernel
SPECTRAL_UP_TO = 16  # side of the map
SPECTRAL_CHANNELS = 64  # C and K, at least
SAME = {"strides": [1, 1, 1, 1], "padding": "SAME"}
POINTWISE_UP_TO = {tf.bfloat16: 12, tf.float32: float("inf")}  # side of the map: taps of a 1x1 kernel
CHANNELS_PER_SIDE = {tf.bfloat16: 16, tf.float32: 64}  # taps where C and K are at least so many times the map's side


def conv2d(x, w, strides=1, padding="SAME"):
    """Convolve: [N, H, W, C] with w [h, w, C, K] -> [N, H', W', K]; tf.nn.conv2d's values and gradients."""
    plain = strides == 1 and padding == "SAME"
    if plain and spectral(x, w):
        return spectral_conv2d(x, w)
    interleave, taps = faster_forms(x, w) if plain else (False, False)
    if not (interleave or taps):
        return tf.nn.conv2d(x, w, strides=strides, padding=padding)

    @tf.custom_gradient
    def convolution(x, w):
        def gradients(dy):
            dy.set_shape([*x.shape[:3], w.shape[3]])
            if interleave:
                dx = interleaved_conv2d(dy, turned(w))
            else:
                dx = tf1.nn.conv2d_backprop_input(tf.shape(x), w, dy, **SAME)
            if taps:
                dw = filter_gradient_by_taps(x, dy, w.shape[:2])
            else:
                dw = tf1.nn.conv2d_backprop_filter(x, w.shape, dy, **SAME)
            return dx, dw

        return interleaved_conv2d(x, w) if interleave else tf.nn.conv2d(x, w, **SAME), gradients

    return convolution(x, w)


def depthwise_conv2d(x, w, strides, padding):
    """Convolve each channel: [N, H, W, C] with w [h, w, C, 1] -> [N, H', W', C]; tf.nn.depthwise_conv2d's values.

    The input's gradient is a depthwise convolution too, of dy with the kernel turned, dy's pixels apart by the stride.
    oneDNN's own takes several times as long. Odd kernels and known sizes only; others are TensorFlow's.
    """
    size, stride, sides = w.shape[:2].as_list(), strides[1], x.shape[1:3].as_list()
    if None in sides or size[0] != size[1] or size[0] % 2 == 0:
        return tf.nn.depthwise_conv2d(x, w, strides=strides, padding=padding)
    same = padding == "SAME"
    windows = [-(-side // stride) if same else (side - size[0]) // stride + 1 for side in sides]
    reach = [(n - 1) * stride + size[0] for n in windows]  # pixels that the windows stand on
    before = [max(0, r - side) // 2 if same else 0 for r, side in zip(reach, sides, strict=True)]

    @tf.custom_gradient
    def convolution(x, w):
        def gradients(dy):
            dy.set_shape([x.shape[0], *windows, x.shape[3]])
            dw = tf1.nn.depthwise_conv2d_backprop_filter(x, w.shape, dy, strides=strides, padding=padding)
            spread = _apart(dy, stride)
            margins = [
                (size[0] - 1 - b, side + b - (n - 1) * stride - 1)
                for b, side, n in zip(before, sides, windows, strict=True)
            ]
            if all(margin == (size[0] // 2,) * 2 for margin in margins):
                return tf.nn.depthwise_conv2d(spread, tf.reverse(w, [0, 1]), [1, 1, 1, 1], "SAME"), dw
            spread = tf.pad(spread, [[0, 0], *margins, [0, 0]])
            return tf.nn.depthwise_conv2d(spread, tf.reverse(w, [0, 1]), [1, 1, 1, 1], "VALID"), dw

        return tf.nn.depthwise_conv2d(x, w, strides=strides, padding=padding), gradients

    return convolution(x, w)


def _apart(x, stride):
    """Put stride - 1 zeros between pixels: [N, H, W, C] -> [N, (H - 1) stride + 1, (W - 1) stride + 1, C]."""
    if stride == 1:
        return x
    height, width, channels = (int(side) for side in x.shape[1:])
    x = tf.pad(x[:, :, None, :, None], [[0, 0], [0, 0], [0, stride - 1], [0, 0], [0, stride - 1], [0, 0]])
    x = tf.reshape(x, [-1, height * stride, width * stride, channels])
    return x[:, : (height - 1) * stride + 1, : (width - 1) * stride + 1]


def grouped_conv2d(x, w, groups, strides, padding):
    """Convolve equal slices of the channels apart: [N, H, W, C] with w [h, w, C / groups, K] -> [N, H', W', K].

    Padding: SAME or VALID, as oneDNN alone has this convolution's gradients on a CPU, and for these. Where it is not
    there each slice is convolved by itself. For ResNeXt-50's shapes at 160x160, forward and gradients, slices took 1.3
    to 3.0 times as long, blocks of 16 channels with zeros between their groups 1.1 to 2.3 times, of 32 channels 1.2 to
    2.4 times, a batched product of all patches 7 to 23 times.
    """
    if has_grouped_gradients(x.dtype.base_dtype):
        return tf.nn.conv2d(x, w, strides=strides, padding=padding)
    slices = zip(tf.split(x, groups, axis=3), tf.split(w, groups, axis=3), strict=True)
    return tf.concat([tf.nn.conv2d(a, b, strides=strides, padding=padding) for a, b in slices], axis=3)


@functools.cache
def has_grouped_gradients(dtype):
    """Return whether TensorFlow finds the gradients of a convolution of two groups, which it says only when it runs."""
    with tf1.Graph().as_default() as graph:
        x, w = tf1.placeholder(dtype, [None, 4, 4, 4]), tf1.placeholder(dtype, [3, 3, 2, 4])
        gradients = tf1.gradients(tf.nn.conv2d(x, w, strides=1, padding="SAME"), [x, w])
        with session(graph) as running:
            try:
                running.run(gradients, {x: np.ones([1, 4, 4, 4]), w: np.ones([3, 3, 2, 4])})
            except tf.errors.OpError:
                return False
    return True


def silu(x, name=None):
    """Return x * sigmoid(x); its gradient in about 0.6 of the time of tf.nn.silu's, timed in bfloat16."""

    @tf.custom_gradient
    def multiplied(x):
        sigmoid = tf.sigmoid(x)
        y = tf.multiply(x, sigmoid, name=name)
        return y, lambda dy: dy * (sigmoid + y * (1 - sigmoid))

    return multiplied(x)


def faster_forms(x, w):
    """Return (whether to interleave, whether to take filter gradients by taps), x [N, H, W, C], w [h, w, C, K]."""
    sides, kernel, channels = x.shape[1:3].as_list(), w.shape[:2].as_list(), w.shape[2:].as_list()
    if None in sides or min(sides) < 2 or not all(side % 2 and side <= LARGEST_KERNEL for side in kernel):
        return False, False
    side, needed = max(sides), CHANNELS_PER_SIDE.get(x.dtype.base_dtype, float("inf"))
    if kernel == [1, 1]:
        return False, side <= POINTWISE_UP_TO.get(x.dtype.base_dtype, 0)
    if 1 in kernel:
        return False, False
    interleave = side <= INTERLEAVE_UP_TO and channels[0] * channels[1] >= INTERLEAVE_FROM
    return interleave, side <= TAPS_UP_TO and min(channels) >= needed * side


def spectral(x, w):
    """Return whether to multiply spectra, x [N, H, W, C], w [h, w, C, K]."""
    (height, width), (tall, wide, *channels) = x.shape[1:3].as_list(), w.shape.as_list()
    if height is None or height != width or tall != wide:
        return False
    return height <= SPECTRAL_UP_TO and tall >= SPECTRAL_FROM and min(channels) >= SPECTRAL_CHANNELS


def spectral_conv2d(x, w):
    """Convolve with stride 1 and SAME padding, frequency by frequency: [N, S, S, C], w [k, k, C, K] -> [N, S, S, K].

    Gradients are TensorFlow's of the products. The period is S + k // 2, so long that no output that is kept meets a
    pixel from the other side.
    """
    side, kernel = int(x.shape[1]), int(w.shape[0])
    channels, units = int(w.shape[2]), int(w.shape[3])
    period = side + kernel // 2
    x = tf.reshape(tf.transpose(x, [1, 2, 0, 3]), [side * side, -1])  # [S S, N C]
    x = tf.matmul(_to_spectrum(side, period, x.dtype), x)  # [2 F, N C], real parts before imaginary ones
    x = tf.reshape(x, [2, -1, tf.shape(x)[1] // channels, channels])  # [2, F, N, C]
    w = tf.matmul(_to_spectrum(kernel, period, w.dtype), tf.reshape(w, [kernel * kernel, -1]))  # [2 F, C K]
    w = tf.reshape(w, [2, -1, channels, units])  # [2, F, C, K]
    w = tf.concat([w[0], w[1]], axis=1)  # [F, 2 C, K]
    real = tf.matmul(tf.concat([x[0], x[1]], axis=2), w)  # of x times w's conjugate, [F, N, K]
    imaginary = tf.matmul(tf.concat([x[1], -x[0]], axis=2), w)
    y = tf.reshape(tf.stack([real, imaginary]), [2 * int(w.shape[0]), -1])  # [2 F, N K]
    y = tf.matmul(_from_spectrum(side, period, -((kernel - 1) // 2), y.dtype), y)  # [S S, N K]
    return tf.transpose(tf.reshape(y, [side, side, -1, units]), [2, 0, 1, 3])


def interleaved_conv2d(x, w):
    """Convolve with stride 1 and SAME padding, TOGETHER images at once: [N, H, W, C], w [h, w, C, K] -> [N, H, W, K].

    The images' pixels alternate along the width, so the kernel's columns are TOGETHER pixels apart; N is filled up with
    zeros. Odd kernels only.
    """
    count = tf.shape(x)[0]
    height, width, channels = (int(side) for side in x.shape[1:])
    rows, columns = (int(side) // 2 for side in w.shape[:2])
    x = tf.pad(x, [[0, -count % TOGETHER], [0, 0], [0, 0], [0, 0]])
    x = tf.transpose(tf.reshape(x, [-1, TOGETHER, height, width, channels]), [0, 2, 3, 1, 4])
    x = tf.reshape(x, [-1, height, width * TOGETHER, channels])
    padding = [[0, 0], [rows, rows], [columns * TOGETHER, columns * TOGETHER], [0, 0]]
    y = tf.nn.conv2d(x, w, strides=1, padding=padding, dilations=[1, 1, TOGETHER, 1])
    y = tf.transpose(tf.reshape(y, [-1, height, width, TOGETHER, int(w.shape[3])]), [0, 3, 1, 2, 4])
    return tf.reshape(y, [-1, height, width, int(w.shape[3])])[:count]


def filter_gradient_by_taps(x, dy, kernel):
    """Return the gradient of a stride 1, SAME convolution's filter: x [N, H, W, C], dy [N, H, W, K] -> [h, w, C, K].

    A matrix product for each of the kernel's (h, w) positions, without the pixels that meet padding there. With the
    images innermost a slice of rows is no copy. Odd kernels only.
    """
    height, width, channels = (int(side) for side in x.shape[1:])
    units = int(dy.shape[3])
    if [int(side) for side in kernel] == [1, 1]:
        product = tf.matmul(tf.reshape(x, [-1, channels]), tf.reshape(dy, [-1, units]), transpose_a=True)
        return product[None, None]
    x = tf.transpose(x, [1, 2, 0, 3])  # [H, W, N, C]
    dy = tf.transpose(dy, [1, 2, 0, 3])  # [H, W, N, K]
    kernel = [int(side) for side in kernel]
    taps = {}
    for j in range(kernel[1]):
        pixels, slopes = _meeting(j - kernel[1] // 2, width)
        x_part, dy_part = x[:, pixels], dy[:, slopes]
        for i in range(kernel[0]):
            pixels, slopes = _meeting(i - kernel[0] // 2, height)
            a = tf.reshape(x_part[pixels], [-1, channels])
            b = tf.reshape(dy_part[slopes], [-1, units])
            taps[i, j] = tf.matmul(a, b, transpose_a=True)  # [C, K]
    return tf.reshape(tf.stack([taps[key] for key in sorted(taps)]), [*kernel, channels, units])


def turned(w):
    """Return the input gradient's kernel: by 180 degrees, C and K exchanged: [h, w, C, K] -> [h, w, K, C]."""
    height, width, channels, units = (int(side) for side in w.shape)
    taps = tf.gather(tf.reshape(w, [-1, channels, units]), list(range(height * width))[::-1])
    return tf.reshape(tf.transpose(taps, [0, 2, 1]), [height, width, units, channels])


def _waves(side, period, first=0):
    """Return exp(-2 pi i f p / period) [F, side^2] for pixels p from `first` on, both ways.

    Half of the frequencies f suffices for real maps.
    """
    frequencies = np.indices([period, period // 2 + 1]).reshape(2, -1)
    pixels = np.indices([side, side]).reshape(2, -1) + first
    return np.exp(-2j * np.pi / period * frequencies.T @ pixels)


def _to_spectrum(side, period, dtype):
    """Return the matrix [2 F, side^2] from a map to its spectrum's real and imaginary parts."""
    waves = _waves(side, period)
    return tf.constant(np.concatenate([waves.real, waves.imag]), dtype)


def _from_spectrum(side, period, first, dtype):
    """Return the matrix [side^2, 2 F] from a spectrum to the pixels from `first` on of its map."""
    columns = np.indices([period, period // 2 + 1])[1].reshape(-1, 1)
    counted = np.where((columns == 0) | (2 * columns == period), 1, 2)  # twice where the other half has it too
    waves = _waves(side, period, first) * counted / period**2
    return tf.constant(np.concatenate([waves.real, waves.imag]).T, dtype)


def _meeting(offset, size):
    """Return the slices of input and of output positions that a kernel position at this offset brings together."""
    count = max(0, size - abs(offset))
    return tuple(slice(first, first + count) for first in (max(0, offset), max(0, -offset)))
