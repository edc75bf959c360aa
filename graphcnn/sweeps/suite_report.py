"""The report of a suite as one HTML page: its experiments, then the run of the best one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from graphcnn.common import paths
from graphcnn.common.errors import FileError, InputError
from graphcnn.common.files import read_json, refuse_links
from graphcnn.common.text import shortened
from graphcnn.evaluation.html_page import Element, Section, element, table, write_page
from graphcnn.evaluation.image_uris import picture_uri
from graphcnn.evaluation.model_data import DataSource
from graphcnn.evaluation.report_sections import picture
from graphcnn.evaluation.run_report import report_on
from graphcnn.evaluation.select_model import select_model
from graphcnn.storage.run import Run
from graphcnn.sweeps import report_tables
from graphcnn.sweeps.report import best_experiment
from graphcnn.sweeps.report_tables import Row, Table

DAMAGED = (AttributeError, IndexError, KeyError, OverflowError, RecursionError, TypeError, ValueError)
LETTERS = 2000  # of a text of report.json


def write_suite_report(
    root: Path, name: str, split: str, source: DataSource, out: Path | None, allow_changed_net: bool
) -> None:
    """Write the report of a suite; print its path. `experiments` must have written report.json.

    Args:
        root: folder of all runs.
        name: name of the suite.
        split: split for the scores of the best experiment's run: dev, train or test.
        source: where the data are.
        out: the HTML file; None for report.html in the suite's folder.
        allow_changed_net: whether to use a run whose net has changed after its training.

    Raises:
        InputError: there is no such suite, report.json is damaged, or the run or its data cannot be used.
    """
    folder = Run(root, name, "--suite").path
    refuse_links(folder, root)
    path = folder / "report.json"
    try:
        report = read_json(path, follow=False)
        name_of_best = best_experiment(report)
        best = next(row for row in report["experiments"] if row["experiment"] == name_of_best)
        run = Run(root, best["runs"][0]["run"])
        if run.path.parent != folder:
            raise ValueError(f"{run.name} is not a run of this suite")
        head, sections = _head(name, report, best), list(_sections(report, folder))
    except FileNotFoundError:
        raise InputError(
            f"--suite={name}: {path} is missing; call {paths.PROGRAM} experiments first, which writes it"
        ) from None
    except DAMAGED as error:
        cause = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise FileError(
            path, f"this is not a report of this version of experiments ({cause}); call experiments again"
        ) from None
    model = select_model(root, run=run.name, allow_changed_net=allow_changed_net)
    scores, of_run = report_on([model], split, source, allow_changed_net)
    text = f"The following sections are about {model.name}, the first run of the experiment {best['experiment']}."
    score = f"{split} macro F1 of the run: {scores.scores['macro_f1']:.4f}"
    intro = Section("best", "The best experiment", [element("p", shortened(text, LETTERS)), element("p", score)])
    write_page(out or folder / "report.html", f"{name}: a suite of experiments", head, [*sections, intro, *of_run])


def _head(name: str, report: Row, best: Row) -> list[Element]:
    """Return the top of the page: the suite, its best experiment, and the circumstances of the trainings."""
    text = f"best: {best['experiment']}, dev macro F1 {report_tables.with_spread(best, 'dev_macro_f1')}"
    lines = [
        element("h1", name),
        element("p", shortened(text, LETTERS), class_="score"),
        element("p", shortened(str(report["source"]), LETTERS)),
        element("p", shortened(report_tables.circumstances(report), LETTERS), class_="note"),
    ]
    return [*lines, element("pre", element("code", shortened(str(report["command"]), LETTERS)))]


def _sections(report: Row, folder: Path) -> Iterator[Section]:
    """Yield the sections about all experiments."""
    notes = [element("p", shortened(note, LETTERS), class_="note") for note in report_tables.notes(report)]
    yield Section("experiments", "Experiments", [_table(report_tables.experiments(report)), *notes])
    if curves := picture_uri(folder / "report.png"):
        text = "The curves of each experiment."
        yield picture("experiment-curves", "Curves of the experiments", curves, text, "curves of the experiments")
    for anchor, title, text, found in (
        ("conclusions", "Conclusions of the source", "", report_tables.conclusions(report)),
        ("published", "Published scores", report_tables.PUBLISHED, report_tables.further_scores(report)),
        ("ensembles", "Ensembles", report_tables.ENSEMBLES, report_tables.ensembles(report)),
    ):
        if found.rows:
            yield Section(anchor, title, [*[element("p", text)] * bool(text), _table(found)])


def _table(found: Table) -> Element:
    """Return a table as HTML."""
    rows = [[shortened(str(cell), LETTERS) for cell in cells] for cells in found.rows]
    return table(found.titles, rows, found.text_columns < len(found.titles), found.text_columns)
