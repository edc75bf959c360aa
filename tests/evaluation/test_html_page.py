"""html_page: texts stay texts, and a page needs nothing else."""

import base64
import io
import re

import numpy as np
import pytest
from html_pages import ParsedPage
from PIL import Image

from graphcnn.evaluation.html_page import Element, Section, element, image, page, table
from graphcnn.evaluation.image_uris import EXAMPLE_BYTES, PICTURE_BYTES, example_uri, picture_uri

HOSTILE = [
    "<script>alert(1)</script>",
    "</title></style></p><img src=x onerror=alert(1)>",
    '" onload="alert(1)',
    "' onload='alert(1)",
    "&lt;b&gt; &amp; &#60;",
    "<!-- comment",
    "]]><![CDATA[",
    "javascript:alert(1)",
    "猫 \U0001f408 é",
    "a\\b `c` {d} $e$ %s",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_text_and_an_attribute_come_back_unchanged(text):
    whole = page(text, [element("h1", text)], [Section("a", text, [element("p", text, title=text)])])
    parsed = ParsedPage(whole)
    assert parsed.inside("title") == parsed.inside("h1") == parsed.inside("h2") == parsed.inside("p") == [text]
    assert parsed.inside("a") == [text]
    assert parsed.of("p", "title") == [text]
    assert parsed.tags.keys() == ParsedPage(page("", [element("h1")], [Section("a", "", [element("p")])])).tags.keys()


@pytest.mark.parametrize(
    ("text", "shown"),
    [("a\nb", "a\\nb"), ("\x1b[31m", "\\x1b[31m"), ("x\u202ey", "x\\u202ey"), ("\ud800", "\\ud800"), ("\0", "\\x00")],
)
def test_control_characters_are_escaped(text, shown):
    parsed = ParsedPage(element("p", text, title=text).html())
    assert (parsed.inside("p"), parsed.of("p", "title")) == ([shown], [shown])


@pytest.mark.parametrize("name", ["", "a b", "a>", "A", "1a", 'x="y"', "a/"])
def test_a_name_that_is_no_name_of_html_is_a_fault(name):
    with pytest.raises(ValueError, match="is not a name of HTML"):
        Element(name, {}, ())
    with pytest.raises(ValueError, match="is not a name of HTML"):
        Element("p", {name: "value"}, ())


@pytest.mark.parametrize("uri", ["", "x.png", "http://a/b.png", "data:text/html,x", "javascript:x"])
def test_a_picture_is_only_a_data_uri(uri):
    with pytest.raises(ValueError, match="expected a data: URI"):
        image(uri, "", "picture")


def test_the_cells_of_a_table():
    parsed = ParsedPage(table(("name", "a", "b"), [("x", "1", "2"), ("y", element("td", "3", class_="c"), "4")]).html())
    assert parsed.inside("th") == ["name", "a", "b", "x", "y"]
    assert parsed.inside("td") == ["1", "2", "3", "4"]
    assert parsed.of("td", "class") == ["c"]
    assert parsed.of("th", "scope") == ["col"] * 3 + ["row"] * 2


def test_the_style_loads_nothing_and_has_the_media_that_readers_need():
    text = page("", [], [])
    assert not re.search(r"url\(|@import|@font-face|<script|</style>.*</style>", text, re.DOTALL)
    for media in ("@media print", "prefers-color-scheme: dark", "max-width: 30rem"):
        assert media in text
    assert text.count("{") == text.count("}")
    assert "default-src 'none'" in ParsedPage(text).of("meta", "content")[0]


def decoded(uri):
    kind, _, content = uri.removeprefix("data:image/").partition(";base64,")
    content = base64.b64decode(content, validate=True)
    opened = Image.open(io.BytesIO(content))
    assert opened.format == kind.upper()
    return content, np.asarray(opened)


def noise(height, width):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize("shape", [(1, 1), (8, 5), (32, 32)])
def test_a_small_image_keeps_its_pixels(shape):
    assert np.array_equal(decoded(example_uri(noise(*shape)))[1], noise(*shape))


@pytest.mark.parametrize("shape", [(192, 192), (500, 900), (3, 4000), (4000, 3)])
def test_the_size_of_an_example_is_bounded(shape):
    content, pixels = decoded(example_uri(noise(*shape)))
    assert len(content) <= EXAMPLE_BYTES
    assert max(pixels.shape[:2]) <= 192


@pytest.mark.parametrize("shape", [(300, 400), (1500, 2500)])
def test_the_size_of_a_picture_is_bounded(shape, tmp_path):
    Image.fromarray(noise(*shape)).save(tmp_path / "p.png")
    assert len(decoded(picture_uri(tmp_path / "p.png"))[0]) <= PICTURE_BYTES


@pytest.mark.parametrize("content", [None, b"", b"no image", b"<svg onload='x'/>"])
def test_a_missing_or_damaged_picture_is_left_out(content, tmp_path, capsys):
    path = tmp_path / "p.png"
    if content is not None:
        path.write_bytes(content)
    assert picture_uri(path) is None
    assert (f"left out: {path}: not an image" in capsys.readouterr().out) == (content is not None)


def test_columns_of_texts_and_tables_with_many_columns_are_marked():
    parsed = ParsedPage(table("abcd", [("1", "2", "3", "4")], text_columns=2).html())
    assert [(tag, each.get("class")) for tag, each in parsed.attributes if tag in ("th", "td")] == [
        ("th", None), ("th", "text"), ("th", None), ("th", None),
        ("th", None), ("td", "text"), ("td", None), ("td", None),
    ]  # fmt: skip
    assert parsed.of("table", "class") == ["numbers"]
    assert ParsedPage(table("abcdefghi", []).html()).of("table", "class") == ["numbers wide"]
