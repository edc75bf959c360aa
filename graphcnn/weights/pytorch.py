"""Weights from PyTorch's file format before version 1.6, read without PyTorch and without Python's unpickler.

Such a file holds five pickles (a magic number, a version, the machine, the tensors, the keys of their storages), then
the length and the bytes of each storage. Python's unpickler would call any function that a file names. This reader
accepts only the names and opcodes that tensors need. It calls no function: a file can only make it build strings,
numbers, tuples, lists and dicts.
"""

from __future__ import annotations

import itertools
import math
import os
import pickle
import pickletools
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np

from graphcnn.common.errors import InputError, UnsafeFile
from graphcnn.common.files import open_regular

HEAD = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2)  # the magic number and the version
MAX_BYTES = 1 << 30  # maximum size of a file
MAX_RANK = 8  # of a tensor
MAX_OPCODES = 1_000_000  # maximum number of opcodes of a pickle
MAX_VIEWS = 2  # maximum of (bytes of all tensors) / (bytes of the file): several tensors may share a storage
STORAGE_TYPES: dict[str, np.dtype] = {"torch FloatStorage": np.dtype("<f4"), "torch LongStorage": np.dtype("<i8")}
REBUILD_TENSOR, ORDERED_DICT = "torch._utils _rebuild_tensor_v2", "collections OrderedDict"
Expected = TypeVar("Expected")
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}


@dataclass(frozen=True)
class Global:
    """A class or function that a pickle names, "module name"."""

    name: str


@dataclass(frozen=True)
class Storage:
    """The memory of one or more tensors: `count` numbers."""

    key: str
    dtype: np.dtype
    count: int


@dataclass(frozen=True)
class Tensor:
    """A view of a storage: the index of its first number, its shape, and the stride of each axis in numbers."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read_torch(path: str | Path) -> dict[str, np.ndarray]:
    """Return {name: array} of a file that PyTorch wrote before version 1.6: float32 or int64, shapes as stored.

    Raises:
        InputError: the file is damaged, or holds other objects than tensors.
    """
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            if size > MAX_BYTES:
                raise InputError(f"has more than {MAX_BYTES >> 20} MiB")
            return _read(file, size)
    except UnsafeFile:
        raise
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except Exception as error:  # a damaged file makes pickletools and the stack raise many types of errors
        raise InputError(f"{path}: damaged ({error}), expected PyTorch's format before version 1.6") from None


def to_tensorflow(array: np.ndarray) -> np.ndarray:
    """Return PyTorch weights with the order of axes of TensorFlow.

    Convolution: [K, C, h, w] -> [h, w, C, K]. Depthwise convolution: [C, 1, h, w] -> [h, w, C, 1]. Dense: [K, C] ->
    [C, K].
    """
    if array.ndim == 4:
        array = array.transpose(2, 3, 0, 1) if array.shape[1] == 1 else array.transpose(2, 3, 1, 0)
    return array.T if array.ndim == 2 else array


def _read(file: IO[bytes], size: int) -> dict[str, np.ndarray]:
    """Return {name: array} of an open file of `size` bytes."""
    if file.read(len(HEAD)) != HEAD:
        raise InputError("expected PyTorch's format before version 1.6, found another")
    machine = _unpickle(file, size)
    if not isinstance(machine, dict):
        raise ValueError("does not describe the machine")
    if machine.get("little_endian") is not True:
        raise InputError("was written by a big-endian machine")
    tensors, keys = _unpickle(file, size), _unpickle(file, size)
    if not isinstance(tensors, dict) or not all(isinstance(tensor, Tensor) for tensor in tensors.values()):
        raise InputError("holds objects other than tensors by name")
    storages = {tensor.storage.key: tensor.storage for tensor in tensors.values()}
    if any(tensor.storage != storages[tensor.storage.key] for tensor in tensors.values()):
        raise InputError("describes one storage in two ways")
    if not (isinstance(keys, list) and all(type(key) is str for key in keys) and sorted(keys) == sorted(storages)):
        raise InputError("lists other storages than its tensors have")
    total = sum(math.prod(tensor.shape) * tensor.storage.dtype.itemsize for tensor in tensors.values())
    if total > MAX_VIEWS * size:
        raise InputError(f"holds tensors of {total:,} bytes in a file of {size:,} bytes: too many share a storage")
    numbers = {key: _numbers(file, storages[key]) for key in keys}
    if file.read(1):
        raise InputError("continues after its last storage")
    return {name: _array(numbers[tensor.storage.key], tensor) for name, tensor in tensors.items()}


def _numbers(file: IO[bytes], storage: Storage) -> np.ndarray:
    """Read the numbers of a storage at the position of the file."""
    count = int.from_bytes(file.read(8), "little", signed=True)
    content = file.read(storage.count * storage.dtype.itemsize)
    if count != storage.count or len(content) != storage.count * storage.dtype.itemsize:
        raise InputError(f"has {len(content)} bytes for a storage of {storage.count} numbers, stored as {count}")
    return np.frombuffer(content, storage.dtype)


def _array(numbers: np.ndarray, tensor: Tensor) -> np.ndarray:
    """Return a copy of the tensor's numbers; `_tensor` has checked its bounds."""
    strides = [stride * numbers.itemsize for stride in tensor.strides]
    return np.lib.stride_tricks.as_strided(numbers[tensor.offset :], tensor.shape, strides).copy()


# The pickles


