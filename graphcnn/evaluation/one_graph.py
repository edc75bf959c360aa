"""One inference graph for all runs of a model, for a submission or an export."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from graphcnn.common.errors import InputError
from graphcnn.config.recipe import Recipe
from graphcnn.data.fingerprint import same_data
from graphcnn.evaluation.predictor import Predictor, open_predictor
from graphcnn.evaluation.select_model import Model
from graphcnn.evaluation.trained_run import TrainedRun
from graphcnn.graphs.inference import InferenceGraph, build_ensemble, build_inference, member_scope
from graphcnn.ops.tf1 import tf1
from graphcnn.storage import checkpoint


def check_one_graph(model: Model[TrainedRun]) -> None:
    """Refuse runs whose images have different sizes, or that were trained on different data."""
    first = model.nets[0]
    for run in model.nets:
        if run.image_shape != first.image_shape:
            raise InputError(
                f"--run: {run.name} and {first.name} take images of different sizes, but one graph takes images of "
                "one size; use eval or predict for this ensemble"
            )
        if not same_data(run.config["data"]["fingerprint"], first.config["data"]["fingerprint"]):
            raise InputError(
                f"--run: {run.name} and {first.name} were trained on different data; name runs of the same data"
            )


def images_only(recipe: Recipe) -> Recipe:
    """Return the recipe without augmentation views and dropout, so that images are the only input of its graph."""
    return dataclasses.replace(recipe, flip="none", translate=0, feature_views=1, keep_prob=1.0, micro_batch=0)


def build_one_graph(
    recipes: Sequence[Recipe],
    image_shape: tuple[int, int],
    classes: int,
    weights: Sequence[float],
    temperature: float | None = None,
) -> InferenceGraph:
    """Return the portable float32 inference graph of one net, or of the weighted mean of several nets.

    Args:
        recipes: recipe of each net.
        image_shape: (H, W) of the images.
        classes: number of classes.
        weights: ensemble weight of each net.
        temperature: of the calibrated outputs of a single net; see graphs.network.add_hypothesis.
    """
    if len(recipes) == 1:
        return build_inference(recipes[0], image_shape, classes, portable=True, temperature=temperature)
    return build_ensemble(recipes, image_shape, classes, weights)


def open_one_graph(model: Model[TrainedRun], recipes: Sequence[Recipe], weights: Sequence[float]) -> Predictor:
    """Return a Predictor of the graph that build_one_graph builds, with the runs' best weights.

    Args:
        model: runs that check_one_graph has accepted.
        recipes: recipe that each run's subgraph is built with.
        weights: ensemble weight of each run.
    """
    first = model.nets[0]
    graph = build_one_graph(recipes, first.image_shape, len(first.class_names), weights, model.temperature)
    if len(model.nets) == 1:
        return first.open(graph)

    def load(session: tf1.Session, saver: tf1.train.Saver) -> Mapping[str, Any]:
        for n, run in enumerate(model.nets, start=1):
            _load_member(session, graph, run, f"{member_scope(n)}/")
        return {}

    return open_predictor(graph, load)


def _load_member(session: tf1.Session, graph: InferenceGraph, run: TrainedRun, scope: str) -> None:
    """Load the run's best checkpoint into the variables of a member's scope."""
    variables = {variable.op.name: tuple(variable.shape) for variable in graph.variables}
    shapes = {name.removeprefix(scope): shape for name, shape in variables.items() if name.startswith(scope)}
    stored = checkpoint.read_variables(run.run, "best", lambda name, shape: shapes.get(name) == shape)
    missing = sorted(set(shapes) - set(stored.arrays))
    if missing:
        raise InputError(
            f"{run.run.path / 'best'}: has no {missing[0]} of shape {shapes[missing[0]]}, so it is another network's "
            "checkpoint; restore the run's config.json"
        )
    checkpoint.assign(session, graph.variables, {scope + name: value for name, value in stored.arrays.items()})
