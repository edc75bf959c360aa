"""Predict with a handed-in graph as a grader would: TensorFlow and NumPy alone, none of graphcnn.

  python grader.py [--tta] x_test.npy [result.npy]

Run it in the folder of the hand-in. It imports model.ckpt.meta, restores model.ckpt, feeds x:0 (with --tta also tta:0,
as True), reads hypothesis:0, and prints the largest difference from result.npy; exit status 0 if that is at most 1e-5.
"""

import sys
from pathlib import Path

import numpy as np
import tensorflow as tf

TOLERANCE = 1e-5
BATCH = 250  # images

tf.compat.v1.disable_eager_execution()


def main(images_path, result_path="result.npy", tta=False):
    """Return 0 if the graph beside this file reproduces the result, else 1."""
    folder = Path(__file__).resolve().parent
    images = np.load(images_path, mmap_mode="r", allow_pickle=False)
    expected = np.load(folder / result_path, allow_pickle=False)
    with tf.compat.v1.Session() as session:
        saver = tf.compat.v1.train.import_meta_graph(str(folder / "model.ckpt.meta"))
        saver.restore(session, str(folder / "model.ckpt"))
        rows, also = [], {"tta:0": True} if tta else {}
        for start in range(0, len(images), BATCH):
            batch = np.asarray(images[start : start + BATCH], np.float32)
            if batch.ndim == 3:
                batch = batch[..., None]
            if batch.shape[3] == 1:  # grey images: the graph takes three channels
                batch = np.repeat(batch, 3, axis=3)
            rows.append(session.run("hypothesis:0", {"x:0": batch, **also}))
    found = np.concatenate(rows)
    if found.shape != expected.shape:
        print(f"shapes differ: the graph gives {found.shape}, the file holds {expected.shape}")
        return 1
    difference = float(np.abs(found - expected).max())
    print(f"largest difference: {difference:.3g} over {len(found)} images")
    return 0 if difference <= TOLERANCE else 1


if __name__ == "__main__":
    paths = [argument for argument in sys.argv[1:] if argument != "--tta"]
    if len(paths) not in (1, 2):
        sys.exit(__doc__)
    sys.exit(main(*paths, tta="--tta" in sys.argv))
