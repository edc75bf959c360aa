import dataclasses
import math

import pytest

from graphcnn.common.errors import InputError, SettingError
from graphcnn.config import suites
from graphcnn.config.named import RECIPES
from graphcnn.config.parse import recipe_from_dict
from graphcnn.config.recipe import Recipe

PUBLISHED = {  # of the final network
    "learning_rate": 0.001, "batch_size": 128, "epochs": 50, "keep_prob": 0.6, "l2": 0.01, "patience": 5, "seed": 51,
    "optimizer": "adam", "stop_on": "loss",
}  # fmt: skip


def test_the_assignment_has_the_published_settings():
    settings = dataclasses.asdict(RECIPES["assignment"].recipe)
    assert {name: settings[name] for name in PUBLISHED} == PUBLISHED
    assert settings["warmup_steps"] == 0
    assert settings["normalisation"] == "bytes"
    assert RECIPES["assignment"].published == 0.760370


@pytest.mark.parametrize("name", suites.recipe_names())
def test_every_recipe_has_a_description_and_is_read_back_from_config_json(name):
    row = suites.named_recipe(name)
    assert row.description
    assert recipe_from_dict(dataclasses.asdict(row.recipe), "config.json") == row.recipe


BAD = {  # name: (field, value, words of the message)
    "no epochs of new weights": ("epochs", 0, "weights is needed and finetune_epochs must be 0"),
    "fewer than no epochs": ("epochs", -1, "at least 0"),
    "fractional epochs": ("epochs", 1.5, "whole number"),
    "truth value": ("epochs", True, "whole number"),
    "text": ("learning_rate", "fast", "a number"),
    "zero rate": ("learning_rate", 0.0, "above 0"),
    "nan rate": ("learning_rate", math.nan, "above 0"),
    "infinite rate": ("learning_rate", math.inf, "above 0"),
    "keep nothing": ("keep_prob", 0.0, "above 0"),
    "keep more than all": ("keep_prob", 1.5, "at most 1"),
    "negative l2": ("l2", -1.0, "at least 0"),
    "negative seed": ("seed", -1, "at least 0"),
    "misspelt choice": ("normalisation", "standardise", "did you mean 'standardize'"),
    "number for a name": ("precision", 32, "a name"),
    "tiny images": ("image_size", 8, "at least 16"),
    "tiny early images": ("early_size", 8, r"expected 0, or from 16 to image_size \(32\)"),
    "large early images": ("early_size", 64, r"expected 0, or from 16 to image_size \(32\)"),
    "nothing but smoothing": ("label_smoothing", 1.0, "at least 0 and below 1"),
    "endless momentum": ("momentum", 1.0, "below 1"),
    "number for a truth value": ("batch_norm", 1, "true or false"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_values_are_refused(case):
    field, value, words = BAD[case]
    with pytest.raises(SettingError, match=words) as caught:
        Recipe(**{field: value})
    assert caught.value.setting == field
    assert str(caught.value).startswith(field)
    assert caught.value.as_flags().startswith(f"--{field}")


def test_unknown_names_are_refused_with_the_nearest_one():
    with pytest.raises(InputError, match="did you mean 'assignment'"):
        suites.named_recipe("asignment")
    settings = dataclasses.asdict(Recipe())
    with pytest.raises(InputError, match="did you mean 'keep_prob'"):
        recipe_from_dict({**settings, "keep_probs": 1}, "config.json")
    del settings["seed"]
    with pytest.raises(InputError, match="lacks seed"):
        recipe_from_dict(settings, "config.json")
    with pytest.raises(InputError, match="not an object"):
        recipe_from_dict([1], "config.json")


def test_settings_missing_in_version_1_get_their_defaults():
    """The defaults describe how runs of the first version were trained."""
    names = ["net", "image_size", "normalisation", "optimizer", "learning_rate", "warmup_steps", "batch_size", "epochs"]
    names += ["l2", "keep_prob", "stop_on", "patience", "precision", "seed"]
    settings = {name: value for name, value in dataclasses.asdict(Recipe(epochs=3)).items() if name in names}
    assert recipe_from_dict(settings, "config.json") == Recipe(epochs=3)


def test_the_assignment_uses_no_setting_of_the_fast_recipe():
    assignment, fast = RECIPES["assignment"].recipe, RECIPES["fast"].recipe
    off = {
        "whitening_patch_size": 0, "init": "xavier", "batch_norm": False, "flip": "none", "translate": 0,
        "early_fraction": 0.0, "bias_lr_multiplier": 1.0, "schedule": "constant",
        "lookahead": 0, "label_smoothing": 0.0, "activation": "relu",
        "early_size": 0, "optimizer": "adam", "bias_init": "xavier", "micro_batch": 0,
        "zoom": 0.0, "rotate": 0.0, "shear": 0.0, "brightness": 0.0, "blur": 0.0,
    }  # fmt: skip
    assert {name: getattr(assignment, name) for name in off} == off
    assert assignment.augmentation() == {}
    assert fast.augmentation() == {"flip": "alternating", "translate": 2}
    assert not assignment.planned()
    assert fast.planned()
