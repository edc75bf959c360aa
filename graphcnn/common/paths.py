"""Output paths of the commands: the default folders beside the package, and the value of a flag as a path."""

from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]  # holds run.sh and the package
CHECKPOINTS = REPOSITORY / "checkpoints"
DATA = REPOSITORY / "data"
EXPORTS = REPOSITORY / "export"
SUBMISSION = REPOSITORY / "submission"


def output_path(path: str) -> Path:
    """Return the absolute path of an output. If it is a link, this is the path of the link, not of the target."""
    output = Path(path)
    return output.parent.resolve() / output.name if output.name not in ("", "..") else output.resolve()
