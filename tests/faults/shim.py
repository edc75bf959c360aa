"""Run a command in which one system call fails, or which is killed before one; see shim.c and faulted.py."""

import errno
import shutil
import struct
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import processes
import pytest

HERE = Path(__file__).parent
KINDS = ("open", "read", "write", "fsync", "rename", "link", "unlink", "mkdir", "list", "stat")  # as in shim.c
CHANGING = ("open", "write", "fsync", "rename", "link", "unlink", "mkdir")  # calls that may change a file
KILL = "SIGKILL"
ERRORS = ("EIO", "ENOSPC", "EACCES", "EMFILE", "ESTALE")
SECONDS = 120  # time limit of a command


class Fault(NamedTuple):
    """The fault of one system call.

    kind: one of KINDS. number: the call of this kind that fails, counted from 1. error: one of ERRORS, or KILL.
    """

    kind: str
    number: int
    error: str

    def __str__(self):
        return f"{self.kind}:{self.number}:{self.error}"


class Outcome(NamedTuple):
    """How a command ended.

    status: exit status. err: its stderr. counts: {kind: number of calls}. where: the path of the call that failed;
    None if all calls worked.
    """

    status: int
    err: str
    counts: dict[str, int]
    where: str | None


def parse_fault(text):
    kind, number, error = text.split(":")
    return Fault(kind, int(number), error)


def build(folder):
    """Compile the shim in a folder and return its path; skip the test where this is not possible."""
    if sys.platform != "linux":
        pytest.skip("the shim replaces functions of Linux's C library")
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler is installed")
    library = folder / "shim.so"
    subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-o", library, HERE / "shim.c", "-ldl"], check=True)
    return library


def run(library, folder, command, fault=None):
    """Run a command; return its Outcome.

    Args:
        library: the compiled shim.
        folder: the calls on paths below this folder are counted and may fail.
        command: name of the command and its arguments.
        fault: the Fault. None: no call fails.
    """
    kind, number, error = fault or ("open", 0, KILL)
    record = library.with_name("record")
    record.unlink(missing_ok=True)
    code = 0 if error == KILL else getattr(errno, error)
    request = [HERE / "faulted.py", record, folder, KINDS.index(kind), number, code, f"graphcnn.{command[0]}"]
    process = processes.start(*request, *command[1:], LD_PRELOAD=str(library))
    status, _, err = processes.finish(process, SECONDS)
    *counts, fired = struct.unpack_from(f"{len(KINDS) + 1}q", record.read_bytes())
    where = record.read_bytes()[8 * len(KINDS) + 8 :].rstrip(b"\0").decode()
    return Outcome(status, err, dict(zip(KINDS, counts, strict=True)), where if fired else None)
