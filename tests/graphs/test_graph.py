import contextlib
import dataclasses
import itertools

import numpy as np
import pytest

from graphcnn.common.errors import SettingError
from graphcnn.config.named import RECIPES
from graphcnn.config.recipe import Recipe
from graphcnn.data import batches
from graphcnn.graphs.inference import build_inference, count_parameters
from graphcnn.graphs.loss import l2_penalty
from graphcnn.graphs.training import build_training
from graphcnn.nets.registry import ARCHITECTURES, NETS
from graphcnn.ops.tf1 import session, tf, tf1
from graphcnn.training.loop import _step as training_step


def weights(*sizes, kernel=3):
    """Return the scalars of square convolutions with biases, from sizes[0] channels on."""
    kernels = kernel if isinstance(kernel, tuple) else (kernel,) * (len(sizes) - 1)
    return sum(k * k * a * b + b for k, a, b in zip(kernels, sizes, sizes[1:], strict=False))


def dense(*sizes):
    return sum(a * b + b for a, b in itertools.pairwise(sizes))


SEVEN = weights(3, 32, 64, 64, 64, 128)
SIX = (3, 16, 32, 64, 64, 128, 128)
PARAMETERS = {  # trainable scalars at 10 classes, worked out by hand from the layers' shapes; photo nets at 300x300
    "vgg": 15_458_378,
    "vgg_no_256": weights(3, 64, 64, 128, 128, 512, 512, 512) + dense(4 * 4 * 512, 2048, 2048, 10),
    "vgg_no_512": weights(3, 64, 64, 128, 128, 256, 256) + dense(4 * 4 * 256, 2048, 2048, 10),
    "vgg_one_dense": weights(3, 64, 64, 128, 128, 256, 256, 512, 512, 512) + dense(2 * 2 * 512, 10),
    "one_conv": weights(3, 64, kernel=5) + dense(16 * 16 * 64, 10),
    "two_conv": weights(3, 64, kernel=5) + weights(64, 128, kernel=16) + dense(8 * 8 * 128, 10),
    "four_layer": weights(3, 32, 32, 32) + dense(4 * 4 * 32, 10),
    "six_layer_1": weights(3, 32, 32, 32, 32) + dense(2 * 2 * 32, 10),
    "six_layer_2": weights(3, 16, 32, 64, 128, 256) + dense(256, 10),
    "six_layer_3": SEVEN + dense(128, 10),
    "seven_layer": SEVEN + dense(128, 128, 10),
    "seven_layer_doubled": weights(3, 32, 32, 64, 64, 64, 64, 64, 64, 128, 128) + dense(128, 128, 10),
    "dense_only": dense(32 * 32 * 3, 512, 256, 10),
    "photos_three": weights(3, 32, 128, 512, kernel=(5, 5, 3)) + dense(35 * 35 * 512, 10),
    "photos_strided": weights(3, 16, 32, 64, 128, kernel=(5, 5, 3, 3)) + dense(2 * 2 * 128, 10),
    "photos_strided_two_dense": weights(3, 16, 32, 64, 128, kernel=(5, 5, 3, 3)) + dense(2 * 2 * 128, 128, 10),
    "photos_four": weights(3, 16, 32, 64, 128) + dense(18 * 18 * 128, 10),
    "photos_six": weights(*SIX, kernel=(5, 5, 5, 3, 3, 3)) + dense(2 * 2 * 128, 10),
    "photos_seven": weights(*SIX, 256, kernel=(5, 5, 4, 3, 3, 2, 2)) + dense(2 * 2 * 256, 10),
    "vgg_tiny": (27 * 8 + 8) + (72 * 8 + 8) + (72 * 16 + 16) + (4 * 4 * 16 * 16 + 16) + (16 * 10 + 10),
    "vgg6": (27 * 48 + 48)
    + (9 * 48 * 48 + 48)
    + (9 * 48 * 192 + 192)
    + (9 * 192 * 192 + 192)
    + (9 * 192 * 384 + 384)
    + (9 * 384 * 384 + 384)
    + 384 * 10,
}
PUBLISHED = {  # all scalars at 1,000 classes, as Keras lists them, moving moments included; PyTorch's without these
    "vgg16": 138_357_544,
    "vgg19": 143_667_240,
    "inception_v3": 23_851_784,
    "inception_resnet_v2": 55_873_736,
    "resnet50": 25_636_712,
    "resnet50_v2": 25_613_800,
    "resnet152_v2": 60_380_648,
    "xception": 22_910_480,
    "densenet201": 20_242_984,
    "mobilenet": 4_253_864,
    "mobilenet_v2": 3_538_984,
    "efficientnet_b0": 5_330_571 - 7,  # of its Normalization layer
}
PUBLISHED_TRAINABLE = {
    "alexnet": 61_100_840,
    "googlenet": 13_004_888,  # with its auxiliary classifiers
    "resnext50_32x4d": 25_028_904,
    "efficientnet_lite0": 4_652_008,
}
TINY = Recipe(
    net="vgg_tiny",
    image_size=16,
    l2=0.01,
    keep_prob=1.0,
    warmup_steps=4,
    optimizer="sgd",
    learning_rate=0.1,
    precision="float32",
)
NO_STATISTICS = (np.zeros(3), np.ones(3))
TRICKS = dataclasses.replace(
    RECIPES["fast"].recipe, image_size=18, early_size=16, batch_size=8, precision="float32", l2=0.01
)


