"""--resume under other versions or on another CPU: the command prints a note, and config.json records them."""

import json

import pytest

from graphcnn.training.run_config import environment, with_environment

LINE = "; so the weights may differ from those of an uninterrupted run"


def changed(path, section, **values):
    """Change the recorded environment of a run, and return its config."""
    config = json.loads(path.read_text())
    config[section] |= values
    path.write_text(json.dumps(config))
    return config


def test_another_environment_is_printed_and_recorded(trained_copy, command):
    path, flags = trained_copy / "tiny" / "config.json", [f"--checkpoints={trained_copy}", "--run=tiny", "--resume"]
    changed(path, "versions", tensorflow="2.16.2", numpy="1.26.4")
    config = changed(path, "cpu", cores=99)
    here = environment()
    outcome = command("train", *flags, "--epochs=3")
    assert (outcome.status, outcome.err) == (0, "")
    (line,) = [line for line in outcome.out.splitlines() if LINE in line]
    for name, old, new in (
        ("tensorflow", "2.16.2", here["versions"]["tensorflow"]),
        ("numpy", "1.26.4", here["versions"]["numpy"]),
        ("cores", 99, here["cpu"]["cores"]),
    ):
        assert f"{name} was {old}, is {new}" in line
    assert line.count(" was ") == 3
    after = json.loads(path.read_text())
    assert after["resumed"] == [{"after_epoch": 2, **here}]
    assert (after["versions"], after["cpu"]) == (config["versions"], config["cpu"])
    assert command("eval", f"--checkpoints={trained_copy}").status == 0
    outcome = command("train", *flags, "--epochs=4")  # in the same environment as the last time
    assert (outcome.status, LINE in outcome.out) == (0, False)
    assert json.loads(path.read_text())["resumed"] == after["resumed"]


def test_the_same_environment_changes_nothing(trained_copy, command):
    path = trained_copy / "tiny" / "config.json"
    flags = [f"--checkpoints={trained_copy}", "--run=tiny", "--resume"]
    before = path.read_text()
    assert LINE not in command("train", *flags).out
    assert path.read_text() == before
    assert LINE not in command("train", *flags, "--epochs=3").out
    assert "resumed" not in json.loads(path.read_text())


def test_a_finished_run_is_not_resumed(trained_copy, command):
    path = trained_copy / "tiny" / "config.json"
    changed(path, "versions", tensorflow="2.16.2")
    before = path.read_text()
    outcome = command("train", f"--checkpoints={trained_copy}", "--run=tiny", "--resume")
    assert (outcome.status, LINE in outcome.out) == (0, False)
    assert path.read_text() == before


@pytest.mark.parametrize("recorded", [None, 5, "x", [5], {"after_epoch": 1}, [{"versions": 5}]])
def test_a_wrong_record_is_ignored(recorded):
    config, differences = with_environment({**environment(), "resumed": recorded}, 1)
    values = [value for section in environment().values() for value in section.values()]
    whole = len([value for value in values if value is not None])
    entries = isinstance(recorded, list) and isinstance(recorded[0], dict)
    assert len(differences) == (whole if entries else 0)
    assert (config["resumed"] == recorded) != entries
