"""Checkpoints of a run: one folder per epoch, the links `best` and `last`, sha256 checks on load.

epoch-0012/ holds model.ckpt.* (TensorFlow's V2 format with its .meta), state.json (the state of early stopping and the
best score) and manifest.json (the sha256 of the other files). `save` writes a folder under a temporary name, syncs it
and renames it. `update_links` then replaces the links atomically and deletes the folders that no link needs. So both
links lead to complete folders at any moment.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from graphcnn.common.errors import DamagedRun, InputError, UnsafeFile
from graphcnn.common.files import JSON_BYTES, read_json, regular_size, sha256_of, sync
from graphcnn.common.replace import new_folder, replace_folder, replace_link
from graphcnn.ops.tf1 import reason, tf, tf1
from graphcnn.ops.wildcards import without_wildcards
from graphcnn.storage.foreign_checkpoint import check_reader, record
from graphcnn.storage.run import EPOCH_FOLDER, Run
from graphcnn.storage.state import read_state

PREFIX = "model.ckpt"
MANIFEST = "manifest.json"
DATA = f"{PREFIX}.data-00000-of-00001"
MAX_BYTES = {  # {file of a checkpoint: its maximum size}
    DATA: 16 << 30,
    f"{PREFIX}.index": 256 << 20,
    f"{PREFIX}.meta": 256 << 20,
    "state.json": JSON_BYTES,
}
Result = TypeVar("Result")


class StoredVariables(NamedTuple):
    """The content of a checkpoint.

    shapes: {name: shape} of all its variables. arrays: {name: array} of the selected variables.
    sha256: of the file that holds the arrays.
    """

    shapes: dict[str, tuple[int, ...]]
    arrays: dict[str, np.ndarray]
    sha256: str


def saver(variables: list[tf.Variable]) -> tf1.train.Saver:
    """Return a Saver of the variables in one file; create it before the graph is finalised."""
    return tf1.train.Saver(variables, max_to_keep=None)


def save(run: Run, session: tf1.Session, saver: tf1.train.Saver, epoch: int, state: dict[str, Any]) -> None:
    """Write everything that a resume needs into epoch-<n>/ and sync it. `best` and `last` do not change.

    Args:
        run: the run that is trained.
        session: the training session.
        saver: Saver of all variables of the training graph.
        epoch: the number of the finished epoch.
        state: JSON values with at least the keys of state.STATE_TYPES.

    Raises:
        InputError: the folder cannot be written, for example on a full disk; earlier checkpoints stay as they are.
    """
    folder = run.path / _folder(epoch)
    try:
        with new_folder(folder) as new:
            with session.graph.as_default():  # a Saver refuses eager execution
                saver.save(session, str(new / PREFIX), write_state=False)
            (new / "state.json").write_text(json.dumps(state, indent=2) + "\n")
            manifest = {path.name: sha256_of(path) for path in sorted(new.iterdir())}
            (new / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")
            record(sha256_of(new / MANIFEST))
            for path in new.iterdir():
                sync(path)
            replace_folder(new, folder)
    except (OSError, tf.errors.OpError) as error:
        cause = error.strerror if isinstance(error, OSError) else reason(error)
        raise InputError(
            f"{folder}: the checkpoint cannot be saved ({cause}); the previous checkpoint is unchanged: "
            f"free some space, then continue with train --run={run.name} --resume"
        ) from None


def update_links(run: Run, epoch: int, best_epoch: int) -> None:
    """Point `last` and `best` at the folders of their epochs, then delete the folders that no link needs."""
    replace_link(run.path / "last", _folder(epoch))
    replace_link(run.path / "best", _folder(best_epoch))
    for folder in run.path.glob("epoch-*"):
        if folder.name not in (_folder(epoch), _folder(best_epoch)):
            shutil.rmtree(folder)


def verify(run: Run, which: str) -> Path:
    """Check the folder behind the link `which` ("best" or "last") against its manifest and return its path.

    Raises:
        DamagedRun: the sha256 of a file differs from the manifest. The error names the first such file.
        InputError: the folder, its manifest or a file is missing or cannot be read.
    """
    folder = _checkpoint_folder(run, which)
    if not folder.is_dir():
        raise InputError(f"{run.path / which}: no such checkpoint; train the run again")
    try:
        manifest = read_json(folder / MANIFEST, follow=False)
        if not isinstance(manifest, dict) or set(manifest) != set(MAX_BYTES):
            raise ValueError(f"expected the names {', '.join(sorted(MAX_BYTES))}")
    except OSError as error:
        raise InputError(f"{folder / MANIFEST}: cannot be read ({error.strerror}); {_advice(run, which)}") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{folder / MANIFEST}: damaged ({error}); {_advice(run, which)}") from None
    for name, expected in manifest.items():
        try:
            if regular_size(folder / name, follow=False) > MAX_BYTES[name]:
                raise UnsafeFile(folder / name, f"has more than {MAX_BYTES[name]:,} bytes; {_advice(run, which)}")
            actual = sha256_of(folder / name, follow=False)
        except OSError as error:
            raise InputError(f"{folder / name}: cannot be read ({error.strerror}); {_advice(run, which)}") from None
        if actual != expected:
            raise DamagedRun(
                folder / name,
                f"damaged, its sha256 is {actual[:12]}…, expected {str(expected)[:12]}…; {_advice(run, which)}",
            )
    return folder


def load(
    run: Run, which: str, session: tf1.Session, saver: tf1.train.Saver, variables: list[tf.Variable]
) -> dict[str, Any]:
    """Verify the checkpoint behind the link `which`, restore the variables from it and return its state.

    Raises:
        DamagedRun: the sha256 of a file differs from the manifest.
        InputError: the checkpoint cannot be read, or it holds the variables of another network.
    """

    def restore(folder: Path) -> dict[str, Any]:
        _restore(session, saver, folder, variables)
        return read_state(folder)

    return _use_verified(run, which, restore)


def assign(session: tf1.Session, variables: list[tf.Variable], values: dict[str, np.ndarray]) -> None:
    """Assign values {name: array} to variables. Lookahead's slow copy of a variable gets the same value."""
    by_name = {variable.op.name: variable for variable in variables}
    for name, value in values.items():
        for target in (name, f"{name}/slow"):
            if target in by_name:
                initializer = by_name[target].initializer
                session.run(initializer, {initializer.inputs[1]: value})