def batch(rows=8, side=16, seed=0, scale=1.0):
    generator = np.random.default_rng(seed)
    return (generator.normal(size=(rows, side, side, 3)) * scale).astype(np.float32), generator.integers(0, 3, rows)


@contextlib.contextmanager
def started(recipe, total_steps=100):
    """Yield a training graph of images of the recipe's own size, 3 classes, and its session, initialised."""
    graph = build_training(recipe, (recipe.image_size,) * 2, 3, NO_STATISTICS, total_steps)
    with session(graph.graph) as running:
        running.run(graph.initialize)
        if graph.whitening_filters is not None:
            filters = np.random.default_rng(0).normal(size=graph.whitening_filters.shape, scale=0.3)
            running.run(graph.whitening_filters.initializer, {graph.whitening_filters.initializer.inputs[1]: filters})
        yield graph, running


@pytest.fixture
def tiny():
    """A tiny training graph with its session, initialised: (Graph, session)."""
    with started(TINY) as both:
        yield both


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameter_counts(name):
    side = 300 if name.startswith("photos") else 32
    graph = build_inference(Recipe(net=name, image_size=side), (side, side), 10)
    assert count_parameters(graph) == PARAMETERS[name]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_parameter_counts_are_the_published_ones(name):
    side = ARCHITECTURES[name].image_size
    graph = build_inference(Recipe(net=name, image_size=side), (side, side), 1000)
    if name in PUBLISHED_TRAINABLE:
        assert count_parameters(graph) == PUBLISHED_TRAINABLE[name]
    else:
        own = [v for v in graph.variables if not v.op.name.startswith("normalisation/")]
        assert sum(int(np.prod(v.shape)) for v in own) == PUBLISHED[name]


def test_every_net_has_its_count_here():
    assert set(PARAMETERS) | set(PUBLISHED) | set(PUBLISHED_TRAINABLE) == set(NETS)
    assert set(PUBLISHED) | set(PUBLISHED_TRAINABLE) == set(ARCHITECTURES)


@pytest.mark.parametrize("training", [True, False])
def test_public_tensors(training):
    if training:
        graph = build_training(Recipe(net="vgg_tiny"), (28, 30), 5, NO_STATISTICS, 100).graph
    else:
        graph = build_inference(Recipe(net="vgg_tiny"), (28, 30), 5).graph
    expected = {
        "x:0": ("float32", [None, 28, 30, 3]),
        "y:0": ("int32", [None]),
        "keep_prob:0": ("float32", []),
        "training:0": ("bool", []),
        "tta:0": ("bool", []),
        "logits:0": ("float32", [None, 5]),
        "hypothesis:0": ("float32", [None, 5]),
    }
    found = {name: graph.get_tensor_by_name(name) for name in expected}
    assert {name: (t.dtype.name, t.shape.as_list()) for name, t in found.items()} == expected
    kinds = {op.type for op in graph.get_operations()}
    assert ("ResourceApplyAdam" in kinds) == training
    assert not any(kind.startswith("RandomUniform") or kind == "RandomShuffle" for kind in kinds)  # stateful ones


