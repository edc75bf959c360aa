"""eval, predict and submit on a tiny trained run, as a user calls them."""

import functools
import json
import shutil
import subprocess
import sys
import zipfile

import h5py
import numpy as np
import pytest
from conftest import TINY, one_line, tiny_arrays, write_folder
from PIL import Image
from sklearn.metrics import accuracy_score, f1_score

from graphcnn.config.recipe import Recipe
from graphcnn.evaluation import predictor
from graphcnn.graphs.graph import build_inference
from graphcnn.nets import sequential
from graphcnn.nets.blocks import Architecture
from graphcnn.nets.registry import ARCHITECTURES, SEQUENTIAL
from graphcnn.ops import tf1
from graphcnn.storage.run import Run


@pytest.fixture
def predicted(trained, tmp_path, command):
    """(x_test, y_test, softmax rows that predict gives for x_test)."""
    x, y = tiny_arrays(24, seed=1)
    out = tmp_path / "p.npy"
    data = f"--array={trained[1] / 'x_test.npy'}"
    outcome = command("predict", f"--checkpoints={trained[0]}", data, f"--out={out}")
    assert outcome.status == 0, outcome.err
    return x, y[:, 0], np.load(out)


class TestEval:
    @pytest.mark.parametrize("split", ["dev", "train", "test"])
    def test_scores_and_files(self, split, trained_copy, command):
        outcome = command("eval", f"--checkpoints={trained_copy}", "--split", split)
        assert outcome.status == 0, outcome.err
        report = trained_copy / "tiny" / "report"
        numbers = json.loads((report / f"{split}.json").read_text())
        assert set(numbers) == {
            "macro_f1", "accuracy", "top2_accuracy", "cross_entropy", "precision", "tta", "epoch", "parameters",
            "per_class", "confusion",
        }  # fmt: skip
        assert numbers["parameters"] > 0
        assert numbers["epoch"] == json.loads((trained_copy / "tiny/best/state.json").read_text())["epoch"]
        assert outcome.out.splitlines()[1] == f"{split} macro F1: {numbers['macro_f1']:.6f}"
        assert np.sum(numbers["confusion"]) == {"dev": 24, "train": 72, "test": 24}[split]
        f1 = [numbers["per_class"][name]["f1-score"] for name in "012"]
        assert numbers["macro_f1"] == pytest.approx(np.mean(f1))
        for picture in ("confusion", "mistakes"):
            with Image.open(report / f"{split}_{picture}.png") as image:
                assert image.width > 200

    def test_several_splits_at_once_score_as_each_alone(self, trained_copy, command):
        common = ["eval", f"--checkpoints={trained_copy}"]
        together = command(*common, "--split=train,test")
        assert together.status == 0
        for split in ("train", "test"):
            line = command(*common, f"--split={split}").out.splitlines()[1]
            assert line in together.out
        assert command(*common, "--split=train,tests").status == 2

    def test_the_dev_score_is_the_one_seen_in_training(self, trained_copy, command):
        command("eval", f"--checkpoints={trained_copy}")
        run = Run(trained_copy, "tiny")
        found = json.loads((run.path / "report" / "dev.json").read_text())["macro_f1"]
        assert found == max(row["dev_macro_f1"] for row in run.history(2))

    @pytest.mark.parametrize("precision", ["float32", "bfloat16"])
    def test_without_a_flag_the_precision_is_training_s(self, precision, trained, tmp_path, command):
        common = [f"--checkpoints={tmp_path}", "--run=r"]
        settings = ["--dev_split=stratified", *TINY, "--epochs=1", f"--precision={precision}"]
        assert command("train", f"--data={trained[1]}", *common, *settings).status == 0
        outcome = command("eval", *common)
        computed = precision if precision == "float32" else tf1.choose_precision("auto")[0]
        assert f", trained in {precision}, computed in {computed} (" in outcome.out
        if computed == precision:
            found = json.loads((tmp_path / "r" / "report" / "dev.json").read_text())["macro_f1"]
            assert found == Run(tmp_path, "r").history(1)[0]["dev_macro_f1"]

    def test_precisions_agree_to_the_stated_tolerance(self, trained_copy, command):
        scores = {}
        for precision in ("float32", "bfloat16", "auto"):
            outcome = command("eval", f"--checkpoints={trained_copy}", "--split=train", f"--precision={precision}")
            assert outcome.status == 0, outcome.err
            expected = tf1.choose_precision(precision)
            assert outcome.out.splitlines()[0].endswith(f"computed in {expected[0]} ({expected[1]})")
            scores[precision] = json.loads((trained_copy / "tiny" / "report" / "train.json").read_text())
            assert scores[precision]["precision"] == expected[0]
        assert scores["auto"] == scores[expected[0]]
        assert scores["bfloat16"]["accuracy"] == pytest.approx(scores["float32"]["accuracy"], abs=0.02)
        assert scores["bfloat16"]["cross_entropy"] == pytest.approx(scores["float32"]["cross_entropy"], rel=0.01)

    def test_the_test_score_is_scikit_learn_s(self, trained_copy, predicted, command):
        _, labels, softmax = predicted
        command("eval", f"--checkpoints={trained_copy}", "--split=test")
        numbers = json.loads((trained_copy / "tiny" / "report" / "test.json").read_text())
        assert numbers["macro_f1"] == pytest.approx(f1_score(labels, softmax.argmax(axis=1), average="macro"))
        assert numbers["accuracy"] == pytest.approx(accuracy_score(labels, softmax.argmax(axis=1)))

    def test_a_handed_in_file_without_a_run(self, tmp_path, predicted, command):
        _, labels, softmax = predicted
        np.save(tmp_path / "result.npy", softmax)
        np.save(tmp_path / "y.npy", labels)
        arguments = [f"--predictions={tmp_path / 'result.npy'}", f"--labels={tmp_path / 'y.npy'}"]
        outcome = command("eval", *arguments, f"--checkpoints={tmp_path / 'none'}")
        assert outcome.status == 0, outcome.err
        expected = f1_score(labels, softmax.argmax(axis=1), average="macro")
        assert outcome.out.startswith(f"macro F1: {expected:.6f}\n")

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            (lambda p: p[:-1], "24 labels for 23 images"),
            (lambda p: p[:, :2] / p[:, :2].sum(axis=1, keepdims=True), "has 2 columns"),
            (lambda p: p * 2, "apply softmax"),
            (lambda p: p - 1, "negative"),
            (lambda p: p * np.nan, "NaN"),
            (lambda p: p.argmax(axis=1), "expected float softmax rows"),
            (lambda p: p[:0], "expected float softmax rows"),
        ],
    )
    def test_a_bad_handed_in_file(self, change, words, tmp_path, predicted, command):
        _, labels, softmax = predicted
        np.save(tmp_path / "result.npy", change(softmax))
        np.save(tmp_path / "y.npy", labels)
        outcome = command("eval", f"--predictions={tmp_path / 'result.npy'}", f"--labels={tmp_path / 'y.npy'}")
        assert outcome.status == 2
        assert one_line(outcome.err)
        assert words in outcome.err

    def test_what_is_missing_is_said(self, tmp_path, trained, command):
        unlabelled = write_folder(tmp_path / "data", y_test=None)
        outcome = command("eval", f"--checkpoints={trained[0]}", f"--data={unlabelled}", "--split=test")
        assert outcome.status == 2
        assert "y_test.npy, so the test images have no labels" in outcome.err
        assert "go together" in command("eval", "--predictions=x.npy").err
        assert "expected dev, train, test" in command("eval", f"--checkpoints={trained[0]}", "--split=valid").err


