"""Show which parts of images speak for a class: a sheet of class activation maps, blue to red over each image.

./run.sh explain photo.jpg scan.png              the newest run: for the two most probable classes of each
./run.sh explain --net=efficientnet_lite0 photo.jpg      ImageNet's classes, by published weights, without a run
./run.sh explain --split=dev --worst=16          for the rows it is most wrong about: the predicted and the true class
"""

import sys
from pathlib import Path

from graphcnn.common.command import run_command
from graphcnn.common.errors import InputError
from graphcnn.config import flags

LONGEST = 1024  # pixels of a photo's side on the sheet


def define_flags():
    """Return this command's flags."""
    values = flags.new_flags()
    flags.define_run(values)
    flags.define_data(values)
    flags.define_net(values)
    flags.define(values, str, "split", None, f"{' | '.join(flags.SPLITS)}: rows of it in the place of image files")
    flags.define(values, int, "worst", 16, "how many rows of the split, those whose label is least probable")
    flags.define(
        values,
        str,
        "out",
        None,
        "the PNG to write (default: report/explain.png in the run's folder)",
    )
    return values


def main(values, positional):
    """Write the sheet and print a line an image."""
    if bool(values.split) == bool(positional):
        raise InputError("expected image files, or --split=dev, and not both")
    if values.split not in (None, *flags.SPLITS):
        raise InputError(f"--split: found {values.split!r}, expected {', '.join(flags.SPLITS)}")
    if values.worst < 1:
        raise InputError(f"--worst: found {values.worst}, expected a whole number at least 1")
    if values["worst"].present and not values.split:
        raise InputError("--worst: is for --split; drop it, or drop the image files")
    import numpy as np

    from graphcnn.common.progress import say
    from graphcnn.data import images
    from graphcnn.evaluation import activation_maps, pictures, predictor
    from graphcnn.storage.select_run import select_run

    root, split = flags.checkpoints_root(values), None
    if flags.net(values, ("run", "split", "worst", "data", "cache_dir", "skip_broken")):
        add = activation_maps.attention
        restored, shape, names = predictor.pretrained(values.net, values.weights, root, values.data_cache, add)
        data, name, out = {"image_shape": shape, "pixel_max": 255}, values.net, root / "explain.png"
        say(f"net: {name}, {restored.more.method}")
    else:
        run = select_run(root, values.run)
        config = run.config()
        names, data, name = config["class_names"], config["data"], run.name
        split = _split(values, run, config) if values.split else None
        restored = predictor.restore(run, portable=True, extend=activation_maps.attention)
        out = run.path / "report" / "explain.png"
        say(f"run: {name} ({run.path / 'best'}), {restored.more.method}")
    with restored.session:
        if split:
            pixels, titles, probabilities, labels = _worst(restored, *split, values.worst)
            shown = (pixels * (255 / data["pixel_max"])).round().astype(np.uint8)
            chosen = np.stack([probabilities.argmax(axis=1), labels], axis=1)
        else:
            with images.suppress_warnings():
                shown = [_shrunk(images.read_image(path)) for path in positional]
                pixels = np.stack([images.read_image(path, data["image_shape"]) for path in positional])
            pixels, titles = pixels * np.float32(data["pixel_max"] / 255), [Path(path).name for path in positional]
            probabilities = predictor.probabilities(restored.session, restored.graph, pixels)
            chosen = np.argsort(-probabilities, axis=1, kind="stable")[:, :2]
        maps = np.stack([predictor.maps(restored, pixels, column) for column in chosen.T], axis=1)  # [N, 2, H, W]
    entries = []
    for n, (title, image, row) in enumerate(zip(titles, shown, probabilities, strict=True)):
        what = ("predicted", "true" if split else "second")
        said = [f"{label}: {names[k]} {row[k]:.2f}" for label, k in zip(what, chosen[n], strict=True)]
        entries.append((title, image, list(zip(said, maps[n], strict=True))))
        say(f"{title}: {', '.join(said)}")
    out = Path(values.out) if values.out else out
    out.parent.mkdir(parents=True, exist_ok=True)
    how = f"{restored.more.method} ({activation_maps.SOURCES[restored.more.method]})"
    pictures.explanation(entries, f"{name}: {how}, each map from its lowest (blue) to its highest (red)", out)
    say(f"written: {out}")
    return 0


def _shrunk(image):
    """Return a photo uint8 [H, W, 3], made smaller where a side is longer than LONGEST."""
    import numpy as np
    from PIL import Image

    share = LONGEST / max(image.shape[:2])
    if share >= 1:
        return image
    height, width = (max(1, round(side * share)) for side in image.shape[:2])
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))


def _split(values, run, config):
    """Return (images, labels, rows) of the split's data."""
    from graphcnn.storage.recorded_data import load_recorded_data

    options = flags.given_options(values)
    data = load_recorded_data(run, config, values.data, values.split == "test", options)
    return data.splits([values.split])[values.split]


def _worst(restored, images, labels, rows, most):
    """Return (images float32 [M, H, W, 3], titles, softmax outputs [M, K], labels [M]), least probable labels first."""
    import numpy as np

    from graphcnn.common.progress import bar
    from graphcnn.data.batches import as_rgb
    from graphcnn.evaluation import predictor

    with bar("predict", len(rows)) as advance:
        outputs = predictor.probabilities(restored.session, restored.graph, images, rows, advance)
    right = outputs[np.arange(len(rows)), labels[rows]]
    worst = np.argsort(right, kind="stable")[:most]
    titles = [f"row {row}" for row in rows[worst]]
    return as_rgb(images[rows[worst]]), titles, outputs[worst], labels[rows[worst]]


if __name__ == "__main__":
    sys.exit(run_command("explain", __doc__, define_flags(), main))
