"""A suite's report from its finished runs: scores, spread over seeds, ranks, the published order, conclusions.

Everything but the seconds repeats exactly: it comes from histories and from the scores that eval wrote.
"""

import json
import statistics
from pathlib import Path

from graphcnn.common.files import atomic_write
from graphcnn.config.suite import recipe_of
from graphcnn.evaluation import pictures

LARGE = ("config", "per_class", "history", "run")  # of what `finished` returns: not for the JSON
TEXTS = ("seed", "weights")  # no means over seeds
SIGNS = {">": lambda a, b: a > b, "<": lambda a, b: a < b}


def finished(run):
    """Return what a finished run's folder says of its best epoch, as a dict, or None where eval has not scored it.

    Errors: those of a file that is missing (OSError) or damaged (InputError, ValueError, KeyError, TypeError).
    """
    scores, state = {}, json.loads((run.path / "last" / "state.json").read_text(encoding="utf-8"))
    for split in ("train", "dev", "test"):
        path = run.path / "report" / f"{split}.json"
        if path.exists():
            found = json.loads(path.read_text(encoding="utf-8"))
            if found.get("epoch") == state["best_epoch"] and not found["tta"]:
                scores[split] = found
    if not {"train", "dev"} <= set(scores):
        return None
    history = run.history(state["epoch"])
    config, train, dev, test = run.config(), scores["train"], scores["dev"], scores.get("test")
    return {
        "config": config,
        "seed": config["recipe"]["seed"],
        "parameters": dev["parameters"],
        "cores": config["cpu"]["cores"],
        "epochs": state["epoch"],
        "best_epoch": state["best_epoch"],
        "seconds": sum(row["seconds"] for row in history),
        "epoch_seconds": statistics.median(row["seconds"] for row in history),
        "train_loss": train["cross_entropy"],
        "dev_loss": dev["cross_entropy"],
        "train_accuracy": train["accuracy"],
        "dev_accuracy": dev["accuracy"],
        "dev_macro_f1": history[state["best_epoch"] - 1]["dev_macro_f1"],
        "gap": train["accuracy"] - dev["accuracy"],
        "test_accuracy": test and test["accuracy"],
        "test_macro_f1": test and test["macro_f1"],
        "test_loss": test and test["cross_entropy"],
        "test_top2_accuracy": test and test["top2_accuracy"],
        "dev_top2_accuracy": dev["top2_accuracy"],
        "weights": config["recipe"].get("weights", "none"),  # the first versions' runs have none
        "run": run.name,
        "per_class": (test or dev)["per_class"],
        "history": history,
    }


def summary(suite, results):
    """Return the report as a dict for JSON.

    Args:
        suite: Suite.
        results: {experiment: [what `finished` returned, a seed each]}; experiments without a run are left out.
    """
    rows = []
    for name, runs in results.items():
        row, published = suite.experiments[name], suite.experiments[name].published
        numbers = {key: _mean(runs, key) for key in runs[0] if key not in (*TEXTS, *LARGE)}
        wanted = recipe_of(suite, name).weights
        numbers |= {"parameters": runs[0]["parameters"], "weights": runs[0]["weights"], "weights_wanted": wanted}
        numbers |= {"also": row.other_scores, "seeds": [run["seed"] for run in runs]}
        numbers |= {key: _deviation(runs, key) for key in ("dev_macro_f1_deviation", "dev_accuracy_deviation")}
        middle = statistics.mean(published) if isinstance(published, tuple) else published
        about = {"experiment": name, "change": row.description, "parent": row.parent, "published": middle}
        about["published_range"] = list(published) if isinstance(published, tuple) else None
        runs = [{key: run[key] for key in run if key not in LARGE} for run in runs]
        rows.append({**about, **numbers, "runs": runs})
    ranked = [row for row in rows if row["published"] is not None] or rows
    for row in rows:
        row["rank"] = row["published_rank"] = None
        if row in ranked:
            row["rank"] = 1 + sum(other["dev_macro_f1"] > row["dev_macro_f1"] for other in ranked)
        if row["published"] is not None:
            row["published_rank"] = 1 + sum(other["published"] > row["published"] for other in ranked)
    config = next(iter(results.values()))[0]["config"]
    return {
        "source": suite.source,
        "unit": suite.unit,
        "machine": {"cpu": config["cpu"]["model"], "cores": config["cpu"]["cores"], **config["versions"]},
        "precision": config["recipe"]["precision"],
        "experiments": rows,
        "spearman": _spearman(rows),
        "columns": suite.columns,
        "claims": [_checked(claim, {row["experiment"]: row for row in rows}) for claim in suite.claims],
    }


