"""A graph's probabilities for many images, in batches; used by the dev pass and by every command."""

from typing import Any, NamedTuple

import numpy as np

from graphcnn import checkpoint, recipes
from graphcnn.batches import ahead, as_rgb, in_order, rows_at_once
from graphcnn.errors import InputError
from graphcnn.graph import Graph, build_inference
from graphcnn.tf1 import session as new_session


class Restored(NamedTuple):
    """A trained run, ready to predict: its Graph, open session, a Saver of the graph's variables, and its state."""

    graph: Graph
    session: Any
    saver: Any
    state: dict


def restore(run, precision="float32", portable=False, tta=False):
    """Return the run's best network as a Restored: rebuilt by this package's code, its variables loaded.

    precision: of convolutions and matmuls: auto, float32 or bfloat16. portable: see graph.build_inference.
    tta: whether test-time augmentation is wanted; refused for a recipe that has no views.
    """
    config = run.config()
    recipe = recipes.from_dict(config["recipe"], run.config_path)
    if tta and recipe.flip == "none" and not recipe.translate:
        raise InputError(f"--tta: run {run.name} was trained without --flip and --translate: there is no other view")
    graph = build_inference(recipe, config["data"]["image_shape"], len(config["class_names"]), precision, portable)
    with graph.graph.as_default():
        saver = checkpoint.saver(graph.variables)
    graph.graph.finalize()
    session = new_session(graph.graph)
    state = checkpoint.load(run, "best", session, saver, graph.variables)
    return Restored(graph, session, saver, state)


def probabilities(session, graph, images, rows=None, advance=None, tta=False):
    """Return softmax outputs, float32 [N, K], of images in raw units, in order.

    Args:
        images: [M, H, W], [M, H, W, 1] or [M, H, W, 3]; a memory-mapped file is read a batch at a time.
        rows: int array [N] of the rows wanted (default: all).
        advance: called with the number of images after each batch, for a progress bar.
        tta: what to feed tta:0.
    """
    rows = np.arange(len(images)) if rows is None else rows
    slices = in_order(rows, rows_at_once(images.shape[1:3]))  # a fixed size: another one may round differently
    parts = []
    for batch in ahead(as_rgb(images[each]) for each in slices):
        parts.append(session.run(graph.hypothesis, {graph.x: batch, graph.tta: tta}))
        if advance:
            advance(len(batch))
    return np.concatenate(parts)
