"""Files in the current folder, in PYTHONPATH and beside the package are not imported by commands and their children."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import TINY, write_folder

from graphcnn.benchmark.implementation_process import ImplementationProcess
from graphcnn.common import isolated, paths
from graphcnn.config.setting_paths import absolute, recorded_settings
from graphcnn.launch import define_flags
from graphcnn.submission.verify import verify
from graphcnn.sweeps.child import ChildProcesses, output_lines
from graphcnn.training.launch_workers import launch, with_absolute_paths

MODULES = (
    "json", "numpy", "os", "re", "runpy", "site", "sitecustomize", "usercustomize", "tensorflow", "rich", "matplotlib",
    "readline", "errors", "graphcnn", "absl/__init__",
)  # fmt: skip
SHOW = """import json, os, sys
line = json.dumps({"cwd": os.getcwd(), "listed": os.listdir(), "path": sys.path, "arguments": sys.argv[1:]})
"""


@pytest.fixture
def hostile(tmp_path):
    """Return a folder with modules that would write the file `marker` into it."""
    folder = tmp_path / "hostile"
    plant(folder, folder / "marker")
    return folder


def plant(folder, marker):
    for name in MODULES:
        path = folder / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"open({str(marker)!r}, 'a').write(__name__ + ' ')\n")


def offered(folder):
    """Return environment variables with which Python would run modules of the folder."""
    return {
        "PYTHONPATH": f"{folder}::.", "PYTHONSTARTUP": str(folder / "json.py"), "PYTHONINSPECT": "1",
        "PYTHONUSERBASE": str(folder), "PYTHONSAFEPATH": "",
    }  # fmt: skip


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """Return a folder with run.sh, the package, this Python as its environment, and hostile modules beside them."""
    folder = tmp_path_factory.mktemp("checkout")
    shutil.copy(paths.REPOSITORY / "run.sh", folder)
    shutil.copytree(paths.REPOSITORY / "graphcnn", folder / "graphcnn", ignore=shutil.ignore_patterns("__pycache__"))
    plant(folder, folder / "marker")
    python = folder / ".venv" / "bin" / "python"
    for name in ("requirements.txt", "constraints.txt"):
        (folder / name).touch()
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    empty = subprocess.run(["cksum"], input="", capture_output=True, text=True, check=True).stdout.strip()
    stamp = f"{empty} versions: constraints.txt, cksum {empty}\n(3, 11)\n"
    (folder / ".venv" / "installed").write_text(stamp)
    return folder


def call(checkout, hostile, *arguments):
    """Run run.sh in the hostile folder; return its stdout after a check that no hostile module ran."""
    environment = os.environ | offered(hostile) | {"PYTHONHOME": str(hostile)}
    environment.pop("PYTHON", None)
    environment.pop("TF_CPP_MIN_LOG_LEVEL", None)  # this process has a lower level than the one that train chooses
    done = subprocess.run(
        [checkout / "run.sh", *map(str, arguments)], cwd=hostile, env=environment, capture_output=True, text=True,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert not (hostile / "marker").exists(), (hostile / "marker").read_text()
    assert not (checkout / "marker").exists(), (checkout / "marker").read_text()
    return done.stdout


def test_run_sh_imports_nothing_from_the_current_folder(checkout, hostile):
    np.save(hostile / "p.npy", np.eye(3, dtype=np.float32))
    np.save(hostile / "y.npy", np.arange(3))
    assert "macro F1" in call(checkout, hostile, "eval", "--predictions=p.npy", "--labels=y.npy")
    assert "--suite" in call(checkout, hostile, "experiments", "--help")


@pytest.mark.slow
def test_commands_with_children_import_nothing_from_the_current_folder(checkout, hostile):
    """All paths are relative to the hostile folder, which is also the folder of the data."""
    write_folder(hostile / "data")
    tiny = ["--data=data", "--checkpoints=c", *TINY]
    call(checkout, hostile, "launch", "--workers=2", "--run=a", *tiny)
    call(checkout, hostile, "submit", "--run=a", "--checkpoints=c", "--data=data", "--out=s")
    assert (hostile / "s").is_dir()
    suite = ["experiments", "--sweep=learning_rate=1e-3,1e-4", "--recipe=assignment", *tiny]
    assert "2 of 2 done" in call(checkout, hostile, *suite)
    assert "2 of 2 done in 0:00:00" in call(checkout, hostile, *suite)


CHILDREN = {
    "experiments": lambda folder: _logged(folder),
    "predict": lambda folder: json.loads(output_lines("predict", ["x"])[0]),
    "launch": lambda folder: launch(1, ["x"]),
    "bench": lambda folder: _benchmarked(),
    "submit": lambda folder: json.loads(verify(_submission(folder), folder / "x_test.npy", tta=False, rows=1)),
}


def _logged(folder):
    assert ChildProcesses().run("train", ["x"], folder / "log", print).status == 0
    return json.loads((folder / "log").read_text())


def _benchmarked():
    class Job:
        def to_json(self):
            return "{}"

    process = ImplementationProcess("keras", "float32", sys.executable, Job())
    process.close()
    return process.settings


def _submission(folder):
    (folder / "submission").mkdir()
    (folder / "submission" / "grader.py").write_text(f"{SHOW}print(line)\n")
    return folder / "submission"


@pytest.mark.parametrize("command", CHILDREN)
def test_a_child_runs_isolated_in_a_folder_of_its_own(command, hostile, tmp_path, monkeypatch, capfd):
    bootstrap = tmp_path / "bootstrap.py"
    reply = '\'{"versions": "", "parameters": 0, "settings": \' + line + "}"' if command == "bench" else "line"
    bootstrap.write_text(f"{SHOW}print({reply})\n")
    monkeypatch.setattr(isolated, "BOOTSTRAP", bootstrap)
    monkeypatch.chdir(hostile)
    for name, value in offered(hostile).items():
        if name != "PYTHONINSPECT":  # it would start a prompt if this test fails
            monkeypatch.setenv(name, value)
    result = CHILDREN[command](tmp_path)
    if command == "launch":
        assert result == 0
        result = json.loads(capfd.readouterr().out)
    assert not (hostile / "marker").exists(), (hostile / "marker").read_text()
    assert result["listed"] == []
    assert not Path(result["cwd"]).exists()  # it is deleted
    strange = {"", ".", str(tmp_path), str(hostile), str(tmp_path / "submission"), result["cwd"]}
    assert not strange & set(result["path"])


@pytest.mark.parametrize("site_folder", [True, False])
def test_libraries_of_the_user_s_site_folder_are_seen_by_children(site_folder, monkeypatch, tmp_path):
    """pip installs into this folder if the user may not write into Python's own one. -I leaves it out."""
    monkeypatch.setattr("site.getusersitepackages", lambda: sys.path[-1] if site_folder else str(tmp_path))
    code = "import sys; print(sys.flags.ignore_environment, sys.flags.isolated)"
    words = [*isolated.python_command(), "-c", code]
    out = subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()
    assert out == (["1", "0"] if site_folder else ["1", "1"])


