"""Keras 3 on TensorFlow as an implementation of the benchmark, with Sequential, compile and fit."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from graphcnn.benchmark.implementations import KERAS_APPLICATIONS
from graphcnn.benchmark.job import MEAN, SCALE, Job, evaluation_batch_size, images_and_labels, repeat_to, single_layers

if TYPE_CHECKING:
    import keras


class Keras:
    """Trains and evaluates with Keras; bfloat16 means Keras's policy mixed_bfloat16."""

    def __init__(self, job: Job, precision: str) -> None:
        os.environ["KERAS_BACKEND"] = "tensorflow"
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        import keras

        self.keras, self.job = keras, job
        recipe = job.recipe
        if precision != "float32":
            keras.mixed_precision.set_global_policy(f"mixed_{precision}")
        self.images, self.labels = images_and_labels(job)
        self.model = keras.Sequential(self._layers())
        optimizer = {"adam": keras.optimizers.Adam, "sgd": keras.optimizers.SGD}[recipe.optimizer]
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        self.model.compile(optimizer(recipe.learning_rate), loss)
        self.parameters: int | None = sum(int(np.prod(w.shape)) for w in self.model.trainable_weights)
        self.versions = f"Keras {keras.__version__}"
        self.settings = f"{keras.mixed_precision.dtype_policy().name}, fit and predict"

    def _layers(self) -> list[keras.layers.Layer]:
        """Return the layers of the model: normalisation, the net, and a cast of the logits to float32."""
        layers, shape = self.keras.layers, self.images.shape[1:]
        model = [self.keras.Input(shape), layers.Normalization(mean=[MEAN] * 3, variance=[SCALE**2] * 3)]
        if self.job.rows:
            model += [self._layer(kind, options) for kind, options in single_layers(self.job)]
        else:
            net = getattr(self.keras.applications, KERAS_APPLICATIONS[self.job.recipe.net])
            options = {"weights": None, "input_shape": shape, "classes": self.job.classes}
            model.append(net(**options, classifier_activation=None))
        return [*model, layers.Activation("linear", dtype="float32")]

    def _layer(self, kind: str, options: dict[str, Any]) -> keras.layers.Layer:
        """Return the Keras layer of a type; see job.single_layers."""
        layers, l2 = self.keras.layers, self.job.recipe.l2
        penalty = self.keras.regularizers.L2(l2 / 2) if l2 else None  # Keras's L2 lacks the factor 1/2
        if kind in ("conv", "pool"):
            window = {"strides": options["stride"], "padding": options["padding"].lower()}
        match kind:
            case "conv":
                window |= {"use_bias": options["bias"], "kernel_regularizer": penalty}
                return layers.Conv2D(options["filters"], options["size"], **window)
            case "pool":
                return layers.MaxPool2D(options["size"], **window)
            case "norm":
                return layers.BatchNormalization(epsilon=self.job.batch_norm_epsilon, scale=options["scale"])
            case "activation":
                return layers.Activation(options["name"])
            case "global_max_pool":
                return layers.GlobalMaxPool2D()
            case "flatten":
                return layers.Flatten()
            case "dense":
                return layers.Dense(options["units"], use_bias=options["bias"], kernel_regularizer=penalty)
            case "scale":
                return layers.Rescaling(options["factor"])
            case "dropout":
                return layers.Dropout(options["rate"])
        raise ValueError(f"unknown type of layer {kind!r}")

    def _timer(self) -> tuple[list[float], keras.callbacks.Callback]:
        """Return (a list, a callback that appends the time to it at the end of each batch)."""
        ends: list[float] = []

        class Timer(self.keras.callbacks.Callback):  # type: ignore[name-defined]
            def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
                ends.append(time.perf_counter())

            on_predict_batch_end = on_train_batch_end

        return ends, Timer()

    def train(self, steps: int) -> list[float]:
        """Return the seconds of each step inside fit; the start and the end of fit are not timed."""
        ends, timer = self._timer()
        size = self.job.recipe.batch_size
        images, labels = (repeat_to(array, (steps + 1) * size) for array in (self.images, self.labels))
        self.model.fit(images, labels, batch_size=size, verbose=0, callbacks=[timer])
        return np.diff(ends).tolist()

    def evaluate(self, count: int) -> float:
        """Return the seconds for `count` images inside predict; the start and the end of predict are not timed."""
        ends, timer = self._timer()
        size = evaluation_batch_size("keras", self.job.recipe.image_size)
        images = repeat_to(self.images, count + size)
        self.model.predict(images, batch_size=size, verbose=0, callbacks=[timer])
        return ends[-1] - ends[0]
