"""The learning-rate schedule."""

from __future__ import annotations

from graphcnn.config.recipe import Recipe
from graphcnn.ops.tf1 import tf


def schedule_factor(recipe: Recipe, step: tf.Tensor, total_steps: int) -> tf.Tensor:
    """Return the factor of the learning rate at a step, float32 [] in 0..1.

    The factor rises linearly over warmup_steps. Then it stays at 1 (constant), or falls linearly to 0 at total_steps
    (linear).

    Args:
        recipe: Recipe.
        step: number of updates so far, an integer [].
        total_steps: updates in the whole training.
    """
    rising = tf.cast(step + 1, tf.float32) / max(recipe.warmup_steps, 1)
    if recipe.schedule == "constant":
        return tf.minimum(rising, 1.0)
    falling = tf.cast(total_steps - step, tf.float32) / max(total_steps - recipe.warmup_steps, 1)
    return tf.minimum(rising, tf.clip_by_value(falling, 0.0, 1.0))
