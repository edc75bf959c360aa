import dataclasses
import math

import pytest

from graphcnn import recipes
from graphcnn.errors import InputError
from graphcnn.recipes import RECIPES, Recipe

REPORT_A = {  # the final net's published settings
    "learning_rate": 0.001, "batch_size": 128, "epochs": 50, "keep_prob": 0.6, "l2": 0.01, "patience": 5, "seed": 51,
    "optimizer": "adam", "stop_on": "loss",
}  # fmt: skip


def test_the_assignment_has_report_a_s_numbers_and_the_warm_up():
    settings = dataclasses.asdict(RECIPES["assignment"].recipe)
    assert {name: settings[name] for name in REPORT_A} == REPORT_A
    assert settings["warmup_steps"] == 300
    assert settings["normalisation"] == "standardize"
    assert RECIPES["assignment"].published == 0.760370


@pytest.mark.parametrize("name", RECIPES)
def test_every_row_has_a_source_and_survives_a_round_trip(name):
    row = RECIPES[name]
    assert row.source
    assert recipes.from_dict(dataclasses.asdict(row.recipe), "config.json") == row.recipe


BAD = {  # name: (field, value, words of the message)
    "zero epochs": ("epochs", 0, "at least 1"),
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
}


@pytest.mark.parametrize("case", BAD)
def test_bad_values_are_refused(case):
    field, value, words = BAD[case]
    with pytest.raises(InputError, match=words) as caught:
        Recipe(**{field: value})
    assert f"--{field}" in str(caught.value)


def test_unknown_names_get_the_nearest_match():
    with pytest.raises(InputError, match="did you mean 'assignment'"):
        recipes.named("asignment")
    settings = dataclasses.asdict(Recipe())
    with pytest.raises(InputError, match="did you mean 'keep_prob'"):
        recipes.from_dict({**settings, "keep_probs": 1}, "config.json")
    del settings["seed"]
    with pytest.raises(InputError, match="lacks seed"):
        recipes.from_dict(settings, "config.json")
    with pytest.raises(InputError, match="not an object"):
        recipes.from_dict([1], "config.json")
