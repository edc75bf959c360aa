"""Print constraints.txt: the newest versions that fit the requirements, for each version of Python.

.venv/bin/python .ci/renew_constraints.py > constraints.new && mv constraints.new constraints.txt
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
FILES = ("requirements.txt", "requirements-dev.txt")
HEAD = """# The versions of all packages that run.sh installs. UNPINNED=1 installs the newest versions instead.
# CONTRIBUTING.md has the command that renews this file.
"""


def requirements() -> list[str]:
    """Return the requirements of both files that do not name an exact version."""
    lines = [line for name in FILES for line in (ROOT / name).read_text().splitlines()]
    return [line for line in lines if re.match(r"\w", line) and "==" not in line]


def resolved(python: str) -> dict[str, str]:
    """Return {package: version} that pip would install with this version of Python."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [
            sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed",
            "--only-binary=:all:", f"--python-version={python}", f"--target={folder}", f"--report={report}",
            *requirements(),
        ]  # fmt: skip
        subprocess.run(command, check=True, stdout=sys.stderr)
        packages = [entry["metadata"] for entry in json.loads(report.read_text())["install"]]
    return {re.sub(r"[-_.]+", "-", package["name"]).lower(): package["version"] for package in packages}


def main() -> None:
    """Print the file: a line for each package, or lines with markers if its version depends on Python."""
    versions = {python: resolved(python) for python in PYTHONS}
    print(HEAD, end="")
    for name in sorted(set().union(*versions.values())):
        by_version: dict[str, list[str]] = {}
        for python, packages in versions.items():
            if name in packages:
                by_version.setdefault(packages[name], []).append(python)
        for version, pythons in by_version.items():
            marker = " or ".join(f'python_version == "{python}"' for python in pythons)
            print(f"{name}=={version}" + (f"; {marker}" if len(by_version) > 1 else ""))


if __name__ == "__main__":
    main()
