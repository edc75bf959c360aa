"""How errors with fields are worded, in a program and on the command line."""

import pytest

from graphcnn.common.errors import Diverged, SettingError, literal, unknown_name

WORDINGS = {  # name: (error, its words in a program, on the command line)
    "a setting": (SettingError("l2", "found -1"), "l2: found -1", "--l2: found -1"),
    "with its value": (SettingError("l2", "too low", -1), "l2=-1: too low", "--l2=-1: too low"),
    "another setting": (SettingError("l2", "use {epochs}"), "l2: use epochs", "--l2: use --epochs"),
    "braces of a value": (SettingError("net", literal("no '{a}'")), "net: no '{a}'", "--net: no '{a}'"),
    "divergence": (Diverged(2, "lower {l2}"), "epoch 2: lower l2", "epoch 2: lower --l2"),
}


@pytest.mark.parametrize(("error", "in_a_program", "as_flags"), WORDINGS.values(), ids=WORDINGS)
def test_wording(error, in_a_program, as_flags):
    assert (str(error), error.as_flags()) == (in_a_program, as_flags)


def test_a_few_names_are_all_listed():
    expected = "unknown name 'bets'; did you mean 'beta'? (expected one of: alpha, beta)"
    assert unknown_name("bets", ["alpha", "beta"]) == expected


def test_the_nearest_three_of_many_names_are_listed():
    names = [f"{letter}-net" for letter in "abcdefghijkl"] + ["vgg", "vgg6", "vgg16"]
    expected = "unknown name 'vgg1'; did you mean 'vgg16', 'vgg' or 'vgg6'? (the nearest of 15 names)"
    assert unknown_name("vgg1", names) == expected
    assert "did you mean 'a-net', " in unknown_name("a" * 10_000_000, names)  # in no time
