"""Distributed training with TensorFlow's collectives: sums over all workers, and detection of lost workers.

The environment variable TF_CONFIG has TensorFlow's format: {"cluster": {"worker": ["host:port", …]}, "task": {"type":
"worker", "index": 0}}. Each worker runs the same command on its slice of each batch. Worker 0, the chief, writes the
run. TensorFlow's server has no authentication: use private networks only.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from graphcnn.common.errors import Diverged, InputError, Interrupted, WorkerLost
from graphcnn.common.processors import cores
from graphcnn.common.progress import say
from graphcnn.common.signals import end_now
from graphcnn.ops.tf1 import reason, tf, tf1
from graphcnn.training import heartbeat

BUFFER = 8 << 20  # largest number of float32 values that one collective sums
BLOCK = 1 << 12  # number of float32 values in one collective of `exchange`
CHECK_SECONDS = 2.0  # between two checks of another worker
ANSWER_SECONDS = 5.0  # limit for the answer to a check
MISSED = 3  # a worker counts as lost after this number of consecutive checks without an answer
WAIT_SECONDS = 1800.0  # limit for a sum over all workers; the first sum waits until all workers have started
REMINDER_SECONDS = 60.0  # between two messages about workers that have not started
RESUME = "the finished epochs are saved: continue on all workers with --resume. The number of workers may change"
WORKER = re.compile(r"[^\s:/]+:\d{1,5}")


class Workers:
    """The workers of a training, as one of them sees them.

    Args:
        addresses: "host:port" of each worker.
        index: index of this worker.

    Attributes:
        count: number of workers.
        stop_request: float32 [] of the training graph; feed 1 if this worker has been asked to stop.
        stop_requests: float32 [], the number of workers that have been asked to stop.
    """

    def __init__(self, addresses: Sequence[str], index: int) -> None:
        self.addresses, self.index, self.count = list(addresses), index, len(addresses)
        self._graphs = 0  # number of graphs with a session so far
        self._keys = (
            0  # number of collectives so far; it is the same on all workers, because they build the same graphs
        )
        self._run_options: Any = None
        self.stop_request: tf.Tensor = None
        self.stop_requests: tf.Tensor = None
        self._server: Any = None
        self._exchange: tuple[tf.Tensor, tf.Tensor] | None = None
        self._all_started, self._done, self._ending = threading.Event(), threading.Event(), threading.Lock()
        self._sockets = [(host, int(port)) for host, _, port in (address.rpartition(":") for address in addresses)]
        self._answered = [False] * self.count  # whether each worker has answered a check
        self._missed = [0] * self.count  # number of consecutive checks that each worker has not answered
        self._runs = 0  # number of calls of `run`
        self._running = False  # whether a call of `run` has not returned

    @property
    def chief(self) -> bool:
        """Whether this worker writes the run."""
        return self.index == 0

    def slice_of(self, rows: np.ndarray) -> tuple[int, np.ndarray]:
        """Return (position of the first image in the batch, image indices) of this worker's slice of a batch."""
        bounds = np.linspace(0, len(rows), self.count + 1).astype(int)
        return int(bounds[self.index]), rows[bounds[self.index] : bounds[self.index + 1]]

    # Sums over all workers

    def sum(self, tensors: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """Return the sums over all workers of float32 tensors of the current graph; a collective sums many tensors."""
        flat = [tf.reshape(tensor, [-1]) for tensor in tensors]
        sizes = [int(np.prod(tensor.shape)) for tensor in tensors]
        sums: list[tf.Tensor] = []
        start = 0
        while start < len(flat):
            end, size = start, 0
            while end < len(flat) and (end == start or size + sizes[end] <= BUFFER):
                size, end = size + sizes[end], end + 1
            buffer = self._reduce(tf.concat(flat[start:end], axis=0))
            sums += tf.split(buffer, sizes[start:end])
            start = end
        return [tf.reshape(total, tensor.shape) for total, tensor in zip(sums, tensors, strict=True)]

    def sum_of_step(
        self, gradients: Sequence[tf.Tensor], loss: tf.Tensor, cross_entropy: tf.Tensor, correct: tf.Tensor
    ) -> tuple[list[tf.Tensor], tf.Tensor, tf.Tensor, tf.Tensor]:
        """Return the sums over all workers of a step's gradients, loss, cross-entropy and correct predictions.

        It also creates the tensors stop_request and stop_requests.

        Args:
            gradients: gradient of each weight, float32.
            loss, cross_entropy: float32 [].
            correct: number of correct predictions, int32 [].
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
        """Add the collective of `exchange` to the current graph."""
        mine = tf1.placeholder(tf.float32, [BLOCK])  # the shape of a collective is fixed
        self._exchange = mine, self._reduce(mine)

    def exchange(self, session: tf1.Session, array: np.ndarray) -> np.ndarray:
        """Return the sum of a float32 array over all workers; each worker must call it with the same shape."""
        assert self._exchange is not None
        mine, total = self._exchange
        flat = np.pad(np.ravel(array), (0, -np.size(array) % BLOCK))
        blocks = [self.run(session, total, {mine: block}) for block in flat.reshape(-1, BLOCK)]
        return np.concatenate(blocks)[: np.size(array)].reshape(np.shape(array))

    def run(self, session: tf1.Session, fetches: Any, feed: dict[tf.Tensor, Any]) -> Any:
        """Return session.run(fetches, feed) for tensors that need a sum over all workers.

        Raises:
            WorkerLost: the sum failed because another worker is lost.
        """
        self._runs, self._running = self._runs + 1, True
        try:
            return session.run(fetches, feed, self._run_options)
        except tf.errors.OpError as error:
            lost = self._lost()
            if lost is None:
                raise
            raise lost from error
        finally:
            self._running = False

    def session(self, graph: tf1.Graph) -> tf1.Session:
        """Return a Session that runs on this worker; sums over all workers need Workers.run."""
        config = tf1.ConfigProto(
            inter_op_parallelism_threads=1,
            intra_op_parallelism_threads=cores(),
            device_count={"GPU": 0},
            device_filters=[f"/job:worker/task:{self.index}"],
        )
        # A session on a server would fuse convolution, bias and ReLU, but TensorFlow lacks a bfloat16 kernel for it
        rewrites = config.graph_options.rewrite_options
        rewrites.remapping = rewrites.OFF
        config.experimental.collective_group_leader = "/job:worker/replica:0/task:0"
        if self._server is None:
            try:
                spec = tf1.train.ClusterSpec({"worker": self.addresses})
                self._server = tf1.train.Server(spec, job_name="worker", task_index=self.index, config=config)
            except tf.errors.OpError as error:
                address = self.addresses[self.index]
                raise InputError(
                    f"TF_CONFIG: this worker cannot listen on {address} ({reason(error)}); use an address of this "
                    "machine with a free port"
                ) from None
        self._run_options = tf1.RunOptions()
        self._graphs += 1
        self._run_options.experimental.collective_graph_key = self._graphs
        return tf1.Session(self._server.target, graph=graph, config=config)

    # Agreement between workers

    def join(self, job: str) -> None:
        """Wait for all workers, and start to monitor them.

        From now on, this process ends with an error message if another worker is lost, or if a sum over all workers
        takes longer than WAIT_SECONDS. Without this, a sum would wait forever.

        Args:
            job: text that describes the training of this worker.

        Raises:
            InputError: the text of another worker differs.
            WorkerLost: another worker started, and ended before all workers had started.
        """
        for n in self._others():
            threading.Thread(target=self._monitor, args=[n], daemon=True).start()
        threading.Thread(target=self._watch_sums, daemon=True).start()
        # Python's own handler would run only after all workers have started
        before = signal.signal(signal.SIGINT, signal.SIG_DFL)
        try:
            with tf1.Graph().as_default() as graph:
                self.add_exchange()
                with self.session(graph) as session:
                    others = self._unlike(session, job.encode())
        finally:
            signal.signal(signal.SIGINT, before)
        self._all_started.set()
        if others:
            raise InputError(
                f"TF_CONFIG: worker {self.index} has different settings or data than worker {_listed(others)}; give "
                "all workers the same flags and the same files"
            )

    def check_same_variables(self, session: tf1.Session, variables: Sequence[tf.Variable]) -> None:
        """Compare the sha256 of all variables between the workers.

        Raises:
            InputError: the values of another worker differ.
        """
        others = self._unlike(
            session, b"".join(np.ascontiguousarray(each).tobytes() for each in session.run(variables))
        )
        if others:
            self.stop_monitoring()
            raise InputError(
                f"worker {self.index}: its weights differ from those of worker {_listed(others)}, but the last "
                "finished epoch is saved; use the same software versions and processors, then continue with --resume"
            )

    def _unlike(self, session: tf1.Session, content: bytes) -> list[int]:
        """Return the indices of the workers whose content has a different sha256 than this worker's content."""
        mine = np.zeros([self.count, 32], np.float32)
        mine[self.index] = np.frombuffer(hashlib.sha256(content).digest(), np.uint8)
        digests = self.exchange(session, mine)
        return [n for n, digest in enumerate(digests) if (digest != mine[self.index]).any()]

    @contextmanager
    def ending_together(self, session: tf1.Session) -> Iterator[None]:
        """Wait for all workers at the end of the block, unless this worker had an error."""
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
        """End this process if worker n misses MISSED consecutive checks after its start."""
        while not self._done.wait(CHECK_SECONDS):
            if self._answers(n):
                self._answered[n], self._missed[n] = True, 0
            elif self._answered[n] or self._all_started.is_set():
                self._missed[n] += 1
                if self._missed[n] == MISSED:
                    self._end(f"{self._names([n])} is lost; {RESUME}")

    def _watch_sums(self) -> None:
        """End this process if a sum over all workers takes longer than WAIT_SECONDS.

        The option timeout_seconds of TensorFlow's collectives keeps a thread for each sum until the time is over, so
        it is not used. The time is counted in checks, so it does not include the time in which this process is stopped.
        """
        seconds, reminded, last = 0.0, 0.0, 0
        while not self._done.wait(CHECK_SECONDS):
            if not self._running or self._runs != last:
                seconds, reminded, last = 0.0, 0.0, self._runs
                continue
            seconds += CHECK_SECONDS
            absent = [n for n in self._others() if not self._answered[n]]
            if seconds >= WAIT_SECONDS:
                self._end(self._too_long(absent))
            elif not self._all_started.is_set() and seconds - reminded >= REMINDER_SECONDS:
                say(f"still waiting for {self._names(absent) or 'the other workers, which answer'}")
                reminded = seconds

    def _too_long(self, absent: Sequence[int]) -> str:
        """Return the error message after WAIT_SECONDS; absent: workers that have never answered."""
        time_limit = f"within {WAIT_SECONDS:.0f} s"
        if self._all_started.is_set():
            return (
                f"worker {self.index}: the sum over all workers was not ready {time_limit}, although all workers "
                f"answer; one of them hangs or is too slow; {RESUME}"
            )
        if absent:
            verb = "has" if len(absent) == 1 else "have"
            return f"{self._names(absent)} {verb} not started {time_limit}; start all workers again"
        return (
            f"TF_CONFIG: all workers answer, but they have not started together {time_limit}; give all workers the "
            "same list of addresses, and start all of them again"
        )

    def _end(self, line: str) -> None:
        """Print an error message and end this process, unless training is about to end."""
        with self._ending:  # one message, even if several workers are lost at once
            if not self._done.is_set():
                end_now(2, f"graphcnn train: {line}")

    def _lost(self) -> WorkerLost | None:
        """Return the error for a failed sum if another worker is lost; None if all workers answer."""
        self.stop_monitoring()
        silent = [n for n in self._others() if not self._answers(n)]
        if not silent:
            return None
        # The first workers that notice a lost worker end too. The lost worker has missed more checks than they have
        n = max(silent, key=lambda n: self._missed[n])
        return WorkerLost(n, f"{self._names([n])} is lost; {RESUME}")

    def _others(self) -> list[int]:
        return [n for n in range(self.count) if n != self.index]

    def _names(self, numbers: Sequence[int]) -> str:
        return ", ".join(f"worker {n} ({self.addresses[n]})" for n in numbers)

    def _answers(self, n: int) -> bool:
        """Return whether worker n answers a check; its host name is looked up until the first success."""
        address = heartbeat.ask(self._sockets[n], ANSWER_SECONDS)
        self._sockets[n] = address or self._sockets[n]
        return address is not None


def workers_from_environment() -> Workers | None:
    """Return the Workers that TF_CONFIG describes; None if it is not set or names a single worker."""
    text = os.environ.get("TF_CONFIG", "")
    if not text.strip():
        return None
    try:
        config = json.loads(text)
        addresses, task = config["cluster"]["worker"], config.get("task", {})
        job, index = task.get("type", "worker"), task.get("index", 0)
        others = sorted(set(config["cluster"]) - {"worker"})
        if others or job != "worker":
            raise ValueError(f"found {', '.join(others) or job}, expected workers only")
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
