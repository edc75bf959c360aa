"""The Python API: compared with the commands, and beside a program's own TensorFlow."""

import json
import re
import shutil
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import write_folder
from photo_files import write_photos
from PIL import Image
from processes import run
from sklearn.metrics import f1_score

import graphcnn
from graphcnn.common import paths
from graphcnn.common.errors import InputError
from graphcnn.storage.run import Run as RunFolder

SETTINGS = {"net": "vgg_tiny", "image_size": 16, "batch_size": 16, "warmup_steps": 0}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return (the run of a training through the API, its data folder)."""
    root = tmp_path_factory.mktemp("api")
    data = write_folder(root / "data")
    given = {"checkpoints": root / "runs", "run": "a", "epochs": 2, "quiet": True}
    return graphcnn.train(data, "assignment", **given, **SETTINGS), data


def test_train_writes_the_run_of_the_command(made, tmp_path, command):
    trained, data = made
    flags = [f"--{name}={value}" for name, value in SETTINGS.items()]
    outcome = command(
        "train", f"--data={data}", "--recipe=assignment", f"--checkpoints={tmp_path}", "--run=b", "--epochs=2", *flags
    )
    assert outcome.status == 0, outcome.err
    for name in ("model.ckpt.index", "model.ckpt.data-00000-of-00001"):
        assert (trained.path / "best" / name).read_bytes() == (tmp_path / "b" / "best" / name).read_bytes()
    assert trained.config["recipe"] == json.loads((tmp_path / "b/config.json").read_text())["recipe"]


def test_a_run_has_its_history_scores_and_curves(made, command):
    trained, _ = made
    assert [row["epoch"] for row in trained.history] == [1, 2]
    assert command("eval", f"--checkpoints={trained.path.parent}", "--run=a").status == 0
    report = json.loads((trained.path / "report/dev.json").read_text())
    scores = trained.scores["dev"]
    assert (scores.macro_f1, scores.accuracy) == (report["macro_f1"], report["accuracy"])
    assert list(scores.intervals["macro_f1"]) == report["intervals"]["macro_f1"]
    assert scores.confusion.tolist() == report["confusion"]
    assert list(trained.scores) == ["dev", "train", "test"]
    with pytest.raises(KeyError):
        trained.scores["all"]
    assert len(trained.curves().axes) == 3


def test_a_model_predicts_arrays_and_files_like_the_command(made, tmp_path, command):
    trained, data = made
    x, y = np.load(data / "x_train.npy")[:9], np.load(data / "y_train.npy")[:9].ravel()
    np.save(tmp_path / "x.npy", x)
    out = tmp_path / "p.npy"
    assert (
        command("predict", f"--checkpoints={trained.path.parent}", "--run=a", tmp_path / "x.npy", f"--out={out}").status
        == 0
    )
    expected = np.load(out)
    with graphcnn.load(trained.path) as model:
        found = model.predict(x)
        assert np.array_equal(found.probabilities, expected)
        assert found.classes == [model.class_names[k] for k in expected.argmax(axis=1)]
        Image.fromarray(x[3]).save(tmp_path / "3.png")
        mixed = model.predict([x[0], tmp_path / "3.png", str(tmp_path / "*.png")])
        assert mixed.probabilities == pytest.approx(expected[[0, 3, 3]], abs=1e-6)
        large = np.repeat(np.repeat(x[0], 3, axis=0), 3, axis=1)
        Image.fromarray(large).save(tmp_path / "large.png")
        both = model.predict([large, tmp_path / "large.png"]).probabilities
        assert np.array_equal(both[0], both[1])
        scores = model.evaluate(x, y)
        labels = range(len(model.class_names))
        assert scores.macro_f1 == pytest.approx(
            f1_score(y, expected.argmax(1), average="macro", labels=labels, zero_division=0)
        )
        assert model.evaluate(x, [model.class_names[k] for k in y]).macro_f1 == scores.macro_f1
    with pytest.raises(InputError, match="this model is closed"):
        model.predict(x)


def test_several_models_and_an_ensemble(made, tmp_path):
    trained, data = made
    root = tmp_path / "runs"
    shutil.copytree(trained.path, root / "a", symlinks=True)
    other = graphcnn.train(data, "assignment", checkpoints=root, run="b", epochs=1, seed=2, quiet=True, **SETTINGS)
    x = np.load(data / "x_test.npy")
    with (
        graphcnn.load("a", checkpoints=root) as a,
        other.load() as b,
        graphcnn.load(["a", "b"], checkpoints=root) as ensemble,
    ):
        mean = (a.predict(x).probabilities + b.predict(x).probabilities) / 2
        assert ensemble.predict(x).probabilities == pytest.approx(mean, abs=1e-6)


def test_load_data(made):
    dataset = graphcnn.load_data(made[1])
    assert np.array_equal(dataset.x_train, np.load(made[1] / "x_train.npy"))
    assert dataset.class_names


BAD = {  # name: (what is called with (run, data folder, root), words of the error)
    "unknown setting": (lambda run, data, root: graphcnn.train(data, epoch=3), "epoch"),
    "wrong type": (lambda run, data, root: graphcnn.train(data, epochs="3", checkpoints=root), "epochs"),
    "impossible value": (lambda run, data, root: graphcnn.train(data, epochs=0, checkpoints=root), "epochs"),
    "unknown recipe": (lambda run, data, root: graphcnn.train(data, "fats", checkpoints=root), "fats"),
    "no data": (lambda run, data, root: graphcnn.train(root / "none", checkpoints=root), "none"),
    "no run": (lambda run, data, root: graphcnn.load("none", checkpoints=root), "none"),
    "unknown option": (lambda run, data, root: graphcnn.load_data(data, fits="crop"), "fits"),
    "wrong shape": (lambda run, data, root: run.load().predict(np.zeros([2, 8, 8, 3], np.uint8)), "expected"),
    "a text": (lambda run, data, root: run.load().predict("a.png"), "expected a list"),
    "no image": (lambda run, data, root: run.load().predict([]), "empty list"),
    "no file": (lambda run, data, root: run.load().predict(["none.png"]), "none.png: no such file"),
    "floats of another size": (lambda run, data, root: run.load().predict([np.zeros([8, 8, 3])]), "uint8"),
    "labels": (lambda run, data, root: run.load().evaluate(np.load(data / "x_test.npy")[:2], [0, 99]), "class ids"),
    "names": (lambda run, data, root: run.load().evaluate(np.load(data / "x_test.npy")[:1], ["x"]), "y: "),
    "a label too few": (lambda run, data, root: run.load().evaluate(np.load(data / "x_test.npy")[:2], [0]), "1 labels"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_raises_an_input_error_of_one_line(case, made, tmp_path):
    call, words = BAD[case]
    with pytest.raises(graphcnn.InputError) as caught:
        call(*made, tmp_path)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_interrupted_training_can_be_resumed(made, tmp_path):
    """SIGINT comes when an epoch is finished, as from Ctrl-C or a notebook's stop button."""

    def interrupt():
        while not (tmp_path / "c" / "last").exists():
            time.sleep(0.02)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    given = {"run": "c", "checkpoints": tmp_path, "quiet": True}
    with pytest.raises(KeyboardInterrupt):
        graphcnn.train(made[1], "assignment", epochs=4000, **given, **SETTINGS)
    done = RunFolder(tmp_path, "c").last_epoch().epoch
    assert 1 <= done < 4000
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert len(graphcnn.train(resume=True, epochs=done + 1, **given).history) == done + 1


