"""Verify a submission with TensorFlow and NumPy only, without graphcnn.

  python -I grader.py [--tta] [--rows N] [--submission FOLDER] /path/to/x_test.npy [result.npy]

The program checks that each row of result.npy has probabilities that sum to 1. It imports model.ckpt.meta from the
folder of the submission, restores model.ckpt, feeds x:0 (with --tta it also feeds True to tta:0) and compares
hypothesis:0 with result.npy: all rows, or with --rows a random sample of them. The last line of its output is "passed"
or "FAILED" with the largest difference. The exit status is 0 if that difference is at most 1e-5.

The graph in model.ckpt.meta is a program, which can read and write files. Run it only where you would run a program
from its author. The author can also change the grader.py and the x_test.npy of the submission, so graders must use
their own copies. Scoring result.npy needs no graph: ./run.sh eval --predictions=result.npy --labels=y_test.npy
"""

from __future__ import annotations

import argparse
import hashlib
import math
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

TOLERANCE = 1e-5  # largest difference of a probability
SUM_TOLERANCE = 1e-3  # largest difference between the sum of a row and 1
SAMPLE_SEED = 1  # of the rows that --rows chooses
BATCH = 250  # largest number of images in a batch
BATCH_PIXELS = 1 << 20  # largest number of pixels in a batch, to limit the memory
BATCH_BYTES = 1 << 28  # largest size of a tensor of a batch
MOST_VIEWS = 6  # largest number of views of an image with --tta
BLOCK = 1 << 20  # bytes read at once
WARNING = (
    "warning: this command runs the graph of the submission, and the graph is a program; the verdict proves nothing if "
    "you do not trust the author, who can change the graph, grader.py and x_test.npy"
)


