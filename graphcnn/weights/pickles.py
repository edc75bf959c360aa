"""PyTorch's files from before it wrote zip archives: tensors by name, without PyTorch and without Python's unpickler.

Such a file is five pickles (a magic number, a version, the machine, the tensors, their storages' keys), then each
storage's length and bytes. Python's unpickler calls what a file names. This one knows the names and opcodes that
tensors need, calls nothing, and refuses all else: a file can make it build strings, numbers, tuples, lists and dicts.
"""

import io
import math
import pickle
import pickletools
from pathlib import Path
from typing import NamedTuple

import numpy as np

from graphcnn.common.errors import InputError

HEAD = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2)  # the magic number and the version
LARGEST = 1 << 30  # bytes of a file
RANKS = 8  # axes of a tensor, at most
STORAGES = {"torch FloatStorage": np.dtype("<f4"), "torch LongStorage": np.dtype("<i8")}
REBUILD, MAPPING = "torch._utils _rebuild_tensor_v2", "collections OrderedDict"
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}


class Name(NamedTuple):
    """A name that a pickle may speak of."""

    name: str


class Storage(NamedTuple):
    """The numbers that tensors are views of."""

    key: str
    dtype: np.dtype
    count: int


class Tensor(NamedTuple):
    """A view of a storage: the first number's place, the shape, and the steps of each axis, in numbers."""

    storage: Storage
    offset: int
    shape: tuple
    steps: tuple


def read_torch(path):
    """Return {name: array} of a file that PyTorch wrote before version 1.6: float32 or int64, shapes as there.

    Errors: InputError for a file that is damaged, or that names anything but tensors.
    """
    try:
        if not Path(path).is_file() or Path(path).stat().st_size > LARGEST:
            raise InputError(f"no such file, or one of more than {LARGEST >> 20} MB")
        file = io.BytesIO(Path(path).read_bytes())
        return _read(file, len(file.getbuffer()))
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except Exception as error:  # pickletools and the stack of a damaged file have many
        raise InputError(f"{path}: damaged ({error}), expected PyTorch's format before version 1.6") from None


def _read(file, size):
    if file.read(len(HEAD)) != HEAD:
        raise InputError("expected PyTorch's format before version 1.6, found another")
    if _unpickled(file, size).get("little_endian") is not True:
        raise InputError("was written by a big-endian machine")
    tensors, keys = _unpickled(file, size), _unpickled(file, size)
    if not isinstance(tensors, dict) or not all(isinstance(tensor, Tensor) for tensor in tensors.values()):
        raise InputError("holds something else than tensors by name")
    storages = {tensor.storage.key: tensor.storage for tensor in tensors.values()}
    if any(tensor.storage != storages[tensor.storage.key] for tensor in tensors.values()):
        raise InputError("says two things of one storage")
    if not isinstance(keys, list) or sorted(keys) != sorted(storages):
        raise InputError("lists other storages than its tensors have")
    numbers = {key: _numbers(file, storages[key]) for key in keys}
    if file.read(1):
        raise InputError("goes on after its last storage")
    return {name: _array(numbers[tensor.storage.key], tensor) for name, tensor in tensors.items()}


