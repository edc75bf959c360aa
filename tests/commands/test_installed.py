"""The package as pip installs it: the wheel, the program graphcnn, and the requirements of each purpose."""

import json
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from conftest import TINY, one_line, write_folder
from processes import run

from graphcnn.__main__ import main
from graphcnn.common import paths
from graphcnn.config.commands import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
LINE = re.compile(r"^([A-Za-z][\w.-]*)(.*?)(?:;.*)?(?:#.*)?$")


def called(monkeypatch, capsys, *arguments):
    """Return (exit status, stdout, stderr) of the program graphcnn."""
    monkeypatch.setattr(sys, "argv", ["graphcnn", *arguments])
    try:
        status = main()
    except SystemExit as end:
        status = end.code
    return (status, *capsys.readouterr())


@pytest.mark.parametrize("flag", ["-h", "--help", "help"])
def test_help_has_a_line_for_each_command(flag, monkeypatch, capsys):
    status, out, err = called(monkeypatch, capsys, flag)
    assert (status, err) == (0, "")
    assert dict(line.split(maxsplit=1) for line in out.splitlines() if line.startswith("  ")) == COMMANDS


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "usage"),
        (["trian"], "unknown command 'trian'; usage"),
        (["test"], "the tests are not installed; in a clone"),
    ],
)
def test_other_words_are_refused(arguments, words, monkeypatch, capsys):
    status, out, err = called(monkeypatch, capsys, *arguments)
    assert (status, out, one_line(err)) == (2, "", True)
    assert err.startswith(f"graphcnn: {words}")


def test_the_module_is_the_program(tmp_path):
    status, out, _ = run("-m", "graphcnn", "eval", "--help")
    assert status == 0
    assert "--split" in out
    status, _, err = run("-m", "graphcnn", "train", "--epoch=3")
    assert (status, one_line(err)) == (2, True)
    assert err.startswith("graphcnn train: ")


def packages(path):
    """Return {package: versions} of a requirements file, without the files that it includes."""
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith(("#", "-r"))]
    return {
        name.lower().replace("_", "-"): spec.strip() for name, spec in (LINE.match(line).groups() for line in lines)
    }


def test_pyproject_and_requirements_agree():
    """The environment of run.sh has pytest too. Scoring a file needs some of the packages, and not TensorFlow."""
    project = (ROOT / "pyproject.toml").read_text()
    listed = re.findall(r'^    "([\w-]+)([^"]*)",$', project.partition("dependencies = [")[2].partition("]")[0], re.M)
    base = packages(ROOT / "requirements.txt")
    assert base.pop("pytest")
    assert dict(listed) == base
    grade = packages(ROOT / "requirements-grade.txt")
    assert grade.items() <= base.items()
    assert "tensorflow" not in grade
    pinned = packages(ROOT / "constraints.txt")
    assert {*base, "pytest", "hypothesis", "pytest-xdist", "tf-keras"} <= pinned.keys()
    extra = re.findall(r'^    [\'"]([\w-]+)([^;\'"]*).*,$', project.partition("dev = [")[2].partition("]")[0], re.M)
    dev = packages(ROOT / "requirements-dev.txt") | {"pytest": packages(ROOT / "requirements.txt")["pytest"]}
    assert {name.replace("_", "-"): spec for name, spec in extra} == dev
    peers = packages(ROOT / "requirements-peers.txt")
    assert all(f'"{name}{peers[name]}"' in project for name in ("torch", "torchvision"))


@pytest.mark.skipif(not (Path(sys.prefix) / "installed").exists(), reason="this environment is not from run.sh")
def test_this_environment_has_the_pinned_versions():
    """Continuous integration tests the versions that users get."""
    if "versions: newest" in (Path(sys.prefix) / "installed").read_text():
        pytest.skip("this environment has the newest versions")
    wrong = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if found := re.fullmatch(r"([\w.-]+)==([\w.]+)(?:; (.*))?", line):
            name, version, marker = found.groups()
            here = f'python_version == "{sys.version_info[0]}.{sys.version_info[1]}"'
            if (marker is None or here in marker) and name not in ("setuptools", "wheel"):
                wrong[name] = (version, metadata.version(name))
    assert len(wrong) > 20
    assert {name: pair for name, pair in wrong.items() if pair[0] != pair[1]} == {}


