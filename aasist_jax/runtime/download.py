"""Download one file over HTTP(S): resumed where it broke off, checked before it takes its name.

While a file is under way its bytes lie in `PATH.part`, and what the server said of it in `PATH.part.json`.
A run that is killed leaves both; the next one asks the server (RFC 9110, Range, If-Range) for the rest alone.
"""

import contextlib
import dataclasses
import hashlib
import http.client
import json
import os
import re
import shutil
import ssl
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from email.message import Message
from pathlib import Path
from typing import Any, BinaryIO

if sys.platform != "win32":
    import fcntl

from aasist_jax.errors import AasistError

Progress = Callable[[str, int, int | None], None]
"""Called as `progress(stage, bytes done, bytes in all or None)`; stages: "download", "check" and "unpack"."""

_BLOCK = 1 << 20
_PASSING = {408, 425, 429, 500, 502, 503, 504}
_LONGEST_WAIT = 60.0
_DIGITS = {"sha256": 64, "md5": 32}


class DownloadError(AasistError):
    """A file cannot be downloaded, or is not the file that was promised."""


class UnreachableError(DownloadError):
    """The server cannot be reached or does not give the file: getting it by other means would help."""


class _Fault(Exception):
    """A passing fault, worth another attempt; `wait` is how many seconds the server asks for."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait


@dataclasses.dataclass(frozen=True)
class _Source:
    """What the server said of the file, to tell later whether the rest still belongs to the beginning."""

    url: str
    etag: str | None
    last_modified: str | None
    total: int | None

    @property
    def validator(self) -> str | None:
        """What If-Range may carry: a strong entity tag, or else the date (RFC 9110, 13.1.5)."""
        return self.etag if self.etag and not self.etag.startswith("W/") else self.last_modified


@dataclasses.dataclass(frozen=True)
class _Promise:
    """What the caller knows of the file beforehand."""

    digests: dict[str, str]
    size: int | None
    max_bytes: int | None

    @property
    def limit(self) -> int | None:
        """The most bytes that may arrive."""
        return min((n for n in (self.size, self.max_bytes) if n is not None), default=None)

    def check_total(self, url: str, total: int | None) -> None:
        """Refuse a file by its announced length, before any of it is fetched."""
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
        """What is wrong with the file at `path`, in words; None where all is as promised."""
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


class _HttpOnly(urllib.request.HTTPRedirectHandler):
    """Follows redirects between http and https addresses, never from https back to http."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: Any,
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        schemes = {"https"} if req.type == "https" else {"http", "https"}
        if urllib.parse.urlsplit(newurl).scheme not in schemes:
            raise DownloadError(f"cannot download {req.full_url}: it redirects to {newurl}, which is unsafe")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


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
    """Download `url` to `path` and return `path`; a file that is there already is checked and left as it is.

    A broken download goes on from `PATH.part`; it starts over where the server's file has changed, and where
    the server cannot send a part of it. `path` appears only when length and checksums are right.

    Args:
        url: an http or https address.
        path: where the file shall lie; missing folders are made.
        sha256: the expected SHA-256, 64 hexadecimal digits.
        md5: the expected MD5, 32 hexadecimal digits.
        size: the expected length in bytes.
        max_bytes: the most bytes to accept.
        progress: called with every block received or checked.
        timeout: seconds without a sign of life until the connection counts as broken.
        attempts: how many times in a row a passing fault (a broken connection, HTTP 408, 425, 429, 500, 502,
            503, 504) may happen; one that brought at least 1 MiB counts from one again.
        backoff: seconds to wait after the first fault; doubles with each further one.

    Raises:
        UnreachableError: the server cannot be reached or does not give the file.
        DownloadError: the address, the network, the server, the disk or the file's content is at fault. What
            has arrived stays in `PATH.part`; a whole file with wrong content is kept as `PATH.rejected`.
    """
    path = Path(path)
    promise = _Promise(_digests(sha256=sha256, md5=md5), size, max_bytes)
    _check_address(url)
    if path.exists():
        return _present(path, promise, progress)
    part, note = path.with_name(f"{path.name}.part"), path.with_name(f"{path.name}.part.json")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _exclusive(part) as file:
            if path.exists():
                # Another process finished while this one waited for the lock.
                return _present(path, promise, progress)
            _receive_all(url, file, note, promise, progress, timeout, attempts, backoff)
            os.fsync(file.fileno())
            breach = promise.breach(part, progress)
        if breach:
            rejected = path.with_name(f"{path.name}.rejected")
            os.replace(part, rejected)
            raise DownloadError(
                f"what {url} sent is not the file expected: {breach}; it is kept as {rejected}, "
                "and the next attempt starts over"
            )
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


