"""Commands on a run whose net was edited after its training, and on a run without a record of its net."""

import functools
import json
import shutil

import pytest
from conftest import one_line

from graphcnn.nets import sequential
from graphcnn.nets.registry import NETS, SEQUENTIAL
from graphcnn.storage.run import Run


@pytest.fixture
def edited(trained_copy, monkeypatch):
    """Change an activation of the net, which changes no variable; return the checkpoints folder."""

    def build(x, classes, context):
        return sequential.build(SEQUENTIAL["vgg_tiny"], x, classes, context)

    def relu6(x, classes, context):
        with monkeypatch.context() as patch:
            activation = functools.partial(sequential.blocks.activation, kind="relu6")
            patch.setattr(sequential.blocks, "activation", activation)
            return build(x, classes, context)

    monkeypatch.setitem(NETS, "vgg_tiny", relu6)
    return trained_copy


def arguments(name, checkpoints, data, tmp_path):
    common = [f"--checkpoints={checkpoints}"]
    return {
        "eval": common,
        "predict": [*common, f"--array={data / 'x_test.npy'}"],
        "submit": [*common, "--run=tiny", f"--out={tmp_path / 'submission'}"],
        "export": [*common, "--format=npz", f"--out={tmp_path / 'tiny.npz'}"],
        "explain": [*common, "--split=dev", "--worst=1"],
        "train": [*common, "--run=tiny", "--resume", "--epochs=3"],
    }[name]


@pytest.mark.parametrize("name", ["eval", "predict", "submit", "export", "explain", "train"])
def test_an_edited_net_is_refused_unless_allowed(name, edited, trained, tmp_path, command):
    flags = arguments(name, edited, trained[1], tmp_path)
    refused = command(name, *flags)
    assert refused.status == 2
    assert one_line(refused.err)
    for part in ("--run=tiny: the net vgg_tiny is not the net that was trained", "kind='relu'", "kind='relu6'"):
        assert part in refused.err
    allowed = command(name, *flags, "--allow_changed_net")
    assert allowed.status == 0, allowed.err
    assert "note: run tiny: the net vgg_tiny is not the net that was trained" in allowed.out


@pytest.mark.parametrize("name", ["eval", "predict", "submit", "export", "explain", "train"])
def test_a_run_without_a_record_is_used_with_a_note(name, edited, trained, tmp_path, command):
    run = Run(edited, "tiny")
    config = run.config()
    del config["net"]
    run.write_config(config)
    outcome = command(name, *arguments(name, edited, trained[1], tmp_path))
    assert outcome.status == 0, outcome.err
    assert outcome.out.count("note: run tiny has no record of its net") == 1


def test_each_member_of_an_ensemble_is_compared(trained_copy, command):
    shutil.copytree(trained_copy / "tiny", trained_copy / "other", symlinks=True)
    other = Run(trained_copy, "other")
    config = other.config()
    other.write_config({**config, "net": {**config["net"], "fingerprint": "0" * 64}})
    refused = command("eval", f"--checkpoints={trained_copy}", "--run=tiny,other")
    assert refused.status == 2
    assert "--run=other: the net vgg_tiny is not the net that was trained: its layers differ; " in refused.err


@pytest.mark.parametrize("net", [None, "text", {"fingerprint": "0"}, {"fingerprint": 1, "layers": []}, {"layers": [1]}])
def test_a_damaged_record_is_refused(net, trained_copy, command):
    path = trained_copy / "tiny" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "net": net}))
    outcome = command("eval", f"--checkpoints={trained_copy}")
    assert outcome.status == 2
    assert "'net' is not what train writes" in outcome.err or str(path) in outcome.err
    assert one_line(outcome.err)


def test_the_flag_needs_a_run(command):
    outcome = command("predict", "--net=efficientnet_lite0", "--allow_changed_net", "photo.jpg")
    assert outcome.status == 2
    assert "--allow_changed_net: needs a run" in outcome.err
    outcome = command("train", "--allow_changed_net")
    assert outcome.status == 2
    assert "--allow_changed_net: needs --resume" in outcome.err
