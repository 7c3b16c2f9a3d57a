"""Downloads one file over HTTP(S). Interrupted downloads are resumed, and files are checked before they get their name.

During a download, the received bytes are in `PATH.part` and the server's description of the file in `PATH.part.json`.
A killed run leaves both, and the next one only requests the rest (RFC 9110, Range, If-Range).
"""

import contextlib
import dataclasses
import hashlib
import http.client
import json
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

if sys.platform != "win32":
    import fcntl

from aasist_jax.errors import DownloadError, UnreachableError
from aasist_jax.runtime.http import (
    FileChanged,
    PassingFault,
    RemoteFile,
    check_address,
    content_range,
    described,
    in_words,
    open_url,
)

Progress = Callable[[str, int, int | None], None]
"""Called as `progress(stage, bytes done, total bytes or None)`; stages: "download", "check" and "unpack"."""

_BLOCK = 1 << 20
_LONGEST_WAIT = 60.0
_DIGITS = {"sha256": 64, "md5": 32}


@dataclasses.dataclass(frozen=True)
class _Promise:
    """What the caller expects of the file."""

    digests: dict[str, str]
    size: int | None
    max_bytes: int | None

    @property
    def limit(self) -> int | None:
        """The most bytes that may arrive."""
        return min((n for n in (self.size, self.max_bytes) if n is not None), default=None)

    def check_total(self, url: str, total: int | None) -> None:
        """Check the length that the server announces, before anything is downloaded."""
        if total is None:
            return
        if self.size is not None and total != self.size:
            raise DownloadError(
                f"cannot download {url}: the server offers {total:,} bytes where {self.size:,} are expected; "
                "the address may lead to a web page or to another version, so give the file's own address"
            )
        if self.max_bytes is not None and total > self.max_bytes:
            raise DownloadError(f"cannot download {url}: it has {total:,} bytes, over the limit of {self.max_bytes:,}")

    def breach(self, path: Path, progress: Progress | None) -> str | None:
        """How the file at `path` differs from what is expected, in words; None if it does not."""
        length = path.stat().st_size
        if self.size is not None and length != self.size:
            return f"it has {length:,} bytes, not {self.size:,}"
        if self.max_bytes is not None and length > self.max_bytes:
            return f"it has {length:,} bytes, over the limit of {self.max_bytes:,}"
        hashes = {name: hashlib.new(name, usedforsecurity=False) for name in self.digests}
        if hashes:
            done = 0
            with path.open("rb") as file:
                while block := file.read(_BLOCK):
                    for digest in hashes.values():
                        digest.update(block)
                    done += len(block)
                    if progress:
                        progress("check", done, length)
        for name, digest in hashes.items():
            if digest.hexdigest() != self.digests[name]:
                return f"its {name.upper()} is {digest.hexdigest()}, not {self.digests[name]}"
        return None