def _unpickle(file: IO[bytes], size: int) -> object:
    """Return the object of the pickle at the position of the file, which has `size` bytes."""
    machine = _PickleMachine(size)
    for opcode, argument, _ in itertools.islice(pickletools.genops(file), MAX_OPCODES):
        if opcode.name == "STOP":
            return machine.stack.pop()
        machine.execute(opcode.name, argument)
    raise ValueError(f"a pickle does not end within {MAX_OPCODES:,} opcodes")


class _PickleMachine:
    """Executes the opcodes of a pickle that tensors need, and refuses all others.

    Args:
        file_size: bytes of the file, the limit for the storages that it refers to.
    """

    def __init__(self, file_size: int) -> None:
        self.file_size = file_size
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[object, Any] = {}

    def execute(self, opcode: str, argument: object) -> None:
        """Execute one opcode of the pickle protocol; see pickletools for their meaning."""
        push = self.stack.append
        match opcode:
            case "PROTO":
                pass
            case "BINUNICODE" | "BININT" | "BININT1" | "BININT2":
                push(argument)
            case "NONE" | "NEWTRUE" | "NEWFALSE":
                push(CONSTANTS[opcode])
            case "MARK":
                self.marks.append(len(self.stack))
            case "EMPTY_TUPLE":
                push(())
            case "TUPLE":
                push(tuple(self._take()))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                push(tuple(self._take(int(opcode[-1]))))
            case "EMPTY_LIST":
                push([])
            case "EMPTY_DICT":
                push({})
            case "APPEND" | "APPENDS":
                items = self._take(1 if opcode == "APPEND" else None)
                self._last(list).extend(items)
            case "SETITEM" | "SETITEMS":
                items = self._take(2 if opcode == "SETITEM" else None)
                if not all(isinstance(key, str) and key.isprintable() for key in items[::2]):
                    raise InputError("holds a dictionary whose keys are not names")
                self._last(dict).update(zip(items[::2], items[1::2], strict=True))
            case "BINPUT" | "LONG_BINPUT":
                self.memo[argument] = self.stack[-1]
            case "BINGET" | "LONG_BINGET":
                push(self.memo[argument])
            case "GLOBAL":
                push(_global(str(argument)))
            case "REDUCE":
                push(_call(*self._take(2)))
            case "BINPERSID":
                push(_storage(self.stack.pop(), self.file_size))
            case "BUILD":  # sets attributes of an OrderedDict, which the tensors do not depend on
                self.stack.pop()
                self._last(dict)
            case other:
                raise InputError(f"holds the opcode {other} ({str(argument)[:60]!r}), which no tensor needs: not read")

    def _take(self, count: int | None = None) -> list[Any]:
        """Remove and return the stack's last `count` objects; None: those since the last mark."""
        start = self.marks.pop() if count is None else len(self.stack) - count
        if not 0 <= start <= len(self.stack):
            raise ValueError("too few objects")
        objects = self.stack[start:]
        del self.stack[start:]
        return objects

    def _last(self, expected: type[Expected]) -> Expected:
        """Return the stack's last object, which must be of the expected type."""
        if type(self.stack[-1]) is not expected:
            raise ValueError(f"found a {type(self.stack[-1]).__name__}, expected a {expected.__name__}")
        return self.stack[-1]


def _global(name: str) -> Global:
    """Return the Global of this name. Refuse all names that tensors do not need."""
    if name not in (REBUILD_TENSOR, ORDERED_DICT, *STORAGE_TYPES):
        raise InputError(f"names {name.replace(' ', '.')!r}, which is no part of a tensor: not read")
    return Global(name)


def _call(function: object, arguments: object) -> dict | Tensor:
    """Return the result of a function of PyTorch, an empty dict or a Tensor, without calling the function."""
    name = function.name if isinstance(function, Global) else None
    if name == ORDERED_DICT and arguments == ():
        return {}
    if name != REBUILD_TENSOR or not isinstance(arguments, tuple) or len(arguments) < 4:
        raise InputError("calls a function other than the one that rebuilds a tensor: not read")
    return _tensor(*arguments[:4])


def _tensor(storage: object, offset: object, shape: object, strides: object) -> Tensor:
    """Return a Tensor after checking that all its numbers are in its storage."""
    if not (
        isinstance(storage, Storage)
        and isinstance(offset, int)
        and isinstance(shape, tuple)
        and isinstance(strides, tuple)
        and len(shape) == len(strides) <= MAX_RANK
        and all(type(number) is int and number >= 0 for number in (offset, *shape, *strides))
    ):
        raise InputError("holds a tensor with no valid shape")
    last = offset + sum((length - 1) * stride for length, stride in zip(shape, strides, strict=True))
    if math.prod(shape) > storage.count or (math.prod(shape) and last >= storage.count):
        raise InputError(f"holds a tensor of {math.prod(shape)} numbers in a storage of {storage.count}")
    return Tensor(storage, offset, shape, strides)


def _storage(reference: object, file_size: int) -> Storage:
    """Return the Storage of ("storage", type, key, device, count, None)."""
    if not (isinstance(reference, tuple) and len(reference) == 6 and reference[0] == "storage"):
        raise InputError("refers to an object other than a storage: not read")
    _, storage_type, key, _, count, view = reference
    if not isinstance(storage_type, Global):
        raise InputError("refers to an object other than a storage: not read")
    valid = type(key) is str and type(count) is int and count >= 0 and view is None
    if storage_type.name not in STORAGE_TYPES or not valid:
        raise InputError("refers to a storage that is not valid")
    dtype = STORAGE_TYPES[storage_type.name]
    if count * dtype.itemsize > file_size:
        raise InputError(f"has a storage of {count} numbers, more than its {file_size} bytes hold")
    return Storage(key, dtype, count)
