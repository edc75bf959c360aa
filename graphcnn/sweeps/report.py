"""The numbers of a suite's report: scores, standard deviations over seeds, ranks, and the source's conclusions.

The numbers come from the runs' histories and from the scores that eval wrote. All except the seconds are reproducible.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

from graphcnn.common.replace import atomic_write
from graphcnn.config.suite import Claim, Suite, recipe_of
from graphcnn.evaluation import pictures
from graphcnn.sweeps.report_markdown import markdown
from graphcnn.sweeps.results import Result

NOT_IN_JSON = ("config", "per_class", "history")  # keys of a Result
TEXTS = ("seed", "weights", "run")  # keys of a Result that have no mean over seeds
SPREAD = ("dev_macro_f1", "dev_accuracy")  # keys with a standard deviation over seeds
COMPARE: dict[str, Callable[[float, float], bool]] = {">": lambda a, b: a > b, "<": lambda a, b: a < b}


def summary(suite: Suite, results: dict[str, list[Result]]) -> dict[str, Any]:
    """Return the report as a dict for JSON.

    Args:
        suite: the suite.
        results: {experiment: the Results of its seeds}, for experiments with a finished run.
    """
    rows = [_experiment(suite, name, seeds) for name, seeds in results.items()]
    _rank(rows)
    config = next(iter(results.values()))[0]["config"]
    by_name = {row["experiment"]: row for row in rows}
    return {
        "source": suite.source,
        "unit": suite.unit,
        "machine": {"cpu": config["cpu"]["model"], "cores": config["cpu"]["cores"], **config["versions"]},
        "precision": config["recipe"]["precision"],
        "experiments": rows,
        "spearman": _spearman(rows),
        "columns": suite.columns,
        "claims": [_checked(claim, by_name) for claim in suite.claims],
    }


def _experiment(suite: Suite, name: str, seeds: list[Result]) -> dict[str, Any]:
    """Return an experiment's entry of the report: means over its seeds, and the numbers of each seed."""
    experiment = suite.experiments[name]
    published = experiment.published
    limits = list(published) if isinstance(published, tuple) else None
    means = {key: _mean(seeds, key) for key in seeds[0] if key not in (*TEXTS, *NOT_IN_JSON)}
    return {
        "experiment": name,
        "change": experiment.description,
        "parent": experiment.parent,
        "published": statistics.mean(limits) if limits else published,
        "published_range": limits,
        **means,
        "parameters": seeds[0]["parameters"],
        "weights": seeds[0]["weights"],
        "weights_wanted": recipe_of(suite, name).weights,
        "also": experiment.other_scores,
        "seeds": [seed["seed"] for seed in seeds],
        **{f"{key}_deviation": _deviation(seeds, key) for key in SPREAD},
        "runs": [{key: seed[key] for key in seed if key not in NOT_IN_JSON} for seed in seeds],
    }


def _rank(rows: list[dict[str, Any]]) -> None:
    """Set the ranks of the experiments by dev macro F1 and by published score.

    If some experiments have a published score, only these are ranked.
    """
    published = [row for row in rows if row["published"] is not None]
    ranked = published or rows
    for row in rows:
        row["rank"] = row["published_rank"] = None
        if row in ranked:
            row["rank"] = 1 + sum(other["dev_macro_f1"] > row["dev_macro_f1"] for other in ranked)
        if row in published:
            row["published_rank"] = 1 + sum(other["published"] > row["published"] for other in published)


def _mean(seeds: list[Result], key: str) -> float | None:
    values = [seed[key] for seed in seeds]
    return None if None in values else statistics.mean(values)


def _deviation(seeds: list[Result], key: str) -> float | None:
    """Return the standard deviation over seeds; None with one seed."""
    return statistics.stdev(seed[key] for seed in seeds) if len(seeds) > 1 else None


def _spearman(rows: list[dict[str, Any]]) -> float | None:
    """Return Spearman's rank correlation of dev macro F1 with the published scores; None if it is not defined.

    It needs at least three experiments with a published score, and at least two different scores of each kind.
    """
    from scipy.stats import spearmanr

    pairs = [(row["dev_macro_f1"], row["published"]) for row in rows if row["published"] is not None]
    if len(pairs) < 3 or any(len(set(scores)) == 1 for scores in zip(*pairs, strict=True)):
        return None
    return float(spearmanr(*zip(*pairs, strict=True)).statistic)


def _checked(claim: Claim, rows: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return a claim with the compared numbers and whether it holds.

    "holds" is None if an experiment is missing, or if seconds were measured with different numbers of processors.
    """
    key = {"score": "dev_macro_f1"}.get(claim.measure, claim.measure)
    names = (claim.experiment, *claim.others)
    numbers = {name: rows[name][key] for name in names if name in rows}
    holds = None
    comparable = len(numbers) == len(names)
    if comparable and claim.measure == "epoch_seconds":
        comparable = len({rows[name]["cores"] for name in names}) == 1
    if comparable:
        holds = all(
            COMPARE[claim.sign](numbers[claim.experiment], claim.factor * numbers[other]) for other in claim.others
        )
    return {
        "claim": claim.description,
        "measure": key,
        "sign": claim.sign,
        "factor": claim.factor,
        "one": claim.experiment,
        "others": list(claim.others),
        "numbers": numbers,
        "holds": holds,
    }


def best_experiment(report: dict[str, Any]) -> str:
    """Return the name of the experiment with the highest dev macro F1."""
    return max(report["experiments"], key=lambda row: row["dev_macro_f1"])["experiment"]


def write(folder: Path, report: dict[str, Any], results: dict[str, list[Result]]) -> None:
    """Write report.json, report.md and report.png into the folder.

    Args:
        folder: the suite's folder.
        report: the dict of `summary`, and "suite" (name), "command" and "data" (description). Optional keys are
            "longer" (experiments with more epochs than requested), "predictions" (lines) and "ensembles".
        results: as for `summary`.
    """
    per_class = results[best_experiment(report)][0]["per_class"]
    with atomic_write(folder / "report.json") as file:
        file.write((json.dumps(report, indent=2) + "\n").encode())
    with atomic_write(folder / "report.md") as file:
        file.write(markdown(report, best_experiment(report), per_class).encode())
    pictures.suite(
        {name: [seed["history"] for seed in seeds] for name, seeds in results.items()}, folder / "report.png"
    )