def read_variables(run: Run, which: str, select: Callable[[str, tuple[int, ...]], bool]) -> StoredVariables:
    """Verify the checkpoint behind the link `which` and return its content.

    Args:
        run: the run.
        which: "best" or "last".
        select: select(name, shape) returns whether to read the array of that variable.

    Raises:
        DamagedRun: the sha256 of a file differs from the manifest.
        InputError: the checkpoint cannot be read.
    """

    def read(folder: Path) -> StoredVariables:
        with without_wildcards(folder / PREFIX) as prefix:
            reader = tf1.train.NewCheckpointReader(prefix)
            shapes = {name: tuple(shape) for name, shape in sorted(reader.get_variable_to_shape_map().items())}
            arrays = {name: reader.get_tensor(name) for name, shape in shapes.items() if select(name, shape)}
        return StoredVariables(shapes, arrays, sha256_of(folder / DATA))

    return _use_verified(run, which, read)


def variables_sha256(run: Run, which: str) -> str:
    """Verify the checkpoint behind the link `which` and return the sha256 of the file that holds its variables.

    Raises:
        DamagedRun: the sha256 of a file differs from the manifest.
        InputError: the checkpoint cannot be read.
    """
    return _use_verified(run, which, lambda folder: str(read_json(folder / MANIFEST, follow=False)[DATA]))


def _use_verified(run: Run, which: str, use: Callable[[Path], Result]) -> Result:
    """Return use(folder) of the verified checkpoint behind a link.

    If a training replaces the checkpoint at the same time, the new one is used.
    """
    while True:
        folder = _checkpoint_folder(run, which)
        try:
            verify(run, which)
            check_reader(folder / PREFIX, sha256_of(folder / MANIFEST, follow=False))
            return use(folder)
        except Exception as error:  # TensorFlow's readers raise many types for damaged files
            if _checkpoint_folder(run, which) != folder:
                continue
            if isinstance(error, InputError):
                raise
            advice = _advice(run, which)
            raise InputError(
                f"{folder}: cannot be read ({reason(error)}), although its files match the manifest; {advice}"
            ) from None


def export(session: tf1.Session, saver: tf1.train.Saver, folder: Path) -> None:
    """Write model.ckpt.* and the `checkpoint` file that tf.train.latest_checkpoint reads, for other programs.

    Raises:
        InputError: a file cannot be written, for example on a full disk.
    """
    try:
        with session.graph.as_default():  # a Saver refuses eager execution
            saver.save(session, str(folder / PREFIX), write_state=False)
        tf1.train.update_checkpoint_state(str(folder), PREFIX)
    except tf.errors.OpError as error:
        raise InputError(
            f"{folder / PREFIX}: cannot be written ({reason(error)}); check the disk, then call the command again"
        ) from None


def _restore(session: tf1.Session, saver: tf1.train.Saver, folder: Path, variables: list[tf.Variable]) -> None:
    with without_wildcards(folder / PREFIX) as prefix:
        stored = tf1.train.NewCheckpointReader(prefix).get_variable_to_shape_map()
        for variable in variables:
            name, shape = variable.op.name, variable.shape.as_list()
            if stored.get(name) != shape:
                stored_shape = f"shape {stored[name]}" if name in stored else "no such variable"
                raise InputError(
                    f"{folder / PREFIX}: for {name} found {stored_shape}, expected shape {shape}: this is the "
                    "checkpoint of another network; name the run that wrote it, or restore config.json"
                )
        with session.graph.as_default():  # a Saver refuses eager execution
            saver.restore(session, prefix)


def _checkpoint_folder(run: Run, which: str) -> Path:
    """Return the folder to which the link `which` points. In a copy of a run, `which` may be a folder itself.

    Raises:
        UnsafeFile: the link does not point to a checkpoint of the run.
    """
    link = run.path / which
    if not link.is_symlink():
        return link
    target = str(link.readlink())
    if not EPOCH_FOLDER.fullmatch(target):
        raise UnsafeFile(link, f"is a link to {target}, expected a link to epoch-<n>; restore the link")
    return run.path / target


def _folder(epoch: int) -> str:
    return f"epoch-{epoch:04d}"


def _advice(run: Run, which: str) -> str:
    other = "last" if which == "best" else "best"
    return f"restore the file from a copy, train the run again, or look at {run.path / other}"
