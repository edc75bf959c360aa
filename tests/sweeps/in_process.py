"""Run the commands of a suite in this process, because each child process needs seconds to import TensorFlow."""

import importlib
import json
import os
import signal
import threading
from contextlib import contextmanager, redirect_stderr, redirect_stdout

import pytest

from graphcnn.common import progress
from graphcnn.common.command import run_command
from graphcnn.sweeps import run_suite
from graphcnn.sweeps.child import ending_of


class InProcess:
    """Replaces child.ChildProcesses."""

    def __init__(self):
        self.stopped = False

    def run(self, command, arguments, log, on_epoch):
        module = importlib.import_module(f"graphcnn.{command}")
        reader, writer = os.pipe()
        progress._report_fd = writer
        try:
            with log.open("a") as file, redirect_stdout(file), redirect_stderr(file):
                status = run_command(command, module.__doc__, module.define_flags(), module.main, list(arguments))
        finally:
            progress._report_fd = None
            os.close(writer)
        with os.fdopen(reader) as lines:
            events = [json.loads(line) for line in lines]
        for event in events[:-1]:
            assert event["event"] == "epoch"
            on_epoch(event["line"])
        assert events[-1]["event"] == "end"
        return ending_of(status, events[-1])

    def stop(self):
        self.stopped = True


@contextmanager
def children_in_process():
    """Run the commands of suites in this process during the block, in a thread that gets no signals."""
    original, wakeup = signal.signal, signal.set_wakeup_fd

    def is_main():
        return threading.current_thread() is threading.main_thread()

    def in_main_thread(number, handler):
        return original(number, handler) if is_main() else signal.getsignal(number)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(signal, "signal", in_main_thread)
        patch.setattr(signal, "set_wakeup_fd", lambda fd, **options: wakeup(fd, **options) if is_main() else -1)
        patch.setattr(run_suite, "ChildProcesses", InProcess)
        yield


TWO = [
    "--suite=ladder", "--only=four_layer_1,four_layer_2", "--epochs=2",
    "--image_size=16", "--batch_size=16", "--precision=float32",
]  # fmt: skip
CLOCKS = ("seconds", "epoch_seconds")


def report_of(folder):
    return json.loads((folder / "report.json").read_text())


def without_clocks(value):
    """Return a report without the numbers that depend on the wall clock."""
    if isinstance(value, dict):
        kept = {key: without_clocks(each) for key, each in value.items() if key not in CLOCKS}
        return {**kept, "numbers": None} if value.get("measure") == "epoch_seconds" else kept
    return [without_clocks(each) for each in value] if isinstance(value, list) else value


def content_of(folder):
    """Return {path: bytes, or target of a link} for all files of a folder except lock files."""
    return {
        path.relative_to(folder).as_posix(): str(path.readlink()) if path.is_symlink() else path.read_bytes()
        for path in folder.rglob("*")
        if (path.is_symlink() or path.is_file()) and path.name != ".lock"
    }
