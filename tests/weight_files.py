"""Files of weights, made by hand: Keras's HDF5 and PyTorch's format before version 1.6."""

import pickle
import struct

import h5py
import numpy as np

from graphcnn.weights.keras_hdf5 import LEAVES
from graphcnn.weights.loaded import split_name
from graphcnn.weights.pytorch import HEAD

SHAPES = {  # of vgg_tiny for 16x16 images of 3 classes
    "conv1_1/w": (3, 3, 3, 8), "conv1_1/b": (8,), "conv2_1/w": (3, 3, 8, 8), "conv2_1/b": (8,),
    "conv3_1/w": (3, 3, 8, 16), "conv3_1/b": (16,), "dense1/w": (64, 16), "dense1/b": (16,),
    "output/w": (16, 3), "output/b": (3,),
}  # fmt: skip


def arrays(shapes=SHAPES, seed=0):
    generator = np.random.default_rng(seed)
    return {name: generator.normal(0, 0.1, shape).astype(np.float32) for name, shape in shapes.items()}


def layers_of(values):
    """Return {layer: {Keras's name: array}} of {variable: array}, without the input layer's place."""
    kinds = {leaf: kind for kind, leaf in reversed(LEAVES.items())}
    layers = {"input_1": {}}
    for name, array in values.items():
        layer, leaf = split_name(name)
        layers.setdefault(layer, {})[f"{layer}/{kinds[leaf]}:0"] = array
    return layers


def write_names(group, attribute, names):
    group.attrs[attribute] = np.array([name.encode() for name in names])


def write_h5(path, layers, top="", parts=0):
    """Write {layer: {name: array}} as Keras does; with `parts` the layers' names in so many attributes."""
    with h5py.File(path, "w") as file:
        root = file.create_group(top) if top else file
        names = list(layers)
        for n in range(parts):
            write_names(root, f"layer_names{n}", names[n::parts])
        if not parts:
            write_names(root, "layer_names", names)
        for layer, found in layers.items():
            group = root.create_group(layer)
            write_names(group, "weight_names", list(found))
            for name, array in found.items():
                group.create_dataset(name, data=array)
    return path


# PyTorch's files, written by hand


def text(value):
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def number(value):
    return b"J" + struct.pack("<i", value)


def group(*items):
    return b"(" + b"".join(items) + b"t"


def storage(key="0", count=6, kind="FloatStorage", said="storage", view=b"N"):
    return group(text(said), f"ctorch\n{kind}\n".encode(), text(key), text("cpu"), number(count), view) + b"Q"


def tensor(shape=(2, 3), steps=(3, 1), offset=0, name="_rebuild_tensor_v2", of=None):
    rest = [
        number(offset),
        group(*map(number, shape)),
        group(*map(number, steps)),
        b"\x89",
        b"ccollections\nOrderedDict\n)R",
    ]
    return f"ctorch._utils\n{name}\n".encode() + group(of or storage(), *rest) + b"R"


def mapping(**tensors):
    pairs = b"".join(text(name) + value for name, value in tensors.items())
    return b"\x80\x02ccollections\nOrderedDict\n)R(" + pairs + b"u}" + text("version") + b"K\x01sb."  # with attributes


def torch_file(tensors=None, numbers=None, keys=None, machine=None):
    """Return the bytes of a file: tensors (their pickle), numbers {key: array}."""
    numbers = {"0": np.arange(6, dtype="<f4")} if numbers is None else numbers
    machine = machine or pickle.dumps({"protocol_version": 1001, "little_endian": True, "type_sizes": {"int": 4}}, 2)
    parts = [HEAD, machine, tensors or mapping(a=tensor()), keys or pickle.dumps(list(numbers), 2)]
    parts += [struct.pack("<q", array.size) + array.tobytes() for array in numbers.values()]
    return b"".join(parts)
