from types import SimpleNamespace

import numpy as np
import pytest

from graphcnn.data import statistics
from graphcnn.nets import blocks
from graphcnn.nets.sequential import NORMS
from graphcnn.ops import layers
from graphcnn.ops.batch_slice import WHOLE_BATCH, MicroBatchSlice
from graphcnn.ops.layers import Initialization, Window
from graphcnn.ops.tf1 import session, tf, tf1

BEFORE, AFTER = NORMS["before"], NORMS["after"]
INIT, DIRAC = Initialization(seed=1), Initialization(seed=1, weights="dirac")


def evaluate(build, feed=None):
    """Build tensors in a fresh graph, initialise, and return their values."""
    with tf1.Graph().as_default() as graph:
        tensors = build()
        init = tf1.global_variables_initializer()
        with session(graph) as running:
            running.run(init)
            return running.run(tensors, feed)


def test_conv2d_equals_its_definition():
    x = np.random.default_rng(0).normal(size=(2, 5, 6, 3)).astype(np.float32)

    def build():
        y = layers.conv2d(tf.constant(x), "conv", 4, Window(), INIT)
        return [y, *tf1.trainable_variables()]

    y, w, b = evaluate(build)
    assert w.shape == (3, 3, 3, 4)
    assert b.shape == (4,)
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    expected = sum(
        np.einsum("nhwc,ck->nhwk", padded[:, i : i + 5, j : j + 6], w[i, j]) for i in range(3) for j in range(3)
    )
    assert y == pytest.approx(expected + b, abs=1e-5)


def test_dense_pool_flatten():
    x = np.random.default_rng(0).normal(size=(2, 4, 4, 3)).astype(np.float32)

    def build():
        pooled = layers.max_pool(tf.constant(x), "pool", 2, stride=2)
        flat = layers.flatten(pooled, "flat")
        return [pooled, flat, layers.dense(flat, "dense", 5, INIT), *tf1.trainable_variables()]

    pooled, flat, y, w, b = evaluate(build)
    assert np.array_equal(pooled, x.reshape(2, 2, 2, 2, 2, 3).max(axis=(2, 4)))
    assert np.array_equal(flat, pooled.reshape(2, 12))
    assert y == pytest.approx(flat @ w + b, abs=1e-5)


@pytest.mark.parametrize(("channels", "filters"), [(3, 5), (5, 3)])
def test_dirac_filters_copy_their_input(channels, filters):
    x = np.random.default_rng(0).normal(size=(2, 5, 6, channels)).astype(np.float32)
    build = lambda: layers.conv2d(tf.constant(x), "conv", filters, Window(), DIRAC, bias=False)  # noqa: E731
    y, copies = evaluate(build), min(channels, filters)
    assert np.array_equal(y[..., :copies], x[..., :copies])
    plain = evaluate(lambda: layers.conv2d(tf.constant(x), "conv", filters, Window(), INIT, bias=False))
    assert np.array_equal(y[..., copies:], plain[..., copies:])


def test_whitened_patches_are_uncorrelated_with_unit_deviation():
    generator = np.random.default_rng(0)
    images = generator.normal(size=(300, 9, 9, 3)).astype(np.float32)
    images[..., 1] += images[..., 0]
    images[:, 1:] += 0.5 * images[:, :-1]
    filters = statistics.whitening_filters(iter([images[:100], images[100:]]), 2, epsilon=0)
    assert filters.shape == (2, 2, 3, 24)
    with tf1.Graph().as_default() as graph:
        y = layers.whitening(tf.constant(images), "white", 2)
        (w,) = tf1.global_variables()
        assert not tf1.trainable_variables()
        with session(graph) as running:
            running.run(w.initializer, {w.initializer.inputs[1]: filters})
            y = running.run(y)
    assert y.shape == (300, 8, 8, 24)
    assert y[..., 12:] == pytest.approx(-y[..., :12], abs=1e-5)
    flat = y[..., :12].reshape(-1, 12)
    assert flat.T @ flat / len(flat) == pytest.approx(np.eye(12), abs=1e-3)


