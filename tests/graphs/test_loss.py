"""The loss against closed forms, and its gradients against finite differences."""

import dataclasses

import numpy as np
import pytest
from tiny_graphs import NO_STATISTICS, TINY, batch, started

from graphcnn.graphs.loss import add_auxiliary, l2_penalty
from graphcnn.graphs.training import build_training
from graphcnn.nets.blocks import Auxiliary
from graphcnn.ops.tf1 import session, tf, tf1


@pytest.fixture
def tiny():
    """Return a TrainingGraph of the recipe TINY, and its session with initial weights."""
    with started(TINY) as both:
        yield both


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


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_class_weights_against_their_closed_form(smoothing):
    """The mean over the images of weight times cross-entropy; the reported cross-entropy has no weights."""
    (x, y), class_weights = batch(), np.array([0.5, 3.0, 1.25])
    recipe = dataclasses.replace(TINY, label_smoothing=smoothing, l2=0.0)
    with started(recipe, class_weights=class_weights) as (graph, running):
        fetches = [graph.loss, graph.cross_entropy, graph.hypothesis]
        loss, entropy, softmax = running.run(fetches, {graph.x: x, graph.y: y})
    targets = smoothing / 3 + (1 - smoothing) * np.eye(3)[y]
    assert loss == pytest.approx(-(class_weights[y] * (targets * np.log(softmax)).sum(axis=1)).mean(), rel=1e-5)
    assert entropy == pytest.approx(-np.log(softmax[np.arange(8), y]).mean(), rel=1e-5)


def test_class_weights_of_auxiliary_classifiers():
    generator, labels = np.random.default_rng(0), [0, 2, 2, 1]
    logits, class_weights = generator.normal(size=(4, 3)), np.array([0.5, 3.0, 1.25])
    entropies = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(4), labels]
    with tf1.Graph().as_default() as graph:
        auxiliary = [Auxiliary(0.3, tf.constant(logits, tf.float32))]
        weights = tf.constant(class_weights, tf.float32)
        loss = add_auxiliary(tf.constant(2.0), auxiliary, tf.constant(labels), 0.0, weights)
        with session(graph) as running:
            assert running.run(loss) == pytest.approx(2 + 0.3 * (class_weights[labels] * entropies).mean(), rel=1e-5)


def test_l2_closed_form():
    with tf1.Graph().as_default() as graph:
        tf1.get_variable("w", initializer=np.full((2, 3), 2.0, np.float32))
        tf1.get_variable("b", initializer=np.full(5, 9.0, np.float32))  # rank 1: not counted
        tf1.get_variable("fixed", initializer=np.full((2, 3), 7.0, np.float32), trainable=False)
        penalty = l2_penalty(0.5, tf1.trainable_variables())
        with session(graph) as running:
            running.run(tf1.variables_initializer(tf1.global_variables()))
            assert running.run(penalty) == pytest.approx(0.5 * 6 * 4 / 2)


def test_without_l2_the_graph_has_no_l2_operation():
    graph = build_training(dataclasses.replace(TINY, l2=0.0), (16, 16), 3, NO_STATISTICS, 100)
    assert "L2Loss" not in {op.type for op in graph.graph.get_operations()}


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
        placeholders = [tf1.placeholder(tf.float32, v.shape) for v in weights]
        assigns = [v.assign(p) for v, p in zip(weights, placeholders, strict=True)]
    feed = {graph.x: x, graph.y: y}
    values, slopes = running.run([weights, gradients], feed)
    generator = np.random.default_rng(1)
    for n, (value, slope) in enumerate(zip(values, slopes, strict=True)):
        direction = generator.normal(size=value.shape).astype(np.float32)
        direction += 3 * slope / (np.abs(slope).mean() + 1e-12)  # mostly downhill, so the slope is not lost in rounding
        direction /= np.linalg.norm(direction)
        step, losses = 2e-3, []
        for sign in (1, -1):
            running.run(assigns[n], {placeholders[n]: value + sign * step * direction})
            losses.append(running.run(loss64, feed))
        running.run(assigns[n], {placeholders[n]: value})
        numeric = (losses[0] - losses[1]) / (2 * step)
        assert numeric == pytest.approx(float((slope * direction).sum()), rel=tolerance, abs=5e-4), weights[n].name
