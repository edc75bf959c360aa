import numpy as np
import pytest
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, log_loss, top_k_accuracy_score

from graphcnn.evaluation import metrics
from graphcnn.evaluation.intervals import score_intervals
from graphcnn.evaluation.text_report import print_scores

SHAPES = [(500, 10), (40, 3), (12, 10), (7, 2)]  # (N, K); with 12 rows of 10 classes some class is absent


@pytest.mark.parametrize(("rows", "classes"), SHAPES)
def test_against_scikit_learn(rows, classes):
    generator = np.random.default_rng(rows)
    labels = generator.integers(0, classes, rows)
    probabilities = generator.dirichlet(np.ones(classes), rows).astype(np.float32)
    predictions = probabilities.argmax(axis=1)
    scores = metrics.summary(labels, probabilities)
    ids = range(classes)
    assert np.array_equal(scores["confusion"], confusion_matrix(labels, predictions, labels=ids))
    assert scores["macro_f1"] == pytest.approx(
        f1_score(labels, predictions, average="macro", labels=ids, zero_division=0), abs=1e-12
    )
    assert scores["accuracy"] == pytest.approx(accuracy_score(labels, predictions))
    if classes > 2:
        assert scores["top2_accuracy"] == pytest.approx(top_k_accuracy_score(labels, probabilities, k=2, labels=ids))
    normalised = probabilities.astype(np.float64) / probabilities.sum(axis=1, keepdims=True, dtype=np.float64)
    assert scores["cross_entropy"] == pytest.approx(log_loss(labels, normalised, labels=ids), rel=1e-5)


def test_macro_f1_is_not_the_mean_over_batches():
    labels, predictions = np.array([0, 0, 1, 1]), np.array([0, 0, 1, 0])
    whole = metrics.macro_f1(metrics.confusion_counts(labels, predictions, 2))
    halves = [metrics.macro_f1(metrics.confusion_counts(labels[i], predictions[i], 2)) for i in ([0, 1], [2, 3])]
    assert whole == pytest.approx(f1_score(labels, predictions, average="macro"))
    assert whole != pytest.approx(np.mean(halves))


def test_cross_entropy_of_a_certain_mistake_is_finite():
    assert metrics.cross_entropy([1], np.array([[1.0, 0.0]])) == pytest.approx(-np.log(np.finfo(np.float32).tiny))


@pytest.mark.parametrize(("classes", "printed"), [(100, True), (101, False)])
def test_the_confusion_table_has_a_limit(classes, printed, capsys):
    labels = np.arange(classes)
    probabilities = np.eye(classes, dtype=np.float32)
    scores, intervals = metrics.summary(labels, probabilities), score_intervals(labels, probabilities)
    print_scores("", scores, intervals, labels, probabilities, list(map(str, labels)))
    out = capsys.readouterr().out
    assert ("confusion (row: true class" in out) == printed
    assert ("confusion: not printed for 101 classes" in out) != printed
