"""Name the classes of pictures with a trained run: the three most probable ones for each.

./run.sh predict photo.png scan.jpg
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

    run = runs.chosen(cli.checkpoints_root(values), values.run)
    config = run.config()
    shape, pixel_max = config["data"]["image_shape"], config["data"]["pixel_max"]
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

    restored = inference.restore(run, portable=True, tta=values.tta)
    with restored.session, bar("predict", len(pixels)) as advance:
        probabilities = inference.probabilities(
            restored.session, restored.graph, pixels, advance=advance, tta=values.tta
        )
    if values.out:
        with runs.replacing(values.out) as file:
            np.save(file, probabilities)
    for name, row in zip(names, probabilities, strict=True):
        best = np.argsort(-row, kind="stable")[:TOP]
        print(f"{name}: " + ", ".join(f"{config['class_names'][k]} {row[k]:.4f}" for k in best))
    return 0


if __name__ == "__main__":
    sys.exit(cli.run_command("predict", __doc__, define_flags(), main))
