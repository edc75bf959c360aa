"""Write a report as one HTML page: scores, curves, mistakes with activation maps, settings and commands.

./run.sh report                              the newest run, on its dev split
./run.sh report --run=NAME --split=test      another run, on the labelled test split
./run.sh report --run=a --against=b          also compare the run with another one on the same images
./run.sh report --run=a,b,c                  an ensemble of three runs
./run.sh report --suite=NAME                 a suite or a sweep of `experiments`, and the run of its best experiment
"""

from __future__ import annotations

import sys

from absl.flags import FlagValues

from graphcnn.common import paths
from graphcnn.common.command import run_command
from graphcnn.common.errors import FileError, InputError, unknown_name
from graphcnn.common.progress import say_if_slow
from graphcnn.config import flags


def define_flags() -> FlagValues:
    """Return the flags of this command."""
    values = flags.new_flags()
    flags.define_ensemble(values)
    flags.define(values, str, "suite", None, "name of a suite or a sweep of experiments, instead of a run")
    flags.define_allow_changed_net(values)
    flags.define_own_net(values)
    flags.define_data(values)
    flags.define(values, str, "split", "dev", "split of the run's data to report on: dev, train or test")
    flags.define(values, str, "against", None, "run to compare with on the same images, or a,b,c for an ensemble")
    text = (
        "HTML file to write (default: report.html in the report folder of the run or the ensemble, or in the "
        "suite's folder)"
    )
    flags.define(values, str, "out", None, text)
    return values


def main(values: FlagValues, positional: list[str]) -> None:
    """Write the report and print its path."""
    flags.no_positional(positional)
    if values.split not in flags.SPLITS:
        raise InputError(f"--split: {unknown_name(values.split, flags.SPLITS)}")
    flags.ensemble(values)
    for flag in ("run", "against"):
        if values.suite and values[flag].value:
            raise InputError(f"--suite and --{flag} exclude each other; drop one of them")
    out = paths.output_path(values.out) if values.out else None
    if out and out.is_dir():
        raise FileError(out, "is a folder, expected the name of a file to write; add a file name")

    with say_if_slow("importing TensorFlow"):
        from graphcnn.evaluation.model_data import DataSource
        from graphcnn.evaluation.run_report import write_report
        from graphcnn.evaluation.select_model import select_model
        from graphcnn.sweeps.suite_report import write_suite_report

    root, source = flags.checkpoints_root(values), DataSource(values.data, flags.given_options(values))
    if values.suite:
        return write_suite_report(root, values.suite, values.split, source, out, values.allow_changed_net)
    models = [
        select_model(root, **flags.model_arguments(values, name))
        for name in [values.run, *[values.against] * bool(values.against)]
    ]
    write_report(models, values.split, source, out, rescore=values.allow_changed_net)


if __name__ == "__main__":
    sys.exit(run_command("report", __doc__, define_flags(), main))
