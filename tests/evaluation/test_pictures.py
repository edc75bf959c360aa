"""Pictures: they do not depend on a matplotlibrc, and any class names can be drawn."""

import contextlib
import os
import warnings

import numpy as np
import processes
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from graphcnn.evaluation import pictures
from graphcnn.evaluation.class_labels import class_labels, legend

DRAW = """import sys; from pathlib import Path; from graphcnn.evaluation import pictures
rows = [{"epoch": n, "step": n, "loss": 10.0**n, "cross_entropy": 1.0, "dev_cross_entropy": 1.0, "dev_macro_f1": 0.5,
         "dev_accuracy": 0.5, "accuracy": 0.5} for n in (1, 2, 3)]
pictures.curves(rows, "run", Path(sys.argv[1]))
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


@pytest.mark.parametrize("letter", ["a", "W", "i"])
def test_long_names_of_experiments_do_not_overlap(letter, figures, tmp_path):
    names = [f"{letter * 60}{n}" for n in range(7)] + ["short"]
    pictures.suite({name: [history(2.0, 1.0)] for name in names}, tmp_path / "a.png")
    (figure,) = figures
    titles = [axes.title for axes in figure.axes if axes.get_title()]
    extents = boxes(figure, titles)
    assert not any(one.overlaps(other) for n, one in enumerate(extents) for other in extents[:n])
    shown = [title.get_text() for title in titles]
    assert [text.replace("\n", "") for text in shown] == names


def boxes(figure, texts):
    """Return the extents of texts in a figure, in pixels, after checking that none is cut off."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    extents = [text.get_window_extent(renderer) for text in texts]
    for box in extents:
        assert figure.bbox.x0 <= box.x0
        assert box.x1 <= figure.bbox.x1
        assert box.y1 <= figure.bbox.y1 + 1
    return extents


def run_history(*scores):
    """Return a run's history with these dev scores; each epoch has four steps of loss 2."""
    common = {"loss": 8.0, "accuracy": 0.5, "cross_entropy": 1.0, "dev_cross_entropy": 1.0}
    return [
        {"epoch": n, "step": 4 * n, "dev_macro_f1": score, "dev_accuracy": score, **common}
        for n, score in enumerate(scores, start=1)
    ]


@pytest.mark.parametrize("name", ["digits-1", "a $long$ name-" * 15])
@pytest.mark.parametrize(("scores", "best"), [((0.2, 0.7, 0.7, 0.6), 2), ((0.5,), 1), ((None, None), None)])
def test_curves_show_the_run_the_score_first_and_the_best_epoch(name, scores, best, figures, tmp_path):
    pictures.curves(run_history(*scores), name, tmp_path / "a.png")
    (figure,) = figures
    title = figure.get_suptitle()
    assert title.replace("\n", "").replace("\\", "").replace(" ", "").startswith(name.replace(" ", ""))
    assert (f"best epoch {best} (dotted line): dev macro F1 0." in title) == (best is not None)
    boxes(figure, [figure._suptitle])
    assert figure.axes[0].get_title() == "score"
    for axes in figure.axes:
        lines = [line for line in axes.lines if line.get_linestyle() == ":"]
        assert [line.get_xdata()[0] for line in lines] == ([best] if best else [])
        assert all(tick == round(tick) for tick in axes.get_xticks())
    assert figure.axes[2].lines[0].get_ydata() == pytest.approx([2.0] * len(scores))


@pytest.mark.parametrize("runs", [1, 2, 25])
def test_a_comparison_has_a_line_and_a_label_for_each_run_with_a_score(runs, figures, tmp_path):
    histories = {f"_run $-{n}{'-long' * 20}": run_history(0.2, 0.3 + n / 100, None) for n in range(runs)}
    for n, history in enumerate(histories.values()):
        for row in history:
            row["training_seconds"] = 3.0 * row["epoch"] + n
    pictures.comparison({**histories, "no dev split": run_history(None), "no epoch": []}, tmp_path / "c.png")
    (figure,) = figures
    for panel, axes in enumerate(figure.axes):
        for n, line in enumerate(axes.lines[::2]):
            x = ([1, 2], [3.0 + n, 6.0 + n])[panel]
            assert (list(line.get_xdata()), list(line.get_ydata())) == (x, [0.2, 0.3 + n / 100])
        assert [list(dot.get_ydata()) for dot in axes.lines[1::2]] == [[0.3 + n / 100] for n in range(runs)]
    (legend,) = figure.legends
    assert len(legend.get_texts()) == runs and all("run" in text.get_text() for text in legend.get_texts())
    styles = {(line.get_color(), line.get_linestyle()) for line in figure.axes[0].lines[::2]}
    assert len(styles) == runs
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    box = legend.get_window_extent()
    assert box.x0 > figure.axes[1].bbox.x1 and box.y0 >= 0 and box.x1 <= canvas.get_width_height()[0]


def predictions(names, files):
    """Return predictions for twelve images, of which image 0 is right."""
    images = np.zeros((12, 8, 8, 3), np.uint8)
    labels = np.arange(12) % len(names)
    softmax = np.full((12, len(names)), 0.01)
    softmax[np.arange(12), (labels + (np.arange(12) > 0)) % len(names)] = 0.9
    file_names = [f"{names[label]}/{n}_{'x' * n * 3}.jpg" for n, label in enumerate(labels)] if files else ()
    return pictures.Predictions(images, np.arange(12), labels, softmax, names, 255, file_names)


@pytest.mark.parametrize("names", [["cat", "dog", "owl"], ["cat", LONG, LONG[1:]], ["W" * 24, "M" * 24]])
@pytest.mark.parametrize("files", [True, False])
def test_mistakes_name_both_classes_and_the_row_or_the_file(names, files, figures, tmp_path):
    pictures.mistakes(predictions(names, files), "a-run-with-a-long-name " * 8, tmp_path / "a.png")
    (figure,) = figures
    shown = [axes for axes in figure.axes if axes.get_title()]
    assert len(shown) == 11
    for n, axes in enumerate(shown, start=1):
        predicted, true, image = axes.get_title().splitlines()
        drawn = class_labels(names)
        assert predicted == f"predicted: {drawn[(n + 1) % len(names)]} (0.90)"
        assert true == f"true: {drawn[n % len(names)]}"
        assert image == f"row {n}" if not files else image.startswith(f"{n}_")
    boxes(figure, [figure._suptitle])
    extents = boxes(figure, [axes.title for axes in shown])
    assert not any(one.overlaps(other) for n, one in enumerate(extents) for other in extents[:n])


def test_a_file_name_that_the_font_cannot_draw_is_a_row(tmp_path):
    names = ["cat/a.jpg", "cat/\u732b.jpg", f"cat/{'a' * 40}.jpg", "cat/\udcff.jpg"]
    some = pictures.Predictions(np.zeros((4, 8, 8)), np.arange(4), np.zeros(4, int), np.eye(4), ["cat"], 255, names)
    assert [some.image_name(row) for row in range(4)] == ["a.jpg", "row 1", f"{'a' * 19}…aaaa.jpg", "\\udcff.jpg"]


@pytest.mark.parametrize("classes", [2, 10, 40])
def test_the_title_of_a_confusion_matrix_is_not_cut_off(classes, figures, tmp_path):
    names = [f"class {k}" for k in range(classes)]
    pictures.confusion(np.eye(classes, dtype=int), names, f"{'a-run-with-a-long-name' * 4}, dev", tmp_path / "a.png")
    (figure,) = figures
    boxes(figure, [figure._suptitle])
    assert (figure.axes[0].get_xlabel(), figure.axes[0].get_ylabel()) == ("predicted class", "true class")
