"""explain: maps compared with closed forms, the picture, and the command line."""

import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import TINY, one_line, run_quietly, write_folder
from PIL import Image

from graphcnn import explain
from graphcnn.evaluation import pictures
from graphcnn.evaluation.activation_maps import add_activation_maps, compute_maps
from graphcnn.evaluation.trained_run import TrainedRun
from graphcnn.ops.tf1 import session as new_session
from graphcnn.ops.tf1 import tf, tf1
from graphcnn.storage.run import Run

MAPS = np.array([[[1.0, 0.0], [2.0, 1.0]], [[0.0, 3.0], [1.0, 1.0]]], np.float32)[None]  # [1, 2, 2, 2]
WEIGHTS = np.array([[1.0, -2.0], [3.0, 0.5]], np.float32)  # of two channels, for two classes
FLAT = np.arange(16, dtype=np.float32).reshape(8, 2) - 6  # of the four positions' two channels


def activation_map(head, target):
    """Return (method, map [2, 2]) of a graph whose logits are head(maps)."""
    with tf1.Graph().as_default() as graph:
        maps = tf.nn.relu(tf1.placeholder(tf.float32, [None, 2, 2, 2], name="maps"))
        tensors = add_activation_maps(SimpleNamespace(graph=graph, logits=head(maps)))
    with new_session(graph) as session:
        return tensors.method, session.run(tensors.maps, {"maps:0": MAPS, tensors.target: [target]})[0]


@pytest.mark.parametrize("target", [0, 1])
def test_cam_is_the_weighted_sum_of_the_feature_maps(target):
    """The map is the sum over channels of w[c, k] f[..., c]."""
    method, _ = activation_map(lambda maps: tf.reduce_mean(maps, axis=[1, 2]) @ WEIGHTS + 5.0, target)
    assert method == "Grad-CAM"  # an addition other than a bias may depend on anything
    method, cam = activation_map(
        lambda maps: tf.nn.bias_add(tf.reduce_mean(maps, axis=[1, 2]) @ WEIGHTS, [5.0, 6.0]), target
    )
    assert method == "CAM"
    assert cam == pytest.approx(MAPS[0] @ WEIGHTS[:, target])


@pytest.mark.parametrize("target", [0, 1])
def test_grad_cam_weights_channels_by_mean_gradients(target):
    """The gradient at a position and channel is the weight of the dense layer there."""
    method, grad_cam = activation_map(lambda maps: tf.reshape(maps, [-1, 8]) @ FLAT, target)
    alpha = FLAT[:, target].reshape(2, 2, 2).mean(axis=(0, 1))
    assert method == "Grad-CAM"
    assert grad_cam == pytest.approx(np.maximum(MAPS[0] @ alpha, 0))


def test_the_maps_before_the_last_pool_are_used():
    """Only the position of the maximum has a gradient through a max pool."""
    pooled = lambda maps: tf.reshape(tf.nn.max_pool2d(maps, 2, 2, "VALID"), [-1, 2]) @ WEIGHTS  # noqa: E731
    method, grad_cam = activation_map(pooled, 0)
    assert (method, grad_cam.shape) == ("Grad-CAM", (2, 2))
    assert grad_cam == pytest.approx(np.maximum(MAPS[0] @ (WEIGHTS[:, 0] / 4), 0))


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Train a run with a pooled head (CAM) and a run with the net's own head (Grad-CAM); write two images."""
    root = tmp_path_factory.mktemp("explained")
    data = write_folder(root / "data")
    for name, settings in {"cam": ["--head=pooled"], "grad": []}.items():
        run_quietly("train", f"--data={data}", f"--checkpoints={root}", f"--run={name}", *TINY, *settings)
    generator = np.random.default_rng(0)
    for name, size in {"wide": (30, 60), "tall": (50, 20)}.items():
        Image.fromarray(generator.integers(0, 255, (*size, 3), dtype=np.uint8)).save(root / f"{name}.png")
    return root


def test_a_map_is_red_where_it_is_highest_and_blue_where_it_is_lowest():
    image = np.full((40, 80, 3), 128, np.uint8)
    coloured = pictures.overlaid(image, np.array([[0.0, 1.0], [0.0, 3.0]])).astype(int)
    assert coloured.shape == (40, 80, 3)
    red, _, blue = np.moveaxis(coloured, 2, 0)
    assert red[-1, -1] > blue[-1, -1] + 40  # the lower right corner
    assert blue[0, 0] > red[0, 0] + 40


