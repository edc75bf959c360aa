"""Score a trained run, or a handed-in result.npy.

./run.sh eval --split=dev                              the newest run's dev macro F1, report and pictures
./run.sh eval --run=NAME --split=train,test            another run on its training rows and on the labelled test split
./run.sh eval --run=a,b,c --ensemble=fitted            several runs as one, and each of them
./run.sh eval --predictions=result.npy --labels=y_test.npy    as a grader would, without a run
"""

import json
import sys

from graphcnn.common.command import run_command
from graphcnn.common.errors import InputError
from graphcnn.common.files import atomic_write
from graphcnn.config import flags
from graphcnn.config.recipe import recipe_from_dict
from graphcnn.evaluation import metrics


def define_flags():
    """Return this command's flags."""
    values = flags.new_flags()
    flags.define_ensemble(values)
    flags.define_data(values)
    flags.define_precision(values, None, " (default: training's, where the CPU is faster with it)")
    flags.define_tta(values)
    flags.define(values, str, "split", "dev", "dev | train | test, or several with commas between")
    flags.define(values, str, "predictions", None, "score this .npy of softmax rows [N, K], not a run; needs --labels")
    flags.define(values, str, "labels", None, "the true classes for --predictions, a .npy (N,), (N, 1) or one-hot")
    return values


def main(values, positional):
    """Print the scores; for a run, write them with pictures into its report/ too."""
    flags.no_positional(positional)
    asked = flags.precision(values)
    several = flags.ensemble(values)
    if values.predictions or values.labels:
        if asked:
            raise InputError("--precision: nothing is computed with --predictions; drop one of them")
        if values.tta:
            raise InputError("--tta: nothing is computed with --predictions; drop one of them")
        return _score_file(values)
    splits = values.split.split(",")
    if not set(splits) <= set(flags.SPLITS):
        raise InputError(f"--split: found {values.split!r}, expected {', '.join(flags.SPLITS)}")
    if several:
        return _score_ensemble(values, splits, asked)
    from graphcnn.common.progress import bar, say
    from graphcnn.evaluation import predictor
    from graphcnn.storage.recorded_data import load_recorded_data
    from graphcnn.storage.select_run import select_run

    run = select_run(flags.checkpoints_root(values), values.run)
    config = run.config()
    from graphcnn.ops.tf1 import choose_precision

    trained = recipe_from_dict(config["recipe"], run.config_path).precision
    precision, why = choose_precision(asked or ("auto" if trained == "bfloat16" else trained))
    computed = f"computed in {precision}{' with tta' * values.tta} ({why})"
    say(f"run: {run.name} ({run.path / 'best'}), trained in {trained}, {computed}")
    data = load_recorded_data(run, config, values.data, "test" in splits, flags.given_options(values))
    wanted = data.splits(splits)

    restored = predictor.restore(run, precision, tta=values.tta)
    from graphcnn.graphs.graph import count_parameters

    settings = {"precision": precision, "tta": values.tta, "epoch": restored.state["best_epoch"]}
    settings["parameters"] = count_parameters(restored.graph)
    with restored.session:
        for name in splits:
            images, _, rows = wanted[name]
            with bar(name, len(rows)) as advance:
                probabilities = predictor.probabilities(
                    restored.session, restored.graph, images, rows, advance, values.tta
                )
            _report(run.name, run.path / "report", data.dataset, name, wanted[name], probabilities, settings)
    return 0


