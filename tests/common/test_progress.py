"""Output for the user: durations, lines of slow blocks, the progress bar."""

import io
import re
import time

import pytest
from conftest import TINY

from graphcnn.common import progress
from graphcnn.common.progress import format_duration


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00:00"), (59.6, "0:01:00"), (3661, "1:01:01"), (100 * 3600, "100:00:00")]
)
def test_durations(seconds, text):
    assert format_duration(seconds) == text


class Immediate:
    """A timer that has elapsed when it starts."""

    def __init__(self, seconds, function):
        self.start, self.cancel = function, lambda: None


def test_a_slow_block_says_what_it_does(capsys, monkeypatch):
    with progress.say_if_slow("waiting"):
        pass
    assert capsys.readouterr().out == ""
    monkeypatch.setattr(progress, "SLOW_SECONDS", 0.01)
    with progress.say_if_slow("waiting"):
        time.sleep(0.5)
    assert capsys.readouterr().out == "waiting ...\n"


def test_a_slow_block_is_not_disturbed_by_a_closed_stdout(monkeypatch):
    monkeypatch.setattr(progress.threading, "Timer", Immediate)
    monkeypatch.setattr(progress.sys, "stdout", None)
    with progress.say_if_slow("waiting"):
        pass


def test_commands_say_what_they_do_while_they_start(data_folder, tmp_path, command, monkeypatch):
    monkeypatch.setattr(progress.threading, "Timer", Immediate)
    root = f"--checkpoints={tmp_path}"
    train = command("train", root, f"--data={data_folder}", *TINY, "--epochs=1").out
    for activity in ("importing TensorFlow", f"reading the data {data_folder}", "building the graph"):
        assert f"{activity} ...\n" in train
    predict = command("predict", root, f"--array={data_folder / 'x_test.npy'}").out
    for activity in ("importing TensorFlow", "building the graph", "reading the weights"):
        assert f"{activity} ...\n" in predict


def test_the_bar_shows_the_note_and_fits_a_terminal(monkeypatch):
    terminal = progress.PlainConsole(force_terminal=True, width=80, file=io.StringIO(), soft_wrap=True)
    monkeypatch.setattr(progress, "console", terminal)
    note = "loss 0.1234  12,345 images/s"
    with progress.bar("epoch 100/100", 37_500) as advance:
        for _ in range(3):
            advance(12_500, note)
    shown = re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", terminal.file.getvalue())
    assert note in shown
    assert max(len(line.strip("\r")) for line in re.split(r"[\r\n]", shown)) <= 80