def test_constant_directions_get_the_filters_of_the_others():
    """Grey images have three equal channels, so only four of the twelve directions vary."""
    grey = np.random.default_rng(0).normal(size=(100, 9, 9, 1)).astype(np.float32)
    filters = statistics.whitening_filters([np.repeat(grey, 3, axis=3)], 2).reshape(12, 24)
    assert np.array_equal(filters, np.concatenate([sign * filters[:, :4] for sign in (1, 1, 1, -1, -1, -1)], axis=1))
    assert (np.abs(filters).sum(axis=0) > 0.1).all()


@pytest.mark.parametrize("training", [True, False])
def test_batch_norm(training):
    x = np.random.default_rng(0).normal(2, 3, size=(4, 5, 6, 3)).astype(np.float32)
    updated = []

    def build():
        y, updates = layers.batch_norm(tf.constant(x), "norm", BEFORE, training=training)
        updated.extend((update.variable.op.name, update.momentum) for update in updates)
        assert [v.op.name for v in tf1.trainable_variables()] == ["norm/beta"]
        return [y, [update.value for update in updates]]

    y, found = evaluate(build)
    if not training:  # the moving moments' first values
        assert y == pytest.approx(x / np.sqrt(1 + 1e-5), abs=1e-5)
        assert found == []
        return
    mean, variance = x.mean(axis=(0, 1, 2)), x.var(axis=(0, 1, 2))
    assert y == pytest.approx((x - mean) / np.sqrt(variance + 1e-5), abs=1e-4)
    assert updated == [("norm/mean", 0.4), ("norm/variance", 0.4)]
    assert found[0] == pytest.approx(mean, abs=1e-4)
    assert found[1] == pytest.approx(variance * 120 / 119, rel=1e-4)  # TensorFlow estimates without bias


@pytest.mark.parametrize(("channels", "dtype"), [(16, "bfloat16"), (24, "float32"), (24, "bfloat16")])
def test_batch_norm_in_bfloat16_computes_odd_numbers_of_channels_in_float32(channels, dtype):
    x = np.random.default_rng(0).normal(2, 3, size=(8, 5, 6, channels)).astype(np.float32)
    types = set()

    def build():
        inputs = tf.cast(tf.constant(x), dtype)
        y, updates = layers.batch_norm(inputs, "norm", BEFORE, training=True)
        assert y.dtype == dtype
        (dx,) = tf1.gradients(y, inputs, tf.cast(tf.constant(x**2), dtype))
        operations = y.graph.get_operations()
        types.update(op.inputs[0].dtype.name for op in operations if op.type.startswith("FusedBatchNorm"))
        return [tf.cast(y, tf.float32), tf.cast(dx, tf.float32), updates[0].value]

    y, dx, mean = evaluate(build)
    assert types == {"bfloat16" if channels == 16 else "float32"}
    axes, tolerance = (0, 1, 2), 0.05 if dtype == "bfloat16" else 1e-4
    normal = (x - x.mean(axes)) / x.std(axes)
    gradient = (x**2 - (x**2).mean(axes) - normal * (x**2 * normal).mean(axes)) / x.std(axes)
    assert y == pytest.approx(normal, abs=tolerance)
    assert dx == pytest.approx(gradient, abs=tolerance * float(np.abs(gradient).max()))
    assert mean == pytest.approx(x.mean(axes), abs=tolerance)


FOLDED = {  # name: (layer before batch norm, whether batch norm becomes part of it)
    "convolution": (lambda x: layers.conv2d(x, "conv", 8, Window(3, 2), INIT, bias=False), True),
    "with a bias": (lambda x: layers.conv2d(x, "conv", 8, Window(), INIT), True),
    "1x1 kernel": (lambda x: layers.conv2d(x, "conv", 8, Window(1), INIT, bias=False), True),
    "padded": (lambda x: layers.conv2d(x, "conv", 8, Window(3, 2, (1, 1)), INIT, bias=False), True),
    "depthwise": (lambda x: layers.depthwise_conv2d(x, "conv", Window(3, 2), INIT), True),
    "grouped": (lambda x: layers.grouped_conv2d(x, "conv", 8, 2, Window(), INIT, portable=True), True),
    "spectral": (lambda x: layers.conv2d(x, "conv", 96, Window(), INIT, bias=False), False),
    "pool": (lambda x: layers.conv2d(x, "conv", 8, Window(), INIT, pool=Window(2, 2), bias=False), False),
    "relu": (lambda x: layers.activation(layers.conv2d(x, "conv", 8, Window(), INIT), "relu", "relu"), False),
}


