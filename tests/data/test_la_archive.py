"""Unpacking the LA archive: whole, interrupted, damaged and hostile."""

import os
import shutil
import stat
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aasist_jax.data import la_archive
from aasist_jax.data.la_archive import check, unpack
from aasist_jax.errors import DataError
from tests.la_zip import TRIALS, la_files, unlisted, write_zip

REPOSITORY = Path(__file__).resolve().parent.parent.parent
FLAC = "LA/ASVspoof2019_LA_eval/flac/LA_E_1000003.flac"
PROTOCOL = "LA/ASVspoof2019_LA_cm_protocols/ASVspoof2019.LA.cm.dev.trl.txt"


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return write_zip(tmp_path / "LA.zip", la_files())


def tree(folder: Path) -> dict[str, bytes]:
    return {
        f"LA/{path.relative_to(folder).as_posix()}": path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def wanted() -> dict[str, bytes]:
    return {name: content for name, content in la_files().items() if not unlisted(name)}


def test_unpacks_what_is_needed(archive: Path, tmp_path: Path) -> None:
    steps: list[tuple[str, int, int | None]] = []
    unpack(archive, tmp_path / "LA", trials=TRIALS, progress=lambda *step: steps.append(step))
    assert tree(tmp_path / "LA") == wanted()
    assert sorted(os.listdir(tmp_path)) == ["LA", "LA.zip"]
    assert steps[-1][0] == "unpack"
    assert steps[-1][1] == steps[-1][2]
    assert check(tmp_path / "LA", TRIALS) == {"train": (5, 2), "dev": (4, 2), "eval": (6, 2)}


def test_existing_folder_is_left_alone(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "LA").mkdir()
    with pytest.raises(DataError, match="is there already"):
        unpack(archive, tmp_path / "LA", trials=TRIALS)
    assert not (tmp_path / "LA.part").exists()


def test_published_counts_are_the_default(archive: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="train protocol lists 5 clips, not 25,380"):
        unpack(archive, tmp_path / "LA")
    assert la_archive.TRIALS == {"train": 25_380, "dev": 24_844, "eval": 71_237}
    assert not (tmp_path / "LA").exists()


@pytest.mark.reference
def test_published_counts_are_those_of_the_protocols(reference: Path) -> None:
    for split, name in la_archive.ASVSPOOF2019_LISTS.items():
        lines = (reference / "asvspoof2019_la" / f"ASVspoof2019.LA.cm.{name}.txt").read_text().splitlines()
        assert len(lines) == la_archive.TRIALS[split]


def test_interrupted_run_goes_on(archive: Path, tmp_path: Path) -> None:
    class Interrupted(Exception):
        pass

    def stop(stage: str, done: int, total: int | None) -> None:
        if done > 20_000:
            raise Interrupted

    with pytest.raises(Interrupted):
        unpack(archive, tmp_path / "LA", trials=TRIALS, progress=stop)
    assert not (tmp_path / "LA").exists()
    part = tmp_path / "LA.part"
    before = {path: path.stat().st_ino for path in part.rglob("*.flac")}
    assert 5 < len(before) < sum(TRIALS.values())
    spoiled = min(before)
    spoiled.write_bytes(spoiled.read_bytes()[::-1])
    unpack(archive, tmp_path / "LA", trials=TRIALS)
    assert tree(tmp_path / "LA") == wanted()
    after = {part / path.relative_to(tmp_path / "LA"): path.stat().st_ino for path in (tmp_path / "LA").rglob("*.flac")}
    assert {path for path, inode in before.items() if after[path] != inode} == {spoiled}


def test_killed_run_goes_on(tmp_path: Path) -> None:
    trials = {"train": 300, "dev": 300, "eval": 300}
    archive = write_zip(tmp_path / "LA.zip", la_files(trials, 20_000), zipfile.ZIP_STORED)
    command = (
        "import os, signal, sys; from aasist_jax.data.la_archive import unpack\n"
        "def kill(stage, done, total):\n"
        "    if done > total / 2: os.kill(os.getpid(), signal.SIGKILL)\n"
        "unpack(sys.argv[1], sys.argv[2], trials=dict.fromkeys(('train', 'dev', 'eval'), 300), progress=kill)"
    )
    arguments = [sys.executable, "-c", command, str(archive), str(tmp_path / "LA")]
    assert subprocess.run(arguments, cwd=REPOSITORY).returncode == -9
    assert not (tmp_path / "LA").exists()
    done: list[int] = []
    unpack(archive, tmp_path / "LA", trials=trials, progress=lambda stage, now, total: done.append(now))
    assert len(list((tmp_path / "LA").rglob("*.flac"))) == 900
    assert len(done) < 500


def refused(archive: Path, tmp_path: Path, match: str) -> None:
    """Refused in one line, with nothing written outside the `.part` folder."""
    outside = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(DataError, match=match) as caught:
        unpack(archive, tmp_path / "work" / "LA", trials=TRIALS)
    assert "\n" not in str(caught.value)
    part = tmp_path / "work" / "LA.part"
    left = [path for path in tmp_path.rglob("*") if path.is_file() and not path.is_relative_to(part)]
    assert {path: path.read_bytes() for path in left} == outside
    assert not (tmp_path / "work" / "LA").exists()


@pytest.mark.parametrize(
    "name",
    [
        "../escaped.txt",
        "LA/../../escaped.txt",
        "LA/ASVspoof2019_LA_eval/flac/../../../../escaped.flac",
        "/tmp/escaped.txt",
        "LA//../escaped.txt",
        "..\\escaped.txt",
        "C:/escaped.txt",
        "LA/x\x1b[2J.txt",
    ],
)
def test_names_that_lead_elsewhere(tmp_path: Path, name: str) -> None:
    archive = write_zip(tmp_path / "LA.zip", la_files() | {name: b"escaped"})
    refused(archive, tmp_path, "could lead out of the folder: nothing of the archive is unpacked")
    assert not (tmp_path / "work").exists()


def test_name_cut_by_a_zero_byte(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "LA.zip", la_files() | {"LA/README_evil.txt": b"x"})
    archive.write_bytes(archive.read_bytes().replace(b"LA/README_evil.txt", b"LA/README\0evil.txt"))
    refused(archive, tmp_path, r"could lead out of the folder|damaged")


def test_hostile_utterance_name(tmp_path: Path) -> None:
    files = la_files()
    files[PROTOCOL] = files[PROTOCOL].replace(b"LA_D_1000000", b"../../../escaped")
    with pytest.raises(DataError, match="not a plain file name"):
        unpack(write_zip(tmp_path / "LA.zip", files), tmp_path / "LA", trials=TRIALS)


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
@pytest.mark.parametrize("name", [FLAC, "LA/ASVspoof2019_LA_eval/flac", "elsewhere"])
def test_links_and_devices(tmp_path: Path, kind: int, name: str) -> None:
    files = la_files()
    archive = tmp_path / "LA.zip"
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, (kind | 0o777) << 16
    with zipfile.ZipFile(archive, "w") as target:
        target.writestr(info, "/etc/passwd")
        for member in files.keys() - {name}:
            target.writestr(member, files[member])
    refused(archive, tmp_path, "is a link or a device")


def test_bomb(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "LA.zip", la_files() | {FLAC: bytes(10**6)})
    refused(archive, tmp_path, "would grow more than 100-fold")


def test_too_large_a_member(archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(la_archive, "_LARGEST_MEMBER", 1999)
    refused(archive, tmp_path, "over the limit of 1,999 bytes")


def test_too_much_in_all(archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(la_archive, "_MOST_BYTES", 20_000)
    refused(archive, tmp_path, "over the limit of 20,000")


def test_too_many_members(archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(la_archive, "_MOST_MEMBERS", 10)
    refused(archive, tmp_path, "has 23 members, over the limit of 10")


def test_a_lie_about_the_length_writes_no_more_than_announced(tmp_path: Path) -> None:
    """A member whose directory entry says 2,000 bytes and whose data would give 60,000."""
    files = la_files() | {FLAC: np.random.default_rng(3).bytes(3000) * 20}
    archive = write_zip(tmp_path / "LA.zip", files)
    data = archive.read_bytes()
    assert data.count((60_000).to_bytes(4, "little")) == 2
    archive.write_bytes(data.replace((60_000).to_bytes(4, "little"), (2000).to_bytes(4, "little")))
    refused(archive, tmp_path, "damaged.*CRC")
    assert all(path.stat().st_size <= 2000 for path in (tmp_path / "work").rglob("*.flac*"))


@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
def test_member_that_stands_twice(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "LA.zip", la_files())
    with zipfile.ZipFile(archive, "a") as target:
        target.writestr(FLAC, b"another")
    refused(archive, tmp_path, "stands twice")


def test_encrypted_member(archive: Path, tmp_path: Path) -> None:
    data = bytearray(archive.read_bytes())
    entry = data.find(b"PK\x01\x02")
    data[entry + 8] |= 1
    archive.write_bytes(bytes(data))
    refused(archive, tmp_path, "is encrypted")


def test_unusual_packing(tmp_path: Path) -> None:
    refused(write_zip(tmp_path / "LA.zip", la_files(), zipfile.ZIP_BZIP2), tmp_path, "other than deflate")


@pytest.mark.parametrize("name", [FLAC, PROTOCOL])
def test_missing_member(tmp_path: Path, name: str) -> None:
    files = la_files()
    del files[name]
    refused(write_zip(tmp_path / "LA.zip", files), tmp_path, f"has no member {name}; is it the ASVspoof 2019 LA")


@pytest.mark.parametrize("cut", [0, 10, 1000, -30])
def test_truncated_archive(archive: Path, tmp_path: Path, cut: int) -> None:
    archive.write_bytes(archive.read_bytes()[:cut])
    refused(archive, tmp_path, "is damaged .*; remove it and download it again")


def test_no_archive(tmp_path: Path) -> None:
    refused(tmp_path / "none.zip", tmp_path, "cannot unpack .*No such file")


def test_altered_content(archive: Path, tmp_path: Path) -> None:
    data = bytearray(archive.read_bytes())
    data[data.find(FLAC.encode()) + len(FLAC) + 500] ^= 0xFF
    archive.write_bytes(bytes(data))
    refused(archive, tmp_path, "damaged")


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=8))
def test_spoiled_bytes_end_in_one_line_or_in_the_right_files(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[float, int]]
) -> None:
    folder = tmp_path_factory.mktemp("spoiled")
    archive = write_zip(folder / "LA.zip", la_files(size=100))
    data = bytearray(archive.read_bytes())
    for where, value in changes:
        data[int(where * len(data))] = value
    archive.write_bytes(bytes(data))
    try:
        unpack(archive, folder / "LA", trials=TRIALS)
    except DataError:
        assert set(os.listdir(folder)) <= {"LA.zip", "LA.part"}
    else:
        content = {name: data for name, data in la_files(size=100).items() if not unlisted(name)}
        assert content.items() >= tree(folder / "LA").items()
    shutil.rmtree(folder)


def test_full_disk(archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type(shutil.disk_usage(tmp_path))
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(10**12, 10**12, 20_000))
    refused(archive, tmp_path, "not enough room for .*LA.part")


@pytest.mark.parametrize("harm", ["missing", "empty", "no folder"])
def test_check_names_what_is_missing(archive: Path, tmp_path: Path, harm: str) -> None:
    unpack(archive, tmp_path / "LA", trials=TRIALS)
    clip = tmp_path / FLAC
    spoil: dict[str, Callable[[], object]] = {
        "missing": clip.unlink,
        "empty": lambda: clip.write_bytes(b""),
        "no folder": lambda: shutil.rmtree(clip.parent),
    }
    spoil[harm]()
    lacking, first = (6, "LA_E_1000000") if harm == "no folder" else (1, "LA_E_1000003")
    with pytest.raises(DataError, match=f"lacks {lacking} of 15 clips, the first .*{first}.flac"):
        check(tmp_path / "LA", TRIALS)
