"""Run a module of this package: python -I bootstrap.py MODULE [arguments].

With -I, Python imports nothing from the current folder, from PYTHONPATH or from the folder of this file. The parent
folder of the package is on sys.path only while the package is imported. Python then finds the modules through the
imported package, and it imports no other file of the parent folder.
"""
# ruff: noqa: PTH120 (pathlib is imported only when sys.path is safe)

import os
import sys

COMMON = os.path.dirname(os.path.realpath(__file__))
ROOT = os.path.dirname(os.path.dirname(COMMON))


def main() -> None:
    """Import the package, then run the module that the first argument names."""
    sys.path[:] = [folder for folder in sys.path if os.path.realpath(folder) != COMMON]  # python -E adds it
    sys.path.insert(0, ROOT)
    import graphcnn  # noqa: F401 (its modules are then found without sys.path)

    sys.path.remove(ROOT)
    import runpy

    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