@contextmanager
def quiet_stderr() -> Iterator[None]:
    """Discard what the block writes to stderr, including TensorFlow's C++ code; print it if the block fails."""
    with tempfile.TemporaryFile() as output:
        stderr = os.dup(2)
        os.dup2(output.fileno(), 2)
        try:
            yield
        except BaseException:
            output.seek(0)
            os.write(stderr, output.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


@contextmanager
def without_wildcards(folder: Path) -> Iterator[Path]:
    """Yield a path of a folder without the characters that TensorFlow takes as wildcards of a checkpoint's path."""
    if not set("*?[\\") & set(str(folder)):
        yield folder
        return
    with tempfile.TemporaryDirectory() as temporary:
        link = Path(temporary) / "link"
        link.symlink_to(folder, target_is_directory=True)
        yield link


def tensor_bytes(graph: Any) -> Iterator[int]:
    """Yield the bytes of one image in each tensor of a tf.Graph whose first dimension is the number of images."""
    for operation in graph.get_operations():
        for tensor in operation.outputs:
            shape = tensor.shape.as_list() if tensor.shape.rank else []
            if shape and shape[0] is None and None not in shape[1:]:
                yield math.prod(shape[1:]) * tensor.dtype.size


def probabilities(folder: Path, images: np.ndarray, tta: bool) -> np.ndarray:
    """Return the softmax outputs of the graph of a submission, float32 [N, K].

    Args:
        folder: the submission.
        images: [N, H, W], [N, H, W, 1] or [N, H, W, 3].
        tta: whether to feed True to tta:0.
    """
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"  # result.npy was computed on a CPU; a GPU rounds float32 products
    import tensorflow as tf

    tf.compat.v1.disable_eager_execution()
    with tf.compat.v1.Session() as session, without_wildcards(folder) as readable:
        saver = tf.compat.v1.train.import_meta_graph(str(readable / "model.ckpt.meta"))
        saver.restore(session, str(readable / "model.ckpt"))
        outputs, tta_feed = [], {"tta:0": True} if tta else {}
        image_bytes = max(tensor_bytes(session.graph), default=1) * (MOST_VIEWS if tta else 1)
        size = max(1, min(BATCH, BATCH_PIXELS // math.prod(images.shape[1:3]), BATCH_BYTES // image_bytes))
        for start in range(0, len(images), size):
            batch = np.asarray(images[start : start + size], np.float32)
            if batch.ndim == 3:
                batch = batch[..., None]
            if batch.shape[3] == 1:  # grey images: the graph takes three channels
                batch = np.repeat(batch, 3, axis=3)
            outputs.append(session.run("hypothesis:0", {"x:0": batch, **tta_feed}))
    return np.concatenate(outputs)


def sample(images: int, rows: int | None) -> np.ndarray:
    """Return the indices of `rows` images, chosen at random with a fixed seed, in order; all images for None."""
    if rows is None or rows >= images:
        return np.arange(images)
    return np.sort(np.random.default_rng(SAMPLE_SEED).choice(images, rows, replace=False))


def compare(folder: Path, images: np.ndarray, expected: np.ndarray, tta: bool, rows: int | None) -> tuple[bool, str]:
    """Return (whether the graph of a submission reproduces its result, the reason).

    Args:
        folder: the submission.
        images: [N, H, W], [N, H, W, 1] or [N, H, W, 3].
        expected: the result, float [N, K].
        tta: whether to feed True to tta:0.
        rows: number of images whose outputs are compared; None for all images.
    """
    if expected.ndim != 2 or expected.dtype.kind != "f" or len(expected) != len(images):
        actual = f"{expected.dtype} {expected.shape}"
        return False, f"the result is {actual}, expected one float row for each of {len(images)} images"
    is_wrong = ~((expected >= 0).all(axis=1) & (np.abs(expected.sum(axis=1) - 1) <= SUM_TOLERANCE))  # also for NaN
    if is_wrong.any():
        return False, f"row {is_wrong.argmax()} of the result is no list of probabilities that sum to 1"
    chosen = sample(len(images), rows)
    try:
        with quiet_stderr():
            outputs = probabilities(folder, images[chosen], tta)
    except Exception as error:  # TensorFlow raises many types for damaged files
        return False, f"the graph cannot be run ({(str(error).splitlines() or [type(error).__name__])[0]})"
    if outputs.shape[1:] != expected.shape[1:]:
        return False, f"the graph computes {outputs.shape[1]} numbers for an image, the result has {expected.shape[1]}"
    difference = float(np.abs(outputs - expected[chosen]).max())
    some = "" if len(chosen) == len(images) else f" of {len(images)}"
    reason = f"largest difference {difference:.3g} over {len(chosen)}{some} images, limit {TOLERANCE:g}"
    return difference <= TOLERANCE, reason


def open_array(path: Path, parser: argparse.ArgumentParser) -> np.ndarray:
    """Return the memory-mapped array of a .npy file; end the program with status 2 if this fails."""
    if not path.is_file():
        parser.error(f"{path}: no such file")
    try:
        return np.lib.format.open_memmap(path, mode="r")
    except (OSError, ValueError) as error:
        parser.error(f"{path}: not a .npy file of numbers ({error})")


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file as hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def positive(text: str) -> int:
    """Return a positive integer; raise a ValueError for other text."""
    if (number := int(text)) < 1:
        raise ValueError(text)
    return number


def main() -> int:
    """Return the exit status: 0 if the graph reproduces the result, else 1; bad arguments end with 2."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path, help="path of your own x_test.npy")
    parser.add_argument("result", type=Path, nargs="?", default="result.npy", help="in FOLDER (default: result.npy)")
    parser.add_argument("--tta", action="store_true", help="use test-time augmentation, as submit --tta did")
    text = "compare the outputs of N images, chosen at random with a fixed seed (default: all images)"
    parser.add_argument("--rows", metavar="N", type=positive, help=text)
    own, text = Path(__file__).resolve().parent, "folder of the submission (default: the folder of this file)"
    parser.add_argument("--submission", metavar="FOLDER", type=Path, default=own, help=text)
    arguments = parser.parse_args()
    folder = arguments.submission.resolve()
    images, expected = (open_array(path, parser) for path in (arguments.images, folder / arguments.result))
    print(WARNING)
    if folder in arguments.images.resolve().parents:
        print("warning: x_test.npy is in the folder of the submission, so the author may have changed it")
    print(f"x_test.npy: sha256 {sha256_of(arguments.images)}", flush=True)
    passed, reason = compare(folder, images, expected, arguments.tta, arguments.rows)
    print(f"{'passed' if passed else 'FAILED'}: {reason}")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