def _mean(runs, key):
    values = [run[key] for run in runs]
    return None if None in values else statistics.mean(values)


def _deviation(runs, key):
    """Return the standard deviation over seeds of the key without its ending; None with one seed."""
    values = [run[key.removesuffix("_deviation")] for run in runs]
    return statistics.stdev(values) if len(values) > 1 else None


def _spearman(rows):
    """Return Spearman's rank correlation of our dev macro F1 with the published scores; None below three rows."""
    from scipy.stats import spearmanr

    pairs = [(row["dev_macro_f1"], row["published"]) for row in rows if row["published"] is not None]
    if len(pairs) < 3 or any(len(set(side)) == 1 for side in zip(*pairs, strict=True)):
        return None
    return float(spearmanr(*zip(*pairs, strict=True)).statistic)


def _checked(claim, rows):
    """Return a claim with the numbers compared and whether it holds; None where a row is missing."""
    key = {"score": "dev_macro_f1"}.get(claim.measure, claim.measure)
    names = (claim.experiment, *claim.others)
    numbers = {name: rows[name][key] for name in names if name in rows}
    holds = None
    clocks = claim.measure == "epoch_seconds"  # of runs that had the same processors alone
    if len(numbers) == len(names) and not (clocks and len({rows[name]["cores"] for name in names}) > 1):
        others = [claim.factor * numbers[name] for name in claim.others]
        holds = all(SIGNS[claim.sign](numbers[claim.experiment], other) for other in others)
    return {"claim": claim.description, "measure": key, "sign": claim.sign, "factor": claim.factor,
            "one": claim.experiment, "others": list(claim.others), "numbers": numbers, "holds": holds}  # fmt: skip


def write(folder, report, results):
    """Write report.json, report.md and report.png into the folder.

    report: what `summary` returned, and "suite" (its name), "command" and "data" (in words); maybe "longer" (names of
    experiments with more epochs than asked for), "predictions" (lines) and "ensembles" (rows).
    """
    folder = Path(folder)
    with atomic_write(folder / "report.json") as file:
        file.write((json.dumps(report, indent=2) + "\n").encode())
    with atomic_write(folder / "report.md") as file:
        file.write(markdown(report, results).encode())
    pictures.suite({name: [run["history"] for run in runs] for name, runs in results.items()}, folder / "report.png")


def best_of(report):
    """Return the name of the experiment with the highest dev macro F1."""
    return max(report["experiments"], key=lambda row: row["dev_macro_f1"])["experiment"]


def markdown(report, results):
    """Return the report as Markdown."""
    rows, unit = report["experiments"], report["unit"]
    tested = any(row["test_accuracy"] is not None for row in rows)
    known = any(row["published"] is not None for row in rows)
    machine = "{cores} core(s) of {cpu} each, TensorFlow {tensorflow}, Python {python}".format(**report["machine"])
    lines = [f"# {report['suite']}: {report['source']}", "", f"`{report['command']}`", ""]
    lines += [f"{report['data']}; {machine}, {report['precision']}.", ""]
    columns = {
        "experiment": lambda row: row["experiment"],
        "change": lambda row: row["change"] + (f" (from {row['parent']})" if row["parent"] else ""),
        "parameters": lambda row: f"{row['parameters']:,}",
        "epochs": lambda row: f"{row['epochs']:g}",
        "seconds": lambda row: f"{row['seconds']:.0f}",
        "train loss": lambda row: f"{row['train_loss']:.3f}",
        "dev loss": lambda row: f"{row['dev_loss']:.3f}",
        "dev accuracy": lambda row: _spread(row, "dev_accuracy"),
        "dev macro F1": lambda row: _spread(row, "dev_macro_f1"),
        "train − dev": lambda row: f"{row['gap']:.3f}",
    }
    if tested:
        columns["test accuracy"] = lambda row: _number(row["test_accuracy"])
        columns["test macro F1"] = lambda row: _number(row["test_macro_f1"])
    if known:
        columns[f"published ({unit})"] = _published
    if any(row["weights_wanted"] != "none" for row in rows):
        columns["weights"] = lambda row: "random" if row["weights"] == "none" else row["weights"]
    columns["rank here"] = lambda row: row["rank"] or ""
    if known:
        columns["rank there"] = lambda row: row["published_rank"] or ""
    lines += [_line(columns), _line(["---"] * 2 + ["--:"] * (len(columns) - 2))]
    lines += [_line([cell(row) for cell in columns.values()]) for row in rows]
    lines += [
        "",
        "Scores are those of each run's best epoch by dev macro F1, without dropout and augmentation; ± is the "
        "standard deviation over seeds, whose number follows. Ranks are by dev macro F1"
        + (", among the rows with a published score." if known else "."),
    ]
    if report.get("longer"):
        lines += ["", f"Trained for more epochs than this call asked for: {', '.join(report['longer'])}."]
    if report["spearman"] is not None:
        lines += ["", f"Spearman's rank correlation with the published order: {report['spearman']:.3f}."]
    if report["claims"]:
        lines += ["", "| conclusion | compared | holds |", "|---|---|---|"]
        for claim in report["claims"]:
            holds = {True: "yes", False: "no", None: "not compared"}[claim["holds"]]
            lines.append(_line([claim["claim"], _compared(claim), holds]))
    lines += _beside(rows, report["columns"]) + _ensembles(report.get("ensembles") or [], unit)
    best = best_of(report)
    split = "test" if tested else "dev"
    lines += ["", f"The best by dev, {best}, on the {split} split, seed {results[best][0]['seed']}:", ""]
    lines += ["| class | precision | recall | F1 | images |", "|---|--:|--:|--:|--:|"]
    for name, of in results[best][0]["per_class"].items():
        scores = [f"{of[key]:.4f}" for key in ("precision", "recall", "f1-score")]
        lines.append(_line([name.replace("|", "\\|"), *scores, f"{of['support']:.0f}"]))
    rows = list(results[best][0]["per_class"].values())
    means = [f"{statistics.mean(of[key] for of in rows):.4f}" for key in ("precision", "recall", "f1-score")]
    lines.append(_line(["macro average", *means, f"{sum(of['support'] for of in rows):.0f}"]))
    if report.get("predictions"):
        lines += ["", f"What {best} makes of some photos of the test split:", "", "```", *report["predictions"], "```"]
    return "\n".join([*lines, "", "![curves of each experiment](report.png)", ""])