SCORING = """
import sys
for name in ("tensorflow", "h5py", "matplotlib", "PIL"):
    sys.modules[name] = None  # an import fails
from graphcnn.common.command import run_command
from graphcnn import eval
sys.exit(run_command("eval", "", eval.define_flags(), eval.main, sys.argv[1:]))
"""


def test_scoring_a_file_needs_no_tensorflow(tmp_path):
    import numpy as np

    np.save(tmp_path / "p.npy", np.eye(3, dtype=np.float32))
    np.save(tmp_path / "y.npy", np.arange(3))
    flags = [f"--predictions={tmp_path / 'p.npy'}", f"--labels={tmp_path / 'y.npy'}"]
    status, out, err = run("-c", SCORING, *flags, fresh=True)
    assert (status, err) == (0, "")
    assert "macro F1: 1.000000" in out


SDIST = "import sys; from hatchling.build import build_sdist; build_sdist(sys.argv[1])"


@pytest.fixture(scope="module")
def sdist(tmp_path_factory):
    """Build the sdist of this clone with hatchling, which pip downloads."""
    folder, backend = tmp_path_factory.mktemp("sdist"), tmp_path_factory.mktemp("backend")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", f"--target={backend}", "hatchling"]
    if subprocess.run(pip, capture_output=True).returncode:
        pytest.skip("hatchling cannot be installed here")
    environment = {**os.environ, "PYTHONPATH": str(backend)}
    subprocess.run([sys.executable, "-c", SDIST, folder], cwd=ROOT, env=environment, check=True, capture_output=True)
    return next(folder.glob("*.tar.gz"))


@pytest.fixture(scope="module")
def wheel(sdist):
    """Build the wheel from the sdist, with the backend that pyproject.toml names."""
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", f"--wheel-dir={sdist.parent}", sdist]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return next(sdist.parent.glob("*.whl"))


@pytest.mark.slow
@pytest.mark.ci
def test_the_sdist_has_what_a_clone_needs(sdist):
    """An unpacked sdist can create its environment and run the tests."""
    with tarfile.open(sdist) as file:
        names = {name.partition("/")[2] for name in file.getnames()}
    wanted = {"run.sh", "constraints.txt", "pyproject.toml", "LICENSE", "tests/conftest.py", "docs/reference/flags.md"}
    assert wanted | {path.name for path in ROOT.glob("requirements*.txt")} <= names
    package = (ROOT / "graphcnn").rglob("*")
    files = {path.relative_to(ROOT).as_posix() for path in package if path.is_file() and path.suffix != ".pyc"}
    assert files - names == set()


@pytest.mark.slow
@pytest.mark.ci
def test_an_installed_package_trains_outside_the_clone(wheel, tmp_path):
    """The new environment has the wheel, and finds the other packages in the environment of this process."""
    with zipfile.ZipFile(wheel) as file:
        names = file.namelist()
    assert {"graphcnn/submission/grader.py", "graphcnn/evaluation/html_page.css"} <= set(names)
    assert not [name for name in names if name.startswith(("tests", "docs"))]
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    python = tmp_path / "venv/bin/python"
    target = next((tmp_path / "venv/lib").glob("python*/site-packages"))
    install = ["-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index", wheel]
    subprocess.run([sys.executable, *install], check=True, capture_output=True)
    others = next(path for path in sys.path if path.endswith("site-packages"))
    (target / "others.pth").write_text(f"{others}\n")
    work = tmp_path / "work"
    write_folder(work / "data")
    (work / "graphcnn.py").write_text("raise SystemExit('a file of the current folder was imported')")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def graphcnn(*arguments):
        done = subprocess.run(
            [tmp_path / "venv/bin/graphcnn", *arguments], cwd=work, env=environment, capture_output=True, text=True
        )
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        return done.stdout

    out = graphcnn("train", "--run=a", *TINY, "--epochs=1")
    assert "next: graphcnn eval --run=a" in out
    assert (work / "checkpoints/a/best/model.ckpt.index").exists()
    assert json.loads((work / "checkpoints/a/config.json").read_text())["data"]["source"] == str(work / "data")
    assert "macro F1" in graphcnn("eval", "--run=a")
    assert "; the graph reproduces result.npy" in graphcnn("submit", "--run=a")
    assert (work / "submission/result.npy").exists()


def test_a_clone_is_recognised():
    assert paths.IN_CLONE
    assert ROOT / "checkpoints" == paths.CHECKPOINTS
    assert paths.PROGRAM == "./run.sh"
