"""The experiments of the suites against the published reports."""

import dataclasses

import pytest

from graphcnn.config import suites
from graphcnn.config.suites import SUITES
from graphcnn.graphs.validate import validate_net

PUBLISHED = {  # by hand from the reports' tables
    "assignment": {
        "one_conv": None, "two_conv": 0.505674, "two_conv_dropout": 0.573845, "two_conv_stopped": 0.616821,
        "final": 0.760370, "no_256": (0.715190, 0.738178), "no_512": 0.748226, "one_dense": 0.754192,
    },
    "ladder": {
        "four_layer_1": 63.00, "four_layer_2": 72.87, "six_layer_1": 70.27, "six_layer_2": 73, "six_layer_3": 74.77,
        "seven_layer_1": 75.02, "weight_init_1": 72.94, "batch_norm_1": 77.27, "dropout_1": 80.67, "complex_1": 82.98,
        "complex_2": 83.75, "augment_1": 81.40, "vgg_like_1": 85.87, "vgg_like_augment_1": 89.02,
    },
    "restaurant": {
        "model_1": (91, 92), "model_2_1": 90, "model_2_2": 90, "model_2_3": 91, "model_2_4": 92, "model_2_5": 94,
        "model_3_1": 95, "model_3_2": (91, 92), "model_4": (94, 95),
    },
    "transfer": {  # of the sweeps the best epochs where they are given
        "densenet201": 0.9884, "xception": (0.9809, 0.9822), "resnet152_v2": 0.9791, "resnet50_v2": 0.9778,
        "inception_resnet_v2": 0.9738, "vgg19": 0.9738, "vgg16": 0.9693, "inception_v3": 0.9582, "mobilenet_v2": 0.6533,
        "simple_cnn": 0.8449, "resnet_150_20": 0.976, "resnet_180_20": 0.976, "resnet_150_30": 0.960,
        "resnet_180_30": 0.960, "resnet_180_50": 0.9778, "xception_150_5": 0.9462, "xception_180_4": 0.9787,
        "xception_180_5": 0.9524, "vgg_adam_2": 0.9538, "vgg_adam_3": 0.96, "vgg_adam_4": 0.9542,
        "vgg_rmsprop_2": 0.9613, "vgg_rmsprop_3": 0.9516, "vgg_rmsprop_4": 0.9596,
    },
    "ensemble": {
        "resnet152_v2_150": 0.9738, "xception_150": 0.9818, "inception_v3_150": 0.976, "densenet201_150": 0.9849,
        "vgg16_150": 0.9387,
    },
    "imagenet10": {"alexnet": 44.4, "vgg": 69.6, "googlenet": 36, "efficientnet": 71.2},
}  # fmt: skip
UNPUBLISHED = {
    "assignment": set(),
    "ladder": {
        "norm_before",
        "dropout_he",
        "norm_he",
        "dense_only",
        "batch_128",
        "batch_2048",
        "rate_3e-4",
        "rate_3e-3",
    },
    "restaurant": {"model_3_3"},
    "transfer": set(),
    "ensemble": {
        f"{net}_{side}"
        for net in ("resnet152_v2", "xception", "inception_v3", "densenet201", "vgg16")
        for side in (180, 200)
    },
    "imagenet10": {"alexnet_adam", "resnet", "resnext", "mobilenet"},
}
OTHERS = {  # of ImageNet-10, from the table of its report
    "alexnet": (71.3, 0.886, 68.4, 98.5, 3.974, 44.4, 60.4, 0.457),
    "vgg": (86.3, 0.536, 67.8, 0.97, 0.961, 69.6, 85.2, 0.7),
    "googlenet": (None, 2.59, 38, 1.627, 1.44, 36, 60, 0.287),
    "resnet": (83, 0.534, 69, 0.917, 0.895, None, None, 0.7),
    "mobilenet": (98, 0.115, 75.5, 0.894, None, None, None, None),
    "efficientnet": (78, 0.81, 67, 0.923, 0.936, 71.2, 85.6, 0.707),
}
KEYS = ("train_accuracy", "train_loss", "dev_accuracy", "dev_loss", "test_loss", "test_accuracy", "test_top2_accuracy",
        "test_macro_f1")  # fmt: skip
