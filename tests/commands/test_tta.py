"""Test-time augmentation in eval, predict and submit."""

import json

import numpy as np
import processes
import pytest
from conftest import one_line, tiny_arrays
from PIL import Image


def test_eval_predict_and_submit_agree(trained_fast, tmp_path, command):
    root, data = trained_fast
    softmax = {}
    for tta in (False, True):
        flags = [f"--checkpoints={root}", *["--tta"] * tta]
        out, submission = tmp_path / f"{tta}.npy", tmp_path / f"submission_{tta}"
        assert command("predict", *flags, f"--array={data / 'x_test.npy'}", f"--out={out}").status == 0
        softmax[tta] = np.load(out)
        outcome = command("submit", *flags, f"--out={submission}")  # its grader.py feeds tta:0 or not
        assert outcome.status == 0, outcome.err
        assert np.array_equal(np.load(submission / "result.npy"), softmax[tta])
        readme = " ".join((submission / "README.md").read_text().split())
        assert ("by test-time augmentation: True is fed to tta:0 too" in readme) == tta
        assert ("by the plain forward pass: x:0 alone is fed" in readme) != tta
        assert f"grader.py {'--tta ' * tta}--submission=FOLDER /path/to/your/x_test.npy" in readme
        outcome = command("eval", *flags, "--split=test", "--precision=float32")
        assert ("computed in float32 with tta" in outcome.out) == tta
        numbers = json.loads((root / "fast" / "report" / "test.json").read_text())
        assert numbers["tta"] == tta
        labels = tiny_arrays(24, seed=1)[1][:, 0]
        expected = -np.log(softmax[tta][np.arange(24), labels]).mean()
        assert numbers["cross_entropy"] == pytest.approx(expected, rel=1e-3)
    assert np.abs(np.log(softmax[True]) - np.log(softmax[False])).max() > 1e-2  # rounding alone: below 1e-4

    # A grader who feeds x alone gets the plain pass. submit has verified that for the submission without --tta.
    np.save(tmp_path / "plain.npy", softmax[False])
    arguments = [tmp_path / "submission_True" / "grader.py", data / "x_test.npy", tmp_path / "plain.npy"]
    status, out, err = processes.run(*arguments)
    assert status == 0, out + err


@pytest.mark.parametrize(
    ("name", "flags"), [("eval", []), ("predict", ["a.png"]), ("submit", ["--out={tmp}/submission"])]
)
def test_a_run_without_views_is_refused(name, flags, trained, tmp_path, command):
    Image.fromarray(tiny_arrays()[0][0]).save(tmp_path / "a.png")
    flags = [flag.replace("{tmp}", str(tmp_path)).replace("a.png", str(tmp_path / "a.png")) for flag in flags]
    outcome = command(name, f"--checkpoints={trained[0]}", "--tta", *flags)
    assert outcome.status == 2
    assert one_line(outcome.err)
    assert "--tta: run tiny was trained without --flip and --translate" in outcome.err
    assert not (tmp_path / "submission").exists()
