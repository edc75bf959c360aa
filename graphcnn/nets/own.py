"""Nets of the user: registered from Python, or in a Python file that the user names.

A run records the sha256 of the code. The code of a file is executed only when the user names the file on the command
line, never because a config.json names it.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import re
import traceback
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from graphcnn.common.errors import InputError
from graphcnn.common.files import read_bytes
from graphcnn.nets import sequential
from graphcnn.nets.architecture import Architecture
from graphcnn.nets.blocks import Build, NetContext, WithAuxiliary
from graphcnn.nets.registry import ARCHITECTURES, NETS, SEQUENTIAL
from graphcnn.nets.sequential import Row, Rows
from graphcnn.ops.tf1 import tf

NAME = re.compile(r"[A-Za-z0-9._-]+(:[A-Za-z_][A-Za-z0-9_]*)?")
CODE_BYTES = 1 << 20  # largest size of a file with a net
CODE: dict[str, str] = {}  # {name of a registered net: sha256 of its code}


def register_net(name: str, net: Rows | Build) -> None:
    """Add a net, so that recipes of this process can name it. A later call with the same name replaces the net.

    Args:
        name: letters, digits, '.', '_', '-'; not the name of a net of this package.
        net: a tuple of layers (nets.sequential), or a function build(x, classes, context), see nets.blocks.Build.

    Raises:
        InputError: the name is not possible, `net` is neither rows nor a function, or its code cannot be found.
    """
    _register(name, net, hashlib.sha256(_code_of(net)).hexdigest())


def load_net(reference: str) -> str:
    """Execute the user's Python file and register the net in it; return the name of the net.

    Args:
        reference: PATH/FILE.py:NAME, where NAME is a tuple of layers or a function; see register_net.

    Raises:
        InputError: the file cannot be read or executed, or it has no such net.
    """
    file, _, attribute = reference.rpartition(":")
    path = Path(file)
    if path.suffix != ".py" or not attribute.isidentifier():
        raise InputError(f"--net={reference}: expected PATH/FILE.py:NAME, the name of a net in a Python file")
    code = read_bytes(path, CODE_BYTES)
    module = types.ModuleType(path.stem)
    module.__file__ = str(path.resolve())
    try:
        exec(compile(code, module.__file__, "exec"), module.__dict__)
    except Exception as error:
        raise _in_code(reference, path, error) from error
    if not hasattr(module, attribute):
        raise InputError(f"--net={reference}: {path} does not define {attribute}; name a net of this file")
    name = f"{path.name}:{attribute}"
    _register(name, getattr(module, attribute), hashlib.sha256(code).hexdigest(), path)
    return name


def check_code(run: str, net: str, config: Mapping[str, Any]) -> None:
    """Refuse a run whose net is code of a user that is not loaded, or that has changed.

    Args:
        run: name of the run.
        net: name of its net.
        config: the run's config.json.

    Raises:
        InputError: with what was found, what was expected and what to do.
    """
    expected, found = config.get("net_code"), CODE.get(net)
    if expected is None and found is None:
        return
    if found is None:
        raise InputError(f"--run={run}: its net {net} is code of a user; {how_to_load(net)}")
    if found != expected:
        raise InputError(
            f"--run={run}: the code of its net {net} has the sha256 {found}, expected {expected}; use the file with "
            "which the run was trained, or train a new run"
        )


def how_to_load(net: str) -> str:
    """Return what the user does to make a net available that is not part of this package."""
    file = f"name its file: --net=PATH/{net}"
    return file if ".py:" in net else f"register it with graphcnn.register_net({net!r}, ...)"


def _register(name: str, net: Any, sha256: str, path: Path | None = None) -> None:
    if not NAME.fullmatch(name):
        raise InputError(f"net {name!r}: expected a name of letters, digits, '.', '_' and '-'")
    if name in NETS and name not in CODE:
        raise InputError(f"net {name!r}: this is a net of graphcnn; choose another name")
    for nets in (NETS, SEQUENTIAL, ARCHITECTURES):
        nets.pop(name, None)
    if isinstance(net, tuple) and net and all(isinstance(row, Row) for row in net):
        SEQUENTIAL[name] = net
        NETS[name] = functools.partial(sequential.build, net)
    elif callable(net):
        build = _guarded(name, net, path)
        ARCHITECTURES[name] = Architecture(
            build=build, image_size=32, smallest_size=1, preprocessing="tf", batch_norm=True, published=None
        )
        NETS[name] = build
    else:
        raise InputError(
            f"net {name!r}: found {type(net).__name__}, expected a tuple of layers, or a function "
            "build(x, classes, context)"
        )
    CODE[name] = sha256


def _guarded(name: str, build: Callable[..., Any], path: Path | None) -> Build:
    """Return a function that calls `build` and turns its errors, and a result of a wrong shape, into InputError."""

    def guarded(x: tf.Tensor, classes: int | None, context: NetContext) -> tf.Tensor | WithAuxiliary:
        try:
            result = build(x, classes, context)
        except InputError:
            raise
        except Exception as error:
            raise _in_code(name, path, error) from error
        logits = result.logits if isinstance(result, WithAuxiliary) else result
        if not isinstance(logits, tf.Tensor):
            raise InputError(f"net {name}: returned {type(logits).__name__}, expected a tensor")
        shape = logits.shape.as_list() if logits.shape.rank else []
        if classes is not None and (len(shape) != 2 or shape[1] != classes):
            raise InputError(f"net {name}: returned a tensor of shape {shape}, expected logits [None, {classes}]")
        return result

    return guarded


def _in_code(name: str, path: Path | None, error: Exception) -> InputError:
    """Return the InputError for an error in the user's code, with the line of the user's file."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if _is_file(frame.filename, path)]
    line = error.lineno if isinstance(error, SyntaxError) else (lines or [None])[-1]
    where = f" {path}, line {line}:" if path and line else ""
    text = (str(error).splitlines() or [""])[0]
    return InputError(f"--net={name}:{where} {type(error).__name__}: {text}; mend the code of the net")


def _is_file(filename: str, path: Path | None) -> bool:
    return path is not None and filename == str(path.resolve())


def _code_of(net: Any) -> bytes:
    """Return the bytes that identify a net: its rows, or the source of its function."""
    if isinstance(net, tuple):
        return repr(net).encode()
    try:
        return inspect.getsource(net).encode()
    except (OSError, TypeError):
        raise InputError(
            "register_net: the source of the function cannot be found; define it in a file or in a notebook"
        ) from None
