"""Predict the classes of images. Print the run, then the most probable classes of each image.

./run.sh predict photo.png scan.jpg                    predict with the newest run
./run.sh predict photos/ --out=predictions.csv         predict all images below a folder, and write a table
./run.sh predict --run=a,b,c photo.png                 predict with an ensemble of three runs
./run.sh predict --net=efficientnet_lite0 photo.jpg    predict ImageNet's classes with published weights, without a run
./run.sh predict x.npy --out=p.npy                     predict an array of images, and save the softmax outputs [N, K]
"""

from __future__ import annotations

import sys

from absl.flags import FlagValues

from graphcnn.common.command import run_command
from graphcnn.common.errors import InputError
from graphcnn.common.progress import say_if_slow
from graphcnn.config import flags


def define_flags() -> FlagValues:
    """Return the flags of this command."""
    values = flags.new_flags()
    flags.define_ensemble(values)
    flags.define_allow_changed_net(values)
    flags.define_tta(values)
    flags.define_calibrated(values)
    flags.define_net(values)
    flags.define(values, str, "data_cache", None, "folder for downloaded weights (default: ~/.cache/graphcnn)")
    text = (
        ".npy file of images to predict, like a single argument that ends in .npy; size and pixel range must be those "
        "in training"
    )
    flags.define(values, str, "array", None, text)
    flags.define(values, int, "top", 3, "number of classes for each image: the most probable ones")
    text = (
        "file for the predictions: .csv (a row for each image), .json (an object for each image) or .npy (the softmax "
        "outputs, float32 [N, K])"
    )
    flags.define(values, str, "out", None, text)
    return values


def main(values: FlagValues, positional: list[str]) -> int:
    """Print the predictions; with --out, save them too; return the exit status."""
    if bool(values.array) == bool(positional):
        raise InputError("expected image files, folders or patterns, or --array=x.npy, and not both")
    arrays = [argument for argument in positional if argument.endswith(".npy")]
    if arrays and len(positional) > 1:
        raise InputError(f"{arrays[0]}: an array of images must be the only argument; call predict for each array")
    if values.top < 1:
        raise InputError(f"--top: found {values.top}, expected at least 1")
    flags.ensemble(values)
    net = flags.net(values, ("run", "tta", "calibrated", "ensemble", "allow_changed_net"))

    with say_if_slow("importing TensorFlow"):
        from graphcnn.evaluation.predict_images import Images, predict
        from graphcnn.evaluation.select_model import select_model

    model = select_model(
        flags.checkpoints_root(values),
        net=net,
        weights=values.weights,
        data_cache=values.data_cache,
        **flags.model_arguments(values, values.run),
    )
    return predict(model, Images([], arrays[0]) if arrays else Images(positional, values.array), values.out, values.top)


if __name__ == "__main__":
    sys.exit(run_command("predict", __doc__, define_flags(), main))
