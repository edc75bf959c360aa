"""Commands refuse FIFOs, devices and too large files with one line; they do not wait or fill the memory."""

import os
import signal
from contextlib import contextmanager

import numpy as np
import pytest
from conftest import TINY, one_line, tiny_arrays, write_folder
from PIL import Image

pytestmark = pytest.mark.faults

SECONDS = 60  # time limit of a command


@contextmanager
def time_limit():
    def stop(*_):
        raise TimeoutError("the command waits")

    previous = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)


def zeros(path):
    path.symlink_to("/dev/zero")


def sparse(path):
    with path.open("wb") as file:
        file.truncate(1 << 40)


KINDS = {os.mkfifo: "is a FIFO, expected a regular file", zeros: "is a device, expected a regular file"}
DATA = ("x_train.npy", "y_train.npy", "x_test.npy", "y_test.npy", "class_names.txt")


def refused(outcome, path, words):
    assert (outcome.status, one_line(outcome.err)) == (2, True), outcome.err
    assert (str(path) in outcome.err or str(path.resolve()) in outcome.err) and words in outcome.err, outcome.err


def replace(path, kind):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    kind(path)
    return path


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("name", DATA)
def test_data(name, kind, trained_copy, tmp_path, command):
    data = write_folder(tmp_path / "data")
    path = replace(data / name, kind)
    arguments = ("--run=tiny", f"--checkpoints={trained_copy}", f"--data={data}")
    split = "--split=test" if "test" in name else "--split=dev"
    with time_limit():
        refused(command("eval", *arguments, split), path, KINDS[kind])


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_images_and_arrays(kind, trained, tmp_path, command):
    image, array = replace(tmp_path / "image.png", kind), replace(tmp_path / "array.npy", kind)
    with time_limit():
        refused(command("predict", f"--checkpoints={trained[0]}", image), image, KINDS[kind])
        refused(command("predict", f"--checkpoints={trained[0]}", f"--array={array}"), array, KINDS[kind])


def test_an_image_in_a_folder(tmp_path, command):
    pixels = tiny_arrays(4)[0]
    for n, name in enumerate(("a/0.png", "a/1.png", "b/0.png", "b/1.png")):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels[n]).save(tmp_path / "photos" / name)
    path = replace(tmp_path / "photos" / "a" / "1.png", os.mkfifo)
    common = [f"--data={tmp_path / 'photos'}", f"--checkpoints={tmp_path}", f"--cache_dir={tmp_path}", *TINY]
    with time_limit():
        refused(command("train", *common, "--run=new"), path, "expected only .png, .jpg, .jpeg, .bmp")


@pytest.mark.parametrize("kind", [*KINDS, sparse], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("name", ["w.h5", "map.json", "model.ckpt.data-00000-of-00001"])
def test_weights(name, kind, trained, tmp_path, command, monkeypatch):
    prefix = tmp_path / "model.ckpt"
    for file in (trained[0] / "tiny" / "best").resolve().glob("model.ckpt.*"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    path = replace(tmp_path / name, kind)
    flags = {"w.h5": [f"--weights={path}"], "map.json": [f"--weights={prefix}", f"--name_map={path}"]}
    arguments = flags.get(name, [f"--weights={prefix}"])
    words = "more than 16 GiB" if name.startswith("model") else "expected a file of at most 4 GiB"
    words = KINDS.get(kind, "is longer than 1,048,576 bytes" if name == "map.json" else words)
    problem = prefix if kind is sparse and name.startswith("model") else path
    common = [f"--data={trained[1]}", f"--checkpoints={tmp_path}", *TINY, "--run=new"]
    with time_limit():
        refused(command("train", *common, *arguments), problem, words)
    assert not (tmp_path / "new" / "config.json").exists()


def test_a_large_array_of_labels_is_compared_with_the_images(tmp_path, command):
    """A sparse y_train.npy of 2^36 labels takes no memory: it is refused by its number of labels."""
    data = write_folder(tmp_path / "data")
    with (data / "y_train.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<i8", "fortran_order": False, "shape": (1 << 36,)})
        file.truncate(file.tell() + (8 << 36))
    with time_limit():
        outcome = command("train", f"--data={data}", f"--checkpoints={tmp_path}", *TINY, "--run=new")
    refused(outcome, data / "y_train.npy", "labels for 96 images")
