"""Run folders without weights, which tests write in milliseconds."""

import dataclasses
import json
import os
import time

import numpy as np

from graphcnn.config.suites import named_recipe
from graphcnn.storage.run import COLUMNS, HistoryRow, Run

SECONDS = 2.5  # of training in each epoch


def write_run(root, name, scores=(0.5, 0.75, 0.625), *, recipe="assignment", age=60.0, stopped=False, **settings):
    """Write a run of the data digits with these dev scores and return it.

    Args:
        scores: dev macro F1 of each epoch; none for a run without a finished epoch.
        recipe: name of its recipe.
        age: seconds since the last epoch.
        stopped: whether early stopping ended it.
        settings: those that differ from the recipe.
    """
    run = Run(root, name)
    data = {"source": "digits", "fingerprint": "2:ab:cd", "image_shape": [32, 32], "pixel_max": 255, "options": {}}
    changed = dataclasses.replace(named_recipe(recipe).recipe, **{"precision": "float32", **settings})
    config = {
        "recipe_name": recipe,
        "recipe": dataclasses.asdict(changed),
        "data": data,
        "split": {"kind": "stratified", "fraction": 0.25},
        "class_names": ["a", "b"],
    }
    run.create(config, np.arange(3))
    rows = [
        HistoryRow(**dict.fromkeys(COLUMNS, 0.5))
        | {"epoch": n, "step": n, "dev_macro_f1": score, "dev_cross_entropy": 1 / n, "training_seconds": SECONDS * n}
        for n, score in enumerate(scores, start=1)
    ]
    if rows:
        run.write_history(rows)
        best = 1 + int(np.argmax(scores))
        for link, epoch in (("best", best), ("last", len(scores))):
            write_checkpoint(
                run, link, epoch, {"best_epoch": best, "best_score": max(scores), "stopped_early": stopped}
            )
        written = time.time() - age
        os.utime(run.path / "last" / "state.json", (written, written))
    return run


def write_checkpoint(run, link, epoch, state):
    """Write the state.json of an epoch, and the link to its folder."""
    folder = run.path / f"epoch-{epoch:04d}"
    folder.mkdir(exist_ok=True)
    stopping = {"best": 0.5, "worse_in_a_row": 6 if state["stopped_early"] else 0}
    (folder / "state.json").write_text(json.dumps({"epoch": epoch, "stopping": stopping, **state}))
    (run.path / link).symlink_to(folder.name)


def edit_json(path, **values):
    """Replace values of a JSON object in a file."""
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))
