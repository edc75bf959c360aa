"""What the folder of a run records."""

import pytest
from run_folders import edit_json, write_run

from graphcnn.common.errors import InputError
from graphcnn.storage import run_record
from graphcnn.storage.run_record import read_record

PLANNED = {  # name: (frozen_epochs in state.json, planned epochs)
    "fine-tuning has not started": (None, 13),
    "early stopping ended the first stage": (2, 5),
    "the number of a stranger": (10**12, 13),
}


@pytest.mark.parametrize("case", PLANNED)
def test_the_planned_epochs_include_fine_tuning(case, tmp_path):
    frozen, planned = PLANNED[case]
    run = write_run(tmp_path, "a", epochs=10, finetune_epochs=3)
    edit_json(run.path / "last/state.json", frozen_epochs=frozen)
    assert read_record(run).planned_epochs == planned


def test_a_run_without_training_is_finished(tmp_path):
    run = write_run(tmp_path, "a", [0.5], epochs=0, weights="imagenet")
    for name in ("last", "best"):
        edit_json(run.path / name / "state.json", epoch=0, best_epoch=0)
    record = read_record(run)
    assert (record.state, record.last.epoch, record.best_epoch, record.history) == ("finished", 0, 0, [])
    assert (record.training_seconds, record.dev_cross_entropy) == (None, None)


def test_only_settings_of_the_user_are_changes(tmp_path):
    assert read_record(write_run(tmp_path, "a", precision="bfloat16")).changed_settings() == {}
    assert read_record(write_run(tmp_path, "b", seed=1, l2=0.0)).changed_settings() == {"seed": 1, "l2": 0.0}
    other = write_run(tmp_path, "c", recipe="ladder/complex_2")
    assert read_record(other).changed_settings() == {}
    edit_json(other.config_path, recipe_name="ladder/complex_9")
    assert read_record(other).changed_settings() is None


def test_a_checkpoint_that_is_replaced_while_it_is_read_is_no_damage(tmp_path, monkeypatch):
    run, read_state, reads = write_run(tmp_path, "a"), run_record.read_state, []

    def replaced(folder):
        reads.append(folder)
        if len(reads) < run_record.TRIES:
            raise InputError("a training has just deleted the folder")
        return read_state(folder)

    monkeypatch.setattr(run_record, "read_state", replaced)
    assert read_record(run).best_epoch == 2
    monkeypatch.setattr(run_record, "read_state", lambda folder: read_state(folder / "nowhere"))
    with pytest.raises(InputError, match=r"state\.json: cannot be read"):
        read_record(run)
