"""Train with several workers on this machine, each on its own processor cores.

./run.sh launch --workers=2 --data=DIR --run=NAME    all other flags are flags of train

Only the output of worker 0 and error messages are shown. To use several machines, call ./run.sh train on each machine
with its own TF_CONFIG.
"""

from __future__ import annotations

import sys
from itertools import islice
from typing import TYPE_CHECKING

from graphcnn.common.command import run_command
from graphcnn.common.errors import InputError
from graphcnn.config import flags
from graphcnn.training.launch_workers import launch

if TYPE_CHECKING:
    from absl.flags import FlagValues

MOST_WORKERS = 64


def define_flags() -> FlagValues:
    """Return the flags of this command; all other flags are passed to train."""
    values = flags.new_flags()
    text = "number of workers; workers share processor cores if there are more workers than cores"
    flags.define(values, int, "workers", 2, text)
    return values


def main(values: FlagValues, arguments: list[str]) -> int:
    """Start one training process for each worker; return the first exit status that is not 0."""
    if not 1 <= values.workers <= MOST_WORKERS:
        raise InputError(f"--workers: found {values.workers}, expected 1 to {MOST_WORKERS}")
    arguments = values.read_flags_from_files(arguments)
    return launch(values.workers, [*arguments, *["--debug"] * values.debug])


def divided(arguments: list[str]) -> list[str]:
    """Return a command line with train's flags after --, so that they are not parsed as flags of this command."""
    own, others, remaining = [], [], iter(arguments)
    for argument in remaining:
        name, has_value, _ = argument.lstrip("-").partition("=")
        if argument.startswith("-") and name in ("workers", "debug", "help", "h"):
            own += [argument, *islice(remaining, name == "workers" and not has_value)]
        else:
            others.append(argument)
    return [*own, "--", *others]


if __name__ == "__main__":
    sys.exit(run_command("launch", __doc__, define_flags(), main, divided(sys.argv[1:])))
