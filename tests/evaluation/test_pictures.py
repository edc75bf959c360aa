"""Pictures: they do not depend on a matplotlibrc, and any class names can be drawn."""

import contextlib
import os
import warnings

import numpy as np
import processes
import pytest
from PIL import Image

from graphcnn.evaluation import pictures
from graphcnn.evaluation.class_labels import class_labels, legend

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


LONG = "a" * 90 + "b" * 90
NAMES = {  # names of classes: their labels
    "short": (["cat", "dög", "a $ sign"], ["cat", "dög", "a $ sign"]),
    "long": (["cat", LONG], ["0: cat", "1: aaaaaaaaaaaaaaa…bbbbbbbb"]),
    "Chinese, an emoji and Latin": (["猫", "🐶", "owl"], ["0", "1", "2: owl"]),
    "a control character": (["a\nb", "c"], ["a\\nb", "c"]),
}


@pytest.mark.parametrize("case", NAMES)
def test_labels_of_classes(case):
    names, labels = NAMES[case]
    assert class_labels(names) == labels


def test_the_legend_has_the_names_that_the_picture_lacks():
    assert legend(["cat", "owl"], [0, 1]) == ""
    line = "the pictures show class numbers, because a name is long, or their font lacks a character of it: 0 = 猫"
    assert legend(["猫", "owl"], [0, 1]) == line
    assert legend(["猫", "owl"], [1]) == ""
    assert legend(["猫"] * 50, range(50)).endswith(", 29 = 猫, …")


@pytest.mark.pictures
@pytest.mark.parametrize("names", [["猫", "🐶", "owl"], [LONG, LONG[1:], "owl"]])
def test_any_class_names_leave_room_for_the_confusion_matrix(names, tmp_path, monkeypatch):
    monkeypatch.setattr(warnings, "filterwarnings", lambda *_, **__: warnings.simplefilter("error"))
    for path, drawn in ((tmp_path / "a.png", names), (tmp_path / "b.png", ["cat", "dog", "owl"])):
        pictures.confusion(9 * np.eye(3, dtype=int), drawn, "title", path)
    dark = [(np.asarray(Image.open(tmp_path / name).convert("L")) < 70).sum() for name in ("a.png", "b.png")]
    assert dark[0] > 0.4 * dark[1]  # the cells of the diagonal


@pytest.fixture
def figures(monkeypatch):
    """Return the list of the figures that are drawn."""
    drawn, picture = [], pictures.picture

    @contextlib.contextmanager
    def kept(*arguments):
        with picture(*arguments) as figure:
            yield figure
            drawn.append(figure)

    monkeypatch.setattr(pictures, "picture", kept)
    return drawn


def history(*cross_entropies):
    """Return a history with these cross-entropies of the training images; those of the dev split are a tenth higher."""
    return [
        {"epoch": n, "accuracy": 0.5, "dev_accuracy": 0.4, "cross_entropy": value, "dev_cross_entropy": 1.1 * value}
        for n, value in enumerate(cross_entropies, start=1)
    ]


HISTORIES = {  # experiments: the histories of their seeds
    "one epoch": {"a": [history(2.0)], "b": [history(1.5), history(1.4)]},
    "a high cross-entropy": {"a": [history(2.0, 0.5, 0.01)], "b": [history(3.0, 900.0, 5.0)]},
    "no dev split": {"a": [[{**row, "dev_cross_entropy": None} for row in history(2.3, 2.0)]]},
    "a cross-entropy of 0": {"a": [history(2.0, 0.0)]},
}


@pytest.mark.parametrize("case", HISTORIES)
def test_a_suite_s_picture_shows_each_point(case, figures, tmp_path):
    pictures.suite(HISTORIES[case], tmp_path / "a.png")
    shown = [axes for axes in figures[0].axes if axes.lines]
    assert len(shown) == 2 * len(HISTORIES[case])
    for axes in shown:
        low, high = axes.get_ylim()
        for line in axes.lines:
            values = np.array(line.get_ydata(), float)
            assert len(values) > 1 or line.get_marker() == "."
            values = values[values > 0]  # NaN: an empty cell; 0 has no place on a logarithmic axis
            assert ((low < values) & (values < high)).all()
