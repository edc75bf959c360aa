"""Class names and file names that hold control characters and markup, at the command line."""

import json
import re

import numpy as np
import pytest
from conftest import TINY, one_line, tiny_arrays
from PIL import Image

NAMES = ("\x1b]0;t\x07", "b | c", "$x$ $", "[bold]`c`|<b>", "\u202ed\x9b\x7f", "日本 é 👩‍👩‍👧")
SHOWN = ("\\x1b]0;t\\x07", "b | c", "$x$ $", "[bold]`c`|<b>", "\\u202ed\\x9b\\x7f", "日本 é 👩‍👩‍👧")


def check(outcome, *parts):
    """Check that a command succeeded, printed the parts, and wrote no control character to the terminal."""
    assert outcome.status == 0, outcome.err
    for text in (outcome.out, outcome.err):
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", text), text
    for part in parts:
        assert part in outcome.out


@pytest.mark.pictures
def test_class_names_are_shown_as_text_and_recorded_exactly(tmp_path, command):
    x, y = tiny_arrays(48, classes=len(NAMES))
    for split in ("train", "test"):
        for n, (pixels, (k,)) in enumerate(zip(x, y, strict=True)):
            folder = tmp_path / "photos" / split / NAMES[k]
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(folder / f"\x1b[2J{n}.png")
    root = [f"--checkpoints={tmp_path}", "--run=a"]
    data = [f"--data={tmp_path / 'photos'}", f"--cache_dir={tmp_path / 'cache'}"]
    check(command("train", *root, *data, *TINY, "--epochs=1"))
    config = json.loads((tmp_path / "a" / "config.json").read_text())
    assert set(config["class_names"]) == set(NAMES)

    check(command("eval", *root, *data, "--split=dev"), *SHOWN)
    report = json.loads((tmp_path / "a" / "report" / "dev.json").read_text())
    assert set(report["per_class"]) == set(NAMES)
    image = next((tmp_path / "photos" / "test" / NAMES[2]).iterdir())
    names, recipe = {"class_names": ["a\nmacro F1: 1.0"] * len(NAMES)}, {"recipe_name": "`\n# x"}
    (tmp_path / "a" / "config.json").write_text(json.dumps({**config, **names}))
    check(command("predict", *root, str(image)), "\\x1b[2J", "a\\nmacro F1: 1.0 ")
    check(command("explain", *root, str(image)), "\\x1b[2J")
    outcome = command("submit", *root, *data, f"--out={tmp_path / 's'}")  # the names are not those of the photos
    assert (outcome.status, one_line(outcome.err)) == (2, True)
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", outcome.err), outcome.err
    (tmp_path / "a" / "config.json").write_text(json.dumps({**config, **recipe}))
    check(command("submit", *root, *data, f"--out={tmp_path / 's'}"))
    readme = (tmp_path / "s" / "README.md").read_text()
    assert "\x1b" not in readme
    assert ", recipe `` `\\n# x ``, net" in readme
    assert ": \\[bold\\]\\`c\\`\\|\\<b>\n" in readme
    check(command("export", *root, "--format=npz", f"--out={tmp_path / 'e.npz'}"))


@pytest.mark.parametrize("name", ["\x1b]0;t\x07", "a\nb", "\u202e.npy", "[bold]"])
@pytest.mark.parametrize("debug", [True, False])
def test_an_error_shows_a_file_name_as_text(name, debug, tmp_path, command):
    np.save(tmp_path / "y.npy", np.zeros(3, int))
    outcome = command(
        "eval", f"--predictions={tmp_path / name}", f"--labels={tmp_path / 'y.npy'}", *["--debug"] * debug
    )
    assert outcome.status == 2
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", outcome.err), outcome.err
    assert debug or outcome.err.count("\n") == 1
