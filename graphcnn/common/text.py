"""Names from other people's files as text that is safe on a terminal."""

from __future__ import annotations

import re

# Control characters, the separators of lines and paragraphs, marks that change the direction of text, lone surrogates
UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def printable(text: str) -> str:
    r"""Return a text on one line: control characters become escapes such as \n, \x1b or \u202e.

    A terminal obeys such characters: they move the cursor, change the title, or show text in another order.
    """
    return UNSAFE.sub(_escaped, text)


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    return SHORT.get(match[0]) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")
