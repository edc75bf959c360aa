"""Temperature scaling: the fit, `eval --calibrate`, and --calibrated in every command that has it."""

import json
import shutil

import numpy as np
import pytest
from conftest import one_line, run_quietly
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax
from sklearn.linear_model import LogisticRegression

from graphcnn.common.errors import InputError
from graphcnn.evaluation import temperature
from graphcnn.evaluation.calibration import expected_calibration_error, reliability
from graphcnn.evaluation.temperature import fit_temperature
from graphcnn.evaluation.trained_run import TrainedRun
from graphcnn.exporters.write import FORMATS
from graphcnn.storage import calibration
from graphcnn.storage.run import Run


def drawn(rows, classes, seed=0):
    """Return logits [rows, classes], and labels that are drawn from their softmax."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, 2, (rows, classes))
    labels = (generator.random((rows, 1)) > softmax(logits, axis=1).cumsum(axis=1)).sum(axis=1)
    return logits, np.minimum(labels, classes - 1)


@pytest.mark.parametrize(("margin", "right"), [(4.0, 3), (0.5, 3), (2.0, 7)])
def test_two_classes_with_equal_logits_have_a_closed_form(margin, right):
    """With the margin m and the accuracy p, softmax(m / T) = p gives T = m / ln(p / (1 - p))."""
    labels = np.array([1] * right + [0])
    fitted = fit_temperature(labels, np.tile([0, margin], (right + 1, 1)))
    assert fitted == pytest.approx(margin / np.log(right), rel=1e-5)


def test_two_classes_against_scikit_learn():
    """Without intercept and penalty, the coefficient of a logistic regression on the margin is 1 / T."""
    logits, labels = drawn(400, 2)
    margin = 3 * (logits[:, 1:] - logits[:, :1])
    fitted = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-9).fit(margin, labels)
    assert fit_temperature(labels, 3 * logits) == pytest.approx(1 / fitted.coef_[0, 0], rel=1e-4)


@pytest.mark.parametrize("factor", [0.05, 0.4, 3.0, 20.0])
def test_scaled_logits_give_the_factor_back_and_a_lower_error(factor):
    logits, labels = drawn(5000, 10)
    fitted = fit_temperature(labels, (factor * logits).astype(np.float32))
    assert fitted == pytest.approx(factor * fit_temperature(labels, logits), rel=1e-4)
    assert fitted == pytest.approx(factor, rel=0.05)
    before, after = (
        expected_calibration_error(reliability(labels, softmax(factor * logits / each, axis=1))) for each in (1, fitted)
    )
    assert after < min(0.03, before / 3)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (np.arange(60) % 3, "lowest at the smallest temperature, 0.01, as it is if all predictions are correct"),
        ((np.arange(60) + 1) % 3, "lowest at the largest temperature, 100, as it is if the predictions are no better"),
    ],
)
@pytest.mark.parametrize("scale", [1e-3, 1, 5, 500])
def test_a_result_at_a_bound_is_refused(scale, labels, words):
    with pytest.raises(InputError, match=words):
        fit_temperature(labels, scale * np.eye(3)[np.arange(60) % 3])


class Calibrated:
    """A copy of the tiny run with a temperature: its checkpoints and data folders, flags, output and temperature."""

    def __init__(self, checkpoints, data):
        self.checkpoints, self.data, self.run = checkpoints, data, Run(checkpoints, "tiny")
        self.flags = [f"--checkpoints={checkpoints}", "--run=tiny"]
        self.out = run_quietly("eval", *self.flags, "--calibrate")
        self.stored = json.loads((self.run.path / "calibration.json").read_text())
        self.temperature = self.stored["temperature"]


@pytest.fixture(scope="module")
def calibrated(trained, tmp_path_factory):
    checkpoints = tmp_path_factory.mktemp("calibrated") / "runs"
    shutil.copytree(trained[0], checkpoints, symlinks=True)
    return Calibrated(checkpoints, trained[1])


def probabilities(command, flags, images, tmp_path):
    """Return predict's probabilities for an array of images, and its output."""
    np.save(tmp_path / "x.npy", images)
    outcome = command("predict", *flags, f"--array={tmp_path / 'x.npy'}", f"--out={tmp_path / 'p.npy'}")
    assert outcome.status == 0, outcome.err
    return np.load(tmp_path / "p.npy"), outcome.out


