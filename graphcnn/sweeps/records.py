"""Records of finished runs: small copies of their folders, which count as finished when the runs themselves are lost.

A record has the run's config.json, history.csv, last/state.json, best/state.json and the scores in report/, but no
checkpoints. It has no path of the user's machine.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from graphcnn.common.files import read_bytes, read_json, refuse_links
from graphcnn.common.replace import atomic_write
from graphcnn.data import sources
from graphcnn.storage.run import HISTORY_BYTES, Run

COPIED = ("history.csv", "last/state.json", "best/state.json")
SCORES = ("train", "dev", "test")  # splits whose scores a record has


def record_of(run: Run, folder: Path) -> Run:
    """Return the record of a suite's run in the folder of records; it may not exist yet."""
    return Run(folder, run.path.name)


def is_record(run: Run, folder: Path) -> bool:
    """Return whether a run is a record in this folder."""
    return run.root == folder


def write_record(run: Run, folder: Path) -> None:
    """Write the record of a finished and scored run; an earlier record of this run is replaced.

    Raises:
        InputError: a file of the run cannot be read.
        OSError: the record cannot be written.
    """
    record = record_of(run, folder)
    refuse_links(record.path, folder)
    config = _without_paths(run.config())
    files = {name: read_bytes(run.path / name, HISTORY_BYTES) for name in COPIED}
    files["config.json"] = _json(config)
    for split in SCORES:
        path = run.path / "report" / f"{split}.json"
        if path.exists():
            files[f"report/{split}.json"] = _json(read_json(path, follow=False))
    new = Path(tempfile.mkdtemp(prefix=f".{record.path.name}.", suffix=".new", dir=folder))
    try:
        for name, content in files.items():
            (new / name).parent.mkdir(exist_ok=True)
            with atomic_write(new / name) as file:
                file.write(content)
        new.chmod(0o755)
        if record.path.exists():
            shutil.rmtree(record.path)
        new.replace(record.path)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _json(content: Any) -> bytes:
    return (json.dumps(content, indent=2) + "\n").encode()


def _without_paths(config: dict[str, Any]) -> dict[str, Any]:
    """Return the content of a config.json without the source of the data, unless it is a name, and its options."""
    source = config["data"]["source"]
    data = {key: value for key, value in config["data"].items() if key != "options"}
    return config | {"data": data | {"source": source if source in sources.NAMES else "DIR"}}
