"""Files from strangers: each one loads correctly or raises InputError.

No file may take long, take much more memory than its size, run code or write outside its folder.
"""

import gzip
import hashlib
import io
import json
import os
import random
import shutil
import sys
import tarfile
import time
import warnings
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import pytest
from cifar10_files import members, packed
from conftest import TINY, one_line, write_folder
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from trials import pick, run
from weight_files import SHAPES, arrays, layers_of, mapping, storage, tensor, torch_file, write_h5

from graphcnn.common.errors import InputError
from graphcnn.config.parse import recipe_from_dict
from graphcnn.data import cifar10, images
from graphcnn.data.sources import load
from graphcnn.storage import checkpoint
from graphcnn.storage.run import Run
from graphcnn.weights.keras_hdf5 import read_keras
from graphcnn.weights.pytorch import read_torch
from graphcnn.weights.tf1_checkpoint import read_name_map

pytestmark = pytest.mark.faults

SECONDS = 10  # of loading one input, at most
ROOM = 32 << 20  # bytes of memory of a loader, at most, besides 16 per byte of the file
PICTURE = 9 * images.MAX_PIXELS  # further bytes of memory of an image, at most: three copies as RGB
RUNS = ("os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.Popen", "pickle.find_class", "socket.connect")
KINDS = {
    "npy": 25,
    "image": 25,
    "cifar10": 10,
    "config": 10,
    "checkpoint": 6,
    "manifest": 6,
    "hdf5": 9,
    "torch": 12,
    "name_map": 10,
}
REFUSED = {}  # {kind: [bytes of inputs that were refused]}, for the command line


