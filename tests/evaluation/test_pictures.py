"""Pictures do not depend on a matplotlibrc."""

import os

import processes
import pytest

DRAW = """import sys; from pathlib import Path; from graphcnn.evaluation import pictures
rows = [{"epoch": n, "loss": 10.0**n, "cross_entropy": 1.0, "dev_cross_entropy": 1.0, "dev_macro_f1": 0.5,
         "dev_accuracy": 0.5, "accuracy": 0.5} for n in (1, 2, 3)]
pictures.curves(rows, Path(sys.argv[1]))
print(Path.cwd())
"""
SETTINGS = b"savefig.dpi: 1000\nfigure.facecolor: red\nfont.size: 30\nbackend: nothing\n"


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    return draw(tmp_path_factory.mktemp("clean"))


def draw(folder, **environment):
    """Return the bytes of a picture that a new process draws in a folder."""
    status, out, err = processes.run("-c", DRAW, folder / "a.png", fresh=True, cwd=folder, **environment)
    assert (status, out, err) == (0, f"{folder}\n", "")
    return (folder / "a.png").read_bytes()


@pytest.mark.parametrize(
    ("variable", "content"),
    [
        (None, SETTINGS),
        (None, b"\xff\xfe"),
        (None, b"no setting\n"),
        (None, "a FIFO"),
        ("MATPLOTLIBRC", SETTINGS),
        ("MPLCONFIGDIR", SETTINGS),
    ],
)
def test_a_matplotlibrc_changes_nothing(variable, content, expected, tmp_path):
    """The file is in the current folder, or an environment variable names its path."""
    folder = tmp_path / "elsewhere" if variable else tmp_path
    folder.mkdir(exist_ok=True)
    if content == "a FIFO":
        os.mkfifo(folder / "matplotlibrc")
    else:
        (folder / "matplotlibrc").write_bytes(content)
    assert draw(tmp_path, **({variable: str(folder)} if variable else {})) == expected
