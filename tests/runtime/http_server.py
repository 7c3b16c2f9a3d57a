"""A real HTTP server on 127.0.0.1 that sends parts of a file, and fails in every way a download meets."""

import contextlib
import dataclasses
import functools
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np

BODY = np.random.default_rng(0).bytes(3_000_000)
"""Content of the file that the tests download."""


@dataclasses.dataclass(frozen=True)
class Behaviour:
    """How one request is answered; the default is a sound server with ranges and validators."""

    status: int | None = None
    """Answer with this status and no file."""
    retry_after: int | None = None
    cut_after: int | None = None
    """Break the connection after this many bytes of the body."""
    claim: int | None = None
    """Announce this length in place of the true one."""
    ranges: bool = True
    if_range: bool = True
    """Heed If-Range; else send the part asked for, whatever has become of the file."""
    validators: bool = True
    chunked: bool = False
    announce: bool = True
    """Send Content-Length; else the end of the connection is the end of the file."""
    location: str | None = None
    encoding: str | None = None
    pause: float = 0.0
    """Seconds of silence before each block of 64 KiB."""


@dataclasses.dataclass
class Seen:
    """What one request asked for and was given."""

    path: str
    range: str | None
    if_range: str | None
    status: int
    sent: int = 0


class Site(ThreadingHTTPServer):
    """Files to serve, behaviours to show (`script` first, one a request, then `behaviour`), requests seen."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, bytes] = {}
        self.version = 1
        self.script: list[Behaviour] = []
        self.behaviour = Behaviour()
        self.seen: list[Seen] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up, as a killed one does, is no fault of the server."""


class _Handler(BaseHTTPRequestHandler):
    server: Site

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        site = self.server
        how = site.script.pop(0) if site.script else site.behaviour
        if how.chunked:
            self.protocol_version = "HTTP/1.1"
        self.close_connection = True
        body = site.files.get(self.path)
        status, start = self._decide(how, body)
        seen = Seen(self.path, self.headers.get("Range"), self.headers.get("If-Range"), status)
        site.seen.append(seen)
        self.send_response(status)
        if how.retry_after is not None:
            self.send_header("Retry-After", str(how.retry_after))
        if how.location is not None:
            self.send_header("Location", how.location)
        if how.encoding is not None:
            self.send_header("Content-Encoding", how.encoding)
        if status not in (200, 206) or body is None:
            if status == 416 and body is not None:
                self.send_header("Content-Range", f"bytes */{len(body)}")
            self.end_headers()
            return
        if how.validators:
            self.send_header("ETag", self._etag())
        if status == 206:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        if how.chunked:
            self.send_header("Transfer-Encoding", "chunked")
        elif how.announce:
            self.send_header("Content-Length", str(len(body) - start if how.claim is None else how.claim))
        self.end_headers()
        end = len(body) if how.cut_after is None else min(start + how.cut_after, len(body))
        for at in range(start, end, 65536):
            time.sleep(how.pause)
            block = body[at : min(at + 65536, end)]
            # Counted before it is written: a client that has all bytes finds them all counted.
            seen.sent += len(block)
            self.wfile.write(b"%x\r\n%b\r\n" % (len(block), block) if how.chunked else block)
        if how.chunked and how.cut_after is None:
            self.wfile.write(b"0\r\n\r\n")

    def _etag(self) -> str:
        return f'"v{self.server.version}"'

    def _decide(self, how: Behaviour, body: bytes | None) -> tuple[int, int]:
        if how.status is not None or how.location is not None:
            return how.status or 302, 0
        if body is None:
            return 404, 0
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        same = self.headers.get("If-Range", self._etag()) == self._etag()
        if not asked or not how.ranges or (how.if_range and not same):
            return 200, 0
        start = int(asked[1])
        return (206, start) if start < len(body) else (416, 0)


@contextlib.contextmanager
def serve() -> Iterator[Site]:
    """A running site; stopped at the end."""
    site = Site()
    thread = threading.Thread(target=functools.partial(site.serve_forever, poll_interval=0.02), daemon=True)
    thread.start()
    try:
        yield site
    finally:
        site.shutdown()
        site.server_close()
        thread.join()


def kill_in_download(child: subprocess.Popen[bytes], part: Path, size: int) -> int:
    """Kill -9 a process once it has downloaded more than `size` bytes; how many it leaves in `part`."""
    deadline = time.monotonic() + 60
    while not (part.exists() and part.stat().st_size > size):
        assert child.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    child.kill()
    child.wait()
    return part.stat().st_size
