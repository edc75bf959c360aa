"""MobileNets, scopes named as in Keras: v1 (arXiv 1704.04861) and v2 (arXiv 1801.04381), both of width 1.

Sizes in the margin are for 224x224.
"""

from graphcnn.nets.blocks import Architecture, Published, activation, conv, dense, depthwise, dropout, norm
from graphcnn.ops import layers

V1 = (  # each block's filters and stride
    (64, 1),  # 112
    (128, 2),  # 112 -> 56
    (128, 1),
    (256, 2),  # 56 -> 28
    (256, 1),
    (512, 2),  # 28 -> 14
    *[(512, 1)] * 5,
    (1024, 2),  # 14 -> 7
    (1024, 1),
)
V2 = (  # blocks, the first one's stride, how many times an input's channels are filtered, filters
    (1, 1, 1, 16),  # 112
    (2, 2, 6, 24),  # 112 -> 56
    (3, 2, 6, 32),  # 56 -> 28
    (4, 2, 6, 64),  # 28 -> 14
    (3, 1, 6, 96),  # 14
    (3, 2, 6, 160),  # 14 -> 7
    (1, 1, 6, 320),  # 7
)
NORM_V1 = layers.Norm(epsilon=1e-3, share=0.01)
NORM_V2 = layers.Norm(epsilon=1e-3, share=0.001)


def v1(x, classes, mode):
    """Return logits [N, classes], or the maps, of images x [N, H, W, 3]; blocks filter each channel, then mix them."""
    x = _relu6(conv(x, "conv1", 32, 3, mode, stride=2, bias=False), "conv1_bn", NORM_V1, mode)  # H / 2
    for block, (filters, stride) in enumerate(V1, start=1):
        padding = (0, 1) if stride == 2 else "SAME"  # of odd sizes too
        x = depthwise(x, f"conv_dw_{block}/depthwise", 3, mode, stride=stride, padding=padding)
        x = _relu6(x, f"conv_dw_{block}_bn", NORM_V1, mode)
        x = _relu6(conv(x, f"conv_pw_{block}", filters, 1, mode, bias=False), f"conv_pw_{block}_bn", NORM_V1, mode)
    if classes is None:
        return x
    x = dropout(layers.global_average_pool(x, "avg_pool"), "dropout", mode)
    return conv(x[:, None, None], "conv_preds", classes, 1, mode)[:, 0, 0]


def v2(x, classes, mode):
    """Return logits [N, classes], or the maps, of images x [N, H, W, 3]."""
    x = _relu6(conv(x, "Conv1", 32, 3, mode, stride=2, bias=False), "bn_Conv1", NORM_V2, mode)  # H / 2
    rows = [(1 if n else stride, *row) for blocks, stride, *row in V2 for n in range(blocks)]
    for block, row in enumerate(rows):
        x = _inverted(x, f"block_{block}" if block else "expanded_conv", *row, mode)
    x = _relu6(conv(x, "Conv_1", 1280, 1, mode, bias=False), "Conv_1_bn", NORM_V2, mode)
    return x if classes is None else dense(layers.global_average_pool(x, "avg_pool"), "predictions", classes, mode)


def _inverted(x, name, stride, expansion, filters, mode):
    """Widen x, filter each channel and narrow the result; add x where shapes allow it."""
    channels, before = int(x.shape[3]), x
    if expansion > 1:
        x = conv(x, f"{name}_expand", expansion * channels, 1, mode, bias=False)
        x = _relu6(x, f"{name}_expand_BN", NORM_V2, mode)
    x = depthwise(x, f"{name}_depthwise/depthwise", 3, mode, stride=stride)
    x = _relu6(x, f"{name}_depthwise_BN", NORM_V2, mode)
    x = norm(conv(x, f"{name}_project", filters, 1, mode, bias=False), f"{name}_project_BN", NORM_V2, mode)
    return before + x if stride == 1 and channels == filters else x


def _relu6(x, scope, how, mode):
    return activation(norm(x, scope, how, mode), scope, mode, "relu6")


def _architecture(build, file):
    url = f"https://storage.googleapis.com/tensorflow/keras-applications/{file}.h5"
    return Architecture(build, 224, 32, "tf", True, Published(url, None))


ARCHITECTURES = {
    "mobilenet": _architecture(v1, "mobilenet/mobilenet_1_0_224_tf"),
    "mobilenet_v2": _architecture(v2, "mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224"),
}
