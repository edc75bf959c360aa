"""Weights that others trained: Keras's legacy HDF5 layout, by layer.

A net's scopes are Keras's layer names, so that the names say what goes where. Layers that Keras numbered by itself
(conv2d_7) count in the order of their numbers, wherever those begin: a net's own are numbered from 1.
"""

import re

import h5py

LEAVES = {  # of a layer's weights in the file: where the net has them
    "kernel": "w",
    "bias": "b",
    "gamma": "gamma",
    "beta": "beta",
    "moving_mean": "mean",
    "moving_variance": "variance",
    "depthwise_kernel": "depthwise/w",
    "pointwise_kernel": "pointwise/w",
}


def read_keras(path, shapes):
    """Return {variable name: array} of those of the file's weights that the net has, of the same shapes.

    Args:
        path: an HDF5 file in Keras's legacy layout.
        shapes: {variable name: shape} of the net.
    """
    found = {}
    with h5py.File(path, "r") as file:
        root = file.get("model_weights", file)
        names = [name.decode() if isinstance(name, bytes) else name for name in root.attrs["layer_names"]]
        for layer, scope in zip(names, canonical(names), strict=True):
            for name in root[layer].attrs.get("weight_names", ()):
                name = name.decode() if isinstance(name, bytes) else name
                leaf = LEAVES.get(name.split("/")[-1].split(":")[0])
                dataset = root[layer][name]
                variable = f"{scope}/{leaf}"
                if variable in shapes and tuple(shapes[variable]) == dataset.shape:
                    found[variable] = dataset[()]
    return found


def canonical(names):
    """Return the layers' names with those that Keras numbered by itself numbered from 1, in their order."""
    automatic = {}
    for name in names:
        match = re.fullmatch(r"(conv2d|batch_normalization|separable_conv2d|depthwise_conv2d|dense)(?:_(\d+))?", name)
        if match:
            automatic.setdefault(match[1], []).append((int(match[2] or 0), name))
    renamed = {
        name: f"{kind}_{place}"
        for kind, found in automatic.items()
        for place, (_, name) in enumerate(sorted(found), start=1)
    }
    return [renamed.get(name, name) for name in names]
