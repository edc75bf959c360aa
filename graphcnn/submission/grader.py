"""Verify a submission with TensorFlow and NumPy only, without graphcnn.

  python grader.py [--tta] x_test.npy [result.npy]

Run it in the folder of the submission. It imports model.ckpt.meta, restores model.ckpt, feeds x:0 (with --tta it also
feeds True to tta:0), reads hypothesis:0, and prints the largest difference from result.npy. The exit status is 0 if
that difference is at most 1e-5.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import tensorflow as tf

TOLERANCE = 1e-5  # largest difference of a probability
BATCH = 250  # number of images in a batch

tf.compat.v1.disable_eager_execution()


def main(images_path: str, result_path: str = "result.npy", *, tta: bool = False) -> int:
    """Return 0 if the graph beside this file reproduces the result, else 1.

    Args:
        images_path: a .npy file of images, [N, H, W], [N, H, W, 1] or [N, H, W, 3].
        result_path: a .npy file of softmax outputs, [N, K], relative to this file's folder.
        tta: whether to feed True to tta:0.
    """
    folder = Path(__file__).resolve().parent
    images = np.load(images_path, mmap_mode="r", allow_pickle=False)
    expected = np.load(folder / result_path, allow_pickle=False)
    with tf.compat.v1.Session() as session:
        saver = tf.compat.v1.train.import_meta_graph(str(folder / "model.ckpt.meta"))
        saver.restore(session, str(folder / "model.ckpt"))
        outputs, tta_feed = [], {"tta:0": True} if tta else {}
        for start in range(0, len(images), BATCH):
            batch = np.asarray(images[start : start + BATCH], np.float32)
            if batch.ndim == 3:
                batch = batch[..., None]
            if batch.shape[3] == 1:  # grey images: the graph takes three channels
                batch = np.repeat(batch, 3, axis=3)
            outputs.append(session.run("hypothesis:0", {"x:0": batch, **tta_feed}))
    probabilities = np.concatenate(outputs)
    if probabilities.shape != expected.shape:
        print(f"shapes differ: the graph computes {probabilities.shape}, the file contains {expected.shape}")
        return 1
    difference = float(np.abs(probabilities - expected).max())
    print(f"largest difference: {difference:.3g} over {len(probabilities)} images")
    return 0 if difference <= TOLERANCE else 1


if __name__ == "__main__":
    paths = [argument for argument in sys.argv[1:] if argument != "--tta"]
    if len(paths) not in (1, 2):
        sys.exit(__doc__)
    sys.exit(main(*paths, tta="--tta" in sys.argv))
