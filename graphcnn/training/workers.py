"""One training on several machines, by TensorFlow's collectives: who takes part, sums over all, who has gone.

TF_CONFIG is TensorFlow's: {"cluster": {"worker": ["host:port", …]}, "task": {"type": "worker", "index": 0}}. Each task
runs the same command on its part of each batch; task 0 writes. The runtime knows no authentication: private networks.
"""

import hashlib
import json
import os
import re
import signal
import socket
import sys
import threading
import time

import numpy as np

from graphcnn.common.errors import InputError
from graphcnn.common.progress import say
from graphcnn.ops.tf1 import cores, reason, tf, tf1

BUFFER = 8 << 20  # numbers that are summed in one go, at most
BLOCK = 1 << 12  # numbers that tasks exchange at once between steps
ASKED = 2.0  # seconds between two looks at the other tasks
MISSED = 3  # looks in a row without an answer: the task has gone
JOINED = 1800.0  # seconds within which all tasks must have begun; one may have photos to decode first
REMINDED = 60.0  # seconds between two lines about those that have not
GONE = "has gone; the finished epochs are saved: continue all with --resume, also with another number of tasks"
WORKER = re.compile(r"[^\s:/]+:\d{1,5}")


class Cluster:
    """The tasks of a training and this one's place among them.

    addresses: "host:port" of each. index: this one's. count: how many. options: of runs in which all take part.
    asked, stop: float32 [] of the training graph: whether this task is to stop (fed), how many are (after the step).
    """

    def __init__(self, addresses, index):
        self.addresses, self.index, self.count = addresses, index, len(addresses)
        self._graphs = 0  # so far, with a session
        self._keys = 0  # of sums; all tasks build the same graphs, so that a sum has one key
        self.options = self.asked = self.stop = self._server = self._exchange = None
        self._met, self._done, self._ending = threading.Event(), threading.Event(), threading.Lock()
        self._places = [(host, int(port)) for host, _, port in (each.rpartition(":") for each in addresses)]

    @property
    def chief(self):
        """Whether this task writes."""
        return self.index == 0

    def part(self, rows):
        """Return (first, slice) of a batch's rows for this task; `first` is the slice's place in the batch."""
        bounds = np.linspace(0, len(rows), self.count + 1).astype(int)
        return int(bounds[self.index]), rows[bounds[self.index] : bounds[self.index + 1]]

    def check_batches(self, rows, batch_size):
        """Refuse batches of fewer rows than there are tasks."""
        least = min(batch_size, rows, rows % batch_size or batch_size)
        if least < self.count:
            raise InputError(
                f"--batch_size: {rows} training rows in batches of {batch_size} leave one of {least}, fewer than the "
                f"{self.count} tasks; choose another batch size"
            )

    def total(self, tensors):
        """Return the sums over all tasks of float32 tensors, in the current graph, packed into few buffers."""
        flat = [tf.reshape(each, [-1]) for each in tensors]
        sizes = [int(np.prod(each.shape)) for each in tensors]
        found, start = [], 0
        while start < len(flat):
            end, size = start, 0
            while end < len(flat) and (end == start or size + sizes[end] <= BUFFER):
                size, end = size + sizes[end], end + 1
            buffer = self._reduce(tf.concat(flat[start:end], axis=0))
            found += tf.split(buffer, sizes[start:end])
            start = end
        return [tf.reshape(sum_, each.shape) for sum_, each in zip(found, tensors, strict=True)]

    def sum_of_step(self, gradients, loss, cross_entropy, correct):
        """Return the sums over all tasks of a step's gradients and of its three numbers; make `asked` and `stop`."""
        self.asked = tf1.placeholder_with_default(0.0, [], name="asked")
        numbers = tf.stack([loss, cross_entropy, tf.cast(correct, tf.float32), self.asked])
        *gradients, numbers = self.total([*gradients, numbers])
        loss, cross_entropy, correct, self.stop = tf.unstack(numbers)
        return gradients, loss, cross_entropy, tf.cast(correct, tf.int32)

    def sum_with_gradient(self, tensor):
        """Return the sum over all tasks of a float32 tensor whose gradient is such a sum too."""

        @tf.custom_gradient
        def summed(x):
            return self.total([x])[0], lambda dy: self.total([dy])[0]

        return summed(tensor)

    def _reduce(self, tensor):
        self._keys += 1
        return tf.raw_ops.CollectiveReduceV2(
            input=tensor, group_size=self.count, group_key=1, instance_key=self._keys, ordering_token=[],
            merge_op="Add", final_op="Id", communication_hint="ring",
        )  # fmt: skip

    def add_exchange(self):
        """Add to the current graph what `exchange` needs."""
        mine = tf1.placeholder(tf.float32, [BLOCK])  # a sum's shape is always the same
        self._exchange = mine, self._reduce(mine)

    def exchange(self, session, array):
        """Return the sum over all tasks of a float32 array of one shape; all must call it."""
        mine, summed = self._exchange
        flat = np.pad(np.ravel(array), (0, -np.size(array) % BLOCK))
        blocks = [session.run(summed, {mine: block}, self.options) for block in flat.reshape(-1, BLOCK)]
        return np.concatenate(blocks)[: np.size(array)].reshape(np.shape(array))

    def session(self, graph):
        """Return a Session whose operations are this task's; what sums over all is to be run with `options`."""
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
        self.options = tf1.RunOptions()
        self._graphs += 1
        self.options.experimental.collective_graph_key = self._graphs
        return tf1.Session(self._server.target, graph=graph, config=config)

    def meet(self, said):
        """Wait for all tasks; InputError unless all say the same text, which describes what they are about to do.

        From here on this process ends with one line when another task has gone, since a sum would wait for it for ever.
        """
        for n in self._others():
            threading.Thread(target=self._watch, args=[n], daemon=True).start()
        before = signal.signal(signal.SIGINT, signal.SIG_DFL)  # Python would hear Ctrl-C when all are there
        with tf1.Graph().as_default() as graph:
            self.add_exchange()
            with self.session(graph) as session:
                others = self._unlike(session, said.encode())
        signal.signal(signal.SIGINT, before)
        self._met.set()
        if others:
            raise InputError(
                f"TF_CONFIG: task {self.index} has other settings or data than task {_listed(others)}; give all the "
                "same flags and the same files"
            )

    def check_same(self, session, variables):
        """Compare all tasks' variables by their sha256; InputError where they differ."""
        others = self._unlike(
            session, b"".join(np.ascontiguousarray(each).tobytes() for each in session.run(variables))
        )
        if others:
            self.unwatch()
            raise InputError(
                f"task {self.index}: its weights differ from those of task {_listed(others)}; the last finished epoch "
                "is kept: use the same versions and processors, then continue with --resume"
            )

    def _unlike(self, session, content):
        """Return the tasks whose content has another sha256 than this one's."""
        mine = np.zeros([self.count, 32], np.float32)
        mine[self.index] = np.frombuffer(hashlib.sha256(content).digest(), np.uint8)
        return [n for n, each in enumerate(self.exchange(session, mine)) if (each != mine[self.index]).any()]

    def leave(self, session):
        """Wait for all tasks to be done, then look after the others no more."""
        self.exchange(session, np.zeros(1, np.float32))
        self.unwatch()

    def unwatch(self):
        """Look after the other tasks no more: all of them are about to end."""
        self._done.set()

    def _watch(self, n):
        """End this process when task n has gone, or has not begun within JOINED."""
        seen, missed = False, 0
        began = said = time.monotonic()
        while not self._done.wait(ASKED):
            now = time.monotonic()
            if self._answers(n):
                seen, missed = True, 0
            elif seen or self._met.is_set():
                missed += 1
                if missed == MISSED:
                    self._end(f"{self._named(n)} {GONE}")
            elif now - began > JOINED:
                self._end(f"{self._named(n)} has not begun within {JOINED:.0f} s; start it, then this one again")
            elif now - said > REMINDED:
                say(f"still waiting for {self._named(n)}")
                said = now

    def _end(self, line):
        """End this process, whatever it waits for, unless all tasks are done."""
        with self._ending:  # one line, where several tasks have gone at once
            if not self._done.is_set():
                print(f"graphcnn train: {line}", file=sys.stderr, flush=True)
                os._exit(2)

    def lost(self):
        """Return what to say where a sum failed because another task has gone; None where all are there."""
        self.unwatch()
        return next((f"{self._named(n)} {GONE}" for n in self._others() if not self._answers(n)), None)

    def _others(self):
        return [n for n in range(self.count) if n != self.index]

    def _named(self, n):
        return f"task {n} ({self.addresses[n]})"

    def _answers(self, n):
        """Return whether task n can be reached; its name is looked up until it was once, for that may take long."""
        try:
            with socket.create_connection(self._places[n], timeout=ASKED) as found:
                self._places[n] = found.getpeername()[:2]
        except (OSError, ValueError):  # ValueError: a name that cannot be one
            return False
        return True