def download(
    url: str,
    path: Path | str,
    *,
    sha256: str | None = None,
    md5: str | None = None,
    size: int | None = None,
    max_bytes: int | None = None,
    progress: Progress | None = None,
    timeout: float = 30.0,
    attempts: int = 4,
    backoff: float = 1.0,
) -> Path:
    """Download `url` to `path` and return `path`; an existing file is checked and left as it is.

    An interrupted download is resumed from `PATH.part`. It starts over if the file on the server has changed or the
    server cannot send a part of it. `path` is only created once length and checksums are correct.

    Args:
        url: an http or https address.
        path: path of the file; missing folders are created.
        sha256: the expected SHA-256, 64 hexadecimal digits.
        md5: the expected MD5, 32 hexadecimal digits.
        size: the expected length in bytes.
        max_bytes: the most bytes to accept.
        progress: called with every block received or checked.
        timeout: seconds without data after which the connection counts as broken.
        attempts: number of temporary errors in a row (a broken connection, HTTP 408, 425, 429, 500, 502, 503, 504)
            after which to give up. The count starts again after an attempt that received at least 1 MiB.
        backoff: seconds to wait after the first error; doubles with each further one.

    Raises:
        UnreachableError: the server cannot be reached or does not provide the file.
        DownloadError: another problem with the address, network, server, disk or content. Received data stays in
            `PATH.part`; a complete file with wrong content is kept as `PATH.rejected`.
    """
    path = Path(path)
    promise = _Promise(_digests(sha256=sha256, md5=md5), size, max_bytes)
    check_address(url)
    if path.exists():
        return _present(path, promise, progress)
    part, note = path.with_name(f"{path.name}.part"), path.with_name(f"{path.name}.part.json")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _exclusive(part) as file:
            if path.exists():
                # Another process has finished in the meantime.
                return _present(path, promise, progress)
            _Transfer(url, file, note, promise, progress, timeout).receive_all(attempts, backoff)
            os.fsync(file.fileno())
            breach = promise.breach(part, progress)
        if breach:
            raise DownloadError(_rejected(url, part, path, breach))
        os.replace(part, path)
        note.unlink(missing_ok=True)
    except OSError as error:
        raise DownloadError(f"cannot write {path}: {error.strerror or error}") from error
    return path


def _digests(**given: str | None) -> dict[str, str]:
    digests = {name: digest.strip().lower() for name, digest in given.items() if digest is not None}
    for name, digest in digests.items():
        if not re.fullmatch(rf"[0-9a-f]{{{_DIGITS[name]}}}", digest):
            raise DownloadError(f"{digest!r} is no {name.upper()}: give {_DIGITS[name]} hexadecimal digits")
    return digests


def _present(path: Path, promise: _Promise, progress: Progress | None) -> Path:
    if not path.is_file():
        raise DownloadError(f"{path} is there already and is no file; move it away or choose another place")
    if breach := promise.breach(path, progress):
        raise DownloadError(f"{path} is there already but is not the file expected: {breach}; move it away")
    return path


def _rejected(url: str, part: Path, path: Path, breach: str) -> str:
    """Rename a complete file with wrong content, so that it is not resumed; return the error message."""
    rejected = path.with_name(f"{path.name}.rejected")
    os.replace(part, rejected)
    return (
        f"what {url} sent is not the file expected: {breach}; it is kept as {rejected}, "
        "and the next attempt starts over"
    )


@contextlib.contextmanager
def _exclusive(part: Path) -> Iterator[BinaryIO]:
    """Open the partial file for appending, locked against other processes; remove it if it is empty after an error."""
    with part.open("ab") as file:
        # The kernel releases the lock when the process ends, for whatever reason. Windows has no such lock; there,
        # the checksum detects two downloads of the same file at once.
        if sys.platform != "win32":
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise DownloadError(
                    f"another process is downloading {part}; wait for it, or stop it and run again"
                ) from None
        try:
            yield file
        except BaseException:
            if file.seek(0, os.SEEK_END) == 0:
                part.unlink(missing_ok=True)
            raise


