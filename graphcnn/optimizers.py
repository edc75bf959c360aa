"""Update rules and the learning rate's course."""

from graphcnn.tf1 import tf, tf1

OPTIMIZERS = {
    "adam": tf1.train.AdamOptimizer,
    "sgd": tf1.train.GradientDescentOptimizer,
}


def warmed_up(learning_rate, warmup_steps, step):
    """Return the rate at a step (0-based): rising linearly over warmup_steps, then constant; a float32 scalar."""
    share = tf.cast(step + 1, tf.float32) / max(warmup_steps, 1)
    return learning_rate * tf.minimum(share, 1.0)


def train_op(name, loss, learning_rate, step):
    """Return the op that applies one update of the optimizer called `name` and adds 1 to `step`."""
    return OPTIMIZERS[name](learning_rate).minimize(loss, global_step=step)
