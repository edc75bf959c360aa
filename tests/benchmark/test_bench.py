"""The command bench: its measurements, flags and files."""

import functools
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import one_line

from graphcnn.benchmark import contest, convolutions, environments, job, op_timings, profile, timed_recipe
from graphcnn.config.recipe import Recipe
from graphcnn.graphs.training import build_training
from graphcnn.nets import sequential
from graphcnn.nets.registry import NETS, SEQUENTIAL
from graphcnn.nets.sequential import Conv, Dense
from graphcnn.ops.tf1 import choose_precision, session, tf, tf1

TINY = ["--net=vgg_tiny", "--image_size=16", "--batch_size=16", "--rounds=2", "--steps=2", "--images=64"]


def test_flops_of_the_default_net_by_hand():
    """2 * H * W * 9 * C * K of each convolution and 2 * C * K of each dense layer."""
    maps = [(32, 3, 64), (32, 64, 64), (16, 64, 128), (16, 128, 128), (8, 128, 256), (8, 256, 256)]
    maps += [(4, 256, 512), (4, 512, 512), (4, 512, 512)]
    dense = [(2048, 2048), (2048, 2048), (2048, 10)]
    forward = sum(18 * side**2 * c * k for side, c, k in maps) + sum(2 * c * k for c, k in dense)
    products = op_timings.products(timed_recipe.countable_graph(Recipe(net="vgg")))
    layers = ["conv1_1", "conv1_2", "conv2_1", "conv2_2", "conv3_1", "conv3_2", "conv4_1", "conv4_2", "conv4_3"]
    assert [each.layer for each in products] == [*layers, "dense1", "dense2", "output"]
    assert sum(each.flops for each in products) == forward
    assert op_timings.training_flops(products) == 3 * forward - 18 * 32**2 * 3 * 64
    frozen = op_timings.Product("whitening", (32, 32), (2, 2, 3, 24), 5)
    assert op_timings.training_flops([frozen, *products]) == op_timings.training_flops(products) + 5


def test_the_trace_finds_layers_and_phases():
    recipe = Recipe(net="vgg_tiny", image_size=16, precision="float32")
    built = build_training(recipe, (16, 16), 3, ([0.0] * 3, [1.0] * 3), 1)
    feed = {built.x: [[[[0.5] * 3] * 16] * 16] * 4, built.y: [0, 1, 2, 0]}
    layers = ["conv1_1", "conv2_1", "conv3_1", "dense1", "output"]
    with session(built.graph) as running:
        running.run(built.initialize)
        times = profile.trace(running, [built.loss, built.train_op], feed, layers, steps=2)
    assert set(times.by_layer) == {*layers, "l2", "other"}
    for layer in layers:
        assert all(times.by_layer[layer][phase] > 0 for phase in profile.PHASES), layer
    assert times.by_op["ResourceApplyAdam"].count == 10
    milliseconds = [each.milliseconds for each in times.by_op.values()]
    assert sum(milliseconds) == pytest.approx(sum(sum(phases.values()) for phases in times.by_layer.values()))
    assert milliseconds == sorted(milliseconds, reverse=True)


@pytest.mark.parametrize(("kernel", "chosen"), [((3, 3, 8, 8), False), ((3, 3, 64, 64), True)])
def test_both_implementations_of_a_convolution_are_timed(kernel, chosen):
    times = convolutions.time_convolution(op_timings.Product("c", (4, 4), kernel, 0), 8, tf.float32, rounds=1)
    assert set(times) == {"forward", "input gradient", "filter gradient"}
    assert all(each.tensorflow > 0 and each.graphcnn > 0 and each.chosen == chosen for each in times.values())


def test_peaks_are_measured():
    rates = op_timings.peaks("float32", rounds=1)
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
    assert contest.ratios(table, precision, "train") == pytest.approx(expected)


