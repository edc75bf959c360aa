"""The weights of the classes, against scikit-learn's, and files of weights."""

import json

import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

from graphcnn.common.errors import InputError
from graphcnn.data.class_weights import class_weights, unequal_classes

NAMES = ("ant", "bee", "cat")
LABELS = np.repeat([0, 1, 2], [50, 8, 2])


def test_balanced_is_scikit_learns():
    expected = compute_class_weight("balanced", classes=np.arange(3), y=LABELS)
    assert class_weights("balanced", LABELS, NAMES) == pytest.approx(expected, rel=1e-12)


def test_sqrt():
    weights = class_weights("sqrt", LABELS, NAMES)
    assert weights / weights[0] == pytest.approx(np.sqrt([1, 50 / 8, 25]), rel=1e-12)


@pytest.mark.parametrize("setting", ["balanced", "sqrt", "w.json"])
def test_mean_over_the_images_is_1(setting, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "w.json").write_text(json.dumps({"cat": 3, "ant": 0.5, "bee": 1e-3}))
    weights = class_weights(setting, LABELS, NAMES)
    assert weights[LABELS].mean() == pytest.approx(1, rel=1e-12)
    if setting == "w.json":
        assert weights / weights[2] == pytest.approx(np.array([0.5, 1e-3, 3]) / 3, rel=1e-12)


def test_none():
    assert class_weights("none", LABELS, NAMES) is None


BAD_FILES = {  # name: (content, words of the message)
    "no file": (None, "w.json: no such file"),
    "not JSON": ("{", "w.json: is not a JSON file"),
    "not UTF-8": (b"\xff", "w.json: is not a JSON file"),
    "deep": ("[" * 100_000, "w.json: is not a JSON file"),
    "a list": ("[1, 2, 3]", "expected an object"),
    "a class too many": (json.dumps({**dict.fromkeys(NAMES, 1), "dog": 1}), "unknown name 'dog'"),
    "a class too few": (json.dumps({"ant": 1, "bee": 1}), "class 'cat' has no weight, expected a number above 0"),
    "zero": (json.dumps({**dict.fromkeys(NAMES, 1), "cat": 0}), "class 'cat' has 0, expected"),
    "negative": (json.dumps({**dict.fromkeys(NAMES, 1), "cat": -1.5}), "class 'cat' has -1.5, expected"),
    "NaN": ('{"ant": 1, "bee": 1, "cat": NaN}', "class 'cat' has nan, expected"),
    "infinite": ('{"ant": 1, "bee": 1, "cat": 1e999}', "class 'cat' has inf, expected"),
    "a text": (json.dumps({**dict.fromkeys(NAMES, 1), "cat": "1"}), "class 'cat' has '1', expected"),
    "true": (json.dumps({**dict.fromkeys(NAMES, 1), "cat": True}), "class 'cat' has True, expected"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_files(case, tmp_path):
    content, words = BAD_FILES[case]
    path = tmp_path / "w.json"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=words) as caught:
        class_weights(str(path), LABELS, NAMES)
    assert "\n" not in str(caught.value)


def test_an_unknown_word():
    with pytest.raises(InputError, match=r"class_weights.*did you mean 'balanced'\?"):
        class_weights("balance", LABELS, NAMES)


@pytest.mark.parametrize(("counts", "suggested"), [([30, 10, 20], False), ([31, 10, 20], True)])
def test_the_suggestion_for_unequal_classes(counts, suggested):
    line = unequal_classes(np.repeat([0, 1, 2], counts), NAMES)
    assert (line is not None) == suggested
    if suggested:
        assert "class ant has 31 training images, class bee only 10; " in line
