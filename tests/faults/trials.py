"""Functions for the tests of faults: long and short form, settings of a tiny run, processes, reproducible files."""

import csv
import json
import os

import processes
import pytest
from processes import finish

LONG = os.environ.get("GRAPHCNN_FAULTS") == "long"
SMALL = ["--net=vgg_tiny", "--image_size=16", "--batch_size=16", "--warmup_steps=5", "--dev_split=stratified"]
WALL_CLOCK = ("seconds", "images_per_second", "training_seconds")


def pick(long, short):
    """Return the number of trials in the long or the short form of the tests."""
    return long if LONG else short


def long_alone(*values, id):
    """Return a test parameter that is used only in the long form."""
    return pytest.param(*values, id=id, marks=pytest.mark.skipif(not LONG, reason="in the long form alone"))


def start(command, *arguments, through=("-m",), env=None):
    """Start a command in a process of its own.

    Args:
        through: the arguments of Python before the command's module.
        env: environment variables for a new process. Without them the process is forked, except in the long form.
    """
    fresh = LONG or env is not None
    return processes.start(*through, f"graphcnn.{command}", *arguments, fresh=fresh, **(env or {}))


def run(command, *arguments, **options):
    """Run a command in a process of its own; return (exit status, stdout, stderr)."""
    return finish(start(command, *arguments, **options))


def kept(folder):
    """Return the reproducible content of a run: bytes of checkpoints, targets of links, history without seconds."""
    files = {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.glob("epoch-*/*"))}
    links = {name: (folder / name).resolve().name for name in ("best", "last")}
    with (folder / "history.csv").open(newline="") as file:
        history = [{k: v for k, v in row.items() if k not in WALL_CLOCK} for row in csv.DictReader(file)]
    return files, links, history


def best_score(folder):
    """Return the best dev macro F1 that a run's `best` recorded."""
    return json.loads((folder / "best" / "state.json").read_text())["best_score"]
