"""The stages of training. A stage decides the batches, the number of epochs and the frozen layers; it has a session.

A run has one stage. A run with fine-tuning has two stages: layers are frozen in the first one and none in the second.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from graphcnn.common.errors import Diverged
from graphcnn.common.progress import bar, say, say_if_slow
from graphcnn.config.recipe import PREPROCESSING, Recipe
from graphcnn.data import batches
from graphcnn.data.dataset import Dataset
from graphcnn.data.statistics import channel_statistics, whitening_filters
from graphcnn.evaluation import metrics, predictor
from graphcnn.graphs.inference import count_parameters
from graphcnn.graphs.training import TrainingGraph, build_training
from graphcnn.ops.tf1 import session as new_session
from graphcnn.ops.tf1 import tf1
from graphcnn.storage import checkpoint
from graphcnn.storage.recorded_data import RecordedData
from graphcnn.training import augment, features
from graphcnn.training.early_stopping import EarlyStopping
from graphcnn.training.recorder import OpenSession, Recorder
from graphcnn.training.state import TrainingState
from graphcnn.training.steps import AllReduceStep, Batch, MicroBatchStep, Step, WholeStep
from graphcnn.training.workers import Workers

WHITENING_IMAGES = 5000  # largest number of training images for computing the whitening layer's filters


class DevScores(NamedTuple):
    """Scores on the whole dev split, cross_entropy in nats; all of them are None without a dev split."""

    macro_f1: float | None
    accuracy: float | None
    cross_entropy: float | None


@dataclass(frozen=True)
class TrainingJob:
    """The inputs of one training.

    Args:
        recipe: all settings.
        data: images, labels and the dev split; without a dev split the last epoch counts as the best one.
        initial_weights: {variable name: array}; all other variables get random initial values.
        cache_dir: folder for the features of a frozen backbone; None for the default folder.
        workers: the workers that train together; None for one process.
        class_weights: weight of each class in the loss, float64 [K]; None for equal weights.
    """

    recipe: Recipe
    data: RecordedData
    initial_weights: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    cache_dir: str | None = None
    workers: Workers | None = None
    class_weights: np.ndarray | None = None

    @property
    def dataset(self) -> Dataset:
        """The images and labels."""
        return self.data.dataset

    @property
    def train_rows(self) -> np.ndarray:
        """The indices of the training images, int64."""
        return self.data.train_rows

    def stages(self) -> list[Stage]:
        """Return the stages in the order of training."""
        if not self.recipe.finetune_epochs:
            return [Stage(self, self.recipe)]
        return [Stage(self, self.recipe), FineTuningStage(self, self.recipe.finetuning())]


@dataclass(frozen=True)
class Stage:
    """The only stage of a run, or the stage before fine-tuning.

    Args:
        job: inputs of the training.
        recipe: the settings of this stage.
    """

    job: TrainingJob
    recipe: Recipe
    learning_rate_setting = "learning_rate"

    def is_done(self, state: TrainingState) -> bool:
        """Return whether a later stage has begun."""
        return state.frozen_epochs is not None

    def epochs_before(self, state: TrainingState) -> int:
        """Return the number of epochs before this stage."""
        return 0

    def last_epoch(self, state: TrainingState) -> int:
        """Return the number of this stage's last epoch."""
        return self.epochs_before(state) + self.recipe.epochs

    def epochs(self, state: TrainingState) -> range:
        """Return the numbers of the epochs that are still to be trained."""
        return range(state.epoch + 1, 1 + (state.epoch if state.stopped_early else self.last_epoch(state)))

    def continues(self, state: TrainingState) -> bool:
        """Return whether the run stopped early, but has epochs left with the patience of --resume."""
        patient = state.stopping["worse_in_a_row"] <= self.recipe.patience
        return state.stopped_early and patient and state.epoch < self.last_epoch(state)

    def begun(self, state: TrainingState) -> bool:
        """Return whether the run's `last` checkpoint belongs to this stage."""
        return state.epoch > self.epochs_before(state)

    def initial_weights(self, recorder: Recorder, state: TrainingState) -> Mapping[str, np.ndarray]:
        """Return the weights that the stage starts with, {variable name: array}."""
        return self.job.initial_weights

    def early_stopping(self, state: TrainingState) -> EarlyStopping:
        """Return the early stopping of this stage in its state after the last finished epoch."""
        mode = "min" if self.recipe.stop_on == "loss" else "max"
        early_stopping = EarlyStopping(patience=self.recipe.patience, verbose=1, mode=mode)
        if self.begun(state):
            early_stopping.restore(state.stopping)
        return early_stopping

    def stops(self, early_stopping: EarlyStopping, loss: float, dev: DevScores) -> bool:
        """Return whether early stopping ends the stage after an epoch; loss: sum over the epoch's batches."""
        value = {"loss": loss, "dev_macro_f1": dev.macro_f1}.get(self.recipe.stop_on)
        return value is not None and early_stopping.validate(value)

    def close(self, state: TrainingState) -> TrainingState:
        """Return the state after an epoch; set frozen_epochs if fine-tuning follows this epoch."""
        if self.recipe.finetune_epochs and (state.stopped_early or state.epoch == self.last_epoch(state)):
            return dataclasses.replace(state, frozen_epochs=state.epoch, stopped_early=False)
        return state

    def is_over(self, state: TrainingState) -> bool:
        """Return whether no epoch of this stage follows the state's epoch."""
        return state.stopped_early or state.epoch in (state.frozen_epochs, self.last_epoch(state))

    def diverged(self, state: TrainingState, epoch: int, cause: str) -> Diverged:
        """Return the error for an epoch that diverged.

        Args:
            state: the state after the last finished epoch.
            epoch: number of the epoch that diverged.
            cause: start of the message, such as "a weight is not finite".
        """
        recipe = self.recipe
        saved = f"the checkpoint of epoch {state.epoch} is kept" if state.epoch else "no epoch was saved"
        muon = f", a lower {{muon_learning_rate}} (now {recipe.muon_learning_rate:g})"
        return Diverged(
            epoch,
            f"{cause}; training stopped and {saved}; start a new run with a lower {{{self.learning_rate_setting}}} "
            f"(now {recipe.learning_rate:g}){muon if recipe.optimizer == 'muon' else ''}, more {{warmup_steps}} (now "
            f"{recipe.warmup_steps}) or {{normalisation}}=standardize",
        )

    @contextmanager
    def open(self, recorder: Recorder, state: TrainingState) -> Iterator[OpenStage]:
        """Build the graph and open a session in the given state; close both at the end of the block."""
        job = self.job
        graph = self._build(job)
        workers = job.workers
        session = workers.session(graph.graph) if workers else new_session(graph.graph)
        say(f"net: {self.recipe.net}, {count_parameters(graph):,} parameters, seed {self.recipe.seed}")
        self._say_long_warmup(state)
        with session:
            stage = OpenStage(self, graph, session, recorder, state)
            together: AbstractContextManager[None] = workers.ending_together(session) if workers else nullcontext()
            if workers:
                workers.check_same_variables(session, stage.variables)
            with recorder.recording(), together:
                yield stage

    def steps_per_epoch(self) -> int:
        """Return the number of updates in an epoch."""
        return math.ceil(len(self.job.train_rows) / self.recipe.batch_size)

    def total_steps(self) -> int:
        """Return the number of updates in all epochs of this stage."""
        return self.recipe.epochs * self.steps_per_epoch()

    def _say_long_warmup(self, state: TrainingState) -> None:
        """Say that the learning rate does not rise to its full value, if the stage has epochs left and is too short."""
        steps, warmup = self.total_steps(), self.recipe.warmup_steps
        if self.epochs(state) and steps < warmup:
            say(
                f"warm-up: it takes {warmup:,} steps, but all epochs together have only {steps:,} steps, so the "
                f"learning rate rises to {steps / warmup:.2g} of --{self.learning_rate_setting} at most; lower "
                "--warmup_steps or train for more epochs"
            )

    def _build(self, job: TrainingJob) -> TrainingGraph:
        statistics = input_statistics(self.recipe, job.dataset, job.train_rows)
        shape, classes = job.dataset.image_shape, job.dataset.classes
        largest_batch = min(self.recipe.batch_size, len(job.train_rows))
        return build_training(
            self.recipe,
            shape,
            classes,
            statistics,
            self.total_steps(),
            job.workers,
            largest_batch,
            job.class_weights,
        )


