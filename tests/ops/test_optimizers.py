"""Each update rule against its formula in NumPy."""

import dataclasses

import numpy as np
import pytest

from graphcnn.config.recipe import Recipe
from graphcnn.ops import optimizers
from graphcnn.ops.tf1 import session, tf, tf1

GENERATOR = np.random.default_rng(0)
FILTER = GENERATOR.normal(size=(3, 3, 4, 8)).astype(np.float32)
MATRIX = GENERATOR.normal(size=(5, 4)).astype(np.float32)
VECTOR = GENERATOR.normal(size=4).astype(np.float32)


def run_steps(recipe, values, gradients, steps=3, total_steps=4):
    """Return the variables' values after each of some updates with the gradients times 1, 2, 3, …."""
    with tf1.Graph().as_default() as graph:
        step = tf1.train.create_global_step()
        weights = [tf1.get_variable(f"w{n}", initializer=value) for n, value in enumerate(values)]
        factor = tf.cast(step + 1, tf.float32)
        update = optimizers.train_op(
            recipe, weights, [each * factor for each in gradients], step, total_steps, tf.float32
        )
        init = tf1.global_variables_initializer()
        found = []
        with session(graph) as running:
            running.run(init)
            for done in range(1, steps + 1):
                running.run(update)
                assert running.run(step) == done
                found.append(running.run(weights))
        return found


def test_nesterov_with_a_learning_rate_multiplier_for_biases():
    recipe = Recipe(optimizer="nesterov", learning_rate=0.1, bias_lr_multiplier=5.0, momentum=0.8, warmup_steps=0)
    recipe = dataclasses.replace(recipe, schedule="linear")
    found = run_steps(recipe, [MATRIX, VECTOR], [MATRIX * 0.1, VECTOR * 0.2])
    for n, (value, first, factor) in enumerate(((MATRIX, MATRIX * 0.1, 1), (VECTOR, VECTOR * 0.2, 5))):
        velocity = 0
        for step in range(3):
            gradient = first * (step + 1)
            velocity = 0.8 * velocity + gradient
            value = value - 0.1 * factor * (1 - step / 4) * (gradient + 0.8 * velocity)
            assert found[step][n] == pytest.approx(value, abs=1e-5)


def polynomial(matrix, steps=3):
    """Return the Newton-Schulz steps' result by their effect on the singular values, float64."""
    u, s, v = np.linalg.svd(matrix.astype(np.float64), full_matrices=False)
    s = s / np.sqrt((s**2).sum())
    for _ in range(steps):
        s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
    return u @ np.diag(s) @ v


@pytest.mark.parametrize("shape", [(40, 7), (7, 40), (9, 9)])
def test_orthogonalize_keeps_singular_vectors_and_evens_out_singular_values(shape):
    matrix = np.random.default_rng(1).normal(size=shape).astype(np.float32) * 100
    with tf1.Graph().as_default() as graph, session(graph) as running:
        found = running.run(optimizers.orthogonalize(tf.constant(matrix)))
    assert found == pytest.approx(polynomial(matrix), abs=1e-4)
    before, after = (np.linalg.svd(m, compute_uv=False) for m in (matrix, found))
    assert after.max() < 1.3
    assert after.max() / after.min() < before.max() / before.min()


def test_muon_updates_kernels_and_nesterov_all_other_weights():
    recipe = Recipe(
        optimizer="muon", learning_rate=0.1, momentum=0.8, muon_learning_rate=0.2, muon_momentum=0.6, warmup_steps=0
    )
    found = run_steps(recipe, [FILTER, MATRIX], [FILTER * 0.3, MATRIX * 0.1])
    plain = run_steps(dataclasses.replace(recipe, optimizer="nesterov"), [MATRIX], [MATRIX * 0.1])
    value, velocity = FILTER.astype(np.float64), 0
    for step in range(3):
        gradient = FILTER * 0.3 * (step + 1)
        velocity = 0.6 * velocity + gradient
        direction = polynomial((gradient + 0.6 * velocity).reshape(36, 8)).reshape(FILTER.shape)
        value = value * np.sqrt(8) / np.linalg.norm(value) - 0.2 * direction
        assert found[step][0] == pytest.approx(value, abs=1e-4)
        assert np.array_equal(found[step][1], plain[step][0])


def test_lookahead_acts_every_n_steps_and_after_the_last():
    with tf1.Graph().as_default() as graph:
        step = tf1.placeholder(tf.int64, [])
        fast = tf1.get_variable("w", initializer=np.float32(1.0))
        move = tf1.assign_add(fast, 1.0)
        pull = optimizers.lookahead([fast], 2, step, 5)
        init = tf1.global_variables_initializer()
        with session(graph) as running:
            running.run(init)
            slow, value = 1.0, 1.0
            for done in range(1, 6):
                running.run(move)
                running.run(pull, {step: done})
                value += 1
                if done in (2, 4, 5):
                    keep = 0.95**2 * (done / 5) ** 3
                    slow = value = keep * slow + (1 - keep) * value
                assert running.run(fast) == pytest.approx(value, rel=1e-6)
