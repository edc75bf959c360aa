"""Run this package's commands in child processes, which report each epoch and their end as lines of JSON."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

from graphcnn.common.errors import InputError
from graphcnn.common.files import open_append
from graphcnn.common.isolated import module_command, working_folder
from graphcnn.common.progress import REPORT_FD

OnEpoch = Callable[[str], None]


class Ending(NamedTuple):
    """How a child process ended.

    Attributes:
        status: exit status of the process; -n if signal n terminated it.
        message: its error message; "" if it reported none.
        error: name of the error's class; None without an error.
        path: the file that caused the error; None if the error names no file.
    """

    status: int
    message: str = ""
    error: str | None = None
    path: Path | None = None


class ChildProcesses:
    """Runs each command in a child process, until `stop` is called. Several threads may call `run` at once."""

    def __init__(self) -> None:
        self.stopped = False
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()

    def run(self, command: str, arguments: Sequence[str], log: Path, on_epoch: OnEpoch) -> Ending:
        """Run a command to its end.

        Args:
            command: name of the command, such as train.
            arguments: flags of the command. Their paths must be absolute.
            log: file to which the stdout and stderr of the process are appended.
            on_epoch: called for each epoch with the line that the process reports, "" for an epoch without a line.

        Returns:
            The Ending of the process. Its status is 130 if `stop` was called before the process started.
        """
        with open_append(log) as output, working_folder() as folder, _pipe() as (events, writer):
            try:
                with self._lock:
                    if self.stopped:
                        return Ending(130, "interrupted")
                    process = subprocess.Popen(
                        module_command(f"graphcnn.{command}", arguments),
                        cwd=folder,
                        stdout=output,
                        stderr=subprocess.STDOUT,
                        env=os.environ | {REPORT_FD: str(writer)},
                        pass_fds=[writer],
                        start_new_session=True,  # Ctrl-C reaches only the parent process
                    )
                    self._running.add(process)
            finally:
                os.close(writer)
            ending: dict[str, Any] = {}
            for line in events:
                event = _parse(line)
                if event.get("event") == "epoch":
                    on_epoch(str(event.get("line", "")))
                elif event.get("event") == "end":
                    ending = event
            status = process.wait()
        with self._lock:
            self._running.discard(process)
        return ending_of(status, ending)

    def stop(self) -> None:
        """Start no more processes and send SIGTERM to the running ones; train then finishes its step."""
        with self._lock:
            self.stopped = True
            for process in self._running:
                process.terminate()


@contextmanager
def _pipe() -> Iterator[tuple[IO[str], int]]:
    """Yield (text file of the reading end, descriptor of the writing end) of a pipe; then close the reading end."""
    reader, writer = os.pipe()
    with open(reader, encoding="utf-8", errors="replace") as events:  # noqa: PTH123 (a descriptor)
        yield events, writer


def ending_of(status: int, event: dict[str, Any]) -> Ending:
    """Return the Ending for an exit status and an "end" event; the event is {} if the process reported none."""
    if status < 0:
        return Ending(status, f"it was terminated by {_signal_name(-status)}")
    path = event.get("path")
    return Ending(status, str(event.get("message") or ""), event.get("error"), Path(path) if path else None)


def output_lines(command: str, arguments: Sequence[str]) -> list[str]:
    """Run a command and return the lines of its stdout. The paths in the arguments must be absolute.

    Raises:
        InputError: the command failed. The message is the last line of its stderr.
    """
    command_line = module_command(f"graphcnn.{command}", arguments)
    with working_folder() as folder:
        done = subprocess.run(command_line, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        message = (done.stderr.strip().splitlines() or [ending_of(done.returncode, {}).message])[-1]
        raise InputError(f"{command} ended with status {done.returncode}: {message or 'it reported no reason'}")
    return done.stdout.splitlines()


def _parse(line: str) -> dict[str, Any]:
    """Return the event of a line; {} for an incomplete line of a killed process."""
    try:
        event = json.loads(line)
    except ValueError:
        return {}
    return event if isinstance(event, dict) else {}


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
