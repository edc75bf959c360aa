"""Write the inference graph of a run as a file for other programs, and verify the outputs of the file.

./run.sh export --format=savedmodel           write the newest run as a folder for TensorFlow and TensorFlow Serving
./run.sh export --format=tflite --run=NAME    write another run as a file for TensorFlow Lite
./run.sh export --format=npz --run=a,b,c      write an ensemble of three runs as NumPy arrays and JSON

The runtime of the format computes the probabilities of 256 images from the new file. The file replaces an older one
only if these probabilities agree with the graph's to 1e-4.
"""

from __future__ import annotations

import sys

from absl.flags import FlagValues

from graphcnn.common import paths
from graphcnn.common.command import run_command
from graphcnn.common.errors import InputError, unknown_name
from graphcnn.common.progress import say_if_slow
from graphcnn.config import flags
from graphcnn.exporters.common import ENDINGS


def define_flags() -> FlagValues:
    """Return the flags of this command."""
    values = flags.new_flags()
    flags.define_ensemble(values)
    flags.define_allow_changed_net(values)
    flags.define_own_net(values)
    flags.define_data(values)
    flags.define_calibrated(values)
    flags.define(values, str, "format", "savedmodel", "format to write: savedmodel, tflite or npz")
    text = f"file or folder to write (default: export/RUN {paths.BASE_NAME}, with the ending of the format)"
    flags.define(values, str, "out", None, text)
    return values


def main(values: FlagValues, positional: list[str]) -> None:
    """Write the export, verify it and move it to its path."""
    flags.no_positional(positional)
    if values.format not in ENDINGS:
        raise InputError(f"--format: {unknown_name(values.format, ENDINGS)}")
    flags.ensemble(values)

    with say_if_slow("importing TensorFlow"):
        from graphcnn.evaluation.model_data import DataSource
        from graphcnn.evaluation.select_model import select_model
        from graphcnn.exporters.write import default_name, export

    model = select_model(flags.checkpoints_root(values), **flags.model_arguments(values, values.run))
    out = paths.output_path(values.out) if values.out else paths.EXPORTS / default_name(model, values.format)
    export(model, values.format, DataSource(values.data, flags.given_options(values)), out)


if __name__ == "__main__":
    sys.exit(run_command("export", __doc__, define_flags(), main))
