"""Exports: other programs compute the same probabilities from them, in separate processes."""

import json
import os
import shutil
import subprocess
import sys
import warnings
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import TINY, one_line, tiny_arrays, write_folder
from PIL import Image

from graphcnn.common.errors import UnreadableFile
from graphcnn.exporters import npz, savedmodel
from graphcnn.exporters.write import default_name
from graphcnn.ops.tf1 import tf
from graphcnn.storage.run import Run

PROGRAMS = {  # {format: how a program without this package computes probabilities from path and images}
    "savedmodel": """
import tensorflow as tf
probabilities = tf.saved_model.load(path).signatures["serving_default"](x=tf.constant(images))["hypothesis"].numpy()
""",
    "tflite": """
import tensorflow as tf
interpreter = tf.lite.Interpreter(model_path=path)
x, hypothesis = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
assert (x["name"], list(x["shape_signature"])) == ("x", [-1, *images.shape[1:]])
interpreter.resize_tensor_input(x["index"], images.shape)
interpreter.allocate_tensors()
interpreter.set_tensor(x["index"], images)
interpreter.invoke()
probabilities = interpreter.get_tensor(hypothesis["index"])
""",
    "npz": """
file = np.load(path, allow_pickle=False)
x = (images - file["normalisation/mean"]) / file["normalisation/scale"]
for layer in ("conv1_1", "conv2_1", "conv3_1"):
    x = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), (1, 2))  # [N, H, W, C, 3, 3]
    x = np.maximum(np.einsum("nhwcij,ijck->nhwk", windows, file[f"{layer}/w"]) + file[f"{layer}/b"], 0)
    n, h, w, k = x.shape
    x = x.reshape(n, h // 2, 2, w // 2, 2, k).max(axis=(2, 4))
x = x.reshape(len(x), -1)
for layer in ("dense1", "output"):
    x = x @ file[f"{layer}/w"] + file[f"{layer}/b"]
e = np.exp(x - x.max(axis=1, keepdims=True))
probabilities = e / e.sum(axis=1, keepdims=True)
""",
}