class TestPredict:
    def test_rows_are_probabilities_in_order(self, predicted):
        _, _, softmax = predicted
        assert softmax.shape == (24, 3)
        assert softmax.dtype == np.float32
        assert softmax.sum(axis=1) == pytest.approx(np.ones(24), abs=1e-5)

    def test_image_files_agree_with_the_array(self, trained, predicted, tmp_path, command):
        x, _, softmax = predicted
        paths = []
        for row in range(3):
            paths.append(tmp_path / f"{row}.png")
            Image.fromarray(x[row]).save(paths[-1])
        outcome = command("predict", *paths, f"--checkpoints={trained[0]}", f"--out={tmp_path / 'q.npy'}")
        assert outcome.status == 0, outcome.err
        assert np.load(tmp_path / "q.npy") == pytest.approx(softmax[:3], abs=1e-6)
        top = softmax[0].argsort()[::-1]
        expected = ", ".join(f"{k} {softmax[0][k]:.4f}" for k in top)
        assert outcome.out.splitlines()[0] == f"{paths[0]}: {expected}"

    def test_grey_and_unit_range_data(self, tmp_path, command):
        """A run on float 0..1 grey images takes a PNG of the same pixels and gives the same answer."""
        x, y = tiny_arrays()
        grey = x[..., 0] / np.float32(255)
        data = write_folder(tmp_path / "data", x_train=grey, y_train=y, x_test=grey[:5], y_test=None)
        arguments = [f"--data={data}", *TINY, "--epochs=1", "--normalisation=unit"]
        assert command("train", f"--checkpoints={tmp_path}", *arguments).status == 0
        Image.fromarray(x[3, ..., 0]).save(tmp_path / "3.png")
        command("predict", f"--checkpoints={tmp_path}", tmp_path / "3.png", f"--out={tmp_path / 'image.npy'}")
        command("predict", f"--checkpoints={tmp_path}", f"--array={data / 'x_test.npy'}", f"--out={tmp_path / 'a.npy'}")
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


