"""Verify a submission with TensorFlow and NumPy only, without graphcnn.

  python grader.py [--tta] /path/to/x_test.npy [result.npy]

The program imports model.ckpt.meta from its own folder, restores model.ckpt, feeds x:0 (with --tta it also feeds True
to tta:0) and compares hypothesis:0 with result.npy. It prints the largest difference and "passed" or "FAILED". The
exit status is 0 if that difference is at most 1e-5.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import numpy as np

TOLERANCE = 1e-5  # largest difference of a probability
BATCH = 250  # number of images in a batch
FOLDER = Path(__file__).resolve().parent


def probabilities(images: np.ndarray, tta: bool) -> np.ndarray:
    """Return the softmax outputs of the graph beside this file, float32 [N, K].

    Args:
        images: [N, H, W], [N, H, W, 1] or [N, H, W, 3].
        tta: whether to feed True to tta:0.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # no notes about a GPU that is not there
    import tensorflow as tf

    tf.compat.v1.disable_eager_execution()
    with tf.compat.v1.Session() as session:
        saver = tf.compat.v1.train.import_meta_graph(str(FOLDER / "model.ckpt.meta"))
        saver.restore(session, str(FOLDER / "model.ckpt"))
        outputs, tta_feed = [], {"tta:0": True} if tta else {}
        for start in range(0, len(images), BATCH):
            batch = np.asarray(images[start : start + BATCH], np.float32)
            if batch.ndim == 3:
                batch = batch[..., None]
            if batch.shape[3] == 1:  # grey images: the graph takes three channels
                batch = np.repeat(batch, 3, axis=3)
            outputs.append(session.run("hypothesis:0", {"x:0": batch, **tta_feed}))
    return np.concatenate(outputs)


def main(images_path: Path, result_path: Path, *, tta: bool = False) -> int:
    """Return 0 if the graph beside this file reproduces the result, else 1.

    Args:
        images_path: a .npy file of images.
        result_path: a .npy file of softmax outputs, [N, K].
        tta: whether to feed True to tta:0.
    """
    images = np.load(images_path, mmap_mode="r", allow_pickle=False)
    expected = np.load(result_path, allow_pickle=False)
    outputs = probabilities(images, tta)
    if outputs.shape != expected.shape:
        print(f"FAILED: the graph computes shape {outputs.shape}, {result_path.name} contains {expected.shape}")
        return 1
    difference = float(np.abs(outputs - expected).max())
    passed = difference <= TOLERANCE
    verdict = "passed" if passed else "FAILED"
    print(f"{verdict}: largest difference {difference:.3g} over {len(outputs)} images, limit {TOLERANCE:g}")
    return 0 if passed else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path, help="x_test.npy")
    parser.add_argument("result", type=Path, nargs="?", default="result.npy", help="relative to this file's folder")
    parser.add_argument("--tta", action="store_true", help="for a submission that was made with --tta")
    arguments = parser.parse_args()
    result = FOLDER / arguments.result
    for path in (arguments.images, result):
        if not path.is_file():
            parser.error(f"{path}: no such file")
    sys.exit(main(arguments.images, result, tta=arguments.tta))
