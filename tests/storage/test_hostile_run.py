"""A run folder of a stranger: commands refuse its links and irregular files, and write nothing outside it."""

import json
import os
import shutil
import socket
from pathlib import Path

import pytest
from conftest import one_line

from graphcnn.storage import checkpoint
from graphcnn.storage.run import Run

EPOCH = "epoch-0002"
HOSTILE = {  # path in the run: where its link leads; {home} is a folder with a secret and a copy of a checkpoint
    ".config.json.new": "{home}/secret",
    ".lock": "{home}/secret",
    "report/.dev.json.new": "{home}/secret",
    "report/dev.json": "{home}/secret",
    "history.csv": "{home}/secret",
    "calibration.json": "{home}/secret",
    "config.json": "{home}/config.json",
    "events": "{home}",
    "report": "{home}",
    f"{EPOCH}/model.ckpt.index": "{home}/epoch-0002/model.ckpt.index",
    EPOCH: "{home}/epoch-0002",
    "best": "{home}/epoch-0002",
    "last": "../tiny/epoch-0002",
}
COMMANDS = {
    "eval": ("eval", "--run=tiny", "--data=digits"),
    "resume": ("train", "--run=tiny", "--resume", "--epochs=3"),
    "overwrite": ("train", "--run=tiny", "--overwrite", "--epochs=1"),
    "submit": ("submit", "--run=tiny", "--data=digits"),
    "export": ("export", "--run=tiny", "--format=npz"),
    "explain": ("explain", "--run=tiny", "--split=dev"),
    "predict": ("predict", "--run=tiny", __file__),
    "weights": ("train", "--weights=tiny", "--run=new", "--data=digits"),
}


@pytest.fixture()
def home(trained_copy, tmp_path):
    """Return a folder that holds a secret, and copies of files of the run."""
    home, run = tmp_path / "home", trained_copy / "tiny"
    home.mkdir()
    (home / "secret").write_text("mine")
    shutil.copytree(run / EPOCH, home / EPOCH)
    shutil.copy(run / "config.json", home)
    (run / "report").mkdir(exist_ok=True)
    return home


def contents(folder):
    return {path: path.is_file() and path.read_bytes() for path in folder.rglob("*")}


def refused(outcome, words):
    assert (outcome.status, one_line(outcome.err)) == (2, True), outcome
    assert words in outcome.err


def remove(path):
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def refused_by(name, trained_copy, command, tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)  # submit and export write here
    first, *flags = COMMANDS[name]
    refused(command(first, *flags, f"--checkpoints={trained_copy}"), words)


@pytest.mark.parametrize("path", HOSTILE)
@pytest.mark.parametrize("name", ["eval", "resume"])
def test_a_link_in_a_run_is_refused(name, path, home, trained_copy, command, tmp_path, monkeypatch):
    before = contents(home)
    remove(trained_copy / "tiny" / path)
    (trained_copy / "tiny" / path).symlink_to(HOSTILE[path].format(home=home))
    refused_by(name, trained_copy, command, tmp_path, monkeypatch, "link")
    assert contents(home) == before


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_refuses_links(name, home, trained_copy, command, tmp_path, monkeypatch):
    before = contents(home)
    (trained_copy / "tiny/.config.json.new").symlink_to(home / "secret")
    refused_by(name, trained_copy, command, tmp_path, monkeypatch, "link")
    assert contents(home) == before


@pytest.mark.parametrize("path", ["config.json", "history.csv", "split.npz", "curves.png", f"{EPOCH}/manifest.json"])
@pytest.mark.parametrize("kind", ["a FIFO", "a socket"])
def test_a_file_that_is_not_regular_is_refused(kind, path, trained_copy, command, tmp_path, monkeypatch):
    path = trained_copy / "tiny" / path
    path.unlink(missing_ok=True)
    if kind == "a FIFO":
        os.mkfifo(path)
    else:
        monkeypatch.chdir(path.parent)  # the path of a socket has at most 108 characters
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path.name)
    refused_by("eval", trained_copy, command, tmp_path, monkeypatch, f"{path}: is {kind}, expected a regular file")


def test_the_folder_of_an_ensemble_is_no_link(home, trained_copy, command):
    shutil.copytree(trained_copy / "tiny", trained_copy / "other", symlinks=True)
    (trained_copy / "ensembles").symlink_to(home)
    before = contents(home)
    refused(command("eval", "--run=tiny,other", f"--checkpoints={trained_copy}"), "ensembles: is a symbolic link")
    assert contents(home) == before


