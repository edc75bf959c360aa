"""Predict the classes of pictures with a trained run; the three most probable classes of each are printed.

./run.sh predict photo.png scan.jpg                      with the newest run
./run.sh predict --run=a,b,c photo.png                   with an ensemble of three runs
./run.sh predict --net=efficientnet_lite0 photo.jpg      ImageNet's classes, with published weights, without a run
./run.sh predict --array=x.npy --out=p.npy     images as in training; p.npy gets the softmax rows [N, K]
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
    flags.define_ensemble(values)
    flags.define_tta(values)
    flags.define_net(values)
    flags.define(values, str, "data_cache", None, "folder for downloaded weights (default: ~/.cache/graphcnn)")
    text = "a .npy file of images with the size and pixel range of the training images, instead of image files"
    flags.define(values, str, "array", None, text)
    flags.define(values, str, "out", None, "write the softmax rows, float32 [N, K], to this .npy file")
    return values


def main(values: FlagValues, positional: list[str]) -> None:
    """Print a line for each image; with --out, save the probabilities too."""
    if bool(values.array) == bool(positional):
        raise InputError("expected image files, or --array=x.npy, and not both")
    flags.ensemble(values)
    net = flags.net(values, ("run", "tta", "ensemble"))

    from graphcnn.evaluation.predict_images import predict
    from graphcnn.evaluation.select_model import select_model

    model = select_model(
        flags.checkpoints_root(values),
        run=values.run,
        ensemble=values.ensemble,
        tta=values.tta,
        net=net,
        weights=values.weights,
        data_cache=values.data_cache,
    )
    predict(model, positional, values.array, values.out)


if __name__ == "__main__":
    sys.exit(run_command("predict", __doc__, define_flags(), main))
