"""run.sh in a temporary folder, with a tiny package in place of graphcnn; nothing is downloaded."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from graphcnn.config.commands import COMMANDS

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def clone(tmp_path):
    """Return a folder with run.sh, an empty requirements.txt and a `train` that prints its arguments."""
    folder = tmp_path / "clone with space"
    (folder / "graphcnn").mkdir(parents=True)
    shutil.copy(ROOT / "run.sh", folder)
    for name in ("requirements.txt", "requirements-dev.txt", "constraints.txt"):
        (folder / name).write_text("# nothing\n")
    (folder / "graphcnn" / "__init__.py").touch()
    (folder / "graphcnn" / "common").mkdir()
    shutil.copy(ROOT / "graphcnn" / "common" / "bootstrap.py", folder / "graphcnn" / "common")
    (folder / "graphcnn" / "train.py").write_text("import os, sys\nprint(os.getcwd(), sys.argv[1:])\nsys.exit(7)\n")
    return folder


def call(clone, *arguments, cwd="/", **environment):
    environment = {**os.environ, **environment}
    environment.pop("PYTHON" if "PYTHON" not in environment else "", None)
    return subprocess.run([clone / "run.sh", *arguments], cwd=cwd, env=environment, capture_output=True, text=True)


def fake_python(folder, version):
    path = folder / f"python{version}"
    path.write_text(f"#!/bin/sh\necho {version}\n")
    path.chmod(0o755)
    return path


def test_the_environment_is_created_once(clone, tmp_path):
    first = call(clone, "train", "--epochs=1", "a b", cwd=tmp_path)
    assert (first.returncode, first.stdout) == (7, f"{tmp_path} ['--epochs=1', 'a b']\n")
    assert "creating" in first.stderr
    assert call(clone, "train").stderr == ""


def test_a_link_to_the_file_uses_the_folder_of_the_file(clone, tmp_path):
    elsewhere, package = tmp_path / "elsewhere", tmp_path / "elsewhere/graphcnn/common"
    package.mkdir(parents=True)
    (package / "bootstrap.py").write_text("raise SystemExit('a program of a stranger')")
    (elsewhere / ".venv").mkdir()
    (elsewhere / ".venv/mine").touch()
    (tmp_path / "relative").symlink_to("clone with space/run.sh")
    (elsewhere / "run.sh").symlink_to("../relative")
    done = call(elsewhere, "train", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (7, f"{tmp_path} []\n")
    assert sorted(path.name for path in elsewhere.iterdir()) == [".venv", "graphcnn", "run.sh"]
    assert (elsewhere / ".venv/mine").exists()


def test_a_folder_that_is_no_environment_is_not_deleted(clone):
    (clone / ".venv").mkdir()
    (clone / ".venv/mine").touch()
    done = call(clone, "train")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert ".venv: is not a virtual environment of Python" in done.stderr
    assert (clone / ".venv/mine").exists()


@pytest.mark.slow
def test_the_environment_is_repaired_and_renewed(clone):
    call(clone, "train")
    (clone / ".venv" / "installed").unlink()  # as an interrupted install leaves it
    (clone / ".venv" / "bin" / "python").unlink()
    repaired = call(clone, "train")
    assert (repaired.returncode, "creating" in repaired.stderr) == (7, True)

    (clone / ".venv" / "bin" / "python").unlink()  # as an upgrade of the system's Python leaves it
    assert "creating" in call(clone, "train").stderr

    (clone / "requirements.txt").write_text("# something else\n")
    assert "creating" in call(clone, "train").stderr
    assert call(clone, "train").stderr == ""


@pytest.mark.slow
@pytest.mark.ci
def test_unpinned_installs_without_the_constraints_and_is_kept(clone):
    (clone / "constraints.txt").write_text("pip install fails because of this line\n")
    failed = call(clone, "train", UNPINNED="0")
    assert failed.returncode == 2
    assert failed.stderr.endswith("run.sh: installing requirements.txt failed; check the network and call again\n")
    for unpinned, creates in ({"UNPINNED": "1"}, True), ({}, False):
        done = call(clone, "train", **unpinned)
        assert (done.returncode, "creating" in done.stderr) == (7, creates)
        assert "versions: newest\n" in (clone / ".venv" / "installed").read_text()


@pytest.mark.parametrize("version", ["2.7", "3.9", "3.14"])
def test_an_unsupported_python_is_refused_in_one_line(clone, tmp_path, version):
    done = call(clone, "train", PYTHON=str(fake_python(tmp_path, version)))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert f"is Python {version}" in done.stderr
    assert not (clone / ".venv").exists()


def test_a_program_that_is_not_python_is_refused(clone):
    done = call(clone, "train", PYTHON="/bin/false")
    message = "run.sh: /bin/false: is not a Python interpreter; choose one with PYTHON=/path/to/python3\n"
    assert (done.returncode, done.stderr) == (2, message)


def test_a_missing_python_is_refused(clone):
    done = call(clone, "train", PYTHON="/nowhere/python3")
    assert done.returncode == 2
    assert done.stderr == "run.sh: /nowhere/python3: no such Python; choose one with PYTHON=/path/to/python3\n"


@pytest.mark.parametrize("arguments", [[], ["trian"]])
def test_usage(clone, arguments):
    done = call(clone, *arguments)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert (
        "train|eval|predict|submit|grade|explain|export|experiments|runs|report|inspect|bench|launch|test"
        in done.stderr
    )
    assert not (clone / ".venv").exists()


@pytest.mark.parametrize("flag", ["--help", "-h", "help"])
def test_help_has_a_line_for_each_command(clone, flag):
    done = call(clone, flag)
    assert (done.returncode, done.stderr) == (0, "")
    lines = dict(line.split(maxsplit=1) for line in done.stdout.splitlines() if line.startswith("  "))
    assert lines == {**COMMANDS, "test": "run the tests"}
    assert not (clone / ".venv").exists()
