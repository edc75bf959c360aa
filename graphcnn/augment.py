"""Augmentation of training batches on the CPU: NumPy on stored pixels, while the step before computes.

Letters in shapes: N batch, H W height and width.
"""

import numpy as np


def coins(count, seed):
    """Return a fair coin for each of the data set's rows, bool [count], the same for every epoch of a seed."""
    return np.random.default_rng([seed, 0, 1]).random(count) < 0.5


def flipped(images, kind, coins, epoch, generator):
    """Return the images [N, H, W(, C)], some of them mirrored left to right.

    kind "random": each with probability 1/2, drawn from `generator`. "alternating" (arXiv 2404.00498, section 3.6):
    those whose coin (bool [N]) is True in even epochs, the others in odd ones, so that two epochs in a row show each
    image both ways. "none": as they are.
    """
    if kind == "none":
        return images
    mirrored = generator.random(len(images)) < 0.5 if kind == "random" else coins ^ (epoch % 2 == 1)
    turned = images.copy()
    turned[mirrored] = images[mirrored, :, ::-1]
    return turned


def translated(images, pixels, generator):
    """Return the images [N, H, W(, C)], each shifted by up to `pixels` along both axes, its edges mirrored."""
    if not pixels:
        return images
    height, width = images.shape[1:3]
    borders = [(0, 0), (pixels, pixels), (pixels, pixels)] + [(0, 0)] * (images.ndim - 3)
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(images, borders, "reflect"), (height, width), (1, 2))
    down, right = generator.integers(0, 2 * pixels + 1, (2, len(images)))
    shifted = windows[np.arange(len(images)), down, right]  # [N(, C), H, W]
    return np.moveaxis(shifted, 1, -1) if images.ndim == 4 else shifted
