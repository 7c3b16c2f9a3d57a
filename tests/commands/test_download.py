"""`aasist-jax download`, and `scripts/download_dataset.py`, from end to end against a local server."""

import hashlib
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from aasist_jax.commands.download import download
from aasist_jax.data import la_archive
from aasist_jax.errors import AasistError
from tests.la_zip import TRIALS, la_files, unlisted, write_zip
from tests.runtime.http_server import Behaviour, Site, kill_in_download, serve

REPOSITORY = Path(__file__).resolve().parent.parent.parent
SCRIPT = REPOSITORY / "scripts" / "download_dataset.py"
PUBLISHED_TRIALS = la_archive.TRIALS


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Site]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serve() as site:
        site.files["/LA.zip"] = write_zip(tmp_path / "published.zip", la_files()).read_bytes()
        yield site


@pytest.fixture(autouse=True)
def small_data_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """The data set is as small as the one served here."""
    monkeypatch.setattr(la_archive, "TRIALS", TRIALS)


def md5(site: Site) -> str:
    return hashlib.md5(site.files.get("/LA.zip", b""), usedforsecurity=False).hexdigest()


def get(site: Site, output: Path, **options) -> None:
    download(**{"output": output, "url": f"{site.url}/LA.zip", "md5": md5(site)} | options)


def names(folder: Path) -> set[str]:
    return {f"LA/{path.relative_to(folder).as_posix()}" for path in folder.rglob("*") if path.is_file()}


def test_from_server_to_folder(site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "data"
    get(site, output)
    assert names(output / "LA") == {name for name in la_files() if not unlisted(name)}
    assert os.listdir(output) == ["LA"]
    complete = f"{output / 'LA'} is complete: train 5 (2 bona fide), dev 4 (2 bona fide), eval 6 (2 bona fide)"
    assert complete in capsys.readouterr().out
    get(site, output)
    assert complete in capsys.readouterr().out
    assert len(site.seen) == 1


@pytest.mark.slow
def test_as_many_clips_as_are_published(site: Site, tmp_path: Path) -> None:
    """The real command, with the published numbers of clips (of 100 bytes each)."""
    published = write_zip(tmp_path / "published.zip", la_files(PUBLISHED_TRIALS, 100), zipfile.ZIP_STORED)
    site.files["/LA.zip"] = published.read_bytes()
    output = tmp_path / "data"
    arguments = [sys.executable, SCRIPT, "--output", output, "--url", f"{site.url}/LA.zip", "--md5", md5(site)]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    out = subprocess.run(arguments, env=environment, capture_output=True, text=True, check=True).stdout
    assert "is complete: train 25,380 (2 bona fide), dev 24,844 (2 bona fide), eval 71,237 (2" in out
    assert sum(1 for _ in (output / "LA").rglob("*.flac")) == 121_461


def test_keep_archive(site: Site, tmp_path: Path) -> None:
    get(site, tmp_path / "data", keep_archive=True)
    assert (tmp_path / "data" / "LA.zip").read_bytes() == site.files["/LA.zip"]


def test_archive_got_by_other_means_is_used_and_kept(site: Site, tmp_path: Path) -> None:
    archive = tmp_path / "published.zip"
    get(site, tmp_path / "data", archive=archive)
    assert site.seen == []
    assert archive.exists()
    assert la_archive.check(tmp_path / "data" / "LA", TRIALS)


def test_archive_is_held_against_the_published_checksum(site: Site, tmp_path: Path) -> None:
    with pytest.raises(AasistError, match=r"has .* bytes, not 7,640,952,520"):
        get(site, tmp_path / "data", archive=tmp_path / "published.zip", md5=None)
    with pytest.raises(AasistError, match=r"offers .* bytes where 7,640,952,520 are expected"):
        get(site, tmp_path / "data", md5=None)
    with pytest.raises(AasistError, match=f"SHA256 is .*, not {'0' * 64}"):
        get(site, tmp_path / "data", sha256="0" * 64)
    assert not (tmp_path / "data" / "LA").exists()


def test_incomplete_folder_is_told_and_left_alone(site: Site, tmp_path: Path) -> None:
    get(site, tmp_path / "data")
    clip = next((tmp_path / "data" / "LA").rglob("LA_T_1000000.flac"))
    clip.unlink()
    with pytest.raises(AasistError, match="lacks 1 of 15 clips"):
        get(site, tmp_path / "data")
    assert len(site.seen) == 1


def test_killed_command_goes_on(site: Site, tmp_path: Path) -> None:
    """A real command, killed while it downloads; the next one gets the rest, and notices what it got."""
    published = write_zip(tmp_path / "large.zip", la_files(size=100_000))
    site.files["/LA.zip"] = published.read_bytes()
    output = tmp_path / "data"
    arguments = [sys.executable, SCRIPT, "--output", output, "--url", f"{site.url}/LA.zip", "--md5", md5(site)]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    site.script = [Behaviour(pause=0.1)]
    child = subprocess.Popen(arguments, env=environment, stdout=subprocess.DEVNULL)
    kept = kill_in_download(child, output / "LA.zip.part", 200_000)
    again = subprocess.run(arguments, env=environment, capture_output=True, text=True)
    assert site.seen[-1].range == f"bytes={kept}-"
    assert site.seen[-1].sent == published.stat().st_size - kept
    assert (output / "LA.zip").read_bytes() == published.read_bytes()
    # It is not the real data set, and the command says so in one line.
    assert again.returncode == 1
    archive = output / "LA.zip"
    assert again.stderr == (
        f"downloading {archive}\nunpacking into {output / 'LA'}\n"
        f"error: {output / 'LA.part'}: the train protocol lists 5 clips, not 25,380\n"
    )
    assert not (output / "LA").exists()


def test_unreachable_archive_says_what_to_do_instead(site: Site, tmp_path: Path) -> None:
    del site.files["/LA.zip"]
    archive = tmp_path / "data" / "LA.zip"
    with pytest.raises(AasistError, match=f"or get LA.zip from https://doi.org/10.7488/ds/2555 .* as {archive}"):
        get(site, tmp_path / "data")


def test_help_names_source_size_and_checksum() -> None:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "COLUMNS": "300"}
    out = subprocess.run(
        [sys.executable, SCRIPT, "--help"], env=environment, capture_output=True, text=True, check=True
    )
    for fact in ("10.7488/ds/2555", "7.1 GiB", "30c98f11d8b2bc21f2c257bfd78bb5c5", "--keep-archive"):
        assert fact in out.stdout
