"""The command runs: the list of runs, the comparison and the deletion."""

import contextlib
import csv
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys

import numpy as np
import processes
import pytest
from conftest import BLANK, one_line
from PIL import Image
from run_folders import edit_json, write_run

from graphcnn.common import replace
from graphcnn.storage.select_run import all_runs


def listed(command, root, *flags):
    """Return the JSON list of the runs."""
    outcome = command("runs", f"--checkpoints={root}", "--json", *flags)
    assert (outcome.status, outcome.err) == (0, ""), outcome.err
    return json.loads(outcome.out)


def by_name(command, root):
    return {run["name"]: run for run in listed(command, root)}


def refused(outcome, words):
    assert (outcome.status, one_line(outcome.err)) == (2, True), outcome.err
    assert words in outcome.err


def test_the_list_has_the_numbers_of_the_files(tmp_path, command):
    run = write_run(tmp_path, "a", age=7200, net="vgg_tiny", batch_size=16, epochs=9)
    write_run(tmp_path, "suite/b", [0.25], recipe="fast", precision="bfloat16")
    with (run.path / "history.csv").open() as file:
        history = list(csv.DictReader(file))
    best = max(history, key=lambda row: float(row["dev_macro_f1"]))
    a, b = by_name(command, tmp_path).values()
    a, b = (a, b) if a["name"] == "a" else (b, a)
    assert 7200 <= a.pop("age_seconds") < 7260
    assert a == {
        "name": "a", "state": "interrupted", "problem": None, "data": "digits", "recipe": "assignment",
        "settings": {"net": "vgg_tiny", "batch_size": 16, "epochs": 9}, "epochs": len(history), "planned_epochs": 9,
        "best_epoch": int(best["epoch"]), "dev_macro_f1": float(best["dev_macro_f1"]),
        "training_seconds": float(history[-1]["training_seconds"]),
    }  # fmt: skip
    assert (b["name"], b["recipe"], b["settings"], b["epochs"], b["planned_epochs"]) == ("suite/b", "fast", {}, 1, 9)

    out = command("runs", f"--checkpoints={tmp_path}").out
    rows = {line.split()[0]: line.split() for line in out.splitlines() if line.split()}
    assert rows["a"] == [
        "a", "interrupted", "3/9", "0.7500", "8", "2", "h", "digits", "assignment", "net=vgg_tiny", "batch_size=16",
        "epochs=9",
    ]  # fmt: skip
    assert max(map(len, out.splitlines())) <= 160


def test_the_states(tmp_path, command):
    write_run(tmp_path, "interrupted")
    write_run(tmp_path, "not-started", [])
    write_run(tmp_path, "finished", epochs=3)
    write_run(tmp_path, "stopped-early", stopped=True)
    write_run(tmp_path, "more-patience", stopped=True, patience=6)
    running = write_run(tmp_path, "running", epochs=3)
    write_run(tmp_path, "running.replaced-1")
    with running.lock():
        runs = by_name(command, tmp_path)
    assert {name: run["state"] for name, run in runs.items()} == {
        "interrupted": "interrupted", "not-started": "interrupted", "finished": "finished",
        "stopped-early": "finished", "more-patience": "interrupted", "running": "running",
        "running.replaced-1": "interrupted",
    }  # fmt: skip
    new = runs["not-started"]
    assert (new["epochs"], new["dev_macro_f1"], new["training_seconds"]) == (0, None, None)


def test_a_score_in_float32_replaces_that_of_the_training(tmp_path, command):
    run = write_run(tmp_path, "a")
    for epoch, score in ((2, 0.7125), (1, 0.75)):
        edit_json(run.config_path, best={"epoch": epoch, "dev_macro_f1": 0.7125})
        assert by_name(command, tmp_path)["a"]["dev_macro_f1"] == score


def test_a_crash_between_the_two_links_is_no_damage(tmp_path, command):
    run = write_run(tmp_path, "a", [0.5, 0.25])
    edit_json(run.path / "last/state.json", best_epoch=2, best_score=0.9)
    first = write_run(tmp_path, "b", [0.5])
    (first.path / "best").unlink()
    runs = by_name(command, tmp_path)
    assert [(runs[name]["state"], runs[name]["epochs"]) for name in "ab"] == [("interrupted", 1), ("interrupted", 0)]


