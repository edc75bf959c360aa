"""One known file from the network: downloaded once, resumed where it stopped, checked by its sha256."""

import hashlib
import http.client
import os
import urllib.error
import urllib.request
from contextlib import contextmanager

from graphcnn.data import cache
from graphcnn.errors import InputError
from graphcnn.progress import bar, say

TIMEOUT = 30  # seconds without an answer or a byte
BLOCK = 1 << 16  # bytes read at once


def fetch(url, path, size, sha256):
    """Make sure that `path` holds the known file; download it where there is none.

    What has come so far is `<path>.part`; the next call goes on from there.

    Args:
        url: where the file comes from.
        path: where it is kept.
        size: its bytes; no more are read.
        sha256: of its bytes, as hex.

    Errors: InputError without network, or for a file of other bytes.
    """
    if not path.exists():
        with cache.locked(path):
            if not path.exists():  # nor made by the process that held the lock
                part = path.with_name(f"{path.name}.part")
                _download(url, path, part, size)
                if not _is(part, size, sha256):
                    part.unlink()
                    raise InputError(
                        f"{url}: what was downloaded is not the known file (its sha256 differs) and was deleted; "
                        f"call again, or put the right file at {path}"
                    )
                part.replace(path)
    if not _is(path, size, sha256):
        raise InputError(f"{path}: is not the file of {url} (its sha256 differs); delete it to have it downloaded anew")


def _is(path, size, sha256):
    """Whether a file has that size and checksum."""
    return path.stat().st_size == size and cache.absorb(hashlib.sha256(), path).hexdigest() == sha256


def _download(url, path, part, size):
    """Bring `part` to `size` bytes, going on from those it has where the server can."""
    have = part.stat().st_size if part.exists() else 0
    if have == size:
        return
    say(f"downloading {url} ({size / 1e6:.0f} MB) to {path}")
    with _network(url, path):
        response = _open(url, have if have < size else 0)
    with response, part.open("ab") as file, bar("downloading, MB", size / 1e6) as advance:
        if response.status != 206:  # the whole file, from its start
            have = 0
        file.truncate(have)
        advance(have / 1e6)
        while have < size:
            with _network(url, path):
                block = response.read(min(BLOCK, size - have))
            if not block:
                raise InputError(f"{url}: ended after {have} of {size} bytes; call again to go on from there")
            file.write(block)
            have += len(block)
            advance(len(block) / 1e6)
        file.flush()
        os.fsync(file.fileno())


def _open(url, start):
    """Return the response with the bytes from `start` on (status 206), or with all of them."""
    if start == 0:
        return urllib.request.urlopen(url, timeout=TIMEOUT)
    try:
        asked = urllib.request.Request(url, headers={"Range": f"bytes={start}-"})
        response = urllib.request.urlopen(asked, timeout=TIMEOUT)
        found = response.headers.get("Content-Range", "")
        if response.status != 206 or found.startswith(f"bytes {start}-"):
            return response
        response.close()
    except urllib.error.HTTPError as error:
        if error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise
    return _open(url, 0)


@contextmanager
def _network(url, path):
    """Turn what the network throws into a line that says how to do without it."""
    try:
        yield
    except (OSError, http.client.HTTPException) as error:
        reason = str(getattr(error, "reason", "") or error) or type(error).__name__
        raise InputError(
            f"{url}: cannot be downloaded ({reason}); check the network and call again to go on, or put the file at "
            f"{path} by hand"
        ) from None
