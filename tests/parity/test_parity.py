"""Every ImageNet architecture against Keras's or torchvision's: parameters, logits at two sizes, one SGD step.

A reference runs in its own process and writes random weights into files. The test loads them and compares the logits,
and the updates of one step, the moving moments of batch norm included. Moving variances are unbiased, here and in both
references.
"""

import functools
import subprocess
import sys
from pathlib import Path

import keras_reference
import numpy as np
import pytest
import torch_reference
from conftest import ZOO

from graphcnn.config.recipe import PREPROCESSING, Recipe
from graphcnn.graphs.inference import count_parameters
from graphcnn.graphs.training import build_training
from graphcnn.ops.tf1 import session, tf1
from graphcnn.weights.keras_hdf5 import read_keras

HERE = Path(__file__).parent
SIZES = {  # of images; other nets: (64, 80)
    "alexnet": (96, 127),
    "inception_v3": (80, 107),
    "inception_resnet_v2": (80, 107),
    "xception": (75, 96),
}
LOGITS = 1e-4  # largest difference of a logit, divided by the largest logit
UPDATES = 1e-3  # largest difference of an update, divided by its norm


def test_parity_of_a_small_net(tmp_path):
    pytest.importorskip("tf_keras", reason="tf_keras is not installed")
    parity(keras_reference, "mobilenet", tmp_path, from_keras, sizes=(64,))


@pytest.mark.slow
@pytest.mark.parametrize("name", keras_reference.MODELS)
def test_parity_with_keras(name, tmp_path, zoo):
    pytest.importorskip("tf_keras", reason="tf_keras is not installed")
    zoo[name, "Keras"] = parity(keras_reference, name, tmp_path, from_keras)


@pytest.mark.slow
@pytest.mark.parametrize("name", torch_reference.MODELS)
def test_parity_with_pytorch(name, tmp_path, zoo):
    if missing := without_torch():
        pytest.skip(f"torch and torchvision cannot be imported: {missing}")
    zoo[name, "PyTorch"] = parity(torch_reference, name, tmp_path, from_torch)


@pytest.fixture
def zoo(request):
    """Return what --zoo writes: {(architecture, reference): {image size: row}}."""
    return request.config.stash.setdefault(ZOO, {})


@functools.cache
def without_torch():
    """Return the last line of the error of importing torchvision's nets; "" where they can be imported."""
    command = [sys.executable, "-c", "import torch_reference; torch_reference.models()"]
    done = subprocess.run(command, cwd=HERE, capture_output=True, text=True)
    return done.stderr.strip().rpartition("\n")[2] if done.returncode else ""


def from_keras(folder, when, shapes):
    return read_keras(folder / f"{when}.h5", shapes).values


FLATTENED = {"classifier.1": (256, 6, 6), "aux1.fc1": (128, 4, 4), "aux2.fc1": (128, 4, 4)}  # C, H, W before it
NORM_LEAVES = {"weight": "gamma", "bias": "beta", "running_mean": "mean", "running_var": "variance"}


def from_torch(folder, when, shapes):
    """Return {variable: array} of PyTorch's state: its names have dots for slashes, and other leaves."""
    with np.load(folder / f"{when}.npz", allow_pickle=False) as file:
        state = {key: array for key, array in file.items() if not key.endswith(".num_batches_tracked")}
    found = {}
    for key, array in state.items():
        module, _, leaf = key.rpartition(".")
        leaf = NORM_LEAVES[leaf] if f"{module}.running_mean" in state else leaf[0]
        if module in FLATTENED and array.ndim == 2:
            array = array.reshape(-1, *FLATTENED[module]).transpose(0, 2, 3, 1).reshape(array.shape)
        found[f"{module.replace('.', '/')}/{leaf}"] = array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.T
    assert {name: array.shape for name, array in found.items()} == shapes
    return found


def parity(reference, name, folder, read, sizes=None):
    """Run the reference for images of each size, compare, and return {size: row of `compare`}.

    read(folder, when, shapes) returns {variable: array} of the files "before" or "after" the step.
    """
    sizes = sizes or SIZES.get(name, (64, 80))
    command = [sys.executable, reference.__file__, name, folder, *map(str, sizes)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return {size: compare(reference, name, size, folder / str(size), read) for size in sizes}


def compare(reference, name, size, folder, read):
    """Assert that the net computes what the reference computed with the same weights; return and print differences."""
    images, labels = np.load(folder / "images.npy"), np.load(folder / "labels.npy")
    normalisation = "torch" if name.startswith("efficientnet") else "none"
    recipe = Recipe(
        net=name, image_size=size, normalisation=normalisation, optimizer="sgd", learning_rate=reference.RATE,
        warmup_steps=0, batch_size=len(labels), l2=0.0, keep_prob=1.0, precision="float32",
    )  # fmt: skip
    statistics = PREPROCESSING.get(normalisation, (np.zeros(3), np.ones(3)))
    graph = build_training(recipe, (size, size), reference.CLASSES, statistics, 1)
    here, there = count_parameters(graph), int((folder / "parameters.txt").read_text())
    assert here == there
    variables = {v.op.name: v for v in graph.variables if not v.op.name.startswith("normalisation/")}
    shapes = {name: tuple(v.shape) for name, v in variables.items()}
    before, after = (read(folder, when, shapes) for when in ("before", "after"))
    assert set(before) == set(after) == set(variables)
    with graph.graph.as_default(), session(graph.graph) as running:
        running.run(tf1.global_variables_initializer())
        for scope, variable in variables.items():
            variable.load(before[scope], running)
        feed = {graph.x: images, graph.y: labels}
        theirs, ours = np.load(folder / "logits.npy"), running.run(graph.logits, feed)
        apart = np.abs(theirs - ours).max() / np.abs(theirs).max()
        running.run(graph.train_op, feed)
        found = running.run(variables)
    updates = {scope: after[scope] - before[scope] for scope in before}
    largest = {}  # of a layer
    for scope, update in updates.items():
        layer = scope.rpartition("/")[0]
        largest[layer] = max(largest.get(layer, 0), np.abs(update).max())
    off = {}
    for scope, update in updates.items():
        own, none = found[scope] - before[scope], 1e-4 * largest[scope.rpartition("/")[0]]
        if max(np.abs(own).max(), np.abs(update).max()) > none:  # a bias before batch norm has only rounding
            off[scope] = np.linalg.norm(own - update) / np.linalg.norm(update)
    worst = max(off, key=off.get)
    print(f"{name} {size}: logits {apart:.1e}, step {off[worst]:.1e} ({worst})")
    assert apart <= LOGITS
    assert off[worst] <= UPDATES, sorted(off.items(), key=lambda item: -item[1])[:8]
    return {"here": here, "there": there, "logits": apart, "step": off[worst]}
