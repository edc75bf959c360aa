"""The nets of the benchmark as PyTorch modules. Each function takes torch.nn, because torch may not be installed."""

from __future__ import annotations

import math
from types import ModuleType
from typing import TYPE_CHECKING

from graphcnn.benchmark.job import Job, single_layers

if TYPE_CHECKING:
    import torch


def build(nn: ModuleType, job: Job) -> torch.nn.Module:
    """Return the job's net as one module that computes logits."""
    if job.rows:
        return nn.Sequential(*SequentialNet(nn, job).modules)
    return nn.Sequential(WITHOUT_ROWS[job.recipe.net](nn, job.classes))


class SequentialNet:
    """Builds the modules of a sequential net, and tracks the size and the channels of the feature maps.

    SAME padding is TensorFlow's: the same on all sides, and if the total is odd, one more row and column at the end.
    """

    def __init__(self, nn: ModuleType, job: Job) -> None:
        self.nn, self.job = nn, job
        self.modules: list[torch.nn.Module] = []
        self.channels, self.size = 3, job.recipe.image_size  # size: height and width of the maps; 0 for vectors
        for kind, options in single_layers(job):
            getattr(self, f"_{kind}")(**options)

    def _padding(self, size: int, stride: int, padding: str) -> tuple[int, int]:
        """Return (padding on each side, 1 or 0 more rows and columns at the end), and update the size of the maps."""
        same = padding == "SAME"
        windows = -(-self.size // stride) if same else (self.size - size) // stride + 1
        each_side, odd = divmod(max(0, (windows - 1) * stride + size - self.size), 2)
        self.size = windows
        return each_side, odd

    def _conv(self, size: int, filters: int, bias: bool, stride: int, padding: str, trained: bool) -> None:
        each_side, odd = self._padding(size, stride, padding)
        if odd:
            self.modules.append(self.nn.ZeroPad2d((0, 1, 0, 1)))
        conv = self.nn.Conv2d(self.channels, filters, size, stride, each_side, bias=bias)
        self.modules.append(conv.requires_grad_(trained))
        self.channels = filters

    def _pool(self, size: int, stride: int, padding: str) -> None:
        each_side, odd = self._padding(size, stride, padding)
        if odd and stride == 1:
            self.modules.append(self.nn.ConstantPad2d((0, 1, 0, 1), -math.inf))
        self.modules.append(self.nn.MaxPool2d(size, stride, each_side, ceil_mode=bool(odd)))

    def _norm(self, scale: bool) -> None:
        norm = (self.nn.BatchNorm2d if self.size else self.nn.BatchNorm1d)(
            self.channels, eps=self.job.batch_norm_epsilon
        )
        norm.weight.requires_grad_(scale)
        self.modules.append(norm)

    def _activation(self, name: str) -> None:
        self.modules.append({"relu": self.nn.ReLU, "silu": self.nn.SiLU}[name](inplace=True))

    def _global_max_pool(self) -> None:
        self.modules += [self.nn.AdaptiveMaxPool2d(1), self.nn.Flatten()]
        self.size = 0

    def _flatten(self) -> None:
        self.modules.append(self.nn.Flatten())
        self.channels, self.size = self.channels * self.size * self.size, 0

    def _dense(self, units: int, bias: bool) -> None:
        self.modules.append(self.nn.Linear(self.channels, units, bias=bias))
        self.channels = units

    def _scale(self, factor: float) -> None:
        class Scale(self.nn.Module):  # type: ignore[name-defined]
            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return x * factor

        self.modules.append(Scale())

    def _dropout(self, rate: float) -> None:
        self.modules.append(self.nn.Dropout(rate))


def resnet50_v2(nn: ModuleType, classes: int) -> torch.nn.Module:
    """Return ResNet50V2 as Keras defines it: the last block of a stage has the stride."""

    def norm(channels: int) -> torch.nn.Module:
        return nn.Sequential(nn.BatchNorm2d(channels, eps=1.001e-5), nn.ReLU(inplace=True))

    class Bottleneck(nn.Module):  # type: ignore[name-defined]
        def __init__(self, channels: int, filters: int, stride: int, projected: bool) -> None:
            super().__init__()
            self.before = norm(channels)
            self.shortcut = nn.MaxPool2d(1, stride) if stride > 1 else nn.Identity()
            self.projection = nn.Conv2d(channels, 4 * filters, 1, stride) if projected else None
            self.branch = nn.Sequential(
                nn.Conv2d(channels, filters, 1, bias=False), norm(filters),
                nn.Conv2d(filters, filters, 3, stride, 1, bias=False), norm(filters),
                nn.Conv2d(filters, 4 * filters, 1),
            )  # fmt: skip

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.before(x)
            return self.branch(y) + (self.projection(y) if self.projection else self.shortcut(x))

    modules, channels = [nn.Conv2d(3, 64, 7, 2, 3), nn.ZeroPad2d(1), nn.MaxPool2d(3, 2)], 64
    for filters, count in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for block in range(count):
            stride = 2 if block == count - 1 and filters < 512 else 1
            modules.append(Bottleneck(channels, filters, stride, block == 0))
            channels = 4 * filters
    return nn.Sequential(*modules, norm(channels), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))


def mobilenet_v2(nn: ModuleType, classes: int) -> torch.nn.Module:
    """Return MobileNetV2."""

    def conv(
        channels: int, filters: int, kernel: int, stride: int = 1, groups: int = 1, activation: bool = True
    ) -> list[torch.nn.Module]:
        layers = [nn.Conv2d(channels, filters, kernel, stride, kernel // 2, groups=groups, bias=False)]
        layers.append(nn.BatchNorm2d(filters, eps=1e-3, momentum=1e-3))
        return layers + [nn.ReLU6(inplace=True)] * activation

    class Residual(nn.Sequential):  # type: ignore[name-defined]
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + super().forward(x)

    modules, channels = conv(3, 32, 3, 2), 32
    for expansion, filters, count, first_stride in (
        (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1),
    ):  # fmt: skip
        for block in range(count):
            stride, wide = first_stride if block == 0 else 1, expansion * channels
            layers = conv(channels, wide, 1) if expansion > 1 else []
            layers += conv(wide, wide, 3, stride, wide) + conv(wide, filters, 1, activation=False)
            modules.append((Residual if stride == 1 and channels == filters else nn.Sequential)(*layers))
            channels = filters
    modules += conv(channels, 1280, 1)
    return nn.Sequential(*modules, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1280, classes))


WITHOUT_ROWS = {"mobilenet_v2": mobilenet_v2, "resnet50_v2": resnet50_v2}
