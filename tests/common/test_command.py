"""Errors of a command: the line on stderr and the exit status."""

import os
import subprocess
import sys
import tempfile

import pytest

from graphcnn import __version__
from graphcnn.common.command import run_command
from graphcnn.common.errors import PACKAGE, InputError, SettingError
from graphcnn.common.isolated import module_command
from graphcnn.config.flags import new_flags

ENDINGS = {  # name: (what main does, exit status, the line on stderr)
    "no status": (None, 0, ""),
    "a status": (3, 3, ""),
    "bad input": (InputError("x.npy: is\nmissing"), 2, "graphcnn demo: x.npy: is missing\n"),
    "a setting": (
        SettingError("l2", "use {epochs} too", 2), 2, "graphcnn demo: --l2=2: use --epochs too\n",
    ),
    "a file": (FileNotFoundError(2, "No such file", "x.npy"), 2, "graphcnn demo: x.npy: No such file\n"),
    "no file name": (OSError(28, "No space left"), 2, "graphcnn demo: writing: No space left\n"),
    "a closed pipe": (BrokenPipeError(32, "Broken pipe"), 1, ""),
    "interrupted": (KeyboardInterrupt(), 130, "graphcnn demo: interrupted\n"),
    "an unreadable file": (PermissionError(13, "Permission denied"), 2, "graphcnn demo: writing: Permission denied\n"),
}  # fmt: skip


@pytest.mark.parametrize("case", ENDINGS)
def test_exit_status_and_error_line(case, capsys, monkeypatch):
    ending, status, line = ENDINGS[case]
    monkeypatch.setattr(sys, "stdout", sys.stdout)  # restored after the test

    def main(values, positional):
        if isinstance(ending, BaseException):
            raise ending
        return ending

    assert run_command("demo", "", new_flags(), main, []) == status
    assert capsys.readouterr().err == line


def test_flags_and_positional_arguments_reach_main():
    def main(values, positional):
        assert (values.debug, positional) == (True, ["a.png", "b.png"])

    assert run_command("demo", "", new_flags(), main, ["a.png", "--debug", "b.png"]) == 0


def test_an_unknown_flag_is_bad_input(capsys):
    assert run_command("demo", "", new_flags(), lambda values, positional: 0, ["--debugg"]) == 2
    assert "Unknown command line flag 'debugg'" in capsys.readouterr().err


FAULTS = {
    "any other error": (KeyError("x"), "KeyError: 'x'"),
    "no file name": (FileNotFoundError(2, "No such file"), "FileNotFoundError: [Errno 2] No such file"),
    "no error number": (OSError("no\nreason"), "OSError: no reason"),
    "a closed file": (OSError(9, "Bad file descriptor", "x.npy"), "OSError: [Errno 9] Bad file descriptor: 'x.npy'"),
    "a file of the package": (
        FileNotFoundError(2, "No such file", str(PACKAGE / "data" / "x")),
        f"FileNotFoundError: [Errno 2] No such file: '{PACKAGE}/data/x'",
    ),
}


@pytest.mark.parametrize("case", FAULTS)
def test_the_line_of_a_fault_names_a_private_file_with_the_traceback(case, capsys, monkeypatch, tmp_path):
    fault, words = FAULTS[case]
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def main(values, positional):
        raise fault

    assert run_command("demo", "", new_flags(), main, ["a b.png"]) == 1
    (path,) = tmp_path.iterdir()
    end = f"; this is a fault of graphcnn; please report it with the file {path}, which shows where\n"
    assert capsys.readouterr().err == f"graphcnn demo: {words}{end}"
    assert path.stat().st_mode & 0o777 == 0o600
    text = path.read_text()
    assert f"graphcnn {__version__}" in text
    assert "demo 'a b.png'" in text
    assert "in main\n    raise fault" in text


def test_a_fault_without_a_writable_temporary_folder(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "absent"))

    def main(values, positional):
        raise KeyError("x")

    assert run_command("demo", "", new_flags(), main, []) == 1
    err = capsys.readouterr().err
    assert err.startswith("graphcnn demo: KeyError: 'x'; this is a fault of graphcnn, and --debug shows where (no ")
    assert err.count("\n") == 1


def test_a_reader_that_has_ended_is_no_error():
    reading, writing = os.pipe()
    os.close(reading)
    try:
        command = module_command("graphcnn.eval", ["--help"])  # the help is shorter than the buffer of stdout
        done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True)
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")
