"""The placeholders of a graph. Their names x:0, y:0, keep_prob:0, training:0 and tta:0 are public.

Graders and other programs restore the graph and use these names. The default values mean inference. Letters in shapes:
N batch, H W size of the stored images.
"""

from __future__ import annotations

from dataclasses import dataclass

from graphcnn.ops.tf1 import tf, tf1


@dataclass(frozen=True)
class Inputs:
    """The placeholders of a graph.

    Args:
        x: images in raw units, float32.
        y: labels, int32.
        keep_prob: probability that dropout keeps a unit, float32; 1.0 unless fed.
        training: bool, False unless fed.
        tta: whether to average over the test-time-augmentation views, bool; False unless fed.
    """

    x: tf.Tensor  # [N, H, W, 3]
    y: tf.Tensor  # [N]
    keep_prob: tf.Tensor  # []
    training: tf.Tensor  # []
    tta: tf.Tensor  # []


@dataclass(frozen=True)
class BatchSliceInputs:
    """The placeholders that say which rows of a step's global batch x holds.

    Args:
        first: index of the first row, int32; 0 unless fed.
        size: number of rows of the global batch, int32; the number of rows of y unless fed.
    """

    first: tf.Tensor  # []
    size: tf.Tensor  # []


def add_inputs(image_shape: tuple[int, int]) -> Inputs:
    """Return new placeholders in the current tf.Graph, for stored images of the size (H, W)."""
    return Inputs(
        x=tf1.placeholder(tf.float32, [None, *image_shape, 3], name="x"),
        y=tf1.placeholder(tf.int32, [None], name="y"),
        keep_prob=tf1.placeholder_with_default(1.0, [], name="keep_prob"),
        training=tf1.placeholder_with_default(False, [], name="training"),
        tta=tf1.placeholder_with_default(False, [], name="tta"),
    )


def add_batch_slice(y: tf.Tensor) -> BatchSliceInputs:
    """Return new placeholders for a slice of a global batch, in the current tf.Graph."""
    return BatchSliceInputs(
        first=tf1.placeholder_with_default(0, [], name="first"),
        size=tf1.placeholder_with_default(tf.size(y), [], name="whole"),
    )
