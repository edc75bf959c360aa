"""The program graphcnn of an installed package: graphcnn COMMAND [flags]. In a clone, run.sh starts the commands."""

from __future__ import annotations

import runpy
import sys

from graphcnn import __version__
from graphcnn.config.commands import COMMANDS

HELP = ("-h", "--help", "help")


def main() -> int:
    """Run the command that the first argument names; return the exit status if there is no such command."""
    command = sys.argv[1] if len(sys.argv) > 1 else ""
    if command in COMMANDS:
        del sys.argv[0]
        runpy.run_module(f"graphcnn.{command}", run_name="__main__", alter_sys=True)  # raises SystemExit
    if command == "--version":
        print(f"graphcnn {__version__}")
        return 0
    if command in HELP:
        lines = [f"  {name:<12} {text}" for name, text in COMMANDS.items()]
        text = "graphcnn COMMAND --help lists the flags of a command."
        try:
            print("\n".join(["usage: graphcnn COMMAND [flags]", "", *lines, "", text]), flush=True)
        except BrokenPipeError:  # the process that reads stdout has ended, as in `graphcnn --help | head`
            sys.stdout = None
            return 1
        return 0
    if command == "test":
        print("graphcnn: the tests are not installed; in a clone, call ./run.sh test", file=sys.stderr)
        return 2
    unknown = f"unknown command {command!r}; " if command else ""
    names = "|".join(COMMANDS)
    print(
        f"graphcnn: {unknown}usage: graphcnn {names} [flags]   (graphcnn --help explains the commands)", file=sys.stderr
    )
    return 2


if __name__ == "__main__":
    sys.exit(main())
