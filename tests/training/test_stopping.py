import math

import pytest

from graphcnn.training.early_stopping import EarlyStopping

CASES = {  # name: (patience, mode, values, index of the value at which it stops, or None)
    "falling": (0, "min", [3, 2, 1], None),
    "first worse one at patience 0": (0, "min", [3, 2, 2.5, 1], 2),
    "equal is no worse": (0, "min", [3, 3, 3], None),
    "patience bears two": (2, "min", [1, 2, 2, 1], None),
    "the third in a row": (2, "min", [1, 2, 3, 2, 0], 3),
    "worse than the best, though falling": (2, "min", [1, 9, 8, 7], 3),
    "equal to the best resets": (1, "min", [1, 2, 1, 2, 1, 2, 2], 6),
    "nan is worse": (1, "min", [1, math.nan, math.nan], 2),
    "infinite first": (0, "min", [math.inf, 5, 6], 2),
    "rising score": (0, "max", [0.1, 0.2, 0.2, 0.3], None),
    "falling score": (1, "max", [0.5, 0.4, 0.3], 2),
}


@pytest.mark.parametrize("case", CASES)
def test_table(case):
    patience, mode, values, expected = CASES[case]
    stopping = EarlyStopping(patience, verbose=0, mode=mode)
    stops = [stopping.validate(value) for value in values]
    assert (stops.index(True) if True in stops else None) == expected


@pytest.mark.parametrize("case", CASES)
def test_restored_state_continues_in_the_same_way(case):
    patience, mode, values, _ = CASES[case]
    whole, part = EarlyStopping(patience, mode=mode), EarlyStopping(patience, mode=mode)
    for value in values:
        fresh = EarlyStopping(patience, mode=mode)
        fresh.restore(part.state())
        part = fresh
        assert part.validate(value) == whole.validate(value)


def test_verbose_prints_a_line(capsys):
    stopping = EarlyStopping(patience=0, verbose=1)
    stopping.validate(1.0)
    assert capsys.readouterr().out == ""
    assert stopping.validate(2.0) is True
    assert "Stopped early" in capsys.readouterr().out


def test_unknown_mode():
    with pytest.raises(ValueError, match="mode"):
        EarlyStopping(mode="best")
