"""report: the pages of a run, an ensemble and a suite with strangers' names, as a parser and as Chromium read them."""

import csv
import dataclasses
import json
import shlex
import shutil
import subprocess

import numpy as np
import pytest
from conftest import TINY, one_line, run_quietly
from html_pages import ParsedPage, read_page
from photo_files import write_photos
from PIL import Image
from run_folders import edit_json

from graphcnn.common.text import printable
from graphcnn.config import suites
from graphcnn.config.suite import Claim, Experiment
from graphcnn.storage.run import Run
from graphcnn.sweeps import report as suite_report
from graphcnn.sweeps.results import read_result

CLASSES = ['<b>&owl"', "bat' onerror='x", "<\u2215td><script>cat\x1b[31m"]
FILE = "<img src=x onerror=y>&\"'\x07.png"
TEXT = "</td><script>alert(1)</script>&\x1b"  # in the texts of a suite
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
BROWSER = next((path for path in map(shutil.which, BROWSERS) if path), None)
OF_SUITE = ["experiments", "experiment-curves", "conclusions", "published", "ensembles", "best"]
OF_RUN = ["training", "curves", "scores", "classes", "confusion", "reliability", "mistakes", "uncertain"]
END = ["settings", "environment", "commands"]
PAGES = {  # name: (flags, anchors of the sections)
    "run": (["--run=a", "--against=b"], [*OF_RUN, "against", *END]),
    "ensemble": (["--run=a,b", "--ensemble=fitted"], [*OF_RUN[:2], "members", *OF_RUN[2:], *END]),
    "suite": (["--suite=s"], [*OF_SUITE, *OF_RUN, *END]),
}


