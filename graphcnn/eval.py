"""Score a trained run, or a handed-in result.npy.

./run.sh eval --split=dev                              the newest run's dev macro F1, report and pictures
./run.sh eval --run=NAME --split=train,test            another run on its training rows and on the labelled test split
./run.sh eval --predictions=result.npy --labels=y_test.npy    as a grader would, without a run
"""

import json
import sys

from graphcnn import cli, metrics, recipes
from graphcnn.errors import InputError

SPLITS = ("dev", "train", "test")


def define_flags():
    """Return this command's flags."""
    values = cli.new_flags()
    cli.define_run(values)
    cli.define_data(values)
    cli.define_precision(values, None, " (default: training's, where the CPU is faster with it)")
    cli.define_tta(values)
    cli.define(values, str, "split", "dev", "dev | train | test, or several with commas between")
    cli.define(values, str, "predictions", None, "score this .npy of softmax rows [N, K], not a run; needs --labels")
    cli.define(values, str, "labels", None, "the true classes for --predictions, a .npy (N,), (N, 1) or one-hot")
    return values


def main(values, positional):
    """Print the scores; for a run, write them with pictures into its report/ too."""
    cli.no_positional(positional)
    asked = cli.precision(values)
    if values.predictions or values.labels:
        if asked:
            raise InputError("--precision: nothing is computed with --predictions; drop one of them")
        if values.tta:
            raise InputError("--tta: nothing is computed with --predictions; drop one of them")
        return _score_file(values)
    splits = values.split.split(",")
    if not set(splits) <= set(SPLITS):
        raise InputError(f"--split: found {values.split!r}, expected {', '.join(SPLITS)}")
    from graphcnn import inference, runs
    from graphcnn.progress import say

    run = runs.chosen(cli.checkpoints_root(values), values.run)
    config = run.config()
    from graphcnn.tf1 import choose_precision

    trained = recipes.from_dict(config["recipe"], run.config_path).precision
    precision, why = choose_precision(asked or ("auto" if trained == "bfloat16" else trained))
    computed = f"computed in {precision}{' with tta' * values.tta} ({why})"
    say(f"run: {run.name} ({run.path / 'best'}), trained in {trained}, {computed}")
    dataset, train_rows, dev_rows = runs.recorded_data(
        run, config, values.data, "test" in splits, cli.given_options(values)
    )
    rows = {"train": train_rows, "dev": dev_rows}
    parts = {name: (dataset.x_train, dataset.y_train, rows[name]) for name in splits if name != "test"}
    parts |= {"test": _test_split(dataset)} if "test" in splits else {}
    if "dev" in splits and not len(dev_rows):
        raise InputError("--split=dev: the run was trained without a dev split; use --split=train or --split=test")

    restored = inference.restore(run, precision, tta=values.tta)
    from graphcnn.graph import count_parameters

    settings = {"precision": precision, "tta": values.tta, "epoch": restored.state["best_epoch"]}
    settings["parameters"] = count_parameters(restored.graph)
    with restored.session:
        for name in splits:
            _score_split(run, config, restored, name, *parts[name], dataset.pixel_max, settings)
    return 0


def _score_split(run, config, restored, split, images, labels, rows, pixel_max, settings):
    """Print a split's scores and write them into the run's report/, with `settings` and two pictures."""
    from graphcnn import inference, plots, runs
    from graphcnn.progress import bar, say

    with bar(split, len(rows)) as advance:
        session, graph = restored.session, restored.graph
        probabilities = inference.probabilities(session, graph, images, rows, advance, settings["tta"])
    scores, names = metrics.summary(labels[rows], probabilities), config["class_names"]
    per_class = _print_scores(f"{split} ", labels[rows], probabilities, scores, names)
    report = run.path / "report"
    report.mkdir(exist_ok=True)
    stem = f"{report}/{split}"
    numbers = {**scores, **settings, "per_class": per_class, "confusion": scores["confusion"].tolist()}
    with runs.replacing(f"{stem}.json") as file:
        file.write((json.dumps(numbers, indent=2) + "\n").encode())
    title = f"{run.name}, {split}: macro F1 {scores['macro_f1']:.4f}"
    plots.confusion(scores["confusion"], names, title, f"{stem}_confusion.png")
    title = f"{run.name}, {split}: the most confident mistakes"
    plots.mistakes(images, rows, labels[rows], probabilities, names, pixel_max, title, f"{stem}_mistakes.png")
    say(f"\nwritten: {stem}.json, {split}_confusion.png, {split}_mistakes.png")


