"""Weights from the Hugging Face Hub: a stand-in on 127.0.0.1 that answers what `huggingface_hub` asks of it."""

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from aasist_jax.detection.detector import Detector
from aasist_jax.errors import WeightsError
from aasist_jax.weights.hub import fetch_from_hub
from tests.conftest import REPOSITORY, extra
from tests.models import toy

extra("huggingface_hub", "hub")

COMMIT, OLDER_COMMIT = "a" * 40, "b" * 40


class Hub(ThreadingHTTPServer):
    """Files by (repository, commit, name); every repository has the branch `main` and the tag `v1`."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[tuple[str, str, str], bytes] = {}
        self.asked: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Hub

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.server.asked.append(f"{self.command} {self.path}")
        owner, name, _, revision, file = self.path.strip("/").split("/")
        repository = f"{owner}/{name}"
        commit = {"main": COMMIT, "v1": OLDER_COMMIT}.get(revision, revision)
        if repository not in {key[0] for key in self.server.files}:
            return self.answer(404, {"X-Error-Code": "RepoNotFound"})
        if (repository, commit) not in {key[:2] for key in self.server.files}:
            return self.answer(404, {"X-Error-Code": "RevisionNotFound"})
        body = self.server.files.get((repository, commit, file))
        if body is None:
            return self.answer(404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit})
        return self.answer(200, {"ETag": f'"{commit[:8]}-{file}"', "X-Repo-Commit": commit}, body)

    def answer(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)


@contextlib.contextmanager
def serve() -> Iterator[Hub]:
    hub = Hub()
    thread = threading.Thread(target=hub.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.shutdown()
        hub.server_close()
        thread.join()


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serve() as hub:
        yield hub


def fetched(address: str, home: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """What a process of its own gets; `huggingface_hub` reads its environment when it is imported."""
    code = (
        "import sys\n"
        "from aasist_jax.errors import WeightsError\n"
        "from aasist_jax.weights.hub import fetch_from_hub\n"
        "try:\n    print(fetch_from_hub(sys.argv[1]))\n"
        "except WeightsError as error:\n    sys.exit(str(error))\n"
    )
    settings = {"HF_HOME": str(home), "HF_HUB_DISABLE_PROGRESS_BARS": "1"} | environment
    return subprocess.run(
        [sys.executable, "-c", code, address],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "no_proxy": "127.0.0.1"} | settings,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_weights_are_fetched_and_then_found_without_a_network(hub: Hub, tmp_path: Path) -> None:
    with toy.registered():
        made = toy.save_toy(tmp_path / "made")
        for file in ("config.json", "model.safetensors"):
            hub.files["owner/voice", COMMIT, file] = (made / file).read_bytes()
        hub.files["owner/voice", COMMIT, "anything_else.py"] = b"raise SystemExit"

        first = fetched("hf://owner/voice", tmp_path / "hf", HF_ENDPOINT=hub.url)
        assert first.returncode == 0, first.stderr
        folder = Path(first.stdout.strip())
        assert sorted(file.name for file in folder.iterdir()) == ["config.json", "model.safetensors"]
        assert Detector.from_pretrained(folder).weights.source == toy.toy_weights().source
        assert not any("anything_else" in request for request in hub.asked)

    asked = len(hub.asked)
    offline = fetched("hf://owner/voice", tmp_path / "hf", HF_ENDPOINT=hub.url, HF_HUB_OFFLINE="1")
    assert (offline.returncode, offline.stdout) == (0, first.stdout)
    assert len(hub.asked) == asked


def test_a_revision_and_its_calibration(hub: Hub, tmp_path: Path) -> None:
    for file in ("config.json", "model.safetensors", "calibration.json"):
        hub.files["owner/voice", OLDER_COMMIT, file] = f"old {file}".encode()
        hub.files["owner/voice", COMMIT, file] = f"new {file}".encode()
    for revision in ("v1", OLDER_COMMIT):
        done = fetched(f"hf://owner/voice@{revision}", tmp_path / revision, HF_ENDPOINT=hub.url)
        assert done.returncode == 0, done.stderr
        folder = Path(done.stdout.strip())
        assert folder.name == OLDER_COMMIT
        assert {file.name: file.read_text() for file in folder.iterdir()} == {
            name: f"old {name}" for name in ("config.json", "model.safetensors", "calibration.json")
        }


@pytest.mark.parametrize(
    ("address", "environment", "complaint"),
    [
        ("hf://owner/nothing", {}, "no such repository, or one that needs a token (HF_TOKEN) with access to it"),
        ("hf://owner/voice@v2", {}, "the repository has no revision 'v2'"),
        ("hf://owner/voice", {}, "holds no weights; expected the files config.json and model.safetensors of a weights"),
        ("hf://owner/half", {}, "holds no weights; expected the files config.json and model.safetensors of a weights"),
        (
            "hf://owner/voice",
            {"HF_HUB_OFFLINE": "1"},
            "not in the cache of the Hugging Face Hub, and the Hub cannot be",
        ),
        ("hf://owner/--", {}, "Repo id must"),
    ],
)
def test_what_cannot_be_fetched_is_one_line(
    hub: Hub, tmp_path: Path, address: str, environment: dict[str, str], complaint: str
) -> None:
    hub.files["owner/voice", COMMIT, "README.md"] = b"no weights"
    hub.files["owner/half", COMMIT, "config.json"] = b"{}"
    done = fetched(address, tmp_path, **({"HF_ENDPOINT": hub.url} | environment))
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith(f"{address}: {complaint}"), done.stderr
    assert "Traceback" not in done.stderr


def test_without_a_network_what_is_cached_is_used_and_the_rest_fails_at_once(hub: Hub, tmp_path: Path) -> None:
    """The Hub's own package would try for half a minute, and print a dozen lines."""
    for file in ("config.json", "model.safetensors"):
        hub.files["owner/voice", COMMIT, file] = file.encode()
    first = fetched("hf://owner/voice", tmp_path, HF_ENDPOINT=hub.url)
    again = fetched("hf://owner/voice", tmp_path, HF_ENDPOINT="http://127.0.0.1:9")
    assert (again.returncode, again.stdout, again.stderr) == (0, first.stdout, "")
    start = time.monotonic()
    other = fetched("hf://owner/other", tmp_path, HF_ENDPOINT="http://127.0.0.1:9")
    assert time.monotonic() - start < 15
    assert (other.returncode, other.stdout, other.stderr.count("\n")) == (1, "", 1)
    assert other.stderr.startswith(
        "hf://owner/other: not in the cache of the Hugging Face Hub, and the Hub cannot be reached"
    )


@pytest.mark.parametrize("address", ["hf://", "hf://owner", "hf://a/b/c", "hf://a/b@", "hf://a/b c"])
def test_an_address_has_an_owner_and_a_name(address: str) -> None:
    with pytest.raises(WeightsError, match=r"expected hf://owner/name or hf://owner/name@revision"):
        fetch_from_hub(address)


def test_without_the_extra_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(WeightsError, match=r"hf://a/b: needs the extra `hub`; run `pip install 'aasist-jax\[hub\]'`"):
        fetch_from_hub("hf://a/b")
    with pytest.raises(WeightsError, match=r"needs the extra `hub`"):
        Detector.from_pretrained("hf://a/b")
