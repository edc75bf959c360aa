"""Temperature scaling, as in Guo et al. 2017, "On Calibration of Modern Neural Networks". N images, K classes."""

from __future__ import annotations

import numpy as np

from graphcnn.common.errors import InputError
from graphcnn.common.progress import bar, say
from graphcnn.evaluation import metrics
from graphcnn.evaluation.calibration import expected_calibration_error, reliability
from graphcnn.evaluation.model_data import DataSource, load_run_data
from graphcnn.evaluation.select_model import Model
from graphcnn.evaluation.trained_run import TrainedRun
from graphcnn.graphs.network import add_hypothesis
from graphcnn.ops.tf1 import session as new_session
from graphcnn.ops.tf1 import tf, tf1
from graphcnn.storage import checkpoint
from graphcnn.storage.calibration import HIGHEST, LOWEST, NAME, Calibration, write_calibration


def calibrate(model: Model[TrainedRun], source: DataSource) -> None:
    """Fit the temperature of a run on its dev split; write it into the run folder; print scores before and after.

    Args:
        model: one run.
        source: where its data are.

    Raises:
        InputError: the model is an ensemble, the run has no dev split or is being trained, or no temperature is best.
    """
    run = model.only_net()
    dataset, _, rows = load_run_data(run, source)
    if not len(rows):
        raise InputError(
            f"--calibrate: the temperature is fitted on the dev split, but run {run.name} was trained without one; "
            "train a run with --dev_fraction"
        )
    labels = dataset.y_train[rows]
    with run.run.lock():
        with run.open(run.build()) as predictor, bar("dev", len(rows)) as advance:
            logits = predictor.logits(dataset.x_train, rows, advance, model.tta)
        temperature = fit_temperature(labels, logits)
        scores = {"before": _scores(labels, logits), "after": _scores(labels, logits, temperature)}
        sha256 = checkpoint.variables_sha256(run.run, "best")
        write_calibration(run.run, Calibration(temperature, model.tta, sha256), {"images": len(rows), **scores})
    before, after = scores["before"], scores["after"]
    say(
        f"{run.description}{', with tta' * model.tta}",
        f"temperature: {temperature:.6f}, fitted on {len(rows):,} dev images",
        f"dev cross-entropy: {before['cross_entropy']:.6f} before, {after['cross_entropy']:.6f} after",
        f"dev expected calibration error: {before['ece']:.6f} before, {after['ece']:.6f} after",
        f"written: {run.run.path / NAME}; add --calibrated to eval, predict, submit or export to use it",
    )


def fit_temperature(labels: np.ndarray, logits: np.ndarray) -> float:
    """Return the temperature T that minimises the mean cross-entropy of softmax(logits / T).

    The cross-entropy is a convex function of 1 / T, so the minimum is unique, and a search over log T finds it.

    Args:
        labels: int [N].
        logits: float [N, K].

    Raises:
        InputError: the cross-entropy is lowest at a bound of the search, LOWEST or HIGHEST.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    def loss(log_temperature: float) -> float:
        scaled = logits.astype(np.float64) / np.exp(log_temperature)
        return float(-np.mean(log_softmax(scaled, axis=1)[np.arange(len(labels)), labels]))

    bounds = np.log([LOWEST, HIGHEST])
    found = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-7})
    lowest, highest = map(loss, bounds)
    if lowest <= found.fun:
        raise InputError(
            f"--calibrate: the dev cross-entropy is lowest at the smallest temperature, {LOWEST:g}, as it is if all "
            "predictions are correct; train with a larger dev split (--dev_fraction)"
        )
    if not found.fun < highest:
        raise InputError(
            f"--calibrate: the dev cross-entropy is lowest at the largest temperature, {HIGHEST:g}, as it is if the "
            "predictions are no better than chance; train the run further"
        )
    return float(np.exp(found.x))


def _scores(labels: np.ndarray, logits: np.ndarray, temperature: float | None = None) -> dict[str, float]:
    """Return {"cross_entropy", "ece"} of softmax(logits / temperature)."""
    with tf1.Graph().as_default() as graph, new_session(graph) as session:
        fed = tf1.placeholder(tf.float32, [None, logits.shape[1]])
        probabilities = session.run(add_hypothesis(fed, temperature), {fed: logits})
    return {
        "cross_entropy": metrics.cross_entropy(labels, probabilities),
        "ece": expected_calibration_error(reliability(labels, probabilities)),
    }
