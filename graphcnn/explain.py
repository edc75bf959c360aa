"""Draw class activation maps: which positions of an image support a class, from blue (low) to red (high).

./run.sh explain photo.jpg scan.png              with the newest run: the two most probable classes of each image
./run.sh explain --net=efficientnet_lite0 photo.jpg      ImageNet's classes, with published weights, without a run
./run.sh explain --split=dev --worst=16          rows whose labels are least probable: the predicted and the true class
"""

from __future__ import annotations

import sys

from absl.flags import FlagValues

from graphcnn.common.command import run_command
from graphcnn.common.errors import InputError
from graphcnn.config import flags


def define_flags() -> FlagValues:
    """Return the flags of this command."""
    values = flags.new_flags()
    flags.define_run(values)
    flags.define_data(values)
    flags.define_net(values)
    text = f"explain rows of this split of the run's data instead of image files: {' | '.join(flags.SPLITS)}"
    flags.define(values, str, "split", None, text)
    text = "number of rows of the split to explain: those whose labels are least probable"
    flags.define(values, int, "worst", 16, text)
    text = "the PNG file to write (default: report/explain.png in the run's folder)"
    flags.define(values, str, "out", None, text)
    return values


def main(values: FlagValues, positional: list[str]) -> None:
    """Write the sheet and print a line for each image."""
    if bool(values.split) == bool(positional):
        raise InputError("expected image files, or --split=dev, and not both")
    if values.split not in (None, *flags.SPLITS):
        raise InputError(f"--split: found {values.split!r}, expected {', '.join(flags.SPLITS)}")
    if values.worst < 1:
        raise InputError(f"--worst: found {values.worst}, expected a whole number at least 1")
    if values["worst"].present and not values.split:
        raise InputError("--worst: is for --split; drop it, or drop the image files")
    net = flags.net(values, ("run", "split", "worst", "data", "cache_dir", "skip_broken"))

    from graphcnn.evaluation.explain_images import WorstRows, explain_files, explain_rows
    from graphcnn.evaluation.model_data import DataSource
    from graphcnn.evaluation.select_model import select_model

    root = flags.checkpoints_root(values)
    model = select_model(root, run=values.run, net=net, weights=values.weights, data_cache=values.data_cache)
    if values.split:
        source = DataSource(values.data, flags.given_options(values))
        explain_rows(model, WorstRows(values.split, values.worst, source), values.out)
    else:
        explain_files(model, positional, values.out)


if __name__ == "__main__":
    sys.exit(run_command("explain", __doc__, define_flags(), main))
