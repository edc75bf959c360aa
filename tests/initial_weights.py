"""Initial weights of a vgg_tiny for 16x16 images, for tests."""

from conftest import TINY

from graphcnn.config.recipe import Recipe
from graphcnn.data.dataset import ImageSpec
from graphcnn.nets.architecture import Architecture
from graphcnn.nets.registry import ARCHITECTURES, NETS
from graphcnn.ops.tf1 import tf1
from graphcnn.storage import checkpoint
from graphcnn.weights.prepare import prepare_initial_weights

STILL = [*TINY, "--learning_rate=1e-30", "--l2=0", "--epochs=1"]  # training does not change the weights


def prepare(root, weights, *, classes=3, pixel_max=255, data_cache=None, keep=False, recorded=None, **settings):
    """Return the InitialWeights of vgg_tiny; settings: fields of the Recipe."""
    recipe = Recipe(**{"net": "vgg_tiny", "image_size": 16, "weights": str(weights), **settings})
    images = ImageSpec((16, 16), classes, pixel_max)
    return prepare_initial_weights(recipe, images, root, data_cache, keep_normalisation=keep, recorded=recorded)


def make_architecture(monkeypatch, published):
    """Make vgg_tiny an architecture with published weights that expect the normalisation "tf"."""
    monkeypatch.setitem(ARCHITECTURES, "vgg_tiny", Architecture(NETS["vgg_tiny"], 16, 16, "tf", False, published))


def last_weights(root, run):
    """Return {variable: array} of a run's last checkpoint."""
    reader = tf1.train.NewCheckpointReader(str(root / run / "last" / checkpoint.PREFIX))
    return {variable: reader.get_tensor(variable) for variable in reader.get_variable_to_shape_map()}
