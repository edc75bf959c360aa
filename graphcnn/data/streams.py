"""Arrays from compressed files. They are decompressed into memory, so their size is limited."""

from __future__ import annotations

import gzip
from typing import IO

import numpy as np

from graphcnn.common.progress import bar

MAX_BYTES = 2 << 30  # of the arrays of one file
BLOCK = 1 << 24  # bytes between two steps of the progress bar


def read_exactly(stream: IO[bytes] | gzip.GzipFile, size: int) -> np.ndarray:
    """Return the rest of a stream, which must have this size in bytes, as uint8 [size].

    At most one byte more is decompressed.

    Raises:
        ValueError: the stream is shorter or longer.
    """
    content = np.empty(size, np.uint8)
    done = 0
    with bar("decompressing, MB", size / 1e6) as advance:
        while done < size:
            block = stream.read(min(BLOCK, size - done))
            if not block:
                raise ValueError(f"it ends early, after {done:,} of {size:,} bytes")
            content[done : done + len(block)] = np.frombuffer(block, np.uint8)
            done += len(block)
            advance(len(block) / 1e6)
    if stream.read(1):
        raise ValueError(f"it has more than the {size:,} bytes that its header promises")
    return content
