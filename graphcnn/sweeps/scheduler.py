"""Train and score the jobs of a suite, several at a time. Each command runs in a child process."""

from __future__ import annotations

import dataclasses
import os
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path
from typing import Literal, Protocol

from graphcnn.common.errors import DamagedRun, FileLocked, InputError, UnsafeFile, error_line, is_fault
from graphcnn.common.files import open_append
from graphcnn.common.progress import console, format_duration, say
from graphcnn.config.flags import DEV_SPLITS
from graphcnn.config.setting_paths import absolute
from graphcnn.storage.run import Run
from graphcnn.sweeps.child import ChildProcesses, Ending, OnEpoch
from graphcnn.sweeps.job import Job, Standing, standing
from graphcnn.sweeps.live_table import live_table, time_left
from graphcnn.sweeps.processors import processors_of_jobs
from graphcnn.sweeps.records import is_record, record_of, write_record
from graphcnn.sweeps.results import Result, read_result
from graphcnn.sweeps.setup import Setup, with_random_weights

CHANGED_ADVICE = (
    "give the same --data and settings as before, or add --retrain to rename changed runs to <run>.replaced-N and "
    "train them again"
)
LOCK_SECONDS = 0.5  # between two checks of a run that another process is training


class Runner(Protocol):
    """The interface of ChildProcesses that the scheduler uses."""

    stopped: bool

    def run(self, command: str, arguments: Sequence[str], log: Path, on_epoch: OnEpoch) -> Ending:
        """Run a command and return its Ending."""

    def stop(self) -> None:
        """End the running commands and start no more commands."""


class JobFailed(Exception):  # noqa: N818 (the name states the event)
    """A command of a job has failed.

    Args:
        message: the error message of the command.
        damaged: the file with a wrong sha256, if this caused the failure; else None.
    """

    def __init__(self, message: str, damaged: Path | None = None) -> None:
        super().__init__(message)
        self.damaged = damaged


