"""Start the workers of a distributed training as processes on this machine."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path
from types import FrameType

from graphcnn.common.isolated import module_command, working_folder
from graphcnn.config.setting_paths import absolute
from graphcnn.data import sources

GRACE_SECONDS = 15.0  # the other workers are killed so long after one has failed
POLL_SECONDS = 0.1  # between two checks of the workers
PATH_FLAGS = ("data", "checkpoints", "data_cache", "cache_dir", "weights", "name_map")  # flags of train


def launch(count: int, arguments: list[str]) -> int:
    """Run `train` in `count` processes and wait for them; return the first exit status that is not 0.

    Args:
        count: number of workers; if there are more workers than processors, several workers use the same processor.
        arguments: command line of `train`.
    """
    arguments = with_absolute_paths(arguments)
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
    with working_folder() as folder:
        try:
            for index in range(count):
                own = [processors[(index * per_worker + n) % len(processors)] for n in range(per_worker) if processors]
                workers.append(_start(index, addresses, own, arguments, folder))
                if signals:  # the signal came while the worker was started
                    workers[-1].send_signal(signals[0])
            status = wait(workers)
        finally:
            for worker in workers:
                worker.kill()  # no effect on a worker that has ended
    return status if status >= 0 else 128 - status


def _start(
    index: int, addresses: list[str], processors: list[int], arguments: list[str], folder: str
) -> subprocess.Popen[bytes]:
    """Start a worker in a folder; only the chief's output is shown."""
    config = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
    return subprocess.Popen(
        module_command("graphcnn.train", arguments),
        cwd=folder,
        env={**os.environ, "TF_CONFIG": json.dumps(config)},
        stdout=None if index == 0 else subprocess.DEVNULL,
        preexec_fn=(lambda: os.sched_setaffinity(0, processors)) if processors else None,
    )


def with_absolute_paths(arguments: list[str]) -> list[str]:
    """Return a command line of `train` in which paths are absolute, as --data=DIR or --data DIR.

    The arguments of a --flagfile must be in the command line already.
    """
    result, arguments = [], list(arguments)
    while arguments:
        flag, has_value, value = arguments.pop(0).partition("=")
        name = flag.lstrip("-")
        if not flag.startswith("-") or name not in PATH_FLAGS:
            result.append(flag + has_value + value)
        elif has_value or arguments:
            result.append(f"--{name}={_absolute(name, value if has_value else arguments.pop(0))}")
        else:
            result.append(flag)  # train refuses the missing value
    return result


def _absolute(flag: str, value: str) -> str:
    """Return the value of a flag of PATH_FLAGS as an absolute path, if it is the name of a file or a folder."""
    if flag in ("weights", "name_map"):
        return str(absolute({flag: value})[flag])
    return value if value in ("", *sources.NAMES) else str(Path(value).resolve())


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
