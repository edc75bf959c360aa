"""Name the classes of pictures with a trained run: the three most probable ones for each.

./run.sh predict photo.png scan.jpg
./run.sh predict --run=a,b,c photo.png                   several runs as one
./run.sh predict --net=efficientnet_lite0 photo.jpg      ImageNet's classes, by published weights, without a run
./run.sh predict --array=x.npy --out=p.npy     images as in training; p.npy becomes softmax rows [N, K]
"""

import sys

from graphcnn.common.command import run_command
from graphcnn.common.errors import InputError
from graphcnn.common.files import atomic_write
from graphcnn.config import flags

TOP = 3


def define_flags():
    """Return this command's flags."""
    values = flags.new_flags()
    flags.define_ensemble(values)
    flags.define_tta(values)
    flags.define_net(values)
    flags.define(values, str, "data_cache", None, "folder of what is downloaded (default: ~/.cache/graphcnn)")
    flags.define(values, str, "array", None, "a .npy of images with the training images' size and pixel range")
    flags.define(values, str, "out", None, "write the softmax rows, float32 [N, K], to this .npy")
    return values


def main(values, positional):
    """Print a line an image; with --out, save the probabilities too."""
    if bool(values.array) == bool(positional):
        raise InputError("expected image files, or --array=x.npy, and not both")
    several = flags.ensemble(values)
    import numpy as np

    from graphcnn.evaluation import ensemble, predictor
    from graphcnn.storage.select_run import select_run

    if flags.net(values, ("run", "tta", "ensemble")):
        root, folder = flags.checkpoints_root(values), values.data_cache
        restored, shape, class_names = predictor.pretrained(values.net, values.weights, root, folder)
        names, probabilities = _probabilities(values, positional, restored, shape, 255)
    else:
        root = flags.checkpoints_root(values)
        members = ensemble.chosen(root, values.run) if several else [select_run(root, values.run)]
        members = members if several else [ensemble.Member(members[0], members[0].config())]
        shares = [1 / len(members)] * len(members)
        if values.ensemble == "fitted":
            shares = ensemble.fitted_shares(ensemble.loaded(members), values.tta)
        outputs = []
        for member in members:
            data, restored = member.config["data"], ensemble.restored(member, "float32", True, values.tta)
            names, found = _probabilities(values, positional, restored, data["image_shape"], data["pixel_max"])
            outputs.append(found)
        probabilities = ensemble.combined(np.stack(outputs), shares) if several else outputs[0]
        class_names = members[0].config["class_names"]
    if values.out:
        with atomic_write(values.out) as file:
            np.save(file, probabilities)
    for name, row in zip(names, probabilities, strict=True):
        best = np.argsort(-row, kind="stable")[:TOP]
        print(f"{name}: " + ", ".join(f"{class_names[k]} {row[k]:.4f}" for k in best))
    return 0


def _probabilities(values, paths, restored, shape, pixel_max):
    """Return (names, softmax outputs [N, K]) of the images that the flags name; shape, pixel_max: of the net's."""
    import numpy as np

    from graphcnn.common.progress import bar
    from graphcnn.data import images, npy
    from graphcnn.data.checks import check_compatible
    from graphcnn.evaluation import predictor

    if values.array:
        pixels = npy.read_array(values.array)
        check_compatible(pixels, values.array, shape, pixel_max)
        paths = [f"{values.array}[{row}]" for row in range(len(pixels))]
    else:
        with images.suppress_warnings():
            pixels = np.stack([images.read_image(path, shape) for path in paths]) * np.float32(pixel_max / 255)
    with restored.session, bar("predict", len(pixels)) as advance:
        found = predictor.probabilities(restored.session, restored.graph, pixels, advance=advance, tta=values.tta)
    return paths, found


if __name__ == "__main__":
    sys.exit(run_command("predict", __doc__, define_flags(), main))
