"""PyTorch's format before version 1.6: valid and malicious files."""

import os
import pickle

import numpy as np
import pytest
from weight_files import group, mapping, storage, tensor, text, torch_file

from graphcnn.common.errors import InputError
from graphcnn.weights.pytorch import read_torch


def test_tensors_by_name(tmp_path):
    numbers = {"7": np.arange(24, dtype="<f4"), "3": np.array([5], "<i8")}
    of = storage("7", 24)
    content = torch_file(
        mapping(
            whole=tensor((2, 3, 4), (12, 4, 1), of=of),
            turned=tensor((4, 3), (1, 4), 12, of=of),
            step=tensor((), (), of=storage("3", 1, "LongStorage")),
            none=tensor((0, 4), (4, 1), of=of),
        ),
        numbers,
    )
    (tmp_path / "a.pth").write_bytes(content)
    found = read_torch(tmp_path / "a.pth")
    whole = numbers["7"].reshape(2, 3, 4)
    assert set(found) == {"whole", "turned", "step", "none"}
    assert np.array_equal(found["whole"], whole)
    assert np.array_equal(found["turned"], whole[1].T)
    assert (found["step"], found["step"].dtype, found["none"].shape) == (5, np.int64, (0, 4))


class Calls:
    """What pickles as a call."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def poisoned(*call, protocol=2):
    return pickle.dumps(Calls(*call), protocol)


NESTED = mapping(a=tensor(of=b"cos\nsystem\n" + group(text("touch HERE")) + b"R"))
TOWER = b")" + 60 * b"q\0h\0\x86"  # a tuple of the tuple below, twice; two of them have 2^60 objects to compare

BAD_TORCH = {  # name: (bytes, words of the message)
    "os.system": (torch_file(poisoned(os.system, "touch HERE")), "names '(posix|nt).system', which is no part"),
    "builtins.eval": (torch_file(poisoned(eval, "open('HERE', 'w')")), "names '__builtin__.eval'"),
    "os.system in a newer protocol": (torch_file(poisoned(os.system, "touch HERE", protocol=4)), "opcode"),
    "os.system in an older protocol": (torch_file(poisoned(os.system, "touch HERE", protocol=0)), "names 'posix.sys"),
    "os.system as what wrote it": (torch_file(machine=poisoned(os.system, "touch HERE")), "names 'posix.system'"),
    "os.system as keys": (torch_file(keys=poisoned(os.system, "touch HERE")), "names 'posix.system'"),
    "a call inside a tensor": (torch_file(NESTED), "names 'os.system'"),
    "a call by INST": (torch_file(b"\x80\x02(X\x0a\x00\x00\x00touch HEREios\nsystem\n."), "opcode INST .'os system'"),
    "another name of torch": (torch_file(mapping(a=tensor(name="_rebuild_parameter"))), "_rebuild_parameter'"),
    "a name as a file's top": (torch_file(b"\x80\x02ctorch\nFloatStorage\n."), "objects other than tensors"),
    "a call of a storage's type": (torch_file(b"\x80\x02ctorch\nFloatStorage\n)R."), "calls a function other"),
    "a call of a text": (
        torch_file(b"\x80\x02" + text("torch._utils _rebuild_tensor_v2") + b")R."),
        "calls a function other",
    ),
    "another reference": (torch_file(mapping(a=tensor(of=storage(said="module")))), "an object other than a storage"),
    "another type": (torch_file(mapping(a=tensor(of=storage(kind="HalfStorage")))), "names 'torch.HalfStorage'"),
    "a view of a view": (
        torch_file(mapping(a=tensor(of=storage(view=group(text("1")))))),
        "a storage that is not valid",
    ),
    "a negative count": (torch_file(mapping(a=tensor(of=storage(count=-1)))), "a storage that is not valid"),
    "a huge storage": (torch_file(mapping(a=tensor(of=storage(count=2**31 - 1)))), "more than its"),
    "a storage that lies": (torch_file(mapping(a=tensor(of=storage(count=7)))), "for a storage of 7 numbers"),
    "a storage of two lengths": (torch_file(mapping(a=tensor(), b=tensor(of=storage(count=5)))), "in a storage of 5"),
    "a storage of two types": (
        torch_file(mapping(a=tensor(), b=tensor(of=storage(kind="LongStorage")))),
        "one storage in two ways",
    ),
    "a tensor too long": (torch_file(mapping(a=tensor((7,), (1,)))), "7 numbers in a storage of 6"),
    "a tensor beyond its storage": (torch_file(mapping(a=tensor((2, 3), (3, 1), 1))), "in a storage of 6"),
    "steps beyond its storage": (torch_file(mapping(a=tensor((2, 3), (4, 1)))), "in a storage of 6"),
    "steps of nothing": (torch_file(mapping(a=tensor((9, 9), (0, 0)))), "81 numbers in a storage of 6"),
    "negative steps": (torch_file(mapping(a=tensor((2, 3), (-3, 1)))), "no valid shape"),
    "more steps than axes": (torch_file(mapping(a=tensor((2, 3), (3, 1, 1)))), "no valid shape"),
    "a name that is a number": (torch_file(b"\x80\x02}K\x01K\x02s."), "keys are not names"),
    "a name that is a tuple": (torch_file(b"\x80\x02})K\x02s."), "keys are not names"),
    "a value that is no tensor": (torch_file(mapping(a=b"K\x01")), "objects other than tensors"),
    "500 tensors in one storage": (
        torch_file(
            mapping(**{f"a{n}": tensor((1000,), (1,), of=storage(count=1000)) for n in range(500)}),
            {"0": np.zeros(1000, "<f4")},
        ),
        "tensors of 2,000,000 bytes in a file of .*: too many share a storage",
    ),
    "keys that take too long to compare": (torch_file(keys=b"\x80\x02](" + 2 * TOWER + b"e."), "other storages"),
    "a pickle of a million opcodes": (torch_file(b"\x80\x02" + b"N" * 1_000_001 + b"."), "does not end within"),
    "keys of other storages": (torch_file(keys=pickle.dumps(["1"], 2)), "other storages"),
    "keys twice": (torch_file(keys=pickle.dumps(["0", "0"], 2)), "other storages"),
    "a far memo": (torch_file(b"\x80\x02}r\xff\xff\xff\xff0."), "opcode POP"),
    "too few objects": (torch_file(b"\x80\x02\x85."), "damaged"),
    "an empty stack": (torch_file(b"\x80\x02."), "damaged"),
    "no mark": (torch_file(b"\x80\x02t."), "damaged"),
    "cut in the tensors": (torch_file()[:200], "damaged"),
    "cut in the numbers": (torch_file()[:-1], "23 bytes for a storage of 6"),
    "more than it should have": (torch_file() + b"\0", "continues after"),
    "of a big-endian machine": (torch_file(machine=pickle.dumps({"little_endian": False}, 2)), "big-endian"),
    "a machine of text": (torch_file(machine=pickle.dumps("little", 2)), "damaged"),
    "a zip": (b"PK\x03\x04" + bytes(100), "expected PyTorch's format before version 1.6, found another"),
    "empty": (b"", "found another"),
}


@pytest.mark.parametrize("case", BAD_TORCH)
def test_bad_and_malicious_torch_files(case, tmp_path, monkeypatch):
    content, words = BAD_TORCH[case]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.pth").write_bytes(content)
    with pytest.raises(InputError, match=words) as caught:
        read_torch(tmp_path / "bad.pth")
    assert str(tmp_path / "bad.pth") in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["bad.pth"]


def test_pythons_unpickler_runs_the_malicious_files(tmp_path, monkeypatch):
    """Python's unpickler does run them."""
    monkeypatch.chdir(tmp_path)
    pickle.loads(poisoned(os.system, "touch HERE"))
    assert (tmp_path / "HERE").exists()
