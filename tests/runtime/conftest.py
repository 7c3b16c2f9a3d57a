"""A server to download from."""

from collections.abc import Iterator

import pytest

from tests.runtime.http_server import BODY, Site, serve


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serve() as site:
        site.files["/file"] = BODY
        yield site
