"""Draw class activation maps, which show the regions of an image that support a class: blue is low, red is high.

./run.sh explain photo.jpg scan.png                    explain the two most probable classes of each image (newest run)
./run.sh explain photos/                               explain all images below a folder
./run.sh explain --net=efficientnet_lite0 photo.jpg    explain ImageNet's classes with published weights, without a run
./run.sh explain --split=dev --worst=16                explain the 16 dev images whose true class is least probable
"""

from __future__ import annotations

import sys

from absl.flags import FlagValues

from graphcnn.common.command import run_command
from graphcnn.common.errors import InputError
from graphcnn.common.progress import say_if_slow
from graphcnn.config import flags

MOST_IMAGES = 100  # of a picture; drawing more takes minutes and gigabytes


def define_flags() -> FlagValues:
    """Return the flags of this command."""
    values = flags.new_flags()
    flags.define_run(values)
    flags.define_allow_changed_net(values)
    flags.define_data(values)
    flags.define_net(values)
    text = "explain images of this split of the run's data instead of image files: dev, train or test"
    flags.define(values, str, "split", None, text)
    text = (
        f"number of images of --split to explain, at most {MOST_IMAGES}; the images whose true class is least probable "
        "are chosen"
    )
    flags.define(values, int, "worst", 16, text)
    text = (
        "PNG file to write (default: report/explain.png in the run folder; with --net, explain.png in --checkpoints); "
        f"more than {MOST_IMAGES} image files make several files, NAME_1.png, NAME_2.png and so on"
    )
    flags.define(values, str, "out", None, text)
    return values


def main(values: FlagValues, positional: list[str]) -> int:
    """Write the picture and print a line for each image; return the exit status."""
    if bool(values.split) == bool(positional):
        raise InputError("expected image files, folders or patterns, or --split=dev, and not both")
    if values.split not in (None, *flags.SPLITS):
        raise InputError(f"--split: found {values.split!r}, expected {', '.join(flags.SPLITS)}")
    if values.split and not 1 <= values.worst <= MOST_IMAGES:
        raise InputError(f"--worst: found {values.worst}, expected a whole number from 1 to {MOST_IMAGES}")
    if values["worst"].present and not values.split:
        raise InputError("--worst: is for --split; drop --worst, or use --split instead of image files")
    net = flags.net(
        values, ("run", "split", "worst", "data", "label_file", "cache_dir", "skip_broken", "allow_changed_net")
    )

    with say_if_slow("importing TensorFlow"):
        from graphcnn.evaluation.explain_images import WorstRows, explain_files, explain_rows
        from graphcnn.evaluation.model_data import DataSource
        from graphcnn.evaluation.select_model import select_model

    root = flags.checkpoints_root(values)
    model = select_model(
        root,
        run=values.run,
        net=net,
        weights=values.weights,
        data_cache=values.data_cache,
        allow_changed_net=values.allow_changed_net,
        own_net=flags.own_net(values),
    )
    if values.split:
        source = DataSource(values.data, flags.given_options(values))
        explain_rows(model, WorstRows(values.split, values.worst, source), values.out)
        return 0
    return explain_files(model, positional, values.out, MOST_IMAGES)


if __name__ == "__main__":
    sys.exit(run_command("explain", __doc__, define_flags(), main))
