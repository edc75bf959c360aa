"""Nets of the user: in a file, or registered from Python."""

import json
import re
from pathlib import Path

import pytest
from conftest import one_line

import graphcnn
from graphcnn.common.errors import InputError
from graphcnn.nets import own
from graphcnn.nets.registry import ARCHITECTURES, NETS, SEQUENTIAL
from graphcnn.nets.sequential import Conv, Dense

PAGE = Path(__file__).resolve().parents[2] / "docs" / "guides" / "own-net.md"
TINY = ("--data=digits", "--epochs=1", "--image_size=16", "--batch_size=500", "--precision=float32")
ROWS = (Conv("conv1", 4, pool=4), Dense("output"))


@pytest.fixture(autouse=True)
def only_known_nets():
    """Forget the nets that a test registers."""
    tables = [NETS, SEQUENTIAL, ARCHITECTURES, own.CODE]
    before = [dict(table) for table in tables]
    yield
    for table, content in zip(tables, before, strict=True):
        table.clear()
        table.update(content)


def blocks_of_page():
    return re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)


@pytest.fixture
def file(tmp_path):
    """A file with both nets of the guide."""
    path = tmp_path / "mynet.py"
    path.write_text("".join(blocks_of_page()[:2]))
    return path


def forget(name):
    for table in (NETS, SEQUENTIAL, ARCHITECTURES, own.CODE):
        table.pop(name, None)


@pytest.mark.parametrize("net", ["small", "residual"])
def test_a_net_in_a_file_is_trained_scored_and_submitted(net, file, command, tmp_path):
    runs, code = f"--checkpoints={tmp_path / 'runs'}", f"--net={file}:{net}"
    assert command("train", *TINY, runs, code, "--run=a").status == 0
    config = json.loads((tmp_path / "runs/a/config.json").read_text())
    assert config["recipe"]["net"] == f"mynet.py:{net}"
    assert re.fullmatch("[0-9a-f]{64}", config["net_code"])
    assert str(tmp_path) not in config["recipe"]["net"]
    forget(f"mynet.py:{net}")
    refused = command("eval", runs)
    assert (refused.status, one_line(refused.err)) == (2, True)
    assert f"name its file: --net=PATH/mynet.py:{net}" in refused.err
    assert command("eval", runs, code).status == 0
    assert command("train", runs, "--run=a", "--resume", "--epochs=2", code).status == 0
    file.write_text(file.read_text() + "\n")
    changed = command("predict", runs, code, "--array=none.npy")
    assert (changed.status, one_line(changed.err)) == (2, True)
    assert "has the sha256" in changed.err


def test_a_config_alone_executes_nothing(file, command, tmp_path):
    runs, marker = f"--checkpoints={tmp_path / 'runs'}", tmp_path / "executed"
    file.write_text(f"{file.read_text()}\nopen({str(marker)!r}, 'w')\n")
    assert command("train", *TINY, runs, f"--net={file}:small", "--run=a").status == 0
    marker.unlink()
    forget("mynet.py:small")
    for name in ("eval", "submit", "explain"):
        assert command(name, runs, *["--split=dev"] * (name == "explain")).status == 2
    assert not marker.exists()


BAD = {  # content of the file: (reference, words of the error)
    "syntax": ("def net(:", "net", "line 1: SyntaxError"),
    "import": ("\nimport no_such_module\n", "net", "line 2: ModuleNotFoundError: No module named"),
    "missing": ("other = 1", "net", "does not define net"),
    "a number": ("net = 3", "net", "found int, expected a tuple of layers"),
    "an error": ("def net(x, classes, context):\n    return x.no", "net", "line 2: AttributeError"),
    "no tensor": ("def net(x, classes, context):\n    return 1", "net", "returned int, expected a tensor"),
    "a wrong shape": ("def net(x, classes, context):\n    return x", "net", "expected logits [None, 10]"),
}


@pytest.mark.parametrize("case", BAD)
def test_faulty_code_is_one_line(case, command, tmp_path):
    content, net, words = BAD[case]
    (tmp_path / "mynet.py").write_text(content)
    outcome = command("train", *TINY, f"--checkpoints={tmp_path / 'runs'}", f"--net={tmp_path / 'mynet.py'}:{net}")
    assert (outcome.status, one_line(outcome.err)) == (2, True)
    assert words in outcome.err


def test_a_missing_file_is_one_line(command, tmp_path):
    outcome = command("train", *TINY, f"--checkpoints={tmp_path}", "--net=nowhere/mynet.py:net")
    assert (outcome.status, one_line(outcome.err)) == (2, True)
    assert "nowhere/mynet.py" in outcome.err


def test_a_registered_net_is_trained_and_loaded_in_python(tmp_path):
    graphcnn.register_net("mine", ROWS)
    settings = {"epochs": 1, "image_size": 16, "batch_size": 500, "precision": "float32", "quiet": True}
    run = graphcnn.train(data="digits", net="mine", checkpoints=tmp_path, **settings)
    with graphcnn.load(run.path) as model:
        assert model.predict(graphcnn.load_data("digits").x_test[:2]).probabilities.shape == (2, 10)
    graphcnn.register_net("mine", (*ROWS[:1], Dense("hidden", 3), *ROWS[1:]))
    with pytest.raises(InputError, match="has the sha256"):
        graphcnn.load(run.path)


@pytest.mark.parametrize(
    ("name", "net", "words"),
    [
        ("vgg", ROWS, "this is a net of graphcnn"),
        ("../x", ROWS, "expected a name of letters"),
        ("mine", (), "found tuple, expected a tuple of layers"),
        ("mine", len, "source of the function cannot be found"),
    ],
)
def test_what_cannot_be_registered(name, net, words):
    with pytest.raises(InputError, match=words):
        graphcnn.register_net(name, net)
    assert "mine" not in NETS
