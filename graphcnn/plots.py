"""Pictures of a run: curves, confusion matrix, confident mistakes. Drawn with matplotlib, off screen."""

from pathlib import Path

import numpy as np

from graphcnn.batches import as_rgb

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
    path = Path(path)
    new = path.with_name(f".{path.name}.new.png")
    figure.savefig(new)
    new.replace(path)
