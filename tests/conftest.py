import base64
import contextlib
import importlib
import io
import os
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import processes
import pytest

from graphcnn.common.command import run_command

TINY = ["--net=vgg_tiny", "--image_size=16", "--batch_size=16", "--warmup_steps=5", "--epochs=2"]
FAST = ["--recipe=fast", "--image_size=18", "--early_size=16", "--batch_size=16", "--lookahead=2", "--epochs=2"]
SMALL_FAST = [*FAST, "--net=vgg_tiny", "--head=pooled"]  # 2,000 parameters for 2.4 million; a third of the time
RARE = [pytest.mark.slow, pytest.mark.ci]  # .ci/run runs it, ./run.sh test does not


ZOO = pytest.StashKey()  # {(architecture, reference): {size: {"here", "there", "logits", "step"}}}
ZOO_HEAD = """# The zoo and its originals

The table compares each architecture of graphcnn with the original, which is the same architecture in Keras (tf_keras)
or PyTorch (torchvision). Both have the same random weights, 10 classes and a batch of 8 random images, in float32.
`./run.sh test -m slow -k parity --zoo=docs/results/zoo.md` wrote this page.

- *Parameters* counts the trainable parameters.
- *Logits* is the largest difference of a logit at inference, divided by the largest logit.
- *Step* is the difference after one step of SGD: the largest difference in the update of a weight or of a moving mean
  or variance, divided by the norm of this update.

| architecture | original | parameters here | parameters of the original | size | logits | step | size | logits | step |
|---|---|---|---|---|---|---|---|---|---|
"""


TALLY = pytest.StashKey()  # {what was tried: Tried}
FAULTS_HEAD = """# Faults

`GRAPHCNN_FAULTS=long ./run.sh test -m faults` writes the rows of this page. With `-k NAME`, it runs one test and
replaces only the rows of this test. The environment variables that a row names were set too. All rows were measured
with 2 cores, Python 3.11 and TensorFlow 2.21.0.

The tests damage a run or a file. They count the trials in which something is lost:

- A run is lost if afterwards the bytes of its checkpoints, its history without seconds, or its best score differ from
  those of a run without the event, or if a command ends with the wrong exit status.
- An input is lost if a loader raises another error than `InputError`, returns values that the file does not hold, takes
  more than 10 s or much more memory than the size of the file, runs a program, or writes a file.
- A command in which a system call fails loses something if it prints a traceback or several error lines, if
  a file that was complete before is neither old nor new, if a finished run is trained again, or if the same command
  without the fault then fails, writes other bytes or leaves temporary files. `tests/faults/scenarios.py` lists the
  commands.

| fault | trials | lost | test | measured |
|---|---|---|---|---|
"""


class Tried:
    """The trials of one fault: their number, the number of losses, and the names of the tests."""

    def __init__(self):
        self.trials, self.lost, self.tests = 0, 0, {}

    def row(self, what):
        tests = ", ".join(f"`{test}`" for test in self.tests)
        return f"| {what} | {self.trials:,} | {self.lost} | {tests} | {date.today()} |"


def pytest_addoption(parser):
    parser.addoption("--zoo", metavar="FILE", help="write the parity tests' table to this .md")


def pytest_sessionfinish(session):
    _write_zoo(session)
    _write_faults(session)


@pytest.fixture(scope="session", autouse=True)
def state_home(tmp_path_factory):
    """Keep the record of checkpoints, which trainings write, out of the user's home."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(scope="session", autouse=True)
def no_data_folder(tmp_path_factory):
    """Hide the folder data/ of the user, which is the default of --data."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("graphcnn.data.sources.DEFAULT_FOLDER", tmp_path_factory.mktemp("no_data"))
        yield


