"""The pages: links lead somewhere, command lines parse, no word of the project's old dialect."""

import dataclasses
import importlib
import re
import shlex
from pathlib import Path

import pytest

from graphcnn.config import suites
from graphcnn.config.recipe import Recipe

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
COMMANDS = (
    "train", "eval", "predict", "submit", "grade", "explain", "export", "experiments", "runs", "report", "inspect",
    "bench", "launch",
)  # fmt: skip
OTHER_FLAGS = {  # of pip, pytest, ruff, absl, grader.py and TensorBoard, and placeholders
    "--check", "--zoo", "--help", "--flagfile", "--name", "--noname", "--submission", "--rows", "--no-deps", "--logdir",
}  # fmt: skip
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`([^`]+)`")
FORBIDDEN = re.compile(
    r"\breports? [A-E]\b|hand(ed)?-in|handed in|since then|\banew\b|not measured yet|was not measured|"
    r"go(es)? on where|contestant|(?<![-\w])peers?\b(?!\.txt)|TODO",
    re.IGNORECASE,
)


def name_of(page):
    return page.relative_to(ROOT).as_posix()


def anchors(page):
    """Return the anchors of a page's headings, as GitHub makes them."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    plain = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title).replace("`", "").lower() for title in titles]
    return {re.sub(r"[^\w\- ]", "", title).replace(" ", "-") for title in plain}


def snippets(page):
    """Return the page's code: each line of its blocks, and each inline snippet as one line."""
    text = page.read_text(encoding="utf-8")
    lines = [line for block in FENCE.findall(text) for line in block.splitlines()[1:-1]]
    text = FENCE.sub("", text)
    lines += [line for line in text.splitlines() if line.startswith("    ")]
    text = "\n".join(line for line in text.splitlines() if not line.startswith("    "))
    return lines + [" ".join(code.split()) for code in CODE.findall(text)]


def command_lines(page):
    """Return the command lines of run.sh on a page, each as a list of words after ./run.sh."""
    texts = [part for line in snippets(page) for part in line.split("&&") if "./run.sh" in part]
    return [shlex.split(text[text.index("./run.sh") :], comments=True)[1:] for text in texts]


def commands_in_docstrings():
    """Return the command lines of run.sh in the package's own text, each with its file."""
    files = sorted((ROOT / "graphcnn").rglob("*.py"))
    lines = [(path, line) for path in files for line in path.read_text(encoding="utf-8").splitlines()]
    texts = [(path, line.strip().lstrip("# ")) for path, line in lines]
    return [(path, text[9:]) for path, text in texts if text.startswith("./run.sh ")]


def flags_of(command):
    names = set(importlib.import_module(f"graphcnn.{command}").define_flags())
    return names | flags_of("train") if command == "launch" else names


def is_flag(word, known):
    """Whether a word --name, --noname or --name=value is one of the known flags."""
    name = word[2:].partition("=")[0]
    return name in known or name.removeprefix("no") in known


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_leads_to_a_file_and_a_heading(page):
    broken = []
    for target in LINK.findall(FENCE.sub("", page.read_text(encoding="utf-8"))):
        path, _, anchor = target.partition("#")
        if re.match(r"https?:", target):
            continue
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(target)
    assert broken == []


