"""Self-contained HTML pages: elements that escape every text, and a page without scripts, links out or other files."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from graphcnn.common.progress import say
from graphcnn.common.replace import atomic_write
from graphcnn.common.text import printable

NAME = re.compile(r"[a-z][a-z0-9-]*")  # of an element, an attribute or an anchor
VOID = ("img", "meta")  # elements without content and end tag
WIDE = 8  # more columns are printed in small letters
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


def table(
    titles: Sequence[str], rows: Iterable[Sequence[Node]], numbers: bool = True, text_columns: int = 1
) -> Element:
    """Return a table whose first column has the headings of the rows; on a narrow screen it can be scrolled.

    Args:
        titles: titles of the columns; none for no line of titles.
        rows: the cells of each row.
        numbers: whether the columns after the first `text_columns` have numbers, which are right-aligned and on one
            line.
        text_columns: number of columns with texts in a table with numbers.
    """
    kinds = [{"class_": "text"} if numbers and 0 < n < text_columns else {} for n in range(len(titles))]
    heads = [element("th", title, scope="col", **kind) for title, kind in zip(titles, kinds, strict=True)]
    body = [
        element(
            "tr",
            element("th", first, scope="row"),
            *(_cell(each, n < text_columns) for n, each in enumerate(others, start=1)),
        )
        for first, *others in rows
    ]
    kind = f"{'numbers' if numbers else 'texts'}{' wide' * (len(titles) > WIDE)}"
    titled = [element("thead", element("tr", *heads))] if titles else []
    return scrolled(element("table", *titled, element("tbody", *body), class_=kind))


def _cell(content: Node, text: bool) -> Element:
    """Return a cell of a table, with a text in a table with numbers if `text`; an Element `td` is a cell already."""
    if isinstance(content, Element) and content.tag == "td":
        return content
    return element("td", content, **({"class_": "text"} if text else {}))


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


def write_page(path: Path, title: str, head: Sequence[Element], sections: Sequence[Section]) -> None:
    """Write a page into a file, whose folder is created; print its path. See page."""
    content = page(title, head, sections).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as file:
        file.write(content)
    say(f"written: {path} ({max(1, len(content) >> 10):,} KiB)")


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
