"""The training graph: the inference pass, a training pass with its loss, and the update.

Letters in shapes: N batch, H W size of the stored images, S size at which the net runs, C features, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from graphcnn.common.progress import say_if_slow
from graphcnn.config.recipe import Recipe
from graphcnn.graphs.freezing import frozen_names, moving_moments
from graphcnn.graphs.inference import InferenceGraph
from graphcnn.graphs.inputs import BatchSliceInputs, Inputs, add_batch_slice, add_inputs
from graphcnn.graphs.loss import add_auxiliary, l2_penalty, mean_cross_entropy, smooth_labels, weighted_cross_entropy
from graphcnn.graphs.network import Network, Statistics, add_network, dtype_of
from graphcnn.graphs.validate import validate_net
from graphcnn.ops.batch_slice import WHOLE_BATCH, BatchSlice, MicroBatchSlice, WorkerSlice
from graphcnn.ops.layers import MomentUpdate
from graphcnn.ops.optimizers import lookahead, train_op
from graphcnn.ops.tf1 import tf, tf1


@dataclass(frozen=True)
class Accumulation:
    """The operations that sum the gradients of the micro-batches of a step.

    Args:
        reset: sets the sums to zero, before the first micro-batch of a step.
        add: adds the gradients of one micro-batch.
    """

    reset: tf.Operation
    add: tf.Operation


@dataclass(frozen=True)
class TrainingGraph(InferenceGraph):
    """The tensors of a training graph. It also predicts, like an InferenceGraph.

    With several workers, loss, cross_entropy and correct are those of the global batch.

    Args:
        images: preprocessed images, the input of the net, float32.
        features: input of a pooled head, float32; None with the net's own head. If features are fed instead of x, the
            backbone is not computed.
        whitening_filters: the variable to which statistics.whitening_filters of `images` are assigned before the first
            step; None for a recipe without whitening.
        loss: mean weighted cross-entropy against the smoothed labels, plus auxiliary losses and L2, float32. For a
            micro-batch, this sum is multiplied by the micro-batch's fraction of the global batch.
        cross_entropy: mean cross-entropy against the labels, without smoothing, auxiliary losses and L2, float32.
        correct: number of rows whose largest training logit is that of the label, int32.
        finite: whether all trained weights are finite, bool.
        step: number of updates so far, int64.
        initialize: initialises all variables.
        train_op: one update; with micro-batches, it uses the accumulated gradients.
        accumulation: the Accumulation of a recipe with micro-batches, else None.
        batch_slice: the placeholders that say which rows of the global batch x holds; None if x is the global batch.
    """

    images: tf.Tensor  # [N, S, S, 3]
    features: tf.Tensor | None  # [N, C]
    whitening_filters: tf.Variable | None
    loss: tf.Tensor  # []
    cross_entropy: tf.Tensor  # []
    correct: tf.Tensor  # []
    finite: tf.Tensor  # []
    step: tf.Tensor  # []
    initialize: tf.Operation
    train_op: tf.Operation
    accumulation: Accumulation | None
    batch_slice: BatchSliceInputs | None


class Workers(Protocol):
    """The workers of a distributed training. Each worker has some rows of each global batch."""

    def sum_of_step(
        self, gradients: Sequence[tf.Tensor], loss: tf.Tensor, cross_entropy: tf.Tensor, correct: tf.Tensor
    ) -> tuple[list[tf.Tensor], tf.Tensor, tf.Tensor, tf.Tensor]:
        """Return the sum over all workers of each argument."""

    def sum_with_gradient(self, tensor: tf.Tensor) -> tf.Tensor:
        """Return the sum of a float32 tensor over all workers. Its gradient is also a sum over all workers."""

    def add_exchange(self) -> None:
        """Add the operations that exchange arrays between steps to the current tf.Graph."""


@say_if_slow("building the graph")
def build_training(
    recipe: Recipe,
    image_shape: tuple[int, int],
    classes: int,
    statistics: Statistics,
    total_steps: int,
    workers: Workers | None = None,
    largest_batch: int | None = None,
    class_weights: np.ndarray | None = None,
) -> TrainingGraph:
    """Return the TrainingGraph of a training run.

    Args:
        recipe: Recipe.
        image_shape: (H, W) of the stored images.
        classes: K.
        statistics: (mean [3], scale [3]) in raw units; the input of the net is (x - mean) / scale.
        total_steps: updates in the whole run; schedule, lookahead and early_fraction depend on it.
        workers: the workers that train together; None for one worker.
        largest_batch: number of rows of the largest global batch of an epoch; None for the recipe's batch size.
        class_weights: factor of the cross-entropies of each class's images, float [K]; None for equal weights.
    """
    validate_net(recipe)
    with tf1.Graph().as_default() as graph:
        step, dtype = tf1.train.create_global_step(), dtype_of(recipe.precision)
        inputs = add_inputs(image_shape)
        slice_inputs = add_batch_slice(inputs.y) if recipe.micro_batch or workers else None
        batch_slice = _batch_slice(slice_inputs, workers)
        network = add_network(recipe, classes, inputs, dtype=dtype, step=step, statistics=statistics)
        prediction = network.predict(graph, inputs.x, inputs.tta)
        frozen = frozen_names(recipe.freeze, prediction.variables)
        if recipe.freeze_batch_norm:
            frozen |= moving_moments(variable.op.name for variable in prediction.variables)
        weights = [weight for weight in tf1.trainable_variables() if weight.op.name not in frozen]
        factors = None if class_weights is None else tf.constant(class_weights, tf.float32, name="class_weights")
        training_pass = _TrainingPass(network, inputs, prediction.features, batch_slice, frozen, weights, factors)
        result = training_pass.at_early_size(step, total_steps)
        if workers:
            result = _sum_over_workers(result, workers, batch_slice, inputs.y)
        graph.clear_collection(tf1.GraphKeys.COND_CONTEXT)
        accumulation, gradients = None, result.gradients
        if recipe.micro_batch:
            accumulation, gradients = _accumulate(weights, gradients)
        updates = [train_op(recipe, weights, gradients, step, total_steps, dtype)]
        updates += _moment_updates(result.moments, batch_slice.size(inputs.y), largest_batch or recipe.batch_size)
        if recipe.lookahead:
            with tf.control_dependencies(updates):
                averaged = [*weights, *(update.variable for update in result.moments)]
                updates = [lookahead(averaged, recipe.lookahead, step.read_value(), total_steps)]
        return TrainingGraph(
            graph,
            **vars(inputs),
            **vars(prediction),
            whitening_filters=next((v for v in prediction.variables if v.op.name == "whitening/w"), None),
            loss=result.loss,
            cross_entropy=result.cross_entropy,
            correct=result.correct,
            finite=tf.reduce_all([tf.reduce_all(tf.math.is_finite(w)) for w in weights]),
            step=step,
            train_op=tf.group(updates),
            initialize=tf1.global_variables_initializer(),
            accumulation=accumulation,
            batch_slice=slice_inputs,
        )


def _batch_slice(inputs: BatchSliceInputs | None, workers: Workers | None) -> BatchSlice:
    if inputs is None:
        return WHOLE_BATCH
    if workers is None:
        return MicroBatchSlice(inputs.first, inputs.size)
    return WorkerSlice(inputs.first, inputs.size, workers.sum_with_gradient)


@dataclass(frozen=True)
class _StepResult:
    """The outputs of a training pass and its gradients.

    Args:
        loss, cross_entropy, correct: see TrainingGraph.
        gradients: gradient of the loss for each trained weight.
        moments: the updates of the moving moments of batch norm.
    """

    loss: tf.Tensor  # []
    cross_entropy: tf.Tensor  # []
    correct: tf.Tensor  # []
    gradients: list[tf.Tensor]
    moments: tuple[MomentUpdate, ...]

    def tensors(self) -> list[tf.Tensor]:
        """Return all tensors in one list, for tf.cond."""
        values = (update.value for update in self.moments)
        return [self.loss, self.cross_entropy, self.correct, *self.gradients, *values]

    def with_tensors(self, tensors: list[tf.Tensor]) -> _StepResult:
        """Return a copy with other tensors, in the order of tensors()."""
        loss, cross_entropy, correct, *rest = tensors
        gradients, values = rest[: len(self.gradients)], rest[len(self.gradients) :]
        moments = tuple(update._replace(value=value) for update, value in zip(self.moments, values, strict=True))
        return _StepResult(loss, cross_entropy, correct, gradients, moments)


@dataclass(frozen=True)
class _TrainingPass:
    """A training pass with its loss and gradients, to be built at one or two image sizes."""

    network: Network
    inputs: Inputs
    features: tf.Tensor | None  # [N, C]
    batch_slice: BatchSlice
    frozen: frozenset[str]
    weights: list[tf.Variable]
    class_weights: tf.Tensor | None  # [K]

    def at_early_size(self, step: tf.Tensor, total_steps: int) -> _StepResult:
        """Return the result at the early size in the first steps, and at the image size in all later steps."""
        recipe = self.network.recipe
        early_steps = recipe.early_steps(total_steps)
        if not early_steps:
            return self.at_size(recipe.image_size)
        results = []

        def tensors_at(size: int) -> list[tf.Tensor]:
            results.append(self.at_size(size))
            return results[-1].tensors()

        tensors = tf.cond(
            step < early_steps, lambda: tensors_at(recipe.early_size), lambda: tensors_at(recipe.image_size)
        )
        return results[-1].with_tensors(tensors)

    def at_size(self, size: int) -> _StepResult:
        """Return the result for images of this height and width, in pixels."""
        recipe, labels = self.network.recipe, self.inputs.y
        outputs = self.network.train(self.inputs.x, self.features, size, self.batch_slice, self.frozen)
        cross_entropy = mean_cross_entropy(outputs.logits, labels)
        if self.class_weights is None:
            loss = smooth_labels(cross_entropy, outputs.logits, recipe.label_smoothing)
        else:
            loss = weighted_cross_entropy(outputs.logits, labels, recipe.label_smoothing, self.class_weights)
        loss += l2_penalty(recipe.l2, self.weights)
        loss = add_auxiliary(loss, outputs.auxiliary, labels, recipe.label_smoothing, self.class_weights)
        loss = self.batch_slice.scale(loss, labels)
        is_correct = tf.equal(tf.argmax(outputs.logits, axis=1, output_type=tf.int32), labels)  # [N]
        correct = tf.math.count_nonzero(is_correct, dtype=tf.int32)
        return _StepResult(loss, cross_entropy, correct, tf1.gradients(loss, self.weights), outputs.moments)


def _sum_over_workers(result: _StepResult, workers: Workers, batch_slice: BatchSlice, labels: tf.Tensor) -> _StepResult:
    """Return the result of a worker with the loss, cross-entropy, count and gradients of the global batch."""
    cross_entropy = batch_slice.scale(result.cross_entropy, labels)
    sums = workers.sum_of_step(result.gradients, result.loss, cross_entropy, result.correct)
    workers.add_exchange()
    gradients, loss, cross_entropy, correct = sums
    return _StepResult(loss, cross_entropy, correct, gradients, result.moments)


def _accumulate(
    weights: Sequence[tf.Variable], gradients: Sequence[tf.Tensor]
) -> tuple[Accumulation, list[tf.Variable]]:
    """Return the operations that sum gradients over micro-batches, and the sums."""
    sums = [_sum_like(weight) for weight in weights]
    reset = tf.group([total.initializer for total in sums])
    add = tf.group([tf1.assign_add(total, gradient).op for total, gradient in zip(sums, gradients, strict=True)])
    return Accumulation(reset, add), sums


def _moment_updates(moments: Sequence[MomentUpdate], rows: tf.Tensor, largest_batch: int) -> list[tf.Operation]:
    """Return the operations that update the moving moments. The last batch of an epoch, if smaller, has less weight.

    Args:
        moments: the updates.
        rows: number of rows of the global batch, int32 [].
        largest_batch: see build_training.
    """
    fraction = tf.cast(rows, tf.float32) / largest_batch
    return [
        tf1.assign_sub(moment.variable, fraction * moment.momentum * (moment.variable - moment.value)).op
        for moment in moments
    ]


def _sum_like(weight: tf.Variable) -> tf.Variable:
    """Return a float32 variable of the shape of the weight. It is a local variable, which no checkpoint contains."""
    name, local = f"micro_batch/{weight.op.name}", [tf1.GraphKeys.LOCAL_VARIABLES]
    return tf1.get_variable(name, weight.shape, tf.float32, tf1.zeros_initializer(), trainable=False, collections=local)