class TestSubmit:
    def test_a_hand_in_that_tensorflow_alone_can_use(self, trained, predicted, tmp_path, command):
        _, _, softmax = predicted
        out = tmp_path / "submission"
        outcome = command("submit", f"--checkpoints={trained[0]}", f"--out={out}")
        assert outcome.status == 0, outcome.err
        assert outcome.out.splitlines()[-1].startswith("ready: ")
        result = np.load(out / "result.npy")
        assert result.dtype == np.float32
        assert np.array_equal(result, softmax)
        names = {path.name for path in out.iterdir()}
        assert {"README.md", "config.json", "history.csv", "grader.py", "model.ckpt.meta"} <= names
        with zipfile.ZipFile(tmp_path / "submission.zip") as packed:
            assert {name.removeprefix("submission/") for name in packed.namelist()} == names

        # a grader's own program, written after the course's fixed tail: no graphcnn, x alone
        program = (
            "import sys, numpy as np, tensorflow as tf\n"
            "tf1 = tf.compat.v1; tf1.disable_eager_execution()\n"
            "saver = tf1.train.import_meta_graph('model.ckpt.meta')\n"
            "with tf1.Session() as s:\n"
            "    saver.restore(s, tf.train.latest_checkpoint('.'))\n"
            "    x = np.load(sys.argv[1]).astype('float32')\n"
            "    p = s.run('hypothesis:0', {'x:0': x})\n"
            "    print(np.abs(p - np.load('result.npy')).max())\n"
            "    kinds = {op.type for op in tf1.get_default_graph().get_operations()}\n"
            "    print(any('Adam' in k or 'Gradient' in k for k in kinds), 'graphcnn' in sys.modules)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", program, trained[1] / "x_test.npy"],
            cwd=out, capture_output=True, text=True, check=True,
        )  # fmt: skip
        difference, rest = done.stdout.splitlines()
        assert float(difference) <= 1e-5
        assert rest == "False False"

    def test_the_verifier_notices_a_wrong_result(self, trained, tmp_path, command):
        out = tmp_path / "submission"
        assert command("submit", f"--checkpoints={trained[0]}", f"--out={out}").status == 0
        result = np.load(out / "result.npy")
        np.save(out / "result.npy", result[::-1])
        done = subprocess.run(
            [sys.executable, out / "grader.py", trained[1] / "x_test.npy"], capture_output=True, text=True
        )
        assert done.returncode == 1
        assert "largest difference" in done.stdout

    def test_a_failed_verification_replaces_nothing(self, trained, tmp_path, command, monkeypatch):
        from graphcnn import submit

        out = tmp_path / "submission"
        assert command("submit", f"--checkpoints={trained[0]}", f"--out={out}").status == 0
        before = {path.name: path.read_bytes() for path in out.iterdir()}
        write = submit._write

        def spoil(folder, *others):
            write(folder, *others)
            np.save(folder / "result.npy", np.load(folder / "result.npy") + np.float32(1e-3))

        monkeypatch.setattr(submit, "_write", spoil)
        outcome = command("submit", f"--checkpoints={trained[0]}", f"--out={out}")
        assert outcome.status == 2
        assert "does not reproduce result.npy" in outcome.err
        assert "ready" not in outcome.out
        assert {path.name: path.read_bytes() for path in out.iterdir()} == before
        assert {path.name for path in tmp_path.iterdir()} >= {"submission", "submission.zip"}
        assert not list(tmp_path.glob(".submission*"))

    def test_a_hand_in_set_aside_by_a_kill_outlives_a_failed_submit(self, trained, tmp_path, command, monkeypatch):
        """A kill between the two renames leaves the older hand-in under its other name alone."""
        from graphcnn import submit

        old = tmp_path / ".submission.old"
        old.mkdir()
        (old / "result.npy").write_text("the only copy")
        monkeypatch.setattr(submit, "_write", lambda *_: 1 / 0)
        assert command("submit", f"--checkpoints={trained[0]}", f"--out={tmp_path / 'submission'}").status == 1
        assert (old / "result.npy").read_text() == "the only copy"

    def test_nothing_foreign_is_replaced(self, trained, tmp_path, command):
        out = tmp_path / "home"
        out.mkdir()
        (out / "thesis.tex").write_text("mine")
        outcome = command("submit", f"--checkpoints={trained[0]}", f"--out={out}")
        assert outcome.status == 2
        assert "thesis.tex" in outcome.err
        shutil.rmtree(out)
        with zipfile.ZipFile(tmp_path / "home.zip", "w") as packed:
            packed.writestr("home/photos.txt", "mine")
        assert "photos.txt" in command("submit", f"--checkpoints={trained[0]}", f"--out={out}").err
        (tmp_path / "home.zip").write_text("no zip")
        assert "something else" in command("submit", f"--checkpoints={trained[0]}", f"--out={out}").err
        (tmp_path / "home.zip").unlink()
        out.mkdir()
        (out / "README.md").write_text("mine, though a hand-in has a file of this name too")
        assert "README.md" in command("submit", f"--checkpoints={trained[0]}", f"--out={out}").err
        assert command("submit", f"--checkpoints={trained[0]}", "--out=/").status == 2

    def test_without_x_test(self, trained, tmp_path, command):
        data = write_folder(tmp_path / "data", x_test=None, y_test=None)
        outcome = command("submit", f"--checkpoints={trained[0]}", f"--data={data}", f"--out={tmp_path / 'out'}")
        assert outcome.status == 2
        assert "nothing to predict" in outcome.err
        assert not (tmp_path / "out").exists()


