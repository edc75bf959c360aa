"""bench: the numbers' sources, the command line, the files."""

import json

import pytest
from conftest import one_line

from graphcnn import bench, graph, measure
from graphcnn.nets import SEQUENTIAL
from graphcnn.recipes import Recipe
from graphcnn.tf1 import session, tf

TINY = ["--net=vgg_tiny", "--image_size=16", "--batch_size=16", "--rounds=2", "--steps=2", "--images=64"]


def test_flops_of_the_default_net_by_hand():
    """2 * H * W * 9 * C * K of each convolution and 2 * C * K of each dense layer."""
    maps = [(32, 3, 64), (32, 64, 64), (16, 64, 128), (16, 128, 128), (8, 128, 256), (8, 256, 256)]
    maps += [(4, 256, 512), (4, 512, 512), (4, 512, 512)]
    dense = [(2048, 2048), (2048, 2048), (2048, 10)]
    forward = sum(18 * side**2 * c * k for side, c, k in maps) + sum(2 * c * k for c, k in dense)
    found = measure.products(graph.build_inference(Recipe(net="vgg"), (32, 32), 10))
    assert [each.layer for each in found] == [
        row.scope for row in SEQUENTIAL["vgg"] if hasattr(row, "_fields") and type(row).__name__ != "Dropout"
    ]
    assert sum(each.flops for each in found) == forward
    assert measure.training_flops(found) == 3 * forward - 18 * 32**2 * 3 * 64


def test_the_trace_finds_layers_and_phases():
    recipe = Recipe(net="vgg_tiny", image_size=16, precision="float32")
    built = graph.build_training(recipe, (16, 16), 3, ([0.0] * 3, [1.0] * 3))
    feed = {built.x: [[[[0.5] * 3] * 16] * 16] * 4, built.y: [0, 1, 2, 0]}
    layers = ["conv1_1", "conv2_1", "conv3_1", "dense1", "output"]
    with session(built.graph) as running:
        running.run(built.init)
        by_op, by_layer = measure.trace(running, [built.loss, built.train_op], feed, layers, steps=2)
    by_layer = dict(by_layer)
    assert set(by_layer) == {*layers, "other"}
    for layer in layers:
        assert all(by_layer[layer][phase] > 0 for phase in measure.PHASES), layer
    counts = {kind: count for kind, _, count in by_op}
    assert counts["ResourceApplyAdam"] == 10
    assert sum(spent for _, spent, _ in by_op) == pytest.approx(sum(sum(p.values()) for p in by_layer.values()))
    assert [spent for _, spent, _ in by_op] == sorted((spent for _, spent, _ in by_op), reverse=True)


def test_forms_and_peaks_are_measured():
    found = measure.forms(measure.Product("c", (4, 4), (3, 3, 32, 32), 0), 8, tf.float32, rounds=1)
    assert set(found) == {"forward", "input gradient", "filter gradient"}
    assert all(own > 0 and other > 0 and not chosen for own, other, chosen in found.values())
    rates = measure.peaks(tf.float32, rounds=1)
    assert set(rates) == {"matmul", "convolution"}
    assert all(1 < rate < 1e6 for rate in rates.values())


def rows(**rates):
    return {label.replace("_", " "): {"train": {"images_per_second": rate}} for label, rate in rates.items()}


RATIOS = {  # name: (rates, precision, expected)
    "all": (
        rows(graphcnn_bfloat16=600, graphcnn_float32=300, pytorch_bfloat16=300, pytorch_float32=200,
             keras_bfloat16=150, keras_float32=100),
        "bfloat16",
        {"pytorch_best": 2, "pytorch_float32": 1.5, "keras_best": 4, "keras_default": 6},
    ),
    "float32 only": (
        rows(graphcnn_float32=300, pytorch_float32=200, keras_float32=100),
        "float32",
        {"pytorch_best": 1.5, "pytorch_float32": 1.5, "keras_best": 3, "keras_default": 3},
    ),
    "no PyTorch": (rows(graphcnn_float32=300, keras_float32=100), "float32", {"keras_best": 3, "keras_default": 3}),
    "alone": (rows(graphcnn_float32=300), "float32", {}),
}  # fmt: skip