def test_a_trained_run(trained, command):
    (run,) = listed(command, trained[0])
    assert (run["name"], run["state"], run["epochs"], run["problem"]) == ("tiny", "finished", 2, None)
    config = json.loads((trained[0] / "tiny/config.json").read_text())
    assert run["dev_macro_f1"] == config["best"]["dev_macro_f1"]
    assert run["settings"]["net"] == "vgg_tiny" and "precision" not in run["settings"]


def relink(path, target):
    path.unlink()
    path.symlink_to(target)


DAMAGE = {  # name: (change of the run's folder, words of the problem)
    "no JSON": (lambda run: run.config_path.write_text("{"), "config.json: cannot be read"),
    "deep JSON": (lambda run: run.config_path.write_text("[" * 10**6), "config.json: cannot be read"),
    "another JSON": (lambda run: run.config_path.write_text("[]"), "config.json: cannot be read"),
    "no config": (lambda run: run.config_path.unlink(), "config.json: is missing, but the run has checkpoints"),
    "an impossible setting": (lambda run: edit_json(run.config_path, recipe={"net": 3}), "config.json: "),
    "a linked config": (lambda run: relink(run.config_path, __file__), "is a link to"),
    "a dangling config": (lambda run: relink(run.config_path, "nothing"), "is a link to"),
    "a dangling link": (lambda run: relink(run.path / "last", "epoch-0099"), "last/state.json: cannot be read"),
    "a foreign link": (lambda run: relink(run.path / "best", "/"), "best: is a link to /"),
    "no last": (lambda run: (run.path / "last").unlink(), "last: is missing, but the link `best` exists"),
    "another epoch": (lambda run: edit_json(run.path / "last/state.json", epoch=10**12), "expected rows for epochs"),
    "a negative epoch": (lambda run: edit_json(run.path / "last/state.json", epoch=-1), "best: leads to epoch 2"),
    "no history": (lambda run: (run.path / "history.csv").unlink(), "history.csv: cannot be read"),
    "a long cell": (lambda run: (run.path / "history.csv").write_text("epoch\n" + "1" * 200_000), "history.csv: "),
    "a FIFO": (lambda run: os.mkfifo(run.path / "x"), "is a FIFO"),
    "a linked lock": (lambda run: (run.path / ".lock").symlink_to(__file__), "is a symbolic link"),
    "a linked folder": (lambda run: run.path.rename(run.root.parent / "x") and run.path.symlink_to("../x"), "link"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_a_damaged_run_is_a_row(case, tmp_path, command):
    change, words = DAMAGE[case]
    write_run(tmp_path / "runs", "good")
    change(write_run(tmp_path / "runs", "bad"))
    runs = by_name(command, tmp_path / "runs")
    assert (runs["good"]["state"], runs["bad"]["state"]) == ("interrupted", "damaged")
    assert words in runs["bad"]["problem"]
    out = command("runs", f"--checkpoints={tmp_path / 'runs'}").out
    assert re.search(r"bad +damaged", out) and "\nbad: " in out
    refused(command("runs", f"--checkpoints={tmp_path / 'runs'}", "good", "bad"), "bad")


def test_folders_that_are_no_runs_are_not_listed(tmp_path, command):
    root = tmp_path / "runs"
    write_run(tmp_path, "elsewhere/a")
    for name in ("ensembles/a+b", "...", "a b", ".tiny.0123456789abcdef.deleted", "suite", "deep/er/est"):
        (root / name).mkdir(parents=True)
    for name in ("...", "a b", ".tiny.0123456789abcdef.deleted", "deep/er/est"):
        (root / name / "config.json").touch()
    (root / "link").symlink_to("../elsewhere")
    assert listed(command, root) == []


def test_names_of_strangers_are_shown_as_text(tmp_path, command):
    hostile = "\x1b]0;t\x07[bold]\n\u202e" + "x" * 10_000
    run = write_run(tmp_path, "a")
    config = json.loads(run.config_path.read_text())
    data, recipe = {**config["data"], "source": hostile}, {**config["recipe"], "weights": hostile, "net": hostile}
    edit_json(run.config_path, recipe_name=hostile, data=data, recipe=recipe)
    write_run(tmp_path, "b")
    (entry,) = (run for run in listed(command, tmp_path) if run["name"] == "a")
    assert (entry["data"], entry["recipe"], entry["settings"]) == (hostile, hostile, None)
    for arguments in ([], ["a", "b"]):
        outcome = command("runs", f"--checkpoints={tmp_path}", *arguments)
        assert outcome.status == 0, outcome.err
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", outcome.out)
        assert len(outcome.out) < 5000
    assert "\\x1b]0;t\\x07[bold]" in outcome.out


def test_numbers_of_strangers_are_left_out(tmp_path, command):
    run = write_run(tmp_path, "a")
    edit_json(run.path / "best/state.json", best_score=1e300)
    text = (run.path / "history.csv").read_text().replace("7.5", "inf").replace("0.75", "nan").replace("0.5", "-1e300")
    (run.path / "history.csv").write_text(text)
    write_run(tmp_path, "b")
    entry = by_name(command, tmp_path)["a"]
    assert (entry["dev_macro_f1"], entry["training_seconds"]) == (None, None)
    assert command("runs", f"--checkpoints={tmp_path}", "a", "b").status == 0


ORDERS = {  # order: names, the first one first
    "age": ["c", "bad", "a-10", "a-2"],
    "name": ["a-2", "a-10", "bad", "c"],
    "score": ["a-10", "a-2", "c", "bad"],
    "seconds": ["c", "a-2", "a-10", "bad"],
    "epochs": ["c", "a-2", "a-10", "bad"],
}


@pytest.mark.parametrize("order", ORDERS)
def test_the_order_of_the_list(order, tmp_path, command):
    write_run(tmp_path, "a-10", [0.9], age=3000)
    write_run(tmp_path, "a-2", [0.5, 0.6], age=4000)
    write_run(tmp_path, "c", [0.1, 0.2, 0.3], age=10)
    bad = write_run(tmp_path, "bad")
    bad.config_path.write_text("")
    os.utime(bad.config_path, (tmp_path.stat().st_mtime - 2000,) * 2)
    assert [run["name"] for run in listed(command, tmp_path, f"--sort={order}")] == ORDERS[order]


def test_no_runs(tmp_path, command):
    outcome = command("runs", f"--checkpoints={tmp_path}")
    assert (outcome.status, outcome.out) == (0, f"no runs in {tmp_path}; train one with ./run.sh train\n")
    assert listed(command, tmp_path) == []
    refused(command("runs", f"--checkpoints={tmp_path / 'x'}"), "no such folder")


BAD = {  # name: (arguments, words of the message)
    "misspelt order": (["--sort=scor"], "did you mean 'score'"),
    "one run": (["a"], "found one run, 'a', expected two or more"),
    "a run twice": (["a", "a"], "a run is named twice"),
    "no such run": (["a", "x"], "x: no such run"),
    "no name of a run": (["a", "../b"], "found '../b', expected letters"),
    "a picture of the list": (["--out=x.png"], "--out: has no effect on the list"),
    "a sorted comparison": (["a", "b", "--sort=name"], "--sort: has no effect on a comparison"),
    "a comparison as JSON": (["a", "b", "--json"], "--json: has no effect on a comparison"),
    "yes to nothing": (["--yes"], "--yes: has no effect on the list"),
    "delete and compare": (["a", "b", "--delete=a"], "found 'a' beside --delete"),
    "a picture of a deletion": (["--delete=a", "--out=x.png"], "--out: has no effect on a deletion"),
    "delete nothing": (["--delete=", "--yes"], "--delete: found ''"),
    "delete a path": (["--delete=../runs/a", "--yes"], "--delete: found '../runs/a'"),
    "delete the folder": (["--delete=.", "--yes"], "--delete: found '.'"),
    "delete without an answer": (["--delete=a"], "no terminal to ask on, so nothing was deleted"),
    "delete an unknown run": (["--delete=a,x", "--yes"], "--delete=x: "),
    "delete a suite": (["--delete=suite", "--yes"], "has no config.json"),
    "delete a run without its config": (["--delete=lost", "--yes"], "has no config.json"),
    "delete a run with a note": (["--delete=note", "--yes"], "holds note.txt, which is not part of a run"),
    "delete a run with a link": (["--delete=hostile", "--yes"], "is a link to"),
    "delete a link": (["--delete=link", "--yes"], "is a symbolic link"),
    "delete a run behind a link": (["--delete=links/a", "--yes"], "is a symbolic link"),
    "delete a foreign config": (["--delete=model", "--yes"], "holds config.json, which is not part of a run"),
    "delete a running training": (["--delete=a,running", "--yes"], "--delete=running: a training is writing this run"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_arguments_end_with_one_line_and_change_nothing(case, tmp_path, command, monkeypatch):
    monkeypatch.chdir(tmp_path)
    root, (arguments, words) = tmp_path / "runs", BAD[case]
    for name in ("a", "b", "suite/c", "note", "../elsewhere/a"):
        write_run(root, "tmp").path.rename(folder) if (folder := made(root / name)) else None
    (root / "note/note.txt").write_text("mine")
    write_run(root, "lost").config_path.unlink()
    (write_run(root, "hostile").path / "report").symlink_to("../a")
    (root / "link").symlink_to("a")
    (root / "links").symlink_to("../elsewhere")
    (root / "model").mkdir()
    (root / "model/config.json").write_text("{}")
    running = write_run(root, "running")
    with running.lock():
        before = sorted(tmp_path.rglob("*"))
        refused(command("runs", f"--checkpoints={root}", *arguments), words)
    assert sorted(tmp_path.rglob("*")) == before


def made(folder):
    """Make the parents of a folder and return it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.mark.pictures
def test_a_comparison(tmp_path, command):
    write_run(tmp_path, "a", learning_rate=0.5)
    other = write_run(tmp_path, "_b", [0.25, 0.875], recipe="fast")
    write_run(tmp_path, "none", [])
    report = {"epoch": 2, "macro_f1": 0.625, "tta": True}
    (other.path / "report").mkdir()
    (other.path / "report/test.json").write_text(json.dumps(report))
    outcome = command("runs", f"--checkpoints={tmp_path}", "a", "_b", "none")
    assert outcome.status == 0, outcome.err
    lines = [line.split() for line in outcome.out.splitlines()]
    assert ["learning_rate", "0.5", "1.7", "0.001"] in lines
    assert ["recipe", "assignment", "fast", "assignment"] in lines
    assert not any(line[:1] in (["data"], ["seed"], ["precision"]) for line in lines)
    assert ["a", "3/50", "2", "0.7500", "0.5", "8"] in lines
    assert ["_b", "2/9", "2", "0.8750", "0.5", "5", "0.6250", "tta"] in lines
    assert ["none", "0/50"] in lines
    assert lines[-1] == ["written:", str(tmp_path / "comparison.png")]
    with Image.open(tmp_path / "comparison.png") as image:
        colours = {tuple(pixel) for pixel in np.asarray(image.convert("RGB")).reshape(-1, 3)}
        assert image.width > 1000 and {(0x1F, 0x77, 0xB4), (0xFF, 0x7F, 0x0E)} <= colours

    edit_json(other.path / "report/test.json", epoch=1)
    assert "test macro F1" not in command("runs", f"--checkpoints={tmp_path}", "a", "_b").out
    edit_json(other.path / "report/test.json", epoch=2, macro_f1="high")
    assert "unreadable" in command("runs", f"--checkpoints={tmp_path}", "a", "_b").out


def test_few_different_settings_are_columns(tmp_path, command):
    for seed in (1, 2, 3):
        write_run(tmp_path, f"seed-{seed}", seed=seed)
    out = command("runs", f"--checkpoints={tmp_path}", "seed-1", "seed-2", "seed-3", f"--out={tmp_path / 'x.png'}").out
    assert next(line.split() for line in out.splitlines() if line.split()) == ["run", "seed"]
    assert ["seed-2", "2"] in [line.split() for line in out.splitlines()]
    assert (tmp_path / "x.png").read_bytes() == BLANK and not (tmp_path / "comparison.png").exists()


def test_a_comparison_without_history_has_no_picture(tmp_path, command):
    write_run(tmp_path, "a", [])
    write_run(tmp_path, "b", [])
    out = command("runs", f"--checkpoints={tmp_path}", "a", "b").out
    assert out.startswith("the recipes, the data and all settings of these runs are the same\n")
    assert out.endswith("no picture: none of these runs has an epoch with a dev score\n")
    assert not (tmp_path / "comparison.png").exists()


@pytest.mark.parametrize("arguments", [[], ["--json"], ["a", "b"], ["--delete=a", "--yes"]])
def test_tensorflow_is_not_imported(arguments, tmp_path):
    write_run(tmp_path, "a", [])
    write_run(tmp_path, "b", [])
    program = (
        "import runpy, sys\n"
        "try: runpy.run_module('graphcnn.runs', run_name='__main__')\n"
        "except SystemExit as end: code = end.code\n"
        "heavy = [name for name in ('tensorflow', 'sklearn', 'scipy', 'matplotlib') if name in sys.modules]\n"
        "print(code, heavy, file=sys.stderr)\n"
    )
    status, _, err = processes.run("-c", program, f"--checkpoints={tmp_path}", *arguments, fresh=True)
    assert (status, err) == (0, "0 []\n")


def test_runs_are_deleted(tmp_path, command):
    for name in ("a", "suite/b", "c"):
        write_run(tmp_path, name)
    (tmp_path / "c/config.json").write_text("{")  # a damaged run
    size = sum(
        path.stat().st_size for path in (tmp_path / "a").rglob("*") if path.is_file() and "last" not in str(path)
    )
    (tmp_path / "a/curves.png").write_bytes(bytes(3_000_000))
    (tmp_path / "suite/b/calibration.json").write_text("{}")
    outcome = command("runs", f"--checkpoints={tmp_path}", "--delete=a,suite/b,c,a", "--yes")
    assert outcome.status == 0, outcome.err
    assert size < 50_000 and "\n  a  3.0 MB  " in outcome.out
    assert outcome.out.endswith("deleted: a (3.0 MB)\ndeleted: suite/b (0.0 MB)\ndeleted: c (0.0 MB)\n")
    assert [path.name for path in tmp_path.rglob("*")] == ["suite"]


def on_terminal(columns, *arguments, question=b"", answer=""):
    """Run the command on a terminal of this width, answer its question and return what it printed, without colours."""
    terminal, child = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": str(columns)}
    program = [sys.executable, "-m", "graphcnn.runs", *map(str, arguments)]
    process = subprocess.Popen(program, cwd=processes.ROOT, env=environment, stdin=child, stdout=child, stderr=child)
    os.close(child)
    text = b""
    with contextlib.suppress(OSError):  # the command has ended
        while not (question and question in text):
            text += os.read(terminal, 1 << 16)
        os.write(terminal, f"{answer}\n".encode())
    assert process.wait(60) == 0, text.decode()
    os.close(terminal)
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text.decode()).replace("\r", "")


@pytest.mark.parametrize("answer", ["yes", "no", ""])
def test_the_question(answer, tmp_path):
    write_run(tmp_path, "a")
    text = on_terminal(80, f"--checkpoints={tmp_path}", "--delete=a", question=b"Type yes: ", answer=answer)
    assert "delete 1 run (0.0 MB)? Type yes: " in text
    assert (tmp_path / "a").exists() == (answer != "yes")


@pytest.mark.parametrize("columns", [80, 120])
def test_the_table_fits_into_a_terminal(columns, tmp_path):
    write_run(tmp_path, "wide-lr-0.01", learning_rate=0.01, net="vgg_tiny", warmup_steps=100)
    write_run(tmp_path, "suite/some-experiment-51", recipe="fast").config_path.write_text("{")
    text = on_terminal(columns, f"--checkpoints={tmp_path}")
    lines = [line.rstrip() for line in text.partition(" name ")[2].splitlines()]
    assert "some-experiment-51" in text and "interrupted" in text
    assert max(len(line) for line in lines if not line.startswith("suite/some")) <= columns
    for setting in ("net=vgg_tiny", "learning_rate=0.01", "warmup_steps=100"):
        assert setting in text
    assert text.count("changed settings") == 1 and text.count("\n name ") == (2 if columns == 80 else 1)


@pytest.mark.parametrize("name", ["a", "suite/b"])
def test_a_killed_deletion_leaves_no_run_and_is_finished_by_the_next_one(name, tmp_path, command, monkeypatch):
    write_run(tmp_path, name)
    write_run(tmp_path, "c")
    with monkeypatch.context() as patch:
        patch.setattr(replace.shutil, "rmtree", lambda path: signal.raise_signal(signal.SIGINT))
        assert command("runs", f"--checkpoints={tmp_path}", f"--delete={name}", "--yes").status == 130
    assert len(list(tmp_path.rglob("config.json"))) == 2
    assert [run["name"] for run in listed(command, tmp_path)] == ["c"]
    assert [run.name for run in all_runs(tmp_path)] == ["c"]
    assert command("runs", f"--checkpoints={tmp_path}", "--delete=c", "--yes").status == 0
    assert {path.name for path in tmp_path.rglob("*")} <= {"suite"}


def test_a_training_that_starts_during_the_question_keeps_its_run(tmp_path, command, monkeypatch):
    run = write_run(tmp_path, "a")
    with run.lock():
        monkeypatch.setattr("graphcnn.storage.run.is_locked", lambda path: False)
        refused(command("runs", f"--checkpoints={tmp_path}", "--delete=a", "--yes"), "a training is writing this run")
    assert run.exists()
    shutil.rmtree(run.path)
