"""List the runs with their states and scores, compare runs, or delete runs.

./run.sh runs                        list all runs, the newest first
./run.sh runs --sort=score --json    list them as JSON, the best score first
./run.sh runs a b c                  compare the settings, scores and curves of three runs
./run.sh runs --delete=a,b           show the sizes of two runs, ask, and delete them
"""

from __future__ import annotations

import sys

from absl.flags import FlagValues

from graphcnn.common import paths
from graphcnn.common.command import run_command
from graphcnn.common.errors import InputError, unknown_name
from graphcnn.config import flags


def define_flags() -> FlagValues:
    """Return the flags of this command."""
    values = flags.new_flags()
    text = (
        "order of the list: age (the newest first), name, score (the highest dev macro F1 first), seconds or epochs "
        "(the longest first)"
    )
    flags.define(values, str, "sort", "age", text)
    flags.define(values, bool, "json", False, "print the list as one JSON document instead of a table")
    text = "PNG file to write for a comparison (default: comparison.png in --checkpoints)"
    flags.define(values, str, "out", None, text)
    flags.define(values, str, "delete", None, "name of the run to delete, or a,b,c for several runs")
    flags.define(values, bool, "yes", False, "delete the runs of --delete without a question")
    flags.define_checkpoints(values)
    return values


def main(values: FlagValues, positional: list[str]) -> None:
    """List the runs, or compare the runs that `positional` names, or delete those that --delete names."""
    _check(values, positional)
    root = flags.checkpoints_root(values)
    if values["delete"].present:
        from graphcnn.storage.delete_runs import delete_runs

        return delete_runs(root, values.delete.split(","), values.yes)
    if positional:
        from graphcnn.evaluation.run_comparison import compare_runs

        return compare_runs(root, positional, paths.output_path(values.out or str(root / "comparison.png")))
    from graphcnn.evaluation.run_list import print_runs
    from graphcnn.storage.list_runs import ORDERS

    if values.sort not in ORDERS:
        raise InputError(f"--sort: {unknown_name(values.sort, ORDERS)}")
    return print_runs(root, values.sort, values.json)


def _check(values: FlagValues, positional: list[str]) -> None:
    """Refuse flags and names that do not go together."""
    if values["delete"].present and positional:
        raise InputError(f"found {positional[0]!r} beside --delete; write the runs to delete as --delete=a,b")
    if len(positional) == 1:
        raise InputError(f"found one run, {positional[0]!r}, expected two or more runs to compare")
    task = "a deletion" if values["delete"].present else "a comparison" if positional else "the list"
    flags_of = {"a deletion": ("yes",), "a comparison": ("out",), "the list": ("sort", "json")}
    for flag in ("sort", "json", "out", "yes"):
        if values[flag].present and flag not in flags_of[task]:
            raise InputError(f"--{flag}: has no effect on {task}; drop the flag")


if __name__ == "__main__":
    sys.exit(run_command("runs", __doc__, define_flags(), main))
