"""The batches in which an inference graph computes images."""

import dataclasses

import numpy as np
import pytest
from tiny_graphs import TINY, started

from graphcnn.config.recipe import Recipe
from graphcnn.evaluation import predictor
from graphcnn.graphs.activation_size import largest_activation
from graphcnn.graphs.inference import build_ensemble, build_inference
from graphcnn.submission import grader

VIEWS = {"flip": "random", "translate": 1}
LARGE = Recipe(net="vgg_tiny", image_size=256, **VIEWS)  # its first convolution returns 256x256x8 float32: 2 MiB


@pytest.mark.parametrize(
    ("recipe", "image_shape", "tta", "images"),
    [
        (Recipe(), (32, 32), False, 256),
        (dataclasses.replace(LARGE, image_size=32), (32, 32), True, 256),
        (LARGE, (32, 32), False, 128),  # small images that the graph enlarges
        (LARGE, (32, 32), True, 21),  # six views
        (LARGE, (256, 256), False, 16),  # limited by the pixels
        (dataclasses.replace(LARGE, image_size=1024), (32, 32), True, 1),
    ],
)
def test_the_batch_depends_on_the_net_and_on_the_views(recipe, image_shape, tta, images):
    graph = build_inference(recipe, image_shape, 3)
    assert predictor.batch_size(graph, image_shape, tta) == images


@pytest.mark.parametrize("tta", [False, True])
def test_the_batch_changes_no_output(tta, monkeypatch):
    with started(dataclasses.replace(TINY, **VIEWS)) as (graph, running):
        height, width = graph.x.shape[1:3]
        images = np.random.default_rng(0).integers(0, 256, (30, height, width, 3)).astype(np.float32)
        together = predictor.probabilities(running, graph, images, tta=tta)
        one_image = largest_activation(graph.hypothesis) * (6 if tta else 1)
        monkeypatch.setattr(predictor, "LARGEST_TENSOR", 7 * one_image)
        sizes = []
        apart = predictor.probabilities(running, graph, images, advance=sizes.append, tta=tta)
    assert sizes == [7, 7, 7, 7, 2]
    assert apart == pytest.approx(together, abs=1e-6)


@pytest.mark.parametrize("recipes", [[Recipe()], [LARGE], [Recipe(net="mobilenet_v2", image_size=64), LARGE]])
def test_the_grader_finds_the_same_largest_tensor(recipes):
    graph = build_ensemble(recipes, (32, 32), 3, [1 / len(recipes)] * len(recipes))
    assert max(grader.tensor_bytes(graph.graph)) == largest_activation(graph.hypothesis)
