"""A graph's probabilities for many images, in batches; used by the dev pass and by every command."""

import dataclasses
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from graphcnn.common.errors import InputError, unknown_name
from graphcnn.config.recipe import PREPROCESSING, Recipe, recipe_from_dict
from graphcnn.data.batches import as_rgb, chunk_size, in_order, prefetch
from graphcnn.data.dataset import ImageSpec
from graphcnn.graphs.graph import Graph, build_ensemble, build_inference, member_scope
from graphcnn.nets.registry import ARCHITECTURES
from graphcnn.ops.tf1 import session as new_session
from graphcnn.storage import checkpoint
from graphcnn.weights.prepare import prepare_initial_weights

CLASS_NAMES = Path(__file__).parents[1] / "data" / "imagenet_classes.txt"  # as torchvision lists them


class Restored(NamedTuple):
    """A trained run, ready to predict: its Graph, open session, a Saver of the graph's variables, and its state.

    more: what `restore` was asked to add to the graph.
    """

    graph: Graph
    session: Any
    saver: Any
    state: dict
    more: Any = None


def restore(run, precision="float32", portable=False, tta=False, extend=None):
    """Return the run's best network as a Restored: rebuilt by this package's code, its variables loaded.

    precision: of convolutions and matmuls: auto, float32 or bfloat16. portable: see graph.build_inference.
    tta: whether test-time augmentation is wanted; refused for a recipe that has no views.
    extend: extend(graph) adds to the Graph, built without other views, before it is finalised; what it returns becomes
        Restored.more.
    """
    config = run.config()
    recipe = recipe_from_dict(config["recipe"], run.config_path)
    if extend:
        recipe = dataclasses.replace(recipe, flip="none", translate=0, feature_views=1)
    if tta:
        check_views(run, config)
    graph = build_inference(recipe, config["data"]["image_shape"], len(config["class_names"]), precision, portable)
    with graph.graph.as_default():
        saver = checkpoint.saver(graph.variables)
    more = extend(graph) if extend else None
    graph.graph.finalize()
    session = new_session(graph.graph)
    state = checkpoint.load(run, "best", session, saver, graph.variables)
    return Restored(graph, session, saver, state, more)


def check_views(run, config):
    """Refuse test-time augmentation of a run that was trained without other views of its images."""
    recipe = recipe_from_dict(config["recipe"], run.config_path)
    if recipe.flip == "none" and not recipe.translate:
        raise InputError(f"--tta: run {run.name} was trained without --flip and --translate: there is no other view")


def restore_ensemble(members, shares):
    """Return several runs as one Restored, in float32 and with tf.nn's operations; its state is the first one's.

    Args:
        members: [(Run, its config)], all of the same data. shares: of each in the mean.
    """
    config = members[0][1]
    graph = build_ensemble(_recipes(members), config["data"]["image_shape"], len(config["class_names"]), shares)
    return _filled(graph, members)


def restore_alone(members, shares):
    """Return one or several runs as a Restored whose graph takes images and nothing else: no views, no dropout."""
    config = members[0][1]
    graph = build_alone(_recipes(members), config["data"]["image_shape"], len(config["class_names"]), shares)
    return _filled(graph, members)


def build_alone(recipes_of, image_shape, classes, shares):
    """Return graph.build_ensemble's, or of a single recipe graph.build_inference's Graph, without views and dropout."""
    plain = {"flip": "none", "translate": 0, "feature_views": 1, "keep_prob": 1.0, "micro_batch": 0}
    recipes_of = [dataclasses.replace(recipe, **plain) for recipe in recipes_of]
    if len(recipes_of) == 1:
        return build_inference(recipes_of[0], image_shape, classes, portable=True)
    return build_ensemble(recipes_of, image_shape, classes, shares)


def _recipes(members):
    return [recipe_from_dict(config["recipe"], run.config_path) for run, config in members]


