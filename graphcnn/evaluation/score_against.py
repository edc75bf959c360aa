"""The comparison of two models on the same labelled images, as `eval --against` prints and writes it."""

from __future__ import annotations

import json
from collections.abc import Sequence

from graphcnn.common.errors import InputError
from graphcnn.common.progress import say
from graphcnn.common.replace import atomic_write
from graphcnn.evaluation.comparison import Comparison, compare, print_comparison
from graphcnn.evaluation.model_outputs import compute_outputs, say_biases
from graphcnn.evaluation.scored_data import ScoredData
from graphcnn.evaluation.select_model import Model, check_same_classes
from graphcnn.evaluation.trained_run import TrainedRun
from graphcnn.storage.select_run import joined_name

NAME_BYTES = 200  # of the second model in the name of a report


def check_pair(model: Model[TrainedRun], against: Model[TrainedRun]) -> None:
    """Refuse to compare a model with itself, or two models with different class names."""
    if {run.name for run in model.nets} == {run.name for run in against.nets}:
        names = ",".join(run.name for run in against.nets)
        raise InputError(f"--against={names}: is the same model as --run; name another run")
    check_same_classes(model.nets[0], against.nets[0])


def score_against(
    models: Sequence[Model[TrainedRun]], data: Sequence[ScoredData], precision: str
) -> dict[str, Comparison]:
    """Return {split: the comparison of two models}; print it, and write it into the first model's report folder.

    Args:
        models: the two models.
        data: the same splits for each of the two models.
        precision: precision of the computation: auto, float32 or bfloat16.
    """
    model, against = models
    outputs = [compute_outputs(each, its_data, precision) for each, its_data in zip(models, data, strict=True)]
    comparisons = {}
    for split, (_, labels, rows, _) in data[0].splits[0].items():
        for each, its_outputs in zip(models, outputs, strict=True):
            say_biases(each, its_outputs, split)
        probabilities = [its_outputs.probabilities(split) for its_outputs in outputs]
        comparison = comparisons[split] = compare(labels[rows], *probabilities)
        print_comparison(f"{split} ", model.name, against.name, comparison)
        details = {key: outputs[0].details[0][key] for key in ("precision", "tta")}
        report = {
            "run": model.name,
            "against": against.name,
            **comparison.report(),
            **details,
            **data[0].details(split),
        }
        name = f"{split}_against_{joined_name([run.name for run in against.nets], NAME_BYTES)}.json"
        model.report_folder.mkdir(parents=True, exist_ok=True)
        with atomic_write(model.report_folder / name) as file:
            file.write((json.dumps(report, indent=2) + "\n").encode())
        say(f"written: {model.report_folder}/{name}", "")
    return comparisons
