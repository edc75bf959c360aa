"""Run a command in which one system call fails: faulted.py RECORD FOLDER KIND NUMBER ERROR graphcnn.train ARGUMENTS…

The process was started with LD_PRELOAD=shim.so; see shim.c for the meaning of the arguments. The processes that the
command starts are forked, so that the calls of all of them are counted and none imports TensorFlow again.
"""

import ctypes
import os
import runpy
import signal
import socket
import sys
from pathlib import Path
from types import SimpleNamespace

import fork_server
import processes

from graphcnn.common import progress

PYTHON_FLAGS = ("-I", "-P", "-E", "-s")


def main(record, folder, kind, number, error, module):
    """Run the module as a command."""
    shim = ctypes.CDLL(None)
    shim.shim_arm.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_int64, ctypes.c_int]
    if shim.shim_arm(os.fsencode(record), os.fsencode(folder), int(kind), int(number), int(error)):
        sys.exit(f"{record}: cannot be written")
    if module == "graphcnn.submit":
        fork_graders()
    elif module == "graphcnn.experiments":
        fork_experiments()
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def fork_graders():
    """Start a second fork server, in which no session runs, and run graders in its children."""
    from graphcnn.submission import verify

    own, server = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if os.fork() == 0:
        own.close()
        run(fork_server.serve(server))
    server.close()
    processes.fork_server = lambda *_: own
    verify.subprocess = SimpleNamespace(run=processes.subprocess_run)


def fork_experiments():
    """Fork this process, in which no session runs, for each child process of `experiments`."""
    from graphcnn.sweeps import child

    child.subprocess = SimpleNamespace(Popen=ForkedChild, STDOUT=None)


def run(arguments):
    """Run what Python's command line would run for the arguments, and end this process."""
    while arguments[0] in PYTHON_FLAGS:
        arguments = arguments[1:]
    status = 1
    try:
        fork_server.run(arguments)
        status = 0
    except SystemExit as end:
        status = end.code or 0
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


class ForkedChild:
    """A child process of `experiments`, with the methods of subprocess.Popen that are used there."""

    def __init__(self, command, stdout, env, pass_fds, cwd=None, **_):
        self.returncode, self.pid = None, os.fork()
        if self.pid:
            return
        os.setsid()
        outputs = [os.dup(stdout.fileno()) for _ in range(2)]
        os.closerange(max(*outputs, *pass_fds) + 1, 1024)
        fork_server.become({"arguments": command, "cwd": str(cwd or Path.cwd()), "environment": env}, outputs)
        progress._report_fd = int(os.environ.pop(progress.REPORT_FD))
        run(command[1:])

    def wait(self):
        """Wait for the end of the process; return its exit status."""
        if self.returncode is None:
            self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.returncode

    def terminate(self):
        """Send SIGTERM, if the process still runs."""
        if self.returncode is None:
            os.kill(self.pid, signal.SIGTERM)


if __name__ == "__main__":
    values, name = sys.argv[1:6], sys.argv[6]
    sys.argv[1:] = sys.argv[7:]
    main(*values, name)
