"""What a trained run and a published ImageNet net have in common. H x W pixels."""

from __future__ import annotations

from abc import ABC, abstractmethod

from graphcnn.evaluation.predictor import Predictor
from graphcnn.graphs.inference import InferenceGraph


class Net(ABC):
    """A net with weights, which builds its inference graph.

    Attributes:
        name: the run's or the net's name.
        description: "run: NAME (checkpoint)" or "net: NAME".
        class_names: in the order of the outputs.
        image_shape: (H, W) of the images that the graph takes.
        pixel_max: 255 or 1, the top of the pixel range of these images.
    """

    name: str
    description: str
    class_names: list[str]
    image_shape: tuple[int, int]
    pixel_max: int

    @abstractmethod
    def build(self) -> InferenceGraph:
        """Return the inference graph in float32, not finalised."""

    @abstractmethod
    def build_one_view(self) -> InferenceGraph:
        """Return the inference graph in float32 without the views of test-time augmentation, not finalised."""

    @abstractmethod
    def open(self, graph: InferenceGraph) -> Predictor:
        """Finalise a graph that `build` or `build_one_view` returned; return a Predictor with the weights in it."""
