"""The public tensors of a graph, its defaults, precision and portable form."""

import dataclasses

import numpy as np
import pytest
from scipy.special import softmax
from tiny_graphs import FAST, NO_STATISTICS, TINY, batch, started

from graphcnn.config.named import RECIPES
from graphcnn.config.recipe import Recipe
from graphcnn.graphs.inference import build_inference
from graphcnn.graphs.training import build_training
from graphcnn.ops.tf1 import session, tf, tf1


@pytest.fixture
def tiny():
    """Return a TrainingGraph of the recipe TINY, and its session with initial weights."""
    with started(TINY) as both:
        yield both


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
        kept, dropped = (
            running.run(graph.logits, {graph.x: x, graph.keep_prob: keep_prob}) for keep_prob in (1.0, 0.5)
        )
        assert np.array_equal(kept, logits)
        assert not np.array_equal(dropped, logits)
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    assert hypothesis == pytest.approx(exponents / exponents.sum(axis=1, keepdims=True), abs=1e-6)


def test_a_temperature_changes_only_the_hypothesis():
    """Without one, the graph has no further operation."""
    x, _ = batch()
    nodes, outputs = [], []
    for temperature in (None, 2.5):
        graph = build_inference(TINY, (16, 16), 3, temperature=temperature)
        with graph.graph.as_default():
            init = tf1.global_variables_initializer()
        nodes.append({node.name: node for node in graph.graph.as_graph_def().node})
        with session(graph.graph) as running:
            running.run(init)
            outputs.append(running.run([graph.logits, graph.hypothesis], {graph.x: x}))
    (logits, hypothesis), (same, calibrated) = outputs
    assert np.array_equal(logits, same)
    assert hypothesis == pytest.approx(softmax(logits, axis=1), abs=1e-6)
    assert calibrated == pytest.approx(softmax(logits / 2.5, axis=1), abs=1e-6)
    assert set(nodes[1]) - set(nodes[0]) == {"calibrated_logits", "calibrated_logits/y"}
    assert {name for name, node in nodes[0].items() if node != nodes[1][name]} == {"hypothesis"}


def test_training_and_inference_graphs_share_their_variables():
    names = []
    for graph in (build_training(FAST, (18, 18), 3, NO_STATISTICS, 4), build_inference(FAST, (18, 18), 3)):
        names.append({v.op.name: v.shape.as_list() for v in graph.variables})
    assert names[0] == names[1]


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


def test_a_portable_graph_has_tensorflow_s_own_operations_and_gradients():
    """Other programs restore it and compute gradients. With the same weights, the faster algorithms agree with it."""
    recipe = dataclasses.replace(RECIPES["assignment"].recipe, precision="float32")
    x, _ = batch(rows=3, size=32)
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
