"""SIGINT and SIGTERM while a training or a suite runs."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time

import processes
import pytest

from graphcnn.common import signals
from graphcnn.common.signals import SIGNALS, keyboard_interrupt, stop_signal


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_signal_is_recorded_and_the_second_one_interrupts(number):
    received = []
    old = signal.signal(number, lambda *_: received.append("acted"))
    try:
        with stop_signal() as stop_requested:
            assert stop_requested() == 0
            os.kill(os.getpid(), number)
            assert (stop_requested(), received) == (number, [])
            os.kill(os.getpid(), number)
            assert (stop_requested(), received) == (number, ["acted"])
        os.kill(os.getpid(), number)
        assert received == ["acted", "acted"]
    finally:
        signal.signal(number, old)


BLOCKED = """
import ctypes, os, signal
from graphcnn.common.signals import process_runs_command, stop_signal
process_runs_command()
with stop_signal():
    print("ready", flush=True)
    mutex, lock = ctypes.create_string_buffer(64), ctypes.CDLL(None).pthread_mutex_lock
    lock(mutex), lock(mutex)  # a call in C that never returns, whatever the signals
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the program blocks in a mutex of Linux")
@pytest.mark.parametrize("numbers", [SIGNALS, SIGNALS[1:] * 2])
def test_the_second_signal_ends_a_process_that_is_blocked_in_c(numbers):
    process = processes.start("-c", BLOCKED)
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.2)
    process.send_signal(numbers[0])
    time.sleep(0.2)
    assert process.poll() is None
    process.send_signal(numbers[1])
    began = time.monotonic()
    assert processes.finish(process, 10) == (128 + numbers[1], "", "graphcnn train: interrupted\n")
    assert time.monotonic() - began < 2


def test_after_the_block_nothing_is_left(monkeypatch):
    monkeypatch.setattr(signals, "_runs_command", True)
    threads, opened, real = threading.active_count(), [], os.pipe
    monkeypatch.setattr(os, "pipe", lambda: opened.append(real()) or opened[0])
    with stop_signal():
        assert signal.set_wakeup_fd(opened[0][1]) == opened[0][1]
    assert signal.set_wakeup_fd(-1) == -1
    for descriptor in opened[0]:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(descriptor)
    assert threading.active_count() == threads


@pytest.mark.parametrize(
    "arguments",
    [
        ["-m", "graphcnn.launch", "--workers=0"],
        ["-c", "from graphcnn.common.signals import end_now; end_now(2, 'graphcnn train: a line')"],
    ],
)
def test_an_error_line_is_one_system_call(arguments):
    """Each call of write sends one datagram."""
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with here, there:
        done = subprocess.run([sys.executable, "-u", *arguments], cwd=processes.ROOT, stderr=there)
        line = here.recv(1000)
    assert done.returncode == 2
    assert line.startswith(b"graphcnn ")
    assert line.endswith(b"\n")


@pytest.mark.parametrize("number", SIGNALS)
def test_both_signals_raise_keyboard_interrupt(number):
    old = {each: signal.getsignal(each) for each in SIGNALS}
    with pytest.raises(KeyboardInterrupt), keyboard_interrupt():
        os.kill(os.getpid(), number)
    assert {each: signal.getsignal(each) for each in SIGNALS} == old
