"""ImageNet nets with published weights, for prediction without a run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from graphcnn.common.errors import InputError, unknown_name
from graphcnn.config.recipe import PREPROCESSING, Recipe
from graphcnn.data.dataset import ImageSpec
from graphcnn.evaluation.net import Net
from graphcnn.evaluation.predictor import Predictor, open_predictor
from graphcnn.graphs.inference import InferenceGraph, build_inference
from graphcnn.nets.registry import ARCHITECTURES
from graphcnn.ops.tf1 import tf1
from graphcnn.storage import checkpoint
from graphcnn.weights.prepare import prepare_initial_weights

IMAGENET_CLASSES = (
    Path(__file__).parents[1] / "data" / "imagenet_classes.txt"
)  # one name a line, in torchvision's order


class PublishedNet(Net):
    """An ImageNet net with weights for ImageNet's 1,000 classes.

    Args:
        name: a key of nets.registry.ARCHITECTURES.
        weights: "imagenet" for the published weights, or a file FILE.h5.
        root: folder of the runs.
        data_cache: folder of downloads; None for the default folder.

    Raises:
        InputError: the net or the weights do not exist.
    """

    def __init__(self, name: str, weights: str, root: Path, data_cache: str | None) -> None:
        if name not in ARCHITECTURES:
            raise InputError(f"--net: {unknown_name(name, list(ARCHITECTURES))}")
        self.name, self.weights, self.description, self.pixel_max = name, weights, f"net: {name}", 255
        self.class_names = IMAGENET_CLASSES.read_text(encoding="utf-8").splitlines()
        size, preprocessing = ARCHITECTURES[name].image_size, ARCHITECTURES[name].preprocessing
        self.image_shape, self.fit = (size, size), "crop"
        self.recipe = Recipe(net=name, weights=weights, image_size=size, normalisation=preprocessing, keep_prob=1.0)
        images = ImageSpec(self.image_shape, len(self.class_names), self.pixel_max)
        initial = prepare_initial_weights(self.recipe, images, root, data_cache, keep_normalisation=True)
        means, scales = PREPROCESSING[preprocessing]
        normalisation = {"normalisation/mean": np.array(means), "normalisation/scale": np.array(scales)}
        self.values = initial.values | normalisation

    def build(self) -> InferenceGraph:
        """Return the net's inference graph in float32, not finalised.

        Raises:
            InputError: a variable of the net is missing in the weights.
        """
        graph = build_inference(self.recipe, self.image_shape, len(self.class_names), portable=True)
        missing = [variable.op.name for variable in graph.variables if variable.op.name not in self.values]
        if missing:
            raise InputError(
                f"--weights={self.weights}: lacks {len(missing)} of the net's variables, such as {missing[0]}"
            )
        return graph

    def build_one_view(self) -> InferenceGraph:
        """Return the net's inference graph in float32; it has only one view."""
        return self.build()

    def open(self, graph: InferenceGraph) -> Predictor:
        """Return a Predictor of the graph with the net's weights."""

        def load(session: tf1.Session, saver: tf1.train.Saver) -> Mapping[str, Any]:
            checkpoint.assign(session, graph.variables, self.values)
            return {}

        return open_predictor(graph, load)
