"""The number of parameters of every registered net."""

import itertools

import numpy as np
import pytest
from conftest import RARE

from graphcnn.config.recipe import Recipe
from graphcnn.graphs.inference import build_inference, count_parameters
from graphcnn.nets.registry import ARCHITECTURES, NETS

DEEPEST = ("densenet201", "inception_resnet_v2", "resnet152_v2")  # half of the time of all architectures


def weights(*sizes, kernel=3):
    """Return the number of scalars of square convolutions with biases; sizes: the channels before and after each."""
    kernels = kernel if isinstance(kernel, tuple) else (kernel,) * (len(sizes) - 1)
    return sum(k * k * a * b + b for k, a, b in zip(kernels, sizes, sizes[1:], strict=False))


def dense(*sizes):
    """Return the number of scalars of dense layers with biases; sizes: the units before and after each."""
    return sum(a * b + b for a, b in itertools.pairwise(sizes))


SEVEN = weights(3, 32, 64, 64, 64, 128)
SIX = (3, 16, 32, 64, 64, 128, 128)
PARAMETERS = {  # trainable ones for 10 classes, computed by hand from the layers' shapes; photo nets at 300x300
    "vgg": 15_458_378,
    "vgg_no_256": weights(3, 64, 64, 128, 128, 512, 512, 512) + dense(4 * 4 * 512, 2048, 2048, 10),
    "vgg_no_512": weights(3, 64, 64, 128, 128, 256, 256) + dense(4 * 4 * 256, 2048, 2048, 10),
    "vgg_one_dense": weights(3, 64, 64, 128, 128, 256, 256, 512, 512, 512) + dense(2 * 2 * 512, 10),
    "one_conv": weights(3, 64, kernel=5) + dense(16 * 16 * 64, 10),
    "two_conv": weights(3, 64, kernel=5) + weights(64, 128, kernel=16) + dense(8 * 8 * 128, 10),
    "four_layer": weights(3, 32, 32, 32) + dense(4 * 4 * 32, 10),
    "six_layer_1": weights(3, 32, 32, 32, 32) + dense(2 * 2 * 32, 10),
    "six_layer_2": weights(3, 16, 32, 64, 128, 256) + dense(256, 10),
    "six_layer_3": SEVEN + dense(128, 10),
    "seven_layer": SEVEN + dense(128, 128, 10),
    "seven_layer_doubled": weights(3, 32, 32, 64, 64, 64, 64, 64, 64, 128, 128) + dense(128, 128, 10),
    "dense_only": dense(32 * 32 * 3, 512, 256, 10),
    "photos_three": weights(3, 32, 128, 512, kernel=(5, 5, 3)) + dense(35 * 35 * 512, 10),
    "photos_strided": weights(3, 16, 32, 64, 128, kernel=(5, 5, 3, 3)) + dense(2 * 2 * 128, 10),
    "photos_strided_two_dense": weights(3, 16, 32, 64, 128, kernel=(5, 5, 3, 3)) + dense(2 * 2 * 128, 128, 10),
    "photos_four": weights(3, 16, 32, 64, 128) + dense(18 * 18 * 128, 10),
    "photos_six": weights(*SIX, kernel=(5, 5, 5, 3, 3, 3)) + dense(2 * 2 * 128, 10),
    "photos_seven": weights(*SIX, 256, kernel=(5, 5, 4, 3, 3, 2, 2)) + dense(2 * 2 * 256, 10),
    "vgg_tiny": (27 * 8 + 8) + (72 * 8 + 8) + (72 * 16 + 16) + (4 * 4 * 16 * 16 + 16) + (16 * 10 + 10),
    "vgg6": (27 * 48 + 48)
    + (9 * 48 * 48 + 48)
    + (9 * 48 * 192 + 192)
    + (9 * 192 * 192 + 192)
    + (9 * 192 * 384 + 384)
    + (9 * 384 * 384 + 384)
    + 384 * 10,
}
PUBLISHED = {  # all for 1,000 classes, moving moments included, as Keras lists them
    "vgg16": 138_357_544,
    "vgg19": 143_667_240,
    "inception_v3": 23_851_784,
    "inception_resnet_v2": 55_873_736,
    "resnet50": 25_636_712,
    "resnet50_v2": 25_613_800,
    "resnet152_v2": 60_380_648,
    "xception": 22_910_480,
    "densenet201": 20_242_984,
    "mobilenet": 4_253_864,
    "mobilenet_v2": 3_538_984,
    "efficientnet_b0": 5_330_571 - 7,  # of its Normalization layer
}
PUBLISHED_TRAINABLE = {  # trainable ones for 1,000 classes, as PyTorch lists them
    "alexnet": 61_100_840,
    "googlenet": 13_004_888,  # auxiliary classifiers included
    "resnext50_32x4d": 25_028_904,
    "efficientnet_lite0": 4_652_008,
}


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameter_counts(name):
    size = 300 if name.startswith("photos") else 32
    graph = build_inference(Recipe(net=name, image_size=size), (size, size), 10)
    assert count_parameters(graph) == PARAMETERS[name]


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=RARE) if name in DEEPEST else name for name in ARCHITECTURES]
)
def test_parameter_counts_are_the_published_ones(name):
    size = ARCHITECTURES[name].image_size
    graph = build_inference(Recipe(net=name, image_size=size), (size, size), 1000)
    if name in PUBLISHED_TRAINABLE:
        assert count_parameters(graph) == PUBLISHED_TRAINABLE[name]
    else:
        own = [v for v in graph.variables if not v.op.name.startswith("normalisation/")]
        assert sum(int(np.prod(v.shape)) for v in own) == PUBLISHED[name]


def test_no_net_is_missing():
    assert set(PARAMETERS) | set(PUBLISHED) | set(PUBLISHED_TRAINABLE) == set(NETS)
    assert set(PUBLISHED) | set(PUBLISHED_TRAINABLE) == set(ARCHITECTURES)
