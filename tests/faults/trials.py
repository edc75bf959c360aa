"""What the tests of faults share: their two lengths, the settings of a tiny run, processes, what of a run repeats."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LONG = os.environ.get("GRAPHCNN_FAULTS") == "long"
SMALL = ["--net=vgg_tiny", "--image_size=16", "--batch_size=16", "--warmup_steps=5", "--dev_split=stratified"]
WALL_CLOCK = ("seconds", "images_per_second", "training_seconds")


def pick(long, short):
    """Return how many to try, by the form of the tests."""
    return long if LONG else short


def long_alone(*values, id):
    """Return a parameter of tests for the long form alone."""
    return pytest.param(*values, id=id, marks=pytest.mark.skipif(not LONG, reason="in the long form alone"))


def start(command, *arguments, through=("-m",), **options):
    """Start a command in a process of its own; `through`: what Python is given before its name."""
    asked = [sys.executable, *map(str, through), f"graphcnn.{command}", *map(str, arguments)]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options}
    options["env"] = {**os.environ, "PYTHONPATH": str(ROOT), **options.get("env", {})}
    return subprocess.Popen(asked, cwd=ROOT, **options)


def finish(process, seconds=300):
    """Return (exit status, stdout, stderr) of a process; it is killed where it takes longer."""
    try:
        out, err = process.communicate(timeout=seconds)
    finally:
        process.kill()
    return process.returncode, out, err


def run(command, *arguments, **options):
    """Run a command in a process of its own; return (exit status, stdout, stderr)."""
    return finish(start(command, *arguments, **options))


def kept(folder):
    """Return what of a run repeats: its checkpoints' bytes, where the links lead, its history without seconds."""
    files = {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.glob("epoch-*/*"))}
    links = {name: (folder / name).resolve().name for name in ("best", "last")}
    with (folder / "history.csv").open(newline="") as file:
        history = [{k: v for k, v in row.items() if k not in WALL_CLOCK} for row in csv.DictReader(file)]
    return files, links, history


def best_score(folder):
    """Return the best dev macro F1 that a run's `best` recorded."""
    return json.loads((folder / "best" / "state.json").read_text())["best_score"]
