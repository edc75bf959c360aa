"""Weights from the best epoch of another run."""

import json
import shutil

import numpy as np
import pytest
from conftest import SMALL_FAST
from initial_weights import STILL, last_weights, prepare
from weight_files import SHAPES

from graphcnn.common.errors import DamagedRun, InputError
from graphcnn.storage import checkpoint
from graphcnn.storage.run import Run

STATISTICS = ("normalisation/mean", "normalisation/scale")


@pytest.fixture
def best_weights(trained_copy):
    """The weights of the best epoch of the trained run, {variable: array}."""
    return checkpoint.read_variables(Run(trained_copy, "tiny"), "best", lambda name, shape: True)[1]


def test_variables_that_fit_are_loaded(trained_copy, best_weights, capfd):
    initial = prepare(trained_copy, "tiny", classes=4)
    assert set(initial.values) == {*SHAPES, *STATISTICS} - {"output/w", "output/b"}
    assert all(np.array_equal(array, best_weights[name]) for name, array in initial.values.items())
    manifest = json.loads((trained_copy / "tiny/best/manifest.json").read_text())
    assert initial.origin.source == "tiny"
    assert initial.origin.sha256 == manifest["model.ckpt.data-00000-of-00001"]
    out = capfd.readouterr().out
    assert "weights: tiny: 8 of the net's 10 variables loaded, 2 newly initialised; 0 of the source's" in out
    assert "w 16x3, b 3" in out


def test_statistics_are_scaled_to_the_range_of_the_new_images(trained_copy, best_weights):
    values = prepare(trained_copy, "tiny", pixel_max=1).values
    for name in STATISTICS:
        assert np.allclose(values[name], best_weights[name] / 255)


def test_no_statistics_with_another_normalisation(trained_copy, capfd):
    initial = prepare(trained_copy, "tiny", normalisation="unit", keep=True)
    assert "unit (as set; these weights expect standardize)" in capfd.readouterr().out
    assert set(initial.values) == set(SHAPES)
    path = trained_copy / "tiny" / "config.json"
    config = json.loads(path.read_text())
    config["recipe"]["normalisation"] = "unit"
    path.write_text(json.dumps(config))
    initial = prepare(trained_copy, "tiny")
    assert "normalisation: unit, which these weights expect" in capfd.readouterr().out
    assert initial.recipe.normalisation == "unit"
    assert set(initial.values) == set(SHAPES)


def test_training_starts_from_the_weights_of_a_run(trained_copy, best_weights, data_folder, command):
    """Also from those of the run that is overwritten."""
    (trained_copy / "suite").mkdir()
    (trained_copy / "tiny").rename(trained_copy / "suite" / "tiny")
    flags = [f"--data={data_folder}", f"--checkpoints={trained_copy}", "--dev_split=stratified", *STILL, "--run=b"]
    for source, more in (("suite/tiny", []), ("b", ["--overwrite"])):
        outcome = command("train", *flags, f"--weights={source}", *more)
        assert outcome.status == 0, outcome.err
        found = last_weights(trained_copy, "b")
        assert all(np.array_equal(found[name], best_weights[name]) for name in (*SHAPES, *STATISTICS))
        assert Run(trained_copy, "b").config()["weights"]["source"] == source


def test_whitening_filters_are_kept(trained_fast, tmp_path, command):
    shutil.copytree(trained_fast[0], tmp_path / "runs", symlinks=True)
    flags = [f"--data={trained_fast[1]}", f"--checkpoints={tmp_path / 'runs'}", "--dev_split=first"]
    outcome = command("train", *flags, *SMALL_FAST, "--seed=3", "--run=b", "--weights=fast", "--epochs=1")
    assert outcome.status == 0, outcome.err
    before, after = last_weights(tmp_path / "runs", "fast"), last_weights(tmp_path / "runs", "b")
    assert np.array_equal(after["whitening/w"], before["whitening/w"])
    assert not np.array_equal(after["conv1_1/w"], before["conv1_1/w"])


def test_a_run_without_an_epoch_or_with_damage_is_refused(trained_copy):
    (trained_copy / "empty").mkdir()
    shutil.copy(trained_copy / "tiny" / "config.json", trained_copy / "empty")
    with pytest.raises(InputError, match="no finished epoch yet"):
        prepare(trained_copy, "empty")
    data = (trained_copy / "tiny" / "best").resolve() / "model.ckpt.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:-1])
    with pytest.raises(DamagedRun, match="damaged, its sha256"):
        prepare(trained_copy, "tiny")
