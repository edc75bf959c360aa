"""A program that imports graphcnn keeps TensorFlow's eager execution."""

import subprocess
import sys

PROGRAM = """
import numpy as np
import tensorflow as tf
from graphcnn.config.recipe import Recipe
from graphcnn.graphs.inference import build_inference
from graphcnn.ops.tf1 import session
from graphcnn.storage import checkpoint
assert float(tf.constant(2.0) * 3) == 6.0  # eager
network = build_inference(Recipe(net="vgg_tiny"), (32, 32), 10)
with network.graph.as_default():
    saver, init = checkpoint.saver(network.variables), tf.compat.v1.global_variables_initializer()
running = session(network.graph)
running.run(init)
from pathlib import Path
import sys
checkpoint.export(running, saver, Path(sys.argv[1]))
print(running.run(network.hypothesis, {network.x: np.zeros([2, 32, 32, 3])}).shape, tf.executing_eagerly())
"""


def test_importing_the_package_leaves_eager_execution_on(tmp_path):
    done = subprocess.run([sys.executable, "-c", PROGRAM, tmp_path], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "(2, 10) True\n"), done.stderr
    assert (tmp_path / "model.ckpt.index").exists()
