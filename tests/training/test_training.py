import csv
import dataclasses
import itertools
import shutil
import signal
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import processes
import pytest
from conftest import SMALL_FAST, TINY, one_line, tiny_arrays, write_folder

from graphcnn.config.recipe import Recipe
from graphcnn.data import splits
from graphcnn.ops import tf1
from graphcnn.storage import checkpoint
from graphcnn.storage.run import COLUMNS, Run
from graphcnn.training import stages

WALL_CLOCK = ("seconds", "images_per_second", "training_seconds")


def data_bytes(root, name):
    """Return {epoch folder/file: bytes} of everything a run's checkpoints hold."""
    return {f"{p.parent.name}/{p.name}": p.read_bytes() for p in sorted((root / name).glob("epoch-*/*"))}


def repeatable_history(root, name):
    with (root / name / "history.csv").open(newline="") as file:
        return [{k: v for k, v in row.items() if k not in WALL_CLOCK} for row in csv.DictReader(file)]


def start(*arguments, **options):
    """Start `train` in a new process."""
    return processes.start("-m", "graphcnn.train", *arguments, **options)


def train_apart(*arguments, **options):
    """Run `train` in a new process, as users do, because TensorFlow numbers custom gradients within a process."""
    status, _, err = processes.finish(start(*arguments, **options), 120)
    assert status == 0, err


def wait_for(path, process, seconds=120):
    for _ in range(seconds * 50):
        if path.exists() or process.poll() is not None:
            return
        time.sleep(0.02)
    raise AssertionError(f"{path} did not appear")


AUGMENTED = [*TINY, "--flip=random", "--zoom=0.2", "--rotate=9", "--shear=9", "--brightness=0.2", "--blur=0.5"]
SETTINGS = {
    "float32": [*TINY, "--precision=float32"],
    "bfloat16": [*TINY, "--precision=bfloat16"],
    "augmented": AUGMENTED,
    "fast": SMALL_FAST,
}


@pytest.mark.parametrize("settings", SETTINGS)
def test_one_seed_gives_one_result(settings, data_folder, tmp_path, command):
    common = [f"--data={data_folder}", f"--checkpoints={tmp_path}", *SETTINGS[settings]]
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        arguments = [*common, f"--run={name}", f"--seed={seed}"]
        if settings == "fast":
            train_apart(*arguments, fresh=name == "a")  # a new process has another seed of Python's hashes
        else:
            command("train", *arguments)
    assert data_bytes(tmp_path, "a") == data_bytes(tmp_path, "b")
    assert repeatable_history(tmp_path, "a") == repeatable_history(tmp_path, "b")
    last = "epoch-0002/model.ckpt.data-00000-of-00001"
    assert data_bytes(tmp_path, "a")[last] != data_bytes(tmp_path, "c")[last]


def test_the_precision_that_auto_chose_is_recorded_and_kept(data_folder, tmp_path, command):
    common = [f"--checkpoints={tmp_path}", "--run=r", "--resume"]
    outcome = command("train", f"--data={data_folder}", *common, *TINY)
    chosen, why = tf1.choose_precision("auto")
    assert f"precision: {chosen} ({why})" in outcome.out
    assert Run(tmp_path, "r").config()["recipe"]["precision"] == chosen
    outcome = command("train", *common, "--precision=auto", "--epochs=3")
    assert outcome.status == 0, outcome.err
    assert f"precision: {chosen} (as set" in outcome.out
    other = {"float32": "bfloat16", "bfloat16": "float32"}[chosen]
    outcome = command("train", *common, f"--precision={other}")
    assert outcome.status == 2
    assert f"--precision: found {other}, but the run was started with {chosen}" in outcome.err


def test_a_killed_and_resumed_fast_run_equals_an_undisturbed_one(tmp_path):
    x, y = tiny_arrays(rows=400)
    data = write_folder(tmp_path / "data", x_train=x, y_train=y)
    common = [f"--data={data}", f"--checkpoints={tmp_path}", *SMALL_FAST, "--epochs=6"]
    train_apart(*common, "--run=whole")
    process = start(*common, "--run=killed")
    wait_for(tmp_path / "killed" / "epoch-0002", process)
    time.sleep(0.2)  # some way into the third epoch
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL, "the run ended before it could be killed"
    train_apart(f"--checkpoints={tmp_path}", "--run=killed", "--resume")
    assert data_bytes(tmp_path, "killed") == data_bytes(tmp_path, "whole")
    assert repeatable_history(tmp_path, "killed") == repeatable_history(tmp_path, "whole")


