"""Default folders of the commands, beside the package."""

from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]  # holds run.sh and the package
CHECKPOINTS = REPOSITORY / "checkpoints"
DATA = REPOSITORY / "data"
EXPORTS = REPOSITORY / "export"
SUBMISSION = REPOSITORY / "submission"
