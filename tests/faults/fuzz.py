"""Coverage-guided fuzzing of the readers that face strangers: python tests/faults/fuzz.py READER RUNS [options].

atheris (libFuzzer) changes valid files, keeps the changes that reach new lines of the readers, and stops at the first
input that raises another error than InputError, takes more than 10 s or 2 GB, or runs a program. The last lines then
name the input. Options are libFuzzer's, such as -seed=1.
"""

import dataclasses
import json
import os
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

SECONDS, MEGABYTES = 10, 2048  # for one input
LONGEST = 1 << 14  # bytes of an input
READERS = {  # {reader: inputs of the long form}: a million in all
    "npy": 280_000,
    "torch": 280_000,
    "config": 150_000,
    "name_map": 150_000,
    "hdf5": 80_000,
    "image": 60_000,
}
INSTRUMENTED = (
    "graphcnn.data.npy", "graphcnn.data.images", "graphcnn.config.recipe", "graphcnn.graphs.validate",
    "graphcnn.storage.run", "graphcnn.weights.pytorch", "graphcnn.weights.keras_hdf5",
    "graphcnn.weights.tf1_checkpoint",
    "numpy.lib._format_impl", "pickletools", "json.decoder", "json.scanner", "PIL.JpegImagePlugin",
    "PIL.PngImagePlugin", "PIL.GifImagePlugin", "PIL.BmpImagePlugin", "h5py._hl.group", "h5py._hl.dataset",
)  # fmt: skip
MEMORY = Path("/dev/shm")  # a folder in memory, on Linux
RUNS = ("os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.Popen", "pickle.find_class", "socket.connect")


class Forbidden(BaseException):
    """A reader did what no reader may do."""


def refuse_programs(event, arguments):
    """Raise Forbidden for a program that a reader runs. This is an audit hook."""
    if event in RUNS or (event == "exec" and arguments[0].co_filename.startswith(("<string", "<unknown", "<stdin"))):
        raise Forbidden(event, str(arguments)[:200])


def reader_of(name, folder):
    """Return (function that reads an input from bytes, {name of a valid file: its bytes})."""
    import numpy as np
    import weight_files
    from test_inputs import GOOD_ARRAYS, good_images

    from graphcnn.config.recipe import recipe_from_dict
    from graphcnn.data import images, npy
    from graphcnn.data.checks import check_images
    from graphcnn.graphs.validate import validate_inference
    from graphcnn.storage.run import Run
    from graphcnn.weights.keras_hdf5 import read_keras
    from graphcnn.weights.pytorch import read_torch
    from graphcnn.weights.tf1_checkpoint import read_name_map

    path = folder / "input"
    run = Run(folder, "run")
    shared = weight_files.mapping(
        a=weight_files.tensor(), b=weight_files.tensor((3,), (2,), 1, of=weight_files.storage())
    )

    def at_path(read):
        def read_bytes(content):
            path.write_bytes(content)
            return read(path)

        return read_bytes

    def read_config(content):
        run.config_path.write_bytes(content if content[:1] in b"{" else changed_config(content))
        found = run.config()
        validate_inference(recipe_from_dict(found["recipe"], run.config_path), tuple(found["data"]["image_shape"]))

    def read_array(file):
        check_images(npy.read_array(file), file)

    match name:
        case "npy":
            return at_path(read_array), GOOD_ARRAYS
        case "image":
            return at_path(lambda file: images.read_image(file, (8, 8))), list(good_images().values())
        case "torch":
            return at_path(read_torch), [weight_files.torch_file(), weight_files.torch_file(shared)]
        case "name_map":
            return at_path(lambda file: read_name_map(str(file))), [b'{"W1": "conv1/w", "b1:0": "conv1/b"}', b"{}"]
        case "hdf5":
            arrays = {"conv1_1/w": np.ones((3, 3, 3, 8), "f4"), "conv1_1/b": np.ones(8, "f4")}
            shapes = {key: array.shape for key, array in arrays.items()}
            layers = weight_files.layers_of(arrays)
            files = [
                weight_files.write_h5(folder / f"{n}.h5", layers, *top)
                for n, top in enumerate((("",), ("model_weights", 2)))
            ]
            return at_path(lambda file: read_keras(file, shapes)), [file.read_bytes() for file in files]
        case "config":
            run.path.mkdir()
            values = [value for _, _, value in places(config())]
            changes = [bytes([n]) + json.dumps(value).encode() for n, value in enumerate(values)]
            return read_config, [json.dumps(config()).encode(), *changes]


def places(values):
    """Return [(object, key, value)] of all values in an object of objects."""
    found = []
    for key, value in values.items():
        found += [(values, key, value), *(places(value) if isinstance(value, dict) else [])]
    return found


def changed_config(content):
    """Return a config.json in which one value is replaced: the number of its place, then JSON or text."""
    whole = config()
    found = places(whole)
    values, key, _ = found[content[0] % len(found)]
    try:
        values[key] = json.loads(content[1:])
    except (ValueError, RecursionError):
        values[key] = content[1:].decode("latin-1")
    return json.dumps(whole).encode()


def config():
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
    """Fuzz a reader with a number of inputs. libFuzzer ends the process."""
    import atheris

    with atheris.instrument_imports(include=list(INSTRUMENTED), enable_loader_override=False):
        folder = Path(tempfile.mkdtemp(prefix="graphcnn-fuzz-", dir=MEMORY if MEMORY.is_dir() else None))
        read, goods = reader_of(name, folder)
    from graphcnn.common.errors import InputError

    corpus = folder / "corpus"
    corpus.mkdir()
    for n, good in enumerate(goods):
        read(good)
        (corpus / str(n)).write_bytes(good)
    sys.addaudithook(refuse_programs)

    def test_one(content):
        with suppress(InputError):
            read(content)

    limits = [f"-timeout={SECONDS}", f"-rss_limit_mb={MEGABYTES}", f"-max_len={LONGEST}", f"-artifact_prefix={folder}/"]
    atheris.Setup(["fuzz", f"-runs={runs}", *limits, *options, str(corpus)], test_one)
    atheris.Fuzz()


if __name__ == "__main__":
    tests = Path(__file__).resolve().parents[1]
    sys.path[:0] = [str(tests.parent), str(tests), str(tests / "faults")]
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    main(*sys.argv[1:])
