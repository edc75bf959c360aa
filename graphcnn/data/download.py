"""Download a known file once, resume where the download stopped, and verify a checksum."""

from __future__ import annotations

import hashlib
import http.client
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from graphcnn.common.errors import DownloadFailed, InputError
from graphcnn.common.files import update_digest
from graphcnn.common.progress import bar, say
from graphcnn.data import cache

TIMEOUT = 30  # seconds without an answer or a byte
BLOCK = 1 << 16  # bytes read at once
MAX_BYTES = 4 << 30  # of a file whose size only the server knows


@dataclass(frozen=True)
class Expected:
    """What is known of a file. None: not known.

    Attributes:
        size: in bytes.
        sha256, md5: of its bytes, as hex.
    """

    size: int | None = None
    sha256: str | None = None
    md5: str | None = None

    def difference(self, path: Path) -> str | None:
        """Return which of "size", "sha256" and "md5" a file does not have, or None."""
        if self.size is not None and path.stat().st_size != self.size:
            return "size"
        for name, value in (("sha256", self.sha256), ("md5", self.md5)):
            if value is None:
                continue
            digest = hashlib.new(name, usedforsecurity=False)
            update_digest(digest, path)
            if digest.hexdigest() != value:
                return name
        return None


def fetch(url: str, path: Path, size: int | None = None, sha256: str | None = None, md5: str | None = None) -> None:
    """Make sure that `path` holds the known file; download it where there is none.

    The bytes that have arrived are kept in `<path>.part`. The next call continues from there if a checksum is known;
    without a checksum it starts from the beginning, since the parts might belong to different files.

    Args:
        url: where the file comes from.
        path: where the file is kept.
        size: of the file, in bytes; no more is read. None: the size that the server declares.
        sha256, md5: of the file's bytes, as hex; None: not known.

    Raises:
        DownloadFailed: there is no network, or the connection broke.
        InputError: the file has other bytes than expected.
    """
    expected = Expected(size, sha256, md5)
    if not path.exists():
        with cache.locked(path):
            if not path.exists():  # another process may have held the lock and downloaded it
                part = path.with_name(f"{path.name}.part")
                _download(url, path, part, size, resume=bool(sha256 or md5))
                difference = expected.difference(part)
                if difference:
                    part.unlink()
                    raise InputError(
                        f"{url}: the downloaded file is not the known file (its {difference} differs) and was deleted; "
                        f"call again, or put the right file at {path}"
                    )
                part.replace(path)
    difference = expected.difference(path)
    if difference:
        raise InputError(f"{path}: is not the file of {url} (its {difference} differs); delete it to download it again")


def _download(url: str, path: Path, part: Path, size: int | None, resume: bool) -> None:
    """Download the file to `part`.

    Args:
        url: where the file comes from.
        path: where it will be kept, for messages.
        part: the file to write.
        size: of the whole file, in bytes; None: the size that the server declares.
        resume: whether to keep the bytes that `part` holds already, if the server can continue after them.
    """
    have = part.stat().st_size if resume and part.exists() else 0
    if have and have == size:
        return
    say(f"downloading {url}{'' if size is None else f' ({size / 1e6:.0f} MB)'} to {path}")
    with _network_errors(url, path):
        response = _open(url, have if size is None or have < size else 0)
    with response:
        size = size or _declared_size(url, response)
        with part.open("ab") as file, bar("downloading, MB", size / 1e6) as advance:
            if response.status != http.HTTPStatus.PARTIAL_CONTENT:  # the server sends the file from its start
                have = 0
            file.truncate(have)
            advance(have / 1e6)
            while have < size:
                with _network_errors(url, path):
                    block = response.read(min(BLOCK, size - have))
                if not block:
                    raise DownloadFailed(url, f"ended after {have} of {size} bytes; call again to continue from there")
                file.write(block)
                have += len(block)
                advance(len(block) / 1e6)
            file.flush()
            os.fsync(file.fileno())


def _declared_size(url: str, response: http.client.HTTPResponse) -> int:
    """Return the size in bytes of the whole file, as the server declares it."""
    if response.status == http.HTTPStatus.PARTIAL_CONTENT:
        text = response.headers.get("Content-Range", "").rpartition("/")[2]
    else:
        text = response.headers.get("Content-Length", "")
    if not text.isdecimal() or not 0 < int(text) <= MAX_BYTES:
        raise DownloadFailed(url, f"the server says {text or 'no'} bytes, expected from 1 to {MAX_BYTES}")
    return int(text)


def _open(url: str, start: int) -> http.client.HTTPResponse:
    """Return the response with the bytes from `start` on (status 206), or with all of them."""
    if start == 0:
        return urllib.request.urlopen(url, timeout=TIMEOUT)
    try:
        request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"})
        response = urllib.request.urlopen(request, timeout=TIMEOUT)
        content_range = response.headers.get("Content-Range", "")
        if response.status != http.HTTPStatus.PARTIAL_CONTENT or content_range.startswith(f"bytes {start}-"):
            return response
        response.close()
    except urllib.error.HTTPError as error:
        if error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise
    return _open(url, 0)


@contextmanager
def _network_errors(url: str, path: Path) -> Iterator[None]:
    """Turn errors of the network into DownloadFailed, which says how to do without it."""
    try:
        yield
    except (OSError, http.client.HTTPException) as error:
        reason = str(getattr(error, "reason", "") or error) or type(error).__name__
        raise DownloadFailed(
            url,
            f"cannot be downloaded ({reason}); check the network and call again to continue, or put the file at "
            f"{path} by hand",
        ) from None
