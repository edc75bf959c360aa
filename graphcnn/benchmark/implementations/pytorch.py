"""PyTorch as an implementation of the benchmark.

It uses PyTorch's fast settings: channels_last, fused optimizers, autocast for bfloat16, and inference_mode.
"""

from __future__ import annotations

import copy
import time
from typing import TYPE_CHECKING

import numpy as np

from graphcnn.benchmark.implementations import pytorch_nets
from graphcnn.benchmark.implementations.pytorch_optimizer import Optimizers
from graphcnn.benchmark.job import (
    MEAN,
    SCALE,
    Job,
    batch_slice,
    evaluation_batch_size,
    images_and_labels,
    repeat_to,
    time_steps,
)

if TYPE_CHECKING:
    import torch


class PyTorch:
    """Trains and evaluates with PyTorch; bfloat16 means autocast in training and bfloat16 weights in evaluation."""

    def __init__(self, job: Job, precision: str) -> None:
        import torch

        self.torch, self.job = torch, job
        torch.set_num_threads(job.cores)
        recipe = job.recipe
        self.images, self.labels = images_and_labels(job)
        self.net = pytorch_nets.build(torch.nn, job).to(memory_format=torch.channels_last)
        weights = [p for p in self.net.parameters() if p.requires_grad]
        self.parameters: int | None = sum(p.numel() for p in weights)
        self.dtype = getattr(torch, precision)
        self.optimizer = Optimizers(recipe, weights, self.dtype)
        self.loss = torch.nn.CrossEntropyLoss(label_smoothing=recipe.label_smoothing)
        self.versions = f"PyTorch {torch.__version__}"
        autocast = "" if precision == "float32" else "autocast, "
        fused = recipe.optimizer if recipe.optimizer == "muon" else f"fused {recipe.optimizer}"
        self.settings = f"{precision}, {autocast}channels_last, {fused}"
        self.step = 0

    def _normalise(self, images: np.ndarray, dtype: torch.dtype) -> torch.Tensor:
        """Return uint8 images [N, H, W, 3] as a normalised tensor [N, 3, H, W] of the dtype."""
        x = (self.torch.from_numpy(images).permute(0, 3, 1, 2).to(self.torch.float32) - MEAN) / SCALE
        return x.to(dtype).contiguous(memory_format=self.torch.channels_last)

    def train(self, steps: int) -> list[float]:
        """Return the seconds of each step, after one step that is not timed, as in the other implementations."""
        slices = (batch_slice(self.job, step) for step in range(self.step, self.step + steps + 1))
        self.step += steps + 1
        return time_steps(map(self._batch, slices), self._train_step)[1:]

    def _batch(self, rows: slice) -> tuple[torch.Tensor, torch.Tensor]:
        return self._normalise(self.images[rows], self.torch.float32), self.torch.from_numpy(self.labels[rows])

    def _train_step(self, images: torch.Tensor, labels: torch.Tensor) -> None:
        torch = self.torch
        with torch.autocast("cpu", torch.bfloat16, enabled=self.dtype != torch.float32):
            logits = self.net(images)
        loss = self.loss(logits.float(), labels)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        loss.item()

    def evaluate(self, count: int) -> float:
        """Return the seconds for computing the softmax outputs of `count` images, with weights in the precision."""
        torch, size = self.torch, evaluation_batch_size("pytorch", self.job.recipe.image_size)
        net = copy.deepcopy(self.net).eval().to(self.dtype)
        images = repeat_to(self.images, count)
        start = time.perf_counter()
        with torch.inference_mode():
            for first in range(0, len(images), size):
                net(self._normalise(images[first : first + size], self.dtype)).float().softmax(1)
        return time.perf_counter() - start
