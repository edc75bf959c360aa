"""Write a submission: result.npy for x_test.npy, the inference graph with the best weights, and a zip of both.

./run.sh submit                         submit the newest run; write submission/ and submission.zip
./run.sh submit --run=NAME --out=DIR    submit another run; write another folder
./run.sh submit --run=a,b,c             submit an ensemble: the mean of three runs, in one graph

Without --run, the newest run is refused if it was trained on other data than data/ or than the older submission. The
zip file of an older submission is kept as submission.previous.zip.

Then a new process, which has TensorFlow but not this package, restores the graph and compares its outputs for 1,000
test images with result.npy; --verify=all compares all images. "ready" is printed only if they agree.
"""

from __future__ import annotations

import sys

from absl.flags import FlagValues

from graphcnn.common import paths
from graphcnn.common.command import run_command
from graphcnn.common.errors import InputError, unknown_name
from graphcnn.common.progress import say_if_slow
from graphcnn.config import flags

VERIFY = ("sample", "all")


def define_flags() -> FlagValues:
    """Return the flags of this command."""
    values = flags.new_flags()
    flags.define_ensemble(values)
    flags.define_allow_changed_net(values)
    flags.define_own_net(values)
    flags.define_data(values)
    flags.define_tta(values)
    flags.define_calibrated(values)
    text = (
        "test images whose outputs the verification compares: sample (1,000 random images, always the same) or all; "
        "the outputs of other images must be probabilities that sum to 1"
    )
    flags.define(values, str, "verify", "sample", text)
    text = f"folder to write; the zip file is written beside it (default: submission/ {paths.BASE_NAME})"
    flags.define(values, str, "out", None, text)
    return values


def main(values: FlagValues, positional: list[str]) -> None:
    """Write, verify and zip the submission; an older one stays until the new one is verified."""
    flags.no_positional(positional)
    flags.ensemble(values)
    if values.verify not in VERIFY:
        raise InputError(f"--verify: {unknown_name(values.verify, VERIFY)}")

    with say_if_slow("importing TensorFlow"):
        from graphcnn.evaluation.model_data import DataSource
        from graphcnn.evaluation.select_model import select_model
        from graphcnn.submission.write import submit

    model = select_model(flags.checkpoints_root(values), **flags.model_arguments(values, values.run))
    out = paths.output_path(values.out) if values.out else paths.SUBMISSION
    source = DataSource(values.data, flags.given_options(values))
    submit(model, source, out, named=values.run is not None, verify_all=values.verify == "all")


if __name__ == "__main__":
    sys.exit(run_command("submit", __doc__, define_flags(), main))
