"""Totals of an epoch, its row of history.csv, and its line on the terminal."""

from __future__ import annotations

import time

from graphcnn.common.progress import format_duration, report, say
from graphcnn.storage.run import HistoryRow
from graphcnn.training.learning_check import LearningCheck
from graphcnn.training.stages import DevScores, Stage
from graphcnn.training.state import TrainingState
from graphcnn.training.steps import StepResult


class EpochTotals:
    """Sums over the steps of an epoch.

    Args:
        images: number of training images.

    Attributes:
        loss: sum of the losses of all batches.
    """

    def __init__(self, images: int) -> None:
        self.images = images
        self.loss, self._cross_entropy, self._correct = 0.0, 0.0, 0
        self._started = time.monotonic()
        self._training_seconds = 0.0

    def add(self, result: StepResult) -> None:
        """Add the result of a step."""
        self.loss += float(result.loss)
        self._cross_entropy += float(result.cross_entropy) * result.images
        self._correct += int(result.correct)

    def training_ended(self) -> float:
        """Stop the clock at the end of the training pass; return the seconds of the pass."""
        self._training_seconds = time.monotonic() - self._started
        return self._training_seconds

    def history_row(self, epoch: int, step: int, dev: DevScores, training_seconds: float) -> HistoryRow:
        """Return the epoch's row of history.csv.

        Args:
            epoch: number of the epoch.
            step: number of updates so far.
            dev: scores on the dev split.
            training_seconds: seconds of all epochs so far, without dev passes and saving.
        """
        return {
            "epoch": epoch,
            "step": step,
            "loss": self.loss,
            "cross_entropy": self._cross_entropy / self.images,
            "accuracy": self._correct / self.images,
            "dev_macro_f1": dev.macro_f1,
            "dev_accuracy": dev.accuracy,
            "dev_cross_entropy": dev.cross_entropy,
            "seconds": time.monotonic() - self._started,
            "images_per_second": self.images / self._training_seconds,
            "training_seconds": training_seconds,
        }


class EpochReport:
    """Prints a line after each epoch, and advice if the net learns nothing after the warm-up."""

    def __init__(self, stage: Stage, state: TrainingState) -> None:
        self.recipe = stage.recipe
        self.first, self.last = state.epoch, stage.last_epoch(state)
        self._started = time.monotonic()
        labels = stage.job.dataset.y_train[stage.job.train_rows]
        self._learning = LearningCheck(stage.recipe, labels, stage.epochs_before(state))

    def print(self, row: HistoryRow, state: TrainingState) -> None:
        """Print the line of an epoch.

        Args:
            row: the epoch's row of history.csv.
            state: the state after the epoch.
        """
        epoch = row["epoch"]
        left = (self.last - epoch) * (time.monotonic() - self._started) / (epoch - self.first)
        finetuning = self.recipe.finetune_epochs
        then = f", then {finetuning} epochs of fine-tuning" if finetuning else ""
        line = epoch_line(self.last, row, left, is_best=state.best_epoch == epoch) + then
        say(line)
        report({"event": "epoch", "epoch": epoch, "epochs": self.last, "line": line})
        if epochs := self._learning.epochs_without_progress(row):
            recipe = self.recipe
            say(
                f"the network has learned nothing in {epochs} epochs after the warm-up (cross-entropy "
                f"{row['cross_entropy']:.3f}; guessing gives {self._learning.guessing:.3f}): stop the training and try "
                f"a lower --learning_rate (now {recipe.learning_rate:g}), more --warmup_steps (now "
                f"{recipe.warmup_steps}), --normalisation=standardize or another --seed"
            )


def epoch_line(last: int, row: HistoryRow, seconds_left: float, *, is_best: bool) -> str:
    """Return a line with an epoch's loss, scores, speed and remaining time; last: number of the last epoch."""
    dev = ""
    if row["dev_macro_f1"] is not None:
        star = "*" if is_best else " "
        dev = f"  dev macro F1 {row['dev_macro_f1']:.4f}{star} accuracy {row['dev_accuracy']:.4f}"
    return (
        f"epoch {row['epoch']:>{len(str(last))}}/{last}  loss {row['loss']:.1f}  "
        f"cross-entropy {row['cross_entropy']:.4f}{dev}  {row['images_per_second']:.0f} images/s  "
        f"left {format_duration(seconds_left)}"
    )