@pytest.fixture(scope="session", autouse=True)
def no_slow_lines():
    """Keep the lines of progress.say_if_slow out of the output, since they depend on the load of the machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("graphcnn.common.progress.SLOW_SECONDS", 1e6)
        yield


@pytest.fixture
def tally(request):
    """Count trials and losses for docs/results/faults.md: tally(name of the trial, lost=0, tried=1, environment="").

    environment: further environment variables that are needed to repeat the trials.
    """
    counts = request.config.stash.setdefault(TALLY, {})

    def count(what, lost=0, tried=1, environment=""):
        entry = counts.setdefault(what, Tried())
        entry.trials += int(tried)
        entry.lost += int(lost)
        entry.tests[f"{environment} {request.node.originalname}".strip()] = True

    return count


def _write_faults(session):
    """Replace the rows of docs/results/faults.md whose faults were tried, after tests of the long form."""
    counts = session.config.stash.get(TALLY, {})
    if not counts or session.testsfailed or os.environ.get("GRAPHCNN_FAULTS") != "long":
        return
    path = Path(__file__).resolve().parents[1] / "docs" / "results" / "faults.md"
    rows = {}
    for line in path.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 5 and cells[1].replace(",", "").isdigit() and cells[0] != "all":
            rows[cells[0]] = line
    rows |= {what: entry.row(what) for what, entry in counts.items()}
    numbers = [[int(cell.replace(",", "")) for cell in row.split("|")[2:4]] for row in rows.values()]
    trials, lost = map(sum, zip(*numbers, strict=True))
    path.write_text(FAULTS_HEAD + "\n".join([*rows.values(), f"| all | {trials:,} | {lost} | | |", ""]))


def _write_zoo(session):
    rows = session.config.stash.get(ZOO, {})
    if not (session.config.option.zoo and rows):
        return
    lines = []
    for (name, reference), sizes in sorted(rows.items()):
        first = next(iter(sizes.values()))
        cells = [name, reference, f"{first['here']:,}", f"{first['there']:,}"]
        cells += [cell for size, row in sizes.items() for cell in (size, f"{row['logits']:.1e}", f"{row['step']:.1e}")]
        lines.append(f"| {' | '.join(map(str, cells))} |\n")
    Path(session.config.option.zoo).write_text(ZOO_HEAD + "".join(lines))


def pytest_collection_modifyitems(config, items):
    """Leave out the slow tests, unless -m selects tests."""
    if config.option.markexpr:
        return
    slow = [item for item in items if item.get_closest_marker("slow")]
    config.hook.pytest_deselected(items=slow)
    items[:] = [item for item in items if item not in set(slow)]


def run_quietly(name, *arguments):
    """Run a command line in this process, check that its exit status is 0, and return what it printed."""
    module, out = importlib.import_module(f"graphcnn.{name}"), io.StringIO()
    with contextlib.redirect_stdout(out):
        status = run_command(name, "", module.define_flags(), module.main, list(map(str, arguments)))
    assert status == 0, out.getvalue()
    return out.getvalue()


class Outcome:
    """The exit status of a command, its stdout and its stderr."""

    def __init__(self, status, out, err):
        self.status, self.out, self.err = status, out, err


BLANK = base64.b64decode(  # a PNG of one pixel
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGP4DwABAQEAsTj2FAAAAABJRU5ErkJggg=="
)


@pytest.fixture
def command(capfd, request, monkeypatch):
    """Run a command line in this process: command("train", "--epochs=2", …) -> Outcome.

    Pictures are blank, except in tests with the mark `pictures`: drawing them is half the time of a tiny training. The
    grader of a submission runs in a forked process.
    """

    def run(name, *arguments):
        module = importlib.import_module(f"graphcnn.{name}")
        if name == "submit":
            monkeypatch.setattr("graphcnn.submission.verify.subprocess", SimpleNamespace(run=processes.subprocess_run))
        if not request.node.get_closest_marker("pictures"):
            monkeypatch.setattr("graphcnn.evaluation.figure._save", lambda figure, path: Path(path).write_bytes(BLANK))
        capfd.readouterr()
        status = run_command(name, module.__doc__, module.define_flags(), module.main, list(map(str, arguments)))
        return Outcome(status, *capfd.readouterr())

    return run


def tiny_arrays(rows=96, side=16, classes=3, seed=0):
    """Return learnable images uint8 [rows, side, side, 3] (each class has a colour) and labels int64 [rows, 1]."""
    generator = np.random.default_rng(seed)
    labels = np.arange(rows) % classes
    images = generator.integers(0, 120, (rows, side, side, 3))
    images[np.arange(rows), :, :, labels % 3] += 80
    return images.astype(np.uint8), labels[:, None].astype(np.int64)


def write_folder(folder, **arrays):
    """Write the assignment's files with tiny arrays; an argument replaces an array, and None omits its file."""
    folder.mkdir(parents=True, exist_ok=True)
    x, y = tiny_arrays()
    x_test, y_test = tiny_arrays(24, seed=1)
    for name, array in {"x_train": x, "y_train": y, "x_test": x_test, "y_test": y_test, **arrays}.items():
        if array is not None:
            np.save(folder / f"{name}.npy", array)
    return folder


@pytest.fixture
def data_folder(tmp_path):
    return write_folder(tmp_path / "data")


def train_once(root, name, settings):
    """Train a run on the tiny files; return (checkpoints folder, data folder)."""
    data, checkpoints = write_folder(root / "data"), root / "checkpoints"
    common = [f"--data={data}", f"--checkpoints={checkpoints}", f"--run={name}", "--dev_split=stratified"]
    run_quietly("train", *common, *settings)
    return checkpoints, data


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """Train a tiny run once; return (checkpoints folder, data folder). Tests copy it before they change it."""
    return train_once(tmp_path_factory.mktemp("trained"), "tiny", [*TINY, "--normalisation=standardize"])


@pytest.fixture(scope="session")
def trained_fast(tmp_path_factory):
    """Train a tiny run of the recipe fast once; return (checkpoints folder, data folder)."""
    return train_once(tmp_path_factory.mktemp("trained_fast"), "fast", SMALL_FAST)


class Predicted(NamedTuple):
    """The test labels, int64 [N], and the softmax outputs of a run, float32 [N, K]."""

    labels: np.ndarray
    softmax: np.ndarray


@pytest.fixture(scope="session")
def predicted(trained, tmp_path_factory):
    """Return predict's outputs of the tiny run for the test images."""
    out = tmp_path_factory.mktemp("predicted") / "p.npy"
    run_quietly("predict", f"--checkpoints={trained[0]}", f"--array={trained[1] / 'x_test.npy'}", f"--out={out}")
    return Predicted(tiny_arrays(24, seed=1)[1][:, 0], np.load(out))


@pytest.fixture
def trained_copy(trained, tmp_path):
    """Return a copy of the tiny run's checkpoints folder that a test may damage."""
    import shutil

    shutil.copytree(trained[0], tmp_path / "copy", symlinks=True)
    return tmp_path / "copy"


def one_line(text):
    """Return whether a text is exactly one line without a traceback."""
    return text.count("\n") == 1 and text.endswith("\n") and "Traceback" not in text
