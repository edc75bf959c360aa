"""The expected calibration error, and the reliability diagram."""

import json

import numpy as np
import pytest
from PIL import Image

from graphcnn.evaluation.calibration import BINS, expected_calibration_error, reliability
from graphcnn.evaluation.reliability_picture import draw_reliability


def test_error_against_its_definition():
    """Four images in two bins: |1/2 - 0.905| of two images and |1 - 0.55| of two images."""
    probabilities = np.array([[0.9, 0.1], [0.91, 0.09], [0.45, 0.55], [0.55, 0.45]])
    bins = reliability(np.array([0, 1, 1, 0]), probabilities)
    filled = [(each.images, each.confidence, each.accuracy) for each in bins if each.images]
    assert filled == [(2, pytest.approx(0.55), 1.0), (2, pytest.approx(0.905), 0.5)]
    assert expected_calibration_error(bins) == pytest.approx((2 * 0.45 + 2 * 0.405) / 4)


@pytest.mark.parametrize("classes", [2, 10, 1000])
def test_all_images_are_in_the_bin_of_their_confidence(classes):
    generator = np.random.default_rng(0)
    probabilities = generator.dirichlet(np.full(classes, 0.05), 500).astype(np.float32)
    labels = generator.integers(0, classes, 500)
    bins = reliability(labels, probabilities)
    confidences = probabilities.max(axis=1)
    assert (len(bins), sum(each.images for each in bins)) == (BINS, 500)
    expected = 0.0
    for each in bins:
        chosen = (confidences > each.low) & (confidences <= each.high)
        assert chosen.sum() == each.images
        if each.images:
            gap = np.mean(probabilities[chosen].argmax(axis=1) == labels[chosen]) - confidences[chosen].mean()
            expected += each.images / 500 * abs(gap)
        else:
            assert (each.confidence, each.accuracy) == (None, None)
    assert expected_calibration_error(bins) == pytest.approx(expected, abs=1e-6)


def test_certain_and_correct_is_no_error():
    assert expected_calibration_error(reliability(np.arange(3), np.eye(3, dtype=np.float32))) == 0


@pytest.mark.pictures
def test_picture(tmp_path):
    probabilities = np.random.default_rng(0).dirichlet([0.3] * 4, 200)
    draw_reliability(reliability(np.arange(200) % 4, probabilities), "a $ run", tmp_path / "r.png")
    with Image.open(tmp_path / "r.png") as drawn:
        assert drawn.size[0] > 400


def test_eval_prints_writes_and_draws_it(trained_copy, command):
    outcome = command("eval", f"--checkpoints={trained_copy}", "--run=tiny")
    assert outcome.status == 0, outcome.err
    report = trained_copy / "tiny" / "report"
    scores = json.loads((report / "dev.json").read_text())
    assert f"dev expected calibration error: {scores['ece']:.6f}\n" in outcome.out
    assert sum(each["images"] for each in scores["reliability"]) == np.sum(scores["confusion"])
    assert "dev_reliability.png" in outcome.out
    assert (report / "dev_reliability.png").exists()
