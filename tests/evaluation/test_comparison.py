"""Two models compared on the same images: numbers, files, and what is refused."""

import json
import shutil

import numpy as np
import pytest
from conftest import TINY, one_line, run_quietly, tiny_arrays, write_folder
from scipy import stats
from sklearn.metrics import accuracy_score, f1_score

from graphcnn.data import arrays, npy
from graphcnn.evaluation.comparison import compare, conclusion, mcnemar


def softmax(labels, classes, strength, seed):
    """Return softmax outputs [N, K] that are right more often for larger `strength`."""
    logits = np.random.default_rng(seed).normal(size=(len(labels), classes)) * 2
    logits[np.arange(len(labels)), labels] += strength
    return (np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)).astype(np.float32)


def macro_f1(labels, predictions, classes):
    return f1_score(labels, predictions, average="macro", labels=range(classes), zero_division=0)


class TestNumbers:
    labels = np.arange(90) % 3

    def test_they_are_those_of_scikit_learn_and_scipy(self):
        outputs = [softmax(self.labels, 3, strength, seed) for strength, seed in ((3.5, 1), (2, 2))]
        comparison = compare(self.labels, *outputs)
        first, second = (output.argmax(axis=1) for output in outputs)
        for difference, score in (
            (comparison.macro_f1, lambda y, p: macro_f1(y, p, 3)),
            (comparison.accuracy, accuracy_score),
        ):
            assert difference.run == pytest.approx(score(self.labels, first))
            assert difference.against == pytest.approx(score(self.labels, second))
            assert difference.difference == difference.run - difference.against
        right = comparison.right
        assert sum(right) == comparison.images == 90
        assert right.both + right.only_run == (first == self.labels).sum()
        assert right.both + right.only_against == (second == self.labels).sum()
        assert right.neither == ((first != self.labels) & (second != self.labels)).sum()
        p = stats.binomtest(right.only_against, right.only_run + right.only_against).pvalue
        assert comparison.mcnemar_p == pytest.approx(p)

    @pytest.mark.parametrize("score", ["macro_f1", "accuracy"])
    def test_the_interval_is_that_of_scipys_paired_bootstrap(self, score):
        outputs = [softmax(self.labels, 3, strength, seed) for strength, seed in ((3, 1), (2, 2))]
        first, second = (output.argmax(axis=1) for output in outputs)

        def of_rows(*groups):
            rows = np.concatenate(groups)
            y, p, q = self.labels[rows], first[rows], second[rows]
            if score == "accuracy":
                return np.mean(p == y) - np.mean(q == y)
            return macro_f1_of(y, p) - macro_f1_of(y, q)

        groups = [np.flatnonzero(self.labels == k) for k in range(3)]
        options = {"vectorized": False, "method": "percentile", "n_resamples": 5000}
        expected = stats.bootstrap(groups, of_rows, **options, random_state=0)
        interval = getattr(compare(self.labels, *outputs), score).interval
        steps = 1 / 90 if score == "accuracy" else 0
        assert interval == pytest.approx(
            np.array(expected.confidence_interval), abs=0.12 * expected.standard_error + steps
        )

    def test_equal_predictions_have_no_difference(self):
        output = softmax(self.labels, 3, 2, 0)
        comparison = compare(self.labels, output, output)
        assert comparison.macro_f1.interval == comparison.accuracy.interval == (0, 0)
        assert comparison.mcnemar_p == 1
        assert conclusion("a", "b", comparison.macro_f1).startswith("contains 0: ")

    def test_exchanged_models_have_the_opposite_difference(self):
        outputs = [softmax(self.labels, 3, strength, seed) for strength, seed in ((9, 1), (1, 2))]
        there, back = compare(self.labels, *outputs), compare(self.labels, *reversed(outputs))
        assert there.macro_f1.difference == -back.macro_f1.difference
        assert there.mcnemar_p == back.mcnemar_p < 0.05
        assert conclusion("a", "b", there.macro_f1).startswith("excludes 0: a has the higher macro F1")
        assert conclusion("a", "b", back.macro_f1).startswith("excludes 0: b has the higher macro F1")

    @pytest.mark.parametrize(("first", "second", "p"), [(0, 0, 1), (5, 5, 1), (6, 0, 2 / 2**6), (1, 4, 12 / 2**5)])
    def test_mcnemar(self, first, second, p):
        assert mcnemar(first, second) == mcnemar(second, first) == pytest.approx(p)


