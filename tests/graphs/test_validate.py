"""Which recipes are possible for a net, data and a number of workers."""

import dataclasses

import pytest

from graphcnn.common.errors import SettingError
from graphcnn.config.named import RECIPES
from graphcnn.config.recipe import Recipe
from graphcnn.graphs.inference import build_inference
from graphcnn.graphs.validate import DataShape, validate

DATA = DataShape(image_shape=(16, 16), classes=3, training_images=100, dev_images=20)
TINY = {"net": "vgg_tiny", "image_size": 16}
HEAD = {**TINY, "head": "pooled"}

IMPOSSIBLE = {  # name: (settings, the setting that is refused, words)
    "unknown net": ({"net": "vg"}, "net", "did you mean 'vgg'"),
    "braces in a net's name": ({"net": "{vgg}"}, "net", "unknown name '{vgg}'"),
    "two sizes for dense layers": ({"early_size": 20}, "early_size", "the dense layers of net=vgg fit one image size"),
    "images too small for a pool": ({"net": "photos_six"}, "image_size", "too small for the windows"),
    "images too small for an architecture": ({"net": "xception", "image_size": 70}, "image_size", "at least 71 pixels"),
    "another activation": (
        {"net": "mobilenet", "activation": "silu"},
        "activation",
        "the layers of net=mobilenet are fixed",
    ),
    "micro-batches with batch norm": ({"net": "resnet50", "micro_batch": 2}, "micro_batch", "lower batch_size (now"),
    "frozen scope that does not exist": ({**HEAD, "freeze": "until:conv9"}, "freeze", "unknown name 'conv9'"),
    "everything frozen": ({**HEAD, "freeze": "until:predictions"}, "freeze", "leaves nothing to train"),
    "shift beyond the images": ({**TINY, "translate": 16}, "translate", "less than the 16x16 pixels"),
    "a batch that fills the memory": ({"net": "photos_six", "image_size": 1024}, "image_size", "expected at most 724"),
    "identity kernels of even size": (
        {"net": "two_conv", "init": "dirac"},
        "init",
        "kernels of odd size, but layer conv2",
    ),
    "blur beyond the images": ({**TINY, "blur": 16.0}, "blur", "less than the 16x16 pixels"),
}
IMPOSSIBLE_FOR_WORKERS = {  # name: (settings, the setting that three workers cannot have, words)
    "micro-batches": ({"micro_batch": 2}, "micro_batch", "possible with one worker only"),
    "fine-tuning": ({"finetune_epochs": 1}, "finetune_epochs", "possible with one worker only"),
    "freezing": ({**HEAD, "freeze": "backbone"}, "freeze", "possible with one worker only"),
    "no epochs": ({"epochs": 0, "weights": "a"}, "epochs", "possible with one worker only"),
    "a small last batch": ({"batch_size": 98}, "batch_size", "leave a batch of 2, fewer than the 3 workers"),
}


def refusal(settings, workers=1):
    """Return the SettingError of a recipe with these settings."""
    with pytest.raises(SettingError) as refused:
        validate(Recipe(**settings), DATA, workers)
    assert refused.value.as_flags().startswith(f"--{refused.value.setting}")
    return refused.value


@pytest.mark.parametrize(("settings", "setting", "words"), IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_an_impossible_recipe_names_its_setting(settings, setting, words):
    error = refusal(settings)
    assert error.setting == setting
    assert words in str(error)


@pytest.mark.parametrize(("settings", "setting", "words"), IMPOSSIBLE_FOR_WORKERS.values(), ids=IMPOSSIBLE_FOR_WORKERS)
def test_some_settings_are_for_one_worker(settings, setting, words):
    settings = TINY | settings
    validate(Recipe(**settings), DATA)
    error = refusal(settings, workers=3)
    assert error.setting == setting
    assert words in str(error)


def test_early_stopping_on_a_dev_score_needs_a_dev_split():
    recipe = Recipe(**TINY, stop_on="dev_macro_f1")
    validate(recipe, DATA)
    with pytest.raises(SettingError, match="stop_on=dev_macro_f1: there is no dev split"):
        validate(recipe, dataclasses.replace(DATA, dev_images=0))


@pytest.mark.parametrize("name", RECIPES)
def test_named_recipes_are_possible(name):
    validate(RECIPES[name].recipe, dataclasses.replace(DATA, image_shape=(32, 32)))


def test_graphs_refuse_an_impossible_net():
    with pytest.raises(SettingError, match="net: unknown name 'vg'; did you mean"):
        build_inference(Recipe(net="vg"), (32, 32), 10)
    with pytest.raises(SettingError, match="early_size=20: the dense layers of net=vgg fit one image size only"):
        build_inference(Recipe(early_size=20), (32, 32), 10)