def test_a_kill_between_the_files_and_the_links_is_repaired(data_folder, tmp_path, command, monkeypatch):
    """The folder and the history row of epoch 2 exist, but the links do not; --resume trains epoch 2 again."""
    common = [f"--data={data_folder}", f"--checkpoints={tmp_path}", *TINY]
    assert command("train", *common, "--run=whole").status == 0

    def killed(run, epoch, best_epoch):
        if epoch == 2:
            raise KeyboardInterrupt
        original(run, epoch, best_epoch)

    original = checkpoint.update_links
    with monkeypatch.context() as patched:
        patched.setattr(checkpoint, "update_links", killed)
        assert command("train", *common, "--run=part").status == 130
    assert (tmp_path / "part" / "last").readlink() == Path("epoch-0001")
    assert command("train", f"--checkpoints={tmp_path}", "--run=part", "--resume").status == 0
    assert data_bytes(tmp_path, "part") == data_bytes(tmp_path, "whole")
    assert repeatable_history(tmp_path, "part") == repeatable_history(tmp_path, "whole")


def test_more_epochs_on_resume_equal_a_longer_run(data_folder, tmp_path, command):
    common = [f"--data={data_folder}", f"--checkpoints={tmp_path}", *TINY]
    assert command("train", *common, "--run=long", "--epochs=3").status == 0
    assert command("train", *common, "--run=short", "--epochs=1").status == 0
    assert command("train", f"--checkpoints={tmp_path}", "--run=short", "--resume", "--epochs=3").status == 0
    assert data_bytes(tmp_path, "short") == data_bytes(tmp_path, "long")


def test_a_resumed_run_keeps_the_number_of_dev_rows(data_folder, tmp_path, command, monkeypatch):
    """Version 1 rounded some numbers of rows in another way. Such a run keeps its split."""
    common = [f"--data={data_folder}", f"--checkpoints={tmp_path}", *TINY, "--run=r", "--dev_fraction=0.25"]
    with monkeypatch.context() as patch:
        patch.setattr(splits, "dev_count", lambda rows, fraction: 23)
        assert command("train", *common, "--epochs=1").status == 0
    outcome = command("train", *common, "--resume", "--epochs=2")
    assert outcome.status == 0, outcome.err
    assert "images: 73 training, 23 dev (first)" in outcome.out


def test_micro_batches_train_like_whole_batches(data_folder, tmp_path, command):
    """Weights agree up to rounding, with augmentation, dropout and a smaller last batch. A resumed run is identical."""
    common = [f"--data={data_folder}", f"--checkpoints={tmp_path}", *AUGMENTED, "--precision=float32"]
    common += ["--batch_size=20", "--optimizer=sgd", "--normalisation=standardize"]  # large inputs amplify rounding
    assert command("train", *common, "--run=whole").status == 0
    assert command("train", *common, "--run=parts", "--micro_batch=7").status == 0
    whole, parts = (Run(tmp_path, name).history(2) for name in ("whole", "parts"))
    for a, b in zip(whole, parts, strict=True):
        for column in ("step", "loss", "cross_entropy", "accuracy", "dev_macro_f1", "dev_cross_entropy"):
            assert b[column] == pytest.approx(a[column], rel=1e-4), column
    assert command("train", *common, "--run=again", "--micro_batch=7", "--epochs=1").status == 0
    assert command("train", f"--checkpoints={tmp_path}", "--run=again", "--resume", "--epochs=2").status == 0
    assert repeatable_history(tmp_path, "again") == repeatable_history(tmp_path, "parts")


def test_a_run_with_a_planned_schedule_is_not_made_longer(data_folder, tmp_path, command):
    common = [f"--checkpoints={tmp_path}", "--run=a"]
    assert command("train", f"--data={data_folder}", *common, *TINY, "--schedule=linear").status == 0
    before = data_bytes(tmp_path, "a")
    outcome = command("train", *common, "--resume", "--epochs=3")
    assert outcome.status == 2
    assert one_line(outcome.err)
    assert "--epochs: found 3, but this run was planned for 2 epochs" in outcome.err
    assert command("train", *common, "--resume", "--epochs=2").status == 0
    assert data_bytes(tmp_path, "a") == before


