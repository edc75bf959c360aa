"""The types of a suite: experiments, ensembles of them, and the conclusions of the original report."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from graphcnn.config.recipe import Recipe

Published = float | tuple[float, float] | None  # a score, the lowest and highest of a range, or none


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """A recipe that changes some settings of another experiment, its parent.

    Attributes:
        description: what is changed, in words.
        change: {Recipe field: value} that differs from the parent.
        parent: name of another experiment of the suite. None: the suite's base.
        published: the score of the original report, in the suite's unit.
        other_scores: {key of Suite.columns: published number}, other scores of the original report.
    """

    description: str
    change: Mapping[str, Any] = field(default_factory=dict)
    parent: str | None = None
    published: Published = None
    other_scores: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Ensemble:
    """Several experiments of a suite whose softmax outputs are averaged.

    Attributes:
        description: its members, in words.
        members: names of experiments.
        published: the score of the original report, in the suite's unit.
    """

    description: str
    members: tuple[str, ...]
    published: float | None = None


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A conclusion of the original report, which compares a measure of one experiment with that of others.

    With the sign ">", the claim holds if measure(experiment) > factor * measure(other) for each of the others.

    Attributes:
        description: the conclusion, in words.
        experiment, others: names of experiments.
        sign: ">" or "<".
        measure: score (dev macro F1), gap (training accuracy minus dev accuracy) or epoch_seconds.
        factor: factor of measure(other).
    """

    description: str
    experiment: str
    sign: str
    others: tuple[str, ...]
    measure: str = "score"
    factor: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Suite:
    """The experiments of one report.

    Attributes:
        source: the report, and the settings that it does not give.
        unit: unit of the published scores.
        base: the Recipe that experiments without a parent change.
        dev_fraction: fraction of the training images in the dev split.
        experiments: {name: Experiment}.
        claims: conclusions about these experiments.
        ensembles: ensembles of these experiments.
        columns: {key of Experiment.other_scores: title of its column in the report}.
    """

    source: str
    unit: str
    base: Recipe
    dev_fraction: float
    experiments: Mapping[str, Experiment]
    claims: tuple[Claim, ...] = ()
    ensembles: tuple[Ensemble, ...] = ()
    columns: Mapping[str, str] = field(default_factory=dict)


def recipe_of(suite: Suite, name: str) -> Recipe:
    """Return the Recipe of an experiment: the suite's base with the changes of its ancestors, then its own changes."""
    experiment = suite.experiments[name]
    parent = recipe_of(suite, experiment.parent) if experiment.parent else suite.base
    return dataclasses.replace(parent, **experiment.change)
