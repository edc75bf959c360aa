"""Folders of submissions for tests: honest ones and hostile ones."""

import io
import os
import struct
import zipfile

import numpy as np

ROWS, CLASSES = 60, 3
LABELS = np.arange(ROWS) % CLASSES


def softmax(seed=0, wrong=12, rows=ROWS):
    """Return softmax outputs float32 [rows, 3], of which `wrong` rows have another class as the most probable one."""
    generator = np.random.default_rng(seed)
    outputs = generator.uniform(0.1, 1, (rows, CLASSES))
    predicted = np.arange(rows) % CLASSES
    predicted[generator.permutation(rows)[:wrong]] += 1
    outputs[np.arange(rows), predicted % CLASSES] += 1.5
    return (outputs / outputs.sum(axis=1, keepdims=True)).astype(np.float32)


def npy(array, **options):
    """Return an array as the content of a .npy file."""
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


def header(shape, descr="<f4"):
    """Return the content of a .npy file that has only its header."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})
    return file.getvalue()


def write_labels(path):
    np.save(path, LABELS)
    return path


def write_zip(path, files, method=zipfile.ZIP_DEFLATED):
    """Write a zip file; files: {name or ZipInfo: content}."""
    with zipfile.ZipFile(path, "w", method) as packed:
        for name, content in files.items():
            packed.writestr(name, content)
    return path


def write_folder(path, files):
    path.mkdir(parents=True)
    for name, content in files.items():
        (path / name).write_bytes(content)
    return path


def honest(seed=0):
    return {"submission/result.npy": npy(softmax(seed)), "submission/README.md": b"# mine"}


def member(name, mode=0, external=None):
    """Return the ZipInfo of a member with a type in its attributes."""
    info = zipfile.ZipInfo(name)
    info.external_attr = external if external is not None else mode << 16
    return info


def many_members(path):
    """Write a zip file of 100,000 empty members, quickly."""
    central, local = b"", struct.pack("<IHHHHHIIIHH", 0x04034B50, 20, 0, 0, 0, 0, 0, 0, 0, 6, 0) + b"000000"
    entries = []
    for n in range(100_000):
        name = f"{n:06d}".encode()
        entries.append(
            struct.pack("<IHHHHHHIIIHHHHHII", 0x02014B50, 20, 20, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0) + name
        )
    central = b"".join(entries)
    end = struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, 0xFFFF, 0xFFFF, len(central), len(local), 0)
    path.write_bytes(local + central + end)


def patched(path, files, old, new):
    """Write a zip file and replace bytes in it, the same number of bytes."""
    write_zip(path, files, zipfile.ZIP_STORED)
    content = path.read_bytes()
    assert old in content
    assert len(old) == len(new)
    path.write_bytes(content.replace(old, new))


def encrypted(path):
    """Write a zip file whose members have the flag of encryption."""
    write_zip(path, honest())
    content = bytearray(path.read_bytes())
    for magic, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        position = -1
        while (position := content.find(magic, position + 1)) >= 0:
            content[position + offset] |= 1
    path.write_bytes(bytes(content))


def _link(path):
    path.symlink_to("/etc/passwd")


def _folder_with(path, name, make):
    write_folder(path, {"result.npy": npy(softmax())} if name != "result.npy" else {"config.json": b"{}"})
    make(path / name)


def _result(path, content):
    write_zip(path, {"result.npy": content})


def _with_row(row):
    outputs = softmax()
    outputs[7] = row
    return npy(outputs)


HOSTILE = {  # name: (builder of an entry, words of the problem)
    "traversal.zip": (
        lambda path: write_zip(path, {**honest(), "../../evil.txt": b"x"}),
        "../../evil.txt: is not a name inside",
    ),
    "absolute.zip": (lambda path: write_zip(path, {**honest(), "/tmp/evil.txt": b"x"}), "/tmp/evil.txt: is not a name"),
    "drive.zip": (lambda path: write_zip(path, {**honest(), "C:evil.txt": b"x"}), "C:evil.txt: is not a name inside"),
    "link.zip": (
        lambda path: write_zip(path, {member("result.npy", 0o120777): b"/etc/passwd"}),
        "result.npy: is a symbolic link",
    ),
    "fifo_member.zip": (lambda path: write_zip(path, {member("result.npy", 0o010644): b""}), "result.npy: is a FIFO"),
    "bomb.zip": (
        lambda path: write_zip(path, {**honest(), "bomb": bytes(64 << 20)}),
        "times as large when it is unpacked, expected at most 200",
    ),
    "nested.zip": (
        lambda path: write_zip(path, {"inner.zip": write_zip(path, honest()).read_bytes()}),
        "has no result.npy",
    ),
    "members.zip": (many_members, "expected at most 1,000 members"),
    "thousands.zip": (
        lambda path: write_zip(path, {f"{n}": b"" for n in range(1500)}),
        "has 1,500 members, expected at most 1,000",
    ),
    "duplicate.zip": (
        lambda path: patched(
            path, {"result.npy": npy(softmax()), "resulT.npy": npy(softmax(1))}, b"resulT.npy", b"result.npy"
        ),
        "result.npy: is in the zip file twice",
    ),
    "two_results.zip": (
        lambda path: write_zip(path, {"a/result.npy": b"", "b/result.npy": b""}),
        "several result.npy: a/result.npy and b/result.npy",
    ),
    "encrypted.zip": (encrypted, "is encrypted; pack the files without a password"),
    "lzma.zip": (
        lambda path: write_zip(path, {"result.npy": npy(softmax())}, zipfile.ZIP_LZMA),
        "has the compression method 14, expected deflate",
    ),
    "wrong_crc.zip": (
        lambda path: patched(path, {"result.npy": npy(softmax()) + b"end"}, b"end", b"END"),
        "truncated or damaged (Bad CRC-32",
    ),
    "no_zip.zip": (lambda path: path.write_bytes(b"PK\3\4 nothing"), "the zip file: truncated or damaged"),
    "empty.zip": (lambda path: path.write_bytes(b""), "the zip file: truncated or damaged"),
    "archive.rar": (lambda path: path.write_bytes(b"Rar!"), "the zip file: truncated or damaged"),
    "pickle.zip": (lambda path: _result(path, b"\x80\x04cposix\nsystem\n."), "result.npy: is a pickle"),
    "objects.zip": (
        lambda path: _result(path, npy(np.array([print, 1], object), allow_pickle=True)),
        "result.npy: holds pickled Python objects",
    ),
    "huge_header.zip": (
        lambda path: _result(path, header((10**12, CLASSES))),
        "found float32 (1000000000000, 3), expected softmax outputs, float32 (60, 3)",
    ),
    "zero_items.zip": (lambda path: _result(path, header((ROWS, CLASSES), "|V0")), "declares the shape"),
    "dimensions.zip": (lambda path: _result(path, header((1,) * 40)), "found float32 of 40 dimensions"),
    "truncated.zip": (lambda path: _result(path, npy(softmax())[:-1]), "result.npy: truncated, it has 847 bytes"),
    "large.zip": (lambda path: _result(path, os.urandom(2 << 20)), "has 2,097,152 bytes, expected at most 1,048,576"),
    "nan.zip": (lambda path: _result(path, _with_row(np.nan)), "row 7 holds negative, NaN or infinite numbers"),
    "negative.zip": (lambda path: _result(path, _with_row([-0.5, 0.5, 1])), "row 7 holds negative"),
    "logits.zip": (lambda path: _result(path, _with_row([3, 2, 1])), "row 7 sums to 6, expected 1; apply softmax"),
    "rows.zip": (
        lambda path: _result(path, npy(softmax(rows=ROWS - 1))),
        "found float32 (59, 3), expected softmax outputs, float32 (60, 3)",
    ),
    "labels.zip": (lambda path: _result(path, npy(LABELS)), "found labels, int64 (60,), expected softmax outputs"),
    "constant.zip": (
        lambda path: _result(path, npy(np.full((ROWS, CLASSES), 1 / 3, np.float32))),
        "all rows are equal",
    ),
    "linked.zip": (_link, "is a symbolic link, expected a folder or a zip file"),
    "fifo.zip": (os.mkfifo, "is a FIFO, expected a folder or a zip file"),
    "folder_link": (lambda path: _folder_with(path, "result.npy", _link), "result.npy: is a symbolic link"),
    "folder_fifo": (lambda path: _folder_with(path, "model.ckpt.meta", os.mkfifo), "model.ckpt.meta: is a FIFO"),
    "folder_empty": (lambda path: path.mkdir(), "has no result.npy"),
}
NAMES = (  # of hostile students; each is a folder with an honest submission
    "new\nline", "\x1b[31mred\x1b[0m", "<script>alert(1)</script>".replace("/", "\u2215"), "\u202eabc", "=cmd|'C'!A0",
    "@SUM(1)", "a|b`c`[d](e)", "..x", "con. ", "x" * 200, "caf\u00e9", "CAF\u00c9", "\udcff bytes",
)  # fmt: skip