def test_a_run_of_version_1_is_resumed_unchanged(data_folder, tmp_path, command):
    """Settings that its config.json lacks are off, so a flag that turns one on is refused."""
    common = [f"--checkpoints={tmp_path}", "--run=a"]
    assert command("train", f"--data={data_folder}", *common, *TINY).status == 0
    run = Run(tmp_path, "a")
    config = run.config()
    for name in ("flip", "batch_norm", "schedule"):
        del config["recipe"][name]
    run.write_config(config)
    outcome = command("train", *common, "--resume", "--flip=random")
    assert outcome.status == 2
    assert "--flip: found random, but the run was started with none" in outcome.err
    assert command("train", *common, "--resume", "--epochs=3").status == 0


def test_a_shift_larger_than_the_images_is_refused(data_folder, tmp_path, command):
    outcome = command("train", f"--data={data_folder}", f"--checkpoints={tmp_path}", *TINY, "--translate=16")
    assert outcome.status == 2
    assert one_line(outcome.err)
    assert "--translate=16: expected less than the 16x16 pixels of the images" in outcome.err
    assert list(tmp_path.glob("assignment*")) == []


def test_whitening_is_fitted_only_on_training_images(tmp_path, command):
    """Different dev images do not change the filters."""
    x, y = tiny_arrays(96)
    filters = []
    for n, dev_pixel in enumerate((0, 255)):
        changed = x.copy()
        changed[:24] = dev_pixel
        data = write_folder(tmp_path / f"data{n}", x_train=changed, y_train=y)
        arguments = [f"--data={data}", f"--checkpoints={tmp_path}", f"--run={n}", *SMALL_FAST, "--epochs=1"]
        assert command("train", *arguments).status == 0
        reader = checkpoint.tf1.train.NewCheckpointReader(str(tmp_path / str(n) / "last" / checkpoint.PREFIX))
        filters.append(reader.get_tensor("whitening/w"))
    assert np.abs(filters[0]).max() > 0.1
    assert np.array_equal(*filters)


def test_a_full_disk_keeps_the_previous_checkpoint(data_folder, tmp_path, command):
    """The kernel refuses files over 30 kB, like a full disk, so the second epoch cannot be saved."""
    common = [f"--checkpoints={tmp_path}", "--run=a"]
    assert command("train", f"--data={data_folder}", *common, *TINY, "--epochs=1").status == 0
    before = data_bytes(tmp_path, "a")
    program = (
        "import resource, runpy\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))\n"
        "runpy.run_module('graphcnn.train', run_name='__main__')\n"
    )
    status, _, err = processes.run("-c", program, *common, "--resume", "--epochs=2")
    assert status == 2
    assert one_line(err)
    assert "cannot be saved" in err
    assert data_bytes(tmp_path, "a") == before
    assert command("train", *common, "--resume", "--epochs=2").status == 0


def test_a_second_training_on_one_run_is_refused(data_folder, tmp_path, command):
    run = Run(tmp_path, "a")
    with run.lock():
        outcome = command("train", f"--data={data_folder}", f"--checkpoints={tmp_path}", "--run=a", *TINY)
    assert outcome.status == 2
    assert "another training" in outcome.err
    (run.path / ".lock").touch()  # the file alone, as a killed training leaves it, is no lock
    assert command("train", f"--data={data_folder}", f"--checkpoints={tmp_path}", "--run=a", *TINY).status == 0


def test_divergence_at_once_stops_with_advice(data_folder, tmp_path, command):
    common = [f"--data={data_folder}", f"--checkpoints={tmp_path}", "--run=a", *TINY]
    outcome = command("train", *common, "--learning_rate=1e30", "--optimizer=sgd")
    assert outcome.status == 2
    assert one_line(outcome.err)
    assert "lower --learning_rate" in outcome.err
    assert "no epoch was saved" in outcome.err
    assert not (tmp_path / "a" / "last").exists()


@pytest.mark.parametrize("poison", ["loss", "weight"])
def test_later_divergence_keeps_the_last_good_checkpoint(poison, data_folder, tmp_path, command, monkeypatch):
    """In epoch 2, the loss becomes NaN, or a weight becomes infinite in the last update, after the last loss."""

    from graphcnn.data import batches
    from graphcnn.training import stages

    common = [f"--checkpoints={tmp_path}", "--run=a"]
    assert command("train", f"--data={data_folder}", *common, *TINY, "--epochs=1").status == 0
    before = data_bytes(tmp_path, "a")
    build = stages.build_training

    def spoilt(*arguments):
        graph = build(*arguments)
        with graph.graph.as_default():
            return dataclasses.replace(graph, finite=checkpoint.tf.constant(False))

    if poison == "loss":
        monkeypatch.setattr(batches, "as_rgb", lambda images: np.full((len(images), 16, 16, 3), np.nan))
        monkeypatch.setattr(stages, "input_statistics", lambda *_: (np.zeros(3), np.ones(3)))
    else:
        monkeypatch.setattr(stages, "build_training", spoilt)
    outcome = command("train", *common, "--resume", "--epochs=3")
    assert outcome.status == 2
    assert one_line(outcome.err)
    assert "the checkpoint of epoch 1 is kept" in outcome.err
    assert data_bytes(tmp_path, "a") == before


