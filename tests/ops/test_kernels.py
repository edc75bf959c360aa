"""Spectral and pointwise convolution against tf.nn.conv2d and TensorFlow's own gradients."""

import numpy as np
import pytest

from graphcnn.ops import kernels
from graphcnn.ops.tf1 import cpu, session, tf, tf1

BFLOAT16 = 0.03 if cpu()["bfloat16"] else 0.05  # without the instructions, sums are rounded to bfloat16 too


def arrays(shape, seed=0):
    count, height, width, channels, units, kernel = shape
    generator = np.random.default_rng(seed)
    sizes = [(count, height, width, channels), (*kernel, channels, units), (count, height, width, units)]
    return [generator.normal(size=size).astype(np.float32) for size in sizes]


def evaluate(build, *values, dtype=tf.float32):
    """Feed arrays with an unknown batch size, as training does, to the tensors that build returns."""
    with tf1.Graph().as_default() as graph:
        placeholders = [
            tf1.placeholder(tf.float32, [None, *v.shape[1:]] if n != 1 or v.ndim == 1 else v.shape)
            for n, v in enumerate(values)
        ]
        results = [tf.cast(t, tf.float32) for t in build(*(tf.cast(each, dtype) for each in placeholders))]
        with session(graph) as running:
            return running.run(results, dict(zip(placeholders, values, strict=True)))


SPECTRAL = {  # name: (N, S, C, K, kernel)
    "two_conv's": (3, 16, 3, 4, 16),
    "odd period": (2, 11, 3, 4, 8),
    "odd kernel": (2, 12, 3, 4, 9),
    "kernel larger than the map": (2, 5, 3, 4, 9),
    "3x3 kernel, even period": (3, 7, 5, 6, 3),
    "3x3 kernel, odd period": (33, 4, 3, 2, 3),
    "map smaller than the kernel": (3, 2, 3, 4, 5),
    "a pixel": (1, 1, 2, 3, 9),
}


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 5e-6), ("bfloat16", BFLOAT16)])
@pytest.mark.parametrize("shape", SPECTRAL.values(), ids=SPECTRAL)
def test_spectral_convolution_equals_tensorflows_own(shape, dtype, tolerance):
    count, size, channels, units, kernel = shape
    values = arrays((count, size, size, channels, units, (kernel, kernel)))

    def build(convolve):
        def tensors(x, w, dy):
            y = convolve(x, w)
            return [y, *tf1.gradients(y, [x, w], dy)]

        return tensors

    own = evaluate(build(lambda x, w: tf.nn.conv2d(x, w, strides=1, padding="SAME")), *values)
    ours = evaluate(build(kernels.spectral_conv2d), *values, dtype=tf.as_dtype(dtype))
    for expected, found in zip(own, ours, strict=True):
        assert found.shape == expected.shape
        assert np.abs(found - expected).max() <= tolerance * np.abs(expected).max()


NONE, BACKWARD, BOTH, POINTWISE = ((), (False, True), (True, True), (False, False, True))
ALGORITHMS = {  # name: ((H, W, C, K, kernel, dtype), arguments of Algorithms)
    "conv4_2 of vgg": ((4, 4, 512, 512, 3, "bfloat16"), BOTH),
    "conv4_1 of vgg": ((4, 4, 256, 512, 3, "float32"), BOTH),
    "conv3_2 of vgg": ((8, 8, 256, 256, 3, "bfloat16"), BOTH),
    "conv2_2 of vgg": ((16, 16, 128, 128, 3, "bfloat16"), NONE),
    "conv1_1 of vgg": ((32, 32, 3, 64, 3, "bfloat16"), NONE),
    "few channels": ((8, 8, 64, 64, 3, "bfloat16"), BACKWARD),
    "very few channels": ((4, 4, 8, 16, 3, "bfloat16"), NONE),
    "conv4 of resnet50": ((10, 10, 256, 256, 3, "bfloat16"), BOTH),
    "conv2 of two_conv": ((16, 16, 64, 128, 16, "float32"), BOTH),
    "large kernel, few channels": ((16, 16, 3, 64, 16, "float32"), NONE),
    "large kernel, larger map": ((32, 32, 64, 64, 16, "float32"), NONE),
    "even kernel": ((4, 4, 512, 512, 2, "bfloat16"), BACKWARD),
    "a map that is not square": ((4, 32, 512, 512, 3, "bfloat16"), NONE),
    "a pixel": ((1, 1, 512, 512, 3, "bfloat16"), NONE),
    "unknown size": ((None, None, 512, 512, 3, "bfloat16"), NONE),
    "1x1 kernel": ((4, 4, 512, 512, 1, "bfloat16"), POINTWISE),
    "1x1 kernel, larger map": ((20, 20, 512, 128, 1, "bfloat16"), NONE),
    "1x1 kernel, larger map, float32": ((80, 80, 96, 24, 1, "float32"), POINTWISE),
}


