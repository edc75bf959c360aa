"""The files that training writes into a run's folder: checkpoints, history, links, TensorBoard events, curves."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import numpy as np

from graphcnn.common.errors import InputError
from graphcnn.common.progress import say
from graphcnn.evaluation import pictures
from graphcnn.ops.tf1 import reason, tf, tf1
from graphcnn.storage import checkpoint
from graphcnn.storage.run import HistoryRow, Run
from graphcnn.training.state import TrainingState

REDRAW_SECONDS = 60  # shortest time between two drawings of curves.png during training


class OpenSession(NamedTuple):
    """A session with what saves and restores its variables.

    session: open session of a training graph. saver: Saver of the variables. variables: all variables of a checkpoint.
    """

    session: tf1.Session
    saver: tf1.train.Saver
    variables: list[tf.Variable]


class Recorder:
    """Writes a run's folder, and reads the state that an earlier training saved there.

    Args:
        run: the run; its folder exists and is locked.

    Attributes:
        history: the rows of history.csv so far.
        has_checkpoint: whether `last_state` found a `last` checkpoint.
    """

    has_checkpoint = False

    def __init__(self, run: Run) -> None:
        self.run = run
        self.history: list[HistoryRow] = []
        self._drawn = time.monotonic()
        self._write_event: Any = None

    def last_state(self) -> TrainingState:
        """Return the state of the `last` checkpoint; an initial state if there is none."""
        if not self.run.has_last():
            if self.run.has_best():
                last = self.run.path / "last"
                raise InputError(
                    f"{last}: this link is missing, but the link `best` exists; restore it, or replace the run with "
                    "--overwrite"
                )
            return TrainingState()
        state = TrainingState.from_json(checkpoint.read_state(checkpoint.verify(self.run, "last")))
        self.history = self.run.history(state.epoch)
        self.has_checkpoint = True
        return state

    def training_seconds(self) -> float:
        """Return the seconds of training so far."""
        return (self.history[-1]["training_seconds"] or 0.0) if self.history else 0.0

    def steps_after(self, epochs: int) -> int:
        """Return the number of updates in the first epochs."""
        return self.history[epochs - 1]["step"] if epochs else 0

    def restore(self, opened: OpenSession, state: TrainingState) -> None:
        """Load the `last` checkpoint into the session; update links and history, which a crash may have left behind."""
        checkpoint.load(self.run, "last", *opened)
        self.publish(state)
        self.write_history()
        say(f"resumed after epoch {state.epoch}")

    def best_weights(self) -> Mapping[str, np.ndarray]:
        """Return the weights of the `best` checkpoint, {variable name: array}."""
        return checkpoint.read_variables(self.run, "best", lambda name, shape: True).arrays

    def publish(self, state: TrainingState) -> None:
        """Point the links `last` and `best` to the state's epochs."""
        checkpoint.update_links(self.run, state.epoch, state.best_epoch)

    def write_history(self) -> None:
        """Write history.csv."""
        self.run.write_history(self.history)

    def save_initial_weights(self, opened: OpenSession, state: TrainingState) -> None:
        """Save the initial weights as epoch 0 of a run without training."""
        checkpoint.save(self.run, opened.session, opened.saver, 0, state.to_json())
        self.write_history()
        self.publish(state)

    def save_again(self, opened: OpenSession, state: TrainingState) -> None:
        """Save the `last` checkpoint with another state."""
        checkpoint.save(self.run, opened.session, opened.saver, state.epoch, state.to_json())

    def save(self, opened: OpenSession, state: TrainingState, row: HistoryRow) -> None:
        """Save an epoch: first the checkpoint, then history.csv, then the links and the TensorBoard event.

        Args:
            opened: the session to save.
            state: the state after the epoch.
            row: the epoch's row of history.csv.
        """
        self.history.append(row)
        checkpoint.save(self.run, opened.session, opened.saver, state.epoch, state.to_json())
        self.write_history()
        self.publish(state)
        self._write_event(row)
        if time.monotonic() - self._drawn > REDRAW_SECONDS:
            self._draw()
            self._drawn = time.monotonic()

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Open the event file; close it and draw curves.png at the end of the block, also after an error."""
        try:
            with _event_writer(self.run, self.history) as self._write_event:
                yield
        finally:
            self._draw()

    def _draw(self) -> None:
        """Draw curves.png; an error of the file system does not end the training."""
        with suppress(OSError, InputError):
            if self.history:
                pictures.curves(self.history, self.run.name, self.run.path / "curves.png")


class SilentRecorder(Recorder):
    """The recorder of a worker that is not the chief: it keeps the history in memory and writes no files.

    Args:
        run: the run to resume; None for a new run, whose folder only the chief creates.
    """

    def __init__(self, run: Run | None) -> None:
        self._resumed = run
        if run:
            super().__init__(run)
        self.history = []

    def last_state(self) -> TrainingState:
        """Return the state of the `last` checkpoint; an initial state in a new run."""
        return super().last_state() if self._resumed else TrainingState()

    def publish(self, state: TrainingState) -> None:
        """Do nothing."""

    def write_history(self) -> None:
        """Do nothing."""

    def save_again(self, opened: OpenSession, state: TrainingState) -> None:
        """Do nothing."""

    def save(self, opened: OpenSession, state: TrainingState, row: HistoryRow) -> None:
        """Append the epoch's row to the history in memory."""
        self.history.append(row)

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Do nothing."""
        yield


@contextmanager
def _event_writer(run: Run, history: list[HistoryRow]) -> Iterator[Any]:
    """Yield a function that adds a row of the history to the run's TensorBoard event files, with epochs as x axis."""
    folder = run.path / "events"

    @contextmanager
    def reported() -> Iterator[None]:
        try:
            yield
        except tf.errors.OpError as error:
            raise InputError(
                f"{folder}: cannot be written ({reason(error)}), but the last finished epoch is saved. Free some disk "
                f"space or repair the folder, then continue with train --run={run.name} --resume"
            ) from None

    def write(row: HistoryRow) -> None:
        scalars = {name: value for name, value in row.items() if name != "epoch" and value is not None}
        values = [tf1.Summary.Value(tag=name, simple_value=value) for name, value in scalars.items()]
        with reported():
            writer.add_summary(tf1.Summary(value=values), row["epoch"])
            writer.flush()

    with reported():
        writer = tf1.summary.FileWriter(str(folder))
    if history:  # TensorBoard then ignores later events of an interrupted training
        writer.add_session_log(tf1.SessionLog(status=tf1.SessionLog.START), history[-1]["epoch"] + 1)
    try:
        yield write
    finally:
        with suppress(tf.errors.OpError):
            writer.close()