@pytest.mark.parametrize(
    ("normalisation", "pixel_max", "largest"),
    [
        ("none", 255, 255), ("bytes", 255, 255), ("unit", 255, 1), ("tf", 255, 1),
        ("none", 1, 1), ("bytes", 1, 255), ("unit", 1, 1), ("tf", 1, 1),
    ],
)  # fmt: skip
def test_the_brightest_pixel_reaches_the_net_as(normalisation, pixel_max, largest):
    dataset = SimpleNamespace(pixel_max=pixel_max)
    mean, scale = stages.input_statistics(Recipe(normalisation=normalisation), dataset, np.arange(2))
    assert np.allclose((pixel_max - mean) / scale, largest)


def test_advice_is_printed_once_if_the_network_learns_nothing(data_folder, tmp_path, command):
    common = [f"--data={data_folder}", f"--checkpoints={tmp_path}", *TINY, "--epochs=16", "--stop_on=nothing"]
    still = command("train", *common, "--run=still", "--learning_rate=1e-12")
    assert still.out.count("has learned nothing in 8 epochs after the warm-up") == 1
    assert "learned nothing" not in command("train", *common, "--run=moving", "--learning_rate=3e-3").out


def test_a_network_that_learns_slowly_at_first_gets_no_advice(tmp_path, command):
    """After two epochs, vgg_tiny is no better than guessing on the digits, but its loss falls."""
    outcome = command("train", "--data=digits", f"--checkpoints={tmp_path}", "--net=vgg_tiny", "--epochs=6")
    assert outcome.status == 0, outcome.err
    assert "learned nothing" not in outcome.out
    assert "warm-up: it takes" not in outcome.out


def test_a_warm_up_longer_than_the_training_is_reported(data_folder, tmp_path, command):
    """72 training images in batches of 16 are five steps."""
    common = [f"--data={data_folder}", f"--checkpoints={tmp_path}", *TINY, "--run=a", "--warmup_steps=20"]
    line = "it takes 20 steps, but all epochs together have only 10 steps, so the learning rate rises to 0.5 of --l"
    assert command("train", *common).out.count(line) == 1
    assert "warm-up" not in command("train", *common, "--resume", "--epochs=4").out


def test_early_stopping_ends_the_run_and_resume_says_so(data_folder, tmp_path, command):
    """With a learning rate near 0 the summed loss fluctuates, so a patience of 1 stops the run early."""
    common = [f"--data={data_folder}", f"--checkpoints={tmp_path}", "--run=a"]
    outcome = command("train", *common, *TINY, "--epochs=60", "--patience=1", "--learning_rate=1e-9", "--keep_prob=0.5")
    assert outcome.status == 0
    assert "stopped early" in outcome.out
    losses = [float(row["loss"]) for row in repeatable_history(tmp_path, "a")]
    best = list(itertools.accumulate(losses, min))
    worse = [loss > lowest for loss, lowest in zip(losses[1:], best, strict=False)]
    assert worse[-2:] == [True, True]
    assert not any(a and b for a, b in itertools.pairwise(worse[:-1]))
    before = data_bytes(tmp_path, "a")
    again = command("train", *common, "--resume")
    assert again.status == 0
    assert "finished (stopped early)" in again.out
    assert data_bytes(tmp_path, "a") == before


