"""Train with several tasks on this machine, each on its share of the processors: to try what TF_CONFIG does on several.

./run.sh launch --workers=2 --data=DIR --run=NAME    all other flags are train's

Task 0's lines are shown. To leave the machine out of it, call ./run.sh train on each with a TF_CONFIG of its own.
"""

import json
import os
import socket
import subprocess
import sys
from contextlib import ExitStack

from graphcnn import cli
from graphcnn.errors import InputError


def define_flags():
    """Return this command's flags; the others are train's."""
    values = cli.new_flags()
    cli.define(values, int, "workers", 2, "tasks, at most as many as there are processors")
    return values


def main(values, arguments):
    """Start a training process a task; return the first exit status that is not 0."""
    processors = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    most = len(processors) or os.cpu_count() or 1
    if not 1 <= values.workers <= most:
        raise InputError(f"--workers: found {values.workers}, expected 1 to {most}, the processors there are")
    addresses = [f"127.0.0.1:{port}" for port in _free_ports(values.workers)]
    share, tasks = most // values.workers, []
    for index in range(values.workers):
        said = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
        mine = processors[index * share : (index + 1) * share]
        tasks.append(
            subprocess.Popen(
                [sys.executable, "-m", "graphcnn.train", *arguments, *["--debug"] * values.debug],
                env={**os.environ, "TF_CONFIG": json.dumps(said)},
                stdout=None if index == 0 else subprocess.DEVNULL,
                preexec_fn=(lambda mine=mine: os.sched_setaffinity(0, mine)) if mine else None,
            )
        )
    statuses = [_waited(task) for task in tasks]
    return next((status if status > 0 else 128 - status for status in statuses if status), 0)


def _waited(task):
    """Return the exit status of a task; Ctrl-C has reached it too."""
    while True:
        try:
            return task.wait()
        except KeyboardInterrupt:
            continue


def _free_ports(count):
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _divided(arguments):
    """Return the command line with train's flags behind --, where no flag is ours."""
    own = [a for a in arguments if a.lstrip("-").split("=")[0] in ("workers", "debug", "help", "h") and a[:1] == "-"]
    return [*own, "--", *(argument for argument in arguments if argument not in own)]


if __name__ == "__main__":
    sys.exit(cli.run_command("launch", __doc__, define_flags(), main, _divided(sys.argv[1:])))
