"""A recipe's network in the current tf.Graph: its variables, and the passes through it.

Letters in shapes: N batch, H W size of the stored images, S size at which the net runs, C features, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from graphcnn.config.recipe import Recipe
from graphcnn.graphs.freezing import HEAD
from graphcnn.graphs.inputs import Inputs
from graphcnn.graphs.preprocess import Normalisation, add_normalisation, add_views, preprocess
from graphcnn.nets import blocks
from graphcnn.nets.registry import NETS
from graphcnn.ops import layers
from graphcnn.ops.tf1 import choose_precision, tf, tf1

Statistics = tuple[np.ndarray, np.ndarray]  # (mean [3], scale [3]) in raw units
NO_STATISTICS = (np.zeros(3), np.ones(3))  # of a graph whose variables are restored


@dataclass(frozen=True)
class Prediction:
    """The tensors of an inference pass.

    Args:
        images: what the net sees, float32.
        features: what a pooled head sees, float32; None with the net's own head.
        logits, hypothesis: see InferenceGraph.
        variables: see InferenceGraph.
    """

    images: tf.Tensor  # [N, S, S, 3]
    features: tf.Tensor | None  # [N, C]
    logits: tf.Tensor  # [N, K]
    hypothesis: tf.Tensor  # [N, K]
    variables: list[tf.Variable]


@dataclass(frozen=True)
class Network:
    """A recipe's network; all its passes use the same variables.

    Args:
        recipe: Recipe.
        classes: K.
        dtype: type of the convolutions and matrix products.
        keep_prob: probability that dropout keeps a unit, float32 [].
        step: number of updates so far, an integer [].
        normalisation: variables of the input normalisation.
        portable: whether to use TensorFlow's own convolutions alone.
    """

    recipe: Recipe
    classes: int
    dtype: tf.DType
    keep_prob: tf.Tensor
    step: tf.Tensor
    normalisation: Normalisation
    portable: bool

    def context(
        self,
        part: layers.Part | None = None,
        moments: list[Any] | None = None,
        auxiliary: list[Any] | None = None,
        frozen: frozenset[str] = frozenset(),
    ) -> blocks.Mode:
        """Return what the net's blocks need beside its input; a training pass gives the lists."""
        recipe = self.recipe
        return blocks.Mode(
            seed=recipe.seed,
            step=self.step,
            keep_prob=self.keep_prob if recipe.keep_prob < 1 else None,
            part=part,
            drop_connect=recipe.drop_connect,
            whitening=recipe.whitening_patch_size,
            init=recipe.init,
            bias_init=recipe.bias_init,
            activation=recipe.activation,
            batch_norm=recipe.batch_norm_position if recipe.batch_norm else "none",
            training=moments is not None,
            frozen=frozen,
            moments=moments,
            auxiliary=auxiliary,
            portable=self.portable,
        )

    def preprocess(self, x: tf.Tensor, size: int) -> tf.Tensor:
        """Return what the net sees of images x [N, H, W, 3]: float32 [N, S, S, 3], S being the size."""
        return preprocess(x, size, self.recipe, self.normalisation)

    def run(self, images: tf.Tensor, context: blocks.Mode) -> tuple[tf.Tensor, tf.Tensor | None]:
        """Return (logits [N, K], features [N, C] of a pooled head or None), float32, for images [N, S, S, 3]."""
        pooled = self.recipe.head == "pooled"
        outputs = NETS[self.recipe.net](tf.cast(images, self.dtype), None if pooled else self.classes, context)
        if not pooled:
            return tf.cast(outputs, tf.float32), None
        features = tf.cast(layers.global_average_pool(outputs, "features"), tf.float32)  # [N, C]
        return self.head(features, context), features

    def head(self, features: tf.Tensor, context: blocks.Mode) -> tf.Tensor:
        """Return the logits [N, K] of a pooled head for features [N, C]."""
        return blocks.dense(blocks.dropout(features, f"{HEAD}/dropout", context), HEAD, self.classes, context)

    def predict(self, graph: tf.Graph, x: tf.Tensor, tta: tf.Tensor) -> Prediction:
        """Add the inference pass to the graph, which makes the network's variables.

        Args:
            graph: the current tf.Graph.
            x: images in raw units, float32 [N, H, W, 3].
            tta: whether to average over the test-time-augmentation views, bool [].
        """
        views, weights = add_views(x, tta, self.recipe)
        images = self.preprocess(views, self.recipe.image_size)
        logits, features = self.run(images, self.context())
        if weights is not None:  # [V * N, K] -> [N, K]
            by_view = tf.reshape(logits, [tf.size(weights), -1, self.classes])
            logits = tf.reduce_sum(by_view * weights[:, None, None], axis=0)
        logits = tf.identity(logits, name="logits")
        graph.clear_collection(tf1.GraphKeys.COND_CONTEXT)  # sets of names: the .meta would have them in another order
        variables = [v for v in tf1.global_variables() if v is not tf1.train.get_global_step()]
        return Prediction(images, features, logits, tf.nn.softmax(logits, name="hypothesis"), variables)

    def training_logits(self, x: tf.Tensor, features: tf.Tensor | None, size: int, context: blocks.Mode) -> tf.Tensor:
        """Return the logits [N, K] of a training pass over images x [N, H, W, 3] at a size; `predict` comes first.

        A frozen backbone is not part of the pass: its head starts from the features [N, C].
        """
        with tf1.variable_scope(tf1.get_variable_scope(), reuse=True), tf.name_scope("training_pass"):
            if features is not None and self.recipe.freeze == "backbone":
                return self.head(features, context)
            return self.run(self.preprocess(x, size), context)[0]


def add_network(
    recipe: Recipe,
    classes: int,
    inputs: Inputs,
    *,
    dtype: tf.DType,
    step: tf.Tensor,
    statistics: Statistics = NO_STATISTICS,
    portable: bool = False,
) -> Network:
    """Return a recipe's Network in the current tf.Graph, the variables of its input normalisation made.

    Args:
        statistics: initial values of these variables.
        recipe, classes, dtype, step, portable: see Network.
        inputs: the graph's placeholders.
    """
    return Network(
        recipe=recipe,
        classes=classes,
        dtype=dtype,
        keep_prob=inputs.keep_prob,
        step=step,
        normalisation=add_normalisation(*statistics),
        portable=portable,
    )


def dtype_of(precision: str) -> tf.DType:
    """Return the type of convolutions and matrix products for Recipe.precision."""
    return tf.as_dtype(choose_precision(precision)[0])
