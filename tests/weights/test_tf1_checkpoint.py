"""A plain TF1 script's checkpoint: evaluated, trained further, and refused where it does not fit."""

import json
import subprocess
import sys

import numpy as np
import processes
import pytest
from conftest import TINY, one_line, write_folder
from initial_weights import prepare
from weight_files import SHAPES

from graphcnn.common.errors import InputError
from graphcnn.config.recipe import Recipe
from graphcnn.graphs.inference import build_inference
from graphcnn.ops.tf1 import session, tf1
from graphcnn.storage.run import Run
from graphcnn.weights.loaded import NOT_TRAINED
from graphcnn.weights.tf1_checkpoint import load_checkpoint, read_name_map

SCRIPT = """
import sys
import numpy as np
import tensorflow.compat.v1 as tf

tf.disable_eager_execution()
prefix, images, out = sys.argv[1:]
generator = np.random.default_rng(5)
x, channels = tf.placeholder(tf.float32, [None, 16, 16, 3]), 3
maps = x
def variable(name, *shape):
    return tf.Variable(generator.normal(0, 0.2, shape).astype("float32"), name=name)
for n, filters in enumerate((8, 8, 16), 1):
    maps = tf.nn.conv2d(maps, variable(f"W{n}", 3, 3, channels, filters), strides=[1, 1, 1, 1], padding="SAME")
    maps = tf.nn.relu(maps + variable(f"b{n}", filters))
    maps, channels = tf.nn.max_pool(maps, ksize=[1, 2, 2, 1], strides=[1, 2, 2, 1], padding="SAME"), filters
hidden = tf.matmul(tf.reshape(maps, [-1, 64]), variable("W_fc1", 64, 16)) + variable("b_fc1", 16)
logits = tf.matmul(hidden, variable("W_fc2", 16, 3)) + variable("b_fc2", 3)
loss = tf.reduce_mean(tf.square(logits))
train = tf.train.AdamOptimizer(1e-3).minimize(loss)
with tf.Session() as session:
    session.run(tf.global_variables_initializer())
    fed = {x: np.load(images) / 255.0}
    session.run(train, fed)
    np.save(out, session.run(tf.nn.softmax(logits), fed))
    tf.train.Saver().save(session, prefix, global_step=1)
"""
NAMES = {"W1": "conv1_1/w", "W2": "conv2_1/w", "W3": "conv3_1/w", "W_fc1": "dense1/w", "W_fc2": "output/w"}
NAMES |= {name.replace("W", "b"): ours.replace("/w", "/b") for name, ours in NAMES.items()}