def _check_address(url: str) -> None:
    try:
        parts = urllib.parse.urlsplit(url)
        good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        good = False
    if not good or not re.fullmatch(r"[!-~]+", url) or "@" in parts.netloc:
        raise DownloadError(f"cannot download {url!r}: give a plain http:// or https:// address")


def _present(path: Path, promise: _Promise, progress: Progress | None) -> Path:
    if not path.is_file():
        raise DownloadError(f"{path} is there already and is no file; move it away or choose another place")
    if breach := promise.breach(path, progress):
        raise DownloadError(f"{path} is there already but is not the file expected: {breach}; move it away")
    return path


@contextlib.contextmanager
def _exclusive(part: Path) -> Iterator[BinaryIO]:
    """The partial file open for appending, by one process at a time; a failure does not leave it empty."""
    with part.open("ab") as file:
        # The kernel drops the lock with the process, however it ends. Windows has no such lock: there, two
        # downloads of one file at once are caught by the checksum.
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


def _receive_all(
    url: str,
    file: BinaryIO,
    note: Path,
    promise: _Promise,
    progress: Progress | None,
    timeout: float,
    attempts: int,
    backoff: float,
) -> None:
    """Ask again after passing faults until the file is whole."""
    failures = 0
    while True:
        before = file.seek(0, os.SEEK_END)
        try:
            return _receive(url, file, note, promise, progress, timeout)
        except _Fault as fault:
            have = file.seek(0, os.SEEK_END)
            failures = 1 if have - before >= _BLOCK else failures + 1
            if failures >= attempts:
                kept = f"; the {have:,} bytes that arrived are kept for the next run" if have else ""
                raise UnreachableError(
                    f"cannot download {url}: {fault} ({attempts} attempts in a row){kept}"
                ) from fault
            time.sleep(min(max(fault.wait, backoff * 2 ** (failures - 1)), _LONGEST_WAIT))


def _receive(
    url: str, file: BinaryIO, note: Path, promise: _Promise, progress: Progress | None, timeout: float
) -> None:
    """One request: appends what arrives to `file`; returns when the file is whole, raises `_Fault` if not."""
    have = file.seek(0, os.SEEK_END)
    known = _recall(note) if have else None
    if known and known.total == have:
        return
    headers = _range_headers(url, have, known, promise)
    resuming = "Range" in headers
    request = urllib.request.Request(url, headers={"User-Agent": "aasist-jax", **headers})
    with _open(request, have if resuming else 0, file, timeout) as response:
        source = _described(url, response)
        if response.status == 206 and resuming and known:
            start, _ = _content_range(response.headers)
            if start != have or _differ(known, source):
                file.truncate(0)
                raise _Fault("the file on the server has changed")
        elif response.status != 200:
            raise DownloadError(f"cannot download {url}: unexpected answer HTTP {response.status}")
        encoding = response.headers.get("Content-Encoding", "identity")
        if encoding != "identity":
            raise DownloadError(f"cannot download {url}: the server insists on encoding it as {encoding}")
        if source.total is None and not response.chunked and promise.size is None and not promise.digests:
            raise DownloadError(
                f"cannot download {url}: the server does not say how long the file is, so a broken download "
                "would go unnoticed; give its size or a checksum"
            )
        promise.check_total(url, source.total)
        arrived = have if response.status == 206 else 0
        _check_space(note.parent, (source.total or promise.size or 0) - arrived)
        if response.status == 200:
            # Truncate first: a kill between the two must not leave old bytes under a new description.
            file.truncate(0)
            note.write_text(json.dumps(dataclasses.asdict(source)))
        have = _append(url, response, file, arrived, source.total, promise, progress)
    expected = source.total if response.chunked or source.total is not None else promise.size
    if expected is not None and have < expected:
        raise _Fault(f"the connection ended after {have:,} of {expected:,} bytes")


