"""A training graph's updates: moving moments, early image size, warm-up, micro-batches."""

import dataclasses

import numpy as np
import pytest
from tiny_graphs import FAST, NO_STATISTICS, TINY, batch, started

from graphcnn.config.named import RECIPES
from graphcnn.config.recipe import Recipe
from graphcnn.graphs.loss import mean_cross_entropy
from graphcnn.graphs.training import build_training
from graphcnn.ops.tf1 import session, tf1
from graphcnn.training.steps import Batch, MicroBatchStep, WholeStep

SMALL_NET = {"net": "vgg_tiny", "head": "pooled"}  # a net for images of any size


@pytest.fixture
def tiny():
    """Return a TrainingGraph of the recipe TINY, and its session with initial weights."""
    with started(TINY) as both:
        yield both


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


def test_the_bias_multiplier_applies_to_the_vectors_that_its_help_names():
    """Batch norm after the activation has scales (gamma); without it, the net has only kernels and biases."""
    x, y = batch(rows=32)
    recipe = dataclasses.replace(
        TINY, batch_norm=True, batch_norm_position="after", optimizer="sgd", learning_rate=1e-3, l2=0.0, keep_prob=1.0,
        warmup_steps=0,
    )  # fmt: skip
    steps = []
    for multiplier in (1.0, 5.0):
        with started(dataclasses.replace(recipe, bias_lr_multiplier=multiplier)) as (graph, running):
            trained = {v.op.name: v for v in graph.variables if v.trainable}
            before = running.run(trained)
            running.run(graph.train_op, {graph.x: x, graph.y: y})
            steps.append({name: after - before[name] for name, after in running.run(trained).items()})
    plain, multiplied = steps
    factors = {name.rpartition("/")[2]: 1 if step.ndim > 1 else 5 for name, step in plain.items()}
    assert factors == {"w": 1, "b": 5, "beta": 5, "gamma": 5}
    for name, step in plain.items():
        expected = factors[name.rpartition("/")[2]] * step
        assert multiplied[name] == pytest.approx(expected, rel=0.02, abs=1e-6), name
    text = Recipe.__dataclass_fields__["bias_lr_multiplier"].metadata["help"]
    assert text == "learning-rate multiplier for biases and for the offsets and scales of batch norm"


def test_the_first_steps_use_small_images():
    """The loss of each step equals the loss of the same weights in a graph for the image size of that step."""
    x, y = batch(size=18)
    losses = {}
    for fraction in (0.0, 0.5, 1.0):
        recipe = dataclasses.replace(
            FAST, early_fraction=fraction, muon_learning_rate=1e-12, learning_rate=1e-12, l2=0.0, **SMALL_NET
        )
        with started(recipe, 4) as (graph, running):
            feed = {graph.x: x, graph.y: y}
            losses[fraction] = [running.run([graph.loss, graph.train_op], feed)[0] for _ in range(4)]
    late, mixed, early = losses.values()
    assert abs(late[-1] - early[-1]) > 1e-4
    assert mixed == pytest.approx([*early[:2], *late[2:]], abs=1e-6)


def test_an_early_step_is_a_step_on_images_of_that_size():
    """A graph that gets resized images has the same loss and, after two updates, the same weights."""
    x, y = batch(size=32)
    small = x.reshape(8, 16, 2, 16, 2, 3).mean(axis=(2, 4))
    early = dataclasses.replace(FAST, image_size=32, early_size=16, early_fraction=1.0, l2=0.0, **SMALL_NET)
    results = []
    for recipe, images in ((early, x), (dataclasses.replace(early, image_size=16, early_size=0), small)):
        with started(recipe, 4) as (graph, running):
            feed = {graph.x: images, graph.y: y}
            losses = [running.run([graph.loss, graph.train_op], feed)[0] for _ in range(2)]
            results.append([losses, *running.run([v for v in graph.variables if v.trainable])])
    for one, other in zip(*results, strict=True):
        assert one == pytest.approx(other, abs=1e-3)


def test_a_smaller_batch_moves_the_moving_moments_less():
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


@pytest.mark.parametrize("rows", [4, 16])
def test_the_largest_batch_moves_the_moving_moments_by_their_momentum(rows):
    """At a rate of almost 0, all steps have the same batch moments b, so m' - b = (1 - 0.4) (m - b) in each step."""
    x, y = batch(rows)
    recipe = dataclasses.replace(TINY, batch_norm=True, batch_size=16, learning_rate=1e-12)
    with started(recipe, largest_batch=rows) as (graph, running):
        moments = [v for v in graph.variables if v.op.name in ("conv1_1/norm/mean", "conv1_1/norm/variance")]
        steps = [running.run(moments)]
        for _ in range(2):
            running.run(graph.train_op, {graph.x: x, graph.y: y})
            steps.append(running.run(moments))
    for before, once, twice in zip(*steps, strict=True):
        assert twice - once == pytest.approx(0.6 * (once - before), rel=1e-3)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("position", ["before", "after"])
