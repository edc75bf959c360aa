"""Answer requests as an implementation: the module runs with the arguments NAME PRECISION.

Requests and replies are JSON, one a line, on stdin and stdout. The first request is the job (Job.to_json); its reply is
{"versions", "settings", "parameters"}. Later requests:

- {"train": steps}: the reply is the seconds of each step;
- {"evaluate": images}: the reply is the seconds for computing the softmax outputs of this number of images;
- {"memory": true}: the reply is the peak resident memory of the process so far, in bytes;
- {"peaks": true}, only for graphcnn: the reply is the machine's peak GFLOP/s in the implementation's precision.

The process imports only the implementation's library, so that PyTorch can be installed in another environment.
"""

from __future__ import annotations

import json
import os
import platform
import re
import resource
import sys
from pathlib import Path
from typing import Protocol, TextIO

from graphcnn.benchmark.job import Job


class Implementation(Protocol):
    """The interface of Graphcnn, Keras and PyTorch.

    Attributes:
        versions, settings: text for the table.
        parameters: number of trainable parameters; None if the benchmark does not compare it.
    """

    versions: str
    settings: str
    parameters: int | None

    def train(self, steps: int) -> list[float]:
        """Return the seconds of each training step."""

    def evaluate(self, count: int) -> float:
        """Return the seconds for computing the softmax outputs of `count` images."""


def create(name: str, job: Job, precision: str) -> Implementation:
    """Return the implementation with this name, ready to train."""
    if name == "graphcnn":
        from graphcnn.benchmark.implementations.graphcnn import Graphcnn

        return Graphcnn(job, precision)
    if name == "keras":
        from graphcnn.benchmark.implementations.keras import Keras

        return Keras(job, precision)
    from graphcnn.benchmark.implementations.pytorch import PyTorch

    return PyTorch(job, precision)


def answer(name: str, precision: str, requests: TextIO, replies: TextIO) -> None:
    """Answer requests until the input ends."""
    implementation = create(name, Job.from_json(requests.readline()), precision)
    fields = ("versions", "settings", "parameters")
    _reply({field: getattr(implementation, field) for field in fields}, replies)
    for line in requests:
        request = json.loads(line)
        if "train" in request:
            _reply(implementation.train(request["train"]), replies)
        elif "evaluate" in request:
            _reply(implementation.evaluate(request["evaluate"]), replies)
        elif "peaks" in request:
            from graphcnn.benchmark import op_timings

            _reply(op_timings.peaks(precision), replies)
        else:
            _reply(peak_memory(), replies)


def _reply(value: object, replies: TextIO) -> None:
    replies.write(json.dumps(value) + "\n")
    replies.flush()


def peak_memory() -> int:
    """Return the peak resident memory of this process so far, in bytes."""
    if platform.system() == "Darwin":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    status = Path("/proc/self/status").read_text()  # getrusage includes the parent's memory before exec
    peak = re.search(r"VmHWM:\s*(\d+) kB", status)
    if peak is None:
        raise RuntimeError("/proc/self/status: found no VmHWM, the peak memory of this process")
    return 1024 * int(peak[1])


if __name__ == "__main__":
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # text that libraries print on stdout must not mix with the replies
    answer(sys.argv[1], sys.argv[2], sys.stdin, replies)
