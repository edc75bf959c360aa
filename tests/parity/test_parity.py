"""Every ImageNet architecture against its peer: parameters, logits at two sizes, one SGD step.

A peer runs in a process of its own, with random weights in a file; here the file is loaded, and logits, the step's
updates and the moving batch-norm moments are compared. The variance that moves is of n - 1 here and in both peers.
"""

import functools
import subprocess
import sys
from pathlib import Path

import keras_peer
import numpy as np
import pytest
import torch_peer
from conftest import ZOO

from graphcnn.config.recipe import PREPROCESSING, Recipe
from graphcnn.graphs.inference import count_parameters
from graphcnn.graphs.training import build_training
from graphcnn.ops.tf1 import session, tf1
from graphcnn.weights.keras_hdf5 import read_keras

HERE = Path(__file__).parent
SIDES = {  # others: (64, 80)
    "alexnet": (96, 127),
    "inception_v3": (80, 107),
    "inception_resnet_v2": (80, 107),
    "xception": (75, 96),
}
CI = ("efficientnet_b0", "mobilenet", "mobilenet_v2", "vgg16")
LOGITS, UPDATES = 1e-4, 1e-3  # the logits' largest difference in their scale, an update's in its norm


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.ci) if name in CI else name for name in keras_peer.MODELS]
)
def test_parity_with_keras(name, tmp_path, zoo):
    pytest.importorskip("tf_keras", reason="tf_keras, the peer, is not installed")
    zoo[name, "Keras"] = parity(keras_peer, name, tmp_path, from_keras)


@pytest.mark.slow
@pytest.mark.parametrize("name", torch_peer.MODELS)
def test_parity_with_pytorch(name, tmp_path, zoo):
    if missing := without_torch():
        pytest.skip(f"torch and torchvision, the peer, cannot be imported: {missing}")
    zoo[name, "PyTorch"] = parity(torch_peer, name, tmp_path, from_torch)


@pytest.fixture
def zoo(request):
    """What --zoo writes: {(architecture, peer): {side: row}}."""
    return request.config.stash.setdefault(ZOO, {})


@functools.cache
def without_torch():
    """Return what the peer's interpreter says against importing its nets; nothing where it can."""
    asked = [sys.executable, "-c", "import torch_peer; torch_peer.models()"]
    done = subprocess.run(asked, cwd=HERE, capture_output=True, text=True)
    return done.stderr.strip().rpartition("\n")[2] if done.returncode else ""


def from_keras(folder, when, shapes):
    return read_keras(folder / f"{when}.h5", shapes).values


FLATTENED = {"classifier.1": (256, 6, 6), "aux1.fc1": (128, 4, 4), "aux2.fc1": (128, 4, 4)}  # C, H, W before it
NORM_LEAVES = {"weight": "gamma", "bias": "beta", "running_mean": "mean", "running_var": "variance"}


def from_torch(folder, when, shapes):
    """Return PyTorch's state by our names: its own, with / for the dots and other leaves."""
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


def parity(peer, name, folder, read):
    """Have the peer write its files at each size and compare; read(folder, when, shapes) -> {name of ours: array}.

    Returns: {side: compare's row}.
    """
    rows = {}
    for side in SIDES.get(name, (64, 80)):
        at_side = folder / str(side)
        at_side.mkdir()
        asked = [sys.executable, peer.__file__, name, str(side), at_side]
        done = subprocess.run(asked, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        rows[side] = compare(peer, name, side, at_side, read)
    return rows


def compare(peer, name, side, folder, read):
    """Assert that our net does with the file's weights what the peer did; return and print the differences."""
    images, labels = np.load(folder / "images.npy"), np.load(folder / "labels.npy")
    kind = "torch" if name.startswith("efficientnet") else "none"
    recipe = Recipe(
        net=name, image_size=side, normalisation=kind, optimizer="sgd", learning_rate=peer.RATE, warmup_steps=0,
        batch_size=len(labels), l2=0.0, keep_prob=1.0, precision="float32",
    )  # fmt: skip
    statistics = PREPROCESSING.get(kind, (np.zeros(3), np.ones(3)))
    graph = build_training(recipe, (side, side), peer.CLASSES, statistics, 1)
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
        if max(np.abs(own).max(), np.abs(update).max()) > none:  # a bias before batch norm has no slope but rounding
            off[scope] = np.linalg.norm(own - update) / np.linalg.norm(update)
    worst = max(off, key=off.get)
    print(f"{name} {side}: logits {apart:.1e}, step {off[worst]:.1e} ({worst})")
    assert apart <= LOGITS
    assert off[worst] <= UPDATES, sorted(off.items(), key=lambda item: -item[1])[:8]
    return {"here": here, "there": there, "logits": apart, "step": off[worst]}
