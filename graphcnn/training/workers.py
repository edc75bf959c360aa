"""Distributed training by TensorFlow's collectives: the workers, sums over all of them, and which of them are lost.

TF_CONFIG is TensorFlow's: {"cluster": {"worker": ["host:port", …]}, "task": {"type": "worker", "index": 0}}. Each
worker runs the same command on its slice of each batch. Worker 0, the chief, writes the run. The runtime has no
authentication: use private networks only.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from graphcnn.common.errors import Diverged, InputError, Interrupted, WorkerLost
from graphcnn.common.progress import say
from graphcnn.ops.tf1 import cores, reason, tf, tf1

BUFFER = 8 << 20  # most numbers that one collective sums
BLOCK = 1 << 12  # numbers that workers exchange at once between steps
CHECK_SECONDS = 2.0  # between two checks of another worker
MISSED = 3  # unanswered checks in a row after which a worker counts as lost
JOIN_SECONDS = 1800.0  # within which all workers must have started; one may have photos to decode first
REMINDER_SECONDS = 60.0  # between two lines about workers that have not started
LOST = "is lost; the finished epochs are saved: continue on all workers with --resume. The number of workers may change"
WORKER = re.compile(r"[^\s:/]+:\d{1,5}")


class Workers:
    """The workers of a training, and which of them this process is.

    Args:
        addresses: "host:port" of each worker.
        index: this worker's index.

    Attributes:
        count: number of workers.
        run_options: options for session.run of everything that sums over all workers.
        stop_request: float32 [], fed with 1 where this worker is asked to stop; of the training graph.
        stop_requests: float32 [], the number of workers that are asked to stop, after the step.
    """

    def __init__(self, addresses: Sequence[str], index: int) -> None:
        self.addresses, self.index, self.count = list(addresses), index, len(addresses)
        self._graphs = 0  # graphs with a session so far
        self._keys = 0  # collectives so far; all workers build the same graphs, so that a collective has one key
        self.run_options: Any = None
        self.stop_request: tf.Tensor = None
        self.stop_requests: tf.Tensor = None
        self._server: Any = None
        self._exchange: tuple[tf.Tensor, tf.Tensor] | None = None
        self._all_started, self._done, self._ending = threading.Event(), threading.Event(), threading.Lock()
        self._sockets = [(host, int(port)) for host, _, port in (each.rpartition(":") for each in addresses)]

    @property
    def chief(self) -> bool:
        """Whether this worker writes the run."""
        return self.index == 0

    def slice_of(self, rows: np.ndarray) -> tuple[int, np.ndarray]:
        """Return (position of the first row, rows) of this worker's slice of a batch."""
        bounds = np.linspace(0, len(rows), self.count + 1).astype(int)
        return int(bounds[self.index]), rows[bounds[self.index] : bounds[self.index + 1]]

    # Sums over all workers

    def sum(self, tensors: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """Return the sums over all workers of float32 tensors, in the current graph; small ones share a collective."""
        flat = [tf.reshape(each, [-1]) for each in tensors]
        sizes = [int(np.prod(each.shape)) for each in tensors]
        sums: list[tf.Tensor] = []
        start = 0
        while start < len(flat):
            end, size = start, 0
            while end < len(flat) and (end == start or size + sizes[end] <= BUFFER):
                size, end = size + sizes[end], end + 1
            buffer = self._reduce(tf.concat(flat[start:end], axis=0))
            sums += tf.split(buffer, sizes[start:end])
            start = end
        return [tf.reshape(each, tensor.shape) for each, tensor in zip(sums, tensors, strict=True)]

    def sum_of_step(
        self, gradients: Sequence[tf.Tensor], loss: tf.Tensor, cross_entropy: tf.Tensor, correct: tf.Tensor
    ) -> tuple[list[tf.Tensor], tf.Tensor, tf.Tensor, tf.Tensor]:
        """Return the sums over all workers of a step's gradients and numbers; make the tensors of stop requests.

        Args:
            gradients: float32, of each weight.
            loss, cross_entropy: float32 [].
            correct: int32 [], number of rows.
        """
        self.stop_request = tf1.placeholder_with_default(0.0, [], name="asked")
        numbers = tf.stack([loss, cross_entropy, tf.cast(correct, tf.float32), self.stop_request])
        *gradients, numbers = self.sum([*gradients, numbers])
        loss, cross_entropy, correct, self.stop_requests = tf.unstack(numbers)
        return list(gradients), loss, cross_entropy, tf.cast(correct, tf.int32)

    def sum_with_gradient(self, tensor: tf.Tensor) -> tf.Tensor:
        """Return the sum over all workers of a float32 tensor; its gradient is summed over all workers too."""

        @tf.custom_gradient
        def summed(x: tf.Tensor) -> tuple[tf.Tensor, Any]:
            return self.sum([x])[0], lambda dy: self.sum([dy])[0]

        return summed(tensor)

    def _reduce(self, tensor: tf.Tensor) -> tf.Tensor:
        self._keys += 1
        return tf.raw_ops.CollectiveReduceV2(
            input=tensor, group_size=self.count, group_key=1, instance_key=self._keys, ordering_token=[],
            merge_op="Add", final_op="Id", communication_hint="ring",
        )  # fmt: skip

    def add_exchange(self) -> None:
        """Add to the current graph what `exchange` needs."""
        mine = tf1.placeholder(tf.float32, [BLOCK])  # a collective's shape is always the same
        self._exchange = mine, self._reduce(mine)

    def exchange(self, session: tf1.Session, array: np.ndarray) -> np.ndarray:
        """Return the sum over all workers of a float32 array of one shape; all of them must call it."""
        assert self._exchange is not None
        mine, total = self._exchange
        flat = np.pad(np.ravel(array), (0, -np.size(array) % BLOCK))
        blocks = [session.run(total, {mine: block}, self.run_options) for block in flat.reshape(-1, BLOCK)]
        return np.concatenate(blocks)[: np.size(array)].reshape(np.shape(array))

    def session(self, graph: tf1.Graph) -> tf1.Session:
        """Return a Session whose operations are this worker's; run sums over all workers with `run_options`."""
        config = tf1.ConfigProto(
            inter_op_parallelism_threads=1,
            intra_op_parallelism_threads=cores(),
            device_count={"GPU": 0},
            device_filters=[f"/job:worker/task:{self.index}"],
        )
        # A served session would fuse bias and ReLU into a convolution for which it has no bfloat16 kernel
        rewrites = config.graph_options.rewrite_options
        rewrites.remapping = rewrites.OFF
        config.experimental.collective_group_leader = "/job:worker/replica:0/task:0"
        if self._server is None:
            try:
                spec = tf1.train.ClusterSpec({"worker": self.addresses})
                self._server = tf1.train.Server(spec, job_name="worker", task_index=self.index, config=config)
            except tf.errors.OpError as error:
                address = self.addresses[self.index]
                raise InputError(f"TF_CONFIG: {address} cannot be served ({reason(error)})") from None
        self.run_options = tf1.RunOptions()
        self._graphs += 1
        self.run_options.experimental.collective_graph_key = self._graphs
        return tf1.Session(self._server.target, graph=graph, config=config)

    # Agreement between workers

    def join(self, job: str) -> None:
        """Wait for all workers, and start to monitor them.

        From here on, this process ends with one line if another worker is lost, since a sum would wait for it for ever.

        Args:
            job: text that describes what this worker is about to do.

        Raises:
            InputError: another worker has a different text.
        """
        for n in self._others():
            threading.Thread(target=self._monitor, args=[n], daemon=True).start()
        before = signal.signal(signal.SIGINT, signal.SIG_DFL)  # Python would see Ctrl-C only after all have started
        with tf1.Graph().as_default() as graph:
            self.add_exchange()
            with self.session(graph) as session:
                others = self._unlike(session, job.encode())
        signal.signal(signal.SIGINT, before)
        self._all_started.set()
        if others:
            raise InputError(
                f"TF_CONFIG: worker {self.index} has other settings or data than worker {_listed(others)}; give all "
                "workers the same flags and the same files"
            )

    def check_same_variables(self, session: tf1.Session, variables: Sequence[tf.Variable]) -> None:
        """Compare the variables of all workers by their sha256.

        Raises:
            InputError: another worker has different values.
        """
        others = self._unlike(
            session, b"".join(np.ascontiguousarray(each).tobytes() for each in session.run(variables))
        )
        if others:
            self.stop_monitoring()
            raise InputError(
                f"worker {self.index}: its weights differ from those of worker {_listed(others)}; the last finished "
                "epoch is kept: use the same versions and processors, then continue with --resume"
            )

    def _unlike(self, session: tf1.Session, content: bytes) -> list[int]:
        """Return the workers whose content has another sha256 than this one's."""
        mine = np.zeros([self.count, 32], np.float32)
        mine[self.index] = np.frombuffer(hashlib.sha256(content).digest(), np.uint8)
        return [n for n, each in enumerate(self.exchange(session, mine)) if (each != mine[self.index]).any()]

    @contextmanager
    def ending_together(self, session: tf1.Session) -> Iterator[None]:
        """Wait for all workers at the end of the block, unless it ends with an error of this worker."""
        try:
            yield
        except Diverged:
            self.stop_monitoring()
            raise
        except Interrupted:
            self._leave(session)
            raise
        self._leave(session)

    def _leave(self, session: tf1.Session) -> None:
        self.exchange(session, np.zeros(1, np.float32))
        self.stop_monitoring()

    # Monitoring

    def stop_monitoring(self) -> None:
        """Stop monitoring the other workers: training is about to end."""
        self._done.set()

    def _monitor(self, n: int) -> None:
        """End this process when worker n is lost, or has not started within JOIN_SECONDS."""
        answered, missed = False, 0
        started = reminded = time.monotonic()
        while not self._done.wait(CHECK_SECONDS):
            now = time.monotonic()
            if self._answers(n):
                answered, missed = True, 0
            elif answered or self._all_started.is_set():
                missed += 1
                if missed == MISSED:
                    self._end(f"{self._name(n)} {LOST}")
            elif now - started > JOIN_SECONDS:
                self._end(f"{self._name(n)} has not started within {JOIN_SECONDS:.0f} s; start it, then this one again")
            elif now - reminded > REMINDER_SECONDS:
                say(f"still waiting for {self._name(n)}")
                reminded = now

    def _end(self, line: str) -> None:
        """End this process, whatever it waits for, unless all workers are done."""
        with self._ending:  # one line, even if several workers are lost at once
            if not self._done.is_set():
                print(f"graphcnn train: {line}", file=sys.stderr, flush=True)
                os._exit(2)

    def lost(self) -> WorkerLost | None:
        """Return the error for a sum that failed because another worker is lost; None if all answer."""
        self.stop_monitoring()
        silent = (n for n in self._others() if not self._answers(n))
        return next((WorkerLost(n, f"{self._name(n)} {LOST}") for n in silent), None)

    def _others(self) -> list[int]:
        return [n for n in range(self.count) if n != self.index]

    def _name(self, n: int) -> str:
        return f"worker {n} ({self.addresses[n]})"

    def _answers(self, n: int) -> bool:
        """Return whether worker n can be reached; its host name is looked up only until it was reached once."""
        try:
            with socket.create_connection(self._sockets[n], timeout=CHECK_SECONDS) as connection:
                self._sockets[n] = connection.getpeername()[:2]
        except (OSError, ValueError):  # ValueError: not a possible host name
            return False
        return True


def workers_from_environment() -> Workers | None:
    """Return the Workers that TF_CONFIG describes; None without it, or if it names a single worker."""
    text = os.environ.get("TF_CONFIG", "")
    if not text.strip():
        return None
    try:
        config = json.loads(text)
        addresses, task = config["cluster"]["worker"], config.get("task", {})
        job, index = task.get("type", "worker"), task.get("index", 0)
        others = sorted(set(config["cluster"]) - {"worker"})
        if others or job != "worker":
            raise ValueError(f"found {', '.join(others) or job}, expected workers alone")
        if not (isinstance(addresses, list) and all(map(_is_address, addresses))):
            raise ValueError('"worker" is not a list of "host:port"')
        if type(index) is not int or not 0 <= index < len(addresses) or len(set(addresses)) < len(addresses):
            raise ValueError(f"index {index!r} is not one of {len(addresses)} different workers")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        problem = f"{error} is missing" if isinstance(error, KeyError) else error
        form = '{"cluster": {"worker": ["host:port", "host:port"]}, "task": {"type": "worker", "index": 0}}'
        raise InputError(f"TF_CONFIG: {problem}; expected {form}") from None
    return Workers(addresses, index) if len(addresses) > 1 else None


def _is_address(address: object) -> bool:
    return (
        isinstance(address, str) and WORKER.fullmatch(address) is not None and int(address.rpartition(":")[2]) < 1 << 16
    )


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))
