import io
import json
import shutil

import numpy as np
import pytest
from conftest import one_line, write_folder

from graphcnn.common.errors import InputError
from graphcnn.common.files import sha256_of
from graphcnn.ops.tf1 import session as new_session
from graphcnn.ops.tf1 import tf, tf1
from graphcnn.storage import checkpoint
from graphcnn.storage.run import Run

DATA = "model.ckpt.data-00000-of-00001"


def flip(path, offset):
    """Change one byte in place."""
    content = bytearray(path.read_bytes())
    content[offset] ^= 1
    path.write_bytes(bytes(content))


def test_best_and_last_are_relative_links_to_whole_folders(trained):
    run = Run(trained[0], "tiny")
    for which in ("best", "last"):
        link = run.path / which
        assert link.is_symlink()
        assert "/" not in str(link.readlink())
        assert checkpoint.verify(run, which) == link.resolve()
        assert {path.name for path in link.iterdir()} == {
            DATA, "model.ckpt.index", "model.ckpt.meta", "state.json", "manifest.json",
        }  # fmt: skip
    state = checkpoint.read_state(run.path / "last")
    assert state["epoch"] == 2
    assert len(list(run.path.glob("epoch-*"))) == len({state["epoch"], state["best_epoch"]})


DAMAGES = {  # name: (what is done to the folder, words of the message)
    "a flipped byte of the weights": (lambda f: flip(f / DATA, 1000), "sha256"),
    "a flipped byte of the index": (lambda f: flip(f / "model.ckpt.index", 10), "sha256"),
    "a flipped byte of the graph": (lambda f: flip(f / "model.ckpt.meta", 10), "sha256"),
    "a flipped byte of the state": (lambda f: flip(f / "state.json", 5), "sha256"),
    "a flipped byte of the manifest": (lambda f: flip(f / "manifest.json", 0), "manifest.json: damaged"),
    "a missing shard": (lambda f: (f / DATA).unlink(), "No such file"),
    "a truncated shard": (lambda f: (f / DATA).write_bytes((f / DATA).read_bytes()[:-1]), "sha256"),
    "a missing manifest": (lambda f: (f / "manifest.json").unlink(), r"cannot be read \(No such file"),
    "a manifest without the shard": (lambda f: (f / "manifest.json").write_text("{}"), "manifest.json: damaged"),
    "a missing folder": (lambda f: shutil.rmtree(f), "no such checkpoint|no finished epoch"),
}


STATES = {  # name: (change of a valid state.json, words of the message)
    "a missing key": ({"epoch": None}, "wrong type of epoch"),
    "an empty stopping": ({"stopping": {}}, "damaged"),
    "a wrong type in stopping": ({"stopping": {"best": 1.0, "worse_in_a_row": "3"}}, "stopping.worse_in_a_row"),
    "a wrong type of an optional key": ({"frozen_epochs": "2"}, "frozen_epochs"),
}


@pytest.mark.parametrize("case", STATES)
def test_a_wrong_state_is_refused_although_its_sha256_fits(case, trained_copy, command):
    change, words = STATES[case]
    folder = (trained_copy / "tiny/last").resolve()
    state, manifest = (json.loads((folder / name).read_text()) for name in ("state.json", "manifest.json"))
    (folder / "state.json").write_text(json.dumps(state | change))
    (folder / "manifest.json").write_text(json.dumps(manifest | {"state.json": sha256_of(folder / "state.json")}))
    outcome = command("train", "--resume", "--run=tiny", f"--checkpoints={trained_copy}")
    assert (outcome.status, one_line(outcome.err)) == (2, True)
    assert words in outcome.err


@pytest.mark.parametrize("case", DAMAGES)
def test_a_damaged_file_is_named(case, trained_copy, command):
    damage, words = DAMAGES[case]
    run = Run(trained_copy, "tiny")
    damage((run.path / "best").resolve())
    with pytest.raises(InputError, match=words):
        checkpoint.verify(run, "best")
    outcome = command("eval", f"--checkpoints={trained_copy}", "--run=tiny")
    assert outcome.status == 2
    assert one_line(outcome.err)


