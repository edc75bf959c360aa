"""Self-contained HTML pages: elements that escape every text, and a page without scripts, links out or other files."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from graphcnn.common.text import printable

NAME = re.compile(r"[a-z][a-z0-9-]*")  # of an element, an attribute or an anchor
VOID = ("img", "meta")  # elements without content and end tag
STYLE = Path(__file__).with_name("html_page.css")
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"  # a browser then loads and runs nothing


@dataclass(frozen=True)
class Element:
    """An element of HTML. Its texts are data, never markup: `html` escapes them.

    Attributes:
        tag: name of the element.
        attributes: {name: value}.
        children: elements and texts.
    """

    tag: str
    attributes: dict[str, str]
    children: tuple[Element | str, ...]

    def __post_init__(self) -> None:
        for name in (self.tag, *self.attributes):
            if not NAME.fullmatch(name):
                raise ValueError(f"{name!r} is not a name of HTML")

    def html(self) -> str:
        """Return the element as HTML."""
        attributes = "".join(f' {name}="{escaped(value)}"' for name, value in self.attributes.items())
        start = f"<{self.tag}{attributes}>"
        if self.tag in VOID:
            return start
        children = "".join(escaped(child) if isinstance(child, str) else child.html() for child in self.children)
        return f"{start}{children}</{self.tag}>"


Node = Element | str


class Section(NamedTuple):
    """A section of a page.

    Attributes:
        anchor: name that links inside the page lead to.
        title: its heading.
        content: its elements.
    """

    anchor: str
    title: str
    content: Sequence[Element]


def escaped(text: str) -> str:
    """Return a text as HTML shows it, on one line: markup is escaped, and so are control characters."""
    return html.escape(printable(text), quote=True)


def element(tag: str, *children: Node, **attributes: str) -> Element:
    """Return an Element. In the names of attributes, a trailing underscore is dropped: class_ becomes class."""
    return Element(tag, {name.rstrip("_"): value for name, value in attributes.items()}, children)


def table(titles: Sequence[str], rows: Iterable[Sequence[Node]], numbers: bool = True) -> Element:
    """Return a table whose first column has the headings of the rows; on a narrow screen it can be scrolled.

    Args:
        titles: titles of the columns; none for no line of titles.
        rows: the cells of each row.
        numbers: whether the columns after the first have numbers, which are right-aligned and on one line.
    """
    titled = (
        [element("thead", element("tr", *(element("th", title, scope="col") for title in titles)))] if titles else []
    )
    body = [
        element("tr", element("th", first, scope="row"), *(_cell(each) for each in others)) for first, *others in rows
    ]
    kind = "numbers" if numbers else "texts"
    return scrolled(element("table", *titled, element("tbody", *body), class_=kind))


def _cell(content: Node) -> Element:
    """Return a cell of a table; an Element `td` is a cell already."""
    return content if isinstance(content, Element) and content.tag == "td" else element("td", content)


def scrolled(content: Element) -> Element:
    """Return an element in a box that can be scrolled from side to side, also with the keyboard."""
    return element("div", content, class_="scroll", tabindex="0")


def image(uri: str, alternative: str, kind: str) -> Element:
    """Return a picture.

    Args:
        uri: a data: URI.
        alternative: text for readers who do not see the picture.
        kind: its class in html_page.css: picture (as wide as the page), photo, or pixels (few pixels, enlarged).

    Raises:
        ValueError: the URI leads to another file.
    """
    if not uri.startswith("data:image/"):
        raise ValueError("expected a data: URI")
    return element("img", src=uri, alt=alternative, class_=kind)


def page(title: str, head: Sequence[Element], sections: Sequence[Section]) -> str:
    """Return a page as a complete HTML document.

    Args:
        title: title of the window.
        head: elements above the list of the sections.
        sections: the sections in order. Their anchors are different.
    """
    links = [element("a", section.title, href=f"#{section.anchor}") for section in sections]
    parts = [
        element("section", element("h2", section.title), *section.content, id=section.anchor) for section in sections
    ]
    lines = [
        "<!DOCTYPE html>",
        '<html lang="en">',
        "<head>",
        '<meta charset="utf-8">',
        Element("meta", {"http-equiv": "Content-Security-Policy", "content": POLICY}, ()).html(),
        element("meta", name="viewport", content="width=device-width, initial-scale=1").html(),
        element("meta", name="color-scheme", content="light dark").html(),
        element("title", title).html(),
        f"<style>\n{STYLE.read_text(encoding='utf-8')}</style>",
        "</head>",
        "<body>",
        element("header", *head).html(),
        element("nav", *links).html(),
        *(part.html() for part in parts),
        "</body>",
        "</html>",
    ]
    return "\n".join(lines) + "\n"