@pytest.mark.parametrize(("shape", "algorithms"), ALGORITHMS.values(), ids=ALGORITHMS)
def test_the_shape_alone_chooses_the_algorithms(shape, algorithms):
    height, width, channels, units, kernel, dtype = shape
    with tf1.Graph().as_default():
        x = tf1.placeholder(dtype, [None, height, width, channels])
        w = tf1.placeholder(dtype, [kernel, kernel, channels, units])
        assert kernels.choose_algorithms(x, w) == kernels.Algorithms(*algorithms)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("bfloat16", BFLOAT16)])
@pytest.mark.parametrize(
    ("size", "channels", "units", "kernel", "algorithms"),
    [
        (4, 64, 96, 3, BOTH),
        (8, 64, 64, 3, BACKWARD),
        (8, 16, 16, 3, NONE),
        (5, 32, 48, 1, POINTWISE),
    ],
)
def test_chosen_convolution_and_gradients(size, channels, units, kernel, algorithms, dtype, tolerance):
    """Relative to the largest value, against TensorFlow's float32; at shapes that choose other algorithms."""
    values = arrays((3, size, size, channels, units, (kernel, kernel)))
    chosen = []

    def build(convolve, record=False):
        def tensors(x, w, dy):
            if record:
                chosen.append(kernels.choose_algorithms(x, w))
            y = convolve(x, w)
            return [y, *tf1.gradients(y, [x, w], dy)]

        return tensors

    own = evaluate(build(lambda x, w: tf.nn.conv2d(x, w, strides=1, padding="SAME")), *values)
    ours = evaluate(build(kernels.conv2d, record=True), *values, dtype=tf.as_dtype(dtype))
    assert chosen == [kernels.Algorithms(*algorithms)]
    for expected, found in zip(own, ours, strict=True):
        assert np.abs(found - expected).max() <= tolerance * np.abs(expected).max()


@pytest.mark.parametrize(("size", "kernel"), [(2, 3), (3, 3), (4, 3), (7, 3), (8, 5), (6, 4), (16, 16)])
def test_spectral_transforms_multiply_rarely(size, kernel):
    """A real map with period P has P * P independent coefficients: 1 or 4 real ones, and pairs of conjugates."""
    output, image, weights = kernels.spectral_transforms(size, kernel)
    period = size + kernel // 2
    real = 1 if period % 2 else 4
    products = real + 3 * (period**2 - real) // 2
    assert [matrix.shape for matrix in (output, image, weights)] == [
        (size**2, products),
        (products, size**2),
        (products, kernel**2),
    ]


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize(
    ("size", "kernel", "stride"),
    [(8, 3, 1), (8, 5, 1), (7, 3, 2), (8, 3, 2), (9, 5, 2), (8, 5, 2), (9, 3, 3), (6, 2, 1)],
)
def test_depthwise_convolution_and_gradients(size, kernel, stride, padding):
    """Against TensorFlow's own."""
    x, w, _ = arrays((3, size, size, 5, 1, (kernel, kernel)))

    def build(convolve):
        def tensors(x, w):
            y = convolve(x, w, strides=[1, stride, stride, 1], padding=padding)
            dy = tf.cos(tf.reshape(tf.range(tf.size(y), dtype=tf.float32), tf.shape(y)))
            return [y, *tf1.gradients(y, [x, w], dy)]

        return tensors

    own = evaluate(build(tf.nn.depthwise_conv2d), x, w)
    for expected, found in zip(own, evaluate(build(kernels.depthwise_conv2d), x, w), strict=True):
        assert found.shape == expected.shape
        assert found == pytest.approx(expected, abs=2e-6 * float(np.abs(expected).max()))