def test_the_mean_of_a_cam_plus_the_bias_is_the_logit(runs):
    run = TrainedRun(Run(runs, "cam"))
    graph = run.build_one_view()
    tensors = add_activation_maps(graph)
    images = np.load(runs / "data" / "x_test.npy")[:5].astype(np.float32)
    with run.open(graph) as predictor:
        biases = predictor.session.run(next(v for v in graph.variables if v.op.name == "predictions/b"))
        all_logits = predictor.session.run(graph.logits, {graph.x: images})
        for k, bias in enumerate(biases):
            maps, logits = compute_maps(predictor, tensors, images, np.full(5, k)), all_logits[:, k]
            assert maps.mean(axis=(1, 2)) + bias == pytest.approx(logits, rel=1e-4, abs=1e-5)


@pytest.mark.pictures
@pytest.mark.parametrize(("run", "method"), [("cam", "CAM"), ("grad", "Grad-CAM")])
def test_picture_of_image_files(run, method, runs, tmp_path, command):
    out = tmp_path / "sheet.png"
    photos = [runs / "wide.png", runs / "tall.png"]
    outcome = command("explain", f"--checkpoints={runs}", f"--run={run}", f"--out={out}", *photos)
    assert outcome.status == 0, outcome.err
    assert f"best), {method}" in outcome.out
    assert "wide.png: predicted: " in outcome.out
    with Image.open(out) as sheet:
        red, _, blue = np.moveaxis(np.asarray(sheet.convert("RGB")).astype(int), 2, 0)
    assert (red > blue + 60).mean() > 0.01
    assert (blue > red + 60).mean() > 0.01


def test_folders_patterns_and_broken_files(runs, tmp_path, command, monkeypatch):
    """Each picture has at most two files here. The third picture has none, because its only file is broken."""
    monkeypatch.setattr(explain, "MOST_IMAGES", 2)
    folder, out = tmp_path / "photos", tmp_path / "sheet.png"
    (folder / "b").mkdir(parents=True)
    for name in ("a.png", "b/c.png", "b/d.png"):
        shutil.copy(runs / "tall.png", folder / name)
    (folder / "b/e.png").write_bytes(b"no image")
    (tmp_path / "z.png").write_bytes(b"no image")
    flags = [f"--checkpoints={runs}", "--run=cam", f"--out={out}"]
    outcome = command("explain", *flags, folder, tmp_path / "z*.png")
    assert (outcome.status, one_line(outcome.err)) == (2, True)
    assert outcome.err == "graphcnn explain: 2 of 5 files could not be read; stdout names them\n"
    for name in ("a.png", "b/c.png", "b/d.png"):
        assert f"\n{folder / name}: predicted: " in outcome.out
    for path in (folder / "b/e.png", tmp_path / "z.png"):
        assert f"\n{path}: " in outcome.out
    assert sorted(path.name for path in tmp_path.glob("sheet*")) == ["sheet_1.png", "sheet_2.png"]
    outcome = command("explain", *flags, folder / "b/e.png")
    assert (outcome.status, one_line(outcome.err)) == (2, True)
    assert str(folder / "b/e.png") in outcome.err
    assert not out.exists()


@pytest.mark.pictures
def test_picture_of_the_worst_images(runs, command):
    """The images are in increasing order of the probability of their true class."""
    assert command("explain", f"--checkpoints={runs}", "--run=cam", "--split=dev", "--worst=4").status == 0
    outcome = command("explain", f"--checkpoints={runs}", "--run=cam", "--split=dev", "--worst=100")
    lines = [line for line in outcome.out.splitlines() if line.startswith("row ")]
    assert len(lines) == 24
    shown = [float(line.rpartition(" ")[2]) for line in lines]
    assert shown == sorted(shown)
    assert (runs / "cam" / "report" / "explain.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ([], "expected image files, folders or patterns, or --split=dev"),
        (["--split=dev", "x.png"], "and not both"),
        (["--split=all"], "--split: found 'all'"),
        (["--split=dev", "--worst=0"], "--worst: found 0"),
        (["--split=dev", "--worst=101"], "--worst: found 101, expected a whole number from 1 to 100"),
        (["--worst=3", "x.png"], "--worst: is for --split"),
        (["missing.png"], "missing.png: no such file"),
        (["*.nothing"], "*.nothing: no file fits this pattern"),
        (["--net=mobilenet", "--run=cam", "x.png"], "--run: needs a run, but --net replaces the run"),
        (["--weights=imagenet", "x.png"], "--weights: needs --net"),
    ],
)
def test_bad_flags_are_refused(flags, words, runs, command):
    outcome = command("explain", f"--checkpoints={runs}", *flags)
    assert outcome.status == 2
    assert one_line(outcome.err)
    assert words in outcome.err