def test_defaults_mean_inference(tiny):
    graph, running = tiny
    x, _ = batch()
    logits, hypothesis = running.run([graph.logits, graph.hypothesis], {graph.x: x})
    explicit = {graph.x: x, graph.keep_prob: 1.0, graph.training: False, graph.tta: False}
    assert np.array_equal(logits, running.run(graph.logits, explicit))
    with started(dataclasses.replace(TINY, keep_prob=0.6)) as (graph, running):
        kept, dropped = (running.run(graph.logits, {graph.x: x, graph.keep_prob: share}) for share in (1.0, 0.5))
        assert np.array_equal(kept, logits)
        assert not np.array_equal(dropped, logits)
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    assert hypothesis == pytest.approx(exponents / exponents.sum(axis=1, keepdims=True), abs=1e-6)


def test_loss_is_cross_entropy_plus_l2_of_the_matrices(tiny):
    graph, running = tiny
    x, y = batch()
    loss, entropy, softmax = running.run([graph.loss, graph.cross_entropy, graph.hypothesis], {graph.x: x, graph.y: y})
    weights = [w for w in running.run([v for v in graph.variables if v.trainable]) if w.ndim > 1]
    assert len(weights) == 5
    assert entropy == pytest.approx(-np.log(softmax[np.arange(8), y]).mean(), rel=1e-5)
    assert loss == pytest.approx(entropy + 0.01 * sum((w.astype(np.float64) ** 2).sum() for w in weights) / 2, rel=1e-5)


def test_label_smoothing_against_its_closed_form():
    x, y = batch()
    with started(dataclasses.replace(TINY, label_smoothing=0.3, l2=0.0)) as (graph, running):
        loss, entropy, softmax = running.run(
            [graph.loss, graph.cross_entropy, graph.hypothesis], {graph.x: x, graph.y: y}
        )
    targets = np.full((8, 3), 0.1) + 0.7 * np.eye(3)[y]
    assert loss == pytest.approx(-(targets * np.log(softmax)).sum(axis=1).mean(), rel=1e-5)
    assert entropy == pytest.approx(-np.log(softmax[np.arange(8), y]).mean(), rel=1e-5)


def test_batch_norm_s_moving_moments_follow_the_batches_and_serve_inference():
    """After many updates at a rate of almost 0 inference with the moving moments equals training's normalisation."""
    x, y = batch(rows=32)
    recipe = dataclasses.replace(TINY, batch_norm=True, learning_rate=1e-12, l2=0.0, batch_size=32)
    with started(recipe) as (graph, running):
        feed = {graph.x: x, graph.y: y}
        moving = {v.op.name: v for v in graph.variables if v.op.name.endswith(("/mean", "/variance"))}
        del moving["normalisation/mean"]
        assert len(moving) == 6
        before = running.run(moving)
        entropy, _ = running.run([graph.cross_entropy, graph.train_op], feed)
        once = running.run(moving)
        for _ in range(40):
            running.run(graph.train_op, feed)
        settled, softmax = running.run([moving, graph.hypothesis], {graph.x: x})
        for name, value in once.items():  # a step goes 0.4 of the way
            assert value == pytest.approx(0.6 * before[name] + 0.4 * settled[name], rel=1e-3, abs=1e-5), name
        assert -np.log(softmax[np.arange(32), y]).mean() == pytest.approx(entropy, rel=0.01)


def test_the_first_steps_see_small_images():
    """The loss of a step is that of the same weights in a graph of its own for that size."""
    x, y = batch(side=18)
    losses = {}
    for share in (0.0, 0.5, 1.0):
        recipe = dataclasses.replace(
            TRICKS, early_fraction=share, muon_learning_rate=1e-12, learning_rate=1e-12, l2=0.0
        )
        with started(recipe, 4) as (graph, running):
            feed = {graph.x: x, graph.y: y}
            losses[share] = [running.run([graph.loss, graph.train_op], feed)[0] for _ in range(4)]
    late, mixed, early = losses.values()
    assert abs(late[-1] - early[-1]) > 1e-4
    assert mixed == pytest.approx([*early[:2], *late[2:]], abs=1e-6)


def test_an_early_step_is_a_step_on_images_of_that_size():
    """The same weights, the images resized outside: the same loss and, after two updates, the same weights."""
    x, y = batch(side=32)
    small = x.reshape(8, 16, 2, 16, 2, 3).mean(axis=(2, 4))
    early = dataclasses.replace(TRICKS, image_size=32, early_size=16, early_fraction=1.0, l2=0.0)
    results = []
    for recipe, images in ((early, x), (dataclasses.replace(early, image_size=16, early_size=0), small)):
        with started(recipe, 4) as (graph, running):
            feed = {graph.x: images, graph.y: y}
            losses = [running.run([graph.loss, graph.train_op], feed)[0] for _ in range(2)]
            results.append([losses, *running.run([v for v in graph.variables if v.trainable])])
    for one, other in zip(*results, strict=True):
        assert one == pytest.approx(other, abs=1e-3)


