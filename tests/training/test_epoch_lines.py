"""The lines that a training prints for its epochs."""

import csv
import re
from types import SimpleNamespace

import pytest
from conftest import SMALL_FAST, TINY

from graphcnn.config.recipe import Recipe
from graphcnn.training.epoch import WIDTH, epoch_line, every_nth
from graphcnn.training.time_left import pixels

LINE = re.compile(
    r"epoch +(?P<epoch>\d+)/(?P<last>\d+)  loss (?P<loss>[\d.]+)  dev: macro F1 (?P<f1>[\d.]+)(?P<star>[* ]) "
    r"accuracy (?P<accuracy>[\d.]+)  left (?P<left>\d+:\d\d:\d\d)"
)
SHORT = "the epochs are short: "
LEGEND = "loss: mean over the steps of the epoch; *: highest dev macro F1 so far"
FINETUNING = ["--head=pooled", "--freeze=until:conv1_1", "--finetune_epochs=2", "--finetune_learning_rate=1e-3"]


def row(epoch, loss=30.0, f1=0.5):
    return {
        "epoch": epoch, "step": 5 * epoch, "loss": loss, "cross_entropy": 1.0, "accuracy": 0.25, "dev_macro_f1": f1,
        "dev_accuracy": f1, "dev_cross_entropy": 1.0, "seconds": 1.0, "images_per_second": 72.0,
        "training_seconds": 1.0,
    }  # fmt: skip


def lines(outcome):
    """Return the match of each epoch's line."""
    assert outcome.status == 0, outcome.err
    return [LINE.fullmatch(line) for line in outcome.out.splitlines() if line.startswith("epoch ")]


def history(folder):
    with (folder / "history.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def train(data_folder, tmp_path, command):
    """Train the run a with the tiny recipe."""
    return lambda *flags: command(
        "train", f"--data={data_folder}", f"--checkpoints={tmp_path}", *TINY, "--run=a", *flags
    )


def test_a_line_shows_the_mean_loss_and_the_dev_scores(train, tmp_path):
    first, second = lines(train())
    for match, values in zip((first, second), history(tmp_path / "a"), strict=True):
        assert match["last"] == "2"
        loss = float(values["loss"]) / 5  # 72 images in batches of 16
        assert float(match["loss"]) == pytest.approx(loss, rel=1e-4, abs=1e-4)
        assert float(match["f1"]) == pytest.approx(float(values["dev_macro_f1"]), abs=1e-4)
        assert float(match["accuracy"]) == pytest.approx(float(values["dev_accuracy"]), abs=1e-4)
    assert first["star"] == "*"


@pytest.mark.parametrize("last", [1, 99, 999, 9999])
@pytest.mark.parametrize("loss", [1.23e-7, 0.123456, 9.99999, 12.3456, 9999.96, 12345.6, 1.234e30])
@pytest.mark.parametrize("seconds", [0, 350_000])
def test_a_line_fits_a_terminal(last, loss, seconds):
    for f1 in (1.0, None):
        assert len(epoch_line(last, row(last, f1=f1), loss, seconds, is_best=f1 is not None)) <= WIDTH


def test_the_star_is_explained_once(train):
    outcome = train(*FINETUNING)
    assert [match["last"] for match in lines(outcome)] == ["4"] * 4
    assert outcome.out.count(LEGEND) == 1


def test_without_a_dev_split_there_is_no_star(train):
    out = train("--dev_fraction=0").out
    assert "\nloss: mean over the steps of the epoch\n" in out
    assert "*" not in out
    assert re.search(r"^epoch 2/2  loss [\d.]+  training accuracy [\d.]+  left 0:00:00$", out, re.MULTILINE)


def test_short_epochs_print_the_first_the_best_and_the_last_lines(train, tmp_path, monkeypatch):
    monkeypatch.setattr("graphcnn.training.epoch.LINE_SECONDS", 1e9)
    outcome = train("--epochs=12", "--stop_on=nothing")
    scores = [float(values["dev_macro_f1"]) for values in history(tmp_path / "a")]
    best = [n for n, score in enumerate(scores, start=1) if score > max(scores[: n - 1], default=-1.0)]
    printed = lines(outcome)
    assert [int(match["epoch"]) for match in printed] == sorted({1, 2, 12, *best})
    assert [int(match["epoch"]) for match in printed if match["star"] == "*"] == best
    assert len(printed) < 12
    assert outcome.out.count(SHORT) == 1


def test_the_last_line_of_a_run_that_stops_early_is_printed(train, monkeypatch):
    monkeypatch.setattr("graphcnn.training.epoch.LINE_SECONDS", 1e9)
    outcome = train("--epochs=60", "--patience=1", "--learning_rate=1e-9", "--keep_prob=0.5")  # the loss fluctuates
    assert f"finished (stopped early) after epoch {lines(outcome)[-1]['epoch']} " in outcome.out


def test_long_epochs_print_every_line(train, monkeypatch):
    monkeypatch.setattr("graphcnn.training.epoch.LINE_SECONDS", 0)
    outcome = train("--epochs=6", "--stop_on=nothing")
    assert [int(match["epoch"]) for match in lines(outcome)] == [1, 2, 3, 4, 5, 6]
    assert SHORT not in outcome.out


@pytest.mark.parametrize(
    ("seconds", "n"), [(30, 1), (1, 1), (0.9, 2), (0.4, 5), (0.15, 10), (0.1, 10), (0.02, 50), (1e-4, 10_000)]
)
def test_short_epochs_have_about_one_line_a_second(seconds, n):
    assert every_nth(seconds) == n


def test_the_early_size_is_explained(data_folder, tmp_path, command):
    common = [f"--data={data_folder}", f"--checkpoints={tmp_path}", *SMALL_FAST]
    outcome = command("train", *common, "--run=a", "--epochs=4")
    line = "early size: in the first 2 epochs, the training images have 16x16 pixels; dev images always have 18x18"
    assert outcome.out.count(line) == 1
    assert "early size" not in command("train", *common, "--run=b", "--early_size=0").out


def test_epochs_at_the_early_size_count_less():
    """Of 45 steps in nine epochs, the first 22 are at the early size."""
    recipe = Recipe(image_size=32, early_size=16, early_fraction=0.5)
    stage = SimpleNamespace(recipe=recipe, total_steps=lambda: 45, steps_per_epoch=lambda: 5)
    assert [pixels(stage, epoch) for epoch in (1, 4, 5, 6, 9)] == pytest.approx([0.25, 0.25, 0.7, 1, 1])


def test_the_time_left_includes_fine_tuning(train, monkeypatch):
    monkeypatch.setattr("graphcnn.training.time_left.TRAINING_COST", 1e9)
    before, after = lines(train(*FINETUNING, "--epochs=1", "--finetune_epochs=1"))
    assert int(before["left"].split(":")[0]) > 100
    assert after["left"] == "0:00:00"
