"""The graph that trains: the inference pass, a training pass with its loss, and the update.

Letters in shapes: N batch, H W size of the stored images, S size at which the net runs, C features, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from graphcnn.config.recipe import Recipe
from graphcnn.graphs.freezing import frozen_names
from graphcnn.graphs.inference import InferenceGraph
from graphcnn.graphs.inputs import BatchSliceInputs, add_batch_slice, add_inputs
from graphcnn.graphs.loss import add_auxiliary, l2_penalty, mean_cross_entropy, smooth_labels
from graphcnn.graphs.network import Statistics, add_network, dtype_of
from graphcnn.graphs.validate import check_net
from graphcnn.ops import layers
from graphcnn.ops.optimizers import lookahead, train_op
from graphcnn.ops.tf1 import tf, tf1


@dataclass(frozen=True)
class Accumulation:
    """The operations that sum the gradients of a step's micro-batches.

    Args:
        reset: sets the sums to zero, before the first micro-batch of a step.
        add: adds the gradients of one micro-batch.
    """

    reset: tf.Operation
    add: tf.Operation


@dataclass(frozen=True)
class TrainingGraph(InferenceGraph):
    """The tensors of a graph that trains, and predicts like an InferenceGraph.

    Args:
        images: what the net sees of x, float32.
        features: what a pooled head sees, float32; fed in place of x, they spare the net below the head. None with the
            net's own head.
        whitening_filters: the variable that expects statistics.whitening_filters of `images` before the first step;
            None for a recipe without whitening.
        loss: mean (smoothed) cross-entropy of the batch plus auxiliary losses and L2, float32; of a micro-batch, that
            times its fraction of the global batch.
        cross_entropy: mean cross-entropy without these, float32.
        correct: number of rows whose largest training logit is the right one, int32. With several workers, loss,
            cross_entropy and correct are those of the global batch.
        finite: whether all trained weights are finite, bool.
        step: number of updates so far, int64.
        initialize: initialises all variables.
        train_op: one update; with micro-batches, by the accumulated gradients.
        accumulation: of a recipe with micro-batches, else None.
        batch_slice: the placeholders that say which rows of the global batch x holds; None where x is the global batch.
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


def build_training(
    recipe: Recipe,
    image_shape: tuple[int, int],
    classes: int,
    statistics: Statistics,
    total_steps: int,
    workers: Any = None,
) -> TrainingGraph:
    """Return the TrainingGraph of a training run.

    Args:
        recipe: Recipe; its multiplications are in recipe.precision.
        image_shape: (H, W) of the stored images.
        classes: K.
        statistics: (mean [3], scale [3]) in raw units; the net sees (x - mean) / scale.
        total_steps: updates in the whole run; schedule, lookahead and the early image size refer to it.
        workers: the workers that have some rows of each global batch; None for one worker.
    """
    check_net(recipe)
    with tf1.Graph().as_default() as graph:
        step, dtype = tf1.train.create_global_step(), dtype_of(recipe.precision)
        inputs = add_inputs(image_shape)
        batch_slice = add_batch_slice(inputs.y) if recipe.micro_batch or workers else None
        network = add_network(recipe, classes, inputs, dtype=dtype, step=step, statistics=statistics)
        prediction = network.predict(graph, inputs.x, inputs.tta)
        frozen = frozen_names(recipe.freeze, prediction.variables)
        weights = [weight for weight in tf1.trainable_variables() if weight.op.name not in frozen]
        part = None
        if batch_slice is not None:
            total = workers.sum_with_gradient if workers else None
            part = layers.Part(batch_slice.first, batch_slice.size, total)
        moving = []  # batch norm's variables, in the order of the moments that `slopes` returns

        def slopes(size: int) -> list[tf.Tensor]:
            """Return [loss, cross-entropy, correct rows, the gradient of each weight, each batch norm's moments]."""
            moments, auxiliary = [], []
            context = network.context(part, moments, auxiliary, frozen)
            logits = network.training_logits(inputs.x, prediction.features, size, context)
            moving[:] = [(variable, momentum) for variable, _, momentum in moments]
            cross_entropy = mean_cross_entropy(logits, inputs.y)
            loss = smooth_labels(cross_entropy, logits, recipe.label_smoothing) + l2_penalty(recipe.l2, weights)
            loss = add_auxiliary(loss, auxiliary, inputs.y, recipe.label_smoothing)
            if batch_slice is not None:
                loss *= tf.cast(tf.size(inputs.y) / batch_slice.size, tf.float32)
            right = tf.equal(tf.argmax(logits, axis=1, output_type=tf.int32), inputs.y)
            correct = tf.math.count_nonzero(right, dtype=tf.int32)
            return [loss, cross_entropy, correct, *tf1.gradients(loss, weights), *(value for _, value, _ in moments)]

        early_steps = round(recipe.early_fraction * total_steps) if recipe.early_size else 0
        if early_steps:
            results = tf.cond(step < early_steps, lambda: slopes(recipe.early_size), lambda: slopes(recipe.image_size))
        else:
            results = slopes(recipe.image_size)
        loss, cross_entropy, correct, *results = results
        gradients, moments = results[: len(weights)], results[len(weights) :]
        if workers:
            fraction = tf.cast(tf.size(inputs.y) / batch_slice.size, tf.float32)
            sums = workers.sum_of_step(gradients, loss, fraction * cross_entropy, correct)
            gradients, loss, cross_entropy, correct = sums
            workers.add_exchange()
        graph.clear_collection(tf1.GraphKeys.COND_CONTEXT)
        accumulation = None
        if recipe.micro_batch:
            sums = [_sum_like(w) for w in weights]
            reset = tf.group([each.initializer for each in sums])
            add = tf.group([tf1.assign_add(a, g).op for a, g in zip(sums, gradients, strict=True)])
            accumulation, gradients = Accumulation(reset, add), sums
        updates = [train_op(recipe, weights, gradients, step, total_steps, dtype)]
        rows = tf.size(inputs.y) if batch_slice is None else batch_slice.size
        filled = tf.cast(rows, tf.float32) / recipe.batch_size
        for (variable, momentum), value in zip(moving, moments, strict=True):
            updates.append(tf1.assign_sub(variable, filled * momentum * (variable - value)).op)
        if recipe.lookahead:
            with tf.control_dependencies(updates):
                averaged = [*weights, *(variable for variable, _ in moving)]
                updates = [lookahead(averaged, recipe.lookahead, step.read_value(), total_steps)]
        return TrainingGraph(
            graph,
            **vars(inputs),
            **vars(prediction),
            whitening_filters=next((v for v in prediction.variables if v.op.name == "whitening/w"), None),
            loss=loss,
            cross_entropy=cross_entropy,
            correct=correct,
            finite=tf.reduce_all([tf.reduce_all(tf.math.is_finite(w)) for w in weights]),
            step=step,
            train_op=tf.group(updates),
            initialize=tf1.global_variables_initializer(),
            accumulation=accumulation,
            batch_slice=batch_slice,
        )


def _sum_like(weight: tf.Variable) -> tf.Variable:
    """Return a float32 variable of the weight's shape; it belongs to one session, no checkpoint holds it."""
    name, local = f"micro_batch/{weight.op.name}", [tf1.GraphKeys.LOCAL_VARIABLES]
    return tf1.get_variable(name, weight.shape, tf.float32, tf1.zeros_initializer(), trainable=False, collections=local)