class Scheduler:
    """Trains and scores jobs.

    Args:
        setup: the suite.
        jobs_at_once: number of simultaneous trainings; each gets the same number of processors.
        runner: runs `train` and `eval`; None to run them in child processes.
        retrain: whether runs with another recipe, data, dev split or net are renamed and trained again.
    """

    def __init__(self, setup: Setup, jobs_at_once: int, runner: Runner | None = None, retrain: bool = False) -> None:
        self.setup, self.retrain = setup, retrain
        self.runner = runner or ChildProcesses()
        self._processors = processors_of_jobs(jobs_at_once)
        self._seconds: dict[str, float] = {}  # {name of a run: seconds of its finished epochs}
        self._turn = threading.Lock()
        self._refresh: Callable[[], None] = lambda: None

    def refuse_changed(self, jobs: Sequence[Job]) -> None:
        """Refuse jobs whose runs have another recipe, data, dev split or net, unless `retrain` is set.

        Raises:
            InputError: a run differs; the message names all such runs and the reasons.
        """
        changed: dict[str, list[str]] = {}
        for job in [] if self.retrain else jobs:
            with suppress(InputError, OSError):  # `train` reports an unreadable run, and only its job fails
                state = self._plan(job)
                if state.action == "changed":
                    changed.setdefault(state.reason, []).append(job.run.name)
        if changed:
            runs = "; ".join(f"{', '.join(names)}: {reason}" for reason, names in changed.items())
            raise InputError(f"--suite={self.setup.name}: nothing was trained: {runs}; {CHANGED_ADVICE}")

    def train(self, jobs: Sequence[Job], budget: float | None = None) -> list[Job]:
        """Train and score the unfinished jobs, and return the failed ones.

        Args:
            jobs: the jobs, in the order in which they are started.
            budget: total seconds of training epochs. No job is started after that; the remaining ones stay "waiting".
        """
        began, waiting = time.monotonic(), iter(jobs)
        for job in jobs:
            job.read_progress()
        threads = ThreadPoolExecutor(len(self._processors))
        with live_table(jobs, len(self._processors)) as self._refresh:
            try:
                futures = [threads.submit(self._work, cores, waiting, jobs, budget) for cores in self._processors]
                for future in wait(futures, return_when=FIRST_EXCEPTION).done:
                    future.result()
            except BaseException:
                self.runner.stop()
                try:
                    threads.shutdown()
                except KeyboardInterrupt:
                    self.runner.stop()  # a second signal ends a training immediately
                raise
            finally:
                threads.shutdown()
        self._refresh = lambda: None  # the table is closed
        done = sum(job.state == "done" for job in jobs)
        say(f"{done} of {len(jobs)} done in {format_duration(time.monotonic() - began)}")
        return [job for job in jobs if job.state == "failed"]

    def standing(self, job: Job) -> Standing:
        """Return the action that the job needs; see job.standing. If its record is finished, the record is its run."""
        data = self.setup.data
        split, fingerprint = data.split, data.fingerprints[job.recipe.image_size]
        state = standing(job, split, fingerprint)
        if state.action == "done" or self.setup.records is None:
            return state
        record = dataclasses.replace(job, run=record_of(job.run, self.setup.records))
        if not record.run.exists():
            return state
        recorded = standing(record, split, fingerprint)
        if recorded.action == "done":
            job.run = record.run
            return recorded
        reason = recorded.reason or "it is not finished"
        return state if self.retrain else Standing("changed", f"the record {record.run.path}: {reason}")

    def result(self, job: Job) -> Result:
        """Return the results of a trained run; eval scores it first if necessary. See results.read_result.

        Raises:
            JobFailed: eval failed.
            InputError, OSError: see read_result.
        """
        data = self.setup.data
        test_fingerprint = data.test_fingerprints[job.recipe.image_size]
        result = read_result(job.run, data.has_test_labels, test_fingerprint)
        if result is None and self.setup.records is not None and is_record(job.run, self.setup.records):
            raise InputError(f"{job.run.path / 'report'}: this record lacks scores; delete the record to train the run")
        if result is None:
            self._run(job, "scoring", "eval", [f"--split=train,dev{',test' * data.has_test_labels}"])
            result = read_result(job.run, data.has_test_labels, test_fingerprint)
        if result is None:
            raise JobFailed(f"{job.run.path / 'report'}: eval has written no scores of the best epoch")
        return result

    def _work(
        self, processors: set[int] | None, waiting: Iterator[Job], jobs: Sequence[Job], budget: float | None
    ) -> None:
        """Run one waiting job after another, on the given processors."""
        if processors:
            os.sched_setaffinity(0, processors)  # of this thread and of the processes that it starts
        while True:
            with self._turn:
                spent = budget is not None and sum(self._seconds.values()) >= budget
                job = None if self.runner.stopped or spent else next(waiting, None)
            if job is None:
                return
            self._run_job(job, jobs)

    def _run_job(self, job: Job, jobs: Sequence[Job]) -> None:
        """Train and score a job as far as necessary. An error makes only this job fail."""
        failure, action = None, "failed"
        try:
            action = self._complete(job)
        except JobFailed as error:
            failure = str(error)
        except (InputError, OSError) as error:
            if is_fault(error):
                self._log_traceback(job)
            failure = error_line(error)
        except Exception as error:  # a fault of this program
            self._log_traceback(job)
            failure = f"{type(error).__name__}: {error}"
        if self.runner.stopped:
            return
        job.read_progress()
        with self._turn:
            self._seconds[job.run.name] = job.seconds
        job.state = "done" if failure is None else "failed"
        if failure is not None:
            say(f"{job.run.name}: failed: {failure}; the suite continues (output: {self.setup.log(job.run)})")
        elif action != "done":
            score = "" if job.score is None else f", best dev macro F1 {job.score:.4f}"
            say(f"{job.run.name}: done, {job.epoch} epochs{score}, {time_left(jobs, len(self._processors))}")
        self._refresh()

    def _plan(self, job: Job) -> Standing:
        """Return the action of a job; without its published weights, its recipe gets random initial weights."""
        state = self.standing(job)
        begun = state.action == "resume" and job.run.has_last()  # it no longer needs published weights
        if state.action != "done" and not begun and job.recipe.net in self.setup.without_weights:
            job.recipe = with_random_weights(job.recipe)
            state = self.standing(job)
        return state

    def _complete(self, job: Job) -> str:
        """Train and score a job as far as necessary; return its action: done, resume or replace."""
        state = self._plan(job)
        if state.action == "changed":
            if not self.retrain:
                raise JobFailed(f"{state.reason}; {CHANGED_ADVICE}")
            state = Standing("replace", state.reason)
        try:
            self._follow(job, state)
        except (DamagedRun, JobFailed) as error:
            damaged = error.path if isinstance(error, DamagedRun) else error.damaged
            if state.action == "replace" or damaged is None or not _is_inside(damaged, job.run.path):
                raise
            state = Standing("replace", str(error))
            self._follow(job, state)
        job.read_progress(finished=True)
        return state.action

    def _follow(self, job: Job, state: Standing) -> None:
        """Perform the action of a job, then score its run; raise an exception if this fails."""
        if state.action == "replace":
            self._wait(job.run)
            old_run = job.run.set_aside()
            say(f"{job.run.name}: {state.reason}; the old run is kept as {old_run.name}, and a new one is trained")
        elif state.reason:
            say(f"{job.run.name}: {state.reason}")
        if state.action != "done":
            self._train(job)
        self.result(job)
        if self.setup.records is not None and not is_record(job.run, self.setup.records):
            write_record(job.run, self.setup.records)

    def _train(self, job: Job) -> None:
        split, settings = self.setup.data.split, absolute(dataclasses.asdict(job.recipe))
        flags = ["--resume", *self.setup.data.train_flags]
        if split["kind"] in DEV_SPLITS:
            flags += [f"--dev_fraction={split['fraction']!r}", f"--dev_split={split['kind']}"]
        if not job.run.exists():
            flags.append(f"--recipe={self.setup.recipe_name or f'{self.setup.name}/{job.experiment}'}")
        self._run(job, "training", "train", [*flags, *(f"--{name}={value}" for name, value in settings.items())])

    def _run(self, job: Job, state: Literal["training", "scoring"], command: str, flags: list[str]) -> None:
        """Run a command for the job's run; raise JobFailed if it fails."""

        def on_epoch(line: str) -> None:
            job.read_progress()
            self._refresh()
            if line and not console.is_terminal:
                say(f"{job.run.name}: {line}")

        job.state = state
        self._wait(job.run)
        self._refresh()
        common = [f"--run={job.run.name}", f"--checkpoints={self.setup.root}", *self.setup.data.flags]
        ending = self.runner.run(command, [*common, *flags], self.setup.log(job.run), on_epoch)
        if ending.status:
            message = f"{command} ended with status {ending.status}: {ending.message or 'it reported no reason'}"
            raise JobFailed(message, ending.path if ending.error == DamagedRun.__name__ else None)

    def _wait(self, run: Run) -> None:
        """Wait until no other process is training the run; it may be left over from an interrupted call."""
        reported = False
        while not self.runner.stopped:
            try:
                with run.lock():
                    return
            except FileLocked:
                if not reported:
                    say(f"{run.name}: another process is still training this run; waiting for the end of its epoch")
                reported = True
                time.sleep(LOCK_SECONDS)

    def _log_traceback(self, job: Job) -> None:
        with suppress(OSError, UnsafeFile), open_append(self.setup.log(job.run)) as log:
            log.write(traceback.format_exc().encode(errors="backslashreplace"))


def _is_inside(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder.resolve())
