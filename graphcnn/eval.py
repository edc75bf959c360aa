"""Score a trained run, an ensemble of runs, or the result.npy of a submission.

./run.sh eval --split=dev                      score the newest run on the dev split
./run.sh eval --run=NAME --split=train,test    score another run on its training split and on the labelled test split
./run.sh eval --run=a,b,c --ensemble=fitted    score an ensemble of three runs, and each of the three
./run.sh eval --images=DIR                     score the newest run on photos in the folders DIR/<class>/
./run.sh eval --array=x.npy --labels=y.npy     score the newest run on an array of images with labels
./run.sh eval --predictions=result.npy --labels=y_test.npy    score a file of softmax outputs, without a run
./run.sh eval --run=a --against=b              compare two runs on the same images
./run.sh eval --run=NAME --calibrate           fit the temperature of a run on its dev split, for --calibrated
"""

from __future__ import annotations

import sys
from pathlib import Path

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
    flags.define_own_net(values)
    flags.define_data(values)
    flags.define_precision(values, "float32")
    flags.define_tta(values)
    flags.define_calibrated(values)
    text = "instead of scoring, fit the temperature for --calibrated on the dev split, and store it in the run folder"
    flags.define(values, bool, "calibrate", False, text)
    flags.define(values, str, "split", "dev", "split to score: dev, train or test, or several separated by commas")
    text = "score this .npy file of softmax outputs, float [N, K], instead of a run; needs --labels"
    flags.define(values, str, "predictions", None, text)
    text = (
        "score the photos in this folder, FOLDER/<class>/*, instead of a split; the names of the folders are class "
        "names of the run"
    )
    flags.define(values, str, "images", None, text)
    text = (
        "score the images in this .npy file instead of a split; size and pixel range must be those in training; needs "
        "--labels"
    )
    flags.define(values, str, "array", None, text)
    text = "true classes for --predictions or --array: a .npy file of shape (N,), (N, 1) or one-hot (N, K)"
    flags.define(values, str, "labels", None, text)
    text = (
        "run to compare with on the same images, or a,b,c for an ensemble; with --predictions: a .npy file of softmax "
        "outputs"
    )
    flags.define(values, str, "against", None, text)
    return values


def main(values: FlagValues, positional: list[str]) -> None:
    """Print the scores or a comparison; for runs, write them into the report folder. Or fit a temperature."""
    flags.no_positional(positional)
    precision = flags.precision(values)
    flags.ensemble(values)
    _check_files(values)
    splits = values.split.split(",")
    if not set(splits) <= set(flags.SPLITS):
        raise InputError(f"--split: found {values.split!r}, expected {', '.join(flags.SPLITS)}")
    _check_calibration(values)
    if values.predictions:
        return _score_files(values)

    with say_if_slow("importing TensorFlow"):
        from graphcnn.evaluation.labelled_images import LabelledImages
        from graphcnn.evaluation.model_data import DataSource
        from graphcnn.evaluation.model_outputs import say_precision
        from graphcnn.evaluation.score import score
        from graphcnn.evaluation.score_against import check_pair, score_against
        from graphcnn.evaluation.scored_data import read_labelled, read_splits
        from graphcnn.evaluation.select_model import select_model
        from graphcnn.evaluation.temperature import calibrate

    models = [
        select_model(flags.checkpoints_root(values), **flags.model_arguments(values, name))
        for name in [values.run, *[values.against] * bool(values.against)]
    ]
    source = DataSource(values.data, flags.given_options(values))
    if values.calibrate:
        return calibrate(models[0], source)
    if values.against:
        check_pair(*models)
    for model in models:
        say_precision(model, precision)
    if values.images or values.array:
        labels = Path(values.labels) if values.labels else None
        data = read_labelled(models, LabelledImages(Path(values.images or values.array), labels), source)
    else:
        data = read_splits(models, splits, source)
    if values.against:
        score_against(models, data, precision)
    else:
        score(models[0], data[0], precision)


def _score_files(values: FlagValues) -> None:
    """Score one or two files of softmax outputs. TensorFlow is not imported, so it need not be installed."""
    from graphcnn.evaluation.score_file import compare_files, score_file

    if values.against:
        return compare_files(values.predictions, values.against, values.labels)
    return score_file(values.predictions, values.labels)


def _check_files(values: FlagValues) -> None:
    """Refuse combinations of --predictions, --images, --array, --labels and the flags that do not fit them."""
    given = [flag for flag in ("predictions", "images", "array") if values[flag].value]
    if len(given) > 1:
        raise InputError(f"--{given[0]} and --{given[1]} exclude each other; drop one of them")
    if bool(values.labels) != bool(values.predictions or values.array):
        raise InputError("--labels goes with --predictions or --array; name both files")
    if values.predictions:
        for flag in ("precision", "tta", "allow_changed_net"):
            if values[flag].present:
                raise InputError(f"--{flag}: nothing is computed with --predictions; drop one of them")
    elif given:
        unused = ["split", *["data", "label_file"] * (values.ensemble != "fitted")]
        for flag in unused:
            if values[flag].present:
                raise InputError(f"--{flag}: --{given[0]} is scored instead of the run's data; drop one of them")


def _check_calibration(values: FlagValues) -> None:
    """Refuse flags that do not fit --calibrate or --calibrated."""
    excluded = {
        "calibrate": ("calibrated", "predictions", "images", "array", "against", "precision"),
        "calibrated": ("predictions", "against"),
    }
    for flag, others in excluded.items():
        for other in others if values[flag].value else ():
            if values[other].present:
                raise InputError(f"--{flag} and --{other} exclude each other; drop one of them")
    if values.calibrate and values.split != "dev":
        raise InputError(f"--calibrate: the temperature is fitted on the dev split only; drop --split={values.split}")


if __name__ == "__main__":
    sys.exit(run_command("eval", __doc__, define_flags(), main))