def _range_headers(url: str, have: int, known: _Source | None, promise: _Promise) -> dict[str, str]:
    """The headers that ask for the rest; none where the beginning cannot be trusted to belong to it."""
    if not known:
        return {}
    if known.url == url and known.validator:
        return {"Range": f"bytes={have}-", "If-Range": known.validator}
    if promise.digests and known.total is not None:
        # From another mirror the tags differ; length and checksum say whether it is the same file.
        return {"Range": f"bytes={have}-"}
    return {}


def _open(request: urllib.request.Request, have: int, file: BinaryIO, timeout: float) -> http.client.HTTPResponse:
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        _HttpOnly(),
    ):
        opener.add_handler(handler)
    try:
        response: http.client.HTTPResponse = opener.open(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        with error:
            reason = f"HTTP {error.code} {error.reason}"
            if error.code == 416 and have:
                file.truncate(0)
                raise _Fault("the file on the server has changed") from error
            if error.code in _PASSING:
                raise _Fault(reason, _retry_after(error.headers)) from error
        raise UnreachableError(f"cannot download {request.full_url}: {reason}; check the address") from error
    except (OSError, http.client.HTTPException) as error:
        cause = getattr(error, "reason", error)
        if isinstance(cause, ssl.SSLCertVerificationError):
            raise UnreachableError(
                f"cannot download {request.full_url}: {cause.verify_message}; is the clock right?"
            ) from error
        raise _Fault(_in_words(error)) from error
    return response


def _append(
    url: str,
    response: http.client.HTTPResponse,
    file: BinaryIO,
    have: int,
    total: int | None,
    promise: _Promise,
    progress: Progress | None,
) -> int:
    """Write the answer's body to the end of `file`; returns how many bytes the file then has."""
    while True:
        try:
            block = response.read1(_BLOCK)
        except (OSError, http.client.HTTPException) as error:
            raise _Fault(f"{_in_words(error)} after {have:,} bytes") from error
        if not block:
            return have
        have += len(block)
        if promise.limit is not None and have > promise.limit:
            file.truncate(0)
            raise DownloadError(f"cannot download {url}: more than {promise.limit:,} bytes arrive")
        file.write(block)
        file.flush()
        if progress:
            progress("download", have, total or promise.size)


def _described(url: str, response: http.client.HTTPResponse) -> _Source:
    headers = response.headers
    total = _content_range(headers)[1] if response.status == 206 else response.length
    return _Source(url, headers.get("ETag"), headers.get("Last-Modified"), total)


def _differ(known: _Source, now: _Source) -> bool:
    """Whether the server now tells of another file than it did; not every server heeds If-Range."""
    pairs: list[tuple[object, object]] = [(known.total, now.total)]
    if known.url == now.url:
        pairs += [(known.etag, now.etag), (known.last_modified, now.last_modified)]
    return any(a is not None and b is not None and a != b for a, b in pairs)


def _content_range(headers: Message) -> tuple[int | None, int | None]:
    """First byte and length of the whole file, from a Content-Range header."""
    value = headers.get("Content-Range", "")
    match = re.fullmatch(r"bytes (?:(\d{1,18})-\d{1,18}|\*)/(?:(\d{1,18})|\*)", value)
    if not match:
        return None, None
    start, total = match.groups()
    return (int(start) if start else None), (int(total) if total else None)


def _retry_after(headers: Message) -> float:
    value = headers.get("Retry-After", "")
    return float(value) if re.fullmatch(r"\d{1,6}", value) else 0.0


def _recall(note: Path) -> _Source | None:
    """What an earlier run noted; None where the note is missing, cut short or not ours."""
    try:
        source = _Source(**json.loads(note.read_text()))
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


def _in_words(error: Exception) -> str:
    reason = getattr(error, "reason", error)
    if isinstance(reason, OSError) and reason.strerror:
        return reason.strerror
    return str(reason) or type(reason).__name__
