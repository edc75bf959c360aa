"""The input of the net: normalisation, size, test-time-augmentation views."""

import dataclasses

import numpy as np
import pytest
from tiny_graphs import FAST, NO_STATISTICS, TINY, batch, started

from graphcnn.graphs.training import build_training
from graphcnn.ops.tf1 import session

VIEWS = {  # (flip, translate): [(mirrored, down, right, weight)]
    ("none", 2): [(0, 0, 0, 0.5), (0, -1, -1, 0.25), (0, 1, 1, 0.25)],
    ("random", 0): [(0, 0, 0, 0.5), (1, 0, 0, 0.5)],
    ("alternating", 2): [(m, d, d, weight / 2) for m in (0, 1) for d, weight in ((0, 0.5), (-1, 0.25), (1, 0.25))],
    ("none", 0): [(0, 0, 0, 1.0)],
}


@pytest.mark.parametrize(("flip", "translate"), VIEWS)
def test_tta_is_the_mean_of_the_views_logits(flip, translate):
    x, _ = batch(rows=5, size=18)
    padded = np.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)], "reflect")
    with started(dataclasses.replace(FAST, flip=flip, translate=translate)) as (graph, running):
        expected = 0
        for mirrored, down, right, weight in VIEWS[flip, translate]:
            view = padded[:, 1 + down : 19 + down, 1 + right : 19 + right]
            expected += weight * running.run(graph.logits, {graph.x: view[:, :, ::-1] if mirrored else view})
        plain = running.run(graph.logits, {graph.x: x})
        assert np.array_equal(plain, running.run(graph.logits, {graph.x: x, graph.tta: False}))
        found = running.run(graph.logits, {graph.x: x, graph.tta: True})
    assert found == pytest.approx(expected, abs=1e-5)
    assert (np.abs(found - plain).max() > 1e-4) == (len(VIEWS[flip, translate]) > 1)


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


@pytest.mark.parametrize("size", [8, 16, 32])
def test_other_sizes_are_resized_in_the_graph(size):
    graph = build_training(TINY, (size, size), 3, NO_STATISTICS, 100)
    flat = np.broadcast_to(np.array([1.0, -2.0, 3.0], np.float32), (2, size, size, 3))
    same = build_training(TINY, (16, 16), 3, NO_STATISTICS, 100)
    logits = []
    for built, images in ((graph, flat), (same, flat[:1, :1, :1] + np.zeros((2, 16, 16, 3), np.float32))):
        with session(built.graph) as running:
            running.run(built.initialize)
            logits.append(running.run(built.logits, {built.x: images}))
    assert logits[0] == pytest.approx(logits[1], abs=1e-4)
