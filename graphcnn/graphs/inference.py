"""The inference graph: placeholders, preprocessing, net, softmax.

The names x:0, y:0, keep_prob:0, training:0, tta:0, logits:0 and hypothesis:0 are public: graders restore the graph and
use them. Letters in shapes: N batch, H W size of the stored images, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from graphcnn.common.progress import say_if_slow
from graphcnn.config.recipe import Recipe
from graphcnn.graphs.inputs import Inputs, add_inputs
from graphcnn.graphs.network import Prediction, add_network, dtype_of
from graphcnn.graphs.validate import validate_net
from graphcnn.ops.tf1 import tf, tf1


@dataclass(frozen=True)
class InferenceGraph:
    """The tensors of an inference graph. Feeding x is enough to predict.

    Args:
        graph: the tf.Graph.
        x: images in raw units, float32.
        y: labels, int32.
        keep_prob: probability that dropout keeps a unit, float32; 1.0 unless fed.
        training: bool, False unless fed.
        tta: whether the logits are the mean over the recipe's test-time-augmentation views, bool; False unless fed.
        logits: float32; batch norm uses its moving moments.
        hypothesis: softmax of the logits, or of the logits divided by a temperature, float32.
        variables: variables that a prediction depends on: weights, moving moments, normalisation.
    """

    graph: tf.Graph
    x: tf.Tensor  # [N, H, W, 3]
    y: tf.Tensor  # [N]
    keep_prob: tf.Tensor  # []
    training: tf.Tensor  # []
    tta: tf.Tensor  # []
    logits: tf.Tensor  # [N, K]
    hypothesis: tf.Tensor  # [N, K]
    variables: list[tf.Variable]


@say_if_slow("building the graph")
def build_inference(
    recipe: Recipe,
    image_shape: tuple[int, int],
    classes: int,
    precision: str = "float32",
    portable: bool = False,
    temperature: float | None = None,
) -> InferenceGraph:
    """Build the InferenceGraph of a recipe. Its variables have no values until they are restored.

    Args:
        recipe: Recipe.
        image_shape: (H, W) of the stored images.
        classes: K.
        precision: precision of convolutions and matrix products: auto, float32 or bfloat16.
        portable: whether other programs use the graph; it then has only TensorFlow's own convolutions.
        temperature: see network.add_hypothesis.
    """
    with tf1.Graph().as_default() as graph:
        inputs = add_inputs(image_shape)
        prediction = _predict(graph, inputs, recipe, classes, dtype_of(precision), portable, temperature)
        return InferenceGraph(
            graph,
            **vars(inputs),
            logits=prediction.logits,
            hypothesis=prediction.hypothesis,
            variables=prediction.variables,
        )


def build_ensemble(
    recipes: Sequence[Recipe], image_shape: tuple[int, int], classes: int, weights: Sequence[float]
) -> InferenceGraph:
    """Build the InferenceGraph of an ensemble, portable and in float32. Its output is a weighted mean of softmaxes.

    The variables of member n, counted from 1, are in the scope member_<n>. The logits are the logarithm of the mean.

    Args:
        recipes: Recipe of each member.
        image_shape, classes: see build_inference.
        weights: ensemble weight of each member; they sum to 1.
    """
    with tf1.Graph().as_default() as graph:
        inputs, members = add_inputs(image_shape), []
        for n, recipe in enumerate(recipes, start=1):
            with tf1.variable_scope(member_scope(n)):
                members.append(_predict(graph, inputs, recipe, classes, tf.float32, portable=True))
        mean = tf.add_n([weight * member.hypothesis for weight, member in zip(weights, members, strict=True)])
        return InferenceGraph(
            graph,
            **vars(inputs),
            logits=tf.math.log(tf.maximum(mean, np.finfo(np.float32).tiny), name="logits"),
            hypothesis=tf.identity(mean, name="hypothesis"),
            variables=tf1.global_variables(),
        )


def _predict(
    graph: tf.Graph,
    inputs: Inputs,
    recipe: Recipe,
    classes: int,
    dtype: tf.DType,
    portable: bool,
    temperature: float | None = None,
) -> Prediction:
    validate_net(recipe)
    network = add_network(recipe, classes, inputs, dtype=dtype, step=tf.constant(0), portable=portable)
    return network.predict(graph, inputs.x, inputs.tta, temperature)


def member_scope(n: int) -> str:
    """Return the scope of the variables of member n of an ensemble, counted from 1."""
    return f"member_{n}"


def count_parameters(graph: InferenceGraph) -> int:
    """Return the number of trainable parameters of a graph."""
    return sum(int(np.prod(variable.shape)) for variable in graph.variables if variable.trainable)