def _filled(graph, members):
    """Return the Restored of a Graph with the weights of the runs in [(Run, its config)]."""
    with graph.graph.as_default():
        saver = checkpoint.saver(graph.variables)
    graph.graph.finalize()
    session = new_session(graph.graph)
    shapes = {variable.op.name: tuple(variable.shape) for variable in graph.variables}
    for n, (run, _) in enumerate(members, start=1):
        scope = f"{member_scope(n)}/" if len(members) > 1 else ""
        wanted = {name.removeprefix(scope): shape for name, shape in shapes.items() if name.startswith(scope)}
        _, values, _ = checkpoint.read_variables(
            run, "best", lambda name, shape, wanted=wanted: wanted.get(name) == shape
        )
        missing = sorted(set(wanted) - set(values))
        if missing:
            raise InputError(f"{run.path / 'best'}: lacks {missing[0]}, another network's checkpoint")
        checkpoint.assign(session, graph.variables, {scope + name: value for name, value in values.items()})
    return Restored(graph, session, saver, checkpoint.read_state(members[0][0].path / "best"))


def pretrained(net, source, root, folder, extend=None):
    """Return (Restored, shape of its images, class names) of an ImageNet net with weights of 1,000 classes, no run.

    Args:
        net: a name of ARCHITECTURES.
        source: where its weights are from, as Recipe.weights.
        root, folder: see prepare_initial_weights.
        extend: see restore.

    Errors: InputError where the weights are not all of the net's.
    """
    if net not in ARCHITECTURES:
        raise InputError(f"--net: {unknown_name(net, list(ARCHITECTURES))}")
    names = CLASS_NAMES.read_text(encoding="utf-8").splitlines()
    shape = (ARCHITECTURES[net].side,) * 2
    kind = ARCHITECTURES[net].preprocessing
    recipe = Recipe(net=net, weights=source, image_size=shape[0], normalisation=kind, keep_prob=1.0)
    initial = prepare_initial_weights(recipe, ImageSpec(shape, len(names), 255), root, folder, keep_normalisation=True)
    graph = build_inference(recipe, shape, len(names), portable=True)
    means, scales = PREPROCESSING[kind]
    values = initial.values | {"normalisation/mean": np.array(means), "normalisation/scale": np.array(scales)}
    missing = [variable.op.name for variable in graph.variables if variable.op.name not in values]
    if missing:
        raise InputError(f"--weights={source}: lacks {len(missing)} of the net's variables, such as {missing[0]}")
    with graph.graph.as_default():
        saver = checkpoint.saver(graph.variables)
    more = extend(graph) if extend else None
    graph.graph.finalize()
    session = new_session(graph.graph)
    checkpoint.assign(session, graph.variables, values)
    return Restored(graph, session, saver, {}, more), shape, names


def probabilities(session, graph, images, rows=None, advance=None, tta=False, features=False):
    """Return softmax outputs, float32 [N, K], of images in raw units, in order.

    Args:
        images: [M, H, W], [M, H, W, 1] or [M, H, W, 3]; a memory-mapped file is read a batch at a time.
        rows: int array [N] of the rows wanted (default: all).
        advance: called with the number of images after each batch, for a progress bar.
        tta: what to feed tta:0.
        features: whether the images are given as what a pooled head sees of them, float32 [M, C].
    """
    rows = np.arange(len(images)) if rows is None else rows
    size = (1, 1) if features else images.shape[1:3]
    slices = in_order(rows, chunk_size(size))  # a fixed size: another one may round differently
    parts = []
    for batch in prefetch(images[each] if features else as_rgb(images[each]) for each in slices):
        fed = {graph.features: batch} if features else {graph.x: batch, graph.tta: tta}
        parts.append(session.run(graph.hypothesis, fed))
        if advance:
            advance(len(batch))
    return np.concatenate(parts)


def maps(restored, images, target):
    """Return the maps that speak for the classes target [N] in images [N, H, W, 3] in raw units, float32 [N, h, w].

    restored: extended by attention.attention.
    """
    slices = in_order(np.arange(len(images)), chunk_size(images.shape[1:3], most=32))
    fed = ({restored.graph.x: images[each], restored.more.target: target[each]} for each in slices)
    return np.concatenate([restored.session.run(restored.more.maps, each) for each in fed])
