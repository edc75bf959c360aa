"""Start the workers of a distributed training as processes on this machine."""

from __future__ import annotations

import json
import math
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType

from graphcnn.common import paths
from graphcnn.common.isolated import module_command, working_folder
from graphcnn.config.setting_paths import PATHS, absolute
from graphcnn.data import sources

GRACE_SECONDS = 15.0  # from the failure of a worker until the other workers are killed
SIGNAL_SECONDS = 1.5  # from a second signal until the workers are killed
POLL_SECONDS = 0.1  # between two checks of the workers
PATH_FLAGS = ("data", "checkpoints", "data_cache", "cache_dir", "label_file", *PATHS)  # flags of train


def launch(count: int, arguments: list[str]) -> int:
    """Run `train` in `count` processes and wait for them; return the first exit status that is not 0.

    Signals are passed on to the workers. After a second signal, the workers that have not ended are killed.

    Args:
        count: number of workers; if there are more workers than processors, several workers use the same processor.
        arguments: command line of `train`.
    """
    arguments = with_absolute_paths(arguments)
    processors = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    addresses = [f"127.0.0.1:{port}" for port in free_ports(count)]
    per_worker = max(1, len(processors) // count)
    workers: list[subprocess.Popen[bytes]] = []
    with working_folder() as folder, _passing_on_signals(workers) as signals:
        try:
            for index in range(count):
                own = [processors[(index * per_worker + n) % len(processors)] for n in range(per_worker) if processors]
                workers.append(_start(index, addresses, own, arguments, folder))
                for number in signals:  # they came while the worker was started
                    workers[-1].send_signal(number)
            status = wait(workers, signals)
        finally:
            for worker in workers:
                worker.kill()  # no effect on a worker that has ended
    if len(signals) > 1:
        return 128 + signals[1]
    return status if status >= 0 else 128 - status


@contextmanager
def _passing_on_signals(workers: list[subprocess.Popen[bytes]]) -> Iterator[list[int]]:
    """Pass signals on to the workers while the block runs; yield the list of their numbers.

    Each worker has its own session, so Ctrl-C, Ctrl-Z and the end of a terminal reach only this process.
    """
    signals: list[int] = []

    def send(number: int) -> None:
        for worker in workers:
            worker.send_signal(number)

    def pass_on(number: int, frame: FrameType | None) -> None:
        signals.append(number)
        send(number)

    def pause(number: int, frame: FrameType | None) -> None:
        send(signal.SIGSTOP)
        os.kill(os.getpid(), signal.SIGSTOP)  # it returns after SIGCONT, which the shell's fg sends
        send(signal.SIGCONT)

    handlers = {signal.SIGINT: pass_on, signal.SIGTERM: pass_on}
    for number, handler in ((signal.SIGHUP, pass_on), (signal.SIGQUIT, pass_on), (signal.SIGTSTP, pause)):
        if signal.getsignal(number) != signal.SIG_IGN:  # nohup ignores SIGHUP
            handlers[number] = handler
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield signals
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def _start(
    index: int, addresses: list[str], processors: list[int], arguments: list[str], folder: str
) -> subprocess.Popen[bytes]:
    """Start a worker with `folder` as its current folder; only the chief's output is shown."""
    config = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
    return subprocess.Popen(
        module_command("graphcnn.train", arguments),
        cwd=folder,
        env={**os.environ, "TF_CONFIG": json.dumps(config)},
        stdout=None if index == 0 else subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=(lambda: os.sched_setaffinity(0, processors)) if processors else None,
    )


def with_absolute_paths(arguments: list[str]) -> list[str]:
    """Return a command line of `train` with absolute paths; they may be given as --data=DIR or as --data DIR.

    The content of a --flagfile must already be in the command line. The defaults of an installed package are paths in
    the current folder, which is another folder in the workers. So they are added.
    """
    result, arguments = [], list(arguments)
    given = {argument.lstrip("-").partition("=")[0] for argument in arguments}
    if not paths.IN_CLONE and "checkpoints" not in given:
        result.append(f"--checkpoints={paths.CHECKPOINTS}")
    if not paths.IN_CLONE and not given & {"data", "resume", "label_file"}:
        result.append(f"--data={sources.default_source()}")
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
    if flag in PATHS:
        return str(absolute({flag: value})[flag])
    return value if value in ("", *sources.NAMES) else str(Path(value).resolve())


def wait(workers: list[subprocess.Popen[bytes]], signals: Sequence[int] = ()) -> int:
    """Wait for all workers; return the first exit status that is not 0.

    After a worker has failed, the other workers have GRACE_SECONDS to end. After a second signal, all workers have
    SIGNAL_SECONDS to end. The workers that still run are then killed.

    Args:
        workers: the processes.
        signals: numbers of the signals so far; a signal handler may append more.
    """
    failed, kill_at = 0, math.inf
    while True:
        statuses = [worker.poll() for worker in workers]
        failed = failed or next(filter(None, statuses), 0)
        if None not in statuses:
            return failed
        now = time.monotonic()
        if failed:
            kill_at = min(kill_at, now + GRACE_SECONDS)
        if len(signals) > 1:
            kill_at = min(kill_at, now + SIGNAL_SECONDS)
        if now > kill_at:
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