def _unpickled(file, size):
    """Return the object of the pickle that the file, of `size` bytes, stands at."""
    stack, marks, memo = [], [], {}

    def taken(count=None):
        """Remove and return the stack's last `count` objects, or those since the last mark."""
        start = marks.pop() if count is None else len(stack) - count
        if not 0 <= start <= len(stack):
            raise ValueError("too few objects")
        objects = stack[start:]
        del stack[start:]
        return objects

    for opcode, argument, _ in pickletools.genops(file):
        match opcode.name:
            case "PROTO":
                pass
            case "STOP":
                return stack.pop()
            case "BINUNICODE" | "BININT" | "BININT1" | "BININT2":
                stack.append(argument)
            case "NONE" | "NEWTRUE" | "NEWFALSE":
                stack.append(CONSTANTS[opcode.name])
            case "MARK":
                marks.append(len(stack))
            case "EMPTY_TUPLE":
                stack.append(())
            case "TUPLE":
                stack.append(tuple(taken()))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                stack.append(tuple(taken(int(opcode.name[-1]))))
            case "EMPTY_LIST":
                stack.append([])
            case "EMPTY_DICT":
                stack.append({})
            case "APPEND" | "APPENDS":
                added = taken(1 if opcode.name == "APPEND" else None)
                _last(stack, list).extend(added)
            case "SETITEM" | "SETITEMS":
                added = taken(2 if opcode.name == "SETITEM" else None)
                if not all(isinstance(key, str) and key.isprintable() for key in added[::2]):
                    raise InputError("holds a dictionary whose keys are no names")
                _last(stack, dict).update(zip(added[::2], added[1::2], strict=True))
            case "BINPUT" | "LONG_BINPUT":
                memo[argument] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(memo[argument])
            case "GLOBAL":
                if argument not in (REBUILD, MAPPING, *STORAGES):
                    raise InputError(f"names {argument.replace(' ', '.')!r}, which is no part of a tensor: not read")
                stack.append(Name(argument))
            case "REDUCE":
                stack.append(_made(*taken(2)))
            case "BINPERSID":
                stack.append(_storage(stack.pop(), size))
            case "BUILD":  # attributes of an OrderedDict, which have no part in the tensors
                stack.pop()
                _last(stack, dict)
            case other:
                raise InputError(f"holds the opcode {other} ({str(argument)[:60]!r}), which no tensor needs: not read")
    raise ValueError("no end")


def _last(stack, kind):
    """Return the stack's last object, which must be of that kind."""
    if type(stack[-1]) is not kind:
        raise ValueError(f"found a {type(stack[-1]).__name__}, expected a {kind.__name__}")
    return stack[-1]


def _made(function, arguments):
    """Return what a name makes of arguments: an empty dict, or a Tensor."""
    called = function.name if type(function) is Name else None
    if called == MAPPING and arguments == ():
        return {}
    if called != REBUILD or type(arguments) is not tuple or len(arguments) < 4:
        raise InputError("calls something else than what rebuilds a tensor: not read")
    storage, offset, shape, steps = arguments[:4]
    well_formed = type(storage) is Storage and type(shape) is type(steps) is tuple and len(shape) == len(steps) <= RANKS
    if not well_formed or not all(type(number) is int and number >= 0 for number in (offset, *shape, *steps)):
        raise InputError("holds a tensor with no shape")
    last = offset + sum((side - 1) * step for side, step in zip(shape, steps, strict=True))
    if math.prod(shape) > storage.count or (math.prod(shape) and last >= storage.count):
        raise InputError(f"holds a tensor of {math.prod(shape)} numbers in a storage of {storage.count}")
    return Tensor(storage, offset, shape, steps)


def _storage(said, size):
    """Return the Storage of ("storage", type, key, device, count, None)."""
    if type(said) is not tuple or len(said) != 6 or said[0] != "storage" or type(said[1]) is not Name:
        raise InputError("refers to something else than a storage: not read")
    _, kind, key, _, count, view = said
    if kind.name not in STORAGES or type(key) is not str or type(count) is not int or count < 0 or view is not None:
        raise InputError("refers to a storage that is none")
    dtype = STORAGES[kind.name]
    if count * dtype.itemsize > size:
        raise InputError(f"has a storage of {count} numbers, more than its {size} bytes hold")
    return Storage(key, dtype, count)


def _numbers(file, storage):
    """Return the storage's numbers, read where the file stands."""
    count = int.from_bytes(file.read(8), "little", signed=True)
    content = file.read(storage.count * storage.dtype.itemsize)
    if count != storage.count or len(content) != storage.count * storage.dtype.itemsize:
        raise InputError(f"has {len(content)} bytes for a storage of {storage.count} numbers that says it has {count}")
    return np.frombuffer(content, storage.dtype)


def _array(numbers, tensor):
    """Return the tensor as an array of its own; its bounds were checked."""
    steps = [step * numbers.itemsize for step in tensor.steps]
    return np.lib.stride_tricks.as_strided(numbers[tensor.offset :], tensor.shape, steps).copy()
