"""The interface that trained runs and published ImageNet nets implement. H x W pixels."""

from __future__ import annotations

from abc import ABC, abstractmethod

from graphcnn.evaluation.predictor import Predictor
from graphcnn.graphs.inference import InferenceGraph


class Net(ABC):
    """A net with weights.

    Attributes:
        name: name of the run or of the net.
        description: "run: NAME (checkpoint)" or "net: NAME".
        class_names: names of the classes, in the order of the outputs.
        image_shape: (H, W) of the images that the graph takes.
        fit: how image files are brought to image_shape; see data.images.read_image.
        pixel_max: largest pixel value of these images, 255 or 1.
        temperature: of the calibrated outputs of the graph that `build` returns; None: they are not calibrated.
    """

    name: str
    description: str
    class_names: list[str]
    image_shape: tuple[int, int]
    fit: str
    pixel_max: int
    temperature: float | None = None

    @abstractmethod
    def build(self) -> InferenceGraph:
        """Return the inference graph in float32, not finalised."""

    @abstractmethod
    def build_one_view(self) -> InferenceGraph:
        """Return the inference graph in float32 without the views of test-time augmentation, not finalised."""

    @abstractmethod
    def open(self, graph: InferenceGraph) -> Predictor:
        """Finalise a graph that `build` or `build_one_view` returned; return a Predictor with the net's weights."""
