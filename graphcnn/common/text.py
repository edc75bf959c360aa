"""Names from other people's files as text on a terminal, in Markdown and in spreadsheets."""

from __future__ import annotations

import re
from collections.abc import Iterable

# Control characters, line and paragraph separators, marks that change the direction of text, lone surrogates
UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
MARKDOWN = re.compile(r"[\\`*\[\]|~$]|(?<![^\W_])_|_(?![^\W_])|<(?=[A-Za-z/!?])|&(?=[#A-Za-z])")  # syntax of Markdown
FORMULA = re.compile(r"(^|;)(\s*[=+\-@＝＋－＠])")  # a spreadsheet may also split cells at semicolons
SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def printable(text: str) -> str:
    r"""Return a text on one line: control characters become escapes such as \n, \x1b or \u202e.

    In a terminal, these characters move the cursor, change the title or reverse the order of text.
    """
    return UNSAFE.sub(_escaped, text)


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    return SHORT.get(match[0]) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")


def shortened(text: str, longest: int) -> str:
    """Return a text of at most `longest` characters: the middle of a longer text becomes an ellipsis."""
    return text if len(text) <= longest else f"{text[: longest - 9]}…{text[-8:]}"


def markdown(text: str) -> str:
    """Return a text, on one line, that Markdown shows unchanged: without formatting, links, HTML or new table cells."""
    return MARKDOWN.sub(r"\\\g<0>", printable(text))


def cell(text: str) -> str:
    """Return a name as a cell that a spreadsheet shows as text, on one line.

    An apostrophe is written before the characters = + - and @ at the start of a name and after a semicolon. Without it,
    a spreadsheet would run the name as a formula.
    """
    return FORMULA.sub(r"\1'\2", printable(text))


def code(text: str) -> str:
    """Return a text as inline code in Markdown."""
    fence = _fence(text, 1)
    space = " " * (text.startswith("`") or text.endswith("`"))
    return f"{fence}{space}{printable(text)}{space}{fence}"


def code_block(lines: Iterable[str]) -> list[str]:
    """Return the lines of a Markdown code block."""
    lines = [printable(line) for line in lines]
    fence = _fence("\n".join(lines), 3)
    return [fence, *lines, fence]


def _fence(text: str, shortest: int) -> str:
    """Return a sequence of at least `shortest` backticks that is longer than any sequence of backticks in the text."""
    return "`" * max(shortest, *(len(ticks) + 1 for ticks in re.findall("`+", text)), 0)
