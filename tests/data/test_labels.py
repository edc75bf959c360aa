"""Labels that are strings or start at 1: their classes, the test labels, the run, and the commands that read labels."""

import json

import numpy as np
import pytest
from conftest import TINY, one_line, tiny_arrays, write_folder
from sklearn.metrics import f1_score
from sklearn.preprocessing import LabelEncoder

from graphcnn.common.errors import InputError
from graphcnn.data import sources

X, Y = tiny_arrays()
X_TEST, Y_TEST = tiny_arrays(24, seed=1)
ANIMALS = np.array(["owl", "Zebra", "éléphant"])
FORMS = {  # name: (the label of each class id of the tiny arrays, dtype)
    "strings": (ANIMALS, ">U8"),
    "native strings": (ANIMALS, "U99"),
    "bytes": (np.char.encode(ANIMALS, "utf-8"), "S12"),
    "digits as strings": (np.array(["9", "10", "2"]), "U2"),
    "from 1": (np.array([1, 2, 3]), "u1"),
    "floats from 1": (np.array([1, 2, 3]), "f8"),
}


def written(folder, names, dtype, **others):
    labels = {"y_train": names[Y].astype(dtype), "y_test": names[Y_TEST[:, 0]].astype(dtype)}
    return write_folder(folder, **{**labels, **others})


@pytest.mark.parametrize("form", FORMS)
def test_class_ids_are_those_of_scikit_learn(form, tmp_path):
    names, dtype = FORMS[form]
    dataset = sources.load(written(tmp_path, names, dtype), test=True)
    encoder = LabelEncoder().fit(names[Y[:, 0]])
    assert np.array_equal(dataset.y_train, encoder.transform(names[Y[:, 0]]))
    assert np.array_equal(dataset.y_test, encoder.transform(names[Y_TEST[:, 0]]))
    decoded = [label.decode() if isinstance(label, bytes) else str(label) for label in encoder.classes_.tolist()]
    assert dataset.class_names == tuple(decoded)
    assert (dataset.y_train.dtype, dataset.y_test.dtype) == (np.int32, np.int32)


def test_names_of_classes_from_1(tmp_path):
    folder = written(tmp_path, *FORMS["from 1"])
    (folder / "class_names.txt").write_text("cat\ndog\nowl\n")
    dataset = sources.load(folder)
    assert dataset.class_names == ("cat", "dog", "owl")
    assert np.array_equal(dataset.y_train, Y[:, 0])


@pytest.mark.parametrize(("text", "accepted"), [("cat\ndog\nowl\n", True), ("dog\ncat\nowl\n", False)])
def test_a_file_of_names_agrees_with_strings(text, accepted, tmp_path):
    folder = written(tmp_path, np.array(["cat", "dog", "owl"]), "U3")
    (folder / "class_names.txt").write_text(text)
    if accepted:
        assert sources.load(folder).class_names == ("cat", "dog", "owl")
    else:
        with pytest.raises(InputError, match="found 'dog', expected 'cat': the labels name the classes"):
            sources.load(folder)


