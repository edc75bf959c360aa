"""A suite and its child processes, killed and interrupted."""

import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from conftest import write_folder
from in_process import TWO, children_in_process, report_of, without_clocks

from graphcnn import experiments
from graphcnn.common.command import run_command
from graphcnn.common.processors import processors
from graphcnn.storage.select_run import all_runs


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("data") / "data")


def start(folder, root, *arguments):
    """Start a suite in a process of its own."""
    words = [sys.executable, "-m", "graphcnn.experiments", *TWO, f"--data={folder}", f"--checkpoints={root}"]
    return subprocess.Popen(
        [*words, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def wait_for_a_line(process, part):
    """Wait until the process has printed a line with this part, or has ended with status 0."""
    lines = []
    for line in process.stdout:
        if part in line:
            return
        lines.append(line)
    assert process.wait() == 0, f"{part!r} was not printed, but {''.join(lines)}{process.stderr.read()}"


@pytest.mark.slow
def test_a_suite_killed_at_any_moment_ends_with_the_same_report(folder, tmp_path):
    """SIGKILL comes at the start, between two epochs and during scoring. The child processes are not killed.

    A child ends when it reports its next epoch, so the third call may find all epochs trained and end by itself.
    """
    killed, undisturbed = tmp_path / "killed", tmp_path / "undisturbed"
    for part, seconds in (("data:", 3), ("epoch 1/2", 0), ("epoch 2/2", 2)):
        process = start(folder, killed)
        wait_for_a_line(process, part)
        time.sleep(seconds * np.random.default_rng().random())
        process.kill()
        process.communicate()
    process = start(folder, killed)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, (out[-2000:], err[-2000:])
    with children_in_process():
        arguments = [*TWO, f"--data={folder}", f"--checkpoints={undisturbed}"]
        assert run_command("experiments", "", experiments.define_flags(), experiments.main, arguments) == 0
    assert without_clocks(report_of(killed / "ladder")) == without_clocks(report_of(undisturbed / "ladder"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_suite_ends_its_trainings_and_says_how_to_continue(number, folder, tmp_path):
    process = start(folder, tmp_path, "--epochs=500", f"--jobs={min(2, len(processors()))}")
    wait_for_a_line(process, "epoch   1/500")
    process.send_signal(number)
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "Continue with: ./run.sh experiments" in out
    for run in all_runs(tmp_path):
        with run.lock():  # nobody is training it any more
            pass