class TestTestTimeAugmentation:
    def test_eval_predict_and_submit_agree(self, trained_fast, tmp_path, command):
        root, data = trained_fast
        softmax = {}
        for tta in (False, True):
            flags = [f"--checkpoints={root}", *["--tta"] * tta]
            out, hand_in = tmp_path / f"{tta}.npy", tmp_path / f"submission_{tta}"
            assert command("predict", *flags, f"--array={data / 'x_test.npy'}", f"--out={out}").status == 0
            softmax[tta] = np.load(out)
            outcome = command("submit", *flags, f"--out={hand_in}")  # its verifier feeds tta:0 or not
            assert outcome.status == 0, outcome.err
            assert np.array_equal(np.load(hand_in / "result.npy"), softmax[tta])
            said = " ".join((hand_in / "README.md").read_text().split())
            assert ("by test-time augmentation: tta:0 is fed True too" in said) == tta
            assert ("by the plain forward pass: x:0 alone is fed" in said) != tta
            assert f"`python grader.py {'--tta ' * tta}x_test.npy`" in said
            outcome = command("eval", *flags, "--split=test", "--precision=float32")
            assert ("computed in float32 with tta" in outcome.out) == tta
            numbers = json.loads((root / "fast" / "report" / "test.json").read_text())
            assert numbers["tta"] == tta
            labels = tiny_arrays(24, seed=1)[1][:, 0]
            expected = -np.log(softmax[tta][np.arange(24), labels]).mean()
            assert numbers["cross_entropy"] == pytest.approx(expected, rel=1e-3)
        assert np.abs(softmax[True] - softmax[False]).max() > 1e-4

        # the plain pass is what a grader gets who feeds x alone, from either hand-in
        for out in (tmp_path / "submission_True", tmp_path / "submission_False"):
            np.save(tmp_path / "plain.npy", softmax[False])
            arguments = [sys.executable, out / "grader.py", data / "x_test.npy", tmp_path / "plain.npy"]
            done = subprocess.run(arguments, capture_output=True, text=True)
            assert done.returncode == 0, done.stdout + done.stderr

    @pytest.mark.parametrize(
        ("name", "flags"), [("eval", []), ("predict", ["a.png"]), ("submit", ["--out={tmp}/submission"])]
    )
    def test_a_run_without_views_is_refused(self, name, flags, trained, tmp_path, command):
        Image.fromarray(tiny_arrays()[0][0]).save(tmp_path / "a.png")
        flags = [flag.replace("{tmp}", str(tmp_path)).replace("a.png", str(tmp_path / "a.png")) for flag in flags]
        outcome = command(name, f"--checkpoints={trained[0]}", "--tta", *flags)
        assert outcome.status == 2
        assert one_line(outcome.err)
        assert "--tta: run tiny was trained without --flip and --translate" in outcome.err
        assert not (tmp_path / "submission").exists()

    def test_not_for_a_handed_in_file(self, command):
        outcome = command("eval", "--tta", "--predictions=p.npy", "--labels=y.npy")
        assert outcome.status == 2
        assert "--tta: nothing is computed with --predictions" in outcome.err


