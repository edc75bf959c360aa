"""Output paths of the commands: the default folders, and the value of a flag as a path.

In a clone, the default folders are beside run.sh. An installed package uses the current folder.
"""

from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]  # holds the package; a clone also has run.sh there
IN_CLONE = all((REPOSITORY / name).is_file() for name in ("run.sh", "requirements.txt"))
PROGRAM = "./run.sh" if IN_CLONE else "graphcnn"  # the start of a command line, for messages
BASE = REPOSITORY if IN_CLONE else Path.cwd()
BASE_NAME = "beside run.sh" if IN_CLONE else "in the current folder"  # for the help of flags
CHECKPOINTS = BASE / "checkpoints"
DATA = BASE / "data"
EXPORTS = BASE / "export"
GRADES = BASE / "grades"
SUBMISSION = BASE / "submission"


def output_path(path: str) -> Path:
    """Return the absolute path of an output. If it is a link, this is the path of the link, not of the target."""
    output = Path(path)
    return output.parent.resolve() / output.name if output.name not in ("", "..") else output.resolve()
