"""Totals of an epoch, its row of history.csv, and its line on the terminal and in the log."""

from __future__ import annotations

import time

from graphcnn.common.progress import format_duration, report, say
from graphcnn.storage.run import HistoryRow
from graphcnn.training.learning_check import LearningCheck
from graphcnn.training.stages import DevScores, OpenStage
from graphcnn.training.state import TrainingState
from graphcnn.training.steps import StepResult
from graphcnn.training.time_left import TimeLeft, early_epochs

WIDTH = 80  # characters of a terminal
LINE_SECONDS = 1.0  # shortest time between the lines of two epochs, apart from best epochs and last epochs


class EpochTotals:
    """Sums over the steps of an epoch.

    Args:
        images: number of training images.
        batch_size: number of images in a step; the last step may have fewer.

    Attributes:
        loss: sum of the losses of all batches.
    """

    def __init__(self, images: int, batch_size: int) -> None:
        self.images = images
        self.loss, self._cross_entropy, self._correct = 0.0, 0.0, 0
        self._batch_size, self._seen = min(batch_size, images), 0
        self._started = time.monotonic()
        self._training_seconds = 0.0

    def add(self, result: StepResult) -> None:
        """Add the result of a step."""
        self.loss += float(result.loss)
        self._cross_entropy += float(result.cross_entropy) * result.images
        self._correct += int(result.correct)
        self._seen += result.images

    def progress(self) -> str:
        """Return the mean loss and the images/s of the epoch so far as text."""
        loss = self.loss * self._batch_size / self._seen
        return f"{loss_text(loss)}  {self._seen / (time.monotonic() - self._started):,.0f} images/s"

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
    """Prints a line after an epoch, and advice if the net learns nothing after the warm-up.

    If the epochs are shorter than LINE_SECONDS, it prints the lines of every n-th epoch, of each new best epoch and of
    a stage's last epoch.
    """

    def __init__(self) -> None:
        self._explained = False

    def begin(self, training: OpenStage) -> None:
        """Start with the epochs of a stage."""
        stage, state = training.stage, training.state
        self._stage, self._recipe = stage, stage.recipe
        self._last = stage.last_epoch(state) + stage.recipe.finetune_epochs
        self._time_left = TimeLeft(training)
        labels = stage.job.dataset.y_train[stage.job.train_rows]
        self._learning = LearningCheck(stage.recipe, labels, stage.epochs_before(state))
        self._every = 1
        self._finished: list[float] = []  # times of the ends of the stage's first two epochs

    def print(self, row: HistoryRow, state: TrainingState) -> None:
        """Print the line of an epoch.

        Args:
            row: the epoch's row of history.csv.
            state: the state after the epoch.
        """
        if not self._explained:
            self._explain(has_dev=row["dev_macro_f1"] is not None)
        epoch, left = row["epoch"], self._time_left.after(row)
        is_best = row["dev_macro_f1"] is not None and state.best_epoch == epoch
        loss = row["loss"] / self._stage.steps_per_epoch()
        line = epoch_line(self._last, row, loss, left, is_best=is_best)
        is_over = self._stage.is_over(state)
        shown = is_best or is_over or epoch % self._every == 0
        if shown:
            say(line)
        report({"event": "epoch", "epoch": epoch, "epochs": self._last, "line": line if shown else ""})
        self._choose_every(is_over=is_over)
        self._advise(row)

    def _explain(self, *, has_dev: bool) -> None:
        """Print what the lines mean."""
        self._explained = True
        star = "; *: highest dev macro F1 so far" if has_dev else ""
        say(f"loss: mean over the steps of the epoch{star}")
        early, recipe = early_epochs(self._stage), self._recipe
        if early:
            say(
                f"early size: in the first {early:.3g} epochs, the training images have "
                f"{recipe.early_size}x{recipe.early_size} pixels; dev images always have "
                f"{recipe.image_size}x{recipe.image_size} pixels, so dev scores are low until then"
            )

    def _choose_every(self, *, is_over: bool) -> None:
        """After the stage's second epoch, choose n from the seconds of this epoch; the first one is slower."""
        if len(self._finished) == 2:
            return
        self._finished.append(time.monotonic())
        if len(self._finished) == 2:
            self._every = every_nth(self._finished[1] - self._finished[0])
            if self._every > 1 and not is_over:
                every = f"every {self._every}{'nd' if self._every == 2 else 'th'} epoch"
                say(f"the epochs are short: the lines of {every}, of new best epochs and of the last epoch follow")

    def _advise(self, row: HistoryRow) -> None:
        """Print advice if the net learns nothing."""
        if epochs := self._learning.epochs_without_progress(row):
            recipe = self._recipe
            say(
                f"the network has learned nothing in {epochs} epochs after the warm-up (cross-entropy "
                f"{row['cross_entropy']:.3f}; guessing gives {self._learning.guessing:.3f}): stop the training and try "
                f"a lower --learning_rate (now {recipe.learning_rate:g}), more --warmup_steps (now "
                f"{recipe.warmup_steps}), --normalisation=standardize or another --seed"
            )


def every_nth(seconds: float) -> int:
    """Return the smallest n of 1, 2, 5, 10, 20, 50, ... for which n epochs of this length take LINE_SECONDS."""
    steps = (digit * 10**power for power in range(6) for digit in (1, 2, 5))
    return next((n for n in steps if n * seconds >= LINE_SECONDS), 10**6)


def epoch_line(last: int, row: HistoryRow, loss: float, seconds_left: float, *, is_best: bool) -> str:
    """Return a line with an epoch's loss, scores and remaining time.

    It has at most WIDTH characters if there are fewer than 10,000 epochs and 100 hours.

    Args:
        last: number of the last epoch.
        row: the epoch's row of history.csv.
        loss: mean loss over the steps of the epoch.
        seconds_left: estimated time until the last epoch ends.
        is_best: whether no earlier epoch has as high a dev macro F1.
    """
    scores = f"training accuracy {row['accuracy']:.4f}"
    if row["dev_macro_f1"] is not None:
        star = "*" if is_best else " "
        scores = f"dev: macro F1 {row['dev_macro_f1']:.4f}{star} accuracy {row['dev_accuracy']:.4f}"
    number = f"epoch {row['epoch']:>{len(str(last))}}/{last}"
    parts = [number, loss_text(loss), scores, f"left {format_duration(seconds_left)}"]
    line = "  ".join(parts)
    return line if len(line) <= WIDTH else " ".join(parts)


def loss_text(loss: float) -> str:
    """Return "loss 0.1234", with at most seven characters for the number."""
    return f"loss {loss:.1e}" if loss >= 10_000 else f"loss {f'{loss:.4f}'[:6]}"