def test_every_page_picture_and_result_is_linked():
    linked = set()
    for page in PAGES:
        targets = [target.partition("#")[0] for target in LINK.findall(page.read_text(encoding="utf-8"))]
        linked |= {(page.parent / target).resolve() for target in targets if not target.startswith("http")}
    results = {path.with_suffix(".json") for path in linked if path.with_suffix(".json").exists()}  # beside their pages
    files = {path for path in (ROOT / "docs").rglob("*") if path.is_file()} - {ROOT / "docs" / "index.md"}
    assert files - linked - results == set()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_command_line_names_a_command_and_its_flags(page):
    wrong = []
    for words in command_lines(page):
        if not words or words == ["--help"] or words[0] == "COMMAND":
            continue
        command, *rest = words
        if command == "test":
            paths = [word for word in rest if word.startswith("tests/") and word != "tests/FOLDER"]
            wrong += [word for word in paths if not (ROOT / word).exists()]
            continue
        if command not in COMMANDS:
            wrong.append(f"./run.sh {command}")
            continue
        known = flags_of(command) | {"help"}
        wrong += [f"{command} {word}" for word in rest if word.startswith("-") and not is_flag(word, known)]
    assert wrong == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_flag_in_the_text_exists(page):
    known = set().union(*map(flags_of, COMMANDS))
    words = [word for code in snippets(page) for word in code.split() if re.match(r"--[a-z]", word)]
    assert [word for word in words if not is_flag(word, known) and word.partition("=")[0] not in OTHER_FLAGS] == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_recipe_and_suite_in_a_command_line_exists(page):
    words = [word for line in command_lines(page) for word in line]
    recipes = [word.removeprefix("--recipe=") for word in words if word.startswith("--recipe=")]
    named = [word.removeprefix("--suite=") for word in words if word.startswith("--suite=")]
    assert set(recipes) - {"NAME"} <= set(suites.recipe_names())
    assert set(named) <= set(suites.SUITES)


def wrong_settings(words):
    """Return the settings of --sweep="SETTING=…" among the words that are no settings of a recipe."""
    sweeps = [word.removeprefix("--sweep=") for word in words if word.startswith("--sweep=") and "=" in word[8:]]
    settings = [setting.partition("=")[0] for sweep in sweeps for setting in sweep.split()]
    return [setting for setting in settings if setting not in {field.name for field in dataclasses.fields(Recipe)}]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_swept_setting_exists(page):
    assert [setting for words in command_lines(page) for setting in wrong_settings(words)] == []


def test_every_command_line_in_the_code_names_a_command_and_its_flags():
    wrong = []
    for path, text in commands_in_docstrings():
        command, *rest = re.split(r"\s{2,}|`|, ", text)[0].split(maxsplit=1)
        words = [word.rstrip(",.;:") for word in shlex.split(*rest, comments=True)] if rest else []
        if command in COMMANDS:
            known = flags_of(command) | {"help"}
            wrong += [f"{name_of(path)}: {word}" for word in words if word.startswith("-") and not is_flag(word, known)]
            wrong += [f"{name_of(path)}: {setting}" for setting in wrong_settings(words)]
        elif command not in ("test", "--help"):
            wrong.append(f"{name_of(path)}: {command}")
    assert wrong == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_no_page_speaks_the_old_dialect(page):
    text = " ".join(page.read_text(encoding="utf-8").split())
    assert [found[0] for found in FORBIDDEN.finditer(text)] == []


def test_the_readme_is_short():
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert 150 <= len(lines) <= 200


def test_every_file_that_the_architecture_names_exists():
    folders = [path.name for path in (ROOT / "graphcnn").iterdir() if path.is_dir()]
    names = [code for code in CODE.findall((ROOT / "docs" / "architecture.md").read_text(encoding="utf-8"))]
    paths = [name for name in names if re.fullmatch(r"[\w/]+(\.\w+|/)", name) and "<" not in name]
    inside = {name for name in paths if name.split("/")[0] in folders or name.count("/") == 0}
    known = {path.name for path in (ROOT / "graphcnn").rglob("*")} | {path.name for path in ROOT.iterdir()}
    missing = [name for name in sorted(inside) if "/" in name and not (ROOT / "graphcnn" / name).exists()]
    missing += [name for name in sorted(inside) if "/" not in name and name.endswith(".py") and name not in known]
    missing += [name for name in sorted(set(paths) - inside) if not (ROOT / name).exists()]
    assert missing == []


def test_the_architecture_lists_the_folders_that_a_module_may_import():
    from test_architecture import FOLDERS

    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert tuple(re.findall(r"^\| `(\w+)/` \|", text, re.MULTILINE)) == FOLDERS


def test_contributing_lists_every_part_of_the_tests():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    folders = {path.parent.name for path in (ROOT / "tests").glob("*/test_*.py")}
    assert {name for name in folders if f"`{name}`" not in text} == set()