SETTINGS = {  # name: settings that the reports give, spelt out
    "assignment/two_conv": {"epochs": 15, "stop_on": "nothing", "keep_prob": 1.0, "batch_size": 128},
    "assignment/two_conv_stopped": {"epochs": 50, "stop_on": "loss", "patience": 5, "keep_prob": 0.6},
    "assignment/final": {"net": "vgg", "epochs": 50, "l2": 0.01, "keep_prob": 0.6, "seed": 51},
    "ladder/four_layer_1": {"normalisation": "none", "batch_size": 512, "epochs": 300, "learning_rate": 1e-3},
    "ladder/weight_init_1": {"normalisation": "unit", "init": "he", "keep_prob": 1.0, "batch_norm": False},
    "ladder/complex_2": {"init": "he", "keep_prob": 0.7, "batch_norm": True, "batch_norm_position": "after"},
    "ladder/vgg_like_augment_1": {"net": "seven_layer_doubled", "init": "he", "translate": 3, "flip": "random"},
    "restaurant/model_2_5": {"batch_size": 256, "epochs": 50, "image_size": 300},
    "restaurant/model_3_2": {"net": "photos_six", "normalisation": "none", "batch_size": 256},
    "transfer/densenet201": {"image_size": 150, "keep_prob": 0.8, "epochs": 30, "optimizer": "rmsprop"},
    "transfer/resnet152_v2": {"image_size": 150, "keep_prob": 0.5, "epochs": 30, "optimizer": "adam"},
    "transfer/mobilenet_v2": {"keep_prob": 0.6, "epochs": 10, "learning_rate": 1e-4, "batch_size": 32},
    "transfer/xception_180_5": {"net": "xception", "image_size": 180, "keep_prob": 0.5, "freeze": "backbone"},
    "transfer/vgg_rmsprop_3": {"net": "vgg16", "epochs": 10, "optimizer": "rmsprop", "keep_prob": 0.7},
    "transfer/resnet_180_20": {"net": "resnet50_v2", "image_size": 180, "epochs": 20, "keep_prob": 0.5},
    "ensemble/vgg16_200": {"image_size": 200, "epochs": 50, "keep_prob": 0.6, "optimizer": "rmsprop"},
    "ensemble/densenet201_180": {"image_size": 180, "epochs": 30, "keep_prob": 0.8, "optimizer": "rmsprop"},
    "imagenet10/alexnet": {"image_size": 227, "batch_size": 128, "epochs": 90, "optimizer": "sgd", "l2": 0.0005},
    "imagenet10/googlenet": {"learning_rate": 1e-5, "batch_size": 16, "epochs": 25, "image_size": 224},
    "restaurant/model_3_3": {"batch_norm": True, "keep_prob": 0.7, "normalisation": "unit", "epochs": 50},
}


@pytest.mark.parametrize("name", SUITES)
def test_every_published_experiment_is_in_its_suite_with_its_score(name):
    experiments = SUITES[name].experiments
    published = {row: each.published for row, each in experiments.items() if each.published is not None}
    assert published == {row: score for row, score in PUBLISHED[name].items() if score is not None}
    assert set(experiments) == set(PUBLISHED[name]) | UNPUBLISHED[name]


@pytest.mark.parametrize("name", OTHERS)
def test_the_other_scores_of_imagenet10(name):
    percentages = ("train_accuracy", "dev_accuracy", "test_accuracy", "test_top2_accuracy")
    wanted = {
        key: value / 100 if key in percentages else value
        for key, value in zip(KEYS, OTHERS[name], strict=True)
        if value
    }
    assert SUITES["imagenet10"].experiments[name].other_scores == pytest.approx(wanted)


def test_the_ensembles_of_the_cartoon_faces():
    found = {ensemble.published: ensemble.members for ensemble in SUITES["ensemble"].ensembles}
    assert list(found) == [0.985267, 0.989871, 0.991712]
    assert [{name.rpartition("_")[2] for name in members} for members in found.values()] == [{"150"}, {"180"}, {"200"}]
    assert {len(members) for members in found.values()} == {5}


@pytest.mark.parametrize("name", SETTINGS)
def test_experiments_have_the_settings_of_the_reports(name):
    settings = dataclasses.asdict(suites.named_recipe(name).recipe)
    assert {key: settings[key] for key in SETTINGS[name]} == SETTINGS[name]


@pytest.mark.parametrize("name", suites.recipe_names())
def test_every_recipe_names_a_net_that_takes_its_size(name):
    validate_net(suites.named_recipe(name).recipe)


@pytest.mark.parametrize("name", SUITES)
def test_claims_name_experiments_of_their_suite(name):
    for claim in SUITES[name].claims:
        assert {claim.experiment, *claim.others} <= set(SUITES[name].experiments)
        assert claim.measure in ("score", "gap", "epoch_seconds")
