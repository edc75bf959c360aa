"""The training loop."""

from __future__ import annotations

import math
from collections.abc import Callable

from graphcnn.common.errors import Interrupted
from graphcnn.common.progress import bar
from graphcnn.common.signals import stop_signal
from graphcnn.data.batches import prefetch
from graphcnn.training.epoch import EpochReport, EpochTotals
from graphcnn.training.recorder import Recorder
from graphcnn.training.stages import Stage, TrainingJob
from graphcnn.training.state import TrainingState


def fit(job: TrainingJob, recorder: Recorder) -> TrainingState:
    """Train all stages, from the `last` checkpoint if there is one; return the state after the last epoch.

    After an error, the last finished epoch stays saved.

    Raises:
        Diverged: the loss or a weight is not finite.
        Interrupted: the process got SIGINT or SIGTERM.
        InputError: a checkpoint is damaged or cannot be saved, or the data changed.
    """
    state, report = recorder.last_state(), EpochReport()
    with stop_signal() as stop_requested:
        for stage in job.stages():
            if not stage.is_done(state):
                state = fit_stage(stage, recorder, state, report, stop_requested)
    return state


def fit_stage(
    stage: Stage, recorder: Recorder, state: TrainingState, report: EpochReport, stop_requested: Callable[[], int]
) -> TrainingState:
    """Train one stage; return the state after its last epoch.

    Args:
        report: prints the lines of the epochs.
        stop_requested: returns the number of the signal that asks to stop, 0 if there was none.
    """
    early_stopping = stage.early_stopping(state)
    with stage.open(recorder, state) as training:
        state = training.state
        report.begin(training)
        for epoch in stage.epochs(state):
            # One pass over the training images, each of them once, in a new order
            totals = EpochTotals(len(stage.job.train_rows), stage.recipe.batch_size)
            with bar(f"epoch {epoch}/{stage.last_epoch(state)}", totals.images) as advance:
                for batch in prefetch(training.batches(epoch)):
                    result = training.step(batch, stop_requested())
                    if not math.isfinite(result.loss):
                        raise stage.diverged(state, epoch, f"the loss is {result.loss}")
                    totals.add(result)
                    advance(result.images, totals.progress())
                    if result.stop:
                        raise Interrupted(stop_requested() or result.stop)
            if not training.weights_are_finite():
                raise stage.diverged(state, epoch, "a weight is not finite")
            training.training_seconds += totals.training_ended()

            # Selection of the best epoch by dev macro F1; early stopping by the value that the recipe names
            dev = training.evaluate_dev()
            stopped = stage.stops(early_stopping, totals.loss, dev)
            state = stage.close(state.after(epoch, dev.macro_f1, early_stopping, stopped=stopped))

            # Checkpoint, history, links and events; then one line for the user
            training.check()
            row = totals.history_row(epoch, training.steps_done(), dev, training.training_seconds)
            recorder.save(training.opened, state, row)
            report.print(row, state)
            if training.stops_between_epochs(stop_requested()):
                raise Interrupted(stop_requested())
            if stage.is_over(state):
                break
    return stage.close(state)
