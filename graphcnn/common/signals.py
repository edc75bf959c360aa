"""Handlers of SIGINT (Ctrl-C) and SIGTERM."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from graphcnn.common.progress import say

SIGNALS = (signal.SIGINT, signal.SIGTERM)


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

    before = {number: signal.signal(number, handle) for number in SIGNALS}
    try:
        yield restore
    finally:
        restore()


@contextmanager
def stop_signal() -> Iterator[Callable[[], int]]:
    """Record the first SIGINT or SIGTERM while the block runs. A second signal is handled as before the block.

    Yields:
        A function that returns the number of the first signal, or 0 if there was none yet.
    """
    first: list[int] = []

    def note(number: int) -> None:
        first.append(number)
        say("stopping; press Ctrl-C again to stop at once")
        restore()

    with _handled_by(note) as restore:
        yield lambda: first[0] if first else 0


@contextmanager
def keyboard_interrupt() -> Iterator[None]:
    """Raise KeyboardInterrupt on SIGINT and on SIGTERM while the block runs."""

    def interrupt(number: int) -> None:
        raise KeyboardInterrupt

    with _handled_by(interrupt):
        yield