def test_more_patience_on_resume_equals_a_run_with_this_patience(data_folder, tmp_path, command, monkeypatch):
    """The test replaces the dev scores, so that the best epoch is the one after which the run stopped early."""
    common = [f"--data={data_folder}", f"--checkpoints={tmp_path}"]
    arguments = [*TINY, "--epochs=24", "--learning_rate=1e-9", "--keep_prob=0.5"]
    assert "stopped early" in command("train", *common, *arguments, "--run=first", "--patience=1").out
    early = Run(tmp_path, "first").last_epoch()
    assert early.stopped_early
    last_step = Run(tmp_path, "first").history()[-1]["step"]

    def scores(training):
        return stages.DevScores(1 / (1 + abs(training.steps_done() - last_step)), 0.5, 0.5)

    monkeypatch.setattr(stages.OpenStage, "evaluate_dev", scores)
    for name, patience in (("whole", 4), ("part", 1)):
        assert command("train", *common, *arguments, f"--run={name}", f"--patience={patience}").status == 0
    before = data_bytes(tmp_path, "part")
    for patience, expected in ((0, "at least as much"), (1, "")):
        outcome = command("train", *common, "--run=part", "--resume", f"--patience={patience}")
        assert expected in outcome.err
        assert outcome.status == (2 if expected else 0)
        assert data_bytes(tmp_path, "part") == before
    outcome = command("train", *common, "--run=part", "--resume", "--patience=4")
    assert outcome.status == 0
    assert f"resumed after epoch {early.epoch}" in outcome.out
    assert Run(tmp_path, "part").last_epoch().epoch > early.epoch
    assert checkpoint.read_state(tmp_path / "part" / "best")["epoch"] == early.epoch
    assert data_bytes(tmp_path, "part") == data_bytes(tmp_path, "whole")
    assert repeatable_history(tmp_path, "part") == repeatable_history(tmp_path, "whole")
    assert Run(tmp_path, "part").config()["recipe"] == Run(tmp_path, "whole").config()["recipe"]


def test_patience_is_not_changed_in_a_run_with_fine_tuning(trained_copy, command):
    config = Run(trained_copy, "tiny").config()
    config["recipe"] |= {"finetune_epochs": 1}
    Run(trained_copy, "tiny").write_config(config)
    outcome = command("train", f"--checkpoints={trained_copy}", "--run=tiny", "--resume", "--patience=9")
    assert outcome.status == 2
    assert "--patience: found 9, but the run was started with 5, and --resume needs the same" in outcome.err


def test_the_best_epoch_is_the_first_with_the_highest_dev_macro_f1(data_folder, tmp_path, command):
    arguments = [*TINY, "--epochs=6", "--dev_split=stratified", "--learning_rate=0.01"]
    assert command("train", f"--data={data_folder}", f"--checkpoints={tmp_path}", "--run=a", *arguments).status == 0
    scores = [float(row["dev_macro_f1"]) for row in repeatable_history(tmp_path, "a")]
    state = checkpoint.read_state(tmp_path / "a" / "best")
    assert state["epoch"] == state["best_epoch"] == scores.index(max(scores)) + 1
    assert state["best_score"] == max(scores)


def test_without_a_dev_split_the_best_is_the_last(data_folder, tmp_path, command):
    common = [f"--data={data_folder}", f"--checkpoints={tmp_path}", "--run=a"]
    outcome = command("train", *common, *TINY, "--dev_fraction=0")
    assert outcome.status == 0
    assert "96 training, no dev split" in outcome.out
    assert (tmp_path / "a" / "best").readlink() == Path("epoch-0002")
    assert {row["dev_macro_f1"] for row in repeatable_history(tmp_path, "a")} == {""}
    refused = command("eval", f"--checkpoints={tmp_path}")
    assert refused.status == 2
    assert "without a dev split" in refused.err
    assert command("eval", f"--checkpoints={tmp_path}", "--split=train").status == 0


