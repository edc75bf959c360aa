"""Report on data without training: images of each class, identical images, sizes, and a picture.

./run.sh inspect --data=DIR            print the report and draw data.png
./run.sh inspect --data=DIR --json     print the report as JSON
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from graphcnn.common import paths
from graphcnn.common.command import run_command
from graphcnn.common.errors import InputError
from graphcnn.config import flags
from graphcnn.config.recipe import Recipe

if TYPE_CHECKING:
    from absl.flags import FlagValues


def define_flags() -> FlagValues:
    """Return the flags of this command."""
    values = flags.new_flags()
    text = f"data to inspect: see train (default: data/ {paths.BASE_NAME} if it holds x_train.npy, else digits)"
    flags.define_data(values, text)
    text = "height and width in pixels to which image files are resized"
    flags.define(values, int, "image_size", Recipe().image_size, text)
    flags.define(values, str, "out", None, "PNG file to write (default: data.png in the current folder)")
    flags.define(values, bool, "json", False, "print the report as one JSON document instead of lines and tables")
    text = "fraction of the training images in the dev split; 0 for no dev split (default: 0.25)"
    flags.define_dev_split(values, None, text)
    flags.define_fit(values)
    return values


def main(values: FlagValues, positional: list[str]) -> None:
    """Print the report of the data that the flags name."""
    flags.no_positional(positional)
    limits = Recipe.__dataclass_fields__["image_size"].metadata
    if not limits["low"] <= values.image_size <= limits["high"]:
        expected = f"from {limits['low']} to {limits['high']}"
        raise InputError(f"--image_size: found {values.image_size}, expected a number {expected}")
    from graphcnn.data import sources
    from graphcnn.evaluation.data_report import InspectRequest, inspect_data

    inspect_data(
        InspectRequest(
            data=values.data or sources.default_source(),
            options=sources.DataOptions(values.image_size, **flags.given_options(values)),
            dev_split=flags.dev_split(values),
            dev_fraction=values.dev_fraction,
            out=paths.output_path(values.out or "data.png"),
            as_json=values.json,
        )
    )


if __name__ == "__main__":
    sys.exit(run_command("inspect", __doc__, define_flags(), main))