@dataclasses.dataclass(frozen=True)
class _Transfer:
    """Transfers one file from `url` to `file`, the partial file; `note` is the path of the server's description."""

    url: str
    file: BinaryIO
    note: Path
    promise: _Promise
    progress: Progress | None
    timeout: float

    def receive_all(self, attempts: int, backoff: float) -> None:
        """Send requests until the file is complete, with retries after temporary errors."""
        failures = 0
        while True:
            before = self.file.seek(0, os.SEEK_END)
            try:
                return self.receive()
            except PassingFault as fault:
                if isinstance(fault, FileChanged):
                    self.file.truncate(0)
                have = self.file.seek(0, os.SEEK_END)
                failures = 1 if have - before >= _BLOCK else failures + 1
                if failures >= attempts:
                    kept = f"; the {have:,} bytes that arrived are kept for the next run" if have else ""
                    raise UnreachableError(
                        f"cannot download {self.url}: {fault} ({attempts} attempts in a row){kept}"
                    ) from fault
                time.sleep(min(max(fault.wait, backoff * 2 ** (failures - 1)), _LONGEST_WAIT))

    def receive(self) -> None:
        """Send one request and append the data; return if the file is complete, else raise `PassingFault`."""
        have = self.file.seek(0, os.SEEK_END)
        known = _recall(self.note) if have else None
        if known and known.total == have:
            return
        headers = self._range_headers(have, known)
        with open_url(self.url, headers, self.timeout) as response:
            source = described(self.url, response)
            if response.status == 206 and headers and known:
                start, _ = content_range(response.headers)
                if start != have or known.differs(source):
                    raise FileChanged
            elif response.status != 200:
                raise DownloadError(f"cannot download {self.url}: unexpected answer HTTP {response.status}")
            self._check_answer(response, source)
            arrived = have if response.status == 206 else 0
            _check_space(self.note.parent, (source.total or self.promise.size or 0) - arrived)
            if response.status == 200:
                # Truncate first: a process killed in between must not leave old data with a new description.
                self.file.truncate(0)
                self.note.write_text(json.dumps(dataclasses.asdict(source)))
            have = self._append(response, arrived, source.total)
        expected = source.total if response.chunked or source.total is not None else self.promise.size
        if expected is not None and have < expected:
            raise PassingFault(f"the connection ended after {have:,} of {expected:,} bytes")

    def _range_headers(self, have: int, known: RemoteFile | None) -> dict[str, str]:
        """The headers that request the rest; none if the rest might not belong to the same file."""
        if not known:
            return {}
        if known.url == self.url and known.validator:
            return {"Range": f"bytes={have}-", "If-Range": known.validator}
        if self.promise.digests and known.total is not None:
            # Another mirror has other tags; length and checksum verify that it is the same file.
            return {"Range": f"bytes={have}-"}
        return {}

    def _check_answer(self, response: http.client.HTTPResponse, source: RemoteFile) -> None:
        """Check the response before its body is read: it must be verifiable and of the expected length."""
        encoding = response.headers.get("Content-Encoding", "identity")
        if encoding != "identity":
            raise DownloadError(f"cannot download {self.url}: the server insists on encoding it as {encoding}")
        promise = self.promise
        if source.total is None and not response.chunked and promise.size is None and not promise.digests:
            raise DownloadError(
                f"cannot download {self.url}: the server does not say how long the file is, so a broken download "
                "would go unnoticed; give its size or a checksum"
            )
        promise.check_total(self.url, source.total)

    def _append(self, response: http.client.HTTPResponse, have: int, total: int | None) -> int:
        """Append the body of the response to the file; return the length of the file."""
        limit = self.promise.limit
        while True:
            try:
                block = response.read1(_BLOCK)
            except (OSError, http.client.HTTPException) as error:
                raise PassingFault(f"{in_words(error)} after {have:,} bytes") from error
            if not block:
                return have
            have += len(block)
            if limit is not None and have > limit:
                self.file.truncate(0)
                raise DownloadError(f"cannot download {self.url}: more than {limit:,} bytes arrive")
            self.file.write(block)
            self.file.flush()
            if self.progress:
                self.progress("download", have, total or self.promise.size)


def _recall(note: Path) -> RemoteFile | None:
    """The description that an earlier run saved; None if it is missing, incomplete or invalid."""
    try:
        source = RemoteFile(**json.loads(note.read_text()))
    except (OSError, ValueError, TypeError):
        return None
    texts = (source.url, source.etag or "", source.last_modified or "")
    whole = isinstance(source.total, int | None) and all(
        isinstance(text, str) and re.fullmatch(r"[ -~]*", text) for text in texts
    )
    return source if whole else None


def _check_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise DownloadError(
            f"not enough room in {folder}: it takes {needed / 2**30:.1f} GiB, {free / 2**30:.1f} GiB are free"
        )
