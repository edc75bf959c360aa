"""The learning-rate schedule at each step."""

import pytest

from graphcnn.config.recipe import Recipe
from graphcnn.ops.schedules import schedule_factor
from graphcnn.ops.tf1 import session, tf, tf1


@pytest.mark.parametrize(
    ("schedule", "warmup", "factors"),
    [
        ("constant", 0, [1, 1, 1, 1, 1]),
        ("constant", 4, [0.25, 0.5, 0.75, 1, 1]),
        ("linear", 0, [1, 0.8, 0.6, 0.4, 0.2]),
        ("linear", 2, [0.5, 1, 1, 2 / 3, 1 / 3]),
    ],
)
def test_schedule_factor(schedule, warmup, factors):
    recipe = Recipe(schedule=schedule, warmup_steps=warmup)
    with tf1.Graph().as_default() as graph:
        tensors = [schedule_factor(recipe, tf.constant(step, tf.int64), 5) for step in range(6)]
        with session(graph) as running:
            *during, after = running.run(tensors)
    assert during == pytest.approx(factors, abs=1e-6)
    assert after == (1 if schedule == "constant" else 0)  # after the last step it stays there
