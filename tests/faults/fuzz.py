"""Coverage-guided fuzzing of readers of untrusted files: python tests/faults/fuzz.py READER RUNS [options].

atheris (libFuzzer) changes valid files, keeps the changes that reach new lines of the readers, and stops at the first
input that raises another error than InputError, takes more than 10 s or 2 GB, or runs a program. The last lines then
name the input. Options are libFuzzer's, such as -seed=1.
"""

import dataclasses
import json
import os
import random
import shutil
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

SECONDS, MEGABYTES = 10, 2048  # for one input
LONGEST = 1 << 14  # bytes of an input
INSTRUMENTED = (
    "graphcnn.data.npy", "graphcnn.data.images", "graphcnn.config.recipe", "graphcnn.graphs.validate",
    "graphcnn.storage.run", "graphcnn.weights.pytorch", "graphcnn.weights.keras_hdf5",
    "graphcnn.weights.tf1_checkpoint",
    "numpy.lib._format_impl", "pickletools", "json.decoder", "json.scanner", "PIL.JpegImagePlugin",
    "PIL.PngImagePlugin", "PIL.GifImagePlugin", "PIL.BmpImagePlugin", "h5py._hl.group", "h5py._hl.dataset",
)  # fmt: skip
MEMORY = Path("/dev/shm")  # a folder in memory, on Linux
RUNS = ("os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.Popen", "pickle.find_class", "socket.connect")


JSON = (
    b"null", b"true", b"false", b"NaN", b"-1", b"1.5", b"1e999", b"1024", b"65536", b"2147483648", b"1" + 400 * b"0",
    b'""', b'"x"', b'"\\ud800"', b'"\\u0000"', b"[]", b"{}", b"[1, 2]", b'{"a": 1}', b"0", b"1", b"16", b"0.5",
)  # fmt: skip
SIZES = (0, 1, 1, 2, 3, 6, 7, 2**31 - 1, -1)


class Forbidden(BaseException):
    """A reader ran a program, loaded a class of a pickle, or opened a connection."""


def refuse_programs(event, arguments):
    """Raise Forbidden if a reader does what RUNS lists; an audit hook."""
    if event in RUNS or (event == "exec" and arguments[0].co_filename.startswith(("<string", "<unknown", "<stdin"))):
        raise Forbidden(event, str(arguments)[:200])


class Target(NamedTuple):
    """A reader.

    path: the file that it reads. valid_files: contents of valid files. read: read() reads the file and asserts that
    the result is possible. draw: draw(generator) returns the content of a file with the right format and random values;
    None if all inputs are valid files with changed bytes.
    """

    path: Path
    valid_files: list[bytes]
    read: Callable[[], None]
    draw: Callable[[random.Random], bytes] | None = None


def npy(folder):
    from test_inputs import GOOD_ARRAYS

    from graphcnn.data.checks import check_images
    from graphcnn.data.npy import read_array

    path = folder / "x_train.npy"

    def read():
        array = read_array(path)
        pixel_max = check_images(array, path)
        assert path.read_bytes()[array.offset : array.offset + array.nbytes] == array.tobytes("A")
        assert 0 <= array.min() <= array.max() <= pixel_max

    def draw(generator):
        shape = tuple(generator.choice(SIZES) for _ in range(generator.randrange(6)))
        descr = generator.choice(("|u1", "<f4", ">f8", "<i8", "|O", "<U4", "|V3", "|S0", "|b1", "<M8[s]"))
        header = {"descr": descr, "fortran_order": generator.random() < 0.5, "shape": shape}
        text = repr(header).encode() + b"\n"
        return b"\x93NUMPY\1\0" + len(text).to_bytes(2, "little") + text + generator.randbytes(generator.randrange(99))

    return Target(path, GOOD_ARRAYS, read, draw)


def image(folder):
    from test_inputs import good_images

    from graphcnn.data.images import read_image

    path = folder / "image.png"

    def read():
        pixels = read_image(path, (8, 8))
        assert (pixels.shape, pixels.dtype) == ((8, 8, 3), "uint8")

    return Target(path, list(good_images().values()), read)


def torch(folder):
    import numpy as np
    from weight_files import mapping, storage, tensor, torch_file

    from graphcnn.weights.pytorch import read_torch

    path = folder / "weights.pth"
    shared = mapping(a=tensor(), b=tensor((3,), (2,), 1, of=storage()))

    def read():
        arrays = read_torch(path)
        assert all(array.dtype in ("float32", "int64") for array in arrays.values())
        assert sum(array.nbytes for array in arrays.values()) <= 2 * path.stat().st_size

    def draw(generator):
        def draw_tensor():
            rank = generator.randrange(4)
            sizes = [[generator.choice(SIZES) for _ in range(rank)] for _ in range(2)]
            of = storage(generator.choice("01"), generator.choice((6, 6, 6, 0, 100)))
            return tensor(*sizes, generator.choice(SIZES), of=of)

        numbers = {key: np.zeros(generator.choice((6, 100)), "<f4") for key in ("0", "01"[: generator.randint(1, 2)])}
        return torch_file(mapping(**{f"a{n}": draw_tensor() for n in range(generator.choice((1, 2, 40)))}), numbers)

    return Target(path, [torch_file(), torch_file(shared)], read, draw)


