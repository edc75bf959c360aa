"""Write the hand-in: result.npy for x_test.npy, the inference graph with the best weights, and a zip of both.

  ./run.sh submit                         the newest run, into submission/
  ./run.sh submit --run=NAME --out=DIR    another run, another folder

Before it says "ready", a fresh process with TensorFlow alone restores the graph and must reproduce result.npy.
"""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from graphcnn import cli
from graphcnn.errors import InputError

DEFAULT_OUT = Path(__file__).resolve().parents[1] / "submission"
FILES = {
    "README.md",
    "checkpoint",
    "config.json",
    "grader.py",
    "history.csv",
    "model.ckpt.data-00000-of-00001",
    "model.ckpt.index",
    "model.ckpt.meta",
    "result.npy",
    "x_test.npy",  # only of data that the grader has no such file of
}


SIGNATURE = {"grader.py", "model.ckpt.meta", "result.npy"}  # what every hand-in of ours has


def define_flags():
    """Return this command's flags."""
    values = cli.new_flags()
    cli.define_run(values)
    cli.define_data(values)
    cli.define_tta(values)
    cli.define(values, str, "out", None, "folder to write, its zip goes beside it (default: submission/)")
    return values


def main(values, positional):
    """Write, verify and zip the hand-in; an older one stays until the new one is verified."""
    cli.no_positional(positional)
    out = Path(values.out).resolve() if values.out else DEFAULT_OUT
    _check_replaceable(out)
    from graphcnn import runs
    from graphcnn.progress import say

    run = runs.chosen(cli.checkpoints_root(values), values.run)
    config = run.config()
    say(f"run: {run.name} ({run.path / 'best'})")
    dataset, _, _ = runs.recorded_data(run, config, values.data, True, cli.given_options(values))
    if dataset.x_test is None:
        raise InputError(f"no {dataset.file('x_test')}: there is nothing to predict; add it beside the training images")

    new, old, archive = out.with_name(f".{out.name}.new"), out.with_name(f".{out.name}.old"), _archive(out)
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    try:
        _write(new, run, config, dataset, values.tta)
        say("verifying with TensorFlow alone, in a fresh process")
        say(_verify(new, dataset, values.tta))
        with runs.replacing(archive) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
            for path in sorted(new.iterdir()):
                packed.write(path, f"{out.name}/{path.name}")
        if out.exists():
            shutil.rmtree(old, ignore_errors=True)
            out.rename(old)
        new.rename(out)
    finally:
        shutil.rmtree(new, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)
    say(f"ready: {out} and {archive}")
    return 0


def _archive(out):
    return out.with_name(f"{out.name}.zip")


def _check_replaceable(out):
    """Refuse an existing folder or zip that is not an older hand-in, so that nothing else is ever deleted."""
    if not out.name or out.is_symlink() or (out.exists() and not out.is_dir()):
        raise InputError(f"--out={out}: is not a folder that can be replaced; name another")
    archive = _archive(out)
    held = {out: {path.name for path in out.iterdir()} if out.exists() else set()}
    if archive.exists():
        try:
            with zipfile.ZipFile(archive) as packed:
                held[archive] = {name.removeprefix(f"{out.name}/") for name in packed.namelist()}
        except (OSError, zipfile.BadZipFile):
            held[archive] = {"something else"}
    for path, names in held.items():
        foreign = sorted(names - FILES) or (sorted(names) if names and not names >= SIGNATURE else [])
        if foreign:
            raise InputError(f"--out={out}: {path} holds {foreign[0]} and is not an older hand-in; name another folder")


def _write(folder, run, config, dataset, tta):
    """Write the FILES of the hand-in into an empty folder."""
    import numpy as np

    from graphcnn import checkpoint, inference
    from graphcnn.progress import bar, say

    restored = inference.restore(run, portable=True, tta=tta)
    with restored.session as session:
        say(f"predicting {len(dataset.x_test):,} test images")
        with bar("test", len(dataset.x_test)) as advance:
            probabilities = inference.probabilities(session, restored.graph, dataset.x_test, advance=advance, tta=tta)
        np.save(folder / "result.npy", probabilities)
        checkpoint.export(session, restored.saver, folder)
    for name in ("config.json", "history.csv"):
        shutil.copyfile(run.path / name, folder / name)
    shutil.copyfile(Path(__file__).with_name("grader.py"), folder / "grader.py")
    text = _readme(run, config, restored.state, dataset, probabilities.shape, tta)
    (folder / "README.md").write_text(text, encoding="utf-8")


def _verify(folder, dataset, tta):
    """Predict with the written graph in a process that cannot see this package; return its line.

    Errors: InputError when it fails or differs from result.npy by more than the tolerance.
    """
    import numpy as np

    images = dataset.files.get("x_test")
    if images is None or images.suffix != ".npy":
        images = folder / "x_test.npy"
        np.save(images, dataset.x_test)
    command = [sys.executable, str(folder / "grader.py"), *["--tta"] * tta, str(images)]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment["CUDA_VISIBLE_DEVICES"] = "-1"  # result.npy was computed on the CPU
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    said = (done.stdout.strip() or done.stderr.strip() or "no output").splitlines()[-1]
    if done.returncode:
        raise InputError(f"{folder.name}: the hand-in does not reproduce result.npy ({said}); nothing was replaced")
    return said


def _readme(run, config, state, dataset, shape, tta):
    """Return the text for the grader."""
    from graphcnn.tf1 import tf

    score = "trained without a dev split" if state["best_score"] is None else f"dev macro F1 {state['best_score']:.6f}"
    height, width = dataset.image_shape
    how = "the plain forward pass: x:0 alone is fed"
    if tta:
        how = (
            "test-time augmentation: tta:0 is fed True too; x:0 alone gives the plain forward pass, with other numbers"
        )
    classes = "\n".join(f"- {k}: {name}" for k, name in enumerate(dataset.class_names))
    return f"""# Hand-in of run {run.name}

Recipe `{config["recipe_name"]}`, net `{config["recipe"]["net"]}`, epoch {state["epoch"]}, {score} (as measured while
training, in {config["recipe"]["precision"]}).

- `result.npy`: softmax of x_test.npy, float32 {shape}, rows in order, a column a class, by
  {how}.
- `model.ckpt.*`: the inference graph (float32, no optimizer) and its weights, written by TensorFlow
  {tf.__version__}.
- `config.json`: every setting, the data's fingerprint, the versions. `history.csv`: a row an epoch.
- `grader.py`: restores the graph with TensorFlow and NumPy alone and compares with result.npy:
  `python grader.py {"--tta " * tta}x_test.npy`

The graph's tensors: feed `x:0` alone, float32 [N, {height}, {width}, 3] in the training file's raw pixel range
(0..{config["data"]["pixel_max"]}); resizing and normalisation are inside. Read `hypothesis:0` (softmax) or `logits:0`,
float32 [N, {shape[1]}]. `keep_prob:0` (1.0), `training:0` and `tta:0` (False) have inference defaults. `y:0` and
`training:0` change nothing.

Classes:
{classes}
"""


if __name__ == "__main__":
    sys.exit(cli.run_command("submit", __doc__, define_flags(), main))