def test_frozen_batch_norm_trains_in_its_inference_form(position, precision):
    """The training pass is the inference pass. Its moments stay, and the trained weights follow its gradient."""
    x, y = batch(rows=8)
    recipe = dataclasses.replace(
        TINY, weights="a", batch_norm=True, batch_norm_position=position, freeze_batch_norm=True, l2=0.0,
        warmup_steps=0, precision=precision,
    )  # fmt: skip
    with started(recipe) as (graph, running):
        generator, feed = np.random.default_rng(0), {graph.x: x, graph.y: y}
        for variable in graph.variables:  # moments unlike those of the batch
            if "/norm/" in variable.op.name:
                value = generator.uniform(0.5, 2, variable.shape)
                running.run(variable.initializer, {variable.initializer.inputs[1]: value})
        moments = [v for v in graph.variables if v.op.name.endswith(("/norm/mean", "/norm/variance"))]
        weights = [v for v in graph.variables if v.trainable]
        assert (len(moments), {"beta"} <= {v.op.name.rpartition("/")[2] for v in weights}) == (6, True)
        with graph.graph.as_default():
            inference = mean_cross_entropy(graph.logits, graph.y)
            gradients = tf1.gradients(inference, weights)
        loss, expected, slopes, old, kept = running.run([graph.loss, inference, gradients, weights, moments], feed)
        running.run(graph.train_op, feed)
        new, after = running.run([weights, moments])
    assert loss == expected
    for before, slope, value in zip(old, slopes, new, strict=True):
        assert np.abs(slope).max() > 0
        assert value == pytest.approx(before - np.float32(0.1) * slope, abs=1e-6)
    for before, value in zip(kept, after, strict=True):
        assert np.array_equal(before, value)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_fast_recipe_memorises_a_batch(precision):
    x, y = batch(rows=16, size=18)
    with started(dataclasses.replace(FAST, precision=precision, lookahead=2), 20) as (graph, running):
        feed = {graph.x: x, graph.y: y}
        entropies = [running.run([graph.cross_entropy, graph.train_op], feed)[0] for _ in range(20)]
        assert entropies[-1] < 0.3 < entropies[0]
        assert running.run(graph.finite)


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


def test_the_whole_default_net_memorises_a_batch():
    """Ten steps of the assignment's net, warmed up: the cross-entropy of eight images falls well below guessing."""
    recipe = dataclasses.replace(RECIPES["assignment"].recipe, warmup_steps=5, learning_rate=3e-4)
    graph = build_training(recipe, (32, 32), 10, NO_STATISTICS, 100)
    x, y = batch(rows=8, size=32)
    with session(graph.graph) as running:
        running.run(graph.initialize)
        feed = {graph.x: x, graph.y: y, graph.keep_prob: 0.6}
        entropies = [running.run([graph.cross_entropy, graph.train_op], feed)[0] for _ in range(12)]
        finite = running.run(graph.finite)
    assert min(entropies[-3:]) < 1.2 < np.log(10)
    assert finite


@pytest.mark.parametrize(
    ("micro_batch", "class_weights"),
    [(1, None), (5, None), (5, [0.2, 2.0, 0.8]), (8, None), (24, None), (100, None)],
)
def test_micro_batches_update_like_the_whole_batch(micro_batch, class_weights):
    """Two steps of 24 rows with dropout, L2 and smoothing: up to rounding the same weights."""
    recipe = dataclasses.replace(TINY, keep_prob=0.5, label_smoothing=0.1, batch_size=24)
    x, y = batch(24)

    def weights(recipe):
        with started(recipe, class_weights=class_weights) as (graph, running):
            step = WholeStep(running, graph, graph.x, 0.5)
            if recipe.micro_batch:
                step = MicroBatchStep(running, graph, graph.x, 0.5, recipe.micro_batch)
            for _ in range(2):
                losses, correct = 0.0, 0
                for first, rows in step.slices(np.arange(24)):
                    result = step(Batch(x[rows], y[rows], first, 24), 0)
                    losses, correct = losses + result.loss, correct + result.correct
            assert running.run(graph.step) == 2
            return running.run([v for v in graph.variables if v.trainable]), losses, correct

    expected, loss, correct = weights(recipe)
    found, summed_loss, summed_correct = weights(dataclasses.replace(recipe, micro_batch=micro_batch))
    assert summed_loss == pytest.approx(loss, rel=1e-5)
    assert summed_correct == correct
    for a, b in zip(found, expected, strict=True):
        assert a == pytest.approx(b, abs=2e-6)
