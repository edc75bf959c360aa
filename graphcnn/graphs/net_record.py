"""The record of a recipe's net in config.json: whether the code of the net is still that of the training."""

from __future__ import annotations

from typing import NamedTuple

from graphcnn.config.recipe import Recipe
from graphcnn.graphs.inputs import add_inputs
from graphcnn.graphs.network import add_network
from graphcnn.ops.tf1 import tf, tf1


class NetRecord(NamedTuple):
    """The layers of a net.

    Attributes:
        fingerprint: sha256 of the layers, as hexadecimal digits. It changes with each change of a layer or of an
            operation between layers. It does not depend on the precision, the form of the convolutions, the version of
            TensorFlow, the initial values or the augmentation.
        layers: a line of text for each layer.
    """

    fingerprint: str
    layers: list[str]


def record_net(recipe: Recipe, classes: int) -> NetRecord:
    """Return the NetRecord of a recipe that `validate_net` accepts, for this number of classes."""
    with tf1.Graph().as_default():
        inputs = add_inputs((recipe.image_size, recipe.image_size))
        network = add_network(recipe, classes, inputs, dtype=tf.float32, step=tf.constant(0), portable=True)
        recording = network.record()
        return NetRecord(recording.fingerprint(), recording.layers)
