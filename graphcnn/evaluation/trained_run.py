"""Trained runs, for prediction with their best checkpoints."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from graphcnn.common.errors import InputError, SettingError
from graphcnn.common.progress import say
from graphcnn.config.parse import recipe_from_dict
from graphcnn.config.recipe import Recipe
from graphcnn.evaluation.net import Net
from graphcnn.evaluation.predictor import Predictor, open_predictor
from graphcnn.graphs.inference import InferenceGraph, build_inference
from graphcnn.graphs.validate import validate_inference
from graphcnn.ops.tf1 import tf1
from graphcnn.storage import checkpoint
from graphcnn.storage.calibration import Calibration, check_checkpoint, read_calibration
from graphcnn.storage.recorded_data import recorded_options
from graphcnn.storage.run import Run


class TrainedRun(Net):
    """A run with a trained checkpoint.

    Attributes:
        run: folder of the run.
        config: content of its config.json.
        recipe: the recipe of its training.
        first_label: see Dataset.first_label.
        calibration: what use_calibration has read; None before.
    """

    calibration: Calibration | None = None

    def __init__(self, run: Run) -> None:
        self.run = run
        self.config: dict[str, Any] = run.config()
        self.recipe: Recipe = recipe_from_dict(self.config["recipe"], run.config_path)
        self.name = run.name
        self.class_names = self.config["class_names"]
        height, width = self.config["data"]["image_shape"]
        self.image_shape = (height, width)
        try:
            validate_inference(self.recipe, self.image_shape)
        except SettingError as error:
            raise InputError(f"{run.config_path}: {error}") from None
        self.fit = recorded_options(self.config, {}).fit
        self.first_label: int | None = self.config["data"].get("first_label", 0)
        self.pixel_max = self.config["data"]["pixel_max"]
        self.description = f"run: {run.name} ({run.path / 'best'})"

    def check_tta(self) -> None:
        """Refuse test-time augmentation of a run without --flip and --translate; say if they had no effect."""
        if self.recipe.flip == "none" and not self.recipe.translate:
            raise InputError(
                f"--tta: run {self.name} was trained without --flip and --translate, so it has no views to average; "
                "drop the flag or name another run"
            )
        if not (self.recipe.head_sees_augmentation() or self.recipe.finetune_epochs):
            say(
                f"--tta: run {self.name} was trained with --freeze=backbone and --feature_views=1, so on unchanged "
                "images only; averaging over views that it was not trained on may lower the score"
            )

    def use_calibration(self, tta: bool) -> None:
        """Calibrate the outputs of the graph that `build` returns, with the temperature of `eval --calibrate`; say so.

        Args:
            tta: whether predictions use test-time augmentation.

        Raises:
            InputError: the run has no temperature, or one for another checkpoint or for other predictions.
        """
        self.calibration = read_calibration(self.run, tta)
        self.temperature = self.calibration.temperature
        say(
            f"--calibrated: the probabilities of run {self.name} are softmax(logits / {self.temperature:.6f}); the "
            "temperature was fitted on its dev split"
        )

    def build(self, precision: str = "float32") -> InferenceGraph:
        """Return the run's inference graph, not finalised.

        Args:
            precision: precision of convolutions and matrix products, float32 or bfloat16. In float32, the graph is the
                one that `submit` and `export` write: its convolutions are operations of tf.nn.
        """
        portable, classes = precision == "float32", len(self.class_names)
        return build_inference(self.recipe, self.image_shape, classes, precision, portable, self.temperature)

    def build_one_view(self) -> InferenceGraph:
        """Return the run's inference graph in float32 without the views of test-time augmentation."""
        recipe = dataclasses.replace(self.recipe, flip="none", translate=0, feature_views=1)
        return build_inference(recipe, self.image_shape, len(self.class_names), portable=True)

    def open(self, graph: InferenceGraph) -> Predictor:
        """Return a Predictor of the graph with the weights of the run's best checkpoint.

        Raises:
            InputError: the checkpoint is damaged, or its variables belong to another net.
        """

        def load(session: tf1.Session, saver: tf1.train.Saver) -> Mapping[str, Any]:
            state = checkpoint.load(self.run, "best", session, saver, graph.variables)
            if self.calibration:  # a training may have replaced the checkpoint meanwhile
                check_checkpoint(self.run, self.calibration)
            return state

        return open_predictor(graph, load)
