"""One HTTP(S) request for a file or the rest of one, and the server's description of the file (RFC 9110)."""

import dataclasses
import http.client
import re
import ssl
import urllib.error
import urllib.parse
import urllib.request
from email.message import Message
from typing import Any

from aasist_jax.errors import DownloadError, UnreachableError

_PASSING_STATUS = {408, 425, 429, 500, 502, 503, 504}


class PassingFault(Exception):
    """A temporary error, after which another attempt may succeed; `wait` is the delay in seconds that it asks for."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait


class FileChanged(PassingFault):
    """The received data does not belong to the file now on the server; the download must start over."""

    def __init__(self) -> None:
        super().__init__("the file on the server has changed")


@dataclasses.dataclass(frozen=True)
class RemoteFile:
    """The server's description of a file, used to check later that the rest belongs to the same file."""

    url: str
    etag: str | None
    last_modified: str | None
    total: int | None

    @property
    def validator(self) -> str | None:
        """The value for If-Range: a strong entity tag, or else the date (RFC 9110, 13.1.5)."""
        return self.etag if self.etag and not self.etag.startswith("W/") else self.last_modified

    def differs(self, now: "RemoteFile") -> bool:
        """Whether `now` describes another file; needed because not every server supports If-Range."""
        pairs: list[tuple[object, object]] = [(self.total, now.total)]
        if self.url == now.url:
            pairs += [(self.etag, now.etag), (self.last_modified, now.last_modified)]
        return any(a is not None and b is not None and a != b for a, b in pairs)


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


def check_address(url: str) -> None:
    """Check that an address is a plain http or https address.

    Raises:
        DownloadError: it has another scheme, no host, a user name or password, or characters that must be escaped.
    """
    try:
        address = urllib.parse.urlsplit(url)
        good = address.scheme in ("http", "https") and address.hostname and address.port != 0
    except ValueError:
        good = False
    if not good or not re.fullmatch(r"[!-~]+", url) or "@" in address.netloc:
        raise DownloadError(f"cannot download {url!r}: give a plain http:// or https:// address")


def open_url(url: str, headers: dict[str, str], timeout: float) -> http.client.HTTPResponse:
    """Send a GET request, follow redirects, and return the response with its body unread.

    Args:
        url: an http or https address.
        headers: headers of the request, in addition to the User-Agent.
        timeout: seconds without data after which the connection counts as broken.

    Raises:
        FileChanged: the requested range is not within the file.
        PassingFault: a temporary error; another attempt may succeed.
        UnreachableError: the server does not provide the file, or its certificate is not valid.
        DownloadError: an unsafe redirect.
    """
    request = urllib.request.Request(url, headers={"User-Agent": "aasist-jax", **headers})
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
            if error.code == 416 and "Range" in headers:
                raise FileChanged from error
            if error.code in _PASSING_STATUS:
                raise PassingFault(reason, _retry_after(error.headers)) from error
        raise UnreachableError(f"cannot download {url}: {reason}; check the address") from error
    except (OSError, http.client.HTTPException) as error:
        cause = getattr(error, "reason", error)
        if isinstance(cause, ssl.SSLCertVerificationError):
            raise UnreachableError(f"cannot download {url}: {cause.verify_message}; is the clock right?") from error
        raise PassingFault(in_words(error)) from error
    return response


def described(url: str, response: http.client.HTTPResponse) -> RemoteFile:
    """The description of the whole file, from a response that may contain only a part of it."""
    headers = response.headers
    total = content_range(headers)[1] if response.status == 206 else response.length
    return RemoteFile(url, headers.get("ETag"), headers.get("Last-Modified"), total)


def content_range(headers: Message) -> tuple[int | None, int | None]:
    """First byte and total length from a Content-Range header; None for values that are not given."""
    value = headers.get("Content-Range", "")
    match = re.fullmatch(r"bytes (?:(\d{1,18})-\d{1,18}|\*)/(?:(\d{1,18})|\*)", value)
    if not match:
        return None, None
    start, total = match.groups()
    return (int(start) if start else None), (int(total) if total else None)


def in_words(error: Exception) -> str:
    """The reason for a network error in a few words."""
    reason = getattr(error, "reason", error)
    if isinstance(reason, OSError) and reason.strerror:
        return reason.strerror
    return str(reason) or type(reason).__name__


def _retry_after(headers: Message) -> float:
    value = headers.get("Retry-After", "")
    return float(value) if re.fullmatch(r"\d{1,6}", value) else 0.0