def name_map(folder):
    from graphcnn.weights.tf1_checkpoint import read_name_map

    path = folder / "map.json"

    def read():
        names = read_name_map(str(path))
        assert all(type(name) is str for pair in names.items() for name in pair)
        assert len(set(names.values())) == len(names)

    def draw(generator):
        names = (generator.choice((b'"W1"', b'"W1:0"', b'"W2"', *JSON)) for _ in range(4))
        return b"{%b: %b, %b: %b}" % tuple(names)

    return Target(path, [b'{"W1": "conv1/w", "b1:0": "conv1/b"}', b"{}"], read, draw)


def hdf5(folder):
    import numpy as np
    from weight_files import arrays, layers_of, write_h5

    from graphcnn.weights.keras_hdf5 import read_keras

    path = folder / "weights.h5"
    shapes = {"conv1_1/w": (3, 3, 3, 8), "conv1_1/b": (8,)}
    layers = layers_of(arrays(shapes))
    files = [write_h5(folder / "a.h5", layers), write_h5(folder / "b.h5", layers, "model_weights", 2)]

    def read():
        for name, array in read_keras(path, shapes).values.items():
            assert (array.shape, array.dtype) == (shapes[name], "float32") and np.isfinite(array).all()

    return Target(path, [file.read_bytes() for file in files], read)


def config(folder):
    from graphcnn.config.parse import recipe_from_dict
    from graphcnn.graphs.validate import validate_inference
    from graphcnn.storage.run import Run

    run = Run(folder, "run")
    run.path.mkdir()
    values = [value for _, _, value in entries_of(good_config())]
    changes = [bytes([n]) + json.dumps(value).encode() for n, value in enumerate(values)]

    def read():
        content = run.config_path.read_bytes()
        if content[:1] not in (b"", b"{"):
            run.config_path.write_bytes(changed_config(content))
        whole = run.config()
        validate_inference(recipe_from_dict(whole["recipe"], run.config_path), tuple(whole["data"]["image_shape"]))

    def draw(generator):
        return bytes([generator.randrange(len(values))]) + generator.choice(JSON)

    return Target(run.config_path, [json.dumps(good_config()).encode(), *changes], read, draw)


def entries_of(values):
    """Return [(object, key, value)] of all values in an object of objects."""
    entries = []
    for key, value in values.items():
        entries += [(values, key, value), *(entries_of(value) if isinstance(value, dict) else [])]
    return entries


def changed_config(content):
    """Return a config.json with one other value. The first byte of `content` selects it; the rest is JSON or text."""
    whole = good_config()
    entries = entries_of(whole)
    values, key, _ = entries[content[0] % len(entries)]
    try:
        values[key] = json.loads(content[1:])
    except (ValueError, RecursionError):
        values[key] = content[1:].decode("latin-1")
    return json.dumps(whole).encode()


def good_config():
    """Return the object of a valid config.json."""
    from graphcnn.config.recipe import Recipe

    data = {
        "source": "digits", "fingerprint": "0" * 64, "pixel_max": 255, "image_shape": [8, 8],
        "options": {"image_size": 32, "skip_broken": False, "cache_dir": None, "data_cache": None},
    }  # fmt: skip
    split = {"kind": "first", "fraction": 0.1}
    values = {"recipe_name": "assignment", "recipe": dataclasses.asdict(Recipe()), "data": data, "split": split}
    return values | {"class_names": ["a", "b"]}


def main(name, runs, *options):
    """Fuzz a reader with `runs` inputs in a child process; return its exit status. A bad input is kept."""
    folder = Path(tempfile.mkdtemp(prefix="graphcnn-fuzz-", dir=MEMORY if MEMORY.is_dir() else None))
    child = os.fork()
    if child == 0:
        fuzz(name, runs, folder, options)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status == 0:
        shutil.rmtree(folder)
    return status


def fuzz(name, runs, folder, options):
    """Fuzz a reader with files in a folder. libFuzzer ends the process."""
    import atheris

    with atheris.instrument_imports(include=list(INSTRUMENTED), enable_loader_override=False):
        target = READERS[name][0](folder)
        from graphcnn.common.errors import InputError

    corpus = folder / "corpus"
    corpus.mkdir()
    for n, content in enumerate(target.valid_files):
        target.path.write_bytes(content)
        target.read()
        (corpus / str(n)).write_bytes(content)
    sys.addaudithook(refuse_programs)

    def test_one(content):
        target.path.write_bytes(content)
        with suppress(InputError):
            target.read()

    def changed(content, longest, seed):
        generator = random.Random(seed)
        drawn = target.draw and generator.random() < 0.5
        return target.draw(generator)[:longest] if drawn else atheris.Mutate(content, longest)

    limits = [f"-timeout={SECONDS}", f"-rss_limit_mb={MEGABYTES}", f"-max_len={LONGEST}", f"-artifact_prefix={folder}/"]
    atheris.Setup(["fuzz", f"-runs={runs}", *limits, *options, str(corpus)], test_one, custom_mutator=changed)
    atheris.Fuzz()


READERS = {  # {reader: (its target, inputs of the long form)}: a million inputs in all
    "npy": (npy, 280_000),
    "torch": (torch, 280_000),
    "config": (config, 150_000),
    "name_map": (name_map, 150_000),
    "hdf5": (hdf5, 80_000),
    "image": (image, 60_000),
}

if __name__ == "__main__":
    tests = Path(__file__).resolve().parents[1]
    sys.path[:0] = [str(tests.parent), str(tests), str(tests / "faults")]
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.exit(main(*sys.argv[1:]))
