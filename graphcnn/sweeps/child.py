"""Commands of this package in child processes, which report their epochs and their ending as lines of JSON."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from graphcnn.common.command import child_environment
from graphcnn.common.progress import REPORT_FD

OnEpoch = Callable[[str], None]


class Ending(NamedTuple):
    """How a child process ended.

    Attributes:
        status: its exit status; -n where signal n ended it.
        message: its error line; "" where it reported none.
        error: the name of the error's type, where there was one.
        path: the file that the error is about, where it names one.
    """

    status: int
    message: str = ""
    error: str | None = None
    path: Path | None = None


class ChildProcesses:
    """Runs commands, each in a process of its own, until `stop` is called. Several threads may run one each."""

    def __init__(self) -> None:
        self.stopped = False
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()

    def run(self, command: str, arguments: Sequence[str], log: Path, on_epoch: OnEpoch) -> Ending:
        """Run a command to its end.

        Args:
            command: such as train.
            arguments: its flags.
            log: file to which the process's stdout and stderr are appended.
            on_epoch: called with the line of each epoch that the process reports.

        Returns:
            How it ended; status 130 where `stop` was called before it was started.
        """
        reader, writer = os.pipe()
        with open(reader, encoding="utf-8", errors="replace") as events, log.open("ab") as output:  # noqa: PTH123
            try:
                with self._lock:
                    if self.stopped:
                        return Ending(130, "interrupted")
                    process = subprocess.Popen(
                        [sys.executable, "-m", f"graphcnn.{command}", *arguments],
                        stdout=output,
                        stderr=subprocess.STDOUT,
                        env=child_environment() | {REPORT_FD: str(writer)},
                        pass_fds=[writer],
                        start_new_session=True,  # Ctrl-C reaches this process alone
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
        """Start no more processes and ask those that run to end: train then finishes its step."""
        with self._lock:
            self.stopped = True
            for process in self._running:
                process.terminate()


def ending_of(status: int, event: dict[str, Any]) -> Ending:
    """Return the Ending of a process with this exit status that reported this "end" event, {} where it did not."""
    if status < 0:
        return Ending(status, f"it was ended by {_signal_name(-status)}")
    path = event.get("path")
    return Ending(status, str(event.get("message") or ""), event.get("error"), Path(path) if path else None)


def output_lines(command: str, arguments: Sequence[str], folder: Path) -> list[str]:
    """Run a command in a folder and return the lines of its stdout."""
    words = [sys.executable, "-m", f"graphcnn.{command}", *arguments]
    done = subprocess.run(words, cwd=folder, env=child_environment(), capture_output=True, text=True, check=False)
    return done.stdout.splitlines()


def _parse(line: str) -> dict[str, Any]:
    """Return the event of a line; {} where a process that was killed left half of it."""
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
