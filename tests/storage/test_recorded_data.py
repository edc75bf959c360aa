"""The data that a run recorded: which folders a command uses, and which data it refuses."""

import hashlib
import json
import shutil

import numpy as np
import pytest
from conftest import TINY, one_line, write_folder
from photo_files import write_photos

from graphcnn.data.fingerprint import content_of

IGNORED = "is not in the default cache folder, so it is not used; if it is yours, add --"


@pytest.fixture(autouse=True)
def cache_home(tmp_path, monkeypatch):
    """Use a temporary folder as the default cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    return tmp_path / "xdg" / "graphcnn"


def change(path, **changes):
    """Change fields of a config.json; data__source is a field of `data`."""
    config = json.loads(path.read_text())
    for name, value in changes.items():
        *parents, last = name.split("__")
        target = config
        for parent in parents:
            target = target[parent]
        target[last] = value
    path.write_text(json.dumps(config))
    return config


class TestCacheFolders:
    @pytest.fixture
    def photos(self, tmp_path, command):
        """Train a run on photos; return (root flag, its config.json)."""
        root = f"--checkpoints={tmp_path / 'runs'}"
        outcome = command("train", f"--data={write_photos(tmp_path / 'set')}", root, "--run=a", *TINY, "--epochs=1")
        assert outcome.status == 0, outcome.err
        return root, tmp_path / "runs" / "a" / "config.json"

    @pytest.mark.parametrize("name", ["eval", "train"])
    def test_another_folder_is_not_used(self, name, photos, tmp_path, command):
        """The recorded cache may be from a stranger, so no file is read from it or created in it."""
        root, path = photos
        for recorded in (tmp_path / "made", tmp_path / "xdg" / "graphcnn" / ".." / ".." / "made"):
            change(path, data__options__cache_dir=str(recorded), data__options__data_cache=str(recorded))
            flags = ["--resume", "--epochs=2"] if name == "train" else []
            outcome = command(name, root, "--run=a", *flags)
            assert (outcome.status, outcome.err) == (0, "")
            for option in ("cache_dir", "data_cache"):
                line = f"run a recorded {option}={str(recorded)!r}; this folder {IGNORED}{option} to use it\n"
                assert outcome.out.count(line) == 1
            assert not (tmp_path / "made").exists()

    def test_the_next_commands_name_the_folder(self, tmp_path, command, cache_home):
        data, root = f"--data={write_folder(tmp_path / 'data')}", f"--checkpoints={tmp_path / 'runs'}"
        for folder, named in ((tmp_path / "my cache", True), (cache_home / "own", False)):
            flags = [f"--cache_dir={folder}", "--run=a", "--overwrite", "--epochs=1"]
            outcome = command("train", data, root, *TINY, *flags)
            assert outcome.status == 0, outcome.err
            assert (f"next: ./run.sh eval --run=a {root} --cache_dir='{folder}' " in outcome.out) == named
            assert ("--cache_dir" in outcome.out) == named

    def test_a_poisoned_cache_does_not_change_the_score(self, photos, tmp_path, command, cache_home):
        root, path = photos
        assert command("eval", root).status == 0
        scores = (path.parent / "report" / "dev.json").read_text()
        shutil.copytree(cache_home, tmp_path / "made")
        (entry,) = (tmp_path / "made").glob("images-*")
        index = json.loads((entry / "index.json").read_text())
        images = np.load(entry / "x.npy")[::-1].copy()
        np.save(entry / "x.npy", images)
        (entry / "index.json").write_text(json.dumps({**index, "sha256": hashlib.sha256(images).hexdigest()}))
        change(path, data__options__cache_dir=str(tmp_path / "made"))
        assert command("eval", root).status == 0
        assert (path.parent / "report" / "dev.json").read_text() == scores

    def test_other_photos_are_not_decoded(self, photos, tmp_path, command, cache_home):
        """A stranger may have chosen the recorded folder or size so that the cache fills the disk."""
        root, path = photos
        shutil.rmtree(cache_home)
        config = json.loads(path.read_text())
        other = write_photos(tmp_path / "other", seed=3)
        for changes, words in (
            ({"source": str(other)}, "its training images or labels are not those of run a"),
            ({"options": {"image_size": 30000}}, "its training images or labels are not those of run a"),
            ({"image_shape": [32, 16]}, "image_shape is [32, 16], but the data"),
        ):
            path.write_text(json.dumps({**config, "data": {**config["data"], **changes}}))
            outcome = command("eval", root)
            assert (outcome.status, one_line(outcome.err)) == (2, True)
            assert words in outcome.err
            assert "decoding" not in outcome.out
            assert not list(cache_home.glob("images-*"))

    def test_a_given_folder_and_a_folder_in_the_default_one_are_used(self, photos, tmp_path, command, cache_home):
        root, path = photos
        change(path, data__options__cache_dir=str(tmp_path / "made"))
        outcome = command("eval", root, f"--cache_dir={tmp_path / 'made'}")
        assert (outcome.status, IGNORED in outcome.out) == (0, False)
        assert list((tmp_path / "made").glob("images-*"))
        change(path, data__options__cache_dir=str(cache_home / "inside"))
        outcome = command("eval", root)
        assert (outcome.status, IGNORED in outcome.out) == (0, False)
        assert list((cache_home / "inside").glob("images-*"))

    @pytest.mark.parametrize("recorded", ["a\0b", "loop"])
    def test_a_path_that_cannot_be_read(self, recorded, photos, tmp_path, command, monkeypatch):
        root, path = photos
        monkeypatch.chdir(tmp_path)
        (tmp_path / "loop").symlink_to("loop")
        change(path, data__options__cache_dir=recorded)
        outcome = command("eval", root)
        assert (outcome.status, outcome.err) == (0, "")
        assert IGNORED in outcome.out

    def test_features_are_not_in_a_recorded_folder(self, tmp_path, command, cache_home):
        root, data = f"--checkpoints={tmp_path / 'runs'}", f"--data={write_folder(tmp_path / 'data')}"
        assert command("train", root, data, *TINY, "--run=source", "--epochs=1").status == 0
        head = ["--weights=source", "--head=pooled", "--freeze=backbone", "--keep_prob=1.0", "--epochs=1"]
        outcome = command("train", root, data, *TINY, *head, "--run=b")
        assert outcome.status == 0, outcome.err
        shutil.rmtree(cache_home)
        change(tmp_path / "runs" / "b" / "config.json", data__options__cache_dir=str(tmp_path / "made"))
        outcome = command("train", root, "--run=b", "--resume", "--epochs=2")
        assert outcome.status == 0, outcome.err
        assert IGNORED in outcome.out
        assert list(cache_home.glob("features-*.npy"))
        assert not (tmp_path / "made").exists()


class TestClassNames:
    NAMES = "cat\ndog\nowl\n"

    @pytest.fixture
    def named(self, tmp_path, command):
        """Train a run on a folder with class_names.txt; return (flag of the runs, the folder, config.json)."""
        folder, root = write_folder(tmp_path / "data"), f"--checkpoints={tmp_path / 'runs'}"
        (folder / "class_names.txt").write_text(self.NAMES)
        outcome = command("train", f"--data={folder}", root, "--run=a", *TINY, "--epochs=1")
        assert outcome.status == 0, outcome.err
        return root, folder, tmp_path / "runs" / "a" / "config.json"

    @pytest.mark.parametrize("form", ["2", "1"])
    def test_other_class_names_are_refused(self, form, named, tmp_path, command):
        root, folder, path = named
        if form == "1":
            change(path, data__fingerprint=content_of(json.loads(path.read_text())["data"]["fingerprint"]))
        resume = ["train", "--run=a", "--resume", "--epochs=2"]
        calls = (["eval"], ["explain", "--split=dev"], ["submit", f"--out={tmp_path / 'out'}"], resume)
        names = folder / "class_names.txt"
        for call in calls:
            names.write_text("owl\ndog\ncat\n")
            outcome = command(*call, root)
            assert (outcome.status, one_line(outcome.err)) == (2, True), call
            assert f"{names}: class 0 is 'owl', but run a recorded 'cat'" in outcome.err
            names.unlink()
            assert f"{names}: class 0 is '0', but run a recorded 'cat'" in command(*call, root).err
        names.write_text(self.NAMES)
        for call in (resume, ["eval"]) if form == "1" else (resume,):
            outcome = command(*call, root)
            assert (outcome.status, outcome.err) == (0, ""), call

    def test_version_1_recorded_a_byte_order_mark(self, named, command):
        root, folder, path = named
        config = json.loads(path.read_text())
        config["data"]["fingerprint"] = content_of(config["data"]["fingerprint"])
        path.write_text(json.dumps(config | {"class_names": ["\ufeffcat", "dog", "owl"]}))
        (folder / "class_names.txt").write_bytes(b"\xef\xbb\xbf" + self.NAMES.encode())
        outcome = command("eval", root)
        assert (outcome.status, outcome.err) == (0, "")

    def test_other_labels_in_a_concatenation_of_equal_bytes_are_refused(self, tmp_path, command):
        folder, root = write_folder(tmp_path / "data"), f"--checkpoints={tmp_path / 'runs'}"
        x, y = ((folder / f"{name}_train.npy").read_bytes() for name in "xy")
        np.save(tmp_path / "other.npy", np.load(folder / "y_train.npy")[::-1])
        other = (tmp_path / "other.npy").read_bytes()
        (folder / "y_train.npy").write_bytes(other + y)
        assert command("train", f"--data={folder}", root, *TINY, "--epochs=1").status == 0
        (folder / "x_train.npy").write_bytes(x + other)
        (folder / "y_train.npy").write_bytes(y)
        outcome = command("eval", root)
        assert (outcome.status, one_line(outcome.err)) == (2, True)
        assert "its training images or labels are not those of run" in outcome.err


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("data__image_shape", [20, 16], "image_shape is [20, 16], but the data {} have [16, 16]"),
        ("data__pixel_max", 1, "pixel_max is 1, but the data {} have 255"),
        ("class_names", ["0", "1"], "the number of class_names is 2, but the data {} have 3"),
    ],
)
def test_a_config_unlike_the_data_is_refused(field, value, words, trained, trained_copy, command):
    path = trained_copy / "tiny" / "config.json"
    config = json.loads(path.read_text())
    for fingerprint in (config["data"]["fingerprint"], content_of(config["data"]["fingerprint"])):
        change(path, data__fingerprint=fingerprint, **{field: value})
        for call in (["eval"], ["train", "--resume", "--run=tiny", "--epochs=3"]):
            outcome = command(*call, f"--checkpoints={trained_copy}", "--allow_changed_net")
            assert (outcome.status, one_line(outcome.err)) == (2, True)
            assert f"{path}: {words.format(trained[1])}; restore the file" in outcome.err


def test_runs_with_fingerprints_of_both_forms_are_one_ensemble(trained_copy, tmp_path, command):
    shutil.copytree(trained_copy / "tiny", trained_copy / "old", symlinks=True)
    path = trained_copy / "old" / "config.json"
    change(path, data__fingerprint=content_of(json.loads(path.read_text())["data"]["fingerprint"]))
    root = f"--checkpoints={trained_copy}"
    outcome = command("eval", root, "--run=tiny,old")
    assert (outcome.status, outcome.err) == (0, "")
    outcome = command("export", root, "--run=tiny,old", "--format=npz", f"--out={tmp_path / 'out'}")
    assert (outcome.status, outcome.err) == (0, "")
