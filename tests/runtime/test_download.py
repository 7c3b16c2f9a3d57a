"""Downloads against a real server that breaks, lies and changes its mind."""

import hashlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from aasist_jax.errors import DownloadError
from aasist_jax.runtime.download import download
from aasist_jax.runtime.progress import byte_progress
from tests.runtime.http_server import BODY, Behaviour, Site, kill_in_download

REPOSITORY = Path(__file__).resolve().parents[2]
SHA256 = hashlib.sha256(BODY).hexdigest()
MD5 = hashlib.md5(BODY, usedforsecurity=False).hexdigest()


def fetch(site: Site, path: Path, **options) -> Path:
    return download(f"{site.url}/file", path, **{"backoff": 0.01, "timeout": 5.0} | options)


def leftovers(path: Path) -> set[str]:
    return {entry.name for entry in path.parent.iterdir()} - {path.name}


def test_whole_file(site: Site, tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "file"
    steps: list[tuple[str, int, int | None]] = []
    done = fetch(site, path, sha256=SHA256.upper(), md5=MD5, size=len(BODY), progress=lambda *s: steps.append(s))
    assert done == path
    assert path.read_bytes() == BODY
    assert leftovers(path) == set()
    for stage in ("download", "check"):
        counts = [step[1] for step in steps if step[0] == stage]
        assert counts == sorted(counts)
        assert counts[-1] == len(BODY)
    assert {step[2] for step in steps} == {len(BODY)}


def test_file_there_already_is_not_fetched_again(site: Site, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(BODY)
    assert fetch(site, path, sha256=SHA256) == path
    assert site.seen == []


def test_another_file_there_already_is_refused_and_left_alone(site: Site, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"mine")
    with pytest.raises(DownloadError, match=f"is there already.*SHA256 is .*not {SHA256}; move it away"):
        fetch(site, path, sha256=SHA256)
    assert path.read_bytes() == b"mine"
    with pytest.raises(DownloadError, match="is no file"):
        fetch(site, tmp_path)


def test_cut_connection_asks_for_the_rest_alone(site: Site, tmp_path: Path) -> None:
    site.script = [Behaviour(cut_after=1_000_000), Behaviour(cut_after=500_000)]
    path = fetch(site, tmp_path / "file")
    assert path.read_bytes() == BODY
    assert [(seen.status, seen.range, seen.sent) for seen in site.seen] == [
        (200, None, 1_000_000),
        (206, "bytes=1000000-", 500_000),
        (206, "bytes=1500000-", 1_500_000),
    ]
    assert [seen.if_range for seen in site.seen] == [None, '"v1"', '"v1"']


def test_failure_keeps_what_arrived_and_the_next_run_goes_on(site: Site, tmp_path: Path) -> None:
    path = tmp_path / "file"
    site.behaviour = Behaviour(cut_after=700_000)
    with pytest.raises(DownloadError, match="the 700,000 bytes that arrived are kept") as caught:
        fetch(site, path, attempts=1)
    assert "ended after 700,000 of 3,000,000 bytes" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not path.exists()
    assert (tmp_path / "file.part").read_bytes() == BODY[:700_000]
    site.behaviour = Behaviour()
    assert fetch(site, path, sha256=SHA256).read_bytes() == BODY
    assert site.seen[-1].range == "bytes=700000-"
    assert sum(seen.sent for seen in site.seen) == len(BODY)
    assert leftovers(path) == set()


def test_attempts_that_bring_much_do_not_count_together(site: Site, tmp_path: Path) -> None:
    body = BODY * 2
    site.files["/file"] = body
    site.behaviour = Behaviour(cut_after=1_100_000)
    assert fetch(site, tmp_path / "file", attempts=2).read_bytes() == body
    assert len(site.seen) == 6


@pytest.mark.parametrize("after_kill", [Behaviour(), Behaviour(ranges=False)], ids=["ranges", "no ranges"])
def test_killed_run_goes_on(site: Site, tmp_path: Path, after_kill: Behaviour) -> None:
    path, part = tmp_path / "file", tmp_path / "file.part"
    site.script = [Behaviour(pause=0.05)]
    command = "import sys; from aasist_jax.runtime.download import download; download(sys.argv[1], sys.argv[2])"
    child = subprocess.Popen([sys.executable, "-c", command, f"{site.url}/file", str(path)], cwd=REPOSITORY)
    kept = kill_in_download(child, part, 300_000)
    assert 300_000 < kept < len(BODY)
    assert not path.exists()
    site.behaviour = after_kill
    assert fetch(site, path, sha256=SHA256).read_bytes() == BODY
    last = site.seen[-1] if site.seen[-1].range else site.seen[-2]
    assert last.range == f"bytes={kept}-"
    assert last.sent == (len(BODY) - kept if after_kill.ranges else len(BODY))


def test_two_processes_cannot_write_one_file(site: Site, tmp_path: Path) -> None:
    path = tmp_path / "file"
    site.behaviour = Behaviour(pause=0.05)
    command = "import sys; from aasist_jax.runtime.download import download; download(sys.argv[1], sys.argv[2])"
    child = subprocess.Popen([sys.executable, "-c", command, f"{site.url}/file", str(path)], cwd=REPOSITORY)
    deadline = time.monotonic() + 30
    while not (tmp_path / "file.part").exists() or (tmp_path / "file.part").stat().st_size == 0:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    with pytest.raises(DownloadError, match="another process is downloading"):
        fetch(site, path)
    assert child.wait() == 0
    assert path.read_bytes() == BODY


def test_whole_part_is_not_fetched_again(site: Site, tmp_path: Path) -> None:
    """A run killed between the last byte and the renaming."""
    part, note = tmp_path / "file.part", tmp_path / "file.part.json"
    part.write_bytes(BODY)
    note.write_text(json.dumps({"url": f"{site.url}/file", "etag": '"v1"', "last_modified": None, "total": len(BODY)}))
    assert fetch(site, tmp_path / "file", sha256=SHA256).read_bytes() == BODY
    assert site.seen == []


def broken_off(site: Site, path: Path) -> None:
    site.script = [Behaviour(cut_after=1_000_000)]
    with pytest.raises(DownloadError):
        fetch(site, path, attempts=1)
    site.seen.clear()


@pytest.mark.parametrize("heeds", [True, False], ids=["If-Range heeded", "If-Range ignored"])
@pytest.mark.parametrize("length", [len(BODY), len(BODY) + 5, 900_000])
def test_changed_file_starts_over(site: Site, tmp_path: Path, heeds: bool, length: int) -> None:
    path = tmp_path / "file"
    broken_off(site, path)
    changed = np.random.default_rng(1).bytes(length)
    site.files["/file"] = changed
    site.version = 2
    site.behaviour = Behaviour(if_range=heeds)
    assert fetch(site, path).read_bytes() == changed
    assert site.seen[0].range == "bytes=1000000-"
    assert site.seen[-1].status == 200


@pytest.mark.parametrize("note", [None, "{", "[1]", '{"url": 1, "etag": 2, "last_modified": 3, "total": 4}'])
def test_part_of_unknown_origin_starts_over(site: Site, tmp_path: Path, note: str | None) -> None:
    (tmp_path / "file.part").write_bytes(b"x" * 1000)
    if note is not None:
        (tmp_path / "file.part.json").write_text(note)
    assert fetch(site, tmp_path / "file").read_bytes() == BODY
    assert [seen.range for seen in site.seen] == [None]


def test_without_validators_only_a_checksum_lets_it_go_on(site: Site, tmp_path: Path) -> None:
    for name, options, asked in (("a", {}, None), ("b", {"sha256": SHA256}, "bytes=1000000-")):
        site.script = [Behaviour(validators=False, cut_after=1_000_000), Behaviour(validators=False)]
        assert fetch(site, tmp_path / name, **options).read_bytes() == BODY
        assert [site.seen[-1].range, site.seen[-1].if_range] == [asked, None]


def test_goes_on_from_a_mirror(site: Site, tmp_path: Path) -> None:
    path = tmp_path / "file"
    broken_off(site, path)
    site.files["/mirror"] = BODY
    site.version = 2
    download(f"{site.url}/mirror", path, sha256=SHA256)
    assert path.read_bytes() == BODY
    assert [(seen.path, seen.range) for seen in site.seen] == [("/mirror", "bytes=1000000-")]


@pytest.mark.parametrize("status", [404, 403, 410])
def test_lasting_error_is_not_tried_again(site: Site, tmp_path: Path, status: int) -> None:
    site.behaviour = Behaviour(status=status)
    with pytest.raises(DownloadError, match=f"HTTP {status} .*check the address"):
        fetch(site, tmp_path / "file")
    assert len(site.seen) == 1
    assert leftovers(tmp_path / "file") == set()


def test_passing_errors_are_tried_again(site: Site, tmp_path: Path) -> None:
    site.script = [Behaviour(status=500), Behaviour(status=503)]
    assert fetch(site, tmp_path / "file").read_bytes() == BODY
    assert [seen.status for seen in site.seen] == [500, 503, 200]


def test_waits_as_long_as_the_server_asks(site: Site, tmp_path: Path) -> None:
    site.script = [Behaviour(status=503, retry_after=1)]
    start = time.monotonic()
    fetch(site, tmp_path / "file")
    assert time.monotonic() - start >= 1


def test_lasting_fault_gives_up(site: Site, tmp_path: Path) -> None:
    site.behaviour = Behaviour(status=500)
    with pytest.raises(DownloadError, match=r"HTTP 500 .*3 attempts in a row"):
        fetch(site, tmp_path / "file", attempts=3)
    assert len(site.seen) == 3
    assert leftovers(tmp_path / "file") == set()


def test_announced_length_that_never_comes(site: Site, tmp_path: Path) -> None:
    site.behaviour = Behaviour(claim=len(BODY) + 10, ranges=False)
    with pytest.raises(DownloadError, match="ended after 3,000,000 of 3,000,010 bytes"):
        fetch(site, tmp_path / "file", attempts=2)
    assert not (tmp_path / "file").exists()


def test_announced_length_too_short_is_found_by_the_checksum(site: Site, tmp_path: Path) -> None:
    site.behaviour = Behaviour(claim=1000)
    with pytest.raises(DownloadError, match="not the file expected"):
        fetch(site, tmp_path / "file", sha256=SHA256)


def test_wrong_size_is_refused_before_the_download(site: Site, tmp_path: Path) -> None:
    broken_off(site, tmp_path / "file")
    site.version = 2
    with pytest.raises(DownloadError, match="offers 3,000,000 bytes where 3,000,001 are expected"):
        fetch(site, tmp_path / "file", size=len(BODY) + 1)
    assert (tmp_path / "file.part").stat().st_size == 1_000_000


@pytest.mark.parametrize("behaviour", [Behaviour(), Behaviour(chunked=True), Behaviour(announce=False)])
def test_limit(site: Site, tmp_path: Path, behaviour: Behaviour) -> None:
    site.behaviour = behaviour
    with pytest.raises(DownloadError, match=r"over the limit of 1,000,000|more than 1,000,000 bytes"):
        fetch(site, tmp_path / "file", max_bytes=1_000_000, sha256=SHA256)
    assert leftovers(tmp_path / "file") <= {"file.part.json"}


def test_wrong_checksum_is_kept_aside_and_the_next_run_starts_over(site: Site, tmp_path: Path) -> None:
    path = tmp_path / "file"
    site.files["/file"] = BODY[::-1]
    with pytest.raises(DownloadError, match=f"SHA256 is .*, not {SHA256}; it is kept as .*file.rejected"):
        fetch(site, path, sha256=SHA256)
    assert not path.exists()
    assert (tmp_path / "file.rejected").read_bytes() == BODY[::-1]
    site.files["/file"] = BODY
    assert fetch(site, path, sha256=SHA256).read_bytes() == BODY
    assert site.seen[-1].range is None


def test_chunked(site: Site, tmp_path: Path) -> None:
    site.script = [Behaviour(chunked=True, cut_after=200_000)]
    site.behaviour = Behaviour(chunked=True)
    assert fetch(site, tmp_path / "file").read_bytes() == BODY
    assert [seen.status for seen in site.seen] == [200, 206]


def test_unknown_length_needs_a_promise(site: Site, tmp_path: Path) -> None:
    site.behaviour = Behaviour(announce=False)
    with pytest.raises(DownloadError, match="does not say how long"):
        fetch(site, tmp_path / "file")
    site.script = [Behaviour(announce=False, cut_after=1_000_000)]
    assert fetch(site, tmp_path / "file", size=len(BODY)).read_bytes() == BODY
    assert site.seen[-1].range == "bytes=1000000-"


def test_encoded_answer_is_refused(site: Site, tmp_path: Path) -> None:
    site.behaviour = Behaviour(encoding="gzip")
    with pytest.raises(DownloadError, match="insists on encoding it as gzip"):
        fetch(site, tmp_path / "file")


def test_silent_server_times_out(site: Site, tmp_path: Path) -> None:
    site.script = [Behaviour(pause=5.0)]
    assert fetch(site, tmp_path / "file", timeout=0.2).read_bytes() == BODY


def test_slow_server_is_waited_for(site: Site, tmp_path: Path) -> None:
    site.behaviour = Behaviour(pause=0.02)
    assert fetch(site, tmp_path / "file", timeout=0.3).read_bytes() == BODY
    assert len(site.seen) == 1


def test_no_server(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/file"
        with pytest.raises(DownloadError, match="Connection refused") as caught:
            download(url, tmp_path / "file", attempts=2, backoff=0.01)
    assert "\n" not in str(caught.value)
    assert leftovers(tmp_path / "file") == set()


@pytest.mark.parametrize(("name", "digest"), [("sha256", "12"), ("md5", "z" * 32), ("md5", "0" * 64)])
def test_malformed_checksum_is_refused(tmp_path: Path, name: str, digest: str) -> None:
    with pytest.raises(DownloadError, match="hexadecimal digits"):
        download("http://127.0.0.1:1/x", tmp_path / "file", **{name: digest})


def test_full_disk(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type(shutil.disk_usage(tmp_path))
    broken_off(site, tmp_path / "file")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(10**12, 10**12 - 2_000_000, 2_000_000))
    with pytest.raises(DownloadError, match=r"not enough room in .*0\.0 GiB are free"):
        fetch(site, tmp_path / "other")
    # The rest alone does fit.
    assert fetch(site, tmp_path / "file").read_bytes() == BODY


def test_disk_that_fills_up_on_the_way(site: Site, tmp_path: Path) -> None:
    """A file-size limit of the operating system stands in for a disk that fills up."""
    command = (
        "import resource, signal, sys; from aasist_jax.runtime.download import download\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))\n"
        "try: download(sys.argv[1], sys.argv[2])\n"
        "except Exception as error: print(type(error).__name__, error)\n"
    )
    path = tmp_path / "file"
    arguments = [sys.executable, "-c", command, f"{site.url}/file", str(path)]
    out = subprocess.run(arguments, capture_output=True, text=True, check=True, cwd=REPOSITORY).stdout
    assert re.fullmatch(r"DownloadError cannot write .*: File too large\n", out)
    assert not path.exists()
    assert fetch(site, path, sha256=SHA256).read_bytes() == BODY


def test_folder_that_cannot_be_written(tmp_path: Path, site: Site) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DownloadError, match="cannot write"):
        fetch(site, tmp_path / "file" / "below")


def test_bar_on_a_terminal_only(site: Site, tmp_path: Path) -> None:
    command = (
        "import sys; from aasist_jax.runtime.download import download\n"
        "from aasist_jax.runtime.progress import byte_progress\n"
        "with byte_progress('the file') as bar: download(sys.argv[1], sys.argv[2], progress=bar)\n"
    )
    arguments = [sys.executable, "-c", command, f"{site.url}/file"]
    quiet = subprocess.run([*arguments, str(tmp_path / "a")], capture_output=True, check=True, cwd=REPOSITORY)
    assert quiet.stderr == b""
    ours, theirs = os.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    subprocess.run([*arguments, str(tmp_path / "b")], stderr=theirs, check=True, env=environment, cwd=REPOSITORY)
    shown = os.read(ours, 65536).decode()
    os.close(ours)
    os.close(theirs)
    assert "download the file" in shown
    assert "3.0/3.0 MB" in shown


def test_bar_in_process_is_none_without_a_terminal() -> None:
    with byte_progress("x") as bar:
        assert bar is None
