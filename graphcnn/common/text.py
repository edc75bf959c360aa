"""Names from other people's files as text on a terminal and in Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable

# Control characters, the separators of lines and paragraphs, marks that change the direction of text, lone surrogates
UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
MARKDOWN = re.compile(r"[\\`*\[\]|~$]|(?<![^\W_])_|_(?![^\W_])|<(?=[A-Za-z/!?])|&(?=[#A-Za-z])")  # what formats text
SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def printable(text: str) -> str:
    r"""Return a text on one line: control characters become escapes such as \n, \x1b or \u202e.

    A terminal obeys such characters: they move the cursor, change the title, or show text in another order.
    """
    return UNSAFE.sub(_escaped, text)


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    return SHORT.get(match[0]) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")


def markdown(text: str) -> str:
    """Return a text that Markdown shows as it is, on one line: no formatting, link, HTML or end of a table's cell."""
    return MARKDOWN.sub(r"\\\g<0>", printable(text))


def code(text: str) -> str:
    """Return a text as inline code of Markdown."""
    fence = _fence(text, 1)
    space = " " * (text.startswith("`") or text.endswith("`"))
    return f"{fence}{space}{printable(text)}{space}{fence}"


def code_block(lines: Iterable[str]) -> list[str]:
    """Return the lines of a code block of Markdown."""
    lines = [printable(line) for line in lines]
    fence = _fence("\n".join(lines), 3)
    return [fence, *lines, fence]


def _fence(text: str, shortest: int) -> str:
    """Return more backticks than any sequence of them in the text, and at least `shortest`."""
    return "`" * max(shortest, *(len(ticks) + 1 for ticks in re.findall("`+", text)), 0)