def test_calibrate_minimises_the_cross_entropy_of_the_dev_split(calibrated, command, tmp_path):
    rows = calibrated.run.dev_rows(96)
    images, labels = (np.load(calibrated.data / f"{name}_train.npy")[rows] for name in "xy")
    outputs, _ = probabilities(command, calibrated.flags, images, tmp_path)

    def loss(log_temperature):
        scaled = np.log(outputs.astype(float)) / np.exp(log_temperature)
        return -log_softmax(scaled, axis=1)[np.arange(len(rows)), labels[:, 0]].mean()

    best = minimize(loss, 0.0, method="Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-12})
    assert calibrated.temperature == pytest.approx(np.exp(best.x[0]), rel=1e-3)
    stored = calibrated.stored
    assert (stored["images"], stored["tta"]) == (24, False)
    assert stored["before"]["cross_entropy"] == pytest.approx(loss(0), rel=1e-5)
    assert stored["after"]["cross_entropy"] == pytest.approx(best.fun, rel=1e-5)
    for line in (
        f"temperature: {calibrated.temperature:.6f}, fitted on 24 dev images",
        *(
            f"dev {title}: {stored['before'][key]:.6f} before, {stored['after'][key]:.6f} after"
            for key, title in (("cross_entropy", "cross-entropy"), ("ece", "expected calibration error"))
        ),
    ):
        assert line in calibrated.out.splitlines()


def test_predict(calibrated, predicted, command, tmp_path):
    images = np.load(calibrated.data / "x_test.npy")
    plain, out = probabilities(command, calibrated.flags, images, tmp_path)
    assert np.array_equal(plain, predicted.softmax)
    assert "temperature" not in out
    found, out = probabilities(command, [*calibrated.flags, "--calibrated"], images, tmp_path)
    assert found == pytest.approx(softmax(np.log(plain) / calibrated.temperature, axis=1), abs=1e-6)
    assert np.array_equal(found.argmax(axis=1), plain.argmax(axis=1))
    assert f"of run tiny are softmax(logits / {calibrated.temperature:.6f}); the temperature was fitted on its" in out


def test_eval_writes_files_of_its_own(calibrated, command):
    report = calibrated.run.path / "report"
    assert command("eval", *calibrated.flags).status == 0
    plain = (report / "dev.json").read_bytes()
    outcome = command("eval", *calibrated.flags, "--calibrated")
    assert outcome.status == 0, outcome.err
    assert "the temperature was fitted on this split, so its cross-entropy and calibration error" in outcome.out
    assert (report / "dev.json").read_bytes() == plain
    before, after = json.loads(plain), json.loads((report / "dev_calibrated.json").read_text())
    assert set(after) - set(before) == {"temperature"}
    assert after["temperature"] == calibrated.temperature
    assert [before[key] == after[key] for key in ("macro_f1", "confusion", "cross_entropy")] == [True, True, False]
    for scores, stored in ((before, calibrated.stored["before"]), (after, calibrated.stored["after"])):
        assert stored == {key: pytest.approx(scores[key], rel=1e-6) for key in ("cross_entropy", "ece")}
    assert {f"dev_calibrated{end}" for end in (".csv", "_confusion.png", "_mistakes.png", "_reliability.png")} <= {
        path.name for path in report.iterdir()
    }
    assert "biased downwards" not in command("eval", *calibrated.flags, "--calibrated", "--split=test").out


def test_submit(calibrated, predicted, command, tmp_path):
    """The submission's own grader.py, in another process, computes the calibrated probabilities too."""
    flags = [*calibrated.flags, f"--out={tmp_path / 'submission'}"]
    outcome = command("submit", *flags, "--calibrated")
    assert outcome.status == 0, outcome.err
    assert "--calibrated: the probabilities of run tiny are softmax(logits / " in outcome.out
    expected = softmax(np.log(predicted.softmax) / calibrated.temperature, axis=1)
    assert np.load(tmp_path / "submission" / "result.npy") == pytest.approx(expected, abs=1e-6)
    config = json.loads((tmp_path / "submission" / "config.json").read_text())
    assert config["submission"]["temperature"] == calibrated.temperature
    readme = (tmp_path / "submission" / "README.md").read_text()
    assert f"`hypothesis:0` is softmax(`logits:0` / {calibrated.temperature:.6f})" in readme
    assert "Read `hypothesis:0` (softmax(logits / temperature)) or `logits:0`" in readme


def test_submit_without_the_flag_ignores_the_temperature(calibrated, predicted, command, tmp_path):
    outcome = command("submit", *calibrated.flags, f"--out={tmp_path / 'submission'}")
    assert outcome.status == 0, outcome.err
    assert np.array_equal(np.load(tmp_path / "submission" / "result.npy"), predicted.softmax)
    for name in ("config.json", "README.md", "model.ckpt.meta"):
        content = (tmp_path / "submission" / name).read_bytes()
        assert b"temperature" not in content and b"calibrated_logits" not in content


@pytest.mark.parametrize("kind", FORMATS)
def test_export(kind, calibrated, predicted, command, tmp_path):
    out = tmp_path / f"out.{kind}"
    outcome = command("export", *calibrated.flags, f"--format={kind}", f"--out={out}", "--calibrated")
    assert outcome.status == 0, outcome.err
    assert "--calibrated: the probabilities of run tiny are softmax(logits / " in outcome.out
    found, _ = FORMATS[kind].compute(out, np.load(calibrated.data / "x_test.npy").astype(np.float32))
    expected = softmax(np.log(predicted.softmax) / calibrated.temperature, axis=1)
    assert found == pytest.approx(expected, abs=1e-5)
    if kind == "npz":
        with np.load(out) as file:
            assert json.loads(str(file["config.json"]))["temperature"] == calibrated.temperature


def test_test_time_augmentation_has_a_temperature_of_its_own(trained_fast, command, tmp_path, monkeypatch):
    monkeypatch.setattr(temperature, "fit_temperature", lambda labels, logits: 2.0)  # this run is no better than chance
    checkpoints, data = tmp_path / "runs", trained_fast[1]
    shutil.copytree(trained_fast[0], checkpoints, symlinks=True)
    flags = [f"--checkpoints={checkpoints}", "--run=fast"]
    outcome = command("eval", *flags, "--calibrate", "--tta")
    assert outcome.status == 0, outcome.err
    stored = json.loads((checkpoints / "fast" / "calibration.json").read_text())
    assert stored["tta"] is True
    rows = Run(checkpoints, "fast").dev_rows(96)
    images, labels = (np.load(data / f"{name}_train.npy")[rows] for name in "xy")
    views, _ = probabilities(command, [*flags, "--tta"], images, tmp_path)
    of_labels = views[np.arange(len(labels)), labels[:, 0]].astype(float)
    losses = -np.log(np.maximum(of_labels, np.finfo(np.float32).tiny))  # log_loss would cut them at a smaller value
    assert stored["before"]["cross_entropy"] == pytest.approx(losses.mean(), rel=1e-5)
    found, _ = probabilities(command, [*flags, "--tta", "--calibrated"], images, tmp_path)
    assert found == pytest.approx(softmax(np.log(views) / 2, axis=1), abs=1e-6)
    outcome = command("eval", *flags, "--calibrated")
    assert (outcome.status, one_line(outcome.err)) == (2, True)
    assert "was fitted with --tta, so it does not hold without --tta; fit it again: ./run.sh eval" in outcome.err


REFUSED = {  # flags of a command: words of the error
    ("eval", "--calibrate", "--split=test"): "--calibrate: the temperature is fitted on the dev split only; drop",
    ("eval", "--calibrate", "--split=dev,train"): "--calibrate: the temperature is fitted on the dev split only; drop",
    ("eval", "--calibrate", "--images=a"): "--calibrate and --images exclude each other",
    ("eval", "--calibrate", "--array=a", "--labels=b"): "--calibrate and --array exclude each other",
    ("eval", "--calibrate", "--predictions=a", "--labels=b"): "--calibrate and --predictions exclude each other",
    ("eval", "--calibrate", "--against=a"): "--calibrate and --against exclude each other",
    ("eval", "--calibrate", "--calibrated"): "--calibrate and --calibrated exclude each other",
    ("eval", "--calibrate", "--precision=bfloat16"): "--calibrate and --precision exclude each other",
    ("eval", "--calibrate", "--run=tiny,other"): "found 2 runs, expected one",
    ("eval", "--calibrate", "--run=no_dev"): "fitted on the dev split, but run no_dev was trained without one",
    ("eval", "--calibrate", "--tta"): "--tta: run tiny was trained without --flip and --translate",
    ("eval", "--calibrated", "--against=a"): "--calibrated and --against exclude each other",
    ("eval", "--calibrated", "--predictions=a", "--labels=b"): "--calibrated and --predictions exclude each other",
    ("eval", "--calibrated", "--run=tiny,other"): "--calibrated: a temperature is fitted for one run",
    ("eval", "--calibrated", "--run=other"): "run other has no temperature; fit it with ./run.sh eval --run=other",
    ("submit", "--calibrated", "--run=tiny,other"): "--calibrated: a temperature is fitted for one run",
    ("export", "--calibrated", "--run=other"): "--calibrated: run other has no temperature",
    ("predict", "--calibrated", "--net=resnet50", "a.png"): "--calibrated: needs a run, but --net replaces the run",
}


@pytest.fixture(scope="module")
def several(calibrated, tmp_path_factory):
    """Return a checkpoints folder with the calibrated run, a run without temperature, and one without dev split."""
    root = tmp_path_factory.mktemp("several")
    for name in ("tiny", "other", "no_dev"):
        shutil.copytree(calibrated.run.path, root / name, symlinks=True)
    for name in ("other", "no_dev"):
        (root / name / "calibration.json").unlink()
    np.savez(root / "no_dev" / "split.npz", dev_rows=np.arange(0))
    return root


@pytest.mark.parametrize("arguments", REFUSED, ids=" ".join)
def test_flags_that_do_not_fit_are_refused(arguments, several, command):
    name, *flags = arguments
    run = [] if any(flag.startswith(("--run", "--net")) for flag in flags) else ["--run=tiny"]
    outcome = command(name, f"--checkpoints={several}", *run, *flags)
    assert (outcome.status, one_line(outcome.err)) == (2, True), outcome
    assert REFUSED[arguments] in outcome.err


def test_a_run_that_is_trained_is_not_calibrated(several, command):
    with Run(several, "other").lock():
        outcome = command("eval", f"--checkpoints={several}", "--run=other", "--calibrate")
    assert (outcome.status, one_line(outcome.err)) == (2, True)
    assert "--run=other: another training is writing" in outcome.err
    assert not (several / "other" / "calibration.json").exists()


def test_a_checkpoint_that_a_training_replaces_meanwhile_is_refused(several, monkeypatch):
    run = TrainedRun(Run(several, "tiny"))
    run.use_calibration(tta=False)
    monkeypatch.setattr(calibration.checkpoint, "variables_sha256", lambda run, which: "another")
    with pytest.raises(InputError, match="fitted for another checkpoint, because the run was trained further"):
        run.open(run.build())