@pytest.mark.parametrize("option", ["-I", "-E"])
def test_the_bootstrap_adds_no_folder(option, hostile):
    code = (
        "import sys; sys.argv[1:] = ['graphcnn.common.paths']; import runpy; runpy.run_path(%r, run_name='__main__');"
    )
    code = code % str(isolated.BOOTSTRAP) + "print(sys.path)"
    folders = subprocess.run(
        [sys.executable, option, "-c", code], cwd=hostile.parent, capture_output=True, text=True, check=True
    ).stdout
    assert str(paths.REPOSITORY / "graphcnn" / "common") not in folders
    assert f"'{paths.REPOSITORY}'" not in folders


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["--data=d", "--run=a"], ["--data={0}/d", "--run=a"]),
        (["--data", "d", "--seed", "1"], ["--data={0}/d", "--seed", "1"]),
        (["-checkpoints", "c", "--data=digits"], ["--checkpoints={0}/c", "--data=digits"]),
        (["--cache_dir=../x", "--data_cache=/y"], ["--cache_dir={0.parent}/x", "--data_cache=/y"]),
        (["--weights=w.h5", "--name_map=m.json"], ["--weights={0}/w.h5", "--name_map={0}/m.json"]),
        (["--weights=ckpt", "--name_map=assignment"], ["--weights={0}/ckpt", "--name_map=assignment"]),
        (["--weights=run", "--name_map="], ["--weights=run", "--name_map="]),
        (["--weights=imagenet", "--nodebug", "--data"], ["--weights=imagenet", "--nodebug", "--data"]),
        (["--flagfile=f", "--epochs=2"], ["--data={0}/e", "--resume", "--epochs=2"]),
    ],
)
def test_paths_among_the_flags_of_a_worker_are_absolute(given, expected, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ckpt.index").touch()
    (tmp_path / "f").write_text("--data=e\n--resume\n")
    arguments = define_flags().read_flags_from_files(given)
    assert with_absolute_paths(arguments) == [word.format(tmp_path) for word in expected]


def test_a_recorded_path_and_a_relative_one_are_the_same_setting(tmp_path, monkeypatch):
    """A run of an earlier version recorded a path relative to the folder in which train was called."""
    monkeypatch.chdir(tmp_path)
    config = {"weights": {"source": str(tmp_path / "w.h5"), "sha256": "0"}}
    given = {"weights": "w.h5", "name_map": "m.json", "seed": 1}
    old = {"weights": "w.h5", "name_map": str(tmp_path / "m.json"), "seed": 1}
    monkeypatch.chdir("/")
    stored = recorded_settings(config, old)
    monkeypatch.chdir(tmp_path)
    assert absolute(given) == stored
    assert recorded_settings({"weights": None}, {"weights": "none"}) == {"weights": "none"}
    assert recorded_settings({"weights": {"source": "/x"}}, {"weights": "imagenet"}) == {"weights": "imagenet"}