def settings_for(kind):
    """Return hypothesis's settings for a kind of input: KINDS[kind] thousand examples, 113,000 for all kinds."""
    return settings(
        max_examples=pick(1000, 8) * KINDS[kind], deadline=None, database=None, derandomize=True,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip


# What an input must not do


class Watch:
    """Records what this process runs, and what it writes outside a folder, inside the block of `over`."""

    def __init__(self):
        self.folder, self.seen = None, []
        sys.addaudithook(self._note)

    def _note(self, event, arguments):
        if self.folder is None:
            return
        foreign = event == "exec" and arguments[0].co_filename.startswith(("<string", "<unknown", "<stdin"))
        if event in RUNS or foreign:
            self.seen.append((event, str(arguments)[:200]))
        elif event == "open" and isinstance(arguments[0], str) and arguments[2] & (os.O_WRONLY | os.O_RDWR):
            inside = arguments[0].startswith((self.folder, "/proc/", "/dev/null"))
            self.seen += [] if inside else [(event, arguments[0])]

    @contextmanager
    def over(self, folder):
        self.folder, self.seen = str(folder), []
        try:
            yield
        finally:
            self.folder = None


@pytest.fixture(scope="module")
def watch():
    return Watch()


def memory(name):
    """Return the process's VmRSS or VmHWM (its highest since `forget_peak`) in bytes; 0 where it is not told."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(name))


def forget_peak():
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def outcome(read, path, watch, tally, kind, room=0):
    """Return what read() returned, or None if it raised InputError; assert that it did nothing forbidden."""
    forget_peak()
    before, began, found, wrong = memory("VmRSS"), time.monotonic(), None, None
    with watch.over(path.parent), warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        warnings.filterwarnings("ignore", category=DeprecationWarning)  # as Python does by itself
        warnings.filterwarnings("ignore", module="PIL")  # as the loaders' callers do: see images.suppress_warnings
        try:
            found = read()
        except InputError as error:
            if not str(error) or "Traceback" in str(error):
                wrong = "says nothing"
        except BaseException as error:
            wrong = f"raises {type(error).__name__}: {error}"
    seconds, taken = time.monotonic() - began, memory("VmHWM") - before
    if seconds > SECONDS:
        wrong = f"takes {seconds:.0f} s"
    if taken > ROOM + 16 * path.stat().st_size + room:
        wrong = f"takes {taken >> 20} MB for {path.stat().st_size} bytes"
    if watch.seen or warned:
        wrong = f"does {watch.seen}, warns {[str(each.message) for each in warned]}"
    tally(f"inputs: {kind}", lost=wrong is not None)
    assert wrong is None, f"{kind}: {wrong}"
    if found is None:
        keep = REFUSED.setdefault(kind, [])
        if len(keep) < 1000:
            keep.append(path.read_bytes())
    return found


# Damage to good files

EDITS = ("flip", "cut", "overwrite", "insert", "delete", "repeat", "number")
NUMBERS = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, (1 << 63) - 1, (1 << 64) - 1)


@st.composite
def damaged(draw, goods, least=0):
    """Return (index of a good file, its bytes after a few edits)."""
    which = draw(st.integers(0, len(goods) - 1))
    content = bytearray(goods[which])
    for _ in range(draw(st.integers(least, 3))):
        edit = draw(st.sampled_from(EDITS))
        near = draw(st.booleans())  # the beginning, where most of what is read is
        at = draw(st.integers(0, min(len(content), 200) if near else len(content)))
        length = draw(st.integers(1, 40))
        if edit == "flip" and at < len(content):
            content[at] ^= 1 << draw(st.integers(0, 7))
        elif edit == "cut":
            del content[at:]
        elif edit == "overwrite":
            content[at : at + length] = draw(st.binary(min_size=length, max_size=length))
        elif edit == "insert":
            content[at:at] = draw(st.binary(min_size=1, max_size=length))
        elif edit == "delete":
            del content[at : at + length]
        elif edit == "repeat":
            content[at:at] = content[at : at + length]
        elif edit == "number":
            size = draw(st.sampled_from((1, 2, 4, 8)))
            value = draw(st.sampled_from(NUMBERS)) & ((1 << 8 * size) - 1)
            content[at : at + size] = value.to_bytes(size, draw(st.sampled_from(("little", "big"))))
    return which, bytes(content)


def saved(array):
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


X = np.random.default_rng(0).integers(0, 256, (6, 4, 4, 3), np.uint8)
Y = np.array([0, 1, 2, 0, 1, 2])
LENGTHS = st.sampled_from((0, 1, 3, 4, 6, 10**6, 2**31, 2**63, 2**64))
SHAPE = st.one_of(st.integers(-(2**70), 2**70), LENGTHS, st.floats(), st.booleans())
SHAPE_ENTRIES = st.one_of(st.lists(SHAPE, max_size=6).map(tuple), st.just((6, 4, 4, 3)), SHAPE, st.text(max_size=5))
DESCR = st.one_of(
    st.sampled_from(("|u1", "<f4", ">f8", "<i8", "|b1", "|O", "<U4", "|V3", "<M8[s]", "<c8", "<f2", "|S0", "u1,O", "")),
    st.text(max_size=8),
    st.lists(st.tuples(st.text(max_size=3), st.sampled_from(("<f4", "|O", "|u1"))), max_size=3),
    st.integers(),
)


@st.composite
def any_header(draw):
    """Return a .npy file with any header."""
    order = draw(st.sampled_from((False, True, 0, "no")))
    header = {"descr": draw(DESCR), "fortran_order": order, "shape": draw(SHAPE_ENTRIES)}
    if draw(st.integers(0, 9)) == 0:
        header[draw(st.text(max_size=5))] = 1
    call = "__import__('os').system('touch HERE')"
    text = draw(st.one_of(st.just(repr(header)), st.text(max_size=60), st.just(call)))
    encoded = (text + draw(st.sampled_from(("\n", "", " " * 40 + "\n")))).encode("utf-8", "surrogatepass")
    version = draw(st.sampled_from(((1, 0), (2, 0), (3, 0), (1, 7), (0, 0), (255, 255))))
    length = len(encoded) + draw(st.sampled_from((0, 0, 0, 1, -1, 1000)))
    size = (max(0, length) & 0xFFFF).to_bytes(2, "little") if version[0] == 1 else max(0, length).to_bytes(4, "little")
    payload = draw(st.one_of(st.just(X.tobytes()), st.binary(max_size=400)))
    return 0, b"\x93NUMPY" + bytes(version) + size + encoded + payload


GOOD_ARRAYS = [saved(X), saved(X.astype(np.float32) / 255), saved(np.asfortranarray(X)), saved(X.astype(">i4"))]


def test_arrays(watch, tally, tmp_path):
    write_folder(tmp_path, x_train=X, y_train=Y, x_test=None, y_test=None)

    @settings_for("npy")
    @given(st.sampled_from(("x_train", "y_train")), st.one_of(damaged([*GOOD_ARRAYS, saved(Y)]), any_header()))
    def check(name, made):
        write_folder(tmp_path, x_train=X, y_train=Y, x_test=None, y_test=None)
        path, content = tmp_path / f"{name}.npy", made[1]
        path.unlink()
        path.write_bytes(content)
        dataset = outcome(lambda: load(str(tmp_path)), path, watch, tally, "npy")
        if dataset is None:
            return
        x, y = dataset.x_train, dataset.y_train
        assert len(x) == len(y) and x.dtype.kind in "uif" and set(y) == set(range(dataset.classes))
        mapped = path if name == "x_train" else tmp_path / "x_train.npy"
        assert mapped.read_bytes()[x.offset : x.offset + x.nbytes] == x.tobytes("A")
        low, high = float(x.min()), float(x.max())
        assert 0 <= low <= high <= dataset.pixel_max

    check()


# Images


def encoded(image, kind, **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def good_images():
    """Return {name: (bytes, suffix)} of images that must load."""
    pixels = np.random.default_rng(1).integers(0, 256, (9, 12, 3), np.uint8)
    rgb = Image.fromarray(pixels)
    exif = Image.Exif()
    exif[0x0112] = 6  # turned
    frames = [Image.fromarray(pixels), Image.fromarray(255 - pixels)]
    grey = Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
    return {
        "PNG": encoded(rgb, "PNG"),
        "PNG of 16 bits": encoded(grey, "PNG"),
        "PNG with a palette": encoded(rgb.convert("P"), "PNG"),
        "PNG with transparency": encoded(rgb.convert("RGBA"), "PNG"),
        "JPEG": encoded(rgb, "JPEG"),
        "JPEG in CMYK": encoded(rgb.convert("CMYK"), "JPEG"),
        "JPEG turned by EXIF": encoded(rgb, "JPEG", exif=exif),
        "progressive JPEG": encoded(rgb, "JPEG", progressive=True),
        "GIF, animated": encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]),
        "BMP": encoded(rgb, "BMP"),
        "WebP": encoded(rgb, "WEBP"),
    }


@pytest.mark.parametrize("name", good_images())
def test_odd_images_load(name, tmp_path):
    path = tmp_path / "wrong.png"  # whatever its ending says
    path.write_bytes(good_images()[name])
    shown = images.read_image(path)
    assert shown.shape == ((12, 9, 3) if "EXIF" in name else (9, 12, 3))
    expected = np.random.default_rng(1).integers(0, 256, (9, 12, 3), np.uint8)
    if name in ("PNG", "BMP", "PNG with transparency"):
        assert np.array_equal(shown, expected)
    if name == "PNG of 16 bits":
        assert np.array_equal(shown, np.repeat(expected[..., :1], 3, axis=2))


@st.composite
def declared(draw, good):
    """Return a PNG that declares another size, its checksum right."""
    import zlib

    sides = st.one_of(st.integers(0, 2**32 - 1), st.integers(0, 9000), st.integers(0, 12))
    head = draw(sides).to_bytes(4, "big") + draw(sides).to_bytes(4, "big")
    head += bytes([draw(st.sampled_from((1, 2, 4, 8, 16))), draw(st.sampled_from((0, 2, 3, 4, 6))), 0, 0, 0])
    return 0, good[:16] + head + zlib.crc32(b"IHDR" + head).to_bytes(4, "big") + good[33:]


def test_images(watch, tally, tmp_path):
    goods = list(good_images().values())
    anything = st.tuples(st.just(0), st.binary(max_size=300))
    path = tmp_path / "picture.jpg"

    @settings_for("image")
    @given(st.one_of(damaged(goods), damaged(goods), declared(goods[0]), anything))
    def check(made):
        path.write_bytes(made[1])
        found = outcome(lambda: images.read_image(path, (8, 8)), path, watch, tally, "image", PICTURE)
        if found is not None:
            assert (found.shape, found.dtype) == ((8, 8, 3), np.uint8)
        assert found is not None or made[1] not in goods

    check()


# CIFAR-10's archive


def small_members():
    """Return {name: bytes} of a whole archive of two records a batch."""
    return {name: content[: 2 * 3073] if name.endswith(".bin") else content for name, content in members().items()}


PATHS = st.sampled_from(("/etc/passwd", "../../HERE", "cifar-10-batches-bin/../../HERE", "C:\\HERE", "", "x" * 300))
LINKS = (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE, b"S")


@st.composite
def archives(draw):
    """Return the bytes of an archive with odd members."""
    files, others = small_members(), []
    for _ in range(draw(st.integers(0, 3))):
        name = draw(st.one_of(st.sampled_from(sorted(files)), PATHS, st.text(max_size=20)))
        what = draw(st.sampled_from(("bytes", "remove", "link", "twice", "size")))
        if what == "bytes":
            files[name] = draw(st.one_of(st.binary(max_size=300), st.just(files.get(name, b"")[:-1] + b"\xff")))
        elif what == "remove":
            files.pop(name, None)
        else:
            info = tarfile.TarInfo(name.replace("\0", "0"))
            info.type = draw(st.sampled_from(LINKS)) if what == "link" else tarfile.REGTYPE
            info.linkname = draw(PATHS)
            info.size = draw(st.sampled_from((0, 5, 2 * 3073, 10**9, 2**62))) if what == "size" else 0
            others.append(info)
    files = {name.replace("\0", "0").encode("utf-8", "replace").decode(): content for name, content in files.items()}
    return 0, packed(files, others)


def test_archives(watch, tally, tmp_path, monkeypatch):
    """Archives are checked even if their checksum is right."""
    for name, value in {"RECORDS": 2, "BATCH_BYTES": 2 * 3073}.items():
        monkeypatch.setattr(cifar10, name, value)
    monkeypatch.setattr(cifar10.download, "fetch", lambda *arguments, **options: None)
    good = packed(small_members())
    plain = gzip.decompress(good)
    zipped = damaged([plain]).map(lambda made: (0, gzip.compress(made[1], 1)))
    path = tmp_path / "cifar-10-binary.tar.gz"
    path.write_bytes(good)
    expected = cifar10.load(True, tmp_path)

    @settings_for("cifar10")
    @given(st.one_of(damaged([good]), zipped, archives()))
    def check(made):
        path.write_bytes(made[1])
        dataset = outcome(lambda: cifar10.load(True, tmp_path), path, watch, tally, "cifar10", len(plain))
        if dataset is not None:
            assert dataset.x_train.shape == expected.x_train.shape and dataset.y_train.max() < 10
        if made[1] == good:
            assert np.array_equal(dataset.x_train, expected.x_train)
        assert list(tmp_path.iterdir()) == [path]

    check()


# What a run wrote

VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)),
    max_leaves=4,
)


@st.composite
def changed(draw, good):
    """Return the JSON text of an object in which one value is changed or missing."""
    whole = inner = json.loads(good)
    key = draw(st.sampled_from(sorted(whole)))
    while isinstance(inner[key], dict) and inner[key] and draw(st.booleans()):
        inner = inner[key]
        key = draw(st.sampled_from(sorted(inner)))
    if draw(st.booleans()):
        inner[key] = draw(VALUES)
    else:
        del inner[key]
    return 0, json.dumps(whole).encode()


def opened(run, rows):
    """Read what a command reads of a run before its weights."""
    config = run.config()
    return config, recipe_from_dict(config["recipe"], run.config_path), run.dev_rows(rows)


def test_configs(watch, tally, trained_copy):
    run = Run(trained_copy, "tiny")
    good, split = run.config_path.read_bytes(), (run.path / "split.npz").read_bytes()

    @settings_for("config")
    @given(st.one_of(damaged([good]), damaged([good, split]), changed(good), changed(good)))
    def check(made):
        path = (run.config_path, run.path / "split.npz")[made[0]]
        run.config_path.write_bytes(good)
        (run.path / "split.npz").write_bytes(split)
        path.write_bytes(made[1])
        found = outcome(lambda: opened(run, 96), path, watch, tally, "config" if made[0] == 0 else "split")
        assert found is not None or made[1] not in (good, split)

    check()


def test_checkpoints(watch, tally, trained_copy, monkeypatch):
    """A damaged file is refused: by its sha256, or, where the manifest fits the damage, by the reader."""
    monkeypatch.setattr(checkpoint, "check_reader", lambda prefix, sha256: None)  # the reader itself is tried here
    run = Run(trained_copy, "tiny")
    folder = (run.path / "best").resolve()
    goods = {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
    names = [name for name in goods if name != "manifest.json"]
    _, values, _ = checkpoint.read_variables(run, "best", lambda name, shape: True)

    @settings_for("checkpoint")
    @given(st.sampled_from(names), st.booleans(), st.data())
    def check(name, hashed, data):
        content = data.draw(damaged([goods[name]], least=1))[1]
        for other, good in goods.items():
            (folder / other).write_bytes(good)
        (folder / name).write_bytes(content)
        if hashed:
            manifest = json.loads(goods["manifest.json"]) | {name: hashlib.sha256(content).hexdigest()}
            (folder / "manifest.json").write_text(json.dumps(manifest))

        def read():
            state = checkpoint.read_state(checkpoint.verify(run, "best"))
            return checkpoint.read_variables(run, "best", lambda name, shape: True), state

        found = outcome(read, folder / name, watch, tally, "checkpoint")
        if found is None:
            assert content != goods[name]
        else:
            assert hashed or content == goods[name]
            assert all(np.array_equal(array, values[key]) for key, array in found[0][1].items())

    check()


def test_manifests(watch, tally, trained_copy):
    run = Run(trained_copy, "tiny")
    path = (run.path / "best").resolve() / "manifest.json"
    good = path.read_bytes()

    @settings_for("manifest")
    @given(st.one_of(damaged([good]), changed(good), VALUES.map(lambda value: (0, json.dumps(value).encode()))))
    def check(made):
        path.write_bytes(made[1])
        found = outcome(lambda: checkpoint.verify(run, "best"), path, watch, tally, "manifest")
        if found is not None:
            assert json.loads(made[1]) == json.loads(good)
        assert found is not None or made[1] != good

    check()


# Weights


def test_keras_files(watch, tally, tmp_path):
    path = tmp_path / "weights.h5"
    values = arrays()
    goods = []
    for place, parts in (("", 0), ("model_weights", 3)):
        write_h5(path, layers_of(values), place, parts)
        goods.append(path.read_bytes())
    with h5py.File(path, "r") as file:  # where the numbers are: elsewhere an edit is to what describes them
        assert "model_weights" in file

    @settings_for("hdf5")
    @given(damaged(goods))
    def check(made):
        path.unlink()
        path.write_bytes(made[1])
        found = outcome(lambda: read_keras(path, SHAPES).values, path, watch, tally, "hdf5")
        if found is not None:
            for name, array in found.items():
                assert array.shape == SHAPES[name] and array.dtype == np.float32 and np.isfinite(array).all()
        if made[1] in goods:
            assert all(np.array_equal(found[name], array) for name, array in values.items())

    check()


def test_name_maps(watch, tally, tmp_path):
    path = tmp_path / "map.json"
    good = b'{"W1": "conv1_1/w", "b1:0": "conv1_1/b"}'
    values = VALUES.map(lambda value: (0, json.dumps(value).encode()))

    @settings_for("name_map")
    @given(st.one_of(damaged([good]), changed(good), values))
    def check(made):
        path.write_bytes(made[1])
        found = outcome(lambda: read_name_map(str(path)), path, watch, tally, "name map")
        if found is not None:
            assert all(isinstance(name, str) for pair in found.items() for name in pair)
        if made[1] == good:
            assert found == {"W1": "conv1_1/w", "b1": "conv1_1/b"}

    check()


PIECES = (
    b"\x80\x02", b".", b"(", b")", b"}", b"]", b"N", b"\x88", b"\x89", b"t", b"\x85", b"\x86", b"\x87", b"R", b"Q",
    b"b", b"s", b"u", b"a", b"e", b"K\x07", b"J\xff\xff\xff\xff", b"q\x00", b"h\x00", b"r\xff\xff\xff\x7f",
    b"cos\nsystem\n",
    b"c__builtin__\neval\n", b"ctorch._utils\n_rebuild_tensor_v2\n", b"ctorch\nFloatStorage\n",
    b"ccollections\nOrderedDict\n", b"X\x04\x00\x00\x00name", b"X\xff\xff\xff\xff", b"\x8e\xff\xff\xff\x7f" + bytes(4),
    b"ios\nsystem\n", b"o", b"\x81", b"\x92", b"0", b"2", b"1", b"I99999999999999999999\n", b"\x8b\xff\xff\xff\x7f",
)  # fmt: skip


def test_torch_files(watch, tally, tmp_path):
    path = tmp_path / "weights.pth"
    good = torch_file()
    two = mapping(a=tensor(), b=tensor((3,), (2,), 1, of=storage()))
    goods = [good, torch_file(two)]
    expected = np.arange(6, dtype=np.float32).reshape(2, 3)
    pieces = st.lists(st.sampled_from(PIECES), max_size=30)
    pickled = pieces.map(lambda parts: (0, torch_file(b"\x80\x02" + b"".join(parts) + b".")))

    @settings_for("torch")
    @given(st.one_of(damaged(goods), pickled))
    def check(made):
        path.write_bytes(made[1])
        found = outcome(lambda: read_torch(path), path, watch, tally, "torch")
        if found is not None:
            assert all(array.dtype in (np.float32, np.int64) for array in found.values())
        if made[1] in goods:
            assert np.array_equal(found["a"], expected)

    check()


def test_the_watch_sees(watch, tmp_path):
    """The watch notices what must not happen."""
    with watch.over(tmp_path / "inside"):
        (tmp_path / "outside").write_text("x")
        exec(compile("1", "<string>", "exec"))
        os.system("true")
    assert [event for event, _ in watch.seen] == ["open", "exec", "os.system"]
    forget_peak()
    before = memory("VmRSS")
    block = np.ones(64 << 20, np.uint8)
    if before:
        assert memory("VmHWM") - before > 60 << 20
    del block


# Through the command line

FROM_OUTSIDE = ("npy", "image", "folder", "config", "split", "checkpoint", "manifest", "hdf5")


def test_the_command_line(trained, tally, tmp_path):
    """Inputs that were refused above end a command with status 2 and one line, each in its own process."""
    draw, kinds = random.Random(0), set()
    for number in range(pick(200, 4)):
        kind = FROM_OUTSIDE[number * pick(1, 2) % len(FROM_OUTSIDE)]
        known = REFUSED.get("image" if kind == "folder" else kind)
        if not known:  # another test of this file was left out
            continue
        kinds.add(kind)
        content, place = draw.choice(known), tmp_path / str(number)
        shutil.copytree(trained[0], place / "runs", symlinks=True)
        data, best = place / "data", (place / "runs" / "tiny" / "best").resolve()
        write_folder(data, x_train=X, y_train=Y)
        training = ["train", f"--data={data}", f"--checkpoints={place}", *TINY]
        scoring = ["eval", f"--checkpoints={place / 'runs'}", "--run=tiny"]
        match kind:
            case "npy":
                (data / "x_train.npy").write_bytes(content)
                (data / "y_train.npy").write_bytes(content)
                asked = training
            case "image":
                (place / "picture.png").write_bytes(content)
                asked = ["predict", f"--checkpoints={place / 'runs'}", place / "picture.png"]
            case "folder":
                for name in ("a/1.png", "b/1.jpg"):
                    (place / "photos" / name).parent.mkdir(parents=True)
                    (place / "photos" / name).write_bytes(content)
                asked = [*training, f"--data={place / 'photos'}", f"--cache_dir={place}"]
            case "config" | "split":
                (place / "runs" / "tiny" / {"config": "config.json", "split": "split.npz"}[kind]).write_bytes(content)
                asked = scoring
            case "checkpoint":
                path = draw.choice(sorted(best.glob("model.ckpt.*")))
                path.write_bytes(content)
                asked = scoring
            case "manifest":
                (best / "manifest.json").write_bytes(content)
                asked = scoring
            case "hdf5":
                (place / "weights.h5").write_bytes(content)
                asked = [*training, f"--weights={place / 'weights.h5'}"]
        status, _, err = run(*asked)
        lost = status != 2 or not one_line(err)
        tally("inputs through the command line", lost)
        assert not lost, (kind, status, err)
        shutil.rmtree(place)
    if not kinds:
        pytest.skip("no input was refused before; run the tests of this file together")
