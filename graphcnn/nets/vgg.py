"""Report A's final net: nine 3x3 convolutions in four stages, three dense layers; 15,458,378 parameters at 32x32."""

from graphcnn import layers
from graphcnn.tf1 import tf

STAGES = (  # filters of the 3x3 SAME convolutions of a stage, each with bias and ReLU; then a 2x2 pool
    (64, 64),  # 32 -> 16
    (128, 128),  # 16 -> 8
    (256, 256),  # 8 -> 4
    (512, 512, 512),  # 4 -> 2
)
UNITS = (2048, 2048)  # dense layers without activation, dropout after each


def build(x, classes, mode, *, stages=STAGES, units=UNITS):
    """Return logits [N, classes] of images x [N, H, W, 3].

    Variables: conv<stage>_<n>/w, b; dense<n>/w, b; output/w, b.
    """
    for s, widths in enumerate(stages, 1):
        for n, filters in enumerate(widths, 1):
            x = tf.nn.relu(layers.conv2d(x, f"conv{s}_{n}", filters, seed=mode.seed))
        x = layers.max_pool(x, f"pool{s}", 2, stride=2)
    x = layers.flatten(x, "flatten")
    for n, width in enumerate(units, 1):
        x = layers.dense(x, f"dense{n}", width, seed=mode.seed)
        x = layers.dropout(x, f"dropout{n}", mode.keep_prob, seed=mode.seed, step=mode.step)
    return layers.dense(x, "output", classes, seed=mode.seed)


def build_tiny(x, classes, mode):
    """Return the logits of the same shape of net with 3 convolutions and 16 units, for trying things out quickly."""
    return build(x, classes, mode, stages=((8,), (8,), (16,)), units=(16,))
