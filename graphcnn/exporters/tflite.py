"""Export to a TensorFlow Lite file. N images, H x W pixels, K classes."""

from __future__ import annotations

import json
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from graphcnn.common.errors import InputError
from graphcnn.common.files import open_regular
from graphcnn.common.text import printable
from graphcnn.evaluation.predictor import Predictor
from graphcnn.exporters.common import SIGNATURE, in_batches
from graphcnn.ops.tf1 import quiet_stderr, tf, tf1, with_signature


def write(path: Path, predictor: Predictor, about: dict[str, Any]) -> None:
    """Write the file, with a signature. A zip file at its end contains labels.txt and `about` as graphcnn.json.

    TensorFlow Lite ignores bytes after the model. Its tools read labels.txt from there, one class name on each line.

    Raises:
        InputError: the graph resizes its images with an operation that TensorFlow Lite lacks.
    """
    graph = predictor.graph
    if any(operation.type == "ScaleAndTranslate" for operation in graph.graph.get_operations()):
        raise InputError(
            "--format=tflite: this run resizes its images inside the graph with an operation that TensorFlow Lite "
            "lacks; use --format=savedmodel, or train on images of the net's size"
        )
    with quiet_stderr():
        converter = tf1.lite.TFLiteConverter.from_session(predictor.session, [graph.x], [graph.hypothesis])
        model = with_signature(converter.convert(), SIGNATURE, ["x"], ["hypothesis"])
    path.write_bytes(model)
    with zipfile.ZipFile(path, "a") as packed:
        packed.writestr("labels.txt", "".join(f"{printable(name)}\n" for name in about["class_names"]))
        packed.writestr("graphcnn.json", json.dumps(about, indent=1) + "\n")


def compute(path: Path, images: np.ndarray) -> tuple[np.ndarray, str]:
    """Return (softmax outputs [N, K] for images [N, H, W, 3], name of the runtime), computed only from the file."""
    with warnings.catch_warnings(), quiet_stderr():
        warnings.simplefilter("ignore")  # that the interpreter will move to another package
        interpreter = tf.lite.Interpreter(model_content=path.read_bytes())
        x = interpreter.get_input_details()[0]["index"]
        hypothesis = interpreter.get_output_details()[0]["index"]

        def compute_batch(batch: np.ndarray) -> np.ndarray:
            interpreter.resize_tensor_input(x, batch.shape)
            interpreter.allocate_tensors()
            interpreter.set_tensor(x, batch)
            interpreter.invoke()
            return interpreter.get_tensor(hypothesis)

        return in_batches(compute_batch, images), f"TensorFlow Lite {tf.__version__}"


def why_foreign(path: Path) -> str | None:
    """Return the reason why this is not a TensorFlow Lite file; None if it is one."""
    with open_regular(path, follow=False) as file:
        return None if file.read(8)[4:] == b"TFL3" else "it is not a .tflite file"
