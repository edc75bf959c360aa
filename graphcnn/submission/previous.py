"""The older submission that a new one replaces."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any, NamedTuple

from graphcnn.common.errors import InputError
from graphcnn.common.files import read_json, read_text
from graphcnn.storage.run import HISTORY_BYTES


class Previous(NamedTuple):
    """An older submission.

    description: the recipe, or the number of runs, and the dev macro F1. source: the data, as
    `train` recorded them. fingerprint: fingerprint of the data.
    """

    description: str
    source: str
    fingerprint: str


def read_previous(folder: Path) -> Previous | None:
    """Return the submission in a folder; None if there is none, or if its config.json is damaged."""
    try:
        config = read_json(folder / "config.json", follow=False)
        if "members" in config:
            members = config["members"]
            description = f"an ensemble of {len(members)} runs"
        else:
            members = [config]
            description = f"recipe {config['recipe_name']}"
        description += _score(config, folder / "history.csv")
        data: dict[str, Any] = members[0]["data"]
        return Previous(description, str(data["source"]), str(data["fingerprint"]))
    except (OSError, InputError, ValueError, KeyError, IndexError, TypeError, RecursionError):
        return None


def _score(config: dict[str, Any], history: Path) -> str:
    """Return ", dev macro F1 <the score of the submission>"; "" without one.

    Args:
        config: the config.json. In submissions of version 1, it has no entry "submission".
        history: the history.csv of a single run. It has the scores of version 1.
    """
    if "submission" in config:
        score = config["submission"]["dev_macro_f1"]
        return "" if score is None else f", dev macro F1 {score:.6f}"
    if "members" in config:
        return ""
    rows = csv.DictReader(read_text(history, HISTORY_BYTES, follow=False).splitlines())
    scores = [float(row["dev_macro_f1"]) for row in rows if row["dev_macro_f1"]]
    return f", dev macro F1 {max(scores):.6f}" if scores else ""
