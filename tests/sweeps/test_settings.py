"""The suites, experiments and recipes that --sweep, --only and --epochs select."""

import pytest

from graphcnn.common.errors import InputError
from graphcnn.config import suites
from graphcnn.sweeps import settings

EPOCHS = {  # name: (suite, --epochs, {experiment: (epochs, patience)})
    "as published": ("assignment", None, {"two_conv": (15, 5), "two_conv_stopped": (50, 5), "final": (50, 5)}),
    "a fifth": ("assignment", 10, {"two_conv": (3, 5), "two_conv_stopped": (10, 1), "final": (10, 1)}),
    "twice": ("assignment", 100, {"two_conv": (30, 5), "final": (100, 10)}),
    "the least": ("restaurant", 1, {"model_1": (1, 5), "model_3_1": (1, 5)}),
    "half": ("restaurant", 25, {"model_1": (10, 5), "model_3_1": (25, 5)}),
}


@pytest.mark.parametrize("case", EPOCHS)
def test_epochs_scale_the_other_experiments_and_patience(case):
    name, epochs, expected = EPOCHS[case]
    changes = {"epochs": epochs} if epochs else {}
    recipes = {row: settings.experiment_recipe(suites.SUITES[name], row, changes) for row in expected}
    assert {row: (recipe.epochs, recipe.patience) for row, recipe in recipes.items()} == expected


def test_a_sweep_names_its_experiments_by_their_settings():
    suite = settings.parse_sweep("batch_norm=true,false optimizer=adam,sgd", "ladder/complex_2", {})
    assert settings.sweep_name(None, "ladder/complex_2") == "sweep-ladder-complex_2"
    assert next(iter(suite.experiments)) == "batch_norm-true_optimizer-adam"
    assert suite.experiments["batch_norm-false_optimizer-sgd"].change == {"batch_norm": False, "optimizer": "sgd"}
    assert suite.base == suites.named_recipe("ladder/complex_2").recipe


def test_unknown_values_of_a_sweep_are_refused_before_anything_is_trained():
    suite = settings.parse_sweep("optimizer=adams", "assignment", {})
    with pytest.raises(InputError, match="did you mean 'adam'"):
        settings.experiment_recipe(suite, "optimizer-adams", {})