def computed(kind, path, images, folder):
    """Return the softmax outputs that a process without this package computes for the images."""
    np.save(folder / "images.npy", images)
    program = (
        "import sys\nimport numpy as np\npath, folder = sys.argv[1:]\nimages = np.load(folder + '/images.npy')\n"
        f"{PROGRAMS[kind]}\nnp.save(folder + '/p.npy', probabilities)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, path, folder], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return np.load(folder / "p.npy")


@pytest.mark.parametrize("kind", PROGRAMS)
def test_another_program_computes_the_same(kind, trained, predicted, tmp_path, command):
    checkpoints, data = trained
    out = tmp_path / f"out.{kind}"
    outcome = command("export", f"--format={kind}", f"--checkpoints={checkpoints}", "--run=tiny", f"--out={out}")
    assert outcome.status == 0, outcome.err
    assert outcome.err == ""
    assert "agrees on 24 of the run's images" in outcome.out
    images = np.load(data / "x_test.npy").astype(np.float32)
    assert computed(kind, out, images, tmp_path) == pytest.approx(predicted.softmax, abs=1e-5)
    again = command("export", f"--format={kind}", f"--checkpoints={checkpoints}", "--run=tiny", f"--out={out}")
    assert again.status == 0, again.err


@pytest.mark.parametrize("kind", PROGRAMS)
def test_an_ensemble_computes_the_mean_of_predict(kind, trained, trained_fast, tmp_path, command):
    """The runs have different nets; one of them has views, lookahead and whitening."""
    checkpoints, data = tmp_path / "both", trained[1]
    shutil.copytree(trained[0], checkpoints, symlinks=True)
    shutil.copytree(trained_fast[0] / "fast", checkpoints / "fast", symlinks=True)
    common = [f"--checkpoints={checkpoints}", "--run=tiny,fast"]
    out = tmp_path / f"out.{kind}"
    outcome = command("export", f"--format={kind}", *common, f"--out={out}", f"--data={data}")
    if kind == "tflite":  # fast resizes images from 16x16 to 18x18 inside the graph
        assert outcome.status == 2
        assert one_line(outcome.err)
        assert "an operation that TensorFlow Lite lacks" in outcome.err
        assert not out.exists()
        return
    assert outcome.status == 0, outcome.err
    if kind == "savedmodel":
        images = np.load(data / "x_test.npy").astype(np.float32)
        assert command("predict", *common, f"--array={data / 'x_test.npy'}", f"--out={tmp_path / 'p.npy'}").status == 0
        assert computed(kind, out, images, tmp_path) == pytest.approx(np.load(tmp_path / "p.npy"), abs=1e-5)
    else:
        with np.load(out, allow_pickle=False) as file:
            about = json.loads(str(file["config.json"]))
            assert {name.partition("/")[0] for name in file} == {"config.json", "member_1", "member_2"}
        assert [each["run"] for each in about["members"]] == ["tiny", "fast"]
        assert about["class_names"] == ["0", "1", "2"]


def read_about(kind, path):
    """Return the JSON object that an export contains."""
    if kind == "npz":
        with np.load(path, allow_pickle=False) as file:
            return json.loads(str(file["config.json"]))
    if kind == "tflite":
        with zipfile.ZipFile(path) as packed:
            return json.loads(packed.read("graphcnn.json"))
    return json.loads((path / "assets.extra" / "graphcnn.json").read_text())


@pytest.mark.parametrize("kind", PROGRAMS)
def test_an_export_says_how_image_files_are_resized(kind, trained, tmp_path, command):
    out = tmp_path / f"out.{kind}"
    flags = [f"--format={kind}", f"--checkpoints={trained[0]}", "--run=tiny", f"--out={out}"]
    assert command("export", *flags).status == 0
    about = read_about(kind, out)
    assert about["class_names"] == ["0", "1", "2"]
    assert about["image_files"]["resize_to"] == about["image_shape"] == [16, 16]
    assert "BILINEAR" in about["image_files"]["resize_filter"]
    assert about["image_files"]["fit"] == "crop"


@pytest.mark.parametrize(("kind", "script"), [("savedmodel", "model/predict.py"), ("tflite", "model.py")])
def test_the_program_beside_an_export_prints_what_predict_prints(kind, script, trained, tmp_path, command):
    """Also from an image file with another size and grey pixels, in a process without this package."""
    out = tmp_path / "model"
    flags = [f"--checkpoints={trained[0]}", "--run=tiny"]
    outcome = command("export", f"--format={kind}", *flags, f"--out={out}")
    assert outcome.status == 0, outcome.err
    assert f"to classify an image file: python {tmp_path / script} photo.png\n" in outcome.out
    photos, generator = [], np.random.default_rng(0)
    for n, shape in enumerate([(16, 16, 3), (40, 23, 3), (31, 50)]):
        photos.append(str(tmp_path / f"{n}.png"))
        Image.fromarray(generator.integers(0, 256, shape, dtype=np.uint8)).save(photos[-1])
    expected = [line for line in command("predict", *flags, *photos).out.splitlines() if ".png: " in line]
    program = [sys.executable, "-I", tmp_path / script, *photos]
    done = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == expected
    assert len(expected) == 3


def test_a_file_of_the_user_is_not_replaced_by_the_program_of_an_export(trained, tmp_path, command):
    (tmp_path / "a.tflite.py").write_text("mine")
    flags = ["--format=tflite", f"--checkpoints={trained[0]}", "--run=tiny"]
    outcome = command("export", *flags, f"--out={tmp_path / 'a.tflite'}")
    assert (outcome.status, one_line(outcome.err)) == (2, True)
    assert "a.tflite.py exists and is not a program that export wrote" in outcome.err
    assert [path.name for path in tmp_path.iterdir()] == ["a.tflite.py"]
    for _ in range(2):
        assert command("export", *flags, f"--out={tmp_path / 'b.tflite'}").status == 0


def test_a_tflite_file_has_a_signature_and_class_names(trained, predicted, tmp_path, command):
    checkpoints, data = trained
    out = tmp_path / "a.tflite"
    assert command("export", "--format=tflite", f"--checkpoints={checkpoints}", f"--out={out}").status == 0
    images = np.load(data / "x_test.npy").astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the interpreter will move to another package
        runner = tf.lite.Interpreter(model_path=str(out)).get_signature_runner("serving_default")
    assert runner(x=images)["hypothesis"] == pytest.approx(predicted.softmax, abs=1e-5)
    with zipfile.ZipFile(out) as packed:
        assert packed.read("labels.txt") == b"0\n1\n2\n"


def test_the_default_name_of_a_large_ensemble_is_short_enough():
    names = [f"suite/experiment-{n}-seed51" for n in range(20)]
    name = default_name(SimpleNamespace(nets=[SimpleNamespace(name=name) for name in names]), "tflite")
    assert name.startswith("suite-experiment-0-seed51+suite-experiment-1-seed51+")
    assert name.endswith(".tflite")
    assert len(name) < 230
    assert (
        default_name(SimpleNamespace(nets=[SimpleNamespace(name="a"), SimpleNamespace(name="s/b")]), "npz")
        == "a+s-b.npz"
    )


def test_files_of_the_operating_system_do_not_block_an_export(tmp_path):
    (tmp_path / ".DS_Store").touch()
    assert savedmodel.why_foreign(tmp_path) is None
    (tmp_path / "Thumbs.db").mkdir()
    assert savedmodel.why_foreign(tmp_path) == "it contains Thumbs.db (a folder)"


def test_noise_is_compared_if_the_data_are_missing(trained_copy, tmp_path, command):
    run = Run(trained_copy, "tiny")
    config = run.config()
    run.write_config({**config, "data": {**config["data"], "source": str(tmp_path / "gone")}})
    outcome = command("export", "--format=npz", f"--checkpoints={trained_copy}", f"--out={tmp_path / 'a.npz'}")
    assert outcome.status == 0, outcome.err
    assert "256 images of noise" in outcome.out
    assert f"the run's data cannot be used: --data={tmp_path / 'gone'}: no such folder" in outcome.out


def test_an_export_that_cannot_be_read_again_replaces_nothing(trained, tmp_path, command, monkeypatch):
    def fails(path, images):
        raise tf.errors.ResourceExhaustedError(None, None, "No space left on device")

    monkeypatch.setattr(npz, "compute", fails)
    out = tmp_path / "a.npz"
    outcome = command("export", "--format=npz", f"--checkpoints={trained[0]}", f"--out={out}")
    assert (outcome.status, outcome.err) == (
        2, f"graphcnn export: {out}: cannot be read again (No space left on device)\n",
    )  # fmt: skip
    assert not out.exists()


def test_unreadable_data_are_not_missing(trained, tmp_path, command, monkeypatch):
    def fails(path):
        raise UnreadableFile(path, "cannot be read (Input/output error)")

    monkeypatch.setattr("graphcnn.data.npy.read_array", fails)
    outcome = command("export", "--format=npz", f"--checkpoints={trained[0]}", f"--out={tmp_path / 'a.npz'}")
    assert (outcome.status, outcome.out.count("noise")) == (2, 0)
    assert "cannot be read (Input/output error)" in outcome.err


def test_an_export_that_disagrees_replaces_nothing(trained, tmp_path, command, monkeypatch):
    out = tmp_path / "a.npz"
    common = ["--format=npz", f"--checkpoints={trained[0]}", "--run=tiny", f"--out={out}"]
    assert command("export", *common).status == 0
    before = out.read_bytes()
    compute = npz.compute

    def compute_wrongly(path, images):
        probabilities, runtime = compute(path, images)
        return probabilities + 2e-4, runtime

    monkeypatch.setattr(npz, "compute", compute_wrongly)
    outcome = command("export", *common)
    assert outcome.status == 2
    assert one_line(outcome.err)
    assert "differs from the graph's by 0.0002, expected at most 0.0001; nothing was replaced" in outcome.err
    assert out.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


def _contents(folder):
    return {path: path.is_symlink() or path.is_dir() or path.read_bytes() for path in sorted(folder.rglob("*"))}


def test_an_export_folder_with_other_files_is_not_replaced(trained, tmp_path, command):
    """Hidden files and folders of the user beside the export stay, too."""
    out = tmp_path / "model"
    for name in (".model.old", ".model.new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "notes").write_text("mine")
    common = ["--format=savedmodel", f"--checkpoints={trained[0]}", "--run=tiny", f"--out={out}"]
    for _ in range(2):
        assert command("export", *common).status == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [".model.new", ".model.old", "model"]
    for added in ("NOTES.md", "variables/notes.txt", "assets.extra/link", "assets/vocabulary.txt"):
        path = out / added
        path.parent.mkdir(exist_ok=True)
        path.symlink_to(tmp_path) if path.name == "link" else path.write_text("mine")
        before = _contents(tmp_path)
        outcome = command("export", *common)
        assert outcome.status == 2
        assert one_line(outcome.err)
        assert f"is not an export in the format savedmodel (it contains {added.partition('/vocab')[0]}" in outcome.err
        assert _contents(tmp_path) == before
        path.unlink()


@pytest.mark.parametrize("kind", PROGRAMS)
def test_links_and_irregular_files_are_not_replaced(kind, trained, tmp_path, command, monkeypatch):
    out, common = tmp_path / "out", [f"--format={kind}", f"--checkpoints={trained[0]}", "--run=tiny"]
    assert command("export", *common, f"--out={tmp_path / 'target'}").status == 0
    monkeypatch.setattr("graphcnn.exporters.write.load_data", lambda *_: 1 / 0)  # refused before anything is computed
    out.symlink_to("target")
    outcome = command("export", *common, f"--out={out}")
    assert outcome.status == 2
    assert f"is not an export in the format {kind} (it is a symbolic link)" in outcome.err
    assert out.is_symlink()
    out.unlink()
    os.mkfifo(out)
    assert "(it is a FIFO)" in command("export", *common, f"--out={out}").err


@pytest.mark.parametrize("kind", ["savedmodel", "npz"])
def test_a_kill_before_the_last_step_leaves_the_older_export(kind, trained, tmp_path, command, monkeypatch):
    """The exception stands for SIGKILL: no error handler of the command catches it."""

    class Killed(BaseException):
        pass

    def kill(*_):
        raise Killed

    out = tmp_path / "out"
    common = [f"--format={kind}", f"--checkpoints={trained[0]}", "--run=tiny", f"--out={out}"]
    assert command("export", *common).status == 0
    before = _contents(tmp_path)
    for name in ("graphcnn.common.replace._exchange", "pathlib.Path.replace"):
        with monkeypatch.context() as patched:
            patched.setattr(name, kill)
            if (kind == "npz") == (name == "pathlib.Path.replace"):
                with pytest.raises(Killed):
                    command("export", *common)
                assert _contents(tmp_path) == before


def test_runs_of_different_data_cannot_be_one_graph(trained, tmp_path, command):
    checkpoints = tmp_path / "both"
    shutil.copytree(trained[0], checkpoints, symlinks=True)
    x, _ = tiny_arrays()
    data = write_folder(tmp_path / "unit", x_train=(x / 255).astype(np.float32), x_test=None, y_test=None)
    common = [f"--data={data}", f"--checkpoints={checkpoints}", "--run=unit", "--dev_split=stratified"]
    assert command("train", *common, *TINY).status == 0
    outcome = command("export", "--format=npz", f"--checkpoints={checkpoints}", "--run=tiny,unit")
    assert outcome.status == 2
    assert one_line(outcome.err)
    assert "unit and tiny were trained on different data" in outcome.err


BAD = {  # name: (flags, words of the message)
    "an unknown format": (["--format=savedmodl"], "did you mean 'savedmodel'"),
    "a folder of other things": (
        ["--format=savedmodel", "--out=FULL"],
        "this exists and is not an export in the format savedmodel",
    ),
    "another program's model": (
        ["--format=savedmodel", "--out=FULL/model"],
        "this exists and is not an export in the format savedmodel",
    ),
    "a folder for a file": (["--format=npz", "--out=FULL"], "this exists and is not an export in the format npz"),
    "a file for a folder": (
        ["--format=savedmodel", "--out=FULL/a"],
        "this exists and is not an export in the format savedmodel",
    ),
    "another npz": (["--format=npz", "--out=FULL/x.npz"], "this exists and is not an export in the format npz"),
    "another file": (["--format=tflite", "--out=FULL/a"], "this exists and is not an export in the format tflite"),
    "a folder that cannot be written": (["--format=savedmodel", "--out=/proc/model"], "/proc"),
    "an unknown run": (["--format=npz", "--run=other"], "no such run"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_flags(case, trained, tmp_path, command):
    flags, words = BAD[case]
    (tmp_path / "full" / "model" / "variables").mkdir(parents=True)
    (tmp_path / "full" / "model" / "saved_model.pb").write_bytes(b"")
    (tmp_path / "full" / "a").write_text("mine")
    np.savez(tmp_path / "full" / "x.npz", x=np.zeros(3))
    flags = [flag.replace("FULL", str(tmp_path / "full")) for flag in flags]
    outcome = command("export", f"--checkpoints={trained[0]}", *flags)
    assert outcome.status == 2
    assert one_line(outcome.err)
    assert words in outcome.err
    assert (tmp_path / "full" / "a").read_text() == "mine"
    assert np.load(tmp_path / "full" / "x.npz")["x"].shape == (3,)
