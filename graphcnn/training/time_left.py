"""The estimate of the time that a training still takes, including its fine-tuning."""

from __future__ import annotations

import time

from graphcnn.data import batches
from graphcnn.storage.run import HistoryRow
from graphcnn.training.stages import OpenStage, Stage

PROBE_IMAGES = 32  # largest number of images in the forward pass whose time is measured
TRAINING_COST = 4  # time of a training step in forward passes; 3 to 4.5 were measured


class TimeLeft:
    """Estimates the remaining time from the epochs of a stage so far.

    The time of a training pass is assumed to be proportional to the number of pixels. The time of the dev pass and of
    saving is assumed to be the same in each epoch.
    """

    def __init__(self, training: OpenStage) -> None:
        stage, state = training.stage, training.state
        self._images = len(training.job.train_rows)
        self._first = state.epoch
        before = stage.epochs_before(state)
        self._pixels = [pixels(stage, epoch - before) for epoch in stage.epochs(state)]
        self._finetuning = finetuning_seconds(training)
        self._training_seconds = 0.0
        self._started = time.monotonic()

    def after(self, row: HistoryRow) -> float:
        """Return the estimated seconds until the last epoch ends; call it once after each epoch.

        Args:
            row: the epoch's row of history.csv.
        """
        done, all_epochs = row["epoch"] - self._first, len(self._pixels)
        self._training_seconds += self._images / row["images_per_second"]
        training = self._training_seconds / sum(self._pixels[:done]) * sum(self._pixels[done:])
        other = (time.monotonic() - self._started - self._training_seconds) / done * (all_epochs - done)
        return training + other + self._finetuning


def early_epochs(stage: Stage) -> float:
    """Return the number of epochs, from the stage's first one, in which the training images have the early size."""
    return stage.recipe.early_steps(stage.total_steps()) / stage.steps_per_epoch()


def pixels(stage: Stage, epoch: int) -> float:
    """Return the number of pixels in an epoch's training images, relative to an epoch at the image size.

    Args:
        stage: the stage.
        epoch: number of the epoch in the stage, from 1.
    """
    early = min(1.0, max(0.0, early_epochs(stage) - (epoch - 1)))  # fraction of the epoch's steps
    return 1 - early * (1 - (stage.recipe.early_size / stage.recipe.image_size) ** 2)


def finetuning_seconds(training: OpenStage) -> float:
    """Return the estimated seconds of the fine-tuning that follows a stage; 0 if none follows.

    The estimate is based on the time of a forward pass, since the epochs before fine-tuning may train a head alone.
    """
    stage, job, session, graph = training.stage, training.job, training.session, training.graph
    epochs = stage.recipe.finetune_epochs
    if not epochs or not stage.epochs(training.state):
        return 0.0
    images = batches.as_rgb(job.dataset.x_train[job.train_rows[: min(PROBE_IMAGES, stage.recipe.batch_size)]])
    seconds = 0.0
    for _ in range(2):  # the first call also prepares the session
        started = time.monotonic()
        session.run(graph.hypothesis, {graph.x: images})
        seconds = time.monotonic() - started
    forward_passes = TRAINING_COST * len(job.train_rows) + len(job.data.dev_rows)
    workers = job.workers.count if job.workers else 1
    return epochs * forward_passes * seconds / len(images) / workers
