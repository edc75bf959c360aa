"""Run a command and kill it at one of its file operations: killed.py N FOLDER graphcnn.train ARGUMENTS…

This process kills itself with SIGKILL just before the N-th file operation in FOLDER. A file operation writes, renames,
links, creates or deletes a file. With N = 0 the process prints the number of operations as the last line of stderr.
"""

import os
import runpy
import signal
import sys

WATCHED = ("open", "os.rename", "os.link", "os.symlink", "os.mkdir", "os.remove", "os.rmdir", "shutil.rmtree")


def main(at, folder, module):
    """Run the module as a command."""
    seen = 0

    def watch(event, arguments):
        nonlocal seen
        if event not in WATCHED or not isinstance(arguments[0], (str, bytes)):
            return
        reads = event == "open" and not (arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if not reads and os.fsdecode(arguments[0]).startswith(folder):
            seen += 1
            if seen == at:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)
    try:
        runpy.run_module(module, run_name="__main__")
    finally:
        print(seen, file=sys.stderr)


if __name__ == "__main__":
    number, place, name = sys.argv[1:4]
    sys.argv[1:] = sys.argv[4:]
    main(int(number), place, name)