def test_what_a_run_folder_holds(trained):
    from graphcnn.ops.tf1 import tf1

    folder = trained[0] / "tiny"
    names = {"config.json", "split.npz", "history.csv", "best", "last", "events", "curves.png", ".lock"}
    assert names <= {path.name for path in folder.iterdir()}
    with (folder / "history.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == tuple(COLUMNS)
    assert tuple(COLUMNS)[-3:] == WALL_CLOCK
    events = list(tf1.train.summary_iterator(str(next((folder / "events").iterdir()))))
    scalars = {(e.step, v.tag): v.simple_value for e in events for v in e.summary.value}
    for row in rows:
        assert scalars[int(row["epoch"]), "dev_macro_f1"] == pytest.approx(float(row["dev_macro_f1"]))
    config = Run(trained[0], "tiny").config()
    assert config["split"] == {"kind": "stratified", "fraction": 0.25, "train": 72, "dev": 24}
    assert config["versions"]["tensorflow"]
    assert (folder / "curves.png").stat().st_size > 1000


def test_loss_is_summed_over_the_batches(tmp_path, command):
    """With a learning rate near 0, each of the six batches has about the initial loss; the last batch is smaller."""
    data = write_folder(tmp_path / "data", x_train=tiny_arrays(90)[0], y_train=tiny_arrays(90)[1])
    common = [f"--data={data}", f"--checkpoints={tmp_path}", *TINY, "--epochs=1", "--keep_prob=1", "--dev_fraction=0"]
    for name, l2 in (("with", 0.01), ("without", 0.0)):
        assert command("train", *common, f"--run={name}", f"--l2={l2}", "--learning_rate=1e-12").status == 0
    with_l2, without = (repeatable_history(tmp_path, name)[0] for name in ("with", "without"))
    assert with_l2["cross_entropy"] == without["cross_entropy"]
    assert float(without["loss"]) / 6 == pytest.approx(float(without["cross_entropy"]), rel=0.05)
    penalty = float(with_l2["loss"]) - float(without["loss"])
    reader = checkpoint.tf1.train.NewCheckpointReader(str(tmp_path / "with" / "last" / checkpoint.PREFIX))
    names = [n for n in reader.get_variable_to_shape_map() if n.endswith("/w")]
    squares = sum(float((reader.get_tensor(n).astype(np.float64) ** 2).sum()) for n in names)
    assert penalty == pytest.approx(6 * 0.01 * squares / 2, rel=1e-4)


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


class TestNothingSavedIsLost:
    @pytest.mark.parametrize("flag", [[], ["--overwrite"]])
    @pytest.mark.parametrize("name", ["suite", "tiny/best", "tiny/inner", "photos"])
    def test_a_run_never_deletes_other_files(self, name, flag, trained, tmp_path, command):
        shutil.copytree(trained[0], tmp_path / "suite", symlinks=True)
        shutil.copytree(trained[0] / "tiny", tmp_path / "tiny", symlinks=True)
        (tmp_path / "photos").mkdir()
        (tmp_path / "photos" / "me.jpg").write_text("mine")
        before = contents(tmp_path)
        arguments = [f"--data={trained[1]}", f"--checkpoints={tmp_path}", f"--run={name}", *TINY, *flag]
        outcome = command("train", *arguments)
        assert outcome.status == 2
        assert one_line(outcome.err)
        assert contents(tmp_path) == before

    @pytest.mark.parametrize("damage", ["dangling", "missing"])
    def test_resume_without_last_does_not_start_over(self, damage, trained_copy, trained, command):
        run = trained_copy / "tiny"
        (run / "last").unlink()
        if damage == "dangling":
            (run / "last").symlink_to("epoch-0009")
        before = contents(run)
        outcome = command("train", f"--checkpoints={trained_copy}", f"--data={trained[1]}", "--run=tiny", "--resume")
        assert outcome.status == 2
        assert one_line(outcome.err)
        assert "last" in outcome.err
        assert contents(run) == before

    def test_an_unwritable_events_folder_is_reported(self, trained_copy, command):
        shutil.rmtree(trained_copy / "tiny" / "events")
        (trained_copy / "tiny" / "events").write_text("in the way")
        outcome = command("train", f"--checkpoints={trained_copy}", "--run=tiny", "--resume", "--epochs=3")
        assert outcome.status == 2
        assert one_line(outcome.err)
        assert "events: cannot be written" in outcome.err


def test_a_kill_between_the_two_links_is_repaired(data_folder, tmp_path, command, monkeypatch):
    """`last` points to epoch 2, `best` does not yet; --resume updates it."""
    common = [f"--data={data_folder}", f"--checkpoints={tmp_path}", *TINY, "--dev_fraction=0"]
    assert command("train", *common, "--run=whole").status == 0
    link = checkpoint.replace_link

    def killed(path, target):
        if (path.name, target) == ("best", "epoch-0002"):
            raise KeyboardInterrupt
        link(path, target)

    with monkeypatch.context() as patched:
        patched.setattr(checkpoint, "replace_link", killed)
        assert command("train", *common, "--run=part").status == 130
    assert [(tmp_path / "part" / n).readlink().name for n in ("last", "best")] == ["epoch-0002", "epoch-0001"]
    assert command("train", f"--checkpoints={tmp_path}", "--run=part", "--resume").status == 0
    assert (tmp_path / "part" / "best").readlink().name == "epoch-0002"
    assert data_bytes(tmp_path, "part") == data_bytes(tmp_path, "whole")
