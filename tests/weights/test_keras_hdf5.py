"""HDF5 files of Keras for tiny nets, valid and invalid."""

import os
import struct

import h5py
import numpy as np
import pytest
from weight_files import SHAPES, arrays, layers_of, write_h5

from graphcnn.common.errors import InputError
from graphcnn.config.recipe import Recipe
from graphcnn.graphs.inference import build_inference
from graphcnn.weights.keras_hdf5 import current_names, read_keras
from graphcnn.weights.loaded import split_name


def same(found, values):
    assert set(found) == set(values)
    for name, array in values.items():
        assert found[name].dtype == np.float32
        assert np.array_equal(found[name], array), name


@pytest.mark.parametrize(("top", "parts"), [("", 0), ("model_weights", 0), ("", 3), ("model_weights", 1)])
def test_both_layouts_and_names_in_parts(top, parts, tmp_path):
    values = arrays()
    same(read_keras(write_h5(tmp_path / "a.h5", layers_of(values), top, parts), SHAPES).values, values)


@pytest.mark.parametrize("dtype", ["<f2", ">f4", "<f8"])
def test_floats_of_other_widths(dtype, tmp_path):
    values = {name: array.astype(dtype) for name, array in arrays().items()}
    found = read_keras(write_h5(tmp_path / "a.h5", layers_of(values)), SHAPES).values
    same(found, {name: array.astype(np.float32) for name, array in values.items()})


def test_the_names_of_keras_1(tmp_path):
    """As VGG16's published file has them: block1_conv1/block1_conv1_W_1:0; batch norm's std is the variance."""
    shapes = {"conv/w": (3, 3, 3, 4), "conv/b": (4,)} | {f"bn/{leaf}": (4,) for leaf in ("gamma", "mean", "variance")}
    shapes |= {"a_sepconv/depthwise/w": (3, 3, 4, 1), "a_sepconv/pointwise/w": (1, 1, 4, 8)}
    values = arrays(shapes)
    old = {"w": "W_1", "b": "b_1", "gamma": "gamma", "mean": "running_mean", "variance": "running_std"}
    old |= {"depthwise/w": "depthwise_kernel", "pointwise/w": "pointwise_kernel"}
    layers = {}
    for name, array in values.items():
        layer, leaf = split_name(name)
        layers.setdefault(layer, {})[f"{layer}_{old[leaf]}:0"] = array
    same(read_keras(write_h5(tmp_path / "a.h5", layers), shapes).values, values)


def test_a_depthwise_kernel_of_keras_3(tmp_path):
    shapes = {"conv_dw_1/depthwise/w": (3, 3, 4, 1)}
    path = write_h5(tmp_path / "a.h5", {"conv_dw_1": {"conv_dw_1/kernel": arrays(shapes)["conv_dw_1/depthwise/w"]}})
    same(read_keras(path, shapes).values, arrays(shapes))


def test_a_nested_model(tmp_path):
    values = arrays()
    inner = {name: array for found in layers_of(values).values() for name, array in found.items()}
    same(read_keras(write_h5(tmp_path / "a.h5", {"input_2": {}, "base": inner}), SHAPES).values, values)


def test_layers_with_slashes_and_names_of_any_length(tmp_path):
    """As DenseNet's, and as Keras 3 writes them."""
    shapes = {"conv1/conv/w": (3, 3, 3, 4), "conv1/bn/gamma": (4,), "pool/w": (4, 2)}
    values = arrays(shapes)
    path = write_h5(tmp_path / "a.h5", layers_of(values), "model_weights")
    with h5py.File(path, "a") as file:
        file["model_weights"].attrs["layer_names"] = ["input_1", "conv1/conv", "conv1/bn", "pool"]
        file["optimizer_weights/conv1/conv/w"] = np.zeros(3)
    same(read_keras(path, shapes).values, values)


def test_generated_names_are_renumbered_from_their_first_number(tmp_path):
    shapes = {f"conv2d_{n}/w": (1, 1, n, 4) for n in (1, 2, 3)}
    values = arrays(shapes)
    places = {"conv2d_12": 3, "conv2d_9": 1, "conv2d_10": 2}
    layers = {name: {f"{name}/kernel:0": values[f"conv2d_{n}/w"]} for name, n in places.items()}
    same(read_keras(write_h5(tmp_path / "a.h5", layers), shapes).values, values)


