"""The fingerprint of a net: edits of the net change it, and nothing else does."""

import dataclasses
import functools

import pytest

from graphcnn.config.named import RECIPES
from graphcnn.config.recipe import Recipe
from graphcnn.graphs.net_record import record_net
from graphcnn.nets import blocks, resnet, sequential
from graphcnn.nets.registry import ARCHITECTURES, NETS
from graphcnn.nets.sequential import Conv, Dense, Dropout
from graphcnn.ops import layers
from graphcnn.ops.tf1 import tf

ROWS = (Conv("conv1", 8, pool=2), Conv("conv2", 8), Dense("hidden", 16), Dropout("dropout"), Dense("output"))
RECIPE = Recipe(net="vgg_tiny", image_size=16, precision="float32", flip="random", translate=2)


def fingerprint(monkeypatch, build, recipe=RECIPE):
    """Return the fingerprint of the recipe if `build` is the build function of its net."""
    monkeypatch.setitem(NETS, recipe.net, build)
    return record_net(recipe, 10).fingerprint


def with_row(n, **fields):
    return (*ROWS[:n], ROWS[n]._replace(**fields), *ROWS[n + 1 :])


@pytest.mark.parametrize(
    "edited",
    [
        with_row(0, stride=2, pool=1),  # the same shapes as with the pool
        with_row(0, pool=3, pool_stride=2),
        with_row(0, pool_padding="VALID"),
        with_row(1, padding=(1, 1)),
        with_row(1, kernel=5),
        with_row(2, activation=True),
        with_row(2, scale=0.5),
        with_row(2, units=32),
        with_row(4, bias=False),
        (*ROWS[:3], ROWS[4]),  # without dropout
        (ROWS[1], ROWS[0], *ROWS[2:]),
    ],
)
def test_edits_of_rows_change_it(edited, monkeypatch):
    before, after = (fingerprint(monkeypatch, functools.partial(sequential.build, rows)) for rows in (ROWS, edited))
    assert before != after


def net(join=lambda a, b: a + b, kind="relu", between=lambda x: x, swapped=False, crossed=False):
    """Return a build function with two branches, for edits that no variable and no shape shows."""

    def build(x, classes, context):
        x = blocks.conv(x, "stem", 8, 3, context)

        def first():
            return blocks.activation(blocks.conv(x, "first", 8, 3, context), "first", context, kind)

        def second():
            return blocks.conv(x, "second", 8, 3, context)

        a, b = reversed([second(), first()]) if swapped else (first(), second())
        if crossed:
            a, b = b, a
        x = between(join(a, b))
        return blocks.pooled_classifier(x, classes, context, dropout_scope="dropout")

    return build


@pytest.mark.parametrize(
    "edit",
    [
        {"join": lambda a, b: a - b},
        {"join": lambda a, b: a + 0.5 * b},
        {"join": lambda a, b: tf.maximum(a, b)},
        {"join": lambda a, b: a * tf.sigmoid(b)},
        {"join": lambda a, b: a},
        {"join": lambda a, b: tf.concat([a, b], 3)[..., :8]},
        {"kind": "relu6"},
        {"between": tf.nn.relu},
        {"between": lambda x: layers.max_pool(x, "p", 3, stride=1)},
        {"between": lambda x: tf.nn.max_pool2d(x, 3, 1, "SAME")},
        {"between": lambda x: x * tf.compat.v1.get_variable("scale", [8])},
        {"crossed": True, "join": lambda a, b: a - b},
    ],
)
def test_edits_of_a_build_function_change_it(edit, monkeypatch):
    assert fingerprint(monkeypatch, net(**edit)) != fingerprint(monkeypatch, net())


def test_parameters_of_operations_between_layers_change_it(monkeypatch):
    def pooled(size, padding):
        return net(between=lambda x: tf.nn.avg_pool2d(x, size, 1, padding))

    values = {fingerprint(monkeypatch, pooled(*each)) for each in ((2, "SAME"), (3, "SAME"), (1, "SAME"), (1, "VALID"))}
    assert len(values) == 4
    factors = {fingerprint(monkeypatch, net(between=lambda x, f=f: x * f)) for f in (0.3, 0.30001, [0.3] * 8)}
    assert len(factors) == 3


def test_weight_of_an_auxiliary_classifier_changes_it(monkeypatch):
    recipe = Recipe(net="googlenet", image_size=32)
    before = record_net(recipe, 10).fingerprint
    monkeypatch.setattr("graphcnn.nets.googlenet.AUXILIARY_WEIGHT", 0.5)
    assert record_net(recipe, 10).fingerprint != before


def test_batch_norm_of_an_architecture_changes_it(monkeypatch):
    recipe = Recipe(net="resnet50", image_size=32)
    before = record_net(recipe, 10).fingerprint
    monkeypatch.setattr("graphcnn.nets.resnet.NORM", dataclasses.replace(resnet.NORM, epsilon=1e-3))
    assert record_net(recipe, 10).fingerprint != before


def test_the_order_of_branches_and_a_neutral_operation_do_not_change_it(monkeypatch):
    before = fingerprint(monkeypatch, net())
    assert fingerprint(monkeypatch, net(swapped=True)) == before
    assert fingerprint(monkeypatch, net(between=tf.identity)) == before


@pytest.mark.parametrize(
    "settings",
    [
        {"precision": "bfloat16"}, {"seed": 5}, {"init": "he", "bias_init": "zeros"}, {"epochs": 7, "patience": 3},
        {"learning_rate": 0.5}, {"flip": "none", "translate": 0}, {"batch_size": 8, "micro_batch": 4},
        {"normalisation": "unit"}, {"keep_prob": 1.0},
    ],
)  # fmt: skip
def test_settings_of_the_training_do_not_change_it(settings):
    changed = dataclasses.replace(RECIPE, **settings)
    assert record_net(changed, 10).fingerprint == record_net(RECIPE, 10).fingerprint


def test_early_size_does_not_change_it():
    fast = RECIPES["fast"].recipe
    assert record_net(fast, 10) == record_net(dataclasses.replace(fast, early_size=0), 10)


@pytest.mark.parametrize("net", sorted({"vgg_tiny", "vgg16bn", *ARCHITECTURES} & set(NETS)))
def test_each_kind_of_net_is_recorded_down_to_its_inputs(net):
    size = ARCHITECTURES[net].image_size if net in ARCHITECTURES else 32
    first, *_, logits = record_net(Recipe(net=net, image_size=size), 10).layers
    assert first.endswith("of images")
    assert logits.startswith(("logits of ", "auxiliary 2"))


def test_fingerprints_of_recorded_runs_stay_valid():
    """A change of these values makes all recorded runs count as runs of changed nets."""
    recipes = {
        "vgg_tiny": Recipe(net="vgg_tiny", image_size=16),
        "fast": RECIPES["fast"].recipe,
        "googlenet": Recipe(net="googlenet", image_size=224),
        "efficientnet_b0": Recipe(net="efficientnet_b0", image_size=224),
        "inception_resnet_v2": Recipe(net="inception_resnet_v2", image_size=299),
    }
    assert {name: record_net(recipe, 10).fingerprint[:16] for name, recipe in recipes.items()} == {
        "vgg_tiny": "e06571861846c9a1",
        "fast": "593d018638d91e0d",
        "googlenet": "487267b52b9942c0",
        "efficientnet_b0": "f3e33a260b9acf13",
        "inception_resnet_v2": "daf7b7977c2d6529",
    }
