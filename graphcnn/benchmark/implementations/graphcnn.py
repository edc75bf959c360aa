"""graphcnn as an implementation of the benchmark, with the graph, session, batches and fetches of train and eval."""

from __future__ import annotations

import dataclasses
import time

import numpy as np

from graphcnn.benchmark.job import (
    MEAN,
    PLANNED_STEPS,
    SCALE,
    Job,
    batch_slice,
    images_and_labels,
    repeat_to,
    time_steps,
)
from graphcnn.data import batches
from graphcnn.evaluation import predictor
from graphcnn.graphs.inference import build_inference
from graphcnn.graphs.training import build_training
from graphcnn.ops.tf1 import session, tf, tf1


class Graphcnn:
    """Trains and evaluates with graphcnn; `precision` is the precision of convolutions and matrix products."""

    def __init__(self, job: Job, precision: str) -> None:
        self.job = job
        self.images, self.labels = images_and_labels(job)
        self.recipe = dataclasses.replace(job.recipe, precision=precision)
        shape = self.images.shape[1:3]
        statistics = np.full(3, MEAN), np.full(3, SCALE)
        self.graph = build_training(self.recipe, shape, job.classes, statistics, PLANNED_STEPS)
        self.session = session(self.graph.graph)
        self.session.run(self.graph.initialize)
        self.parameters: int | None = None  # contest.run counts them in its own graph
        self.versions = f"TensorFlow {tf.__version__}"
        self.settings = f"{precision}, one inter-op thread, {self.recipe.optimizer}"
        self.step = 0
        self.inference: tuple | None = None

    def train(self, steps: int) -> list[float]:
        """Return the seconds of each step, after one step that is not timed, as in the other implementations."""
        slices = (batch_slice(self.job, step) for step in range(self.step, self.step + steps + 1))
        self.step += steps + 1
        return time_steps(batches.prefetch(map(self._batch, slices)), self._train_step)[1:]

    def _batch(self, rows: slice) -> tuple[np.ndarray, np.ndarray]:
        return batches.as_rgb(self.images[rows]), self.labels[rows]

    def _train_step(self, images: np.ndarray, labels: np.ndarray) -> None:
        graph, keep_prob = self.graph, self.recipe.keep_prob
        feed = {graph.x: images, graph.y: labels, graph.keep_prob: keep_prob}
        self.session.run([graph.loss, graph.cross_entropy, graph.correct, graph.train_op], feed)

    def evaluate(self, count: int) -> float:
        """Return the seconds for computing the softmax outputs of `count` images."""
        images = repeat_to(self.images, count)
        if self.inference is None:
            self.inference = self._open_inference()
        opened, built = self.inference
        start = time.perf_counter()
        predictor.probabilities(opened, built, images)
        return time.perf_counter() - start

    def _open_inference(self) -> tuple:
        """Return (session, inference graph) with random weights; the values of weights do not change the speed."""
        shape = self.images.shape[1:3]
        built = build_inference(self.recipe, shape, self.job.classes, self.recipe.precision)
        with built.graph.as_default():
            init = tf1.global_variables_initializer()
        opened = session(built.graph)
        opened.run(init)
        return opened, built
