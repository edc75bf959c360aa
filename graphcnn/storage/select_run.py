"""Find the run, or the runs of an ensemble, that --run names."""

from __future__ import annotations

from pathlib import Path

from graphcnn.common.errors import InputError
from graphcnn.storage.run import NAME, Run


def all_runs(root: Path) -> list[Run]:
    """Return the started runs under `root`, <run> and <suite>/<run>, the newest config.json first."""
    configs = [*root.glob("*/config.json"), *root.glob("*/*/config.json")]
    configs = [path for path in configs if NAME.fullmatch(path.parent.relative_to(root).as_posix())]
    configs.sort(key=lambda path: path.stat().st_mtime_ns, reverse=True)
    return [Run(root, path.parent.relative_to(root).as_posix()) for path in configs]


def newest_names(root: Path) -> str:
    """Return the names of the newest runs for an error line: "b, a", or "none yet"."""
    return ", ".join(run.name for run in all_runs(root)[:5]) or "none yet"


def unused_run(root: Path, stem: str) -> Run:
    """Return the Run <stem>-<n> with the smallest n from 1 whose folder does not exist yet."""
    n = 1
    while (root / f"{stem}-{n}").exists():
        n += 1
    return Run(root, f"{stem}-{n}")


def select_run(root: Path, name: str | None) -> Run:
    """Return the trained Run of this name. Without a name, return the newest run that has a best checkpoint.

    Raises:
        InputError: there is no such run, or it has no finished epoch.
    """
    if name is not None:
        run = Run(root, name)
        if not run.exists():
            raise InputError(f"--run={name}: no such run in {root} (newest: {newest_names(root)}); train it first")
        if not run.has_best():
            raise InputError(f"--run={name}: no finished epoch yet; continue the run with train --run={name} --resume")
        return run
    for run in all_runs(root):
        if run.has_best():
            return run
    raise InputError(f"--run: no trained run in {root}; train one with ./run.sh train")


def select_runs(root: Path, names: str) -> list[Run]:
    """Return the trained Runs that --run=a,b,c names, each once.

    Raises:
        InputError: a run is named twice, does not exist, or has no finished epoch.
    """
    run_names = names.split(",")
    if len(set(run_names)) < len(run_names):
        raise InputError(f"--run={names}: a run is named twice; name each run once")
    return [select_run(root, name) for name in run_names]


def ensemble_folder(root: Path, names: list[str]) -> Path:
    """Return the folder for the report of the ensemble of these runs."""
    return root / "ensembles" / "+".join(name.replace("/", "-") for name in names)
