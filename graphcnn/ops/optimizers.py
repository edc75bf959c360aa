"""Update rules: TensorFlow's optimizers, Muon and Lookahead."""

from __future__ import annotations

from collections.abc import Sequence

from graphcnn.config.recipe import Recipe
from graphcnn.ops.schedules import schedule_factor
from graphcnn.ops.tf1 import tf, tf1

NEWTON_SCHULZ = (
    3.4445,
    -4.7750,
    2.0315,
)  # polynomial of Jordan et al. (2024): raises small singular values fast
NEWTON_SCHULZ_STEPS = 3
LOOKAHEAD_DECAY = 0.95  # weight of the slow value after one step, at the end of training


def train_op(
    recipe: Recipe,
    weights: Sequence[tf.Variable],
    gradients: Sequence[tf.Tensor],
    step: tf.Variable,
    total_steps: int,
    dtype: tf.DType,
) -> tf.Operation:
    """Return the op that applies one update and adds 1 to `step`.

    adam, sgd, nesterov and rmsprop are optimizers of TensorFlow. muon uses Muon for the kernels of convolutions, and
    nesterov for all other weights. bias_lr_multiplier applies to biases and to the offsets and scales of
    batch norm.

    Args:
        recipe: Recipe.
        weights: the variables to update.
        gradients: float32, one for each weight.
        step: number of updates so far.
        total_steps: updates in the whole training.
        dtype: of Muon's matrix products.
    """
    schedule = schedule_factor(recipe, step, total_steps)
    groups: dict[float, list[tuple[tf.Tensor, tf.Variable]]] = {}  # by learning-rate multiplier
    updates = []
    for gradient, w in zip(gradients, weights, strict=True):
        if recipe.optimizer == "muon" and w.shape.rank == 4:
            updates.append(muon(gradient, w, recipe.muon_learning_rate * schedule, recipe.muon_momentum, dtype))
        else:
            multiplier = recipe.bias_lr_multiplier if w.shape.rank == 1 else 1.0
            groups.setdefault(multiplier, []).append((gradient, w))
    for multiplier, pairs in groups.items():
        updates.append(_optimizer(recipe, recipe.learning_rate * multiplier * schedule).apply_gradients(pairs))
    with tf.control_dependencies(updates):
        return tf1.assign_add(step, 1).op


def _optimizer(recipe: Recipe, learning_rate: tf.Tensor) -> tf1.train.Optimizer:
    """Return the TensorFlow optimizer that the recipe names; for muon, the one of the other weights."""
    if recipe.optimizer == "adam":
        return tf1.train.AdamOptimizer(learning_rate)
    if recipe.optimizer == "sgd":
        return tf1.train.GradientDescentOptimizer(learning_rate)
    if recipe.optimizer == "rmsprop":
        return tf1.train.RMSPropOptimizer(learning_rate, decay=0.9, epsilon=1e-7)  # Keras's settings
    return tf1.train.MomentumOptimizer(learning_rate, recipe.momentum, use_nesterov=True)


def muon(
    gradient: tf.Tensor, w: tf.Variable, learning_rate: tf.Tensor, momentum: float, dtype: tf.DType
) -> tf.Operation:
    """Return the op of Muon's update of a kernel (Jordan et al., 2024).

    The update is the Nesterov momentum, orthogonalised as a matrix [h w C, K]. Before the update, the kernel is scaled
    to the norm sqrt(K). With batch norm after the convolution, the norm of the kernel has no effect on the output.

    Args:
        gradient: float32 [h, w, C, K].
        w: the kernel, [h, w, C, K].
        learning_rate: float32 [].
        momentum: momentum coefficient.
        dtype: of the matrix products.

    Variables: <name of w>/muon, the momentum.
    """
    velocity = tf1.get_variable(f"{w.op.name}/muon", w.shape, initializer=tf1.zeros_initializer(), trainable=False)
    new_velocity = tf1.assign(velocity, momentum * velocity + gradient)
    matrix = tf.reshape(gradient + momentum * new_velocity, [-1, int(w.shape[3])])  # [h w C, K]
    update = tf.cast(orthogonalize(tf.cast(matrix, dtype)), tf.float32)
    scaled = w * tf.sqrt(float(w.shape[3]) / (2 * tf.nn.l2_loss(w)))
    return tf1.assign(w, scaled - learning_rate * tf.reshape(update, w.shape)).op


def orthogonalize(matrix: tf.Tensor) -> tf.Tensor:
    """Return the matrix with its singular values near 1 and its singular vectors unchanged, by Newton-Schulz steps.

    A step multiplies the matrix X by a I + b G + c G^2, where G is X^T X (X X^T if X is wide). All these matrices
    commute. So only G goes through the steps, and X is multiplied once, by the product of their factors.
    """
    a, b, c = NEWTON_SCHULZ
    rows, columns = (int(size) for size in matrix.shape)
    tall = rows > columns
    gram = tf.matmul(matrix, matrix, transpose_a=tall, transpose_b=not tall)
    squares = tf.cast(tf.linalg.trace(gram), tf.float32) + 1e-14  # the sum of the squared singular values
    gram = gram / tf.cast(squares, gram.dtype)
    identity = tf.eye(min(rows, columns), dtype=gram.dtype)
    product = identity * tf.cast(tf.math.rsqrt(squares), gram.dtype)
    for _ in range(NEWTON_SCHULZ_STEPS):
        factor = a * identity + b * gram + c * tf.matmul(gram, gram)
        product = tf.matmul(product, factor)
        gram = tf.matmul(tf.matmul(factor, gram), factor)
    return tf.matmul(matrix, product) if tall else tf.matmul(product, matrix)


def lookahead(variables: Sequence[tf.Variable], every: int, step: tf.Tensor, total_steps: int) -> tf.Operation:
    """Return the op of Lookahead, which keeps a slow copy of each variable (Zhang et al., 2019).

    It acts after each `every` updates and after the last update. It sets the slow value and the variable to
    keep * slow + (1 - keep) * variable, where keep = LOOKAHEAD_DECAY^every * (fraction of finished updates)^3. The
    schedule of `keep` is from arXiv 2404.00498.

    Args:
        variables: the trained variables, called fast.
        every: number of updates between two actions.
        step: number of finished updates, an integer [].
        total_steps: updates in the whole training.

    Variables: <name of each variable>/slow.
    """
    keep = LOOKAHEAD_DECAY**every * (tf.cast(step, tf.float32) / total_steps) ** 3
    due = tf.equal(step % every, 0) | tf.equal(step, total_steps)
    updates = []
    for fast in variables:
        slow = tf1.get_variable(f"{fast.op.name}/slow", initializer=fast.initial_value, trainable=False)
        pulled = tf.where(due, keep * slow + (1 - keep) * fast, fast)
        with tf.control_dependencies([pulled]):
            updates += [tf1.assign(slow, tf.where(due, pulled, slow)).op, tf1.assign(fast, pulled).op]
    return tf.group(updates)