def macro_f1_of(labels, predictions):
    """Return the macro F1 from its definition; scikit-learn takes milliseconds for a resample."""
    scores = []
    for k in range(3):
        occurrences = (labels == k).sum() + (predictions == k).sum()
        scores.append(2 * ((labels == k) & (predictions == k)).sum() / occurrences if occurrences else 0)
    return np.mean(scores)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Train a, suite/b (another seed) and other (another dev split); copy a as elsewhere (other images) and renamed."""
    root = tmp_path_factory.mktemp("runs")
    data = write_folder(root / "data")
    for name, settings in {"a": [], "suite/b": ["--seed=2"], "other": ["--dev_fraction=0.5"]}.items():
        run_quietly("train", f"--data={data}", f"--checkpoints={root}", f"--run={name}", *TINY, "--epochs=1", *settings)
    x, y = tiny_arrays(96, seed=5)
    folder = write_folder(root / "data2", x_train=x, y_train=y)
    moved = arrays.load(folder, npy.files(folder), test=False)
    config = json.loads((root / "a" / "config.json").read_text())
    changed = {
        "elsewhere": {"data": {**config["data"], "source": moved.source, "fingerprint": moved.fingerprint}},
        "renamed": {"class_names": ["x", "y", "z"]},
    }
    for name, entries in changed.items():
        shutil.copytree(root / "a", root / name, symlinks=True)
        (root / name / "config.json").write_text(json.dumps({**config, **entries}))
    return root, data


def classes_of(root, data, run, tmp_path):
    out = tmp_path / "p.npy"
    run_quietly("predict", f"--checkpoints={root}", f"--run={run}", f"--array={data / 'x_test.npy'}", f"--out={out}")
    return np.load(out).argmax(axis=1)


@pytest.mark.parametrize("against", ["suite/b", "other", "suite/b,a"])
def test_eval_compares_runs_and_ensembles(against, runs, tmp_path, command):
    """On the test split, the runs may have different dev splits."""
    root, data = runs
    outcome = command("eval", f"--checkpoints={root}", "--run=a", f"--against={against}", "--split=test")
    assert outcome.status == 0, outcome.err
    name = f"test_against_{against.replace('/', '-').replace(',', '+')}.json"
    report = json.loads((root / "a" / "report" / name).read_text())
    labels = np.load(data / "y_test.npy")[:, 0]
    first, second = (classes_of(root, data, run, tmp_path) for run in ("a", against))
    assert report["macro_f1"]["run"] == pytest.approx(macro_f1(labels, first, 3))
    assert report["macro_f1"]["against"] == pytest.approx(macro_f1(labels, second, 3))
    assert report["accuracy"]["difference"] == pytest.approx(np.mean(first == labels) - np.mean(second == labels))
    low, high = report["macro_f1"]["interval"]
    assert low <= high
    assert sum(report["right"].values()) == report["images"] == 24
    assert (report["run"], report["against"]) == ("a", against.replace(",", " + "))
    assert report["fingerprint"]
    ends = f"(95% interval {low:+.4f} to {high:+.4f})"
    assert f"difference {report['macro_f1']['difference']:+.6f} {ends}" in outcome.out
    words = "contains 0: " if low <= 0 <= high else "excludes 0: "
    assert f"the 95% interval of the difference in macro F1 {words}" in outcome.out
    assert f"written: {root / 'a' / 'report' / name}" in outcome.out


def test_several_splits_and_an_array(runs, command):
    root, data = runs
    common = ["eval", f"--checkpoints={root}", "--run=suite/b", "--against=a"]
    assert command(*common, "--split=dev,train").status == 0
    outcome = command(*common, f"--array={data / 'x_test.npy'}", f"--labels={data / 'y_test.npy'}")
    assert outcome.status == 0, outcome.err
    assert "array macro F1: " in outcome.out
    report = root / "suite" / "b" / "report"
    assert {path.name for path in report.iterdir()} == {f"{name}_against_a.json" for name in ("dev", "train", "array")}
    assert json.loads((report / "array_against_a.json").read_text())["source"] == str(data / "x_test.npy")


REFUSED = {  # name: (flags, words of the message)
    "itself": (["--run=a", "--against=a"], "--against=a: is the same model as --run"),
    "the same members": (["--run=a,suite/b", "--against=suite/b,a"], "is the same model as --run"),
    "an unknown run": (["--run=a", "--against=none"], "=none: no such run"),
    "another dev split": (["--run=a", "--against=other"], "other and a have different dev splits"),
    "another dev split, several splits": (["--run=a", "--against=other", "--split=test,dev"], "different dev splits"),
    "other images": (["--run=a", "--against=elsewhere"], "elsewhere and a have different training images"),
    "other images, test": (["--run=a", "--against=elsewhere", "--split=test"], "different training images"),
    "other classes": (["--run=a", "--against=renamed"], "renamed and a have different classes"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case, runs, command):
    flags, words = REFUSED[case]
    outcome = command("eval", f"--checkpoints={runs[0]}", *flags)
    assert outcome.status == 2
    assert one_line(outcome.err)
    assert words in outcome.err


class TestFiles:
    labels = np.arange(60) % 3

    def run(self, command, tmp_path, first, second):
        for name, array in {"p": first, "q": second, "y": self.labels}.items():
            np.save(tmp_path / f"{name}.npy", array)
        p, q, y = (tmp_path / f"{name}.npy" for name in "pqy")
        return command("eval", f"--predictions={p}", f"--against={q}", f"--labels={y}")

    def test_they_are_compared_without_a_run(self, tmp_path, command):
        outputs = [softmax(self.labels, 3, strength, seed) for strength, seed in ((3, 1), (2, 2))]
        outcome = self.run(command, tmp_path, *outputs)
        assert outcome.status == 0, outcome.err
        first, second = (macro_f1(self.labels, output.argmax(axis=1), 3) for output in outputs)
        assert outcome.out.startswith(
            f"macro F1: {first:.6f} for {tmp_path / 'p.npy'}, {second:.6f} for {tmp_path / 'q.npy'}, difference "
            f"{first - second:+.6f} (95% interval "
        )
        assert sorted(path.name for path in tmp_path.iterdir()) == ["p.npy", "q.npy", "y.npy"]

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            (lambda q: q[:-1], "q.npy: found shape (59, 3), expected (60, 3) as in "),
            (lambda q: q[:, :2] / q[:, :2].sum(axis=1, keepdims=True), "q.npy: found shape (60, 2), expected (60, 3)"),
            (lambda q: q * 2, "sums to 2, expected 1; apply softmax to it"),
            (lambda q: q.argmax(axis=1), "q.npy: found int64 (60,), expected float softmax outputs"),
        ],
    )
    def test_a_file_that_does_not_fit_is_refused(self, change, words, tmp_path, command):
        output = softmax(self.labels, 3, 2, 0)
        outcome = self.run(command, tmp_path, output, change(output))
        assert outcome.status == 2
        assert one_line(outcome.err)
        assert words in outcome.err
