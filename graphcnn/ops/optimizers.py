"""Update rules and the learning rate's course."""

from graphcnn.ops.tf1 import tf, tf1

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # Jordan's quintic (2024): lifts small singular values fast, settles near 1
NEWTON_SCHULZ_STEPS = 3
LOOKAHEAD_DECAY = 0.95  # a step; of the slow weights at the end of training


def course(recipe, step, total_steps):
    """Return the learning rate's share at a step (0-based), a float32 scalar in 0..1.

    It rises linearly over warmup_steps; then it stays (constant) or falls linearly to 0 at total_steps (linear).
    """
    rising = tf.cast(step + 1, tf.float32) / max(recipe.warmup_steps, 1)
    if recipe.schedule == "constant":
        return tf.minimum(rising, 1.0)
    falling = tf.cast(total_steps - step, tf.float32) / max(total_steps - recipe.warmup_steps, 1)
    return tf.minimum(rising, tf.clip_by_value(falling, 0.0, 1.0))


def train_op(recipe, weights, gradients, step, total_steps, dtype):
    """Return the op that applies one update and adds 1 to `step`.

    adam, sgd, nesterov, rmsprop: TensorFlow's. muon: orthogonalised momentum for filters, nesterov for all else.

    Args:
        weights, gradients: lists of variables and of their float32 gradients.
        total_steps: where a linear schedule ends.
        dtype: of Muon's matrix products.
    """
    share = course(recipe, step, total_steps)
    groups, updates = {}, []
    for gradient, w in zip(gradients, weights, strict=True):
        if recipe.optimizer == "muon" and w.shape.rank == 4:
            updates.append(muon(gradient, w, recipe.muon_learning_rate * share, recipe.muon_momentum, dtype))
        else:
            factor = recipe.bias_lr_multiplier if w.shape.rank == 1 else 1.0
            groups.setdefault(factor, []).append((gradient, w))
    for factor, pairs in groups.items():
        updates.append(_rule(recipe, recipe.learning_rate * factor * share).apply_gradients(pairs))
    with tf.control_dependencies(updates):
        return tf1.assign_add(step, 1).op


def _rule(recipe, rate):
    """Return TensorFlow's optimizer of that name."""
    if recipe.optimizer == "adam":
        return tf1.train.AdamOptimizer(rate)
    if recipe.optimizer == "sgd":
        return tf1.train.GradientDescentOptimizer(rate)
    if recipe.optimizer == "rmsprop":
        return tf1.train.RMSPropOptimizer(rate, decay=0.9, epsilon=1e-7)  # Keras's numbers in TensorFlow's rule
    return tf1.train.MomentumOptimizer(rate, recipe.momentum, use_nesterov=True)


def muon(gradient, w, rate, momentum, dtype):
    """Return the op of Muon's update of a filter bank w [h, w, C, K] (Jordan et al., 2024).

    The Nesterov momentum is orthogonalised as a matrix [h w C, K]; the bank is brought to norm sqrt(K) first, since a
    normalisation after the convolution makes its size meaningless. Variable: <w's name>/muon, the momentum.
    """
    velocity = tf1.get_variable(f"{w.op.name}/muon", w.shape, initializer=tf1.zeros_initializer(), trainable=False)
    moved = tf1.assign(velocity, momentum * velocity + gradient)
    matrix = tf.reshape(gradient + momentum * moved, [-1, int(w.shape[3])])
    update = tf.cast(orthogonalized(tf.cast(matrix, dtype)), tf.float32)
    scaled = w * tf.sqrt(float(w.shape[3]) / (2 * tf.nn.l2_loss(w)))
    return tf1.assign(w, scaled - rate * tf.reshape(update, w.shape)).op


def orthogonalized(matrix):
    """Return the matrix X with its singular values near 1, its singular vectors kept, by Newton-Schulz steps.

    A step multiplies X by a I + b G + c G^2, where G is X^T X (X X^T if X is wide). All these commute, so G alone goes
    through the steps, and X is multiplied once, by their product.
    """
    a, b, c = NEWTON_SCHULZ
    rows, columns = (int(side) for side in matrix.shape)
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


def lookahead(variables, every, step, total_steps):
    """Return the op that pulls variables and their slow average together after each `every` updates and after the last.

    The slow one moves towards the fast one by 1 - LOOKAHEAD_DECAY^every * (share of the training done)^3, then the
    fast one becomes the slow one (Zhang et al., 2019, with arXiv 2404.00498's course). `step` counts finished updates.
    Variables: <each name>/slow.
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
