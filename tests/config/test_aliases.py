"""The names of settings in version 1 are accepted as flags, in config.json and in --sweep."""

import dataclasses
import json

import pytest
from conftest import one_line

from graphcnn import experiments, train
from graphcnn.common.errors import InputError
from graphcnn.config.flags import given_recipe_fields
from graphcnn.config.named import RECIPES
from graphcnn.config.parse import ALIASES, parse_setting, recipe_from_dict
from graphcnn.config.recipe import Recipe
from graphcnn.sweeps.settings import parse_sweep

VALUES = {  # of the settings that were renamed, other than their defaults
    "batch_norm_position": "after",
    "bias_lr_multiplier": 30.0,
    "early_fraction": 0.5,
    "feature_views": 2,
    "finetune_learning_rate": 0.25,
    "muon_learning_rate": 0.06,
    "whitening_patch_size": 3,
}
FEATURES = {"head": "pooled", "freeze": "backbone", "flip": "random"}  # which feature_views=2 needs


def test_each_alias_names_another_field():
    assert set(ALIASES.values()) == set(VALUES)
    fields = {field.name for field in dataclasses.fields(Recipe)}
    assert set(ALIASES.values()) <= fields
    assert not set(ALIASES) & fields


@pytest.mark.parametrize("form", ["--{}={}", "-{}={}", "--{} {}"])
@pytest.mark.parametrize("old", ALIASES)
def test_an_old_name_is_a_flag(old, form):
    name, values = ALIASES[old], train.define_flags()
    values(["train", *form.format(old, VALUES[name]).split()])
    assert given_recipe_fields(values) == {name: VALUES[name]}


@pytest.mark.parametrize("old", ALIASES)
def test_old_names_are_in_no_help_and_in_no_list_of_flags(old, command):
    for name, module in {"train": train, "experiments": experiments}.items():
        text = command(name, "--help").out
        assert f"--{old}:" not in text
        assert f"--{ALIASES[old]}" in text
        assert old not in set(module.define_flags())


def test_an_old_name_is_accepted_in_a_flag_file(tmp_path):
    (tmp_path / "flags.txt").write_text("--muon_rate=0.06\n")
    values = train.define_flags()
    values(["train", f"--flagfile={tmp_path / 'flags.txt'}"])
    assert given_recipe_fields(values) == {"muon_learning_rate": 0.06}


def test_arguments_after_two_dashes_are_not_flags():
    values = train.define_flags()
    assert values(["train", "--", "--muon_rate=1"]) == ["train", "--muon_rate=1"]


@pytest.mark.parametrize("old", ALIASES)
def test_an_old_and_a_new_name_together_are_refused(old, tmp_path, command):
    name, value = ALIASES[old], VALUES[ALIASES[old]]
    outcome = command("train", f"--checkpoints={tmp_path}", f"--{old}={value}", f"--{name}={value}")
    assert outcome.status == 2
    assert one_line(outcome.err)
    assert f"--{old} and --{name} are names of the same setting; use only --{name}" in outcome.err

    outcome = command("experiments", f"--checkpoints={tmp_path}", f"--sweep={old}={value} {name}={value}")
    assert outcome.status == 2
    assert one_line(outcome.err)
    assert f"--sweep: {old} and {name} are names of the same setting; use only {name}" in outcome.err

    with pytest.raises(InputError, match=f"config.json: {old} and {name} are names of the same setting"):
        recipe_from_dict({**dataclasses.asdict(Recipe()), old: value}, "config.json")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("old", ALIASES)
def test_an_old_name_is_a_setting_of_a_sweep(old):
    name = ALIASES[old]
    text = str(VALUES[name])
    assert parse_setting(old, text, "--sweep") == VALUES[name]
    suite = parse_sweep(f"{old}={text}", "assignment", {})
    assert [(row, each.change) for row, each in suite.experiments.items()] == [(f"{old}-{text}", {name: VALUES[name]})]


def test_a_swept_setting_is_refused_as_a_flag(tmp_path, command):
    outcome = command("experiments", f"--checkpoints={tmp_path}", "--sweep=bias_rate=1,2", "--bias_lr_multiplier=3")
    assert (outcome.status, one_line(outcome.err)) == (2, True)


def old_settings(recipe):
    """Return what version 1 wrote into config.json for the recipe."""
    old = {name: each for each, name in ALIASES.items()}
    return {old.get(name, name): value for name, value in dataclasses.asdict(recipe).items()}


@pytest.mark.parametrize("old", ALIASES)
def test_old_names_are_read_from_config_json(old):
    recipe = dataclasses.replace(Recipe(**FEATURES), **{ALIASES[old]: VALUES[ALIASES[old]]})
    assert old in old_settings(recipe)
    assert recipe_from_dict(old_settings(recipe), "config.json") == recipe


def test_a_run_of_version_1_is_evaluated_resumed_and_submitted(trained_copy, trained, tmp_path, command):
    config_path = trained_copy / "tiny" / "config.json"
    config = json.loads(config_path.read_text())
    recipe = recipe_from_dict(config["recipe"], config_path)
    assert not set(ALIASES) & set(config["recipe"])
    config_path.write_text(json.dumps({**config, "recipe": old_settings(recipe)}))
    common = [f"--checkpoints={trained_copy}", "--run=tiny", f"--data={trained[1]}"]
    assert command("eval", *common).status == 0
    refused = command("train", *common, "--resume", "--bias_rate=2")
    assert refused.status == 2
    assert "--bias_lr_multiplier: found 2.0, but the run was started with 1.0" in refused.err
    assert command("train", *common, "--resume", "--epochs=3", "--bias_rate=1").status == 0
    assert json.loads(config_path.read_text())["recipe"] == {**config["recipe"], "epochs": 3}
    assert command("submit", *common, f"--out={tmp_path / 'submission'}").status == 0


def test_fast_keeps_its_settings():
    old = old_settings(RECIPES["fast"].recipe)
    numbers = {"bias_rate": 30.0, "muon_rate": 0.12, "early_share": 0.5, "whitening": 2}
    assert {name: old[name] for name in numbers} == numbers
