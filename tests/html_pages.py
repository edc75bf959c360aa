"""Pages as Python's own HTML parser reads them."""

from collections import Counter
from html.parser import HTMLParser

VOID = ("meta", "img")


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