def _beside(rows, columns):
    """Return lines of a table of the scores that the report gives for its experiments, ours before its."""
    if not columns:
        return []

    def cell(row, key):
        there = row["also"].get(key)
        return f"{_number(row[key]) or '–'} / {'–' if there is None else f'{there:g}'}"

    lines = ["", "Each score here / there:", "", _line(["experiment", *columns.values()])]
    lines.append(_line(["---"] + ["--:"] * len(columns)))
    return lines + [_line([row["experiment"], *(cell(row, key) for key in columns)]) for row in rows]


def _ensembles(rows, unit):
    """Return lines of a table of the ensembles' scores."""
    if not rows:
        return []
    columns = {"dev_accuracy": "dev accuracy", "dev_macro_f1": "dev macro F1"}
    if "test_accuracy" in rows[0]:
        columns |= {"test_accuracy": "test accuracy", "test_macro_f1": "test macro F1"}
    titles = ["ensemble", *columns.values(), "best member's dev macro F1", f"published ({unit})"]
    lines = ["", "Means of softmax outputs:", "", _line(titles), _line(["---"] + ["--:"] * (len(titles) - 1))]
    for row in rows:
        scores = [_number(row[key]) for key in (*columns, "best_member_dev_macro_f1")]
        lines.append(_line([row["ensemble"], *scores, "" if row["published"] is None else f"{row['published']:g}"]))
    return lines


def _compared(claim):
    """Return the numbers of a claim in words: "0.7 > 0.5 × 0.6 (b), …"."""
    digits = 1 if claim["measure"] == "epoch_seconds" else 4
    told = {name: f"{value:.{digits}f}" for name, value in claim["numbers"].items()}
    factor = "" if claim["factor"] == 1 else f"{claim['factor']:.3g} × "
    others = claim["others"]
    if len(others) > 3 and claim["holds"] is not None:
        pick = max if claim["sign"] == ">" else min
        others = [pick(others, key=lambda name: claim["numbers"][name])]
    against = ", ".join(f"{factor}{told.get(name, '?')} ({name})" for name in others)
    return f"{claim['measure']} {told.get(claim['one'], '?')} {claim['sign']} {against}"


def _line(cells):
    return "| " + " | ".join(map(str, cells)) + " |"


def _number(value):
    return "" if value is None else f"{value:.4f}"


def _published(row):
    if row["published_range"]:
        return "–".join(f"{value:g}" for value in row["published_range"])
    return "" if row["published"] is None else f"{row['published']:g}"


def _spread(row, key):
    deviation = row[f"{key}_deviation"]
    return f"{row[key]:.4f}" + ("" if deviation is None else f" ± {deviation:.4f} ({len(row['seeds'])})")
