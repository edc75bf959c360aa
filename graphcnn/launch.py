"""Train with several tasks on this machine, each on its share of the processors: to try what TF_CONFIG does on several.

./run.sh launch --workers=2 --data=DIR --run=NAME    all other flags are train's

Task 0's lines are shown. To use several machines, call ./run.sh train on each with a TF_CONFIG of its own.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from itertools import islice

from graphcnn.common.command import run_command
from graphcnn.common.errors import InputError
from graphcnn.config import flags

MOST = 64  # tasks
LEFT = 15.0  # seconds that the others have to end once a task has failed
LOOKED = 0.1  # seconds between two looks at them


def define_flags():
    """Return this command's flags; the others are train's."""
    values = flags.new_flags()
    flags.define(values, int, "workers", 2, "tasks; more than there are processors share them")
    return values


def main(values, arguments):
    """Start a training process a task; return the first exit status that is not 0."""
    if not 1 <= values.workers <= MOST:
        raise InputError(f"--workers: found {values.workers}, expected 1 to {MOST}")
    processors = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    addresses = [f"127.0.0.1:{port}" for port in _free_ports(values.workers)]
    share, tasks, asked = max(1, len(processors) // values.workers), [], []

    def pass_on(number, frame):
        asked.append(number)
        for task in tasks:
            task.send_signal(number)

    signal.signal(signal.SIGINT, lambda number, frame: None)  # Ctrl-C reaches the tasks too
    signal.signal(signal.SIGTERM, pass_on)
    try:
        for index in range(values.workers):
            said = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
            mine = [processors[(index * share + n) % len(processors)] for n in range(share)] if processors else []
            tasks.append(
                subprocess.Popen(
                    [sys.executable, "-m", "graphcnn.train", *arguments, *["--debug"] * values.debug],
                    env={**os.environ, "TF_CONFIG": json.dumps(said)},
                    stdout=None if index == 0 else subprocess.DEVNULL,
                    preexec_fn=(lambda mine=mine: os.sched_setaffinity(0, mine)) if mine else None,
                )
            )
            if asked:  # while it was started
                tasks[-1].send_signal(asked[0])
        status = _wait(tasks)
    finally:
        for task in tasks:
            task.kill()  # one that has ended is left alone
    return status if status >= 0 else 128 - status


def _wait(tasks):
    """Wait for all tasks; return the first exit status that is not 0, after which the others have LEFT seconds."""
    failed, until = 0, None
    while True:
        statuses = [task.poll() for task in tasks]
        failed = failed or next(filter(None, statuses), 0)
        if None not in statuses:
            return failed
        if failed:
            until = until or time.monotonic() + LEFT
            if time.monotonic() > until:
                for task in tasks:
                    task.kill()
        time.sleep(LOOKED)


def _free_ports(count):
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _divided(arguments):
    """Return the command line with train's flags behind --, where no flag is ours."""
    own, others, left = [], [], iter(arguments)
    for argument in left:
        name, has_value, _ = argument.lstrip("-").partition("=")
        if argument.startswith("-") and name in ("workers", "debug", "help", "h"):
            own += [argument, *islice(left, name == "workers" and not has_value)]
        else:
            others.append(argument)
    return [*own, "--", *others]


if __name__ == "__main__":
    sys.exit(run_command("launch", __doc__, define_flags(), main, _divided(sys.argv[1:])))
