"""A recipe as one TF1 graph: placeholders, resize, normalisation, net, loss, L2, train op.

The names x:0, y:0, keep_prob:0, training:0, tta:0, logits:0 and hypothesis:0 are public: graders restore the graph and
use them. N batch, H W the stored images' size, K classes.
"""

from typing import Any, NamedTuple

import numpy as np

from graphcnn.errors import InputError
from graphcnn.nets import NETS, Mode
from graphcnn.optimizers import train_op, warmed_up
from graphcnn.recipes import unknown
from graphcnn.tf1 import choose_precision, tf, tf1


class Graph(NamedTuple):
    """The tensors of a built graph; those from `loss` on are None in an inference graph.

    x: float32 [N, H, W, 3], raw units. y: int32 [N]. keep_prob: float32, 1.0 unless fed. training, tta: bool, False.
    logits, hypothesis (softmax): float32 [N, K].
    variables: what a prediction depends on, as a list: weights and normalisation.
    loss: float32, the batch's mean cross-entropy plus L2. cross_entropy: float32, its first part.
    finite: bool, whether all weights are finite. step: int64. train_op: one update. init: initialises all variables.
    """

    graph: Any
    x: Any
    y: Any
    keep_prob: Any
    training: Any
    tta: Any
    logits: Any
    hypothesis: Any
    variables: list
    loss: Any = None
    cross_entropy: Any = None
    finite: Any = None
    step: Any = None
    train_op: Any = None
    init: Any = None


def build_inference(recipe, image_shape, classes, precision="float32", portable=False):
    """Return a Graph without loss and optimizer, to be restored; its defaults predict when only x is fed.

    Args:
        recipe: Recipe.
        image_shape: (H, W) of the stored images.
        classes: K.
        precision: of convolutions and matmuls: auto, float32 or bfloat16.
        portable: whether other programs are to use the graph: it then has tf.nn's convolutions alone.
    """
    with tf1.Graph().as_default() as graph:
        unset = (np.zeros(3), np.ones(3))
        return _forward(graph, recipe, image_shape, classes, precision, unset, tf.constant(0), portable)


def build_training(recipe, image_shape, classes, statistics):
    """Return the Graph of a training run, its multiplications in recipe.precision.

    Args:
        recipe: Recipe.
        image_shape: (H, W) of the stored images.
        classes: K.
        statistics: (mean [3], scale [3]) in raw units; the net sees (x - mean) / scale.
    """
    with tf1.Graph().as_default() as graph:
        step = tf1.train.create_global_step()
        forward = _forward(graph, recipe, image_shape, classes, recipe.precision, statistics, step)
        each = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=forward.y, logits=forward.logits)  # [N]
        cross_entropy = tf.reduce_mean(each)
        loss = cross_entropy + l2_penalty(recipe.l2)
        weights = tf1.trainable_variables()
        rate = warmed_up(recipe.learning_rate, recipe.warmup_steps, step)
        return forward._replace(
            loss=loss,
            cross_entropy=cross_entropy,
            finite=tf.reduce_all([tf.reduce_all(tf.math.is_finite(w)) for w in weights]),
            step=step,
            train_op=train_op(recipe.optimizer, loss, rate, step),
            init=tf1.global_variables_initializer(),
        )


def check_net(name):
    """Refuse a name that is not in NETS, with the nearest match."""
    if name not in NETS:
        raise InputError(f"--net: {unknown(name, list(NETS))}")


def l2_penalty(weight):
    """Return weight * sum of ||w||^2 / 2 over the trainable variables of rank > 1, a float32 scalar."""
    if not weight:
        return tf.constant(0.0)
    with tf.name_scope("l2"):
        return weight * tf.add_n([tf.nn.l2_loss(w) for w in tf1.trainable_variables() if w.shape.rank > 1])


def count_parameters(graph):
    """Return the number of trainable scalars in a Graph."""
    return sum(int(np.prod(v.shape)) for v in graph.variables if v.trainable)


def _forward(graph, recipe, image_shape, classes, precision, statistics, step, portable=False):
    """Return the Graph up to `hypothesis`, in the current tf.Graph."""
    check_net(recipe.net)
    x = tf1.placeholder(tf.float32, [None, *image_shape, 3], name="x")
    y = tf1.placeholder(tf.int32, [None], name="y")
    keep_prob = tf1.placeholder_with_default(1.0, [], name="keep_prob")
    training = tf1.placeholder_with_default(False, [], name="training")
    tta = tf1.placeholder_with_default(False, [], name="tta")

    images = x
    if tuple(image_shape) != (recipe.image_size, recipe.image_size):
        images = tf.image.resize(images, [recipe.image_size, recipe.image_size], antialias=True)
    with tf1.variable_scope("normalisation"):
        mean, scale = (
            tf1.get_variable(name, initializer=np.asarray(value, np.float32), trainable=False)
            for name, value in zip(("mean", "scale"), statistics, strict=True)
        )
    images = (images - mean) / scale  # [N, S, S, 3]

    dtype = tf.as_dtype(choose_precision(precision)[0])
    mode = Mode(recipe.seed, step, keep_prob, training, portable)
    logits = NETS[recipe.net](tf.cast(images, dtype), classes, mode)  # [N, K]
    logits = tf.identity(tf.cast(logits, tf.float32), name="logits")
    return Graph(
        graph=graph,
        x=x,
        y=y,
        keep_prob=keep_prob,
        training=training,
        tta=tta,
        logits=logits,
        hypothesis=tf.nn.softmax(logits, name="hypothesis"),
        variables=[*tf1.trainable_variables(), mean, scale],
    )
