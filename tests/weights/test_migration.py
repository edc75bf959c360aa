"""docs/guides/migration.md: the right-hand side of each row runs and gives the result of the left-hand side."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from graphcnn.ops.tf1 import tf, tf1

PAGE = Path(__file__).resolve().parents[2] / "docs" / "guides" / "migration.md"
CODE = re.compile(r"`([^`]+)`")
ROWS = [
    (line.split(" | ")[0].strip("| "), CODE.search(line.rpartition(" | ")[2])[1])
    for line in PAGE.read_text(encoding="utf-8").splitlines()
    if line.startswith("| ") and not line.startswith("| TensorFlow 1 ")
]
IMAGES = np.random.default_rng(0).normal(size=(50, 8, 8, 3)).astype(np.float32)
VECTORS = np.random.default_rng(1).normal(size=(50, 4)).astype(np.float32)
LABELS = np.arange(50) % 4


def softmax_entropy(logits, labels):
    return np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(labels)), labels]


def correlated(w, b):
    padded = np.pad(IMAGES, ((0, 0), (1, 1), (1, 1), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (1, 2))
    return np.maximum(np.einsum("nhwcij,ijck->nhwk", windows, w) + b, 0)


CHECKS = {  # what the right-hand sides name: whether its value is what the closed form says
    "p": lambda v: v("p + 1", p=np.ones((2, 5))).shape == (2, 5),
    "d": lambda v: v("d") == 1,
    "W": lambda v: 0.3 < np.abs(v("W")).max() <= (6 / 12) ** 0.5,
    "H": lambda v: v("H").std() == pytest.approx((2 / 500) ** 0.5, rel=0.05),
    "penalty": lambda v: v("penalty") == pytest.approx(0.005 * np.square(v("W")).sum(), rel=1e-5),
    "flat": lambda v: np.array_equal(v("flat"), IMAGES.reshape(50, -1)),
    "conv": lambda v: v("conv") == pytest.approx(correlated(v("w"), v("b")), abs=1e-5),
    "own": lambda v: v("own").shape == (50, 8, 8, 6),
    "pool": lambda v: np.array_equal(v("pool"), IMAGES.reshape(50, 4, 2, 4, 2, 3).max(axis=(2, 4))),
    "dense": lambda v: v("dense") == pytest.approx(VECTORS @ v("k"), abs=1e-5),
    "norm": lambda v: v("norm") == pytest.approx(
        (IMAGES - IMAGES.mean((0, 1, 2))) / np.sqrt(IMAGES.var((0, 1, 2)) + 1e-3), abs=1e-4
    ),
    "drop": lambda v: set(np.unique((v("drop") / VECTORS).round(4))) <= {0, 2},
    "entropy": lambda v: v("entropy") == pytest.approx(softmax_entropy(VECTORS, LABELS), abs=1e-5),
    "l2": lambda v: v("l2") > v("penalty") > 0,
    "train": lambda v: v("train") is None,
    "rate": lambda v: v("rate") == pytest.approx(0.1),
    "draw": lambda v: np.array_equal(v("draw"), v("draw")),
    "right": lambda v: np.array_equal(v("right"), VECTORS.argmax(axis=1) == LABELS),
    "digits": lambda v: v.space["digits"].shape == (1797, 8, 8),
}  # fmt: skip


@pytest.fixture(scope="module")
def space(tmp_path_factory):
    """The page's names, each row having been run in their order."""
    with tf1.Graph().as_default():
        found = {
            "tf": tf, "tf1": tf1, "folder": str(tmp_path_factory.mktemp("saved")), "np": np,
            "x": tf1.placeholder(tf.float32, [None, 8, 8, 3]), "y": tf1.placeholder(tf.int32, [None]),
            "keep_prob": tf1.placeholder(tf.float32, []), "v": tf1.placeholder(tf.float32, [None, 4]),
        }  # fmt: skip
        for _, now in ROWS:
            exec(now, found)
        yield found
        found["sess"].close()


class Values:
    """Computes an expression of the page's names."""

    def __init__(self, space):
        self.space = space

    def __call__(self, expression, **fed):
        with self.space["sess"].graph.as_default():
            tensor = eval(expression, self.space)
        feed = {
            self.space["x"]: IMAGES,
            self.space["v"]: VECTORS,
            self.space["y"]: LABELS,
            self.space["keep_prob"]: 0.5,
        }
        return self.space["sess"].run(tensor, feed | {self.space[name]: value for name, value in fed.items()})


@pytest.mark.parametrize("name", CHECKS)
def test_each_right_hand_side_gives_the_expected_value(name, space):
    assert CHECKS[name](Values(space))


def test_every_row_is_checked():
    """Each right-hand side gives a name that is checked, or is one of the session and saver, which all others use."""
    assert len(ROWS) == 23
    given = [re.findall(r"(\w+)(?:, \w+)? = ", now)[-1] if "=" in now else "" for _, now in ROWS]
    others = [now for (_, now), name in zip(ROWS, given, strict=True) if name not in CHECKS]
    assert all("sess" in now for now in others), others


def test_left_hand_sides_that_no_longer_work():
    """Some of the left-hand sides do not work any more. They run in a process that keeps TensorFlow's defaults."""
    calls = ["tf.placeholder(tf.float32, [1])", "tf.contrib.layers", "tf.compat.v1.layers.dense", "tf.Session()"]
    script = """
import sys
import tensorflow as tf
for call in sys.argv[1:]:
    try:
        eval(call)
    except AttributeError:
        print(call)
"""
    done = subprocess.run([sys.executable, "-c", script, *calls], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == calls, done.stderr
