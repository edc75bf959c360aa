"""Checkpoints of a run: a folder per epoch, named by the links `best` and `last`, checked by sha256 on load.

epoch-0012/ holds model.ckpt.* (TensorFlow's V2 format with its .meta), state.json (early stopping and the best score)
and manifest.json (sha256 of the others). A folder is written under another name, synced and renamed; then the links
are replaced atomically; then folders without a link are deleted. So at any moment both links lead to whole folders.
"""

import hashlib
import json
import os
import shutil
from pathlib import Path

from graphcnn.common.errors import InputError
from graphcnn.ops.tf1 import reason, tf, tf1

PREFIX = "model.ckpt"
STATE = {  # what a state holds at least, with the types of each
    "epoch": (int,),
    "best_epoch": (int,),
    "best_score": (float, type(None)),
    "stopped_early": (bool,),
    "stopping": (dict,),
}


def saver(variables):
    """Return a Saver of the variables in one file; make it before the graph is finalised."""
    return tf1.train.Saver(variables, max_to_keep=None)


def save(run, session, saver, epoch, state):
    """Write everything a resume needs into epoch-<n>/ and sync it; no link leads there yet.

    Args:
        run: Run. session: the training session. saver: of all its variables. epoch: its number.
        state: JSON values; state["best_epoch"] says where `best` leads.

    Errors: InputError when it cannot be written (a full disk); what was saved before stays.
    """
    folder = run.path / _folder(epoch)
    new = run.path / f".{folder.name}.new"
    try:
        for stale in (new, folder):
            if stale.exists():
                shutil.rmtree(stale)
        new.mkdir()
        saver.save(session, str(new / PREFIX), write_state=False)
        (new / "state.json").write_text(json.dumps(state, indent=2) + "\n")
        manifest = {path.name: _sha256(path) for path in sorted(new.iterdir())}
        (new / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")
        for path in [*new.iterdir(), new]:
            _sync(path)
        new.rename(folder)
        _sync(run.path)
    except (OSError, tf.errors.OpError) as error:
        shutil.rmtree(new, ignore_errors=True)
        said = error.strerror if isinstance(error, OSError) else reason(error)
        raise InputError(
            f"{folder}: the checkpoint cannot be saved ({said}); the previous one is untouched: "
            f"free some space, then continue with train --run={run.name} --resume"
        ) from None


def publish(run, epoch, best_epoch):
    """Point `last` and `best` at their epochs' folders and delete the folders that neither needs."""
    _link(run, "last", epoch)
    _link(run, "best", best_epoch)
    for folder in run.path.glob("epoch-*"):
        if folder.name not in (_folder(epoch), _folder(best_epoch)):
            shutil.rmtree(folder)


def verify(run, which):
    """Check the folder behind the link `which` ("best" or "last") against its manifest; return its path.

    Errors: InputError naming the first file that is missing or has other bytes than were written.
    """
    folder = run.path / which
    if not folder.is_dir():
        raise InputError(f"{folder}: no such checkpoint; train the run again")
    folder = folder.resolve()
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        names = {f"{PREFIX}.index", f"{PREFIX}.meta", f"{PREFIX}.data-00000-of-00001", "state.json"}
        if not isinstance(manifest, dict) or set(manifest) != names:
            raise ValueError(f"expected the names {', '.join(sorted(names))}")
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{folder / 'manifest.json'}: missing or damaged ({error}); {_advice(run, which)}") from None
    for name, expected in manifest.items():
        try:
            found = _sha256(folder / name)
        except OSError as error:
            raise InputError(f"{folder / name}: {error.strerror}; {_advice(run, which)}") from None
        if found != expected:
            raise InputError(
                f"{folder / name}: damaged, its sha256 is {found[:12]}…, expected {str(expected)[:12]}…; "
                f"{_advice(run, which)}"
            )
    return folder


def load(run, which, session, saver, variables):
    """Restore the variables from the checkpoint behind the link `which`, verified; return its `state`.

    Errors: InputError when it is damaged or holds another network's variables.
    """

    def restored(folder):
        _restore(session, saver, folder, variables)
        return read_state(folder)

    return _settled(run, which, restored)


def assign(session, variables, values):
    """Give variables their values {name: array}, and lookahead's averages of them the same."""
    by_name = {variable.op.name: variable for variable in variables}
    for name, value in values.items():
        for each in (name, f"{name}/slow"):
            if each in by_name:
                initializer = by_name[each].initializer
                session.run(initializer, {initializer.inputs[1]: value})


def read(run, which, wanted):
    """Return what the checkpoint behind the link `which`, verified, holds.

    wanted: wanted(name, shape) says of a variable whether its array is wanted.

    Returns: ({name: shape} of all variables, {name: array} of the wanted ones, the sha256 of the file they are in).
    """

    def found(folder):
        reader = tf1.train.NewCheckpointReader(str(folder / PREFIX))
        shapes = {name: tuple(shape) for name, shape in sorted(reader.get_variable_to_shape_map().items())}
        arrays = {name: reader.get_tensor(name) for name, shape in shapes.items() if wanted(name, shape)}
        return shapes, arrays, _sha256(folder / f"{PREFIX}.data-00000-of-00001")

    return _settled(run, which, found)


def _settled(run, which, use):
    """Return use(folder) of the verified checkpoint behind a link; of the new one where training replaces it then."""
    while True:
        folder = (run.path / which).resolve()
        try:
            verify(run, which)
            return use(folder)
        except Exception as error:  # TensorFlow's readers of damaged files have errors of many kinds
            if (run.path / which).resolve() != folder:
                continue
            if isinstance(error, InputError):
                raise
            advice = _advice(run, which)
            raise InputError(
                f"{folder}: cannot be read ({reason(error)}), though its manifest fits; {advice}"
            ) from None


def export(session, saver, folder):
    """Write model.ckpt.* and the `checkpoint` file that tf.train.latest_checkpoint reads, for other programs."""
    saver.save(session, str(folder / PREFIX), write_state=False)
    tf1.train.update_checkpoint_state(str(folder), PREFIX)


def read_state(folder):
    """Return the `state` that `save` was given; InputError unless it is such a one."""
    path = folder / "state.json"
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
        known = {name: type(state[name]) in kinds for name, kinds in STATE.items()}
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{path}: missing or damaged ({error}); restore it, or train the run again") from None
    if not all(known.values()):
        wrong = ", ".join(name for name, well in known.items() if not well)
        raise InputError(f"{path}: {wrong} not as train writes it; restore the file, or train the run again")
    return state


def _restore(session, saver, folder, variables):
    prefix = str(Path(folder) / PREFIX)
    stored = tf1.train.NewCheckpointReader(prefix).get_variable_to_shape_map()
    for variable in variables:
        name, shape = variable.op.name, variable.shape.as_list()
        if stored.get(name) != shape:
            found = f"shape {stored[name]}" if name in stored else "no such variable"
            raise InputError(
                f"{prefix}: for {name} found {found}, expected shape {shape}: "
                "this is another network's checkpoint; name the run it came from, or restore config.json"
            )
    saver.restore(session, prefix)


def _folder(epoch):
    return f"epoch-{epoch:04d}"


def _link(run, name, epoch):
    """Make run/<name> a relative link to the epoch's folder, replacing an older one atomically."""
    new = run.path / f".{name}.new"
    new.unlink(missing_ok=True)
    new.symlink_to(_folder(epoch))
    new.replace(run.path / name)
    _sync(run.path)


def _sha256(path):
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _sync(path):
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _advice(run, which):
    other = "last" if which == "best" else "best"
    return f"restore the file from a copy, train the run again, or look at {run.path / other}"
