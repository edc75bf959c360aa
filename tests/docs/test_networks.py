"""docs/reference/nets.md lists the sequential nets, and docs/guides/zoo.md the other ones."""

import re
from pathlib import Path

from graphcnn.config.recipe import Recipe
from graphcnn.graphs.inference import build_inference
from graphcnn.nets.registry import ARCHITECTURES, SEQUENTIAL
from graphcnn.nets.sequential import Conv, Dense

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = (DOCS / "reference" / "nets.md").read_text(encoding="utf-8")


def described(row):
    """Return a layer as the page describes it; "" for a layer without variables."""
    if isinstance(row, Conv):
        return f"`{row.scope}` {row.filters}"
    if not isinstance(row, Dense):
        return ""
    return f"`{row.scope}`{f' {row.units}' if row.units else ''}{' with activation' if row.activation else ''}"


def test_the_page_has_the_layers_of_every_sequential_net():
    nets = {name: rows for name, rows in SEQUENTIAL.items() if name not in ARCHITECTURES}
    expected = {name: ", ".join(filter(None, map(described, rows))) for name, rows in nets.items()}
    assert dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", PAGE, re.MULTILINE)) == expected


def test_the_guide_has_every_architecture():
    guide = (DOCS / "guides" / "zoo.md").read_text(encoding="utf-8")
    assert [name for name in ARCHITECTURES if f"`{name}`" not in guide] == []


def test_the_page_has_the_name_of_every_variable():
    for settings in ({}, {"batch_norm": True}, {"batch_norm": True, "batch_norm_position": "after", "head": "pooled"}):
        graph = build_inference(Recipe(net="vgg_tiny", whitening_patch_size=2, **settings), (32, 32), 10)
        for variable in graph.variables:
            scope, _, leaf = variable.op.name.partition("/")
            assert f"`{scope}/{leaf}`" in PAGE or f"`<scope>/{leaf}`" in PAGE, variable.op.name
