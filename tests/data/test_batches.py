import itertools
import threading

import numpy as np
import pytest

from graphcnn.data import batches, statistics


@pytest.mark.parametrize(("rows", "size"), [(10, 3), (9, 3), (1, 128), (257, 128)])
def test_an_epoch_has_each_row_once(rows, size):
    wanted = np.arange(rows) * 7
    for epoch in (1, 2):
        slices = list(batches.shuffled(wanted, size, np.random.default_rng([51, epoch])))
        assert sorted(np.concatenate(slices)) == list(wanted)
        assert [len(part) for part in slices] == [size] * (rows // size) + [rows % size] * (rows % size > 0)


def test_the_order_depends_on_the_epoch_and_is_reproducible():
    orders = [
        np.concatenate(list(batches.shuffled(np.arange(99), 8, np.random.default_rng([s, e]))))
        for s, e in ((1, 1), (1, 2), (2, 1), (1, 1))
    ]
    assert np.array_equal(orders[0], orders[3])
    assert not np.array_equal(orders[0], orders[1])
    assert not np.array_equal(orders[0], orders[2])


@pytest.mark.parametrize("counts", [[40, 7, 3], [1, 1, 50], [5, 0, 6], [10, 10, 10]])
def test_balanced_epochs(counts):
    labels = np.repeat(np.arange(3), counts)
    rows = np.arange(len(labels)) * 7
    orders = [batches.balanced(rows, labels, np.random.default_rng(seed)) for seed in ([1, 1], [1, 2], [1, 1])]
    assert np.array_equal(orders[0], orders[2])
    assert not np.array_equal(orders[0], orders[1])
    for order in orders:
        assert len(order) == len(rows)
        of_class = np.bincount(labels[order // 7], minlength=3)[np.array(counts) > 0]
        assert of_class.max() - of_class.min() <= 1
        for k in range(3):
            occurrences = np.bincount(order // 7, minlength=len(rows))[labels == k]
            assert not len(occurrences) or occurrences.max() - occurrences.min() <= 1


@pytest.mark.parametrize("shape", [(4, 5, 6), (4, 5, 6, 1), (4, 5, 6, 3)])
def test_as_rgb(shape):
    images = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    rgb = batches.as_rgb(images)
    assert rgb.shape == (4, 5, 6, 3)
    assert rgb.dtype == np.float32
    assert np.array_equal(rgb[..., 2], images if images.ndim == 3 else images[..., -1])


@pytest.mark.parametrize("dtype", [np.uint8, np.float64])
def test_channel_statistics_of_the_given_rows(dtype):
    images = np.random.default_rng(0).integers(0, 256, (50, 300, 400, 3)).astype(dtype)  # 8 rows at once
    rows = np.arange(0, 50, 2)
    mean, deviation = statistics.channel_statistics(images, rows)
    assert mean == pytest.approx(images[rows].mean(axis=(0, 1, 2)), rel=1e-6)
    assert deviation == pytest.approx(images[rows].std(axis=(0, 1, 2)), rel=1e-6)


@pytest.mark.parametrize("value", [0, 255])
def test_a_constant_channel_is_not_divided_by_zero(value):
    _, deviation = statistics.channel_statistics(np.full((3, 4, 4), value, np.uint8), np.arange(3))
    assert np.array_equal(deviation, [1, 1, 1])


@pytest.mark.parametrize(("shape", "rows"), [((32, 32), 256), ((64, 64), 256), ((300, 300), 11), ((2000, 2000), 1)])
def test_chunk_size(shape, rows):
    assert batches.chunk_size(shape) == rows


class TestPrefetch:
    def test_order_and_end(self):
        assert list(batches.prefetch(iter(range(5)))) == [0, 1, 2, 3, 4]
        assert list(batches.prefetch(iter(()))) == []

    def test_the_next_item_is_computed_while_one_is_used(self):
        made = threading.Event()

        def items():
            yield "first"
            made.set()
            yield "second"

        for item in batches.prefetch(items()):
            assert made.wait(10), item

    def test_an_error_reaches_the_caller_after_the_items_before_it(self):
        def items():
            yield 1
            raise OSError("unreadable")

        source = batches.prefetch(items())
        assert next(source) == 1
        with pytest.raises(OSError, match="unreadable"):
            next(source)

    def test_stopping_early_leaves_no_thread(self):
        before = threading.active_count()
        source = batches.prefetch(itertools.count())
        assert next(source) == 0
        source.close()
        assert threading.active_count() == before
