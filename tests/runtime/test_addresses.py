"""Addresses to download from: redirects, and what is no plain http or https address."""

from pathlib import Path

import pytest

from aasist_jax.errors import DownloadError
from aasist_jax.runtime.download import download
from tests.runtime.http_server import BODY, Behaviour, Site
from tests.runtime.test_download import fetch, leftovers


def test_redirect(site: Site, tmp_path: Path) -> None:
    site.script = [Behaviour(location="/file"), Behaviour(cut_after=1_000_000), Behaviour(location="/file")]
    path = download(f"{site.url}/old", tmp_path / "file", backoff=0.01)
    assert path.read_bytes() == BODY
    assert [(seen.path, seen.range) for seen in site.seen[2:]] == [
        ("/old", "bytes=1000000-"),
        ("/file", "bytes=1000000-"),
    ]


@pytest.mark.parametrize("target", ["file:///etc/hostname", "ftp://127.0.0.1/x", "data:,x"])
def test_redirect_out_of_http_is_refused(site: Site, tmp_path: Path, target: str) -> None:
    site.behaviour = Behaviour(location=target)
    with pytest.raises(DownloadError, match=r"which is unsafe|is not allowed"):
        fetch(site, tmp_path / "file")
    assert leftovers(tmp_path / "file") == set()


def test_redirect_loop_ends(site: Site, tmp_path: Path) -> None:
    site.behaviour = Behaviour(location="/file")
    with pytest.raises(DownloadError, match="HTTP 302"):
        fetch(site, tmp_path / "file")


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/hostname",
        "ftp://example.org/x",
        "example.org/x",
        "http://",
        "http://[::1/x",
        "http://example.org:99999/x",
        "http://user:secret@example.org/x",
        "http://example.org/a b",
        "http://example.org/\r\nX: y",
        "data:,x",
        "",
    ],
)
def test_other_addresses_are_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(DownloadError, match=r"give a plain http:// or https:// address"):
        download(url, tmp_path / "file")
    assert list(tmp_path.iterdir()) == []