@pytest.mark.pictures
@pytest.mark.parametrize("fastest", ["float32", pytest.param("auto", marks=pytest.mark.slow)])
def test_comparison_with_keras(fastest, tmp_path, command, monkeypatch):
    """In float32, and in the precision that is fastest on this CPU."""
    monkeypatch.setattr(contest, "choose_precision", lambda _: choose_precision(fastest))
    outcome = command("bench", *TINY, "--precision=float32", "--implementations=keras", f"--out={tmp_path / 'b.json'}")
    assert outcome.status == 0, outcome.err
    results = json.loads((tmp_path / "b.json").read_text())
    keras = {f"keras {precision}" for precision in ("float32", choose_precision(fastest)[0])}
    assert set(results["contestants"]) == {"graphcnn float32", *keras}
    for row in results["contestants"].values():
        assert len(row["train"]["seconds"]) == 4
        assert len(row["evaluate"]["seconds"]) == 2
        slowest, fastest = row["train"]["slowest_and_fastest"]
        assert slowest <= row["train"]["images_per_second"] <= fastest
        assert row["peak_memory_bytes"] > 50e6
    assert results["ratios"].keys() == results["evaluation_ratios"].keys() == {"keras_best", "keras_default"}
    rates = {name: row["train"]["images_per_second"] for name, row in results["contestants"].items()}
    ours, theirs = rates["graphcnn float32"], rates["keras float32"]
    assert results["ratios"]["keras_best"] == pytest.approx(ours / max(rates[name] for name in keras))
    assert results["ratios"]["keras_default"] == pytest.approx(ours / theirs)
    assert f"{ours / theirs:.2f} x Keras's default fit in training" in outcome.out
    assert (tmp_path / "b.png").stat().st_size > 5000
    assert "Keras 3" in outcome.out


TABLES = {  # flag: words of the table
    "--profile": ("ResourceApplyAdam", "conv2_1", "gradient"),
    "--convolutions": ("8x8", "3x3x8x8", "filter gradient"),
    "--forms": ("8x8", "3x3x8x8", "filter gradient"),  # its alias
}


@pytest.mark.parametrize(("flag", "words"), TABLES.items(), ids=TABLES)
def test_tables(flag, words, command):
    outcome = command("bench", *TINY, flag, "--implementations=none")
    assert outcome.status == 0, outcome.err
    assert all(word in outcome.out for word in words)


BAD = {  # name: (arguments, words of the message)
    "unknown implementation": (["--implementations=torch"], "did you mean 'pytorch'"),
    "not installed": (["--implementations=pytorch"], "--implementations=all installs it"),
    "a name that is an alias": (["--peers=torch"], "--implementations: unknown name 'torch'"),
    "a flag and its alias": (
        ["--peers=none", "--implementations=none"],
        "--peers and --implementations are names of the same setting; use only --implementations",
    ),
    "another flag and its alias": (
        ["--forms", "--convolutions"],
        "--forms and --convolutions are names of the same setting; use only --convolutions",
    ),
    "no such net": (["--net=vggg"], "did you mean 'vgg'"),
    "no steps": (["--steps=0"], "--steps: found 0, expected a whole number at least 1"),
    "precision": (["--precision=half"], "--precision: unknown name 'half'"),
    "out": (["--out=numbers.txt"], "ends in .json"),
    "out's folder": (["--out=nowhere/numbers.json"], "nowhere is not a folder that can be written to"),
    "both": (["--profile", "--convolutions"], "exclude each other"),
    "image size": (["--image_size=3"], "--image_size=3: expected"),
    "no such recipe": (["--recipe=ladder/vgg_like"], "did you mean 'ladder/vgg_like_1'"),
    "batch size": (["--batch_size=0"], "--batch_size=0: expected a whole number at least 1"),
    "what Keras lacks": (
        ["--recipe=fast", "--implementations=keras"],
        "has optimizer muon, but the benchmark's keras implementation supports only adam or sgd; leave keras out",
    ),
    "a net that Keras lacks": (
        ["--recipe=zoo", "--net=googlenet", "--implementations=keras"],
        "--net=googlenet: the benchmark has no keras implementation of this net",
    ),
}


@pytest.mark.parametrize(("arguments", "words"), BAD.values(), ids=BAD)
def test_bad_input(arguments, words, command, monkeypatch, tmp_path):
    monkeypatch.setattr(environments, "ENVIRONMENT", tmp_path)
    monkeypatch.setattr(environments, "MODULES", {"keras": "keras", "pytorch": "no_such_module"})
    outcome = command("bench", *arguments)
    assert outcome.status == 2
    assert one_line(outcome.err)
    assert words in outcome.err


