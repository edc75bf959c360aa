"""predict with a tiny run, and with published weights."""

import functools

import h5py
import numpy as np
import pytest
from conftest import TINY, one_line, tiny_arrays, write_folder
from PIL import Image

from graphcnn.config.recipe import Recipe
from graphcnn.evaluation.published_net import IMAGENET_CLASSES
from graphcnn.graphs.inference import build_inference
from graphcnn.nets import sequential
from graphcnn.nets.architecture import Architecture
from graphcnn.nets.registry import ARCHITECTURES, SEQUENTIAL
from graphcnn.ops import tf1


class TestRun:
    def test_outputs_are_probabilities_in_the_order_of_the_images(self, predicted):
        assert predicted.softmax.shape == (24, 3)
        assert predicted.softmax.dtype == np.float32
        assert predicted.softmax.sum(axis=1) == pytest.approx(np.ones(24), abs=1e-5)

    def test_image_files_agree_with_the_array(self, trained, predicted, tmp_path, command):
        images, paths = tiny_arrays(24, seed=1)[0], []
        for row in range(3):
            paths.append(tmp_path / f"{row}.png")
            Image.fromarray(images[row]).save(paths[-1])
        outcome = command("predict", *paths, f"--checkpoints={trained[0]}", f"--out={tmp_path / 'q.npy'}")
        assert outcome.status == 0, outcome.err
        assert np.load(tmp_path / "q.npy") == pytest.approx(predicted.softmax[:3], abs=1e-6)
        first = predicted.softmax[0]
        expected = ", ".join(f"{k} ({first[k]:.4f})" for k in first.argsort()[::-1])
        run, line, *_ = outcome.out.splitlines()
        assert run == f"run: tiny ({trained[0] / 'tiny' / 'best'})"
        assert line == f"{paths[0]}: {expected}"

    def test_grey_images_with_pixels_up_to_1(self, tmp_path, command):
        """A run trained on float 0..1 grey images computes the same outputs for a PNG file of the same pixels."""
        x, y = tiny_arrays()
        grey = x[..., 0] / np.float32(255)
        data = write_folder(tmp_path / "data", x_train=grey, y_train=y, x_test=grey[:5], y_test=None)
        arguments = [f"--data={data}", *TINY, "--epochs=1", "--normalisation=unit"]
        assert command("train", f"--checkpoints={tmp_path}", *arguments).status == 0
        Image.fromarray(x[3, ..., 0]).save(tmp_path / "3.png")
        command("predict", f"--checkpoints={tmp_path}", tmp_path / "3.png", f"--out={tmp_path / 'image.npy'}")
        command("predict", f"--checkpoints={tmp_path}", f"--array={data / 'x_test.npy'}", f"--out={tmp_path / 'a.npy'}")
        command("predict", f"--checkpoints={tmp_path}", data / "x_test.npy", f"--out={tmp_path / 'b.npy'}")
        assert (tmp_path / "b.npy").read_bytes() == (tmp_path / "a.npy").read_bytes()
        assert np.load(tmp_path / "image.npy")[0] == pytest.approx(np.load(tmp_path / "a.npy")[3], abs=1e-6)
        outcome = command("submit", f"--checkpoints={tmp_path}", f"--out={tmp_path / 'submission'}")
        assert outcome.status == 0, outcome.err

    def test_bad_input(self, trained, tmp_path, command):
        (tmp_path / "text.png").write_text("hello")
        np.save(tmp_path / "wide.npy", np.zeros((2, 16, 20, 3), np.uint8))
        root = f"--checkpoints={trained[0]}"
        cases = [
            ([root], "expected image files"),
            ([root, "a.png", "--array=x.npy"], "not both"),
            ([root, "a.png", "x.npy"], "x.npy: an array of images must be the only argument"),
            ([root, str(tmp_path / "none.npy")], "no such file"),
            ([root, tmp_path / "text.png"], "not an image"),
            ([root, tmp_path / "none.png"], "no such file"),
            ([root, f"--array={tmp_path / 'wide.npy'}"], "16x20, expected 16x16"),
            ([root, f"--array={tmp_path / 'none.npy'}"], "no such file"),
            ([root, "--run=none", "a.png"], "no such run"),
            ([f"--checkpoints={tmp_path}", "a.png"], "no trained run"),
        ]
        for arguments, words in cases:
            outcome = command("predict", *arguments)
            assert outcome.status == 2
            assert one_line(outcome.err)
            assert words in outcome.err


def save_as_keras(path, values):
    """Write {variable: array} of a net without batch norm in Keras's legacy layout."""
    with h5py.File(path, "w") as file:
        for name, array in values.items():
            layer, _, leaf = name.rpartition("/")
            group = file.require_group(layer)
            group.attrs["weight_names"] = np.array([b"kernel:0", b"bias:0"])
            group.create_dataset({"w": "kernel:0", "b": "bias:0"}[leaf], data=array)


@pytest.mark.parametrize("missing", [None, "output/b"])
def test_published_weights(missing, command, tmp_path, monkeypatch):
    """A tiny net is registered as an ImageNet net. Its outputs equal those of a graph with the same weights."""
    tiny = Architecture(functools.partial(sequential.build, SEQUENTIAL["vgg_tiny"]), 16, 16, "caffe", False, None)
    monkeypatch.setitem(ARCHITECTURES, "vgg_tiny", tiny)
    generator = np.random.default_rng(0)
    recipe = Recipe(net="vgg_tiny", image_size=16, normalisation="none", keep_prob=1.0)
    graph = build_inference(recipe, (16, 16), 1000)
    weights = {v.op.name: v for v in graph.variables if "normalisation" not in v.op.name}
    values = {name: generator.normal(0, 0.1, v.shape).astype(np.float32) for name, v in weights.items()}
    save_as_keras(tmp_path / "w.h5", {name: array for name, array in values.items() if name != missing})
    pixels = generator.integers(0, 256, (16, 16, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    flags = ["--net=vgg_tiny", f"--weights={tmp_path / 'w.h5'}", f"--out={tmp_path / 'p.npy'}"]
    outcome = command("predict", *flags, tmp_path / "photo.png")
    if missing:
        assert outcome.status == 2
        assert "lacks 1 of the net's variables, such as output/b" in outcome.err
        return
    assert outcome.status == 0
    with graph.graph.as_default(), tf1.session(graph.graph) as session:
        session.run(tf1.tf1.global_variables_initializer())
        for name, variable in weights.items():
            variable.load(values[name], session)
        x = pixels[..., ::-1] - np.array([103.939, 116.779, 123.68])
        expected = session.run(graph.hypothesis, {graph.x: x[None]})
    assert np.load(tmp_path / "p.npy") == pytest.approx(expected, abs=1e-6)
    names = IMAGENET_CLASSES.read_text().splitlines()
    assert len(names) == 1000
    assert f"photo.png: {names[expected.argmax()]} ({expected.max():.4f}), " in outcome.out


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--net=resnet5"], "did you mean 'resnet50'"),
        (["--net=alexnet"], "has no published weights"),
        (["--net=vgg16", "--run=a"], "--run: needs a run, but --net replaces the run"),
    ],
)
def test_a_net_without_published_weights_is_refused(flags, words, command, tmp_path):
    outcome = command("predict", *flags, tmp_path / "photo.png")
    assert outcome.status == 2
    assert words in outcome.err
    assert one_line(outcome.err)
