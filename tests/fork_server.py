"""A server that imports TensorFlow once and forks a child for each command that a test starts; see processes.py.

Importing TensorFlow takes four seconds, and a training of the tests takes one. A child is a process of its own: it has
its own process ID, signals and limits, and it ends as every Python process does. Only the imports are shared.

Protocol on the Unix socket that is stdin: a request is a JSON message {"arguments", "cwd", "environment"}. It comes
with the file descriptors of the child's stdout, of its stderr and of a socket. On that socket the server sends "PID\\n"
and, when the child has ended, "STATUS\\n", which is negative after a signal, as in subprocess.
"""

import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import sys
from contextlib import suppress

PRELOADED = ("graphcnn.ops.tf1", "matplotlib.figure", "sklearn.metrics", "rich.progress", "PIL.Image", "absl.flags")
LARGEST_REQUEST = 1 << 17  # bytes
REPLACED = []  # former sys.stdin, sys.stdout and sys.stderr, whose deletion would close the descriptors 0, 1 and 2


def serve(requests):
    """Fork a child for each request. Return the child's arguments, in the child; the server ends with its requests."""
    wakeup, child_ended = socket.socketpair()
    for each in (wakeup, child_ended):
        each.setblocking(False)
    signal.set_wakeup_fd(wakeup.fileno())
    signal.signal(signal.SIGCHLD, lambda *_: None)
    replies = {}  # {process ID: socket}
    with selectors.DefaultSelector() as selector:
        selector.register(requests, selectors.EVENT_READ)
        selector.register(child_ended, selectors.EVENT_READ)
        while True:
            ready = [key.fileobj for key, _ in selector.select()]
            if child_ended in ready:
                child_ended.recv(4096)
                send_statuses(replies)
            if requests not in ready:
                continue
            message, descriptors, _, _ = socket.recv_fds(requests, LARGEST_REQUEST, 3)
            if not message:
                sys.exit(0)
            reply = socket.socket(fileno=descriptors.pop())
            pid = os.fork()
            if pid == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for each in (reply, requests, wakeup, child_ended, *replies.values()):
                    each.close()
                return become(json.loads(message), descriptors)
            for each in descriptors:
                os.close(each)
            replies[pid] = reply
            reply.sendall(f"{pid}\n".encode())


def send_statuses(replies):
    """Send the status of each child that has ended."""
    while replies:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        with replies.pop(pid) as reply, suppress(OSError):  # the test may have closed its end
            reply.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())


def become(request, outputs):
    """Give this child its files, folder and environment; return its arguments."""
    descriptors = [os.open(os.devnull, os.O_RDONLY), *outputs]
    for target, descriptor in enumerate(descriptors):
        os.dup2(descriptor, target)
        os.close(descriptor)
    REPLACED.append((sys.stdin, sys.stdout, sys.stderr))
    sys.stdin, sys.stdout, sys.stderr = (os.fdopen(n, mode) for n, mode in enumerate("rww"))
    sys.stderr.reconfigure(line_buffering=True, errors="backslashreplace")
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environment"])
    return request["arguments"]


def run(arguments):
    """Run what Python would run for the arguments: -m MODULE, -c PROGRAM, or FILE; before them may be -I or -E."""
    arguments = arguments[arguments[0] in ("-I", "-E") :]
    if arguments[0] == "-m":
        sys.argv = arguments[1:]
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    elif arguments[0] == "-c":
        sys.argv = ["-c", *arguments[2:]]
        exec(compile(arguments[1], "<string>", "exec"), {"__name__": "__main__"})
    else:
        sys.argv = arguments
        runpy.run_path(arguments[0], run_name="__main__")


if __name__ == "__main__":
    for name in PRELOADED:
        importlib.import_module(name)
    run(serve(socket.socket(fileno=os.dup(0))))
