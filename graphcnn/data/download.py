"""One known file from the network: downloaded once, resumed where it stopped, checked by a checksum."""

import hashlib
import http.client
import os
import urllib.error
import urllib.request
from contextlib import contextmanager

from graphcnn.common.errors import DownloadFailed, InputError
from graphcnn.common.files import update_digest
from graphcnn.common.progress import bar, say
from graphcnn.data import cache

TIMEOUT = 30  # seconds without an answer or a byte
BLOCK = 1 << 16  # bytes read at once
LARGEST = 4 << 30  # bytes of a file whose size only the server knows


def fetch(url, path, size=None, sha256=None, md5=None):
    """Make sure that `path` holds the known file; download it where there is none.

    What has come so far is `<path>.part`; the next call goes on from there, unless no checksum could tell that the
    parts belong together.

    Args:
        url: where the file comes from.
        path: where it is kept.
        size: its bytes; no more are read. None: what the server says.
        sha256, md5: of its bytes, as hex; None: not known.

    Errors: InputError without network, or for a file of other bytes.
    """
    known = {"size": size, "sha256": sha256, "md5": md5}
    if not path.exists():
        with cache.locked(path):
            if not path.exists():  # nor made by the process that held the lock
                part = path.with_name(f"{path.name}.part")
                _download(url, path, part, size, resume=bool(sha256 or md5))
                wrong = _difference(part, known)
                if wrong:
                    part.unlink()
                    raise InputError(
                        f"{url}: what was downloaded is not the known file (its {wrong} differs) and was deleted; "
                        f"call again, or put the right file at {path}"
                    )
                part.replace(path)
    wrong = _difference(path, known)
    if wrong:
        raise InputError(
            f"{path}: is not the file of {url} (its {wrong} differs); delete it to have it downloaded anew"
        )


def _difference(path, known):
    """Return which of the size and checksums that are known a file has not, or None."""
    for name, value in known.items():
        if value is None:
            continue
        if name == "size":
            found = path.stat().st_size
        else:
            digest = hashlib.new(name, usedforsecurity=False)
            update_digest(digest, path)
            found = digest.hexdigest()
        if found != value:
            return name
    return None


def _download(url, path, part, size, resume):
    """Bring `part` to `size` bytes, going on from those it has where that is wanted and the server can."""
    have = part.stat().st_size if resume and part.exists() else 0
    if have and have == size:
        return
    say(f"downloading {url}{'' if size is None else f' ({size / 1e6:.0f} MB)'} to {path}")
    with _network(url, path):
        response = _open(url, have if size is None or have < size else 0)
    with response:
        size = size or _size(url, response)
        with part.open("ab") as file, bar("downloading, MB", size / 1e6) as advance:
            if response.status != 206:  # the whole file, from its start
                have = 0
            file.truncate(have)
            advance(have / 1e6)
            while have < size:
                with _network(url, path):
                    block = response.read(min(BLOCK, size - have))
                if not block:
                    raise DownloadFailed(url, f"ended after {have} of {size} bytes; call again to continue from there")
                file.write(block)
                have += len(block)
                advance(len(block) / 1e6)
            file.flush()
            os.fsync(file.fileno())


def _size(url, response):
    """Return how many bytes the server says that the whole file has."""
    if response.status == 206:
        said = response.headers.get("Content-Range", "").rpartition("/")[2]
    else:
        said = response.headers.get("Content-Length", "")
    if not said.isdecimal() or not 0 < int(said) <= LARGEST:
        raise DownloadFailed(url, f"the server says {said or 'no'} bytes, expected from 1 to {LARGEST}")
    return int(said)


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
        raise DownloadFailed(
            url,
            f"cannot be downloaded ({reason}); check the network and call again to continue, or put the file at "
            f"{path} by hand",
        ) from None