def write_suite(root):
    """Write the suite s, whose texts are hostile: its run one-seed1 is a copy of a, and two-seed2 is invented."""
    run_quietly("eval", f"--checkpoints={root}", f"--cache_dir={root / 'cache'}", "--run=a", "--split=train,dev")
    shutil.copytree(root / "a", root / "s" / "one-seed1", symlinks=True)
    one = read_result(Run(root, "s/one-seed1"), False, None)
    results = {"one": [one], "two": [{**one, "dev_macro_f1": one["dev_macro_f1"] / 2, "run": "s/two-seed2"}]}
    suite = dataclasses.replace(
        suites.LADDER,
        source=TEXT,
        unit=TEXT,
        experiments={
            name: Experiment(description=TEXT, published=score, other_scores={"dev_loss": score})
            for name, score in (("one", 1.0), ("two", 2.0))
        },
        claims=(Claim(description=TEXT, measure="score", experiment="one", sign=">", others=("two",)),),
        columns={"dev_loss": TEXT},
    )
    keys = ("dev_accuracy", "dev_macro_f1", "best_member_dev_macro_f1", "published")
    ensembles = [{"ensemble": TEXT, **dict.fromkeys(keys, 0.5)}]
    contents = {"suite": "s", "command": TEXT, "data": TEXT, "ensembles": ensembles}
    suite_report.write(root / "s", contents | suite_report.summary(suite, results), results)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Train runs a and b on photos whose classes and files have hostile names; return the checkpoints folder."""
    root = tmp_path_factory.mktemp("reported")
    photos = write_photos(root / "photos", rows=8, classes=["owl", "bat", "cat"])
    for name, hostile in zip(("owl", "bat", "cat"), CLASSES, strict=True):
        (photos / name).rename(photos / hostile)
    for folder in photos.iterdir():
        (folder / "00.png").rename(folder / FILE)
    for name, seed in (("a", 1), ("b", 2)):
        run_quietly(
            "train", f"--data={photos}", f"--checkpoints={root}", f"--cache_dir={root / 'cache'}", f"--run={name}",
            *TINY, "--dev_fraction=0.5", f"--seed={seed}",
        )  # fmt: skip
    write_suite(root)
    return root


@pytest.fixture
def cache(runs):
    return f"--cache_dir={runs / 'cache'}"


@pytest.fixture(scope="module")
def files(runs, tmp_path_factory):
    """Write the three pages, with pictures; return {name: its file}."""
    folder, files = tmp_path_factory.mktemp("pages"), {}
    for name, (flags, _) in PAGES.items():
        files[name] = folder / f"{name}.html"
        run_quietly("report", f"--checkpoints={runs}", f"--cache_dir={runs / 'cache'}", *flags, f"--out={files[name]}")
    return files


@pytest.fixture(scope="module")
def pages(files):
    """Return {name: ParsedPage}."""
    return {name: ParsedPage(file.read_text(encoding="utf-8")) for name, file in files.items()}


@pytest.mark.parametrize("name", PAGES)
def test_hostile_names_are_texts_and_the_page_needs_nothing_else(name, pages):
    page = pages[name]
    page.check_is_self_contained()
    assert page.ids == PAGES[name][1]
    classes = list(map(printable, CLASSES))
    assert set(classes) <= set(page.inside("th"))
    assert any(f"3: {', '.join(map(printable, sorted(CLASSES)))}" in text for text in page.inside("td"))
    assert any(text.endswith(f"/{printable(FILE)}") for text in page.inside("p") + page.of("img", "alt"))
    assert page.inside("h1") == [{"run": "a", "ensemble": "a + b", "suite": "s"}[name]]


def test_the_texts_of_a_suite_are_texts(pages):
    page, text = pages["suite"], printable(TEXT)
    assert page.inside("p").count(text) == page.inside("code").count(text) == 1  # the source, the command
    assert page.inside("td").count(text) == 2  # the change of each experiment
    assert page.inside("th").count(text) == 3  # the conclusion, a column of published scores, the ensemble
    assert f"published ({text})" in page.inside("th")


def test_the_comparison_is_that_of_eval(runs, pages):
    page = pages["run"]
    compared = json.loads((runs / "a" / "report" / "dev_against_b.json").read_text())
    for row in page.rows("score", "a", "b", "difference", "95% interval"):
        values = compared[row[0].replace(" ", "_").lower()]
        assert row[1:4] == [f"{values['run']:.6f}", f"{values['against']:.6f}", f"{values['difference']:+.6f}"]
    assert f"McNemar's exact test of the accuracies: p = {compared['mcnemar_p']:.3g}." in page.inside("p")


def test_the_members_are_those_of_eval(runs, pages):
    page = pages["ensemble"]
    scores = json.loads((runs / "ensembles" / "a+b" / "dev.json").read_text())
    titles = ["macro F1", "accuracy", "top-2 accuracy", "cross-entropy"]
    keys = ["macro_f1", "accuracy", "top2_accuracy", "cross_entropy"]
    assert page.rows("run", "weight", *titles, "agrees with 1", "agrees with 2") == [
        [
            f"{n}: {member['run']}", f"{member['share']:.4f}", *(f"{member[key]:.6f}" for key in keys),
            *(f"{fraction:.4f}" for fraction in fractions),
        ]
        for n, (member, fractions) in enumerate(zip(scores["members"], scores["agreement"], strict=True), start=1)
    ]  # fmt: skip
    assert any(text.startswith(f"dev macro F1 {scores['macro_f1']:.4f} ") for text in page.inside("p"))
    commands = [shlex.split(line)[1:4] for line in page.inside("code")]
    assert [words[0] for words in commands] == ["train", "train", "eval"]
    assert commands[2][1:] == ["--run=a,b", "--ensemble=fitted"]


def test_the_examples_of_an_ensemble_have_its_probabilities(runs, pages):
    with (runs / "ensembles" / "a+b" / "dev.csv").open(encoding="utf-8") as file:
        images = list(csv.DictReader(file))
    wrong = [row for row in images if row["label"] != row["predicted"]]
    shown = sorted(wrong, key=lambda row: -float(row["probability"]))[:12]
    shown += sorted(images, key=lambda row: float(row["probability"]))[:12]
    expected = [f"predicted: {row['predicted']} ({float(row['probability']):.3f})" for row in shown]
    assert [text for text in pages["ensemble"].inside("p") if text.startswith("predicted: ")] == expected


def test_an_ensemble_is_scored_again(runs, pages, cache, command):
    folder = runs / "ensembles" / "b+a"
    shutil.copytree(runs / "ensembles" / "a+b", folder)
    edit_json(folder / "dev.json", macro_f1=0.123)
    outcome = command("report", f"--checkpoints={runs}", cache, "--run=b,a", "--ensemble=fitted")
    assert outcome.status == 0
    assert not any("0.1230" in text for text in read_page(outcome.out).inside("p"))
    assert (folder / "report.html").exists()


def test_the_experiments_have_the_scores_of_eval(runs, pages):
    page, score = pages["suite"], json.loads((runs / "a" / "report" / "dev.json").read_text())
    texts = [text for tag, text in page.texts if tag in ("th", "td")]
    row = texts[texts.index("one") :]
    assert row[6:9] == [f"{score['cross_entropy']:.3f}", f"{score['accuracy']:.4f}", f"{score['macro_f1']:.4f}"]
    assert f"best: one, dev macro F1 {score['macro_f1']:.4f}" in page.inside("p")
    assert f"dev macro F1 of the run: {score['macro_f1']:.4f}" in page.inside("p")
    assert any("about s/one-seed1, " in text for text in page.inside("p"))


def test_the_first_command_trains_the_same_weights(runs, pages, tmp_path, command):
    first, second, _ = (shlex.split(line) for line in pages["run"].inside("code"))
    assert (first[:2], second) == (
        ["./run.sh", "train"],
        ["./run.sh", "eval", "--run=a", "--split=dev", f"--checkpoints={runs}"],
    )
    outcome = command("train", *first[2:], f"--checkpoints={tmp_path}", "--run=again")
    assert outcome.status == 0, outcome.err
    again, before = (
        json.loads((root / name / "best" / "manifest.json").read_text())
        for root, name in ((tmp_path, "again"), (runs, "a"))
    )
    assert again["model.ckpt.data-00000-of-00001"] == before["model.ckpt.data-00000-of-00001"]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--split=all"], "--split: "),
        (["--run=a,a"], "--run=a,a: a run is named twice"),
        (["--run=a", "--ensemble=fitted"], "--ensemble=fitted: needs several runs"),
        (["--run=a", "--against=a"], "--against=a: is the same model as --run"),
        (["--run=none"], "--run=none: no such run"),
        (["--run=a", "--split=test"], "--split=test: "),
        (["x.png"], "found 'x.png', expected only flags"),
        (["--run=a", "--out=/"], "is a folder, expected the name of a file"),
        (["--suite=s", "--run=a"], "--suite and --run exclude each other"),
        (["--suite=s", "--against=a"], "--suite and --against exclude each other"),
        (["--suite=s", "--ensemble=mean"], "--ensemble=mean: needs several runs"),
        (["--suite=none"], "report.json is missing; call ./run.sh experiments first"),
        (["--suite=../s"], "--suite: found '../s', expected letters"),
    ],
)
def test_bad_flags_are_refused(flags, words, runs, cache, command):
    outcome = command("report", f"--checkpoints={runs}", cache, *flags)
    assert outcome.status == 2
    assert one_line(outcome.err)
    assert words in outcome.err


def in_rows(**values):
    """Return a change of each experiment of a report.json."""
    return lambda report: {**report, "experiments": [{**row, **values} for row in report["experiments"]]}


DAMAGES = {
    "a list": lambda report: [],
    "without experiments": lambda report: {**report, "experiments": []},
    "without a unit": lambda report: {key: report[key] for key in report if key != "unit"},
    "a text as number": in_rows(parameters="<b>"),
    "no scores": in_rows(dev_macro_f1=None),
    "no runs": in_rows(runs=[]),
    "runs without a name": in_rows(runs=[{"seed": 1}]),
    "a run elsewhere": in_rows(runs=[{"run": "a"}]),
    "two runs": in_rows(runs=[{"run": "s/one-seed1,a"}]),
    "a number as text": in_rows(change=7),
    "claims of another form": lambda report: {**report, "claims": [1]},
}


@pytest.mark.parametrize("change", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_report_of_a_suite_is_one_line(change, runs, tmp_path, command):
    (tmp_path / "s").mkdir()
    report = json.loads((runs / "s" / "report.json").read_text())
    (tmp_path / "s" / "report.json").write_text(json.dumps(change(report)))
    outcome = command("report", f"--checkpoints={tmp_path}", "--suite=s")
    assert outcome.status == 2
    assert one_line(outcome.err)


@pytest.mark.skipif(BROWSER is None, reason=f"no Chromium: none of {', '.join(BROWSERS)} is installed")
class TestChromium:
    """The pages in a real browser without a window."""

    def browse(self, file, tmp_path, *options):
        common = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
        profile = f"--user-data-dir={tmp_path / 'profile'}"
        words = [BROWSER, *common, profile, "--hide-scrollbars", *options, file.as_uri()]
        subprocess.run(words, check=True, capture_output=True, timeout=120)

    @pytest.mark.parametrize(("name", "width"), [("run", 390), ("run", 1280), ("ensemble", 390), ("suite", 390)])
    def test_the_page_fits_the_width(self, name, width, files, tmp_path):
        """The right margin is empty: nothing is wider than the window."""
        shot = tmp_path / "shot.png"
        self.browse(files[name], tmp_path, f"--window-size={width},6000", f"--screenshot={shot}")
        pixels = np.asarray(Image.open(shot).convert("RGB"))
        assert pixels.shape[1] == width
        assert (pixels[:, -4:] == pixels[0, -1]).all()
        assert (pixels != pixels[0, -1]).any(axis=(1, 2)).sum() > 3000  # lines with text or pictures

    def test_the_page_is_printed(self, files, tmp_path):
        self.browse(files["run"], tmp_path, f"--print-to-pdf={tmp_path / 'page.pdf'}")
        pdf = (tmp_path / "page.pdf").read_bytes()
        assert pdf.startswith(b"%PDF-")
        assert 3 <= pdf.count(b"/Type /Page\n") <= 15
