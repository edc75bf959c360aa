"""Coverage-guided fuzzing of the readers, a million inputs in the long form; see fuzz.py.

Without atheris, and in the short form, test_inputs.py tries the same readers with the inputs of hypothesis.
"""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest
from fuzz import READERS
from trials import LONG

pytestmark = [
    pytest.mark.faults,
    pytest.mark.skipif(not LONG, reason="in the long form alone"),
    pytest.mark.skipif(not importlib.util.find_spec("atheris"), reason="requirements-dev.txt is not installed"),
]


@pytest.mark.parametrize("reader", READERS)
def test_every_input_is_read_or_refused(reader, tally):
    command = [sys.executable, Path(__file__).with_name("fuzz.py"), reader, str(READERS[reader][1])]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    runs = re.findall(r"^#(\d+)\t", done.stderr, re.MULTILINE)
    tally(f"inputs guided by coverage: {reader}", lost=done.returncode != 0, tried=int(runs[-1]))
    assert done.returncode == 0, done.stderr[-3000:]