def _test_split(dataset):
    """Return (images, labels, rows) of the labelled test split, or say what is missing."""
    if dataset.x_test is None:
        raise InputError(f"--split=test: no {dataset.file('x_test')}; add it beside the training images")
    if dataset.y_test is None:
        raise InputError(
            f"--split=test: no {dataset.file('y_test')}, so the test images have no labels to score against; "
            "./run.sh submit predicts them"
        )
    import numpy as np

    return dataset.x_test, dataset.y_test, np.arange(len(dataset.y_test))


def _score_file(values):
    """Print the scores of a handed-in file of softmax rows."""
    if not (values.predictions and values.labels):
        raise InputError("--predictions and --labels go together; name both files")
    import numpy as np

    from graphcnn.data.dataset import check_labels
    from graphcnn.data.npy import read_array

    probabilities = read_array(values.predictions)
    rows, classes = probabilities.shape if probabilities.ndim == 2 else (0, 0)
    if rows < 1 or classes < 2 or probabilities.dtype.kind != "f":
        raise InputError(
            f"{values.predictions}: found {probabilities.dtype} {probabilities.shape}, "
            "expected float softmax rows (N, K), a column a class"
        )
    if not (np.isfinite(probabilities).all() and (probabilities >= 0).all()):
        raise InputError(f"{values.predictions}: holds negative, NaN or infinite numbers, expected probabilities")
    sums = probabilities.sum(axis=1, dtype=np.float64)
    if np.abs(sums - 1).max() > 1e-3:
        row = int(np.abs(sums - 1).argmax())
        raise InputError(f"{values.predictions}: row {row} sums to {sums[row]:g}, expected 1; apply softmax to it")
    labels, _ = check_labels(read_array(values.labels), values.labels, rows)
    if labels.max() >= classes:
        raise InputError(f"{values.labels}: holds label {labels.max()}, but {values.predictions} has {classes} columns")
    _print_scores("", labels, probabilities, metrics.summary(labels, probabilities), list(map(str, range(classes))))
    return 0


def _print_scores(split, labels, probabilities, scores, class_names):
    """Print all scores as text, macro F1 first; return scikit-learn's per-class numbers {name: {precision, …}}."""
    from sklearn.metrics import classification_report, precision_recall_fscore_support

    print(f"{split}macro F1: {scores['macro_f1']:.6f}")
    print(f"{split}accuracy: {scores['accuracy']:.6f}")
    print(f"{split}top-2 accuracy: {scores['top2_accuracy']:.6f}")
    print(f"{split}cross-entropy: {scores['cross_entropy']:.6f}\n")
    arguments = {"labels": range(len(class_names)), "zero_division": 0}
    predicted = probabilities.argmax(axis=1)
    print(classification_report(labels, predicted, digits=4, target_names=class_names, **arguments))
    width = max(len(str(scores["confusion"].max())), *map(len, class_names)) + 1
    print("confusion (row: true class, column: predicted)")
    print(" " * width + "".join(name.rjust(width) for name in class_names))
    for name, counts in zip(class_names, scores["confusion"], strict=True):
        print(name.rjust(width) + "".join(str(count).rjust(width) for count in counts))
    columns = zip(*precision_recall_fscore_support(labels, predicted, **arguments), strict=True)
    keys = ("precision", "recall", "f1-score", "support")
    return {name: dict(zip(keys, map(float, row), strict=True)) for name, row in zip(class_names, columns, strict=True)}


if __name__ == "__main__":
    sys.exit(cli.run_command("eval", __doc__, define_flags(), main))
