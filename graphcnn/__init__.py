"""graphcnn: small-image CNNs trained as plain TF1-style graphs on today's TensorFlow.

    run = graphcnn.train(data="photos", epochs=3)
    model = graphcnn.load(run.name)
    model.predict(["a.jpg"])

The names of API come from graphcnn.api. They are imported at their first use.
"""

TYPE_CHECKING = False  # type checkers take it as true; this file imports nothing, see common/bootstrap.py
if TYPE_CHECKING:
    from graphcnn.api import Model, Predictions, Run, Scores, load, load_data, register_net
    from graphcnn.common.errors import InputError

__version__ = "0.1.0"
API = ("InputError", "Model", "Predictions", "Run", "Scores", "load", "load_data", "register_net")
__all__ = ["InputError", "Model", "Predictions", "Run", "Scores", "load", "load_data", "register_net", "train"]


def __getattr__(name: str) -> object:
    """Import a name of the Python API at its first use. `train` is the module of the command, which can be called."""
    from importlib import import_module

    if name == "train":
        return import_module("graphcnn.train")
    if name in API:
        return getattr(import_module("graphcnn.api"), name)
    raise AttributeError(f"module 'graphcnn' has no attribute {name!r}")