@pytest.mark.parametrize("case", FOLDED)
def test_folded_batch_norm(case):
    """Batch norm of a convolution by scaled kernels has the value of batch norm."""
    layer, folds = FOLDED[case]
    channels = 64 if case == "spectral" else 8
    x = np.random.default_rng(0).normal(size=(4, 6, 6, channels)).astype(np.float32)
    with tf1.Graph().as_default() as graph:
        inputs = tf1.placeholder(tf.float32, [None, *x.shape[1:]])
        y = layer(inputs)
        plain, _ = layers.batch_norm(y, "norm", AFTER, training=False)
        with tf1.variable_scope(tf1.get_variable_scope(), reuse=True):
            folded, updates = layers.batch_norm(y, "norm", AFTER, training=False, fold=True)
        assert updates == ()
        assert folded.op.type == ("BiasAdd" if folds else "FusedBatchNormV3")
        generator = np.random.default_rng(1)
        with session(graph) as running:
            for variable in tf1.global_variables():
                variable.load(generator.uniform(0.5, 2, variable.shape).astype(np.float32), running)
            expected, found = running.run([plain, folded], {inputs: x})
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("shape", [(120, 6), (12, 3, 4, 6)])
def test_batch_norm_after_the_activation(shape):
    generator = np.random.default_rng(0)
    x = generator.normal(size=shape, loc=2, scale=3).astype(np.float32)
    values = {name: generator.uniform(0.5, 2, 6).astype(np.float32) for name in ("gamma", "beta", "mean", "variance")}

    def ours(training):
        with tf1.Graph().as_default() as graph:
            y, _ = layers.batch_norm(tf.constant(x), "norm", AFTER, training=training)
            with tf1.Session(graph=graph) as running:
                for variable in tf1.global_variables():
                    variable.load(values[variable.op.name.removeprefix("norm/")], running)
                return running.run(y)

    axes = tuple(range(len(shape) - 1))
    for training, mean, variance in (
        (False, values["mean"], values["variance"]),
        (True, x.mean(axis=axes), x.var(axis=axes)),
    ):
        expected = (x - mean) / np.sqrt(variance + 1e-3) * values["gamma"] + values["beta"]
        assert ours(training) == pytest.approx(expected, abs=1e-4)


def test_global_max_pool():
    x = np.random.default_rng(0).normal(size=(2, 4, 5, 3)).astype(np.float32)
    assert np.array_equal(evaluate(lambda: layers.global_max_pool(tf.constant(x), "pool")), x.max(axis=(1, 2)))


@pytest.mark.parametrize(
    ("shape", "fans"), [([3, 3, 64, 128], (576, 1152)), ([2048, 512], (2048, 512)), ([4096], (4096, 4096))]
)
@pytest.mark.parametrize("init", ["xavier", "he"])
def test_limit_and_spread_of_initial_weights(shape, fans, init):
    values = evaluate(lambda: layers._variable("w", shape, 3, init))
    limit = np.sqrt(6 / (sum(fans) if init == "xavier" else fans[0]))
    assert np.abs(values).max() <= limit
    assert np.abs(values).max() > 0.99 * limit
    assert values.std() == pytest.approx(limit / np.sqrt(3), rel=0.03)
    assert values.mean() == pytest.approx(0, abs=limit / 20)


def test_initial_zeros():
    assert not evaluate(lambda: layers._variable("b", [64], 3, "zeros")).any()


def test_initial_weights_depend_on_seed_and_name_alone():
    def build(names, seed):
        return {
            n: layers.dense(tf.zeros([1, 8]), n, 8, Initialization(seed)) for n in names
        } and tf1.trainable_variables()[::2]

    a, b = evaluate(lambda: build("ab", 1))
    b_first, a_second = evaluate(lambda: build("ba", 1))
    assert np.array_equal(a, a_second)
    assert np.array_equal(b, b_first)
    assert not np.array_equal(a, b)
    assert not np.array_equal(a, evaluate(lambda: build("ab", 2))[0])


