"""Initial weights of a training: what is loaded, reported, recorded and refused."""

import hashlib
import os
import shutil

import numpy as np
import pytest
from conftest import TINY, one_line
from initial_weights import STILL, last_weights, make_architecture, prepare
from weight_files import SHAPES, arrays, layers_of, write_h5

from graphcnn.common.errors import InputError
from graphcnn.storage.run import Run
from graphcnn.weights.loaded import Origin


def test_a_file_from_training_to_resume(data_folder, tmp_path, command):
    """Lookahead's averages start from the weights too; a run without an epoch starts from the same weights again."""
    values = arrays() | {"output/w": np.zeros((16, 10), np.float32), "more/b": np.zeros(3, np.float32)}
    path = write_h5(tmp_path / "a.h5", layers_of(values))
    root, relative = tmp_path / "runs", os.path.relpath(path)
    flags = [f"--data={data_folder}", f"--checkpoints={root}", "--dev_split=stratified", *STILL, "--lookahead=1"]
    outcome = command("train", *flags, f"--weights={relative}", "--run=a")
    assert outcome.status == 0, outcome.err
    assert "9 of the net's 10 variables loaded, 1 newly initialised; 1 of the source's variables skipped" in outcome.out
    for words in ("w 16x10", "newly initialised: other shape", "skipped: not in the net", "loaded"):
        assert words in outcome.out
    assert "normalisation:" not in outcome.out
    found = last_weights(root, "a")
    for name in set(SHAPES) - {"output/w"}:
        assert np.allclose(found[name], values[name], rtol=1e-6, atol=1e-7), name
    config = Run(root, "a").config()
    assert config["weights"] == {"source": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    assert config["recipe"]["weights"] == relative
    assert command("eval", f"--checkpoints={root}").status == 0

    for link in ("best", "last"):
        (root / "a" / link).unlink()
    shutil.rmtree(root / "a" / "epoch-0001")
    assert command("train", f"--checkpoints={root}", "--run=a", "--resume").status == 0
    again = last_weights(root, "a")
    assert all(np.array_equal(found[name], again[name]) for name in found)
    for link in ("best", "last"):
        (root / "a" / link).unlink()
    write_h5(path, layers_of(arrays(seed=1)))
    outcome = command("train", f"--checkpoints={root}", "--run=a", "--resume")
    assert (outcome.status, one_line(outcome.err)) == (2, True)
    assert "changed since the run started" in outcome.err


def test_a_damaged_file_leaves_the_run_unchanged(data_folder, trained_copy, tmp_path, command):
    before = {path: path.read_bytes() for path in (trained_copy / "tiny").rglob("*") if path.is_file()}
    path = write_h5(tmp_path / "bad.h5", layers_of(arrays()))
    path.write_bytes(path.read_bytes()[:-2000])
    flags = [f"--data={data_folder}", f"--checkpoints={trained_copy}", *TINY, "--run=tiny", "--overwrite"]
    outcome = command("train", *flags, f"--weights={path}")
    assert (outcome.status, one_line(outcome.err)) == (2, True)
    assert "damaged, or not an HDF5 file" in outcome.err
    assert {path: path.read_bytes() for path in before} == before


NORMALISATIONS = {  # name: (the recipe's, whether it stays, that of the training, printed line)
    "the weights' own": ("standardize", False, "tf", "normalisation: tf, which these weights expect\n"),
    "another one that is set": ("unit", True, "unit", "normalisation: unit (as set; these weights expect tf)\n"),
    "the same one that is set": ("tf", True, "tf", "normalisation: tf\n"),
}


@pytest.mark.parametrize("case", NORMALISATIONS)
def test_normalisation(case, tmp_path, capfd, monkeypatch):
    normalisation, keep, expected, line = NORMALISATIONS[case]
    make_architecture(monkeypatch, None)
    path = write_h5(tmp_path / "a.h5", layers_of(arrays()))
    assert prepare(tmp_path, path, keep=keep, normalisation=normalisation).recipe.normalisation == expected
    assert line in capfd.readouterr().out


@pytest.mark.parametrize("weights", ["nowhere", "a b", "../a", ""])
def test_weights_that_are_no_source_are_refused(weights, tmp_path):
    with pytest.raises(InputError, match=r"expected none, imagenet, FILE.h5, a checkpoint's prefix or a run"):
        prepare(tmp_path, weights)
    assert not any(tmp_path.iterdir())


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"nowhere.h5; name a file that Keras saved"):
        prepare(tmp_path, tmp_path / "nowhere.h5")


def test_weights_of_which_none_fits_are_refused(tmp_path):
    path = write_h5(tmp_path / "a.h5", {"conv1": {"conv1/kernel:0": np.zeros(3)}})
    with pytest.raises(InputError, match=r"a.h5 fits --net=vgg_tiny by name and shape"):
        prepare(tmp_path, path)


def test_nothing_can_be_trained_without_epochs_so_all_variables_must_fit(tmp_path):
    values = {name: array for name, array in arrays().items() if name != "output/b"}
    path = write_h5(tmp_path / "a.h5", layers_of(values))
    assert set(prepare(tmp_path, path).values) == set(values)
    with pytest.raises(InputError, match="lacks 1 of the net's variables, such as output/b"):
        prepare(tmp_path, path, epochs=0)


def test_weights_other_than_recorded_are_refused(tmp_path):
    path = write_h5(tmp_path / "a.h5", layers_of(arrays()))
    origin = prepare(tmp_path, path).origin
    assert prepare(tmp_path, "moved.h5", recorded=origin).origin == origin
    with pytest.raises(InputError, match="changed since the run started"):
        prepare(tmp_path, path, recorded=Origin(origin.source, "0"))


BAD_FLAGS = {  # arguments: words of the message
    ("--weights=",): "expected none, imagenet, FILE.h5, a checkpoint's prefix or a run",
    ("--weights=imagenet", "--net=vgg_tin"): "did you mean 'vgg_tiny'",
    ("--weights=none", "--name_map=assignment"): "--name_map: needs a TF1 checkpoint; give its prefix as --weights",
    ("--weights=none", "--epochs=0"): "--epochs=0: without training, --weights is needed",
}


@pytest.mark.parametrize("arguments", BAD_FLAGS)
def test_bad_flags_start_no_run(arguments, data_folder, tmp_path, command):
    outcome = command("train", f"--data={data_folder}", f"--checkpoints={tmp_path / 'runs'}", *TINY, *arguments)
    assert (outcome.status, one_line(outcome.err)) == (2, True)
    assert BAD_FLAGS[arguments] in outcome.err
    assert not (tmp_path / "runs").exists()