def test_the_message_names_an_implementation_that_fails(tmp_path, monkeypatch, command):
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho 'no such library' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(broken))
    outcome = command("bench", *TINY, "--implementations=none", f"--out={tmp_path / 'b.json'}")
    assert outcome.status == 2
    assert one_line(outcome.err)
    assert "graphcnn in" in outcome.err
    assert "ended with status 1: no such library" in outcome.err
    assert not (tmp_path / "b.json").exists()


HIDDEN = (Dense("dense", 12, activation=True), Dense("output"))
NORM = {"batch_norm": True, "batch_norm_position": "after"}
PARITY = {  # net: (rows, image size, recipe)
    "vgg_tiny": (SEQUENTIAL["vgg_tiny"], 16, {}),
    "vgg6": (SEQUENTIAL["vgg6"], 16, {}),
    "vgg6, the steps of fast": (
        SEQUENTIAL["vgg6"], 16,
        {"batch_norm": True, "activation": "silu", "optimizer": "muon", "label_smoothing": 0.2,
         "bias_lr_multiplier": 3.0},
    ),
    "four_layer's first half, norm after": ((*SEQUENTIAL["four_layer"][:4], *HIDDEN), 17, NORM),
    "seven_layer_doubled's first half": ((*SEQUENTIAL["seven_layer_doubled"][:6], *HIDDEN), 18, NORM),
    "photos_strided's first half, norm before": (
        (*SEQUENTIAL["photos_strided"][:4], *HIDDEN), 35, {"batch_norm": True, "activation": "silu"},
    ),
    "strided, SAME": (
        (Conv("a", 6, stride=2), Conv("b", 7, kernel=4, pool=3, pool_stride=2, pool_padding="VALID"),
         Conv("c", 8, kernel=2, pool=2, pool_stride=1), Conv("d", 9, stride=2, pool=3, pool_stride=2), *HIDDEN),
        22,
        {},
    ),
}  # fmt: skip
ONE_STEP = {  # implementation: a program of its logits, its weights in graphcnn's layout, and those after one step
    "keras": """
import keras
from graphcnn.benchmark.implementations.keras import Keras

def in_our_layout(model):
    arrays = []
    for layer in model.layers:
        norm = isinstance(layer, keras.layers.BatchNormalization)
        arrays += [w.numpy() for w in layer.trainable_weights[:: -1 if norm else 1]]  # beta, then gamma
    return arrays

def one_step(job, images, labels):
    keras.utils.set_random_seed(0)
    model = Keras(job, "float32").model
    for vector in (w for w in model.trainable_weights if len(w.shape) == 1):  # no channel is nearly dead
        vector.assign(vector + 0.5)
    weights, logits = in_our_layout(model), model.predict(images, verbose=0)
    model.train_on_batch(images, labels)
    return logits, weights, in_our_layout(model)
""",
    "pytorch": """
import torch
from graphcnn.benchmark.implementations.pytorch import PyTorch
from graphcnn.benchmark.job import batch_slice

def in_our_layout(net):
    arrays, maps = [], 3
    for module in net:
        for p in list(module.parameters())[:: -1 if hasattr(module, "running_mean") else 1]:  # beta, then gamma
            w = p.detach().numpy().copy()
            if w.ndim == 4:
                w, maps = w.transpose(2, 3, 1, 0), w.shape[0]
            elif w.ndim == 2 and maps:  # the maps were flattened channels first
                side = int((w.shape[1] / maps) ** 0.5)
                w, maps = w.reshape(-1, maps, side, side).transpose(2, 3, 1, 0).reshape(w.shape[1], -1), 0
            elif w.ndim == 2:
                w = w.T
            arrays += [w] if p.requires_grad else []
    return arrays

def one_step(job, images, labels):
    torch.manual_seed(0)
    implementation = PyTorch(job, "float32")
    with torch.no_grad():
        for vector in (p for p in implementation.net.parameters() if p.requires_grad and p.dim() == 1):
            vector += 0.5  # no channel is nearly dead
        weights = in_our_layout(implementation.net)
        logits = implementation.net.eval()(implementation._normalise(images, torch.float32)).numpy()
    implementation.net.train()
    implementation._train_step(*implementation._batch(batch_slice(job, 0)))
    return logits, weights, in_our_layout(implementation.net)
""",
}


