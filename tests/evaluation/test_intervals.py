"""The 95% intervals of scores: against SciPy's bootstrap, closed forms, and limits of time and memory."""

import tracemalloc

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import f1_score

from graphcnn.evaluation import metrics
from graphcnn.evaluation.intervals import DRAWS, resampled_scores, score_intervals


def outputs(rows, classes, strength=2.0, seed=0):
    """Return labels int64 [N], and softmax outputs float32 [N, K] that are right more often for larger `strength`."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, classes, rows)
    logits = generator.normal(size=(rows, classes)) * 2
    logits[np.arange(rows), labels] += strength
    probabilities = np.exp(logits)
    return labels, (probabilities / probabilities.sum(axis=1, keepdims=True)).astype(np.float32)


def scipy_interval(labels, values, statistic):
    """Return SciPy's percentile interval of statistic(labels, values); it resamples each class separately."""
    samples = [np.flatnonzero(labels == k) for k in np.unique(labels)]

    def of_rows(*classes):
        rows = np.concatenate(classes)
        return statistic(labels[rows], values[rows])

    result = stats.bootstrap(samples, of_rows, vectorized=False, method="percentile", n_resamples=3000, random_state=0)
    return np.array(result.confidence_interval), result.standard_error


STATISTICS = {
    "macro_f1": lambda y, p: metrics.macro_f1(metrics.confusion_counts(y, p.argmax(axis=1), p.shape[1])),
    "accuracy": lambda y, p: (p.argmax(axis=1) == y).mean(),
    "top2_accuracy": metrics.top_k_accuracy,
    "cross_entropy": metrics.cross_entropy,
}


@pytest.mark.parametrize("score", STATISTICS)
@pytest.mark.parametrize(("rows", "classes", "strength"), [(60, 4, 2.0), (200, 3, 5.0)])
def test_the_intervals_are_those_of_scipy(score, rows, classes, strength):
    labels, probabilities = outputs(rows, classes, strength)
    expected, error = scipy_interval(labels, probabilities, STATISTICS[score])
    interval = score_intervals(labels, probabilities)[score]
    steps = 0 if score == "cross_entropy" else 1 / rows  # the fractions are multiples of 1/N
    assert interval == pytest.approx(expected, abs=0.12 * error + steps)


def test_the_draws_of_macro_f1_are_those_of_resampled_images():
    """Mean, variance and quantiles equal those of scikit-learn's score on images that are drawn one by one."""
    labels, probabilities = outputs(40, 3)
    predictions = probabilities.argmax(axis=1)
    generator = np.random.default_rng(7)
    groups = [np.flatnonzero(labels == k) for k in range(3)]
    drawn = []
    for _ in range(250):
        rows = np.concatenate([generator.choice(group, len(group)) for group in groups])
        drawn.append(f1_score(labels[rows], predictions[rows], average="macro", labels=range(3), zero_division=0))
    (scores,) = resampled_scores(labels, predictions[None], 3).macro_f1
    assert len(scores) == DRAWS
    assert scores.mean() == pytest.approx(np.mean(drawn), abs=4 * np.std(drawn) / 250**0.5)
    assert scores.std() == pytest.approx(np.std(drawn), rel=0.2)
    assert stats.ks_2samp(scores, drawn).pvalue > 0.001


def test_predictors_are_scored_on_the_same_resamples():
    labels, probabilities = outputs(50, 4)
    predictions = probabilities.argmax(axis=1)
    draws = resampled_scores(labels, np.stack([predictions, predictions]), 4)
    assert np.array_equal(*draws.macro_f1)
    assert np.array_equal(*draws.accuracy)
    draws = resampled_scores(labels, np.stack([labels, predictions]), 4)
    assert (draws.accuracy[0] == 1).all()
    assert draws.accuracy[1].std() > 0


@pytest.mark.parametrize(
    ("labels", "probabilities", "expected"),
    [
        ([1], [[0.25, 0.75]], {"macro_f1": 0.5, "accuracy": 1, "top2_accuracy": 1, "cross_entropy": -np.log(0.75)}),
        ([0, 1], [[1.0, 0.0], [0.0, 1.0]], {"macro_f1": 1, "accuracy": 1, "top2_accuracy": 1, "cross_entropy": 0}),
        ([2, 2], [[1.0, 0, 0]] * 2, {"macro_f1": 0, "accuracy": 0, "top2_accuracy": 0}),
    ],
)
def test_scores_that_no_resample_changes_have_an_interval_of_width_0(labels, probabilities, expected):
    intervals = score_intervals(np.array(labels), np.array(probabilities, np.float32))
    for score, value in expected.items():
        assert intervals[score] == pytest.approx((value, value), abs=1e-7)


def test_one_large_loss_does_not_make_the_cross_entropy_negative():
    labels = np.zeros(24, np.int64)
    probabilities = np.tile(np.float32([0.999, 0.001]), (24, 1))
    probabilities[3] = [0, 1]
    low, high = score_intervals(labels, probabilities)["cross_entropy"]
    assert 0 <= low < metrics.cross_entropy(labels, probabilities) < high


def test_the_same_predictions_have_the_same_intervals():
    first, second = (score_intervals(*outputs(100, 3)) for _ in range(2))
    assert first == second


@pytest.mark.parametrize(("rows", "classes", "megabytes"), [(10_000, 10, 100), (1_000, 1_000, 100)])
def test_the_memory_is_bounded(rows, classes, megabytes):
    labels, probabilities = outputs(rows, classes, strength=8)
    tracemalloc.start()
    try:
        score_intervals(labels, probabilities)
        assert tracemalloc.get_traced_memory()[1] < megabytes * 1e6
    finally:
        tracemalloc.stop()