def test_a_partial_batch_moves_the_moving_moments_by_its_share():
    x, y = batch(rows=4)
    recipe = dataclasses.replace(TINY, batch_norm=True, batch_size=16)
    with started(recipe) as (graph, running):
        mean = next(v for v in graph.variables if v.op.name == "conv1_1/norm/mean")
        moved = []
        for copies in (1, 4):  # the same images, so the same moments
            running.run(graph.initialize)
            running.run(graph.train_op, {graph.x: np.tile(x, (copies, 1, 1, 1)), graph.y: np.tile(y, copies)})
            moved.append(running.run(mean))
    assert moved[1] == pytest.approx(4 * moved[0], rel=1e-4)
    assert np.abs(moved[1]).min() > 1e-4


VIEWS = {  # (flip, translate): [(mirrored, down, right, share)]
    ("none", 2): [(0, 0, 0, 0.5), (0, -1, -1, 0.25), (0, 1, 1, 0.25)],
    ("random", 0): [(0, 0, 0, 0.5), (1, 0, 0, 0.5)],
    ("alternating", 2): [(m, d, d, share / 2) for m in (0, 1) for d, share in ((0, 0.5), (-1, 0.25), (1, 0.25))],
    ("none", 0): [(0, 0, 0, 1.0)],
}


@pytest.mark.parametrize(("flip", "translate"), VIEWS)
def test_tta_is_the_mean_of_the_views_logits(flip, translate):
    x, _ = batch(rows=5, side=18)
    padded = np.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)], "reflect")
    with started(dataclasses.replace(TRICKS, flip=flip, translate=translate)) as (graph, running):
        expected = 0
        for mirrored, down, right, share in VIEWS[flip, translate]:
            view = padded[:, 1 + down : 19 + down, 1 + right : 19 + right]
            expected += share * running.run(graph.logits, {graph.x: view[:, :, ::-1] if mirrored else view})
        plain = running.run(graph.logits, {graph.x: x})
        assert np.array_equal(plain, running.run(graph.logits, {graph.x: x, graph.tta: False}))
        found = running.run(graph.logits, {graph.x: x, graph.tta: True})
    assert found == pytest.approx(expected, abs=1e-5)
    assert (np.abs(found - plain).max() > 1e-4) == (len(VIEWS[flip, translate]) > 1)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_fast_recipe_learns_a_batch_by_heart(precision):
    x, y = batch(rows=16, side=18)
    with started(dataclasses.replace(TRICKS, precision=precision, lookahead=2), 20) as (graph, running):
        feed = {graph.x: x, graph.y: y}
        entropies = [running.run([graph.cross_entropy, graph.train_op], feed)[0] for _ in range(20)]
        assert entropies[-1] < 0.3 < entropies[0]
        assert running.run(graph.finite)


def test_training_and_inference_graphs_share_their_variables():
    names = []
    for graph in (build_training(TRICKS, (18, 18), 3, NO_STATISTICS, 4), build_inference(TRICKS, (18, 18), 3)):
        names.append({v.op.name: v.shape.as_list() for v in graph.variables})
    assert names[0] == names[1]


def test_early_size_wants_a_net_for_any_size():
    with pytest.raises(
        SettingError, match="early_size=20: the dense layers of net=vgg fit one image size only; use early_size=0"
    ):
        build_inference(Recipe(early_size=20), (32, 32), 10)


def test_l2_closed_form():
    with tf1.Graph().as_default() as graph:
        tf1.get_variable("w", initializer=np.full((2, 3), 2.0, np.float32))
        tf1.get_variable("b", initializer=np.full(5, 9.0, np.float32))  # rank 1: not counted
        tf1.get_variable("fixed", initializer=np.full((2, 3), 7.0, np.float32), trainable=False)
        penalty = l2_penalty(0.5, tf1.trainable_variables())
        with session(graph) as running:
            running.run(tf1.variables_initializer(tf1.global_variables()))
            assert running.run(penalty) == pytest.approx(0.5 * 6 * 4 / 2)


