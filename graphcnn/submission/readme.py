"""The README.md of a submission, for the grader. N images, H x W pixels, K classes."""

from __future__ import annotations

from collections.abc import Sequence

from graphcnn.common.text import code, markdown
from graphcnn.evaluation.select_model import Model
from graphcnn.evaluation.trained_run import TrainedRun
from graphcnn.ops.tf1 import tf
from graphcnn.storage import checkpoint

TEXT = """# Submission of {title}

{runs}

{score}
- `result.npy`: the softmax outputs for x_test.npy, float32 {shape}. The rows are in the order of x_test.npy, and each
  column is a class. They were computed by {method}.
- `model.ckpt.*`: the inference graph (float32, without an optimizer) and its weights, written by TensorFlow {version}.
- `config.json`: all settings, the fingerprint of the data, and the versions of the software.
- {histories}: one row for each epoch of the training.
- `grader.py`: restores the graph with TensorFlow and NumPy only and compares its outputs with result.npy.
{images}
## For the grader

Run these commands in your own clone of graphcnn. FOLDER is the path of this folder.

1. Score `result.npy` against your labels. This command reads only the two files and runs no graph:

       ./run.sh eval --predictions=FOLDER/result.npy --labels=/path/to/your/y_test.npy

2. Check that the graph computes `result.npy`, with your own grader.py and {whose_images}:

       .venv/bin/python -I graphcnn/submission/grader.py {flag}--submission=FOLDER {images_path}

**The graph is a program**: `model.ckpt.meta` can read and write files, and it can copy its outputs from `result.npy`.
Run step 2 only on a machine on which you would run a stranger's program. The author of the submission can change the
`grader.py`{and_images} of this folder, so a check with {them} proves nothing to you.

## The graph

To use the graph, feed `x:0` alone, float32 [N, {height}, {width}, 3], with the raw pixels of the training file
(0..{pixel_max}). Resizing and normalisation are inside the graph. Read `hypothesis:0` ({kind}) or `logits:0`, float32
[N, {classes}]. `keep_prob:0` (1.0), `training:0` and `tta:0` (False) have defaults for inference. Feeding `y:0` or
`training:0` changes nothing.

Classes:
{class_names}
"""

ABOUT_IMAGES = {  # {file that only some submissions contain: its line}
    "x_test.npy": "- `x_test.npy`: the test images. The data have no such file, so graphcnn wrote it for the author.\n",
    "test_files.csv": "- `test_files.csv`: the image file of each row of x_test.npy and result.npy.\n",
}
WITH_IMAGES = {  # {whether the submission contains x_test.npy: {field of TEXT: value}}
    False: {
        "whose_images": "your own x_test.npy", "images_path": "/path/to/your/x_test.npy",
        "and_images": "", "them": "it",
    },
    True: {
        "whose_images": "the x_test.npy of this folder. First compare it with your images",
        "images_path": "FOLDER/x_test.npy", "and_images": " and the `x_test.npy`", "them": "them",
    },
}  # fmt: skip


def readme(
    model: Model[TrainedRun], weights: Sequence[float], score: float | None, rows: int, images: Sequence[str]
) -> str:
    """Return the text of README.md.

    Args:
        model: the submitted model.
        weights: ensemble weight of each run.
        score: dev macro F1 of the submitted graph; None without a dev split.
        rows: number of test images, N.
        images: the files of ABOUT_IMAGES that the submission contains.
    """
    several = len(model.nets) > 1
    if several:
        title, histories = f"{len(model.nets)} runs, by the weighted mean of their softmax outputs", "`history_<n>.csv`"
        runs = [
            f"- member_{n}, ensemble weight {weight:.4f}: {_describe(run)}"
            for n, (run, weight) in enumerate(zip(model.nets, weights, strict=True), start=1)
        ]
    else:
        title, histories = f"run {model.name}", "`history.csv`"
        runs = [_describe(model.nets[0])]
    method = "the plain forward pass: x:0 alone is fed"
    if model.tta:
        method = (
            "test-time augmentation: True is fed to tta:0 too. Feeding x:0 alone gives the plain forward pass, with "
            "other numbers"
        )
    of_graph = ""
    if score is not None:
        with_tta = " with test-time augmentation" * model.tta
        of_graph = f"Dev macro F1 of this graph: {score:.6f} (measured by `submit` in float32{with_tta}).\n"
    if model.temperature:
        of_graph += (
            f"The probabilities are calibrated: `hypothesis:0` is softmax(`logits:0` / {model.temperature:.6f}). This "
            "temperature was fitted on the dev split.\n"
        )
    first, classes = model.nets[0], len(model.class_names)
    height, width = first.image_shape
    return TEXT.format(
        title=title, runs="\n".join(runs), score=of_graph, shape=(rows, classes), method=method, version=tf.__version__,
        histories=histories, flag="--tta " * model.tta, height=height, width=width, pixel_max=first.pixel_max,
        classes=classes, class_names="\n".join(f"- {k}: {markdown(name)}" for k, name in enumerate(model.class_names)),
        kind="softmax(logits / temperature)" if model.temperature else "softmax",
        images="".join(ABOUT_IMAGES[name] for name in images), **WITH_IMAGES["x_test.npy" in images],
    )  # fmt: skip


def _describe(run: TrainedRun) -> str:
    """Return a sentence with a run's settings and score."""
    state, recipe = checkpoint.read_state(run.run.path / "best"), run.config["recipe"]
    name = code(str(run.config["recipe_name"]))
    best = state["best_score"]
    score = "trained without a dev split" if best is None else f"dev macro F1 {best:.6f}"
    measured = "measured during training" if state["epoch"] else "not trained: the weights were imported"
    return (
        f"Run {run.name}, recipe {name}, net `{recipe['net']}`, epoch {state['epoch']}, {score} "
        f"({measured}, in {recipe['precision']})."
    )
