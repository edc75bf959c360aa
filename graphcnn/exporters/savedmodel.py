"""Export to a SavedModel, a folder for TensorFlow and TensorFlow Serving. N images, H x W pixels, K classes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from graphcnn.common.files import is_litter
from graphcnn.common.replace import foreign_entry
from graphcnn.evaluation.predictor import Predictor
from graphcnn.exporters.common import SIGNATURE, in_batches
from graphcnn.ops.tf1 import session as new_session
from graphcnn.ops.tf1 import tf, tf1
from graphcnn.ops.wildcards import without_wildcards

ABOUT = "assets.extra/graphcnn.json"  # TensorFlow reserves this folder for files of the program that wrote the model
FILES = {
    "saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001", ABOUT, "predict.py",
}  # fmt: skip


def write(folder: Path, predictor: Predictor, about: dict[str, Any]) -> None:
    """Write the folder; it contains `about` as a JSON file."""
    graph, saved_model = predictor.graph, tf1.saved_model
    with graph.graph.as_default():
        inputs = {"x": saved_model.build_tensor_info(graph.x)}
        outputs = {name: saved_model.build_tensor_info(getattr(graph, name)) for name in ("hypothesis", "logits")}
        method = saved_model.signature_constants.PREDICT_METHOD_NAME
        signature = saved_model.build_signature_def(inputs, outputs, method)
        builder = saved_model.Builder(str(folder))
        builder.add_meta_graph_and_variables(
            predictor.session, [saved_model.tag_constants.SERVING], {SIGNATURE: signature}, saver=predictor.saver
        )
        builder.save()
    (folder / ABOUT).parent.mkdir()
    (folder / ABOUT).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")


def compute(folder: Path, images: np.ndarray) -> tuple[np.ndarray, str]:
    """Return (softmax outputs [N, K] for images [N, H, W, 3], name of the runtime), computed only from the folder."""
    with tf1.Graph().as_default() as graph, new_session(graph) as session, without_wildcards(folder) as readable:
        model = tf1.saved_model.load(session, [tf1.saved_model.tag_constants.SERVING], readable)
        signature = model.signature_def[SIGNATURE]
        x, hypothesis = signature.inputs["x"].name, signature.outputs["hypothesis"].name
        probabilities = in_batches(lambda batch: session.run(hypothesis, {x: batch}), images)
    return probabilities, f"TensorFlow {tf.__version__}"


def why_foreign(folder: Path) -> str | None:
    """Return the reason why this folder is not an export; None if it is one or is empty."""
    foreign = foreign_entry(folder, FILES)
    if foreign:
        return f"it contains {foreign}"
    empty = all(is_litter(path.name) for path in folder.iterdir())
    return None if empty or (folder / ABOUT).exists() else f"it has no {ABOUT}"
