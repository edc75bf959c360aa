"""Command lines: help, flags, names of runs, exit statuses, the first line of the output."""

import subprocess
import sys
import time
from pathlib import Path

import processes
import pytest
from conftest import TINY, one_line, write_folder
from test_architecture import COMMANDS

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", COMMANDS)
def test_help_loads_nothing_heavy(name):
    program = (
        "import sys, runpy\n"
        f"sys.argv = ['{name}', '--help']\n"
        "try: runpy.run_module('graphcnn.' + sys.argv[0], run_name='__main__')\n"
        "except SystemExit as end: code = end.code\n"
        "loaded = [m for m in ('tensorflow', 'sklearn', 'matplotlib') if m in sys.modules]\n"
        "print(code, loaded)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 []"
    assert "./run.sh" in done.stdout
    assert "--debug" in done.stdout


HELP = {  # name: (arguments of train, the line about defaults, {setting: its default})
    "the digits": (["--data=digits"], "those of the recipe digits, which fits the data", {"epochs": 16, "net": "vgg"}),
    "a folder": (["--data=DIR"], "those of the recipe assignment, which fits the data", {"epochs": 50}),
    "fast": (
        ["--recipe=fast"], "those of the recipe fast.", {"net": "vgg6", "batch_norm": "true", "learning_rate": 1.7},
    ),
    "an experiment": (["--recipe=ladder/complex_2"], "those of the recipe ladder/complex_2.", {"init": "he"}),
    "other flags too": (["--nonsense=3", "--recipe=zoo"], "those of the recipe zoo.", {"image_size": 160}),
}  # fmt: skip


@pytest.mark.parametrize("case", HELP)
def test_help_shows_the_defaults_of_the_recipe_that_would_be_trained(case, command):
    arguments, note, defaults = HELP[case]
    for order in ([*arguments, "--help"], ["-h", *arguments]):
        outcome = command("train", *order)
        assert outcome.status == 0
        assert note in " ".join(outcome.out.split())
        for setting, default in defaults.items():
            entry = outcome.out.partition(f"\n  --{setting}: ")[2].partition("\n  --")[0]
            assert f"(default: {default})" in " ".join(entry.split()), setting


def test_help_for_an_unknown_recipe_is_refused(command):
    outcome = command("train", "--recipe=fats", "--help")
    assert (outcome.status, one_line(outcome.err)) == (2, True)
    assert "did you mean 'fast'" in outcome.err


def test_help_has_groups_and_the_ten_most_used_flags_first(command):
    out = command("train", "--help").out
    groups = [line[:-1] for line in out.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert groups == [
        "Most used", "Data", "Network", "Transfer learning", "Optimisation", "Regularisation", "Augmentation",
        "Stopping", "Run",
    ]  # fmt: skip
    first = out.partition("Most used:")[2].partition("Data:")[0]
    names = [line.strip()[2:].partition(":")[0] for line in first.splitlines() if line.startswith("  --")]
    assert names == [
        "data", "recipe", "run", "resume", "net", "image_size", "learning_rate", "batch_size", "epochs", "seed",
    ]  # fmt: skip


def test_every_recipe_field_is_a_flag():
    import dataclasses

    from graphcnn import train
    from graphcnn.config.recipe import Recipe

    flags = train.define_flags()
    assert {field.name for field in dataclasses.fields(Recipe)} <= set(flags)


BAD = {  # name: (arguments of train, words of the message)
    "unknown flag": (["--epoch=3"], "Did you mean: epochs"),
    "text for a number": (["--epochs=many"], "epochs=many"),
    "out of range": (["--batch_size=0"], "--batch_size=0: expected a whole number at least 1"),
    "keep nothing": (["--keep_prob=0"], "above 0 and at most 1"),
    "misspelt choice": (["--precision=bfloat61"], "did you mean 'bfloat16'"),
    "misspelt net": (["--net=vgg_tinny"], "did you mean 'vgg_tiny'"),
    "misspelt recipe": (["--recipe=digit"], "did you mean 'digits'"),
    "misspelt experiment": (["--recipe=ladder/complex_3"], "did you mean 'ladder/complex_"),
    "a photo net on small images": (
        ["--recipe=restaurant/model_3_1", "--image_size=32"],
        "--image_size=32: too small for the windows of --net=photos",
    ),
    "a zoo net on small images": (
        ["--recipe=zoo", "--net=xception", "--image_size=70"],
        "--image_size=70: --net=xception needs at least 71 pixels; enlarge it",
    ),
    "another activation for a zoo net": (
        ["--recipe=zoo", "--activation=silu"],
        "--activation: the layers of --net=resnet50_v2 are fixed",
    ),
    "micro-batches for a zoo net with batch norm": (
        ["--recipe=zoo", "--micro_batch=8"],
        "--micro_batch=8: --net=resnet",
    ),
    "micro-batches with batch norm": (
        ["--batch_norm", "--micro_batch=8"],
        "needs the mean and variance of the whole batch",
    ),
    "misspelt split": (["--dev_split=fist"], "did you mean 'first'"),
    "dev fraction of one": (["--dev_fraction=1"], "from 0 to below 1"),
    "empty dev split": (["--dev_fraction=1e-9"], "leaves the dev split empty"),
    "no such data": (["--data=nowhere"], "no such folder"),
    "stopping on a score without dev": (["--dev_fraction=0", "--stop_on=dev_macro_f1"], "no dev split"),
    "resume and overwrite": (["--resume", "--overwrite"], "exclude each other"),
    "resume and a sheet": (["--resume", "--show_augmentation", "--zoom=0.1"], "exclude each other"),
    "a sheet of nothing": (
        ["--show_augmentation", "--data=digits"],
        "has no augmentation; add one or more of --flip, --trans",
    ),
    "zoom to nothing": (["--zoom=1"], "--zoom=1.0: expected a number at least 0 and below 1"),
    "blur beyond the images": (
        ["--blur=32", "--data=digits"],
        "--blur=32.0: expected less than the 32x32 pixels of the images",
    ),
    "a word that is no flag": (["digits"], "found 'digits'"),
    "a run's name with a space": (["--run=a b"], "--run: found 'a b'"),
    "a run outside the folder": (["--run=../a"], "--run: found '../a'"),
    "a run too deep": (["--run=a/b/c"], "at most one '/'"),
    "an absolute run": (["--run=/etc"], "--run: found"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_flags_end_with_one_line_and_status_2(case, tmp_path, command):
    arguments, words = BAD[case]
    outcome = command("train", f"--checkpoints={tmp_path}", *arguments)
    assert outcome.status == 2
    assert one_line(outcome.err), outcome.err
    assert words in outcome.err
    assert list(tmp_path.iterdir()) == []


def test_debug_shows_the_traceback(tmp_path, command):
    outcome = command("train", f"--checkpoints={tmp_path}", "--data=nowhere", "--debug")
    assert outcome.status == 2
    assert "Traceback" in outcome.err


def test_stderr_has_one_line_of_an_error_and_nothing_of_tensorflow(tmp_path):
    arguments = ["--data=digits", "--epochs=1", "--net=vgg_tiny", f"--checkpoints={tmp_path}", "--run=a"]
    command = [sys.executable, "-m", "graphcnn.train", *arguments]
    first = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (first.returncode, first.stderr) == (0, "")
    assert "data: digits\n" in first.stdout
    status, _, err = processes.run(*command[1:])
    assert status == 2
    assert one_line(err)
    assert "continue it with --resume or replace it with --overwrite" in err


def test_default_data_and_recipe_are_printed_and_recorded(tmp_path, command, monkeypatch):
    from graphcnn.data import sources
    from graphcnn.storage.run import Run

    monkeypatch.setattr(sources, "DEFAULT_FOLDER", tmp_path / "data")
    outcome = command("train", f"--checkpoints={tmp_path}", *TINY, "--epochs=1")
    assert outcome.out.splitlines()[0] == "data: digits (no --data given; data/ has no x_train.npy)"
    assert outcome.out.splitlines()[1].startswith("recipe: digits")
    assert Run(tmp_path, "digits-1").config()["data"]["source"] == "digits"
    folder = write_folder(tmp_path / "data")
    outcome = command("train", f"--checkpoints={tmp_path}", *TINY, "--epochs=1")
    assert outcome.out.splitlines()[0] == f"data: {folder} (no --data given)"
    assert Run(tmp_path, "assignment-1").config()["data"]["source"] == str(folder)


def test_names_resume_and_overwrite(data_folder, tmp_path, command):
    common = [f"--data={data_folder}", f"--checkpoints={tmp_path}", *TINY, "--epochs=1"]
    assert command("train", *common, "--run=suite/a", "--resume").status == 0  # starts it where nothing was saved yet
    before = {p: p.read_bytes() for p in (tmp_path / "suite").rglob("*.ckpt*")}
    refused = command("train", *common, "--run=suite/a")
    assert refused.status == 2
    done = command("train", *common, "--run=suite/a", "--resume")
    assert done.status == 0
    assert "finished (all epochs done)" in done.out
    other = command("train", *common, "--run=suite/a", "--resume", "--seed=9")
    assert other.status == 2
    assert "--seed: found 9, but the run was started with 51" in other.err
    for flags in (["--dev_fraction=1e-9"], ["--net=two_conv", "--init=dirac"]):
        assert command("train", *common, "--run=suite/a", "--overwrite", *flags).status == 2
    assert {p: p.read_bytes() for p in (tmp_path / "suite").rglob("*.ckpt*")} == before
    assert command("train", *common, "--run=suite/a", "--overwrite", "--seed=9").status == 0
    assert {p: p.read_bytes() for p in (tmp_path / "suite").rglob("*.ckpt*")} != before
    assert command("eval", f"--checkpoints={tmp_path}").out.startswith("run: suite/a")


def test_the_newest_run_is_the_default(data_folder, tmp_path, command):
    common = [f"--data={data_folder}", f"--checkpoints={tmp_path}", *TINY, "--epochs=1"]
    for _ in range(2):
        assert command("train", *common).status == 0
        time.sleep(0.01)
    assert command("eval", f"--checkpoints={tmp_path}").out.startswith("run: assignment-2")
    assert command("eval", f"--checkpoints={tmp_path}", "--run=assignment-1").out.startswith("run: assignment-1")


def test_resized_images_are_reported_once(data_folder, tmp_path, command):
    outcome = command("train", f"--data={data_folder}", f"--checkpoints={tmp_path}", *TINY, "--image_size=24")
    assert outcome.out.count("images: 16x16, resized in the graph to 24x24") == 1
    assert command("eval", f"--checkpoints={tmp_path}").status == 0