class FineTuningStage(Stage):
    """The second stage: it trains the whole net, and starts from the weights of the best epoch so far."""

    learning_rate_setting = "finetune_learning_rate"

    def is_done(self, state: TrainingState) -> bool:
        """Return False: no stage comes after this one."""
        return False

    def epochs_before(self, state: TrainingState) -> int:
        """Return the number of epochs of the stage with frozen layers."""
        assert state.frozen_epochs is not None
        return state.frozen_epochs

    def initial_weights(self, recorder: Recorder, state: TrainingState) -> Mapping[str, np.ndarray]:
        """Return the weights of the best epoch so far."""
        recorder.publish(state)
        say(
            f"fine-tuning of all layers, from the weights of epoch {state.best_epoch}, with learning rate "
            f"{self.recipe.learning_rate:g}"
        )
        return recorder.best_weights()

    def close(self, state: TrainingState) -> TrainingState:
        """Return the state after an epoch; a first stage that stopped early makes the run count as stopped early."""
        if state.epoch == self.last_epoch(state):
            early = self.epochs_before(state) < self.job.recipe.epochs
            return dataclasses.replace(state, stopped_early=state.stopped_early or early)
        return state


class OpenStage:
    """A stage with its graph and session: it makes batches, runs steps and scores the dev split.

    Attributes:
        state: the state that the session starts from.
        graph: the finalised training graph.
        session: session of the graph.
        variables: all variables of a checkpoint.
        opened: the session with what saves and restores the variables.
        training_seconds: seconds of training so far, without dev passes and saving.
    """

    def __init__(
        self, stage: Stage, graph: TrainingGraph, session: tf1.Session, recorder: Recorder, state: TrainingState
    ) -> None:
        """Restore the `last` checkpoint into the session if it belongs to this stage, else load initial weights."""
        self.stage, self.state, self.job = stage, state, stage.job
        self.graph, self.session = graph, session
        with graph.graph.as_default():
            self.variables = tf1.global_variables()
            self.opened = OpenSession(session, checkpoint.saver(self.variables), self.variables)
        graph.graph.finalize()
        self.training_seconds = recorder.training_seconds()
        self.steps_before = recorder.steps_after(stage.epochs_before(state))
        self.feature_views: list[np.ndarray] = []
        not_trained = state.epoch == 0 and recorder.has_checkpoint  # a run with epochs=0 is saved as epoch 0
        if stage.begun(state) or not_trained:
            recorder.restore(self.opened, state)
            if stage.continues(state):
                self.state = dataclasses.replace(state, stopped_early=False)
                recorder.save_again(self.opened, self.state)
        else:
            self._start(recorder, state)
        self.feature_views = self._cached_features()
        self.step = self._step()

    def _start(self, recorder: Recorder, state: TrainingState) -> None:
        """Initialise the variables, then assign the initial weights and the whitening layer's filters."""
        weights = self.stage.initial_weights(recorder, state)
        names = {variable.op.name for variable in self.graph.variables}
        weights = {name: value for name, value in weights.items() if name in names}
        with say_if_slow("initialising the weights"):
            self.session.run(self.graph.initialize)
            checkpoint.assign(self.session, self.variables, weights)
        if "whitening/w" not in weights:
            self._whiten()
        if self.stage.last_epoch(state) == 0:  # the run has no epochs, so it consists of its initial weights
            self.state = dataclasses.replace(state, best_score=self.evaluate_dev().macro_f1)
            self.job.dataset.check_unchanged()
            recorder.save_initial_weights(self.opened, self.state)

    def _whiten(self) -> None:
        """Compute the filters of a whitening layer from training images, if the net has one."""
        if self.graph.whitening_filters is None:
            return
        started, recipe, dataset = time.monotonic(), self.stage.recipe, self.job.dataset
        rows = np.random.default_rng([recipe.seed, 0]).permutation(self.job.train_rows)[:WHITENING_IMAGES]
        slices = batches.in_order(np.sort(rows), batches.chunk_size(dataset.image_shape))
        images = (
            self.session.run(self.graph.images, {self.graph.x: batches.as_rgb(dataset.x_train[rows])})
            for rows in slices
        )
        filters = whitening_filters(images, recipe.whitening_patch_size)
        initializer = self.graph.whitening_filters.initializer
        self.session.run(initializer, {initializer.inputs[1]: filters})
        self.training_seconds += time.monotonic() - started

    def _cached_features(self) -> list[np.ndarray]:
        """Return the cached features of a frozen backbone, one array for each view; [] if no backbone is frozen."""
        if self.stage.recipe.freeze != "backbone" or not self.stage.epochs(self.state):
            return []
        started, job = time.monotonic(), self.job
        backbone = features.Backbone(self.session, self.graph, self.stage.recipe, job.dataset, job.train_rows)
        views = features.cached(backbone, job.cache_dir)
        self.training_seconds += time.monotonic() - started
        return views

    def _step(self) -> Step:
        inputs = self.graph.features if self.feature_views else self.graph.x
        arguments = (self.session, self.graph, inputs, self.stage.recipe.keep_prob)
        if self.job.workers:
            return AllReduceStep(*arguments, self.job.workers)
        if self.stage.recipe.micro_batch:
            return MicroBatchStep(*arguments, self.stage.recipe.micro_batch)
        return WholeStep(*arguments)

    def batches(self, epoch: int) -> Iterator[Batch]:
        """Yield this process's slices of an epoch's batches."""
        recipe, dataset = self.stage.recipe, self.job.dataset
        order = np.random.default_rng([recipe.seed, epoch])
        inputs = self._inputs(epoch)
        for rows in self._shuffled(order):
            for first, indices in self.step.slices(rows):
                yield Batch(inputs(indices), dataset.y_train[indices], first, len(rows))

    def _shuffled(self, generator: np.random.Generator) -> Iterator[np.ndarray]:
        """Yield the image indices of each batch of an epoch."""
        recipe, rows = self.stage.recipe, self.job.train_rows
        if recipe.sampling == "balanced":
            drawn = batches.balanced(rows, self.job.dataset.y_train[rows], generator)
            return batches.in_order(drawn, recipe.batch_size)
        return batches.shuffled(rows, recipe.batch_size, generator)

    def _inputs(self, epoch: int) -> Callable[[np.ndarray], np.ndarray]:
        """Return a function from image indices to the values to feed: cached features, or augmented images."""
        recipe, dataset = self.stage.recipe, self.job.dataset
        if self.feature_views:
            features_of_view = self.feature_views[(epoch - 1) % len(self.feature_views)]
            return lambda rows: features_of_view[rows]
        parameters = augment.draw_parameters(recipe, len(dataset.y_train), epoch)
        return lambda rows: training_images(recipe, dataset, rows, parameters[rows])

    def weights_are_finite(self) -> bool:
        """Return whether no weight is NaN or infinite."""
        return bool(self.session.run(self.graph.finite))

    def steps_done(self) -> int:
        """Return the number of updates so far, in all stages."""
        return self.steps_before + int(self.session.run(self.graph.step))

    def evaluate_dev(self) -> DevScores:
        """Return the scores on the dev split; each worker computes the softmax outputs of one slice."""
        dataset, rows, workers = self.job.dataset, self.job.data.dev_rows, self.job.workers
        if not len(rows):
            return DevScores(None, None, None)
        dataset.check_unchanged()
        views = self.feature_views
        images, features = (views[0], self.graph.features) if views else (dataset.x_train, None)
        first, own = workers.slice_of(rows) if workers else (0, rows)
        softmax = np.zeros([len(rows), dataset.classes], np.float32)
        if len(own):
            with bar("dev", len(own)) as advance:
                softmax[first : first + len(own)] = predictor.probabilities(
                    self.session, self.graph, images, rows=own, advance=advance, features=features
                )
        softmax = workers.exchange(self.session, softmax) if workers else softmax
        scores = metrics.summary(dataset.y_train[rows], softmax)
        return DevScores(scores["macro_f1"], scores["accuracy"], scores["cross_entropy"])

    def check(self) -> None:
        """Refuse to save an epoch if the data changed during training, or if the workers' variables differ."""
        self.job.dataset.check_unchanged()
        if self.job.workers:
            self.job.workers.check_same_variables(self.session, self.variables)

    def stops_between_epochs(self, stop_requested: int) -> bool:
        """Return whether a stop request ends the training after an epoch; several workers stop only within a step."""
        return bool(stop_requested) and self.job.workers is None


