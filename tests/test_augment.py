import numpy as np
import pytest

from graphcnn import augment

ROWS = np.arange(1000) * 3 + 1


def numbered(shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def mirrored(kind, epoch, seed=51, rows=ROWS):
    """Return which of the rows' images were mirrored, bool [N]."""
    images, coins = numbered((len(rows), 2, 4, 3)), augment.coins(5000, seed)[rows]
    result = augment.flipped(images, kind, coins, epoch, np.random.default_rng([seed, epoch]))
    same = (result == images).all(axis=(1, 2, 3))
    turned = (result == images[:, :, ::-1]).all(axis=(1, 2, 3))
    assert (same ^ turned).all()
    return turned


def test_alternating_shows_each_image_both_ways_in_two_epochs():
    first, second, third = (mirrored("alternating", epoch) for epoch in (1, 2, 3))
    assert np.array_equal(first, ~second)
    assert np.array_equal(first, third)
    assert 0.45 < first.mean() < 0.55
    assert 0.4 < (first == mirrored("alternating", 1, seed=52)).mean() < 0.6
    order = np.random.default_rng(0).permutation(len(ROWS))
    assert np.array_equal(mirrored("alternating", 1, rows=ROWS[order]), first[order])  # by row, not by place


def test_random_mirrors_a_half_anew_each_epoch_and_none_nothing():
    first, second = (mirrored("random", epoch) for epoch in (1, 2))
    assert 0.45 < first.mean() < 0.55
    assert 0.4 < (first == second).mean() < 0.6
    assert np.array_equal(first, mirrored("random", 1))
    assert not mirrored("none", 1).any()


@pytest.mark.parametrize("shape", [(300, 6, 5, 3), (300, 6, 5, 1), (300, 6, 5)])
def test_translated_images_are_windows_of_the_mirrored_edge(shape):
    images = numbered(shape)
    result = augment.translated(images, 2, np.random.default_rng(7))
    assert result.shape == shape
    assert result.dtype == np.uint8
    found = set()
    for image, shifted in zip(images, result, strict=True):
        padded = np.pad(image, [(2, 2), (2, 2)] + [(0, 0)] * (image.ndim - 2), "reflect")
        windows = {(i, j): padded[i : i + 6, j : j + 5] for i in range(5) for j in range(5)}
        matching = {place for place, window in windows.items() if np.array_equal(window, shifted)}
        assert matching
        found |= matching
    assert len(found) == 25
    assert np.array_equal(result, augment.translated(images, 2, np.random.default_rng(7)))
    assert np.array_equal(images, numbered(shape))


def test_no_translation_is_no_copy():
    images = numbered((2, 6, 5, 3))
    assert augment.translated(images, 0, np.random.default_rng(0)) is images
