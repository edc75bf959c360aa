"""Write the inference graph of a run for another program, and compare that program's outputs with ours.

  ./run.sh export --format=savedmodel             the newest run, as a folder for TensorFlow and its servers
  ./run.sh export --format=tflite --run=NAME      another run, as a file for TensorFlow Lite
  ./run.sh export --format=npz --run=a,b,c        the mean of three runs, as named arrays and JSON

The file replaces an older one only if its own runtime computes the same probabilities, to 1e-4, for 256 images.
"""

from __future__ import annotations

import sys
from pathlib import Path

from absl.flags import FlagValues

from graphcnn.common import paths
from graphcnn.common.command import run_command
from graphcnn.common.errors import InputError, unknown_name
from graphcnn.config import flags
from graphcnn.exporters.common import ENDINGS


def define_flags() -> FlagValues:
    """Return the flags of this command."""
    values = flags.new_flags()
    flags.define_ensemble(values)
    flags.define_data(values)
    flags.define(values, str, "format", "savedmodel", "format to write: savedmodel | tflite | npz")
    text = "file or folder to write (default: export/<run>, with the ending of the format)"
    flags.define(values, str, "out", None, text)
    return values


def main(values: FlagValues, positional: list[str]) -> None:
    """Write the export, verify it and move it to its path."""
    flags.no_positional(positional)
    if values.format not in ENDINGS:
        raise InputError(f"--format: {unknown_name(values.format, ENDINGS)}")
    flags.ensemble(values)

    from graphcnn.evaluation.model_data import DataSource
    from graphcnn.evaluation.select_model import select_model
    from graphcnn.exporters.write import default_name, export

    model = select_model(flags.checkpoints_root(values), run=values.run, ensemble=values.ensemble)
    out = Path(values.out).resolve() if values.out else paths.EXPORTS / default_name(model, values.format)
    export(model, values.format, DataSource(values.data, flags.given_options(values)), out)


if __name__ == "__main__":
    sys.exit(run_command("export", __doc__, define_flags(), main))