def _score_ensemble(values, splits, asked):
    """Print and write the scores of several runs as one, those of each of them and how often they agree."""
    import numpy as np

    from graphcnn.common.progress import say
    from graphcnn.evaluation import ensemble
    from graphcnn.storage.recorded_data import RecordedData
    from graphcnn.storage.select_run import ensemble_folder

    root = flags.checkpoints_root(values)
    members = ensemble.chosen(root, values.run)
    members = ensemble.loaded(members, values.data, "test" in splits, flags.given_options(values))
    wanted = [RecordedData(member.dataset, member.train_rows, member.dev_rows).splits(splits) for member in members]
    order = sorted(splits, key=lambda split: split != "dev")  # its outputs serve for fitting too
    shares, name = None, " + ".join(member.run.name for member in members)
    for split in order:
        _, labels, rows = wanted[0][split]
        labels = labels[rows]
        outputs = np.stack(
            [
                ensemble.probabilities(member, *(part[split][place] for place in (0, 2)), asked, tta=values.tta)
                for member, part in zip(members, wanted, strict=True)
            ]
        )
        if values.ensemble == "mean":
            shares = ensemble.shares("mean", None, outputs)
        elif split == "dev":
            shares = ensemble.shares("fitted", labels, outputs)
        elif shares is None:
            shares = ensemble.fitted_shares(members, values.tta)
        each = [metrics.summary(labels, output) for output in outputs]
        settings = {
            "ensemble": values.ensemble,
            "tta": values.tta,
            "members": [
                {"run": member.run.name, "share": float(share)}
                | {key: scores[key] for key in ("macro_f1", "accuracy", "top2_accuracy", "cross_entropy")}
                for member, share, scores in zip(members, shares, each, strict=True)
            ],
            "agreement": ensemble.agreement(outputs).tolist(),
        }
        _print_members(split, settings)
        if values.ensemble == "fitted" and split == "dev":
            say("the shares were fitted on this split, so its score of the ensemble is a little high")
        folder = ensemble_folder(root, [member.run.name for member in members])
        folder.mkdir(parents=True, exist_ok=True)
        combined = ensemble.combined(outputs, shares)
        _report(name, folder, members[0].dataset, split, wanted[0][split], combined, settings)
    return 0


def _print_members(split, settings):
    """Print each member's share and scores and how often it gives the same class as the others."""
    from rich.table import Table

    from graphcnn.common.progress import print_table

    members = settings["members"]
    table = Table("run", title=f"{split}: the members", title_justify="left")
    titles = ["share", "macro F1", "accuracy", "cross-entropy", *(f"agrees with {n + 1}" for n in range(len(members)))]
    for title in titles:
        table.add_column(title, justify="right")
    for n, (member, row) in enumerate(zip(members, settings["agreement"], strict=True), start=1):
        scores = [f"{member[key]:.6f}" for key in ("macro_f1", "accuracy", "cross_entropy")]
        cells = [f"{share:.4f}" for share in row]
        table.add_row(f"{n}: {member['run']}", f"{member['share']:.4f}", *scores, *cells)
    print_table(table)


def _report(name, report, dataset, split, part, probabilities, settings):
    """Print a split's scores and write them into the folder `report`, with `settings` and two pictures.

    name: what was scored. part: (images, labels, rows). probabilities: of the rows.
    """
    from graphcnn.common.progress import say
    from graphcnn.evaluation import pictures

    images, labels, rows = part
    scores, names = metrics.summary(labels[rows], probabilities), dataset.class_names
    per_class = _print_scores(f"{split} ", labels[rows], probabilities, scores, names)
    report.mkdir(exist_ok=True)
    stem = f"{report}/{split}"
    numbers = {**scores, **settings, "per_class": per_class, "confusion": scores["confusion"].tolist()}
    with atomic_write(f"{stem}.json") as file:
        file.write((json.dumps(numbers, indent=2) + "\n").encode())
    title = f"{name}, {split}: macro F1 {scores['macro_f1']:.4f}"
    pictures.confusion(scores["confusion"], names, title, f"{stem}_confusion.png")
    title = f"{name}, {split}: the most confident mistakes"
    pictures.mistakes(
        images, rows, labels[rows], probabilities, names, dataset.pixel_max, title, f"{stem}_mistakes.png"
    )
    say(f"\nwritten: {stem}.json, {split}_confusion.png, {split}_mistakes.png")


def _score_file(values):
    """Print the scores of a handed-in file of softmax rows."""
    if not (values.predictions and values.labels):
        raise InputError("--predictions and --labels go together; name both files")
    import numpy as np

    from graphcnn.data.checks import check_labels
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
    sys.exit(run_command("eval", __doc__, define_flags(), main))
