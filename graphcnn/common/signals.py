"""Handlers of SIGINT (Ctrl-C) and SIGTERM."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from types import FrameType
from typing import NoReturn

from graphcnn.common.progress import console, say
from graphcnn.common.text import printable

SIGNALS = (signal.SIGINT, signal.SIGTERM)
MAIN_THREAD_SECONDS = 1.0  # time in which the main thread can handle the second signal
ERASE_BAR = b"\r\x1b[2K\x1b[?25h"  # erases a progress bar on the terminal and shows the cursor


_runs_command = False


def process_runs_command() -> None:
    """Note that this process runs a command of this package, and not a program that imports the package."""
    global _runs_command
    _runs_command = True


@contextmanager
def _handled_by(handler: Callable[[int], None]) -> Iterator[Callable[[], None]]:
    """Call handler(number) on SIGINT and SIGTERM while the block runs.

    Yields:
        A function restore() that puts the earlier handlers back before the block ends.
    """

    def handle(number: int, frame: FrameType | None) -> None:
        handler(number)

    def restore() -> None:
        for number, old in before.items():
            signal.signal(number, old)

    if threading.current_thread() is not threading.main_thread():  # Python has signal handlers in that thread only
        yield lambda: None
        return
    before = {number: signal.signal(number, handle) for number in SIGNALS}
    try:
        yield restore
    finally:
        restore()


@contextmanager
def stop_signal() -> Iterator[Callable[[], int]]:
    """Record the first SIGINT or SIGTERM while the block runs. A second signal is handled as before the block.

    If the process runs a command, and the block then does not end within MAIN_THREAD_SECONDS, the process ends. In a
    thread other than the main thread, no signal is recorded.

    Yields:
        A function that returns the number of the first signal, or 0 if there was none yet.
    """
    first: list[int] = []

    def note(number: int) -> None:
        first.append(number)
        say("stopping; press Ctrl-C again to stop at once")
        restore()

    with _second_signal_ends() if _runs_command else nullcontext(), _handled_by(note) as restore:
        yield lambda: first[0] if first else 0


@contextmanager
def _second_signal_ends() -> Iterator[None]:
    """End the process at the second SIGINT or SIGTERM, unless the block ends within MAIN_THREAD_SECONDS.

    Python calls signal handlers only in the main thread, between two bytecodes. It calls none while the main thread
    waits in TensorFlow for another worker. The number of each signal is written to the wakeup file descriptor at once,
    so a second thread reads the numbers from there.
    """
    over = threading.Event()
    readable, writable = os.pipe()
    os.set_blocking(writable, False)

    def watch() -> None:
        received: list[int] = []
        while len(received) < 2:
            numbers = os.read(readable, 64)
            if not numbers:  # the block is over
                return
            received += [number for number in numbers if number in SIGNALS]
        if not over.wait(MAIN_THREAD_SECONDS):
            end_now(128 + received[1], "graphcnn train: interrupted")

    before = signal.set_wakeup_fd(writable, warn_on_full_buffer=False)
    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        signal.set_wakeup_fd(before)
        os.close(writable)
        thread.join()
        os.close(readable)


@contextmanager
def keyboard_interrupt() -> Iterator[None]:
    """Raise KeyboardInterrupt on SIGINT and on SIGTERM while the block runs."""

    def interrupt(number: int) -> None:
        raise KeyboardInterrupt

    with _handled_by(interrupt):
        yield


def end_now(status: int, line: str) -> NoReturn:
    """Print a line on stderr and end this process at once, without waiting for its other threads.

    One system call writes the line, because several workers share stderr.
    """
    with suppress(OSError):
        if console.is_terminal:
            os.write(1, ERASE_BAR)
        os.write(2, f"{printable(line)}\n".encode(errors="backslashreplace"))
    os._exit(status)
