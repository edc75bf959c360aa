"""Python processes for tests: new ones, or children of a server that has imported TensorFlow already."""

import atexit
import functools
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

ROOT = Path(__file__).resolve().parents[1]
FORK = sys.platform == "linux"  # elsewhere each process is a new one


def start(*arguments, fresh=False, prefix=(), cwd=ROOT, **environment):
    """Start Python with the arguments and return its process, which has the methods of subprocess.Popen.

    Args:
        arguments: -m MODULE, -c PROGRAM or FILE, and the arguments of the program.
        fresh: whether the process is a new one. A forked process is ready four seconds earlier, but all of them have
            the same import of TensorFlow and the same seed of Python's hashes.
        prefix: the command that starts Python, such as ip netns exec NAME. The process is a new one then.
        cwd: the folder in which the program runs.
        environment: variables that the process has beside those of this one.
    """
    arguments, environment = list(map(str, arguments)), os.environ | {"PYTHONPATH": str(ROOT)} | environment
    if FORK and not (fresh or prefix):
        return ForkedProcess(arguments, cwd, environment)
    return subprocess.Popen(
        [*prefix, sys.executable, *arguments],
        cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def finish(process, seconds=300):
    """Return (exit status, stdout, stderr) of a process, which is killed if it takes longer."""
    try:
        out, err = process.communicate(timeout=seconds)
    finally:
        process.kill()
    return process.returncode, out, err


def run(*arguments, **options):
    """Run Python with the arguments; return (exit status, stdout, stderr)."""
    return finish(start(*arguments, **options))


def subprocess_run(command, cwd, env=None, text=False, **options):
    """Run a command of Python like subprocess.run, in a forked process."""
    status, out, err = run(*command[1:], cwd=cwd, **(env or {}))
    if not text:
        out, err = out.encode(), err.encode()
    return subprocess.CompletedProcess(command, status, out, err)


def fork_checks(monkeypatch):
    """Fork the child processes that check the checkpoints of strangers; return the list of their commands."""
    commands = []

    def forked(command, **options):
        commands.append(command)
        return subprocess_run(command, **options)

    fake = SimpleNamespace(run=forked, TimeoutExpired=subprocess.TimeoutExpired)
    monkeypatch.setattr("graphcnn.storage.foreign_checkpoint.subprocess", fake)
    return commands


@functools.cache
def fork_server(log_level, preload=None):
    """Return the socket of a fork server, which is started at the first call and ends with this process.

    Args:
        log_level: value of TF_CPP_MIN_LOG_LEVEL, which TensorFlow reads when it is imported.
        preload: value of LD_PRELOAD, a library whose functions come before those of the C library.
    """
    own, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": log_level}
    environment |= {} if preload is None else {"LD_PRELOAD": preload}
    program = Path(__file__).with_name("fork_server.py")
    with its:
        server = subprocess.Popen([sys.executable, program], cwd=ROOT, env=environment, stdin=its)
    atexit.register(lambda: (own.close(), server.wait()))
    return own


class ForkedProcess:
    """A child of the fork server, with the methods of subprocess.Popen that the tests use."""

    def __init__(self, arguments, cwd, environment):
        self.args, self.returncode = arguments, None
        (stdout, child_stdout), (stderr, child_stderr) = os.pipe(), os.pipe()
        self.stdout, self.stderr = os.fdopen(stdout), os.fdopen(stderr)
        self._server, reply = socket.socketpair()
        request = {"arguments": arguments, "cwd": str(cwd), "environment": environment}
        server = fork_server(environment.get("TF_CPP_MIN_LOG_LEVEL", "2"), environment.get("LD_PRELOAD"))
        with reply:
            socket.send_fds(server, [json.dumps(request).encode()], [child_stdout, child_stderr, reply.fileno()])
        for descriptor in (child_stdout, child_stderr):
            os.close(descriptor)
        self._received = b""
        self.pid = self._receive(None)

    def _receive(self, seconds):
        """Return the next number that the server sends; None if none comes in time."""
        until = None if seconds is None else time.monotonic() + seconds
        while b"\n" not in self._received:
            left = None if until is None else max(0, until - time.monotonic())
            if not select.select([self._server], [], [], left)[0]:
                return None
            more = self._server.recv(64)
            assert more, "the fork server ended"
            self._received += more
        line, _, self._received = self._received.partition(b"\n")
        return int(line)

    def poll(self):
        """Return the exit status, None while the process runs."""
        if self.returncode is None:
            self.returncode = self._receive(0)
        return self.returncode

    def wait(self, timeout=None):
        """Return the exit status, waiting for it."""
        if self.returncode is None:
            self.returncode = self._receive(timeout)
            if self.returncode is None:
                raise subprocess.TimeoutExpired(self.args, timeout)
        return self.returncode

    def communicate(self, timeout=None):
        """Return (stdout, stderr) after the end of the process."""
        texts = {}
        readers = [
            threading.Thread(target=lambda file=file: texts.update({file: file.read()}), daemon=True)
            for file in (self.stdout, self.stderr)
        ]
        for reader in readers:
            reader.start()
        self.wait(timeout)
        for reader in readers:
            reader.join()
        self.stdout.close()
        self.stderr.close()
        self._server.close()
        return texts[self.stdout], texts[self.stderr]

    def send_signal(self, number):
        """Send a signal, if the process still runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self):
        """Kill the process, if it still runs."""
        self.send_signal(signal.SIGKILL)
