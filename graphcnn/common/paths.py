"""Paths of what the commands write: default folders beside the package, and the paths that flags name."""

from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]  # holds run.sh and the package
CHECKPOINTS = REPOSITORY / "checkpoints"
DATA = REPOSITORY / "data"
EXPORTS = REPOSITORY / "export"
SUBMISSION = REPOSITORY / "submission"


def output_path(path: str) -> Path:
    """Return the absolute path of an output; if the output is a link, the path of the link, not of its target."""
    named = Path(path)
    return named.parent.resolve() / named.name if named.name not in ("", "..") else named.resolve()