class TestDropout:
    def mask(self, keep_prob=0.6, seed=1, step=0, scope="drop", rows=200):
        x = np.ones((rows, 100), np.float32)
        return evaluate(lambda: layers.dropout(tf.constant(x), scope, keep_prob, seed=seed, step=step))

    def test_keeps_a_fraction_and_scales_it(self):
        mask = self.mask()
        assert set(np.unique(mask)) == {np.float32(0), np.float32(1 / 0.6)}
        assert (mask > 0).mean() == pytest.approx(0.6, abs=0.01)

    def test_is_the_identity_at_one(self):
        assert np.array_equal(self.mask(keep_prob=1.0), np.ones((200, 100)))

    @pytest.mark.parametrize("sizes", [(200,), (64, 64, 72), (1, 199)])
    def test_batch_slices_get_the_rows_of_the_whole_batch_s_mask(self, sizes):
        x, starts = np.ones((200, 3, 4, 5), np.float32), np.cumsum((0, *sizes))

        def masks():
            options = {"seed": 1, "step": 7}
            found = [layers.dropout(tf.constant(x), "drop", 0.6, **options)]
            for first, size in zip(starts, sizes, strict=False):
                rows = tf.constant(x[first : first + size])
                found.append(layers.dropout(rows, "drop", 0.6, **options, batch_slice=MicroBatchSlice(int(first), 200)))
            return found

        whole, *slices = evaluate(masks)
        assert np.array_equal(np.concatenate(slices), whole)

    def test_depends_on_seed_scope_and_step_alone(self):
        assert np.array_equal(self.mask(), self.mask())
        for other in ({"seed": 2}, {"step": 1}, {"scope": "other"}):
            assert not np.array_equal(self.mask(), self.mask(**other))


@pytest.mark.parametrize(
    ("layer", "rank"),
    [
        (lambda x: layers.conv2d(x, "here", 4, Window(), INIT), 4),
        (lambda x: layers.max_pool(x, "here", 2, stride=2), 4),
        (lambda x: layers.flatten(x, "here"), 4),
        (lambda x: layers.whitening(x, "here", 2), 4),
        (lambda x: layers.batch_norm(x, "here", BEFORE, training=True), "2 or 4"),
        (lambda x: layers.global_max_pool(x, "here"), 4),
        (lambda x: layers.dense(x, "here", 4, INIT), 2),
        (lambda x: layers.dropout(x, "here", 0.5, seed=1, step=0), "2 or 4"),
    ],
)
def test_a_wrong_rank_names_tensor_scope_and_both_ranks(layer, rank):
    with (
        tf1.Graph().as_default(),
        tf1.variable_scope("net"),
        pytest.raises(ValueError, match=rf"layer 'net/here': tensor 'net/wrong:0' has rank 3, expected {rank}"),
    ):
        layer(tf1.placeholder(tf.float32, [None, 4, 3], name="wrong"))


@pytest.mark.parametrize(
    ("size", "windows"), [(4, [(0, 2), (1, 3), (2, 4)]), (3, [(0, 1), (1, 2), (2, 3)]), (2, [(0, 1), (0, 2), (1, 2)])]
)
def test_adaptive_average_pool(size, windows):
    """Three windows an axis, by PyTorch's documented rule."""
    x = np.random.default_rng(0).normal(size=(2, size, size, 3)).astype(np.float32)
    y = evaluate(lambda: layers.adaptive_average_pool(tf.constant(x), "pool", 3))
    expected = [[x[:, a:b, c:d].mean(axis=(1, 2)) for c, d in windows] for a, b in windows]
    assert y == pytest.approx(np.transpose(expected, (2, 0, 1, 3)), abs=1e-6)


def test_drop_connect_leaves_out_whole_images():
    context = SimpleNamespace(training=True, seed=1, step=3, batch_slice=WHOLE_BATCH)
    y = evaluate(lambda: blocks.drop_connect(tf.ones([200, 2, 2, 3]), "branch", 0.4, context)).reshape(200, -1)
    assert (y == y[:, :1]).all()
    assert np.unique(y).tolist() == pytest.approx([0, 1 / 0.6])
    assert 0.25 < (y[:, 0] == 0).mean() < 0.55
    context.batch_slice = MicroBatchSlice(50, 200)
    some = evaluate(lambda: blocks.drop_connect(tf.ones([30, 2, 2, 3]), "branch", 0.4, context)).reshape(30, -1)
    assert np.array_equal(some, y[50:80])
    context.training = False
    assert (evaluate(lambda: blocks.drop_connect(tf.ones([9, 1, 1, 1]), "branch", 0.4, context)) == 1).all()