@pytest.mark.parametrize("own", [True, False], ids=["tensorflow's", "slice by slice"])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("bfloat16", 0.03)])
@pytest.mark.parametrize(("stride", "padding"), [(1, "SAME"), (2, "SAME"), (2, "VALID")])
def test_grouped_convolution_and_gradients(stride, padding, dtype, tolerance, own, monkeypatch):
    """Against an ungrouped convolution whose other weights are zeros."""
    groups, each, units, size = 3, 4, 6, 7
    if own and not kernels.has_grouped_gradients(tf.as_dtype(dtype)):
        pytest.skip(f"this TensorFlow has no gradients of grouped convolutions in {dtype}")
    monkeypatch.setattr(kernels, "has_grouped_gradients", lambda dtype: own)
    windows = -(-size // stride) if padding == "SAME" else (size - 3) // stride + 1
    generator = np.random.default_rng(0)
    x, w, dy = (
        generator.normal(size=size).astype(np.float32)
        for size in ((5, size, size, groups * each), (3, 3, each, units), (5, windows, windows, units))
    )
    group = np.arange(units) // (units // groups)
    insize = np.arange(groups * each)[:, None] // each == group  # [C, K]

    def ungrouped(x, w, dy):
        whole = tf.tile(w, [1, 1, groups, 1]) * insize.astype(np.float32)
        y = tf.nn.conv2d(x, whole, strides=stride, padding=padding)
        return [y, *tf1.gradients(y, [x, w], dy)]

    def grouped(x, w, dy):
        y = kernels.grouped_conv2d(x, w, groups, stride, padding)
        assert sum(op.type == "Conv2D" for op in y.graph.get_operations()) == (1 if own else groups)
        return [y, *tf1.gradients(y, [x, w], dy)]

    ours = evaluate(grouped, x, w, dy, dtype=tf.as_dtype(dtype))
    again = evaluate(grouped, x, w, dy, dtype=tf.as_dtype(dtype))
    assert [a.tobytes() for a in ours] == [a.tobytes() for a in again]
    for expected, found in zip(evaluate(ungrouped, x, w, dy), ours, strict=True):
        assert found.shape == expected.shape
        assert np.abs(found - expected).max() <= tolerance * np.abs(expected).max()


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-6), ("bfloat16", BFLOAT16)])
def test_silu_and_its_gradient(dtype, tolerance):
    x, dy = np.random.default_rng(0).normal(size=(2, 500)).astype(np.float32) * 4

    def build(function):
        def tensors(x, dy):
            y = function(x)
            return [y, *tf1.gradients(y, x, dy)]

        return tensors

    own = evaluate(build(tf.nn.silu), x, dy)
    for expected, found in zip(own, evaluate(build(kernels.silu), x, dy, dtype=tf.as_dtype(dtype)), strict=True):
        assert np.abs(found - expected).max() <= tolerance * np.abs(expected).max()


@pytest.mark.parametrize("options", [{"strides": 2}, {"padding": "VALID"}])
def test_other_strides_and_paddings_are_tensorflows(options):
    values = arrays((2, 4, 4, 256, 512, (3, 3)))[:2]
    expected = {"strides": options.get("strides", 1), "padding": options.get("padding", "SAME")}
    ours, own = evaluate(lambda x, w: [kernels.conv2d(x, w, **options), tf.nn.conv2d(x, w, **expected)], *values)
    assert np.array_equal(ours, own)


def test_the_same_bytes_every_time():
    values = arrays((40, 4, 4, 256, 512, (3, 3)))

    def build(x, w, dy):
        y = kernels.conv2d(x, w)
        return [y, *tf1.gradients(y, [x, w], dy)]

    first, second = (evaluate(build, *values, dtype=tf.bfloat16) for _ in range(2))
    assert [a.tobytes() for a in first] == [b.tobytes() for b in second]
