"""The folder of a run, and the selection of runs by --run."""

import errno
import json
import math
import os
import shutil
import time

import numpy as np
import pytest

from graphcnn.common.errors import DamagedRun, InputError
from graphcnn.common.files import read_json
from graphcnn.config.recipe import Recipe
from graphcnn.storage import checkpoint
from graphcnn.storage.recorded_data import load_recorded_data
from graphcnn.storage.run import COLUMNS, HistoryRow, LastEpoch, Run
from graphcnn.storage.select_run import (
    all_runs,
    ensemble_folder,
    newest_names,
    next_start,
    select_run,
    select_runs,
    unused_run,
)


def write_states(run, last, best):
    """Write the state.json files that the links lead to."""
    for link, state in {"last": last, "best": best}.items():
        (run.path / link).mkdir(parents=True)
        (run.path / link / "state.json").write_text(json.dumps(state))


NOT_WORSE, WORSE = {"best": 0.5, "worse_in_a_row": 0}, {"best": 0.5, "worse_in_a_row": 7}
LAST_EPOCHS = {  # name: (state of last, state of best, what is expected)
    "running": (
        {"epoch": 3, "best_epoch": 2, "stopped_early": False, "stopping": NOT_WORSE}, {"epoch": 2}, (3, False, 0),
    ),
    "stopped early": (
        {"epoch": 9, "best_epoch": 2, "stopped_early": True, "stopping": WORSE}, {"epoch": 2}, (9, True, 7),
    ),
    "a crash before best was replaced": (
        {"epoch": 3, "best_epoch": 3, "stopped_early": True, "stopping": WORSE}, {"epoch": 2}, (2, False, 0),
    ),
    "another content": ([], {}, (0, False, 0)),
    "an infinite epoch": (
        {"epoch": math.inf, "best_epoch": 2, "stopped_early": False, "stopping": NOT_WORSE},
        {"epoch": 2},
        (0, False, 0),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", LAST_EPOCHS)
def test_the_last_epoch(case, tmp_path):
    last, best, expected = LAST_EPOCHS[case]
    run = Run(tmp_path, "a")
    assert run.last_epoch() == (0, False, 0)
    write_states(run, last, best)
    assert run.last_epoch() == expected


def test_history_is_read_as_it_was_written(tmp_path):
    run = Run(tmp_path, "a")
    run.path.mkdir()
    numbers = dict(zip(COLUMNS, (1, 10, *np.linspace(0.1, 0.9, 9).tolist()), strict=True))
    rows = [HistoryRow(**numbers), HistoryRow(**{**numbers, "epoch": 2, "dev_macro_f1": None})]
    run.write_history(rows)
    assert run.history() == rows
    assert run.history(1) == rows[:1]
    with pytest.raises(InputError, match="expected rows for epochs 1 to 3"):
        run.history(3)
    (run.path / "history.csv").unlink()
    assert run.history_so_far() == []


@pytest.mark.parametrize("epochs", [-1, 10**12])
def test_a_history_without_the_rows_of_any_number_of_epochs_is_refused(epochs, tmp_path):
    run = Run(tmp_path, "a")
    run.path.mkdir()
    run.write_history([])
    with pytest.raises(InputError, match=f"expected rows for epochs 1 to {epochs}"):
        run.history(epochs)


@pytest.mark.parametrize("content", ["epoch,step\n1," + "1" * 200_000, 'epoch\n"' + "x" * 200_000])
def test_a_history_with_a_long_cell_is_refused(content, tmp_path):
    run = Run(tmp_path, "a")
    run.path.mkdir()
    (run.path / "history.csv").write_text(content)
    with pytest.raises(InputError, match=r"history\.csv: cannot be read"):
        run.history()


def test_a_folder_whose_name_is_only_dots_is_no_run(tmp_path):
    for name in ("...", "suite/.."):
        with pytest.raises(InputError, match="--run: found"):
            Run(tmp_path, name)
    for name in ("...", "a", "suite/...", "suite/.b"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "config.json").touch()
    assert {run.name for run in all_runs(tmp_path)} == {"a", "suite/.b"}


FINAL = {  # name: (last epoch, settings, whether the training ends after it)
    "all epochs": (LastEpoch(50), {}, True),
    "an epoch is left": (LastEpoch(49), {}, False),
    "fine-tuning is left": (LastEpoch(50), {"finetune_epochs": 1}, False),
    "stopped early": (LastEpoch(9, True, 6), {}, True),
    "stopped early, but the patience was raised": (LastEpoch(9, True, 6), {"patience": 6}, False),
    "fine-tuning stopped early": (LastEpoch(9, True, 0), {"finetune_epochs": 5}, True),
}


@pytest.mark.parametrize("case", FINAL)
def test_the_final_epoch(case):
    last, settings, final = FINAL[case]
    assert last.is_final(Recipe(**settings)) == final


def test_clear_leaves_the_lock_and_a_crash_in_it_leaves_no_run(trained_copy, monkeypatch):
    run = Run(trained_copy, "tiny")
    (run.path / "report").mkdir(exist_ok=True)
    with monkeypatch.context() as patch:
        patch.setattr("shutil.rmtree", lambda path: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            run.clear()
    assert not run.exists()
    assert run.lacks_config()  # so only --overwrite starts it again
    run.clear()
    assert {path.name for path in run.path.iterdir()} <= {".lock"}


def test_a_run_that_is_set_aside_is_no_longer_selected(trained_copy):
    run = Run(trained_copy, "tiny")
    for n in (1, 2):
        content = {path.name for path in run.path.iterdir()} | {".lock"}
        assert run.set_aside() == trained_copy / f"tiny.replaced-{n}"
        assert not run.exists()
        assert {path.name for path in (trained_copy / f"tiny.replaced-{n}").iterdir()} == content
        assert all_runs(trained_copy) == []
        run.create({}, np.arange(3))
        run.refuse_foreign()
        assert [each.name for each in all_runs(trained_copy)] == ["tiny"]
    with run.lock(), pytest.raises(InputError, match="another training is writing"):
        run.set_aside()
    assert run.exists()


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES, errno.ESTALE, errno.EMFILE])
def test_a_run_whose_folder_cannot_be_read_is_not_a_missing_run(number, trained_copy, monkeypatch):
    """Otherwise train would start a new run in its place."""

    def failing(path, *arguments, **options):
        raise OSError(number, os.strerror(number), str(path))

    run = Run(trained_copy, "tiny")
    monkeypatch.setattr(os, "lstat", failing)
    monkeypatch.setattr(os, "stat", failing)
    for check in (run.exists, run.has_best, run.has_last, run.has_epochs, run.lacks_config):
        with pytest.raises(OSError, match=os.strerror(number)):
            check()


def test_a_missing_config_differs_from_a_run_that_was_not_started(trained_copy):
    run = Run(trained_copy, "tiny")
    assert not run.lacks_config()
    run.config_path.unlink()
    assert run.lacks_config()
    assert not Run(trained_copy, "new").lacks_config()


def test_only_changed_bytes_raise_damaged_run(trained_copy):
    run = Run(trained_copy, "tiny")
    index = (run.path / "best" / "model.ckpt.index").resolve()
    content = index.read_bytes()
    index.write_bytes(content[:-1])
    with pytest.raises(DamagedRun) as caught:
        checkpoint.verify(run, "best")
    assert caught.value.path == index
    with pytest.raises(DamagedRun):
        checkpoint.read_variables(run, "best", lambda name, shape: False)
    index.unlink()
    with pytest.raises(InputError) as missing:
        checkpoint.verify(run, "best")
    assert not isinstance(missing.value, DamagedRun)
    index.write_bytes(content)
    (index.parent / "manifest.json").write_text("{")
    with pytest.raises(InputError) as manifest:
        checkpoint.verify(run, "best")
    assert not isinstance(manifest.value, DamagedRun)


def test_selection_of_runs(trained_copy):
    for name in ("b", "suite/c", "tiny-1"):
        Run(trained_copy, name).create({"started": next_start(trained_copy)}, np.arange(3))
    assert newest_names(trained_copy) == "tiny-1, suite/c, b, tiny"
    assert [run.name for run in all_runs(trained_copy)] == ["tiny-1", "suite/c", "b", "tiny"]
    assert select_run(trained_copy, None).name == "tiny"  # the only one with a finished epoch
    assert [run.name for run in select_runs(trained_copy, "tiny")] == ["tiny"]
    for names, words in {"tiny,tiny": "named twice", "tiny,none": "no such run", "b": "no finished epoch"}.items():
        with pytest.raises(InputError, match=words):
            select_runs(trained_copy, names)
    assert unused_run(trained_copy, "tiny").name == "tiny-2"
    assert ensemble_folder(trained_copy, ["a", "s/b"]) == trained_copy / "ensembles" / "a+s-b"


def test_the_folder_of_a_large_ensemble_has_a_name_that_file_systems_allow(tmp_path):
    names = [f"suite/experiment-{n}-seed51-epochs100" for n in range(9)]
    folders = {ensemble_folder(tmp_path, [*names[:8], last]) for last in [*names[8:], "b"]}
    assert len(folders) == 2
    for folder in folders:
        assert folder.name.startswith("suite-experiment-0-seed51-epochs100+")
        folder.mkdir(parents=True)
    exact = ["a" * 127, "b" * 127]
    assert ensemble_folder(tmp_path, exact).name == "+".join(exact)


def test_files_of_the_operating_system_do_not_block_a_new_run(trained_copy):
    run = Run(trained_copy, "tiny")
    for name in (".DS_Store", "Thumbs.db", "desktop.ini", "._config.json"):
        (run.path / name).touch()
    run.refuse_foreign()
    run.clear()
    assert {path.name for path in run.path.iterdir()} <= {".lock"}
    (run.path / "._mine").mkdir()
    with pytest.raises(InputError, match=r"holds ._mine, which is not part of a run"):
        run.refuse_foreign()


def test_the_newest_run_is_the_one_that_was_started_last(trained, tmp_path, capsys):
    source, day = trained[0] / "tiny", 86400
    config = json.loads((source / "config.json").read_text())
    del config["started"]
    dates = {"old": -9, "first": -3, "second": 3650, "third": -1, "copied": -2, "future": 3650}  # in days from today
    for name, days in dates.items():
        shutil.copytree(source, tmp_path / name, symlinks=True)
        started = {"number": 3} if name == "copied" else next_start(tmp_path)
        written = config if name in ("old", "future") else {**config, "started": started}  # version 1 wrote none
        (tmp_path / name / "config.json").write_text(json.dumps(written))
        os.utime(tmp_path / name / "config.json", (time.time() + days * day,) * 2)
    assert [run.name for run in all_runs(tmp_path)] == ["third", "copied", "second", "first", "old", "future"]
    assert select_run(tmp_path, None).name == "third"
    assert "--run: third was started last, although" in capsys.readouterr().out


def test_no_run_is_the_newest_if_a_config_cannot_be_read(trained_copy, monkeypatch):
    """After a transient disk error, an older run would be scored or submitted without a message."""
    Run(trained_copy, "b").create({"started": next_start(trained_copy)}, np.arange(3))

    def failing(path, **options):
        if path.parent.name == "b":
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), str(path))
        return read_json(path, **options)

    monkeypatch.setattr("graphcnn.storage.select_run.read_json", failing)
    with pytest.raises(InputError, match=r"b/config\.json: Stale file handle.*--run"):
        all_runs(trained_copy)
    with pytest.raises(InputError, match="newest: not known"):
        select_run(trained_copy, "c")
    assert next_start(trained_copy)["number"] == 2


@pytest.mark.parametrize("number", [None, "9", 1.5, -1, [1], True])
def test_a_wrong_number_of_the_start_is_ignored(trained_copy, number):
    run = Run(trained_copy, "tiny")
    run.write_config({**run.config(), "started": {"number": number}})
    assert next_start(trained_copy)["number"] == 1


def test_splits_of_recorded_data(trained_copy):
    run = Run(trained_copy, "tiny")
    data = load_recorded_data(run, run.config(), test=True)
    splits = data.splits(["test", "dev", "train"])
    assert list(splits) == ["test", "dev", "train"]
    rows = np.concatenate([splits["train"].rows, splits["dev"].rows])
    assert np.array_equal(np.sort(rows), np.arange(len(data.dataset.x_train)))
    assert splits["test"].images is data.dataset.x_test
    with pytest.raises(InputError, match="without a dev split"):
        data._replace(dev_rows=np.arange(0)).splits(["dev"])
    with pytest.raises(InputError, match="x_test"):
        load_recorded_data(run, run.config()).splits(["test"])
