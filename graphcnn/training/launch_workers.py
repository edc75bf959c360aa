"""Start the workers of a distributed training as processes on this machine."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from types import FrameType

GRACE_SECONDS = 15.0  # the other workers are killed so long after one has failed
POLL_SECONDS = 0.1  # between two checks of the workers


def launch(count: int, arguments: list[str]) -> int:
    """Run `train` in `count` processes and wait for them; return the first exit status that is not 0.

    Args:
        count: number of workers; if there are more workers than processors, several workers use the same processor.
        arguments: command line of `train`.
    """
    processors = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    addresses = [f"127.0.0.1:{port}" for port in free_ports(count)]
    per_worker = max(1, len(processors) // count)
    workers: list[subprocess.Popen[bytes]] = []
    signals: list[int] = []

    def pass_on(number: int, frame: FrameType | None) -> None:
        signals.append(number)
        for worker in workers:
            worker.send_signal(number)

    signal.signal(signal.SIGINT, lambda number, frame: None)  # the terminal sends Ctrl-C to the workers too
    signal.signal(signal.SIGTERM, pass_on)
    try:
        for index in range(count):
            own = [processors[(index * per_worker + n) % len(processors)] for n in range(per_worker) if processors]
            workers.append(_start(index, addresses, own, arguments))
            if signals:  # the signal came while the worker was started
                workers[-1].send_signal(signals[0])
        status = wait(workers)
    finally:
        for worker in workers:
            worker.kill()  # no effect on a worker that has ended
    return status if status >= 0 else 128 - status


def _start(index: int, addresses: list[str], processors: list[int], arguments: list[str]) -> subprocess.Popen[bytes]:
    """Start a worker; only the chief's output is shown."""
    config = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
    return subprocess.Popen(
        [sys.executable, "-m", "graphcnn.train", *arguments],
        env={**os.environ, "TF_CONFIG": json.dumps(config)},
        stdout=None if index == 0 else subprocess.DEVNULL,
        preexec_fn=(lambda: os.sched_setaffinity(0, processors)) if processors else None,
    )


def wait(workers: list[subprocess.Popen[bytes]]) -> int:
    """Wait for all workers; return the first exit status that is not 0.

    Once a worker has failed, the others have GRACE_SECONDS to end.
    """
    failed, deadline = 0, None
    while True:
        statuses = [worker.poll() for worker in workers]
        failed = failed or next(filter(None, statuses), 0)
        if None not in statuses:
            return failed
        if failed:
            deadline = deadline or time.monotonic() + GRACE_SECONDS
            if time.monotonic() > deadline:
                for worker in workers:
                    worker.kill()
        time.sleep(POLL_SECONDS)


def free_ports(count: int) -> list[int]:
    """Return free TCP ports of this machine."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for opened in sockets:
            opened.bind(("127.0.0.1", 0))
        return [opened.getsockname()[1] for opened in sockets]
