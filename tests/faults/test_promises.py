"""Guarantees for long runs: the same bytes for one seed, advice after a failure, and no growth of memory."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest
from conftest import FAST, one_line, tiny_arrays, write_folder
from trials import LONG, SMALL, finish, kept, pick, run, start

from graphcnn import train
from graphcnn.common.command import run_command
from graphcnn.storage import checkpoint
from graphcnn.training import stages

pytestmark = pytest.mark.faults

NETS = {  # the kinds of training that differ in what they draw and keep
    "assignment": [*SMALL, "--epochs=4"],
    "fast": [*FAST, "--epochs=4", "--dev_split=stratified"],
    "batch norm, augmented": [
        *SMALL, "--epochs=4", "--batch_norm", "--flip=random", "--zoom=0.2", "--rotate=9", "--brightness=0.2",
    ],
}  # fmt: skip
SHORT = ("batch norm, augmented", "bfloat16")


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("net", NETS)
def test_one_seed_gives_the_same_bytes_also_when_resumed(net, precision, tmp_path, tally):
    if not LONG and (net, precision) != SHORT:
        pytest.skip("in the long form alone")
    data = write_folder(tmp_path / "data")
    common = ["--resume", f"--data={data}", *NETS[net], f"--precision={precision}"]
    for name in ("once", "again"):
        status, _, err = run("train", *common, "--run=run", f"--checkpoints={tmp_path / name}")
        assert status == 0, err
    process = start("train", *common, "--run=run", f"--checkpoints={tmp_path / 'resumed'}")
    while process.poll() is None and not (tmp_path / "resumed" / "run" / "epoch-0002").exists():
        pass
    process.send_signal(signal.SIGKILL)
    assert finish(process)[0] == -signal.SIGKILL, "the run ended before it could be killed"
    status, _, err = run("train", *common, "--run=run", f"--checkpoints={tmp_path / 'resumed'}")
    assert status == 0, err
    once, again, resumed = (kept(tmp_path / name / "run") for name in ("once", "again", "resumed"))
    tally("the same seed again, the same bytes", once != again)
    tally("the same seed, killed and resumed, the same bytes", once != resumed)
    assert once == again
    assert once == resumed
    other = [*common, "--run=run", f"--checkpoints={tmp_path / 'other'}", "--seed=7"]
    assert run("train", *other)[0] == 0
    assert kept(tmp_path / "other" / "run")[0] != once[0]


def test_divergence_stops_with_advice_and_keeps_the_last_good_state(tmp_path, tally):
    """A learning rate of 1e3 with a warm-up of one epoch: the first epoch is saved, then training diverges."""
    x, y = tiny_arrays(rows=480)
    data = write_folder(tmp_path / "data", x_train=x, y_train=y)
    common = [f"--data={data}", f"--checkpoints={tmp_path}", *SMALL, "--optimizer=nesterov"]
    common += ["--normalisation=standardize", "--epochs=20"]
    status, _, err = run("train", *common, "--run=a", "--learning_rate=1e3", "--warmup_steps=0")
    at_once = status == 2 and one_line(err) and "lower --learning_rate" in err and "no epoch was saved" in err
    late = [*common, "--run=b", "--learning_rate=1e3", "--warmup_steps=1000000"]
    status, _, said = run("train", *late)
    kept_one = (
        status == 2
        and one_line(said)
        and "the checkpoint of epoch " in said
        and " is kept" in said
        and (tmp_path / "b" / "best").exists()
    )
    scored = run("eval", f"--checkpoints={tmp_path}", "--run=b")[0] == 0
    lost = not (at_once and kept_one and scored)
    tally("divergence, its advice and what it keeps", lost)
    assert not lost, (err, said)


def test_advice_if_the_network_learns_nothing(tmp_path, tally):
    data = write_folder(tmp_path / "data")
    common = [f"--data={data}", f"--checkpoints={tmp_path}", *SMALL, "--epochs=16", "--stop_on=nothing"]
    status, out, _ = run("train", *common, "--learning_rate=1e-12")
    lost = status != 0 or out.count("has learned nothing in 8 epochs") != 1
    tally("a net that learns nothing is told so", lost)
    assert not lost, out


def test_nothing_grows_over_many_epochs(tmp_path, tally, monkeypatch):
    """Memory, operations of the graph and open files are counted after each epoch."""
    if not Path("/proc/self/statm").exists():
        pytest.skip("this system does not say what a process has in use as Linux does")
    epochs = pick(200, 40)
    seen, graphs = [], []
    build, update_links = stages.build_training, checkpoint.update_links

    def built(*arguments):
        graphs.append(build(*arguments))
        return graphs[-1]

    def count_after(*arguments):
        update_links(*arguments)
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        files = len(list(Path("/proc/self/fd").iterdir()))
        seen.append((pages * os.sysconf("SC_PAGE_SIZE"), files, len(graphs[0].graph.get_operations())))

    monkeypatch.setattr(stages, "build_training", built)
    monkeypatch.setattr(checkpoint, "update_links", count_after)
    data = write_folder(tmp_path / "data")
    flags = ["--flip=random", "--zoom=0.1", "--patience=1000", f"--epochs={epochs}"]
    arguments = [f"--data={data}", f"--checkpoints={tmp_path}", *SMALL, *flags]
    assert run_command("train", "", train.define_flags(), train.main, arguments) == 0
    memory, files, operations = np.array(seen).T
    settled = epochs // 4  # allocators have grown to what an epoch needs
    growth = np.polyfit(np.arange(epochs - settled), memory[settled:], 1)[0]  # bytes an epoch
    lost = growth > 50_000 or len(set(files[settled:])) > 1 or len(set(operations)) > 1
    tally("epochs in one process without growth", lost, tried=epochs)
    assert graphs[0].graph.finalized
    assert len(seen) == epochs
    assert len(set(operations)) == 1
    assert len(set(files[settled:])) == 1, files
    assert growth < 50_000, memory