GRADIENTS = {  # name: (recipe, relative tolerance)
    "plain": (TINY, 0.02),
    "batch norm": (
        dataclasses.replace(TINY, batch_norm=True, whitening_patch_size=2, init="dirac", label_smoothing=0.2),
        0.03,
    ),
    "silu": (dataclasses.replace(TINY, activation="silu"), 0.02),
}


@pytest.mark.parametrize("case", GRADIENTS)
def test_gradients_against_finite_differences(case):
    """Central differences of the loss along a random direction in each variable; the step avoids ReLU's kinks."""
    recipe, tolerance = GRADIENTS[case]
    with started(recipe) as (graph, running):
        check_gradients(graph, running, tolerance)


def check_gradients(graph, running, tolerance):
    x, y = batch(rows=16)
    weights = [v for v in graph.variables if v.trainable]
    with graph.graph.as_default():
        gradients = tf1.gradients(graph.loss, weights)
        loss64 = tf.cast(graph.loss, tf.float64)
        places = [tf1.placeholder(tf.float32, v.shape) for v in weights]
        assigns = [v.assign(p) for v, p in zip(weights, places, strict=True)]
    feed = {graph.x: x, graph.y: y}
    values, slopes = running.run([weights, gradients], feed)
    generator = np.random.default_rng(1)
    for n, (value, slope) in enumerate(zip(values, slopes, strict=True)):
        direction = generator.normal(size=value.shape).astype(np.float32)
        direction += 3 * slope / (np.abs(slope).mean() + 1e-12)  # mostly downhill, so the slope is not lost in rounding
        direction /= np.linalg.norm(direction)
        step, losses = 2e-3, []
        for sign in (1, -1):
            running.run(assigns[n], {places[n]: value + sign * step * direction})
            losses.append(running.run(loss64, feed))
        running.run(assigns[n], {places[n]: value})
        numeric = (losses[0] - losses[1]) / (2 * step)
        assert numeric == pytest.approx(float((slope * direction).sum()), rel=tolerance, abs=5e-4), weights[n].name


def test_one_step_follows_the_gradient_at_the_warmed_up_rate(tiny):
    graph, running = tiny
    x, y = batch()
    weights = [v for v in graph.variables if v.trainable]
    with graph.graph.as_default():
        gradients = tf1.gradients(graph.loss, weights)
    feed = {graph.x: x, graph.y: y}
    for rate in (0.1 / 4, 0.2 / 4, 0.3 / 4, 0.1, 0.1):  # four steps of warm-up, then constant
        before, slopes = running.run([weights, gradients], feed)
        running.run(graph.train_op, feed)
        for old, slope, new in zip(before, slopes, running.run(weights), strict=True):
            assert new == pytest.approx(old - np.float32(rate) * slope, abs=1e-6)
    assert running.run(graph.step) == 5


@pytest.mark.parametrize(("scale", "offset"), [((2.0, 3.0, 4.0), (10.0, 20.0, 30.0))])
def test_normalisation_is_inside_the_graph(scale, offset):
    raw = build_training(TINY, (16, 16), 3, (np.array(offset), np.array(scale)), 100)
    plain = build_training(TINY, (16, 16), 3, NO_STATISTICS, 100)
    x, _ = batch()
    logits = []
    for graph, images in ((raw, x * np.array(scale) + np.array(offset)), (plain, x)):
        with session(graph.graph) as running:
            running.run(graph.initialize)
            logits.append(running.run(graph.logits, {graph.x: images}))
    assert logits[0] == pytest.approx(logits[1], abs=1e-4)


@pytest.mark.parametrize("side", [8, 16, 32])
def test_other_sizes_are_resized_in_the_graph(side):
    graph = build_training(TINY, (side, side), 3, NO_STATISTICS, 100)
    flat = np.broadcast_to(np.array([1.0, -2.0, 3.0], np.float32), (2, side, side, 3))
    same = build_training(TINY, (16, 16), 3, NO_STATISTICS, 100)
    logits = []
    for built, images in ((graph, flat), (same, flat[:1, :1, :1] + np.zeros((2, 16, 16, 3), np.float32))):
        with session(built.graph) as running:
            running.run(built.initialize)
            logits.append(running.run(built.logits, {built.x: images}))
    assert logits[0] == pytest.approx(logits[1], abs=1e-4)


