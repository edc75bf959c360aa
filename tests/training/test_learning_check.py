"""When the advice for a net that learns nothing is due, from the cross-entropy of each epoch."""

import numpy as np
import pytest

from graphcnn.config.recipe import Recipe
from graphcnn.training.learning_check import LearningCheck

TEN = np.arange(1000) % 10  # guessing: log 10 = 2.303 nats; 32 steps per epoch with batches of 32
DEAD, FALLING = [2.303] * 10, [2.305, 2.303, 2.28, 2.2, 2.0, 1.7]
COURSES = {  # name: (warm-up steps, cross-entropies of the epochs, epoch with the advice or None)
    "dead": (0, DEAD, 2),
    "dead after a warm-up of 3.1 epochs": (100, DEAD, 6),
    "dies in the first epoch": (0, [4.1, *DEAD], 3),
    "dies after learning": (0, [2.1, *DEAD], None),
    "falls slowly": (0, [2.6, 2.5, 2.4, 2.35, 2.3, 2.1, 1.9], None),
    "starts to fall during the warm-up": (50, [2.99, 2.38, 2.27, 2.2, 2.1], None),
    "falls after a plateau in the warm-up": (64, FALLING, None),
    "only warm-up": (1000, DEAD, None),
}


def advised(check, courses, accuracy=0.1):
    """Return the epochs with advice."""
    rows = ({"epoch": n, "cross_entropy": value, "dev_accuracy": accuracy} for n, value in enumerate(courses, start=1))
    return [row["epoch"] for row in rows if check.epochs_without_progress(row)]


@pytest.mark.parametrize(("warmup", "course", "epoch"), COURSES.values(), ids=COURSES)
def test_advice_depends_on_the_course_after_the_warm_up(warmup, course, epoch):
    check = LearningCheck(Recipe(batch_size=32, warmup_steps=warmup), TEN, epochs_before=0)
    assert advised(check, course) == ([] if epoch is None else [epoch])


def test_short_epochs_are_compared_in_windows_of_twenty_steps():
    check = LearningCheck(Recipe(batch_size=128, warmup_steps=2), TEN[:72], epochs_before=0)  # one step per epoch
    noise = np.random.default_rng(0).normal(scale=0.03, size=60)
    falling = 2.34 - 0.002 * np.arange(60) + noise
    assert advised(check, falling) == []
    still = LearningCheck(Recipe(batch_size=128, warmup_steps=2), TEN[:72], epochs_before=0)
    assert advised(still, 2.34 + noise)[0] >= 42


def test_a_good_dev_accuracy_counts_as_learning():
    """Strong dropout keeps the cross-entropy of training high."""
    check = LearningCheck(Recipe(batch_size=32, warmup_steps=0), TEN, epochs_before=0)
    assert advised(check, DEAD, accuracy=0.2) == []
