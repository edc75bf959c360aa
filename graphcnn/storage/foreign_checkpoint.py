"""A check of checkpoints that no training of this user wrote: they are first read in a child process.

A file that was made for an attack can crash TensorFlow's reader. Then only the child process ends, and the command
prints one line. A file in the user's state folder records the checkpoints that trainings wrote and the checkpoints that
were checked. A recorded checkpoint is not checked again.
"""

from __future__ import annotations

import math
import os
import resource
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from graphcnn.common.errors import InputError
from graphcnn.common.files import read_bytes, regular_size
from graphcnn.common.isolated import module_command, working_folder
from graphcnn.common.progress import say
from graphcnn.common.replace import atomic_write
from graphcnn.ops.tf1 import tf, tf1
from graphcnn.ops.wildcards import without_wildcards

MODULE = "graphcnn.storage.foreign_checkpoint"
RECORD_BYTES = 1 << 20  # size at which the older half of the record is deleted; about 16,000 checkpoints
SECONDS = 600  # time limit for reading all tensors of a checkpoint
UNREADABLE, REFUSED = 3, 4  # exit statuses of the child process


def check_reader(prefix: Path, sha256: str) -> None:
    """Read a checkpoint in a child process and record it, unless it is recorded already.

    If TensorFlow reports an error, this function raises none. The command gets the same error when it reads the file.

    Args:
        prefix: prefix of the checkpoint's files.
        sha256: of the checkpoint's manifest or index, as hexadecimal digits.

    Raises:
        InputError: the reader crashed or took too long, or a tensor has an unknown type or is larger than the files.
    """
    if _is_recorded(sha256):
        return
    say(f"checking a checkpoint that is not recorded as yours, in a child process: {prefix}")
    command = module_command(MODULE, [str(prefix.resolve())])
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "-1"}
    advice = "the file was damaged or made for an attack: do not use it"
    try:
        with working_folder() as folder:
            done = subprocess.run(
                command, cwd=folder, env=environment, capture_output=True, check=False, timeout=SECONDS
            )
    except subprocess.TimeoutExpired:
        raise InputError(f"{prefix}: TensorFlow's reader took more than {SECONDS} s; {advice}") from None
    if done.returncode < 0:
        raise InputError(f"{prefix}: TensorFlow's reader crashed (signal {-done.returncode}); {advice}")
    if done.returncode == REFUSED:
        raise InputError(f"{prefix}: declares {done.stdout.decode(errors='replace').strip()}; {advice}")
    if done.returncode == 0:
        record(sha256)
    elif done.returncode != UNREADABLE:
        last = (done.stderr.decode(errors="replace").strip().splitlines() or ["no output"])[-1]
        raise InputError(f"{prefix}: the child process that checks the checkpoint failed ({last}); try again")


def record(sha256: str) -> None:
    """Record a checkpoint, so that later commands do not check it. If the record cannot be written, do nothing.

    Args:
        sha256: of the checkpoint's manifest or index, as hexadecimal digits.
    """
    with suppress(OSError, InputError, RuntimeError):
        path = _record_path()
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        options = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(path, options, 0o600)
        try:
            os.write(descriptor, f"{sha256}\n".encode())
        finally:
            os.close(descriptor)
        if path.stat().st_size > RECORD_BYTES:
            lines = _recorded()
            with atomic_write(path) as file:
                file.write(b"\n".join(lines[len(lines) // 2 :]) + b"\n")


def _is_recorded(sha256: str) -> bool:
    try:
        return sha256.encode() in _recorded()
    except (OSError, InputError, RuntimeError):
        return False


def _recorded() -> list[bytes]:
    """Return the recorded checksums, the newest last."""
    return read_bytes(_record_path(), 2 * RECORD_BYTES).split()


def _record_path() -> Path:
    """Return graphcnn/checkpoints in $XDG_STATE_HOME or ~/.local/state.

    Raises:
        RuntimeError: the user has no home folder.
    """
    state = os.environ.get("XDG_STATE_HOME", "")
    return (Path(state) if Path(state).is_absolute() else Path.home() / ".local" / "state") / "graphcnn" / "checkpoints"


def main(prefix: Path) -> int:
    """Read every tensor of a checkpoint, in the child process. Print why it is refused, and return the exit status."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        files = [path for path in prefix.parent.iterdir() if path.name.startswith(f"{prefix.name}.")]
        total_bytes = sum(map(regular_size, files))
        with without_wildcards(prefix) as readable:
            return _read_all(readable, total_bytes)
    except Exception:  # TensorFlow's readers raise many types for damaged files
        return UNREADABLE


def _read_all(prefix: str, total_bytes: int) -> int:
    """Read every tensor; return the exit status. Print why a checkpoint is refused.

    Args:
        prefix: prefix of the checkpoint's files, without wildcards.
        total_bytes: size of the files.
    """
    reader = tf1.train.NewCheckpointReader(prefix)
    shapes = reader.get_variable_to_shape_map()
    try:
        sizes = {name: _item_size(data_type) for name, data_type in reader.get_variable_to_dtype_map().items()}
    except Exception:
        print("a tensor of an unknown type")
        return REFUSED
    status = 0
    for name, shape in shapes.items():
        if math.prod(shape) * sizes[name] > total_bytes:
            print("a tensor that is larger than its files")
            return REFUSED
        try:
            reader.get_tensor(name)
        except Exception:
            status = UNREADABLE
    return status


def _item_size(data_type: tf.DType) -> int:
    """Return the smallest size in bytes of an element in a file. An empty string takes one byte, for its length."""
    return 1 if data_type == tf.string else data_type.size


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