def test_links_that_a_killed_training_leaves_are_allowed(trained_copy, command):
    run = Run(trained_copy, "tiny")
    for name in (".best.new", ".last.0123456789abcdef.new"):
        (run.path / name).symlink_to(EPOCH)
    (run.path / ".epoch-0003.new").mkdir()
    run.refuse_links()
    assert command("train", "--run=tiny", "--resume", f"--checkpoints={trained_copy}").status == 0
    assert not list(run.path.glob(".*.new"))


def test_a_copy_of_a_run_without_links_is_read(trained_copy, tmp_path):
    shutil.copytree(trained_copy / "tiny", tmp_path / "copies/tiny")  # links become folders
    assert checkpoint.verify(Run(tmp_path / "copies", "tiny"), "best") == tmp_path / "copies/tiny/best"


@pytest.mark.parametrize("kept", [EPOCH, "best", "last"])
def test_a_run_without_its_config_is_not_started_again(kept, trained_copy, command):
    run = trained_copy / "tiny"
    for path in [run / "config.json", *(run / name for name in ("best", "last", EPOCH) if name != kept)]:
        remove(path)
    for flag in ("--resume", "--epochs=2"):
        refused(command("train", "--run=tiny", flag, f"--checkpoints={trained_copy}"), "config.json: this file is miss")
        assert Path(run / kept).is_symlink() or (run / kept).is_dir()
    flags = ["--net=vgg_tiny", "--image_size=16", "--epochs=1"]
    assert command("train", "--run=tiny", "--overwrite", f"--checkpoints={trained_copy}", *flags).status == 0


HOSTILE_RECIPES = {  # setting: (value, words)
    "image_size": (1024, "evaluation computes 256 images of 16x16 pixels at a time"),
    "translate": (16, "expected less than the 16x16 pixels"),
    "net": ("vg", "did you mean 'vgg'"),
    "batch_size": (10**400, "between -2147483647 and 2147483647"),
    "learning_rate": (10**400, "between -2147483647 and 2147483647"),
    "warmup_steps": (2**31, "between -2147483647 and 2147483647"),
}


@pytest.mark.parametrize("setting", HOSTILE_RECIPES)
def test_an_impossible_recipe_is_refused_before_its_graph_is_built(setting, trained_copy, command):
    path = trained_copy / "tiny" / "config.json"
    value, words = HOSTILE_RECIPES[setting]
    config = json.loads(path.read_text())
    path.write_text(json.dumps(config | {"recipe": config["recipe"] | {setting: value}}))
    outcome = command("eval", f"--checkpoints={trained_copy}", "--run=tiny")
    refused(outcome, words)
    assert str(path) in outcome.err


@pytest.mark.parametrize(
    ("name", "size"),
    [("model.ckpt.meta", 15 << 30), ("model.ckpt.data-00000-of-00001", 1 << 40), ("state.json", 1 << 30)],
)
def test_a_large_sparse_file_is_refused_by_its_size(name, size, trained_copy, command):
    os.truncate(trained_copy / "tiny" / EPOCH / name, size)
    refused(command("eval", f"--checkpoints={trained_copy}", "--run=tiny"), f"{name}: has more than ")


@pytest.mark.parametrize("shape", [[1, 1 << 24], [0, 16], [-16, 16], [8192, 8192], [20000, 20000]])
def test_an_impossible_image_shape_is_refused(shape, trained_copy, command):
    path = trained_copy / "tiny/config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps(config | {"data": config["data"] | {"image_shape": shape}}))
    refused(command("predict", f"--checkpoints={trained_copy}", "--run=tiny", __file__), "config.json: cannot be read")


def test_a_history_of_millions_of_rows_is_refused(trained_copy, command):
    with (trained_copy / "tiny/history.csv").open("a") as file:
        file.write("3,,,,,,,,,,\n" * 200_000)
    outcome = command("train", "--resume", "--epochs=3", f"--checkpoints={trained_copy}", "--run=tiny")
    refused(outcome, "history.csv: cannot be read (more than 100,000 rows)")


def test_a_copy_without_links_is_not_resumed(trained_copy, command, tmp_path):
    shutil.copytree(trained_copy / "tiny", tmp_path / "copies/tiny")  # links become folders
    outcome = command("train", "--resume", "--epochs=3", f"--checkpoints={tmp_path / 'copies'}", "--run=tiny")
    refused(outcome, "last: is a folder, expected a link")
    assert not list((tmp_path / "copies/tiny").glob(".*.new"))
