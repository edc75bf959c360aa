"""Ensembles: weights, scores, submissions."""

import json

import numpy as np
import pytest
from conftest import TINY, one_line, run_quietly, tiny_arrays, write_folder
from scipy.optimize import minimize
from sklearn.metrics import f1_score

from graphcnn.evaluation import ensemble


@pytest.fixture(scope="module")
def members(tmp_path_factory):
    """Train runs on the same files: a, b (another seed), large (another input size) and other (another dev split)."""
    root = tmp_path_factory.mktemp("members")
    data = write_folder(root / "data", y_test=tiny_arrays(24, seed=1)[1])
    for name, settings in {
        "a": ["--seed=1"], "b": ["--seed=2"], "large": ["--image_size=20", "--seed=3"], "other": ["--dev_fraction=0.5"],
    }.items():  # fmt: skip
        run_quietly("train", f"--data={data}", f"--checkpoints={root}", f"--run={name}", *TINY, *settings)
    return root, data


@pytest.fixture(scope="module")
def outputs(members, tmp_path_factory):
    """Return {run: predict's softmax outputs for the test images} for a, b, large and the ensemble "a,large"."""
    root, data = members
    out, softmax = tmp_path_factory.mktemp("outputs") / "p.npy", {}
    for name in ("a", "b", "large", "a,large"):
        run_quietly(
            "predict", f"--checkpoints={root}", f"--run={name}", f"--array={data / 'x_test.npy'}", f"--out={out}"
        )
        softmax[name] = np.load(out)
    return softmax


def test_fitted_weights_maximise_the_likelihood():
    """They equal SciPy's minimum of the negative log-likelihood over the simplex."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 4, 300)
    logits = generator.normal(size=(3, 300, 4))
    logits[:, np.arange(300), labels] += np.array([1.0, 0.9, 0.7])[:, None]
    softmax = np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)
    of_labels = softmax[:, np.arange(300), labels]

    def negative_log_likelihood(weights):
        return -np.log(weights @ of_labels).mean()

    best = minimize(
        negative_log_likelihood,
        np.full(3, 1 / 3),
        bounds=[(0, 1)] * 3,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1},
    )
    weights = ensemble.fit_weights(labels, softmax)
    assert weights.sum() == pytest.approx(1)
    assert min(best.x) > 0.05  # no weight is trivially 0
    assert negative_log_likelihood(weights) <= best.fun + 1e-6
    assert weights == pytest.approx(best.x, abs=5e-3)
    assert ensemble.mean_weights(3) == pytest.approx([1 / 3] * 3)


def test_agreement_is_the_fraction_of_equal_predictions():
    softmax = np.eye(3)[np.array([[0, 1, 2, 0], [0, 1, 1, 1]])]
    assert ensemble.agreement(softmax) == pytest.approx(np.array([[1, 0.5], [0.5, 1]]))


@pytest.mark.pictures
@pytest.mark.parametrize("kind", ["mean", "fitted"])
def test_eval_scores_members_of_different_sizes_together(kind, members, outputs, command):
    root, data = members
    common = [f"--checkpoints={root}", "--run=a,b,large", f"--ensemble={kind}", "--precision=float32"]
    outcome = command("eval", *common, "--split=test,dev")
    assert outcome.status == 0, outcome.err
    report = json.loads((root / "ensembles" / "a+b+large" / "test.json").read_text())
    softmax = np.stack([outputs[name] for name in ("a", "b", "large")])
    labels = np.load(data / "y_test.npy")[:, 0]
    weights = [member["share"] for member in report["members"]]
    assert sum(weights) == pytest.approx(1)
    assert (len(set(weights)) == 1) == (kind == "mean")
    predictions = np.tensordot(weights, softmax, axes=1).argmax(axis=1)
    assert report["macro_f1"] == pytest.approx(f1_score(labels, predictions, average="macro"))
    for member, output in zip(report["members"], softmax, strict=True):
        expected = f1_score(labels, output.argmax(axis=1), average="macro", labels=range(3), zero_division=0)
        assert member["macro_f1"] == pytest.approx(expected)
    same = np.mean(softmax[0].argmax(axis=1) == softmax[2].argmax(axis=1))
    assert report["agreement"][0][2] == pytest.approx(same)
    assert ("the ensemble weights were fitted on this split" in outcome.out) == (kind == "fitted")
    assert (root / "ensembles" / "a+b+large" / "dev_confusion.png").stat().st_size > 1000


def test_predict_averages_the_members(outputs):
    expected = np.mean([outputs["a"], outputs["large"]], axis=0)
    assert outputs["a,large"] == pytest.approx(expected, abs=1e-7)


def test_the_submission_is_one_graph(members, outputs, tmp_path, command):
    """The outputs of the members are compared with result.npy, which submit has verified with TensorFlow alone."""
    root, _ = members
    out = tmp_path / "submission"
    for kind in ("mean", "fitted"):  # the second one replaces the first one
        outcome = command("submit", "--run=a,b,large", f"--ensemble={kind}", f"--checkpoints={root}", f"--out={out}")
        assert outcome.status == 0, outcome.err
        config = json.loads((out / "config.json").read_text())
        assert config["ensemble"] == kind
        weights = [member["share"] for member in config["members"]]
        expected = np.tensordot(weights, [outputs[name] for name in ("a", "b", "large")], axes=1)
        assert np.load(out / "result.npy") == pytest.approx(expected, abs=1e-5)
        names = {path.name for path in out.iterdir()}
        assert {"history_1.csv", "history_2.csv", "history_3.csv", "model.ckpt.meta"} <= names


@pytest.mark.parametrize(
    ("name", "flags", "words"),
    [
        ("eval", ["--run=a,a"], "a run is named twice"),
        ("eval", ["--run=a,none"], "--run=none: no such run"),
        ("eval", ["--run=a,other"], "have different dev splits"),
        ("submit", ["--run=a,other"], "have different dev splits"),
        ("eval", ["--run=a", "--ensemble=fitted"], "needs several runs"),
        ("eval", ["--run=a,b", "--ensemble=best"], "unknown name 'best'"),
        ("submit", ["--run=a,b", "--tta"], "--tta: run a was trained without"),
        ("predict", ["--run=a,b", "--net=mobilenet", "x.png"], "--run: needs a run, but --net replaces the run"),
        ("explain", ["--run=a,b", "x.png"], "found 2 runs, expected one"),
    ],
)
def test_runs_that_cannot_be_combined_are_refused(name, flags, words, members, command):
    outcome = command(name, f"--checkpoints={members[0]}", *flags)
    assert outcome.status == 2
    assert one_line(outcome.err)
    assert words in outcome.err


def test_runs_with_different_image_sizes_cannot_become_one_graph(members, tmp_path, command):
    root, _ = members
    x, y = tiny_arrays(96, 24)
    data = write_folder(tmp_path / "data", x_train=x, y_train=y, x_test=tiny_arrays(24, 24)[0])
    for name, source in {"c": data, "d": root / "data"}.items():
        settings = [f"--data={source}", f"--checkpoints={tmp_path}", f"--run={name}", *TINY, "--epochs=1"]
        assert command("train", *settings).status == 0
    outcome = command("submit", f"--checkpoints={tmp_path}", "--run=c,d", f"--out={tmp_path / 'out'}")
    assert outcome.status == 2
    assert "images of different sizes" in outcome.err
