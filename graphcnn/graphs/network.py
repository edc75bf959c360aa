"""The network of a recipe in the current tf.Graph: its variables, and its inference and training passes.

Letters in shapes: N batch, H W size of the stored images, S size at which the net runs, C features, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from graphcnn.config.recipe import Recipe
from graphcnn.graphs.freezing import HEAD
from graphcnn.graphs.inputs import Inputs
from graphcnn.graphs.preprocess import Normalisation, add_normalisation, add_views, preprocess
from graphcnn.nets.blocks import Auxiliary, NetContext, WithAuxiliary, dense, dropout
from graphcnn.nets.registry import NETS
from graphcnn.ops import layers
from graphcnn.ops.batch_slice import WHOLE_BATCH, BatchSlice
from graphcnn.ops.layers import MomentUpdate
from graphcnn.ops.recording import Recording, record_layers
from graphcnn.ops.tf1 import choose_precision, tf, tf1

Statistics = tuple[np.ndarray, np.ndarray]  # (mean [3], scale [3]) in raw units
NO_STATISTICS = (np.zeros(3), np.ones(3))  # for a graph whose variables are restored


@dataclass(frozen=True)
class Prediction:
    """The tensors of an inference pass.

    Args:
        images: preprocessed images, the input of the net, float32.
        features: input of a pooled head, float32; None with the net's own head.
        logits, hypothesis: see InferenceGraph.
        variables: see InferenceGraph.
    """

    images: tf.Tensor  # [N, S, S, 3]
    features: tf.Tensor | None  # [N, C]
    logits: tf.Tensor  # [N, K]
    hypothesis: tf.Tensor  # [N, K]
    variables: list[tf.Variable]


@dataclass(frozen=True)
class Outputs:
    """The outputs of a training pass.

    Args:
        logits: float32.
        auxiliary: the auxiliary classifiers.
        moments: the updates of the moving moments of batch norm, in the order of the layers.
    """

    logits: tf.Tensor  # [N, K]
    auxiliary: tuple[Auxiliary, ...]
    moments: tuple[MomentUpdate, ...]


@dataclass(frozen=True)
class Network:
    """The network of a recipe. All its passes use the same variables.

    Args:
        recipe: Recipe.
        classes: K.
        dtype: type of the convolutions and matrix products.
        keep_prob: probability that dropout keeps a unit, float32 [].
        step: number of updates so far, an integer [].
        normalisation: variables of the input normalisation.
        portable: whether to use only TensorFlow's own convolutions.
    """

    recipe: Recipe
    classes: int
    dtype: tf.DType
    keep_prob: tf.Tensor
    step: tf.Tensor
    normalisation: Normalisation
    portable: bool

    def preprocess(self, x: tf.Tensor, size: int) -> tf.Tensor:
        """Return the input of the net for images x [N, H, W, 3]: float32 [N, S, S, 3], where S is `size`."""
        return preprocess(x, size, self.recipe, self.normalisation)

    def predict(self, graph: tf.Graph, x: tf.Tensor, tta: tf.Tensor, temperature: float | None = None) -> Prediction:
        """Add the inference pass to the graph. This pass creates the variables of the network.

        Args:
            graph: the current tf.Graph.
            x: images in raw units, float32 [N, H, W, 3].
            tta: whether to average over the test-time-augmentation views, bool [].
            temperature: see add_hypothesis.
        """
        views, weights = add_views(x, tta, self.recipe)
        images = self.preprocess(views, self.recipe.image_size)
        logits, features, _ = self._run(images, self._context())
        if weights is not None:  # [V * N, K] -> [N, K]
            by_view = tf.reshape(logits, [tf.size(weights), -1, self.classes])
            logits = tf.reduce_sum(by_view * weights[:, None, None], axis=0)
        logits = tf.identity(logits, name="logits")
        graph.clear_collection(tf1.GraphKeys.COND_CONTEXT)  # it holds sets, whose order in the .meta varies
        variables = [v for v in tf1.global_variables() if v is not tf1.train.get_global_step()]
        return Prediction(images, features, logits, add_hypothesis(logits, temperature), variables)

    def train(
        self, x: tf.Tensor, features: tf.Tensor | None, size: int, batch_slice: BatchSlice, frozen: frozenset[str]
    ) -> Outputs:
        """Add a training pass to the current tf.Graph. It uses the variables that `predict` has created.

        Args:
            x: images in raw units, float32 [N, H, W, 3].
            features: input of a pooled head, float32 [N, C]. With a frozen backbone, the pass starts from it.
            size: S.
            batch_slice: which rows of the global batch x holds.
            frozen: names of the variables that training leaves unchanged.
        """
        context = self._context(training=True, batch_slice=batch_slice, frozen=frozen)
        auxiliary: tuple[Auxiliary, ...] = ()
        with tf1.variable_scope(tf1.get_variable_scope(), reuse=True), tf.name_scope("training_pass"):
            if self.recipe.freeze == "backbone":
                logits = self._head(features, context)
            else:
                logits, _, auxiliary = self._run(self.preprocess(x, size), context)
        return Outputs(logits, auxiliary, tuple(context.moment_updates))

    def record(self) -> Recording:
        """Build a training pass in the current tf.Graph, which must not be used further; return its layers."""
        size = self.recipe.image_size
        images = tf1.placeholder(tf.float32, [None, size, size, 3])
        with record_layers({"images": images}) as recording:
            logits, _, auxiliary = self._run(images, self._context(training=True))
            recording.add_output("logits", logits)
            for n, classifier in enumerate(auxiliary, start=1):
                recording.add_output(f"auxiliary {n}, weight {classifier.weight}", classifier.logits)
        return recording

    def _context(
        self, training: bool = False, batch_slice: BatchSlice = WHOLE_BATCH, frozen: frozenset[str] = frozenset()
    ) -> NetContext:
        recipe = self.recipe
        return NetContext(
            seed=recipe.seed,
            step=self.step,
            keep_prob=self.keep_prob if recipe.keep_prob < 1 else None,
            drop_connect=recipe.drop_connect,
            whitening_patch_size=recipe.whitening_patch_size,
            init=recipe.init,
            bias_init=recipe.bias_init,
            activation=recipe.activation,
            batch_norm_position=recipe.batch_norm_position if recipe.batch_norm else "none",
            portable=self.portable,
            training=training,
            batch_slice=batch_slice,
            frozen=frozen,
        )

    def _run(self, images: tf.Tensor, context: NetContext) -> tuple[tf.Tensor, tf.Tensor | None, tuple[Auxiliary, ...]]:
        """Return (logits [N, K], features [N, C] of a pooled head or None, auxiliary classifiers), all float32."""
        pooled = self.recipe.head == "pooled"
        outputs = NETS[self.recipe.net](tf.cast(images, self.dtype), None if pooled else self.classes, context)
        outputs, auxiliary = outputs if isinstance(outputs, WithAuxiliary) else (outputs, ())
        if not pooled:
            return tf.cast(outputs, tf.float32), None, auxiliary
        features = tf.cast(layers.global_average_pool(outputs, "features"), tf.float32)  # [N, C]
        return self._head(features, context), features, auxiliary

    def _head(self, features: tf.Tensor, context: NetContext) -> tf.Tensor:
        """Return the logits [N, K] of a pooled head for features [N, C]."""
        return dense(dropout(features, f"{HEAD}/dropout", context), HEAD, self.classes, context)


def add_hypothesis(logits: tf.Tensor, temperature: float | None = None) -> tf.Tensor:
    """Return the softmax outputs `hypothesis:0` of logits, float32 [N, K].

    Args:
        logits: float32 [N, K].
        temperature: T of softmax(logits / T); None for softmax(logits), without the division.
    """
    if temperature is not None:
        logits = tf.divide(logits, temperature, name="calibrated_logits")
    return tf.nn.softmax(logits, name="hypothesis")


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
    """Return the Network of a recipe in the current tf.Graph, and create the variables of its input normalisation.

    Args:
        statistics: initial values of the input normalisation.
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