def test_bfloat16_agrees_with_float32_and_keeps_master_weights():
    x, y = batch(rows=32)
    results = {}
    for precision in ("float32", "bfloat16"):
        graph = build_training(dataclasses.replace(TINY, precision=precision), (16, 16), 3, NO_STATISTICS, 100)
        assert {v.dtype.base_dtype for v in graph.variables} == {tf.float32}
        assert graph.loss.dtype == graph.hypothesis.dtype == tf.float32
        convolutions = {op.outputs[0].dtype.name for op in graph.graph.get_operations() if op.type == "Conv2D"}
        assert convolutions == {precision}
        with session(graph.graph) as running:
            running.run(graph.initialize)
            results[precision] = running.run([graph.hypothesis, graph.loss], {graph.x: x, graph.y: y})
    assert results["bfloat16"][0] == pytest.approx(results["float32"][0], abs=0.02)
    assert results["bfloat16"][1] == pytest.approx(results["float32"][1], rel=0.02)


def test_the_whole_default_net_learns_a_batch_by_heart():
    """Ten steps of the assignment's net, warmed up: the cross-entropy of eight images falls well below guessing."""
    recipe = dataclasses.replace(RECIPES["assignment"].recipe, warmup_steps=5, learning_rate=3e-4)
    graph = build_training(recipe, (32, 32), 10, NO_STATISTICS, 100)
    x, y = batch(rows=8, side=32)
    with session(graph.graph) as running:
        running.run(graph.initialize)
        feed = {graph.x: x, graph.y: y, graph.keep_prob: 0.6}
        entropies = [running.run([graph.cross_entropy, graph.train_op], feed)[0] for _ in range(12)]
        finite = running.run(graph.finite)
    assert min(entropies[-3:]) < 1.2 < np.log(10)
    assert finite


def test_a_portable_graph_has_tensorflow_s_own_operations_and_gradients():
    """Other programs restore and differentiate it; the same weights give the same answer in the faster forms."""
    recipe = dataclasses.replace(RECIPES["assignment"].recipe, precision="float32")
    x, _ = batch(rows=3, side=32)
    logits = []
    for portable in (True, False):
        graph = build_inference(recipe, (32, 32), 10, portable=portable)
        kinds = {op.type for op in graph.graph.get_operations()}
        assert ("IdentityN" in kinds) != portable
        with graph.graph.as_default():
            init = tf1.global_variables_initializer()
            if portable:
                assert all(g is not None for g in tf1.gradients(graph.logits, graph.variables))
        with session(graph.graph) as running:
            running.run(init)
            logits.append(running.run(graph.logits, {graph.x: x}))
    assert logits[0] == pytest.approx(logits[1], abs=1e-5)


def test_no_l2_costs_nothing():
    graph = build_training(dataclasses.replace(TINY, l2=0.0), (16, 16), 3, NO_STATISTICS, 100)
    assert "L2Loss" not in {op.type for op in graph.graph.get_operations()}


def test_unknown_net():
    with pytest.raises(SettingError, match="net: unknown name 'vg'; did you mean 'vgg'"):
        build_inference(Recipe(net="vg"), (32, 32), 10)


@pytest.mark.parametrize("micro_batch", [1, 5, 8, 24, 100])
def test_micro_batches_make_the_whole_batch_s_step(micro_batch):
    """Two steps of 24 rows with dropout, L2 and smoothing: up to rounding the same weights."""
    recipe = dataclasses.replace(TINY, keep_prob=0.5, label_smoothing=0.1, batch_size=24)
    x, y = batch(24)

    def weights(recipe):
        with started(recipe) as (graph, running):
            for _ in range(2):
                losses, correct = 0.0, 0
                for first, part in batches.micro_batches(np.arange(24), recipe.micro_batch):
                    feed = {graph.x: x[part], graph.y: y[part], graph.keep_prob: 0.5}
                    loss, _, right, _ = training_step(running, graph, feed, first, 24)
                    losses, correct = losses + loss, correct + right
            assert running.run(graph.step) == 2
            return running.run([v for v in graph.variables if v.trainable]), losses, correct

    expected, loss, correct = weights(recipe)
    found, parts_loss, parts_correct = weights(dataclasses.replace(recipe, micro_batch=micro_batch))
    assert parts_loss == pytest.approx(loss, rel=1e-5)
    assert parts_correct == correct
    for a, b in zip(found, expected, strict=True):
        assert a == pytest.approx(b, abs=2e-6)
