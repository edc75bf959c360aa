"""Pages as Python's own HTML parser reads them."""

import base64
import io
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

from PIL import Image

VOID = ("meta", "img")
TAGS = {
    "html", "head", "meta", "title", "style", "body", "header", "nav", "a", "h1", "h2", "p", "section", "div", "table",
    "thead", "tbody", "tr", "th", "td", "figure", "figcaption", "img", "pre", "code",
}  # fmt: skip
ATTRIBUTES = {
    "lang", "charset", "http-equiv", "content", "name", "class", "id", "href", "src", "alt", "scope", "style",
    "tabindex",
}  # fmt: skip


class ParsedPage(HTMLParser):
    """The elements of a page: their tags, their attributes and the texts inside them.

    Attributes:
        tags: Counter of the tags.
        attributes: [(tag, {attribute: value})] in the order of the page.
        texts: [(tag of the innermost element, text)].
        ids: the values of all attributes `id`.
    """

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.texts, self.ids, self._open = Counter(), [], [], [], []
        self.feed(text)
        self.close()
        assert self._open == [], "an element is not closed"

    def handle_starttag(self, tag, attrs):
        self.tags[tag] += 1
        self.attributes.append((tag, dict(attrs)))
        self.ids += [value for name, value in attrs if name == "id"]
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if self._open:
            self.texts.append((self._open[-1], data))

    def handle_comment(self, data):
        raise AssertionError("a comment")

    def of(self, tag, name):
        """Return the values of an attribute of all elements with a tag."""
        return [attributes[name] for each, attributes in self.attributes if each == tag and name in attributes]

    def inside(self, tag):
        """Return the texts of all elements with a tag."""
        return [text for each, text in self.texts if each == tag]

    def rows(self, *titles):
        """Return the cells of the rows after a line of these titles, up to the next line of titles."""
        cells = [(tag, text) for tag, text in self.texts if tag in ("th", "td")]
        texts, size = [text for _, text in cells], len(titles)
        first = next(n for n in range(len(texts)) if tuple(texts[n : n + size]) == titles) + size
        rows = []
        while [tag for tag, _ in cells[first : first + size]] == ["th"] + ["td"] * (size - 1):
            rows.append(texts[first : first + size])
            first += size
        return rows

    def check_is_self_contained(self):
        """Check that the page loads, runs and leads to nothing outside of it, and that its links resolve."""
        assert set(self.tags) <= TAGS
        assert self.tags["html"] == self.tags["body"] == self.tags["style"] == self.tags["h1"] == 1
        assert len(self.ids) == len(set(self.ids))
        assert set(self.of("a", "href")) == {f"#{anchor}" for anchor in self.ids}
        assert {name for _, attributes in self.attributes for name in attributes} <= ATTRIBUTES
        assert all(self.of("img", "alt"))
        for uri in self.of("img", "src"):
            kind, content = re.fullmatch(r"data:image/(png|jpeg);base64,(.+)", uri).groups()
            with Image.open(io.BytesIO(base64.b64decode(content, validate=True))) as picture:
                picture.load()
                assert picture.format.lower() == kind


def read_page(outcome):
    """Return the ParsedPage that a call of `report` has written, which printed `outcome`."""
    text = Path(outcome.rpartition("written: ")[2].rpartition(" (")[0]).read_text(encoding="utf-8")
    assert len(text) < 5 << 20
    return ParsedPage(text)