REFUSED = {  # name: (labels of training, labels of the test images, words)
    "0 in a test from 1": ("from 1", Y_TEST, "holds label 0, expected 1 to 3 as in training"),
    "4 in a test from 1": ("from 1", Y_TEST + 2, "holds label 4, expected 1 to 3 as in training"),
    "numbers for strings": ("strings", Y_TEST, "dtype is int64, expected strings"),
    "one-hot for strings": ("strings", np.eye(3)[Y_TEST[:, 0]], "expected strings"),
    "another string": ("strings", np.full(24, "zebra"), "unknown name 'zebra'; did you mean 'Zebra'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_label_that_training_lacks_is_refused(case, tmp_path):
    form, y_test, words = REFUSED[case]
    folder = written(tmp_path, *FORMS[form], y_test=y_test)
    with pytest.raises(InputError, match=words) as caught:
        sources.load(folder, test=True)
    assert "y_test.npy" in str(caught.value)


def test_objects_are_refused_with_the_cure(tmp_path):
    folder = write_folder(tmp_path)
    np.save(folder / "y_train.npy", np.array(["cat", "dog"] * 48, object), allow_pickle=True)
    with pytest.raises(InputError, match=r"pickled Python objects.*np.unique\(y, return_inverse=True\).*class_names"):
        sources.load(folder)


def test_many_different_strings_are_refused(tmp_path):
    rows = 10_001
    folder = write_folder(tmp_path, x_train=np.zeros((rows, 1, 1), np.uint8), y_train=np.arange(rows).astype(str))
    with pytest.raises(InputError, match="10,001 different strings, expected at most 10,000 classes"):
        sources.load(folder)


@pytest.fixture(scope="module", params=["strings", "from 1"])
def run(request, tmp_path_factory):
    """Return (the form of the labels, the checkpoints folder, the data folder, what train printed) of a tiny run."""
    from conftest import run_quietly

    root = tmp_path_factory.mktemp("labels")
    data = written(root / "data", *FORMS[request.param])
    return request.param, root, data, run_quietly("train", f"--data={data}", f"--checkpoints={root}", *TINY)


def test_train_prints_and_records_the_classes(run):
    form, root, data, printed = run
    text = {
        "strings": "3 different strings are the classes 0 to 2, in sorted order: Zebra, owl, éléphant",
        "from 1": "1 to 3 are the classes 0 to 2",
    }[form]
    assert f"labels: {data / 'y_train.npy'}: {text}" in printed.splitlines()[:5]
    config = json.loads(next(root.glob("*/config.json")).read_text())
    assert config["data"]["first_label"] == {"strings": None, "from 1": 1}[form]
    assert config["class_names"] == {"strings": ["Zebra", "owl", "éléphant"], "from 1": ["1", "2", "3"]}[form]


def test_eval_reads_labels_like_training(run, tmp_path, command):
    form, root, data, _ = run
    names, dtype = FORMS[form]
    report = next(root.glob("*/config.json")).parent / "report"
    np.save(tmp_path / "y.npy", names[Y_TEST[:, 0]].astype(dtype))
    arrays = [f"--array={data / 'x_test.npy'}", f"--labels={tmp_path / 'y.npy'}"]
    predictions = tmp_path / "p.npy"
    root = f"--checkpoints={root}"
    assert command("eval", root, "--split=test").status == 0
    assert command("eval", root, *arrays).status == 0
    assert command("predict", root, arrays[0], f"--out={predictions}").status == 0
    outcome = command("eval", f"--predictions={predictions}", arrays[1])
    assert outcome.status == 0, outcome.err
    classes = LabelEncoder().fit(names).transform(names[Y_TEST[:, 0]])
    expected = f1_score(classes, np.load(predictions).argmax(axis=1), average="macro")
    assert f"macro F1: {expected:.6f} (" in outcome.out
    for split in ("test", "array"):
        assert json.loads((report / f"{split}.json").read_text())["macro_f1"] == pytest.approx(expected)
    np.save(tmp_path / "y.npy", Y_TEST)
    outcome = command("eval", root, *arrays)
    assert (outcome.status, one_line(outcome.err)) == (2, True)
    assert str(tmp_path / "y.npy") in outcome.err


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (np.array(["a", "b"] * 12), "found 2 different strings, expected 3"),
        (np.arange(24) % 3 + 2, "found label 4, expected 0 to 2"),
    ],
)
def test_labels_of_other_classes_do_not_fit_predictions(labels, words, tmp_path, command):
    np.save(tmp_path / "p.npy", np.full((24, 3), 1 / 3))
    np.save(tmp_path / "y.npy", labels)
    outcome = command("eval", f"--predictions={tmp_path / 'p.npy'}", f"--labels={tmp_path / 'y.npy'}")
    assert outcome.status == 2
    assert words in outcome.err