def test_the_examples_of_the_page_run(tmp_path, monkeypatch):
    page = Path(__file__).resolve().parents[1] / "docs" / "guides" / "python.md"
    examples = re.findall(r"^```python\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert len(examples) == 4
    write_photos(tmp_path / "photos" / "train", rows=4)
    shutil.copy(next((tmp_path / "photos").rglob("*.png")), tmp_path / "a.jpg")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(paths, "CHECKPOINTS", tmp_path / "checkpoints")
    names = {}
    for example in examples:
        exec(compile(example, str(page), "exec"), names)
    assert len(names["classes"]) == len(names["probabilities"]) > 1


NOTEBOOK = Path(__file__).resolve().parents[1] / "docs" / "quickstart.ipynb"
SHOW_CELLS = """
import ast
import sys
from pathlib import Path
from graphcnn.common import paths
paths.CHECKPOINTS = Path(sys.argv[1])
names = {}
for number, cell in enumerate(sys.argv[2:]):
    tree = ast.parse(cell)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, f"cell {number}", "exec"), names)
    if last:
        value = eval(compile(ast.Expression(last.value), f"cell {number}", "eval"), names)
        print("value:", type(value).__name__, getattr(value, "_repr_png_", bytes)()[1:4])
"""


@pytest.mark.slow
def test_the_notebook_runs(tmp_path):
    """Its code cells run one after another, as in a notebook. Its figures have the picture that a notebook shows."""
    cells = [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] for cell in cells)
    status, out, err = run("-c", SHOW_CELLS, tmp_path, *("".join(cell["source"]) for cell in cells), fresh=True)
    assert status == 0, err
    assert out.count("value: ShownFigure b'PNG'") == 2


def test_the_confusion_matrix_is_a_figure_with_the_names_of_the_classes(made):
    scores = made[0].scores["dev"]
    names = ["cat", "dog", "$x$"]
    (axes,) = scores.confusion_matrix(names).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["cat", "dog", r"\$x\$"]
    assert [text.get_text() for text in axes.texts] == [str(count) for count in scores.confusion.ravel()]
    with pytest.raises(InputError, match="found 1 names, expected 3"):
        scores.confusion_matrix(["cat"])


PROGRAM = """
import sys
import threading
import numpy as np
import tensorflow as tf
import graphcnn
before = tf.constant(2.0) * 3
settings = dict(net="vgg_tiny", image_size=16, batch_size=16, warmup_steps=0, epochs=1, quiet=True)
runs = []
thread = threading.Thread(
    target=lambda: runs.append(graphcnn.train(sys.argv[1], "assignment", checkpoints=sys.argv[2], **settings))
)
thread.start()
thread.join()
import graphcnn.train
assert callable(graphcnn.train) and hasattr(graphcnn.train, "define_flags")
with graphcnn.load(runs[0].path) as model:
    shape = model.predict(np.load(sys.argv[1] + "/x_test.npy")).probabilities.shape
x = tf.Variable(3.0)
with tf.GradientTape() as tape:
    y = x * x
@tf.function
def absolute(value):
    return tf.cond(value > 0, lambda: value, lambda: -value)
print(shape[0], float(tape.gradient(y, x)), float(absolute(tf.constant(-2.0))), float(before), tf.executing_eagerly())
"""


def test_a_program_s_own_tensorflow_works_before_and_after(made, tmp_path):
    """The training runs in another thread than the main thread, where Python allows no signal handlers."""
    status, out, err = run("-c", PROGRAM, made[1], tmp_path, fresh=True)
    assert status == 0, err
    assert out == "24 6.0 2.0 6.0 True\n"
