"""Names as text on a terminal and in Markdown."""

import io

import pytest
from markdown_it import MarkdownIt
from rich.table import Table

from graphcnn.common import progress
from graphcnn.common.text import code, code_block, markdown, printable

PLAIN = ["four_layer_1", "a < b & c > d", "日本語", "é", "👩‍👩‍👧", "0.5 ± 0.1 (2)", "x: y, z.", "train − dev"]
HOSTILE = {  # name: what a terminal shows
    "\x1b]0;title\x07": "\\x1b]0;title\\x07",
    "a\nb\r\tc": "a\\nb\\r\\tc",
    "\x7f\x80\x9b31m\x9f": "\\x7f\\x80\\x9b31m\\x9f",
    "\u202eevil\u2066\u2069\u200f": "\\u202eevil\\u2066\\u2069\\u200f",
    "a\u2028b\u2029": "a\\u2028b\\u2029",
    "\udcff": "\\udcff",
    "[bold red]x[/]": "[bold red]x[/]",
    ":smile:": ":smile:",
}
MARKUP = [
    "a|b", "`c`", "``", "*d*", "_e_", "__f__", "~~g~~", "<script>alert(1)</script>", "<http://x.org>", "<!-- -->",
    "&lt;", "[text](http://x.org)", "![image](x.png)", "$x^2$", "\\", "\\|", "a`", "~g~", "<b", "[a]: b", "**",
    "|\n|---|",
]  # fmt: skip


@pytest.mark.parametrize(("name", "shown"), [*HOSTILE.items(), *((name, name) for name in PLAIN)])
def test_a_terminal_gets_one_line_without_control_characters(name, shown, capsys, monkeypatch):
    assert printable(name) == shown
    progress.say(name, name)
    progress.complain(name)
    assert tuple(capsys.readouterr()) == (f"{shown}\n{shown}\n", f"{shown}\n")

    terminal = progress.PlainConsole(
        file=io.StringIO(), force_terminal=True, color_system=None, width=200, soft_wrap=True
    )
    monkeypatch.setattr(progress, "console", terminal)
    table = Table(name, title=name, caption=name)
    table.add_row(name)
    progress.say(name)
    progress.print_table(table)
    with progress.bar(name, 1) as advance:
        advance(1)
    written = terminal.file.getvalue()
    assert written.startswith(f"{shown}\n")
    assert written.count(shown) >= 5
    assert name in PLAIN or name == shown or name not in written


@pytest.mark.parametrize("name", [*PLAIN, *HOSTILE, *MARKUP])
def test_markdown_shows_a_name_as_it_is(name):
    """The renderer is that of rich."""
    renderer = MarkdownIt("gfm-like", {"linkify": False})
    tokens = renderer.parse(f"| title |\n| --- |\n| {markdown(name)} |\n\n- 0: {markdown(name)}\n")
    texts = [token for token in tokens if token.type == "inline"][1:]
    assert len(texts) == 2
    for token in texts:
        assert {child.type for child in token.children} <= {"text", "text_special"}
        assert "".join(child.content for child in token.children).removeprefix("0: ") == printable(name).strip()


@pytest.mark.parametrize("name", [*PLAIN, *HOSTILE, *MARKUP])
def test_code_of_markdown_cannot_be_left(name):
    (token,) = MarkdownIt().parseInline(f"x {code(name)} y")
    assert [child.type for child in token.children] == ["text", "code_inline", "text"]
    assert token.children[1].content.strip() == printable(name).strip()
    (token,) = MarkdownIt().parse("\n".join(code_block([name, "```", name])))
    assert (token.type, token.content) == ("fence", f"{printable(name)}\n```\n{printable(name)}\n")


@pytest.mark.parametrize("name", PLAIN)
def test_usual_names_are_not_changed(name):
    assert (printable(name), markdown(name), code(name)) == (name, name, f"`{name}`")
