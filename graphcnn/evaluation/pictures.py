"""Pictures of a run: curves, confusion matrix, mistakes, explanations, augmentation; by matplotlib, off screen."""

import warnings

import numpy as np

from graphcnn.common.files import atomic_write
from graphcnn.data.batches import as_rgb

DPI = 110


def curves(history, path):
    """Draw loss, cross-entropy and dev scores over the epochs into a PNG; history: rows as in history.csv."""
    if not history:
        return
    figure = _figure(11, 3.4)
    epochs = [row["epoch"] for row in history]
    panels = (
        ("epoch's summed training loss", {"loss": "training"}),
        ("mean cross-entropy (nats)", {"cross_entropy": "training", "dev_cross_entropy": "dev"}),
        ("score", {"dev_macro_f1": "dev macro F1", "dev_accuracy": "dev accuracy", "accuracy": "training accuracy"}),
    )
    for axes, (title, names) in zip(figure.subplots(1, 3), panels, strict=True):
        for name, label in names.items():
            values = [np.nan if row[name] is None else row[name] for row in history]
            if not np.isnan(values).all():
                axes.plot(epochs, values, marker="." if len(epochs) < 40 else None, label=label)
        axes.set(title=title, xlabel="epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend()
        if names.keys() == {"loss"}:  # its first epoch is many times the others, by the L2 of fresh weights
            axes.set_yscale("log")
    _save(figure, path)


def confusion(counts, class_names, title, path):
    """Draw confusion counts [K, K] (row: true class, column: predicted) into a PNG, shaded by the row's share."""
    classes = len(class_names)
    side = min(max(4.5, 0.55 * classes + 2), 20)
    class_names = [_plain(name) for name in class_names]
    figure = _figure(side, side)
    axes = figure.subplots()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set(title=title, xlabel="predicted", ylabel="true")
    axes.set_xticks(range(classes), class_names, rotation=90 if max(map(len, class_names)) > 3 else 0)
    axes.set_yticks(range(classes), class_names)
    if classes <= 30:
        for (row, column), count in np.ndenumerate(counts):
            colour = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, count, ha="center", va="center", color=colour, fontsize=8)
    _save(figure, path)