@pytest.fixture(autouse=True)
def forked(monkeypatch):
    processes.fork_checks(monkeypatch)


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    """The results of a plain TF1 script: (folder with data/, prefix of its checkpoint, its probabilities of x_test)."""
    folder = tmp_path_factory.mktemp("script")
    data = write_folder(folder / "data")
    arguments = [folder / "model.ckpt", data / "x_test.npy", folder / "found.npy"]
    done = subprocess.run([sys.executable, "-c", SCRIPT, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (folder / "map.json").write_text(json.dumps(NAMES))
    return folder, folder / "model.ckpt-1", np.load(folder / "found.npy")


def test_a_tf1_script_s_checkpoint_opens_and_is_evaluated(script, tmp_path, command):
    folder, prefix, expected = script
    common = [f"--checkpoints={tmp_path}", "--run=old"]
    flags = [f"--data={folder / 'data'}", f"--weights={prefix}", f"--name_map={folder / 'map.json'}"]
    flags += [*TINY, "--normalisation=unit", "--epochs=0", "--precision=float32"]
    outcome = command("train", *common, *flags)
    assert outcome.status == 0, outcome.err
    assert outcome.out.count(NOT_TRAINED) == 1
    assert (
        "10 of the net's 10 variables loaded, 0 newly initialised; 0 of the source's variables skipped" in outcome.out
    )
    assert (
        command("predict", *common, f"--array={folder / 'data' / 'x_test.npy'}", f"--out={tmp_path / 'p.npy'}").status
        == 0
    )
    assert np.load(tmp_path / "p.npy") == pytest.approx(expected, abs=1e-6)
    scored = command("eval", *common, "--split=test")
    accuracy = np.mean(expected.argmax(axis=1) == np.load(folder / "data" / "y_test.npy")[:, 0])
    assert f"test accuracy: {accuracy:.6f}" in scored.out
    assert NOT_TRAINED not in scored.out
    assert NOT_TRAINED in command("eval", *common, "--split=dev").out
    submitted = command("submit", *common, f"--out={tmp_path / 'out'}")
    assert submitted.status == 0, submitted.err
    assert NOT_TRAINED in submitted.out
    assert "not trained: the weights were imported" in (tmp_path / "out" / "README.md").read_text()
    before = (tmp_path / "old" / "epoch-0000" / "model.ckpt.data-00000-of-00001").read_bytes()
    assert command("train", *common, "--resume").status == 0
    assert (tmp_path / "old" / "epoch-0000" / "model.ckpt.data-00000-of-00001").read_bytes() == before
    outcome = command("train", *common, "--resume", "--epochs=2")
    assert outcome.status == 0, outcome.err
    assert "resumed after epoch 0" in outcome.out
    assert len(Run(tmp_path, "old").history(2)) == 2


def test_a_mapped_variable_takes_precedence_over_one_of_that_name(tmp_path):
    with tf1.Graph().as_default() as graph, session(graph) as running:
        made = [
            tf1.get_variable(name, initializer=np.full(8, value, np.float32))
            for name, value in {"b": 1, "conv1_1/b": 0}.items()
        ]
        running.run(tf1.global_variables_initializer())
        tf1.train.Saver(made).save(running, str(tmp_path / "a"), write_meta_graph=False)
    found = load_checkpoint(tmp_path / "a", {"b": "conv1_1/b"}, SHAPES)
    assert found.fit.values["conv1_1/b"].tolist() == [1] * 8
    other = load_checkpoint(tmp_path / "a", {}, SHAPES)
    assert other.fit.values["conv1_1/b"].tolist() == [0] * 8
    assert found.origin.sha256 != other.origin.sha256  # the map is part of what a resume checks


def test_the_built_in_map_is_of_the_assignment_s_net():
    graph = build_inference(Recipe(keep_prob=1.0), (32, 32), 10)
    own = [variable.op.name for variable in graph.variables if not variable.op.name.startswith("normalisation/")]
    assert list(read_name_map("assignment").values()) == own
    assert list(read_name_map("assignment"))[::2] == [*(f"W{n}" for n in range(1, 10)), "W_fc1", "W_fc2", "W_fc3"]


MAPS = {  # of a file that is not valid: (its content, words of the message)
    "not JSON": ("{", "expected FILE.json or one of"),
    "a list": ("[1]", "expected an object of names"),
    "one variable for two": ('{"a": "b", "c": "b"}', "two entries have the same variable"),
    "one variable for two, but for :0": ('{"a": "b", "c": "b:0"}', "two entries have the same variable"),
    "a key twice": ('{"a": "b", "a": "c"}', "two entries have the same variable"),
    "too deep": ("[" * 200_000, "expected FILE.json or one of"),
}


@pytest.mark.parametrize("case", MAPS)
def test_bad_name_maps(case, tmp_path):
    content, words = MAPS[case]
    (tmp_path / "map.json").write_text(content)
    with pytest.raises(InputError, match=words):
        read_name_map(str(tmp_path / "map.json"))


def test_an_unknown_name_map():
    with pytest.raises(InputError, match=r"expected FILE.json or one of: assignment"):
        read_name_map("assignmnt")


def test_what_does_not_fit_a_checkpoint_is_refused(script, tmp_path):
    folder, prefix, _ = script
    partial = tmp_path / "partial.json"
    partial.write_text('{"W1": "conv1_1/w", "b1": "conv1_1/b"}')
    for path in folder.glob("model.ckpt-1.*"):
        (tmp_path / path.name.replace("model.ckpt-1", "damaged")).write_bytes(path.read_bytes()[:50])
    cases = {
        "lacks 8 of the net's variables": {"weights": prefix, "name_map": str(partial), "epochs": 0},
        "fits --net=vgg_tiny by name and shape": {"weights": prefix},
        "needs the prefix of a checkpoint": {"weights": "other", "name_map": "assignment"},
        "damaged, or not a checkpoint": {"weights": tmp_path / "damaged"},
    }
    for words, options in cases.items():
        with pytest.raises(InputError, match=words):
            prepare(tmp_path, **options)


def test_the_names_of_both_sides_are_printed_if_no_variable_fits(script, tmp_path, command):
    folder, prefix, _ = script
    flags = [f"--checkpoints={tmp_path}", f"--data={folder / 'data'}", f"--weights={prefix}", *TINY, "--epochs=0"]
    outcome = command("train", *flags)
    assert (outcome.status, one_line(outcome.err)) == (2, True)
    assert "none of the 32 variables of" in outcome.err
    assert outcome.err.endswith("see the table; --name_map=FILE.json maps names\n")
    for words in ("conv1_1/w 3x3x3x8", "output/b 3", "W1 3x3x3x8", "b_fc2 3", "W1/Adam 3x3x3x8", "beta1_power 1"):
        assert words in outcome.out