@pytest.fixture(scope="module")
def parity_recipes():
    """A Recipe for each net of PARITY; the net is registered under that name during the tests."""
    with pytest.MonkeyPatch.context() as patch:
        for name, (rows, _, _) in PARITY.items():
            patch.setitem(SEQUENTIAL, name, rows)
            patch.setitem(NETS, name, functools.partial(sequential.build, rows))
        common = {"precision": "float32", "warmup_steps": 0, "batch_size": 32, "l2": 0.05, "keep_prob": 1.0}
        common |= {"learning_rate": 0.1, "optimizer": "sgd"}
        yield {name: Recipe(net=name, image_size=size, **common | own) for name, (_, size, own) in PARITY.items()}


def supports(implementation, recipe):
    supported = timed_recipe.SUPPORTED[implementation]
    return all(getattr(recipe, setting) in values for setting, values in supported.items())


@pytest.fixture(scope="module", params=ONE_STEP)
def files_of_one_step(request, parity_recipes, tmp_path_factory):
    """Return {net: .npz file of another implementation: logits, images, labels, weights before and after a step}."""
    if request.param == "pytorch" and importlib.util.find_spec("torch") is None:
        pytest.skip("PyTorch is not installed")
    program = (
        "import json, sys\nimport numpy as np\nfrom graphcnn.benchmark.job import Job, images_and_labels\n"
        + ONE_STEP[request.param]
        + "for file, line in json.loads(sys.argv[1]).items():\n"
        "    job = Job.from_json(line)\n"
        "    images, labels = (each[: job.recipe.batch_size] for each in images_and_labels(job))\n"
        "    logits, before, after = one_step(job, images, labels)\n"
        "    np.savez(file, logits, images, labels, *before, *after)\n"
    )
    folder = tmp_path_factory.mktemp(request.param)
    names = [name for name, recipe in parity_recipes.items() if supports(request.param, recipe)]
    files = {name: folder / f"{number}.npz" for number, name in enumerate(names)}
    jobs = {str(file): timed_recipe.job_of(parity_recipes[name]).to_json() for name, file in files.items()}
    arguments = [sys.executable, "-c", program, json.dumps(jobs)]
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(arguments, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return files


@pytest.mark.parametrize("net", PARITY)
def test_other_implementations_compute_the_same_net_loss_and_step(net, files_of_one_step, parity_recipes):
    """With the same initial weights, graphcnn computes the same logits, and the same weights after one step of SGD."""
    if net not in files_of_one_step:
        pytest.skip("this implementation does not support the recipe")
    logits, images, labels, *weights = np.load(files_of_one_step[net]).values()
    before, after = weights[: len(weights) // 2], weights[len(weights) // 2 :]
    statistics = np.full(3, job.MEAN), np.full(3, job.SCALE)
    built = build_training(parity_recipes[net], images.shape[1:3], job.CLASSES, statistics, 1)
    variables = [v for v in built.variables if v.trainable]
    with built.graph.as_default():
        values = [tf1.placeholder(tf.float32, v.shape) for v in variables]
        assign = [v.assign(value) for v, value in zip(variables, values, strict=True)]
    with session(built.graph) as running:
        running.run(built.initialize)
        running.run(assign, dict(zip(values, before, strict=True)))
        assert running.run(built.logits, {built.x: images}) == pytest.approx(logits, abs=5e-5)
        running.run(built.train_op, {built.x: images, built.y: labels})
        trained = running.run(variables)
    steps = [float(np.abs(a - b).max()) for a, b in zip(after, before, strict=True)]
    assert max(steps) > 5e-4
    for ours, theirs, step in zip(trained, after, steps, strict=True):
        # batch norm amplifies rounding, which depends on the number of cores: 2.4e-3 of a step was seen on one core
        assert ours == pytest.approx(theirs, abs=1e-6 + 5e-3 * step)