def test_layers_with_generated_names_are_matched_by_order(tmp_path):
    """As Xception's published file; with a top of other classes, and without a top."""
    values = arrays()
    scopes = {"conv1_1": "convolution2d_4", "conv2_1": "convolution2d_5", "conv3_1": "convolution2d_10"}
    scopes |= {"dense1": "dense_1", "output": "dense_2"}
    layers = {}
    for scope, name in reversed(scopes.items()):
        layers[name] = {f"{name}_W:0": values[f"{scope}/w"], f"{name}_b:0": values[f"{scope}/b"]}
    fit = read_keras(write_h5(tmp_path / "a.h5", layers), SHAPES)
    same(fit.values, values)
    assert fit.by_order
    layers["dense_2"] = {"dense_2_W:0": np.zeros((16, 1000)), "dense_2_b:0": np.zeros(1000)}
    fit = read_keras(write_h5(tmp_path / "b.h5", layers), SHAPES)
    same(fit.values, {name: array for name, array in values.items() if not name.startswith("output")})
    assert fit.stored["output/w"] == (16, 1000)
    top_less = {name: found for name, found in layers.items() if not name.startswith("dense")}
    assert len(read_keras(write_h5(tmp_path / "c.h5", top_less), SHAPES).values) == 6
    layers["convolution2d_5"]["convolution2d_5_W:0"] = np.zeros((3, 3, 8, 9))
    assert read_keras(write_h5(tmp_path / "d.h5", layers), SHAPES).values == {}
    layers["mine"] = {}
    assert read_keras(write_h5(tmp_path / "e.h5", layers), SHAPES).values == {}


def test_weights_that_do_not_fit_are_reported(tmp_path):
    values = arrays() | {"output/w": np.zeros((16, 10)), "output/b": np.zeros(10), "more/w": np.zeros((1, 2))}
    fit = read_keras(write_h5(tmp_path / "a.h5", layers_of(values)), SHAPES)
    assert set(SHAPES) - set(fit.values) == {"output/w", "output/b"}
    assert fit.stored == {name: array.shape for name, array in values.items()}


def changed(change):
    """Return a function that writes a valid file and then calls change(file)."""

    def write(path):
        write_h5(path, layers_of(arrays()))
        with h5py.File(path, "a") as file:
            change(file)

    return write


def linked(link):
    """Return a function that writes a file whose first layer is a link, and which is valid otherwise."""

    def change(file):
        file.move("conv1_1", "aside")
        file["conv1_1"] = link

    return changed(change)


def dataset(make, name="conv1_1/conv1_1/kernel:0"):
    """Return a function that writes a file with one dataset from make(file, name), and which is valid otherwise."""

    def change(file):
        del file[name]
        make(file, name)

    return changed(change)


def loops(file):
    for name in "abcdef":
        file[name] = file["/"]


def virtual(file, name):
    layout = h5py.VirtualLayout((3, 3, 3, 8), np.float32)
    layout[:] = h5py.VirtualSource("/etc/passwd", "data", (3, 3, 3, 8))
    file.create_virtual_dataset(name, layout)


def external(file, name):
    file.create_dataset(name, (3, 3, 3, 8), np.float32, external=[("/etc/passwd", 0, 864)])


def of(*arguments, **options):
    return lambda file, name: file.create_dataset(name, *arguments, **options)


def truncated(path):
    write_h5(path, layers_of(arrays()))
    path.write_bytes(path.read_bytes()[:-2000])


def longer_than_it_is(path):
    """Write a file that says it has more bytes than it has."""
    truncated(path)
    content = bytearray(path.read_bytes())
    content[40:48] = struct.pack("<Q", len(content))  # the superblock's end of file
    path.write_bytes(content)


