"""Heartbeats: which servers count as a worker that is alive."""

import socket
import threading
import time
from contextlib import suppress

import pytest

from graphcnn.ops.tf1 import tf1
from graphcnn.training import heartbeat
from graphcnn.training.launch_workers import free_ports


def echo(connection):
    while data := connection.recv(1000):
        connection.sendall(data)


def one_byte_at_a_time(connection):
    while True:
        connection.sendall(b"x")
        time.sleep(0.05)


SERVERS = {  # {name: action of a server on a connection}; None: the server does not accept it
    "does not accept": None,
    "says nothing": lambda connection: connection.recv(1000) and threading.Event().wait(2),
    "closes": lambda connection: None,
    "answers another protocol": lambda connection: connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
    "echoes": echo,
    "sends bytes without end": lambda connection: [connection.sendall(bytes(1000)) for _ in range(10**6)],
    "sends a byte at a time": one_byte_at_a_time,
}


@pytest.mark.parametrize("case", SERVERS)
def test_other_servers_do_not_answer(case):
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()

        def serve():
            with suppress(OSError), listening.accept()[0] as connection:
                SERVERS[case](connection)

        if SERVERS[case]:
            threading.Thread(target=serve, daemon=True).start()
        began = time.monotonic()
        assert heartbeat.ask(listening.getsockname(), 0.3) is None
        assert time.monotonic() - began < 2


def test_nobody_answers_on_a_closed_port_or_an_impossible_host():
    (port,) = free_ports(1)
    assert heartbeat.ask(("127.0.0.1", port), 1) is None
    assert heartbeat.ask(("a..b", 2), 1) is None


def test_the_server_of_tensorflow_answers():
    (port,) = free_ports(1)
    spec = tf1.train.ClusterSpec({"worker": [f"localhost:{port}"]})
    server = tf1.train.Server(spec, job_name="worker", task_index=0)
    assert heartbeat.ask(("localhost", port), 10) == ("127.0.0.1", port)
    del server