def mistakes(images, rows, labels, probabilities, class_names, pixel_max, title, path, most=32):
    """Draw the most confident wrong predictions into a PNG, surest first, each with both classes.

    Args:
        images: [M, H, W(, C)] in raw units, 0..pixel_max. rows: int [N], which of them were predicted.
        labels: int [N]. probabilities: float [N, K].
    """
    predicted = probabilities.argmax(axis=1)
    confidence = probabilities.max(axis=1)
    wrong = np.flatnonzero(predicted != labels)
    wrong = wrong[np.argsort(-confidence[wrong], kind="stable")][:most]
    columns = min(max(4, len(wrong)), 8)
    lines = max(1, -(-len(wrong) // columns))
    figure = _figure(1.5 * columns, 1.75 * lines + 0.6)
    figure.suptitle(title if len(wrong) else f"{title}: none")
    grid = figure.subplots(lines, columns, squeeze=False).ravel()
    for axes in grid:
        axes.axis("off")
    for axes, n in zip(grid, wrong, strict=False):
        axes.imshow(as_rgb(images[rows[n : n + 1]])[0] / pixel_max)
        said = f"{class_names[predicted[n]]} {confidence[n]:.2f}\ntrue: {class_names[labels[n]]}"
        axes.set_title(_plain(said), fontsize=8)
    _save(figure, path)


def suite(histories, path):
    """Draw each experiment's curves into a PNG: accuracy above loss, training and dev, a line a seed.

    histories: {experiment: [history of a seed, rows as in history.csv]}. Losses are mean cross-entropies.
    """
    columns = min(6, max(1, len(histories)))
    lines = -(-len(histories) // columns)
    figure = _figure(2.4 * columns + 0.6, 3.4 * lines)
    grid = figure.subplots(2 * lines, columns, squeeze=False, sharex="col")
    panels = (
        ("accuracy", {"accuracy": "training", "dev_accuracy": "dev"}),
        ("cross-entropy", {"cross_entropy": "training", "dev_cross_entropy": "dev"}),
    )
    for axes in grid.ravel():
        axes.axis("off")
    for n, (name, runs) in enumerate(histories.items()):
        for part, (title, curves) in enumerate(panels):
            axes = grid[2 * (n // columns) + part, n % columns]
            axes.axis("on")
            for (key, label), colour in zip(curves.items(), ("tab:gray", "tab:blue"), strict=True):
                for seed, history in enumerate(runs):
                    values = [np.nan if row[key] is None else row[key] for row in history]
                    epochs = [row["epoch"] for row in history]
                    axes.plot(epochs, values, color=colour, lw=1, label=label if seed == 0 else None)
            axes.grid(alpha=0.3)
            axes.tick_params(labelsize=7, labelbottom=True)
            axes.xaxis.get_major_locator().set_params(integer=True)
            if part == 0:
                axes.set_title(_plain(name), fontsize=9)
            if n % columns == 0:
                axes.set_ylabel(title, fontsize=8)
            if n == 0:
                axes.legend(fontsize=7)
    rows = [row for runs in histories.values() for history in runs for row in history]
    losses = [row["dev_cross_entropy"] or row["cross_entropy"] for row in rows]
    for part, top in enumerate((1, min(max(losses), 2 * float(np.median(losses))))):  # one scale, to compare by
        for axes in grid[part::2].ravel():
            axes.set_ylim(0, top)
    _save(figure, path)


def augmentation(originals, epochs, title, path):
    """Draw a sheet into a PNG: a row of originals over a row for each epoch, from 1 on, of what training makes of them.

    Args:
        originals: float [M, H, W, 3], 0..1.
        epochs: the same images augmented, a list of such arrays.
    """
    gap = max(1, originals.shape[1] // 16)  # pixels to the right of and below each image
    rows = np.pad(np.stack([originals, *epochs]), [(0, 0), (0, 0), (0, gap), (0, gap), (0, 0)], constant_values=1)
    lines, columns, height, width, _ = rows.shape
    figure = _figure(columns + 0.8, lines * height / width + 0.5)
    axes = figure.subplots()
    axes.imshow(rows.transpose(0, 2, 1, 3, 4).reshape(lines * height, columns * width, 3))
    axes.set_title(_plain(title), fontsize=9)
    names = ["original", *(f"epoch {n}" for n in range(1, lines))]
    axes.set_yticks(np.arange(lines) * height + (height - gap) / 2, names)
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    _save(figure, path)


def explanation(entries, title, path):
    """Draw a sheet into a PNG: each image, and beside it maps over it, from blue (lowest) to red (highest).

    A panel has about as many pixels as the widest image, at least 230.

    entries: [(title, image uint8 [H, W, 3], [(title, map [h, w]), …])]; maps are resized to the image's pixels.
    """
    panels = 1 + len(entries[0][2])
    abreast = 1 if len(entries) == 1 else 2  # entries in a line
    lines = -(-len(entries) // abreast)
    wide = max(230, *(image.shape[1] for _, image, _ in entries)) / DPI  # inches
    tall = wide * min(2.0, max(image.shape[0] / image.shape[1] for _, image, _ in entries))
    figure = _figure(wide * panels * abreast, (tall + 0.3) * lines + 0.4)
    figure.suptitle(_plain(title), fontsize=9)
    grid = figure.subplots(lines, panels * abreast, squeeze=False)
    for axes in grid.ravel():
        axes.axis("off")
    for n, (name, image, maps) in enumerate(entries):
        shown = [(name if len(name) < 30 else f"…{name[-28:]}", image)]
        shown += [(said, overlaid(image, values)) for said, values in maps]
        for axes, (said, picture) in zip(grid[n // abreast, panels * (n % abreast) :], shown, strict=False):
            axes.imshow(picture)
            axes.set_title(_plain(said), fontsize=8)
    _save(figure, path)


def overlaid(image, values):
    """Return the image uint8 [H, W, 3] with a map [h, w] over it, from blue (its lowest value) to red (its highest)."""
    from matplotlib import colormaps
    from PIL import Image

    values = np.asarray(values, np.float32)
    values = (values - values.min()) / max(float(np.ptp(values)), 1e-12)
    wide = Image.fromarray(values).resize((image.shape[1], image.shape[0]), Image.Resampling.BILINEAR)
    colours = colormaps["jet"](np.asarray(wide), bytes=True)[..., :3]
    return (0.55 * image + 0.45 * colours).astype(np.uint8)


def contest(results, path):
    """Draw what bench measured into a PNG: a bar a contestant for training and for evaluation, in images/s.

    results: {"net", "batch_size", "machine", "contestants": {name: {"train", "evaluate": {"images_per_second", …}}}}.
    """
    rows = results["contestants"]
    figure = _figure(11, 1.4 + 0.4 * len(rows))
    machine = results["machine"]
    figure.suptitle(f"{results['net']}, batch {results['batch_size']}, {machine['cores']} cores of {machine['model']}")
    for axes, kind, title in zip(figure.subplots(1, 2), ("train", "evaluate"), ("training", "evaluation"), strict=True):
        rates = [row[kind]["images_per_second"] for row in rows.values()]
        colours = ["tab:blue" if name.startswith("graphcnn") else "tab:gray" for name in rows]
        bars = axes.barh(list(rows), rates, color=colours)
        axes.bar_label(bars, fmt="%.0f", padding=3)
        axes.set(title=f"{title}, images/s", xlim=(0, max(rates) * 1.15))
        axes.invert_yaxis()
    _save(figure, path)


def _plain(text):
    """Return the text with dollar signs that matplotlib shows instead of taking them for formulas."""
    return text.replace("$", r"\$")


def _figure(width, height):
    """Return an empty figure of that size in inches, without pyplot's global state."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=DPI, layout="constrained")


def _save(figure, path):
    """Write the PNG whole or not at all."""
    with warnings.catch_warnings(), atomic_write(path) as file:
        warnings.filterwarnings("ignore", "Glyph", UserWarning)  # of class names that the font cannot show
        figure.savefig(file, format="png")
