"""Heartbeats: a worker is alive if the TensorFlow server in it answers an HTTP/2 PING.

TensorFlow's server uses gRPC, and gRPC uses HTTP/2 (RFC 9113). Threads of the server answer a PING, also while the
worker computes. A stopped process does not answer, although its kernel still accepts connections. A server of another
protocol does not answer either.
"""

from __future__ import annotations

import socket
import struct
import time

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"  # first bytes of an HTTP/2 connection
SETTINGS, PING = 4, 6  # frame types
ACK = 1  # flag of the answer to a PING
MOST = 4096  # largest number of bytes that are read; a gRPC server sends about 100


def _frame(frame_type: int, flags: int, payload: bytes) -> bytes:
    """Return an HTTP/2 frame of stream 0, which is the connection itself."""
    return struct.pack(">I", len(payload))[1:] + bytes([frame_type, flags]) + bytes(4) + payload


REQUEST = PREFACE + _frame(SETTINGS, 0, b"") + _frame(PING, 0, b"graphcnn")
ANSWER = _frame(PING, ACK, b"graphcnn")


def ask(address: tuple[str, int], seconds: float) -> tuple[str, int] | None:
    """Return the numeric address of a worker that answers a PING; None if no worker answers in time.

    Args:
        address: host and port.
        seconds: time limit for the connection; the answer has the same limit.
    """
    received = b""
    try:
        with socket.create_connection(address, timeout=seconds) as connection:
            connection.sendall(REQUEST)
            until = time.monotonic() + seconds
            while ANSWER not in received and len(received) < MOST:
                connection.settimeout(max(0.0, until - time.monotonic()))
                more = connection.recv(MOST)
                if not more:
                    return None
                received += more
            return connection.getpeername()[:2] if ANSWER in received else None
    except (OSError, ValueError):  # ValueError: invalid host name
        return None
