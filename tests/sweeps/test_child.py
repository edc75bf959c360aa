"""Child processes and their reports."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time

import pytest

from graphcnn.common import paths, progress
from graphcnn.common.errors import DamagedRun, InputError, UnsafeFile
from graphcnn.sweeps import child
from graphcnn.sweeps.child import ChildProcesses, Ending, ending_of


def test_a_command_reports_its_error_and_its_output_goes_to_the_log(tmp_path):
    log, epochs = tmp_path / "log", []
    log.write_text("before\n")
    arguments = [f"--predictions={tmp_path / 'none.npy'}", f"--labels={tmp_path / 'none.npy'}"]
    ending = ChildProcesses().run("eval", arguments, log, epochs.append)
    assert (ending.status, ending.error, epochs) == (2, "InputError", [])
    assert "none.npy" in ending.message
    first, *_, last = log.read_text().splitlines()
    assert (first, last) == ("before", f"graphcnn eval: {ending.message}")


def test_a_process_that_is_killed_has_no_report(tmp_path, monkeypatch):
    """The process reports an epoch and half of an event, then waits."""
    code = f"import os, time; os.write(int(os.environ['{progress.REPORT_FD}']), "
    code += 'b\'{"event": "epoch", "line": "epoch 1/2"}\\n{"event": "e\'); time.sleep(60)'
    started = subprocess.Popen
    processes, epochs = ChildProcesses(), []
    monkeypatch.setattr(
        child.subprocess, "Popen", lambda words, **options: started([sys.executable, "-c", code], **options)
    )

    def kill():
        while not epochs:
            time.sleep(0.01)
        next(iter(processes._running)).send_signal(signal.SIGKILL)

    threading.Thread(target=kill).start()
    ending = processes.run("train", [], tmp_path / "log", epochs.append)
    assert ending == Ending(-signal.SIGKILL, "it was terminated by SIGKILL")
    assert epochs == ["epoch 1/2"]
    assert not processes._running


def test_a_log_that_is_a_link_is_refused(tmp_path):
    (tmp_path / "log").symlink_to(tmp_path / "secret")
    with pytest.raises(UnsafeFile, match="log: is a symbolic link"):
        ChildProcesses().run("train", ["--help"], tmp_path / "log", print)
    assert not (tmp_path / "secret").exists()


def test_nothing_is_started_after_stop(tmp_path):
    processes = ChildProcesses()
    processes.stop()
    assert processes.run("train", [], tmp_path / "log", print).status == 130


def test_the_end_of_a_damaged_run_names_its_type_and_path(tmp_path, monkeypatch):
    from absl import flags

    from graphcnn.common.command import run_command

    def ends_with(error):
        def main(values, positional):
            if error:
                raise error

        reader, writer = os.pipe()
        monkeypatch.setattr(progress, "_report_fd", writer)
        status = run_command("train", "", flags.FlagValues(), main, [])
        os.close(writer)
        with os.fdopen(reader) as lines:
            return ending_of(status, json.loads(lines.read()))

    path = tmp_path / "epoch-0001" / "state.json"
    assert ends_with(None) == Ending(0)
    assert ends_with(DamagedRun(path, "damaged")) == Ending(2, f"{path}: damaged", "DamagedRun", path)
    assert ends_with(InputError("a\nb")) == Ending(2, "a b", "InputError")
    assert ends_with(PermissionError(13, "denied", str(path))) == Ending(2, f"{path}: denied", "PermissionError", path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    fault = ends_with(KeyError("x"))
    assert (fault.status, fault.error, fault.path) == (1, "KeyError", None)
    assert f"report it with the file {next(tmp_path.glob('graphcnn-train-*'))}" in fault.message


def test_a_child_s_children_do_not_report_to_its_parent(monkeypatch):
    monkeypatch.setenv(progress.REPORT_FD, "9")
    code = f"import os; from graphcnn.common import progress; print(os.environ.get('{progress.REPORT_FD}'), "
    code += "progress._report_fd)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=paths.REPOSITORY, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["None", "9"]
