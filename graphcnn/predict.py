"""Name the classes of pictures with a trained run: the three most probable ones for each.

./run.sh predict photo.png scan.jpg
./run.sh predict --net=efficientnet_lite0 photo.jpg      ImageNet's classes, by published weights, without a run
./run.sh predict --array=x.npy --out=p.npy     images as in training; p.npy becomes softmax rows [N, K]
"""

import sys

from graphcnn import cli
from graphcnn.errors import InputError

TOP = 3


def define_flags():
    """Return this command's flags."""
    values = cli.new_flags()
    cli.define_run(values)
    cli.define_tta(values)
    cli.define(values, str, "net", None, "an ImageNet net with published weights, in a run's place")
    cli.define(
        values, str, "weights", "imagenet", "of --net: imagenet (the published ones) or FILE.h5, for 1,000 classes"
    )
    cli.define(values, str, "data_cache", None, "folder of what is downloaded (default: ~/.cache/graphcnn)")
    cli.define(values, str, "array", None, "a .npy of images with the training images' size and pixel range")
    cli.define(values, str, "out", None, "write the softmax rows, float32 [N, K], to this .npy")
    return values


def main(values, positional):
    """Print a line an image; with --out, save the probabilities too."""
    if bool(values.array) == bool(positional):
        raise InputError("expected image files, or --array=x.npy, and not both")
    import numpy as np

    from graphcnn import runs
    from graphcnn.data import images, npy
    from graphcnn.data.dataset import check_images

    restored, shape, pixel_max, class_names = _pretrained(values) if values.net else _trained(values)
    if values.array:
        pixels = npy.read_array(values.array)
        npy.check_like(pixels, check_images(pixels, values.array), values.array, shape, pixel_max)
        names = [f"{values.array}[{row}]" for row in range(len(pixels))]
    else:
        with images.quiet():
            pixels = np.stack([images.read_image(path, shape) for path in positional]) * np.float32(pixel_max / 255)
        names = positional

    from graphcnn import inference
    from graphcnn.progress import bar

    with restored.session, bar("predict", len(pixels)) as advance:
        probabilities = inference.probabilities(
            restored.session, restored.graph, pixels, advance=advance, tta=values.tta
        )
    if values.out:
        with runs.replacing(values.out) as file:
            np.save(file, probabilities)
    for name, row in zip(names, probabilities, strict=True):
        best = np.argsort(-row, kind="stable")[:TOP]
        print(f"{name}: " + ", ".join(f"{class_names[k]} {row[k]:.4f}" for k in best))
    return 0


def _trained(values):
    """Return (Restored, shape and largest value of its images, class names) of the run that the flags name."""
    from graphcnn import inference, runs

    run = runs.chosen(cli.checkpoints_root(values), values.run)
    config = run.config()
    data = config["data"]
    restored = inference.restore(run, portable=True, tta=values.tta)
    return restored, data["image_shape"], data["pixel_max"], config["class_names"]


def _pretrained(values):
    """Return the same of --net with published weights."""
    for flag in ("run", "tta"):
        if values[flag].value:
            raise InputError(f"--{flag}: is a run's, and --net stands in a run's place; drop one of them")
    from graphcnn import inference

    root = cli.checkpoints_root(values)
    restored, shape, class_names = inference.pretrained(values.net, values.weights, root, values.data_cache)
    return restored, shape, 255, class_names


if __name__ == "__main__":
    sys.exit(cli.run_command("predict", __doc__, define_flags(), main))