@pytest.mark.parametrize(("table", "precision", "expected"), RATIOS.values(), ids=RATIOS)
def test_ratios(table, precision, expected):
    assert bench.ratios(table, precision, "train") == pytest.approx(expected)


def test_a_contest_with_keras(tmp_path, command):
    outcome = command("bench", *TINY, "--precision=float32", "--peers=keras", f"--out={tmp_path / 'b.json'}")
    assert outcome.status == 0, outcome.err
    results = json.loads((tmp_path / "b.json").read_text())
    assert set(results["contestants"]) == {"graphcnn float32", "keras float32"}
    for row in results["contestants"].values():
        assert len(row["train"]["seconds"]) == 4
        assert len(row["evaluate"]["seconds"]) == 2
        slowest, fastest = row["train"]["slowest_and_fastest"]
        assert slowest <= row["train"]["images_per_second"] <= fastest
        assert row["peak_memory_bytes"] > 50e6
    assert results["ratios"].keys() == results["evaluation_ratios"].keys() == {"keras_best", "keras_default"}
    ours, theirs = (results["contestants"][name]["train"]["images_per_second"] for name in results["contestants"])
    assert results["ratios"]["keras_default"] == pytest.approx(ours / theirs)
    assert f"{ours / theirs:.2f} x Keras's default fit in training" in outcome.out
    assert (tmp_path / "b.png").stat().st_size > 5000
    assert "Keras 3" in outcome.out


@pytest.mark.parametrize("flag", ["--profile", "--forms"])
def test_tables(flag, command):
    outcome = command("bench", *TINY, flag, "--peers=none")
    assert outcome.status == 0, outcome.err
    wanted = (
        ("ResourceApplyAdam", "conv2_1", "gradient") if flag == "--profile" else ("8x8", "3x3x8x8", "filter gradient")
    )
    assert all(word in outcome.out for word in wanted)


BAD = {  # name: (arguments, words of the message)
    "unknown peer": (["--peers=torch"], "did you mean 'pytorch'"),
    "not installed": (["--peers=pytorch"], "--peers=all installs it"),
    "no such net": (["--net=vggg"], "did you mean 'vgg'"),
    "no steps": (["--steps=0"], "--steps: found 0, expected a whole number at least 1"),
    "precision": (["--precision=half"], "--precision: unknown name 'half'"),
    "out": (["--out=numbers.txt"], "ends in .json"),
    "out's folder": (["--out=nowhere/numbers.json"], "no folder nowhere"),
    "both": (["--profile", "--forms"], "exclude each other"),
    "image size": (["--image_size=3"], "--image_size: found 3"),
}


@pytest.mark.parametrize(("arguments", "words"), BAD.values(), ids=BAD)
def test_bad_input(arguments, words, command, monkeypatch, tmp_path):
    monkeypatch.setattr(bench, "ENVIRONMENT", tmp_path)
    monkeypatch.setattr(bench, "PEERS", {"keras": "keras", "pytorch": "no_such_module"})
    outcome = command("bench", *arguments)
    assert outcome.status == 2
    assert one_line(outcome.err)
    assert words in outcome.err


def test_a_failing_contestant_is_named(tmp_path, monkeypatch, command):
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho 'no such library' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setattr(bench.sys, "executable", str(broken))
    outcome = command("bench", *TINY, "--peers=none", f"--out={tmp_path / 'b.json'}")
    assert outcome.status == 2
    assert one_line(outcome.err)
    assert "graphcnn" in outcome.err and "no such library" in outcome.err
    assert not (tmp_path / "b.json").exists()