def training_images(recipe: Recipe, dataset: Dataset, rows: np.ndarray, parameters: np.ndarray) -> np.ndarray:
    """Return augmented training images, float32 [N, H, W, 3] in raw units.

    Args:
        recipe, dataset: settings and data of the training.
        rows: indices of the images, int64 [N].
        parameters: augmentation parameters of these images, PARAMETERS [N].
    """
    dataset.check_unchanged()  # reading a shortened memory-mapped file beyond its end is a bus error
    return augment.augmented(dataset.x_train[rows], recipe, parameters, dataset.pixel_max)


def input_statistics(recipe: Recipe, dataset: Dataset, train_rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (mean [3], scale [3]) in raw units for the recipe's normalisation; "standardize" uses training images."""
    if recipe.normalisation == "standardize":
        with bar("statistics", len(train_rows)) as advance:
            return channel_statistics(dataset.x_train, train_rows, advance)
    if recipe.normalisation in PREPROCESSING:
        mean, scale = (np.array(values) * dataset.pixel_max / 255 for values in PREPROCESSING[recipe.normalisation])
        return mean, scale
    largest = {"unit": 1, "bytes": 255}.get(recipe.normalisation, dataset.pixel_max)
    return np.zeros(3), np.full(3, dataset.pixel_max / largest)