def save_for_keras(path, values):
    """Write {variable: array} of a net without batch norm in Keras's legacy layout."""
    with h5py.File(path, "w") as file:
        for name, array in values.items():
            layer, _, leaf = name.rpartition("/")
            group = file.require_group(layer)
            group.attrs["weight_names"] = np.array([b"kernel:0", b"bias:0"])
            group.create_dataset({"w": "kernel:0", "b": "bias:0"}[leaf], data=array)


@pytest.mark.parametrize("lacks", [None, "output/b"])
def test_predict_with_published_weights(lacks, command, tmp_path, monkeypatch):
    """A tiny net in an ImageNet net's place; the numbers against a graph that is fed by hand."""
    tiny = Architecture(functools.partial(sequential.build, SEQUENTIAL["vgg_tiny"]), 16, 16, "caffe", False, None)
    monkeypatch.setitem(ARCHITECTURES, "vgg_tiny", tiny)
    generator = np.random.default_rng(0)
    plain = Recipe(net="vgg_tiny", image_size=16, normalisation="none", keep_prob=1.0)
    built = build_inference(plain, (16, 16), 1000)
    weights = {v.op.name: v for v in built.variables if "normalisation" not in v.op.name}
    values = {name: generator.normal(0, 0.1, v.shape).astype(np.float32) for name, v in weights.items()}
    save_for_keras(tmp_path / "w.h5", {name: array for name, array in values.items() if name != lacks})
    pixels = generator.integers(0, 256, (16, 16, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    flags = ["--net=vgg_tiny", f"--weights={tmp_path / 'w.h5'}", f"--out={tmp_path / 'p.npy'}"]
    outcome = command("predict", *flags, tmp_path / "photo.png")
    if lacks:
        assert outcome.status == 2
        assert "lacks 1 of the net's variables, such as output/b" in outcome.err
        return
    assert outcome.status == 0
    with built.graph.as_default(), tf1.session(built.graph) as running:
        running.run(tf1.tf1.global_variables_initializer())
        for name, variable in weights.items():
            variable.load(values[name], running)
        seen = pixels[..., ::-1] - np.array([103.939, 116.779, 123.68])
        expected = running.run(built.hypothesis, {built.x: seen[None]})
    found = np.load(tmp_path / "p.npy")
    assert found == pytest.approx(expected, abs=1e-6)
    names = predictor.CLASS_NAMES.read_text().splitlines()
    assert len(names) == 1000
    assert f"photo.png: {names[expected.argmax()]} {expected.max():.4f}, " in outcome.out


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--net=resnet5"], "did you mean 'resnet50'"),
        (["--net=alexnet"], "there are none"),
        (["--net=vgg16", "--run=a"], "--run: is a run's"),
    ],
)
def test_predict_refuses_what_it_has_no_weights_for(flags, words, command, tmp_path):
    outcome = command("predict", *flags, tmp_path / "photo.png")
    assert outcome.status == 2
    assert words in outcome.err
    assert one_line(outcome.err)