SHAPE = (3, 3, 3, 8)
BAD = {  # name: (what writes the file, words of the message)
    "not HDF5": (lambda path: path.write_bytes(b"hello" * 100), "damaged, or not an HDF5 file"),
    "empty": (lambda path: path.write_bytes(b""), "damaged, or not an HDF5 file"),
    "truncated": (truncated, "damaged, or not an HDF5 file"),
    "truncated and lying": (longer_than_it_is, "damaged|not all in the file"),
    "a folder": (lambda path: path.mkdir(), "expected a file"),
    "a pipe": (lambda path: os.mkfifo(path), "is a FIFO, expected a regular file"),
    "missing": (lambda path: None, "damaged, or not an HDF5 file"),
    "no layers": (lambda path: h5py.File(path, "w").close(), "no weight_names, expected Keras's legacy layout"),
    "numbers for layers": (changed(lambda file: file.create_dataset("model_weights", data=[1.0])), "is not a group"),
    "no UTF-8": (changed(lambda file: file.create_group(b"\xff")), "an object with an unprintable name"),
    "a terminal's codes": (changed(lambda file: file.create_group("\x1b[2J")), "an object with an unprintable name"),
    "a path too deep": (changed(lambda file: file.create_group("a/" * 40)), "holds too many objects"),
    "a loop": (changed(lambda file: file.__setitem__("conv1_1/a", file["conv1_1"])), "holds too many objects"),
    "loops": (changed(loops), "holds too many objects"),
    "a type": (changed(lambda file: file.__setitem__("conv1_1/a", np.dtype("f4"))), "is a Datatype"),
    "a weight twice": (
        changed(lambda file: file.create_dataset("conv1_1/conv1_1/kernel_1:0", data=[1.0])),
        "has two weights named w in conv1_1",
    ),
    "a soft link": (linked(h5py.SoftLink("/aside")), "is a link"),
    "a link to nothing": (linked(h5py.SoftLink("/nowhere")), "is a link"),
    "a link to another file": (linked(h5py.ExternalLink("/etc/passwd", "/")), "is a link"),
    "a dataset of links": (dataset(lambda f, n: f.__setitem__(n, h5py.ExternalLink("x.h5", "/"))), "is a link"),
    "virtual": (dataset(virtual), "is virtual"),
    "external": (dataset(external), "is virtual, external or chunked"),
    "in chunks": (dataset(of(data=np.zeros(SHAPE), chunks=SHAPE)), "external or chunked"),
    "compressed": (dataset(of(data=np.zeros(SHAPE), compression="gzip")), "external or chunked"),
    "whole numbers": (dataset(of(data=np.zeros(SHAPE, int))), "expected floats"),
    "complex numbers": (dataset(of(data=np.zeros(SHAPE, complex))), "expected floats"),
    "texts": (dataset(of(SHAPE, h5py.string_dtype())), "expected floats"),
    "lists": (dataset(of(SHAPE, h5py.vlen_dtype(np.float32))), "expected floats"),
    "references": (dataset(of(SHAPE, h5py.ref_dtype)), "expected floats"),
    "records": (dataset(of(SHAPE, np.dtype([("a", "f4")]))), "expected floats"),
    "floats of 16 bytes": (dataset(of(SHAPE, np.longdouble)), "expected floats"),
    "no bytes": (dataset(of(SHAPE, np.float32)), "864 bytes are not all in the file"),
    "no shape": (dataset(of(data=h5py.Empty("f"))), "has no shape"),
    "NaN": (dataset(of(data=np.full(SHAPE, np.nan))), "conv1_1/w holds NaN"),
    "more than float32 holds": (dataset(of(data=np.full(SHAPE, 1e300))), "conv1_1/w holds NaN or infinite"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_files(case, tmp_path):
    write, words = BAD[case]
    path = tmp_path / "bad.h5"
    write(path)
    with pytest.raises(InputError, match=words) as caught:
        read_keras(path, SHAPES)
    assert str(path) in str(caught.value)


def test_datasets_that_the_net_lacks_are_checked_too(tmp_path):
    dataset(virtual)(tmp_path / "a.h5")
    with pytest.raises(InputError, match="is virtual"):
        read_keras(tmp_path / "a.h5", {"output/w": (16, 3)})


def test_a_huge_dataset_is_not_read_unless_the_net_has_its_shape(tmp_path):
    path = tmp_path / "a.h5"
    dataset(of((1 << 20, 1 << 20, 1 << 10), np.float32))(path)
    assert "conv1_1/w" not in read_keras(path, SHAPES).values


# Names of real nets


def test_xception_makes_its_layers_in_the_order_of_keras():
    """Its published file has numbers alone: each shortcut comes before its block's separable convolutions."""
    net = build_inference(Recipe(net="xception", image_size=71), (71, 71), 10)
    shortcuts = {2: 1, 3: 2, 4: 3, 13: 4}
    expected = ["block1_conv1_bn", "block1_conv2_bn"]
    for block in range(2, 15):
        expected += [f"batch_normalization_{shortcuts[block]}"] if block in shortcuts else []
        expected += [f"block{block}_sepconv{n}_bn" for n in range(1, 4 if 5 <= block <= 12 else 3)]
    found = [variable.op.name.split("/") for variable in net.variables]
    assert [layer for layer, leaf, *_ in found if leaf == "gamma"] == expected


def test_names_of_the_published_mobilenet_v2_are_the_nets():
    graph = build_inference(Recipe(net="mobilenet_v2", image_size=32), (32, 32), 10)
    ours = {split_name(v.op.name)[0] for v in graph.variables} - {"normalisation"}
    old = ["Conv1", "bn_Conv1", "Conv_1", "Conv_1_bn", "Logits"]
    for block in range(17):
        for part in ("expand", "depthwise", "project")[block == 0 :]:
            old += [f"mobl{block}_conv_{block}_{part}", f"bn{block}_conv_{block}_bn_{part}"]
    assert set(current_names(old)) == ours
