"""The recipe that the benchmark times, without augmentation and stages. Keras and PyTorch must support it."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from typing import Any

from graphcnn.benchmark.implementations import NETS_WITHOUT_ROWS
from graphcnn.benchmark.job import CLASSES, Job
from graphcnn.common.errors import InputError
from graphcnn.config.recipe import Recipe
from graphcnn.graphs.inference import InferenceGraph, build_inference
from graphcnn.graphs.validate import validate_net
from graphcnn.nets import registry, sequential
from graphcnn.ops.tf1 import cpu

WHOLE_NET: dict[str, Any] = {
    "early_size": 0,
    "micro_batch": 0,
    "freeze": "none",
    "feature_views": 1,
    "finetune_epochs": 0,
}
SUPPORTED: dict[str, dict[str, tuple[Any, ...]]] = {  # {implementation: {setting: values that it supports}}
    "keras": {
        "optimizer": ("adam", "sgd"), "bias_lr_multiplier": (1,), "whitening_patch_size": (0,),
        "label_smoothing": (0,), "lookahead": (0,), "head": ("own",),
    },
    "pytorch": {"optimizer": ("adam", "sgd", "muon"), "lookahead": (0,), "head": ("own",)},
}  # fmt: skip


def whole_net(recipe: Recipe, **changes: object) -> Recipe:
    """Return the changed recipe, with steps that train the whole net on one batch of full-size images."""
    settings: dict[str, Any] = WHOLE_NET | changes
    changed = dataclasses.replace(recipe, **settings)
    validate_net(changed)
    return changed


def check_others(recipe: Recipe, recipe_name: str, others: Collection[str]) -> None:
    """Refuse a recipe that the other implementations (keras, pytorch) cannot train in the same way."""
    if not others:
        return
    for name in others:
        for setting, supported in SUPPORTED[name].items():
            if getattr(recipe, setting) not in supported:
                expected = " or ".join(map(str, supported))
                raise InputError(
                    f"--recipe={recipe_name}: has {setting} {getattr(recipe, setting)}, but the benchmark's {name} "
                    f"implementation supports only {expected}; leave {name} out of --implementations"
                )
    if not net_rows(recipe.net):
        _validate_net_without_rows(recipe, others)


def _validate_net_without_rows(recipe: Recipe, others: Collection[str]) -> None:
    for name, nets in NETS_WITHOUT_ROWS.items():
        if name in others and recipe.net not in nets:
            rest = ",".join(other for other in others if other != name) or "none"
            raise InputError(
                f"--net={recipe.net}: the benchmark has no {name} implementation of this net, only of "
                f"{', '.join(sorted(nets))}; use --implementations={rest}"
            )
    for setting, value in {"l2": 0, "keep_prob": 1}.items():
        if getattr(recipe, setting) != value:
            raise InputError(
                f"--net={recipe.net}: the other implementations of this net do not support {setting}; use --recipe=zoo "
                "or --implementations=none"
            )


def net_rows(net: str) -> tuple:
    """Return the rows of a sequential net; () for other nets, and for nets with a row that only graphcnn supports."""
    rows = registry.SEQUENTIAL.get(net, ())
    return () if any(isinstance(row, sequential.AdaptiveAveragePool) for row in rows) else rows


def job_of(recipe: Recipe) -> Job:
    """Return the job that every implementation gets."""
    return Job(
        recipe=recipe,
        rows=[[type(row).__name__, row._asdict()] for row in net_rows(recipe.net)],
        batch_norm_epsilon=sequential.NORMS[recipe.batch_norm_position].epsilon,
        classes=CLASSES,
        cores=cpu()["cores"],
    )


def countable_graph(recipe: Recipe) -> InferenceGraph:
    """Return the recipe's inference graph with operations of tf.nn only, so that its FLOPs can be counted."""
    return build_inference(recipe, (recipe.image_size, recipe.image_size), CLASSES, portable=True)
