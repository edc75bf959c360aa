"""Write a report on a run as one HTML page: scores, curves, mistakes with activation maps, settings and commands.

./run.sh report                              the newest run, on its dev split
./run.sh report --run=NAME --split=test      another run, on the labelled test split
./run.sh report --run=a --against=b          also compare the run with another one on the same images
"""

from __future__ import annotations

import sys

from absl.flags import FlagValues

from graphcnn.common import paths
from graphcnn.common.command import run_command
from graphcnn.common.errors import InputError, unknown_name
from graphcnn.common.progress import say_if_slow
from graphcnn.config import flags


def define_flags() -> FlagValues:
    """Return the flags of this command."""
    values = flags.new_flags()
    flags.define_run(values)
    flags.define_allow_changed_net(values)
    flags.define_data(values)
    flags.define(values, str, "split", "dev", "split of the run's data to report on: dev, train or test")
    flags.define(values, str, "against", None, "name of a run to compare with on the same images")
    text = "HTML file to write (default: report/report.html in the run folder)"
    flags.define(values, str, "out", None, text)
    return values


def main(values: FlagValues, positional: list[str]) -> None:
    """Write the report and print its path."""
    flags.no_positional(positional)
    if values.split not in flags.SPLITS:
        raise InputError(f"--split: {unknown_name(values.split, flags.SPLITS)}")
    for flag, name in (("run", values.run), ("against", values.against)):
        if "," in (name or ""):
            raise InputError(f"--{flag}={name}: found several runs, expected one; name one of them")

    with say_if_slow("importing TensorFlow"):
        from graphcnn.evaluation.model_data import DataSource
        from graphcnn.evaluation.run_report import write_report
        from graphcnn.evaluation.select_model import select_model

    models = [
        select_model(flags.checkpoints_root(values), run=name, allow_changed_net=values.allow_changed_net)
        for name in [values.run, *[values.against] * bool(values.against)]
    ]
    source = DataSource(values.data, flags.given_options(values))
    out = paths.output_path(values.out) if values.out else None
    write_report(models, values.split, source, out, rescore=values.allow_changed_net)


if __name__ == "__main__":
    sys.exit(run_command("report", __doc__, define_flags(), main))