def test_a_graph_that_cannot_be_written_is_bad_input(tmp_path):
    """TensorFlow reports a disk error as an OpError."""
    (tmp_path / DATA / "not empty").mkdir(parents=True)
    with tf.Graph().as_default() as graph:
        variable = tf1.get_variable("w", [1])
        saver = checkpoint.saver([variable])
        with new_session(graph) as session:
            session.run(variable.initializer)
            with pytest.raises(InputError, match="cannot be written"):
                checkpoint.export(session, saver, tmp_path)


def test_variables_of_another_net_are_refused(trained_copy, command):
    run = Run(trained_copy, "tiny")
    config = run.config()
    run.write_config({**config, "recipe": {**config["recipe"], "image_size": 32}})
    outcome = command("eval", f"--checkpoints={trained_copy}", "--allow_changed_net")
    assert outcome.status == 2
    assert one_line(outcome.err)
    assert "dense1/w" in outcome.err
    assert "another network" in outcome.err
    run.write_config({**config, "recipe": {**config["recipe"], "net": "vgg"}})
    assert (
        "conv1_1/w found shape [3, 3, 3, 8], expected shape [3, 3, 3, 64]"
        in command("eval", f"--checkpoints={trained_copy}", "--allow_changed_net").err
    )


CONFIGS = {  # name: (text of config.json, words of the message)
    "not json": ("{", "cannot be read"),
    "a list": ("[]", "cannot be read"),
    "an empty object": ("{}", "cannot be read"),
    "binary": ("\x00\x01", "cannot be read"),
    "too deep": ("[" * 200_000, "cannot be read"),
    "a wrong type inside": (lambda c: {**c, "data": 3}, "cannot be read"),
    "a wrong shape": (lambda c: {**c, "data": {**c["data"], "image_shape": "16"}}, "not what train writes"),
    "no recipe's name": (lambda c: {k: v for k, v in c.items() if k != "recipe_name"}, "no 'recipe_name'"),
    "a split of another type": (lambda c: {**c, "split": "first"}, "cannot be read"),
    "an unknown net": (lambda c: {**c, "recipe": {**c["recipe"], "net": "vggg"}}, "did you mean"),
    "an unknown setting": (lambda c: {**c, "recipe": {**c["recipe"], "momentun": 1}}, "unknown name 'momentun'"),
    "a lost setting": (lambda c: {**c, "recipe": {}}, "lacks"),
}


@pytest.mark.parametrize("case", CONFIGS)
def test_a_damaged_config(case, trained_copy, command):
    change, words = CONFIGS[case]
    path = trained_copy / "tiny" / "config.json"
    path.write_text(change if isinstance(change, str) else json.dumps(change(json.loads(path.read_text()))))
    outcome = command("eval", f"--checkpoints={trained_copy}", "--run=tiny")
    assert outcome.status == 2
    assert one_line(outcome.err)
    assert words in outcome.err


def packed(rows):
    """Return the bytes of a split.npz."""
    out = io.BytesIO()
    np.savez_compressed(out, dev_rows=rows)
    return out.getvalue()


SPLITS = {
    "empty": b"",
    "cut": b"PK\x03\x04",
    "gone": None,
    "large": packed(np.zeros(10**6, np.int64)),
    "twice": packed(np.array([3, 3])),
}


@pytest.mark.parametrize("content", SPLITS.values(), ids=SPLITS)
def test_a_damaged_split(content, trained_copy, command):
    path = trained_copy / "tiny" / "split.npz"
    path.unlink() if content is None else path.write_bytes(content)
    outcome = command("eval", f"--checkpoints={trained_copy}", "--run=tiny")
    assert outcome.status == 2
    assert one_line(outcome.err)
    assert "split.npz" in outcome.err


def test_other_data_are_refused_and_moved_data_found(trained_copy, tmp_path, command):
    same = write_folder(tmp_path / "moved")
    assert command("eval", f"--checkpoints={trained_copy}", f"--data={same}").status == 0
    from conftest import tiny_arrays

    other = write_folder(tmp_path / "other", x_train=tiny_arrays(seed=9)[0])
    outcome = command("eval", f"--checkpoints={trained_copy}", f"--data={other}")
    assert outcome.status == 2
    assert "fingerprint" in outcome.err
