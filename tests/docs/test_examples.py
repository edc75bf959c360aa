"""The Python examples of the pages run, in a folder with a run and a submission."""

import functools
import re
from pathlib import Path

import numpy as np
import pytest

from graphcnn.config.recipe import Recipe

ROOT = Path(__file__).resolve().parents[2]


def examples(page):
    return re.findall(r"^```python\n(.*?)^```$", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.fixture
def folder(trained, tmp_path, monkeypatch):
    """The current folder, with checkpoints/digits-1, x_test.npy and what submit writes."""
    checkpoints, data = trained
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "digits-1").symlink_to(checkpoints / "tiny")
    (tmp_path / "x_test.npy").symlink_to(data / "x_test.npy")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_readme_predicts_with_a_run(folder):
    (example,) = examples("README.md")
    names = {}
    exec(example, names)
    assert names["probabilities"].shape == (2, 3)
    assert np.allclose(names["probabilities"].sum(axis=1), 1, atol=1e-5)


def test_the_graph_contract_predicts_with_a_submission(folder, trained, command):
    assert command("submit", f"--checkpoints={trained[0]}", f"--out={folder / 'submission'}").status == 0
    (example,) = examples("docs/reference/graph-contract.md")
    names = {}
    exec(example, names)
    assert names["probabilities"] == pytest.approx(np.load("submission/result.npy"), abs=1e-5)


def test_the_architecture_adds_a_network(monkeypatch):
    """Each block works as pasted into the file that the page names."""
    import test_networks
    import test_parameters

    from graphcnn.graphs.inference import build_inference, count_parameters
    from graphcnn.nets import registry, sequential, vgg

    entry, parameters = examples("docs/architecture.md")
    ((name, rows),) = eval(f"{{{entry}}}", vars(vgg)).items()
    monkeypatch.setitem(registry.SEQUENTIAL, name, rows)
    monkeypatch.setitem(registry.NETS, name, functools.partial(sequential.build, rows))
    expected = eval(f"{{{parameters}}}", vars(test_parameters))
    assert expected == {name: count_parameters(build_inference(Recipe(net=name), (32, 32), 10))}
    row = f"| `{name}` | {', '.join(filter(None, map(test_networks.described, rows)))} |"
    assert f"\n```\n{row}\n```\n" in (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