def _is_address(said):
    return isinstance(said, str) and WORKER.fullmatch(said) is not None and int(said.rpartition(":")[2]) < 1 << 16


def _listed(numbers):
    return ", ".join(map(str, numbers))


def from_environment():
    """Return the Cluster that TF_CONFIG describes, None without it or where it names one task."""
    text = os.environ.get("TF_CONFIG", "")
    if not text.strip():
        return None
    try:
        said = json.loads(text)
        workers, task = said["cluster"]["worker"], said.get("task", {})
        kind, index = task.get("type", "worker"), task.get("index", 0)
        others = sorted(set(said["cluster"]) - {"worker"})
        if others or kind != "worker":
            raise ValueError(f"found {', '.join(others) or kind}, expected workers alone")
        if not (isinstance(workers, list) and all(map(_is_address, workers))):
            raise ValueError('"worker" is not a list of "host:port"')
        if type(index) is not int or not 0 <= index < len(workers) or len(set(workers)) < len(workers):
            raise ValueError(f"task {index!r} is none of {len(workers)} different workers")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        what = f"no {error}" if isinstance(error, KeyError) else error
        form = '{"cluster": {"worker": ["host:port", "host:port"]}, "task": {"type": "worker", "index": 0}}'
        raise InputError(f"TF_CONFIG: {what}; expected {form}") from None
    return Cluster(workers, index) if len(workers) > 1 else None
