"""Download a known file once, resume an interrupted download, and verify a checksum."""

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
MAX_BYTES = 4 << 30  # limit for a file whose size only the server knows


@dataclass(frozen=True)
class Expected:
    """The known properties of a file. None: not known.

    Attributes:
        size: in bytes.
        sha256, md5: checksums, as hexadecimal digits.
    """

    size: int | None = None
    sha256: str | None = None
    md5: str | None = None

    def difference(self, path: Path) -> str | None:
        """Return the first of "size", "sha256" and "md5" that differs for a file, or None."""
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
    """Check that `path` holds the known file; download the file if `path` does not exist.

    An interrupted download stays in `<path>.part`. If a checksum is known, the next call resumes it. Without a
    checksum, the next call starts again, as it could not detect bytes from two versions of the file.

    Args:
        url: address of the file.
        path: where the file is kept.
        size: in bytes; no more is read. None: the size that the server declares.
        sha256, md5: checksums, as hexadecimal digits; None: not known.

    Raises:
        DownloadFailed: there is no network, or the connection broke.
        InputError: the size or a checksum of the file differs.
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
                        f"run the command again, or put the right file at {path}"
                    )
                part.replace(path)
    difference = expected.difference(path)
    if difference:
        raise InputError(f"{path}: is not the file of {url} (its {difference} differs); delete it to download it again")


def _download(url: str, path: Path, part: Path, size: int | None, resume: bool) -> None:
    """Download the file to `part`.

    Args:
        url: address of the file.
        path: where the file will be kept, for messages.
        part: the file to write.
        size: of the whole file, in bytes; None: the size that the server declares.
        resume: whether to keep the bytes of `part`, if the server can continue after them.
    """
    if part.is_symlink():  # not from a download
        part.unlink()
    received = part.stat().st_size if resume and part.exists() else 0
    if received and received == size:
        return
    say(f"downloading {url}{'' if size is None else f' ({size / 1e6:.0f} MB)'} to {path}")
    with _network_errors(url, path):
        response = _open(url, received if size is None or received < size else 0)
    with response:
        size = size or _declared_size(url, response)
        with part.open("ab") as file, bar("downloading, MB", size / 1e6) as advance:
            if response.status != http.HTTPStatus.PARTIAL_CONTENT:  # the server sends the file from its start
                received = 0
            file.truncate(received)
            advance(received / 1e6)
            while received < size:
                with _network_errors(url, path):
                    block = response.read(min(BLOCK, size - received))
                if not block:
                    problem = f"the download ended after {received} of {size} bytes; run the command again to continue"
                    raise DownloadFailed(url, problem)
                file.write(block)
                received += len(block)
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
        raise DownloadFailed(url, f"the server declares {text or 'no'} bytes, expected from 1 to {MAX_BYTES}")
    return int(text)


def _open(url: str, start: int) -> http.client.HTTPResponse:
    """Return the response with the bytes from `start` on (status 206), or with the whole file."""
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
    """Raise DownloadFailed for a network error. Its message says how to go on without the network."""
    try:
        yield
    except (OSError, http.client.HTTPException) as error:
        reason = str(getattr(error, "reason", "") or error) or type(error).__name__
        raise DownloadFailed(
            url,
            f"the file cannot be downloaded ({reason}); check the network and run the command again to continue, or "
            f"put the file at {path} by hand",
        ) from None
