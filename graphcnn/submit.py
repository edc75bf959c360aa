"""Write the hand-in: result.npy for x_test.npy, the inference graph with the best weights, and a zip of both.

  ./run.sh submit                         the newest run, into submission/
  ./run.sh submit --run=NAME --out=DIR    another run, another folder
  ./run.sh submit --run=a,b,c             the mean of several runs' softmax outputs, in one graph

Before it says "ready", a fresh process with TensorFlow alone restores the graph and must reproduce result.npy.
"""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from graphcnn.common import paths
from graphcnn.common.command import run_command
from graphcnn.common.errors import InputError
from graphcnn.common.files import atomic_write
from graphcnn.config import flags

FILES = {
    "README.md",
    "checkpoint",
    "config.json",
    "grader.py",
    "history.csv",
    *(f"history_{n}.csv" for n in range(1, 100)),  # of an ensemble's members
    "model.ckpt.data-00000-of-00001",
    "model.ckpt.index",
    "model.ckpt.meta",
    "result.npy",
    "x_test.npy",  # only of data that the grader has no such file of
}


SIGNATURE = {"grader.py", "model.ckpt.meta", "result.npy"}  # what every hand-in of ours has


def define_flags():
    """Return this command's flags."""
    values = flags.new_flags()
    flags.define_ensemble(values)
    flags.define_data(values)
    flags.define_tta(values)
    flags.define(values, str, "out", None, "folder to write, its zip goes beside it (default: submission/)")
    return values


def main(values, positional):
    """Write, verify and zip the hand-in; an older one stays until the new one is verified."""
    flags.no_positional(positional)
    out = Path(values.out).resolve() if values.out else paths.SUBMISSION
    _check_replaceable(out)
    several = flags.ensemble(values)
    from graphcnn.common.progress import say
    from graphcnn.evaluation import ensemble
    from graphcnn.storage.recorded_data import load_recorded_data
    from graphcnn.storage.select_run import select_run

    root, options = flags.checkpoints_root(values), flags.given_options(values)
    if several:
        members = ensemble.chosen(root, values.run)
        ensemble.check_one_graph(members)
        members = ensemble.loaded(members, values.data, True, options)
    else:
        run = select_run(root, values.run)
        config = run.config()
        members = [ensemble.Member(run, config, *load_recorded_data(run, config, values.data, True, options))]
    for member in members:
        say(f"run: {member.run.name} ({member.run.path / 'best'})")
    dataset = members[0].dataset
    if dataset.x_test is None:
        raise InputError(f"no {dataset.file('x_test')}: there is nothing to predict; add it beside the training images")

    new, old, archive = out.with_name(f".{out.name}.new"), out.with_name(f".{out.name}.old"), _archive(out)
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    try:
        _write(new, members, values.ensemble, values.tta)
        say("verifying with TensorFlow alone, in a fresh process")
        say(_verify(new, dataset, values.tta))
        with atomic_write(archive) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
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


def _write(folder, members, kind, tta):
    """Write the FILES of the hand-in into an empty folder; kind: how several members are combined."""
    import numpy as np

    from graphcnn.common.progress import bar, say
    from graphcnn.evaluation import ensemble, predictor
    from graphcnn.storage import checkpoint

    dataset, first = members[0].dataset, members[0]
    shares = ensemble.shares("mean", None, members) if kind == "mean" else ensemble.fitted_shares(members, tta)
    if len(members) > 1:
        if tta:
            for member in members:
                predictor.check_views(member.run, member.config)
        restored = predictor.restore_ensemble([(member.run, member.config) for member in members], shares)
    else:
        restored = predictor.restore(first.run, portable=True, tta=tta)
    with restored.session as session:
        say(f"predicting {len(dataset.x_test):,} test images")
        with bar("test", len(dataset.x_test)) as advance:
            probabilities = predictor.probabilities(session, restored.graph, dataset.x_test, advance=advance, tta=tta)
        np.save(folder / "result.npy", probabilities)
        checkpoint.export(session, restored.saver, folder)
    if len(members) > 1:
        each = [
            {"run": member.run.name, "share": float(share), **member.config}
            for member, share in zip(members, shares, strict=True)
        ]
        text = json.dumps({"ensemble": kind, "members": each}, indent=2) + "\n"
        (folder / "config.json").write_text(text, encoding="utf-8")
        for n, member in enumerate(members, start=1):
            shutil.copyfile(member.run.path / "history.csv", folder / f"history_{n}.csv")
    else:
        for name in ("config.json", "history.csv"):
            shutil.copyfile(first.run.path / name, folder / name)
    shutil.copyfile(Path(__file__).parent / "submission" / "grader.py", folder / "grader.py")
    text = _readme(members, shares, dataset, probabilities.shape, tta)
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


def _readme(members, shares, dataset, shape, tta):
    """Return the text for the grader."""
    from graphcnn.ops.tf1 import tf
    from graphcnn.storage import checkpoint

    about = []
    for n, (member, share) in enumerate(zip(members, shares, strict=True), start=1):
        config, state = member.config, checkpoint.read_state(member.run.path / "best")
        best = state["best_score"]
        score = "trained without a dev split" if best is None else f"dev macro F1 {best:.6f}"
        about.append(
            f"{f'- member_{n}, share {share:.4f}: run {member.run.name}, r' * (len(members) > 1) or 'R'}ecipe "
            f"`{config['recipe_name']}`, net `{config['recipe']['net']}`, epoch {state['epoch']}, {score} (as "
            f"measured while training, in {config['recipe']['precision']})."
        )
    title, config, histories = f"run {members[0].run.name}", members[0].config, "`history.csv`"
    if len(members) > 1:
        title, histories = f"{len(members)} runs, by the mean of their softmax outputs", "`history_<n>.csv`"
    height, width = dataset.image_shape
    how = "the plain forward pass: x:0 alone is fed"
    if tta:
        how = (
            "test-time augmentation: tta:0 is fed True too; x:0 alone gives the plain forward pass, with other numbers"
        )
    classes = "\n".join(f"- {k}: {name}" for k, name in enumerate(dataset.class_names))
    about = "\n".join(about)
    return f"""# Hand-in of {title}

{about}

- `result.npy`: softmax of x_test.npy, float32 {shape}, rows in order, a column a class, by
  {how}.
- `model.ckpt.*`: the inference graph (float32, no optimizer) and its weights, written by TensorFlow
  {tf.__version__}.
- `config.json`: every setting, the data's fingerprint, the versions. {histories}: a row an epoch.
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
    sys.exit(run_command("submit", __doc__, define_flags(), main))
