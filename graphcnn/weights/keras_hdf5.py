"""Weights from HDF5 files in Keras's legacy layout, as written by model.save("FILE.h5") and save_weights.

The variable scopes of a net are the layer names of Keras, so weights are matched by name. There are two exceptions:

- Layers with names that Keras generates (conv2d_7) are renumbered from 1, in the order of their numbers.
- If all layers of a file have generated names (Xception's file by Keras 1), they are matched with the layers of the net
  in the order in which the net creates them, if the shapes agree.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from graphcnn.common.errors import InputError, UnsafeFile
from graphcnn.common.files import regular_size
from graphcnn.weights.loaded import Fit, Shapes, check_finite, split_name

LEAVES = {  # Keras's name of a weight: its name in this package; Keras 1's names come last
    "kernel": "w",
    "bias": "b",
    "gamma": "gamma",
    "beta": "beta",
    "moving_mean": "mean",
    "moving_variance": "variance",
    "depthwise_kernel": "depthwise/w",
    "pointwise_kernel": "pointwise/w",
    "W": "w",
    "b": "b",
    "running_mean": "mean",
    "running_std": "variance",  # Keras 1 stores the variance under this name
}
WEIGHT_NAME = re.compile(rf"(?:.*?[/_])??({'|'.join(LEAVES)})(?:_\d+)?(?::\d+)?")  # conv1/kernel:0, conv1_W_1:0
GENERATED_NAME = re.compile(  # layer names that Keras generates; Keras 1's come last
    r"(conv2d|batch_normalization|separable_conv2d|depthwise_conv2d|dense)(?:_(\d{1,9}))?"
    r"|(?:convolution2d|batchnormalization|separableconvolution2d)_(\d{1,9})"
)
OLD_MOBILENET_V2_NAME = re.compile(r"(?:mobl|bn)\d+_conv_(\d+)_(bn_)?(expand|depthwise|project)")
MAX_BYTES = 4 << 30  # of a file
MAX_OBJECTS = 20_000  # groups and datasets in a file
MAX_DEPTH = 32  # groups in a path
FLOAT_SIZES = (2, 4, 8)  # bytes of a number

Layers = dict[str, dict[str, Any]]  # {layer: {leaf: a shape or a Dataset}}


def read_keras(path: str | Path, shapes: Shapes) -> Fit:
    """Read the weights of a file that fit a net.

    Args:
        path: an HDF5 file in Keras's legacy layout.
        shapes: {variable name: shape} of the net, in the order in which the net creates them.

    Raises:
        InputError: the file is damaged, refers to other files, or has another layout.
    """
    path, shapes = Path(path), {name: tuple(shape) for name, shape in shapes.items()}
    try:
        size = regular_size(path)
        if size > MAX_BYTES:
            raise InputError(f"has {size:,} bytes, expected a file of at most {MAX_BYTES >> 30} GiB")
        with h5py.File(path, "r") as file:
            datasets, by_order = _datasets_by_variable(_layers(file), shapes)
            stored = {name: dataset.shape for name, dataset in datasets.items()}
            values = {name: _array(datasets[name], size) for name, shape in shapes.items() if stored.get(name) == shape}
    except UnsafeFile:
        raise
    except IsADirectoryError:
        raise InputError(f"{path}: is a folder, expected a file of at most {MAX_BYTES >> 30} GiB") from None
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except Exception as error:  # h5py raises many types of errors for damaged files
        raise InputError(f"{path}: damaged, or not an HDF5 file ({error})") from None
    check_finite(path, values)
    return Fit(values, stored, by_order)


# Names


def current_names(layers: Iterable[str]) -> list[str]:
    """Return the names of the layers in Keras 3. Generated names are renumbered from 1, in order."""
    layers = list(layers)
    numbered: dict[str, list[tuple[int, str]]] = {}
    for name in layers:
        match = GENERATED_NAME.fullmatch(name)
        if match and match[1]:
            numbered.setdefault(match[1], []).append((int(match[2] or 0), name))
    renamed = {
        name: f"{layer_type}_{number}"
        for layer_type, names in numbered.items()
        for number, (_, name) in enumerate(sorted(names), start=1)
    }
    return [renamed.get(name) or _current_name(name) for name in layers]


def _current_name(layer: str) -> str:
    """Return the name in Keras 3 of a layer of an old published file."""
    match = OLD_MOBILENET_V2_NAME.fullmatch(layer)
    if not match:
        return {"Logits": "predictions"}.get(layer, layer)
    number, norm, convolution = match.groups()
    block = f"block_{number}" if int(number) else "expanded_conv"
    return f"{block}_{convolution}{'_BN' if norm else ''}"


def _datasets_by_variable(layers: Layers, shapes: Shapes) -> tuple[dict[str, h5py.Dataset], bool]:
    """Return ({the net's variable: Dataset}, whether layers were matched by their order).

    Args:
        layers: {the file's layer: {leaf: Dataset}}.
        shapes: {variable: shape} of the net.
    """
    net_layers: Layers = {}
    for name, shape in shapes.items():
        layer, leaf = split_name(name)
        net_layers.setdefault(layer, {})[leaf] = shape
    file_layers = {layer: {leaf: dataset.shape for leaf, dataset in leaves.items()} for layer, leaves in layers.items()}
    matched = _matched_by_order(file_layers, net_layers)
    names = matched or dict(zip(layers, current_names(layers), strict=True))
    datasets = {
        _variable(names[layer], leaf, shapes): dataset
        for layer, leaves in layers.items()
        for leaf, dataset in leaves.items()
    }
    return datasets, matched is not None


def _matched_by_order(file_layers: Layers, net_layers: Layers) -> dict[str, str] | None:
    """Match layers by order and return {layer of the file: layer of the net}.

    The result is None if the layers can be matched by name, or if the shapes of the two orders differ.

    Args:
        file_layers: {layer: {leaf: shape}} of the file.
        net_layers: {layer: {leaf: shape}} of the net, in the order in which the net creates its layers.
    """
    matches = {layer: match for layer in file_layers if (match := GENERATED_NAME.fullmatch(layer))}
    if set(current_names(file_layers)) <= set(net_layers) or len(matches) < len(file_layers):
        return None
    numbered = sorted(file_layers, key=lambda layer: int(matches[layer][2] or matches[layer][3] or 0))
    matched: dict[str, str] = {}
    for layer_type in {_layer_type(leaves) for leaves in file_layers.values()}:
        in_file = [layer for layer in numbered if _layer_type(file_layers[layer]) == layer_type]
        in_net = [layer for layer in net_layers if _layer_type(net_layers[layer]) == layer_type]
        same = [file_layers[a] == net_layers[b] for a, b in zip(in_file, in_net, strict=False)]
        if len(in_file) != len(in_net) or not all(same[:-1]):  # the last layer may have other classes
            return None
        matched |= zip(in_file, in_net, strict=True)
    return matched


def _layer_type(leaves: Shapes) -> frozenset[tuple[str, int]]:
    """Return {(leaf, rank)} of the weights of a layer. It differs for a convolution, a dense layer and a batch norm."""
    return frozenset((leaf, len(shape)) for leaf, shape in leaves.items())


def _variable(layer: str, leaf: str, shapes: Shapes) -> str:
    """Return the name of the variable of the net. In Keras 3, a depthwise kernel is named "kernel" as well."""
    depthwise = f"{layer}/depthwise/w"
    return depthwise if leaf == "w" and depthwise in shapes else f"{layer}/{leaf}"


def _leaf(name: str) -> str:
    """Return the leaf of the name of a weight in a file: a value of LEAVES if the name is known."""
    match = WEIGHT_NAME.fullmatch(name)
    return LEAVES[match[1]] if match else name.rpartition("/")[2].partition(":")[0]


# Layout


def _layers(file: h5py.File) -> Layers:
    """Return {layer: {leaf: Dataset}} of an open file. A leaf is a value of LEAVES if its name is known."""
    layers: Layers = {}
    for group, datasets in _datasets_by_group(file).items():
        leaves = {name: _leaf(name) for name in datasets}
        nested = len(set(leaves.values())) < len(leaves)  # the group is a model inside the model
        for name, leaf in leaves.items():
            weights = layers.setdefault(name.rpartition("/")[0] if nested else group, {})
            if leaf in weights:
                raise InputError(f"has two weights named {leaf} in {group}")
            weights[leaf] = datasets[name]
    return layers


def _datasets_by_group(file: h5py.File) -> dict[str, dict[str, h5py.Dataset]]:
    """Return {path of a layer's group: {path of a weight in it: Dataset}}.

    A layer is a group that has an attribute weight_names. No attribute is read.
    """
    root = _child(file, "model_weights") if file.id.links.exists(b"model_weights") else file
    if not isinstance(root, h5py.Group):
        raise InputError("its model_weights is not a group")
    layers: dict[str, dict[str, h5py.Dataset]] = {}
    waiting: list[tuple[h5py.Group, tuple[str, ...], int]] = [(root, (), 0)]  # group, path, length of its layer's path
    objects = 0
    while waiting:
        group, path, layer_length = waiting.pop(0)
        for name in group:
            objects += 1
            if objects > MAX_OBJECTS or len(path) == MAX_DEPTH or not (isinstance(name, str) and name.isprintable()):
                raise InputError(f"{group.name} holds too many objects, or an object with an unprintable name")
            child, child_path = _child(group, name), (*path, name)
            if isinstance(child, h5py.Group) and "weight_names" in child.attrs:
                layers["/".join(child_path)] = {}
                waiting.append((child, child_path, len(child_path)))
            elif isinstance(child, h5py.Group):
                waiting.append((child, child_path, layer_length))
            elif layer_length:
                layers["/".join(child_path[:layer_length])]["/".join(child_path[layer_length:])] = child
    if not layers:
        raise InputError("has no weight_names, expected Keras's legacy layout, as model.save('FILE.h5') writes it")
    return layers


def _child(group: h5py.Group, name: str) -> h5py.Group | h5py.Dataset:
    """Return the Group or Dataset of this name. Refuse links, and data outside this file."""
    if group.id.links.get_info(name.encode()).type != h5py.h5l.TYPE_HARD:
        raise InputError(f"{group.name}: {name!r} is a link, expected a file that holds all of its own data")
    child = group[name]
    if not isinstance(child, (h5py.Group, h5py.Dataset)):
        raise InputError(f"{child.name} is a {type(child).__name__}, expected a group or numbers")
    if isinstance(child, h5py.Dataset):
        if child.is_virtual or child.external or child.chunks:
            raise InputError(
                f"{child.name} is virtual, external or chunked, expected a contiguous dataset in this file"
            )
        if child.shape is None:
            raise InputError(f"{child.name} has no shape")
    return child


def _array(dataset: h5py.Dataset, file_size: int) -> np.ndarray:
    """Return the numbers of a dataset as float32; the caller has checked its shape."""
    if dataset.dtype.kind != "f" or dataset.dtype.itemsize not in FLOAT_SIZES:
        raise InputError(f"{dataset.name} holds {dataset.dtype}, expected floats of 2, 4 or 8 bytes")
    length = dataset.size * dataset.dtype.itemsize
    if dataset.id.get_storage_size() != length or (dataset.id.get_offset() or 0) + length > file_size:
        raise InputError(f"{dataset.name}: its {length} bytes are not all in the file")
    with np.errstate(over="ignore"):
        return np.asarray(dataset[()], np.float32)
