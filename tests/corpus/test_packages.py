import os
import shutil
import subprocess
from pathlib import Path

import pytest

from aasist_jax.corpus import packages
from aasist_jax.errors import DataError

needs_dpkg = pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="no dpkg-deb on this system")


def make_deb(folder: Path, name: str, files: dict[str, str]) -> Path:
    """A package with these files, made by dpkg-deb."""
    tree = folder / name
    (tree / "DEBIAN").mkdir(parents=True)
    fields = {"Package": name, "Version": "1.0", "Architecture": "all", "Maintainer": "a <a@b.c>", "Description": "d"}
    (tree / "DEBIAN" / "control").write_text("".join(f"{key}: {value}\n" for key, value in fields.items()))
    for path, text in files.items():
        file = tree / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(0o755)
    archive = folder / f"{name}_1.0_all.deb"
    subprocess.run(["dpkg-deb", "--build", "--root-owner-group", tree, archive], check=True, capture_output=True)
    return archive


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A real local package source, and apt told (by APT_CONFIG) to know no other."""
    for tool in ("apt-get", "dpkg-deb", "dpkg-scanpackages"):
        if shutil.which(tool) is None:
            pytest.skip(f"no {tool} on this system")
    source = tmp_path / "source"
    source.mkdir()
    make_deb(source, "voices", {"usr/share/voices/one.txt": "hello", "usr/share/doc/voices/copyright": "free"})
    make_deb(source, "speaker", {"usr/bin/say-it": "#!/bin/sh\necho said: $1 $(cat)\n"})
    for leftover in ("voices", "speaker"):
        shutil.rmtree(source / leftover)
    index = subprocess.run(["dpkg-scanpackages", "."], cwd=source, check=True, capture_output=True, text=True).stdout
    (source / "Packages").write_text(index)
    (tmp_path / "sources.list").write_text(f"deb [trusted=yes] file:{source} ./\n")
    (tmp_path / "empty").mkdir()
    (tmp_path / "system-lists" / "partial").mkdir(parents=True)
    config = tmp_path / "apt.conf"
    config.write_text(
        f'Dir::Etc::SourceList "{tmp_path}/sources.list";\n'
        f'Dir::Etc::SourceParts "{tmp_path}/empty";\n'
        f'Dir::State::Lists "{tmp_path}/system-lists";\n'
    )
    monkeypatch.setenv("APT_CONFIG", str(config))
    return source


def fetch(downloads: Path, *named: str) -> tuple[Path, list[tuple[str, int, int]]]:
    calls: list[tuple[str, int, int]] = []
    root = packages.fetch(downloads, named=named, programs=named, progress=lambda *call: calls.append(call))
    return root, calls


def test_fetch_downloads_and_unpacks_though_the_systems_package_lists_are_empty(
    repository: Path, tmp_path: Path
) -> None:
    root, calls = fetch(tmp_path / "downloads", "voices", "speaker")
    assert (root / "usr/share/voices/one.txt").read_text() == "hello"
    sizes = sum(path.stat().st_size for path in repository.glob("*.deb"))
    assert ("download", sizes, sizes) in calls
    assert calls[-1] == ("unpack", 2, 2)
    assert packages.run_program(["say-it", "a"], packages.environment(root), stdin="b") == "said: a b\n"


def test_a_second_fetch_does_nothing(repository: Path, tmp_path: Path) -> None:
    root, _ = fetch(tmp_path / "downloads", "voices")
    shutil.rmtree(repository)
    assert fetch(tmp_path / "downloads", "voices") == (root, [])


def test_an_interrupted_fetch_goes_on(repository: Path, tmp_path: Path) -> None:
    downloads = tmp_path / "downloads"
    root, _ = fetch(downloads, "voices")
    (downloads / "archives" / "partial" / "speaker_1.0_all.deb").write_bytes(b"!<arch>\n")
    kept = downloads / "archives" / "voices_1.0_all.deb"
    before = kept.stat().st_mtime_ns
    (root / "usr/share/voices/one.txt").write_text("not unpacked again")
    fetch(downloads, "voices", "speaker")
    assert kept.stat().st_mtime_ns == before
    assert (root / "usr/share/voices/one.txt").read_text() == "not unpacked again"
    assert (root / "usr/bin/say-it").exists()


def test_an_unknown_package_is_one_line_with_a_way_out(repository: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"Unable to locate package nowhere.*layout=csv") as caught:
        fetch(tmp_path / "downloads", "nowhere")
    assert "\n" not in str(caught.value)


def test_a_package_that_has_gone_from_the_source_is_named(repository: Path, tmp_path: Path) -> None:
    (repository / "voices_1.0_all.deb").unlink()
    with pytest.raises(DataError, match="voices: not downloaded"):
        fetch(tmp_path / "downloads", "voices")


@needs_dpkg
def test_a_damaged_archive_is_removed_and_said_so(tmp_path: Path) -> None:
    archive = make_deb(tmp_path, "broken", {"usr/share/a": "b" * 5000})
    archive.write_bytes(archive.read_bytes()[:400])
    with pytest.raises(DataError, match=r"broken_1\.0_all\.deb cannot be unpacked.*start the build again"):
        packages._unpack(archive, tmp_path / "root")
    assert not archive.exists()


def test_without_apt_the_other_ways_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DataError, match=r"apt-get is not on the PATH.*layout=csv.*aasist-jax download"):
        packages.require_apt()


def test_announcements_are_read_whatever_else_apt_prints() -> None:
    text = (
        "W: a warning\n"
        "'http://a.b/pool/k/k_4%3a22.12_all.deb' k_4%3a22.12_all.deb 39529084 SHA256:00\n"
        "'file:/x/lib_1_amd64.deb' lib_1_amd64.deb 7 MD5Sum:00\n"
    )
    assert packages.parse_uris(text) == [
        packages.Archive("k", "k_4%3a22.12_all.deb", 39529084),
        packages.Archive("lib", "lib_1_amd64.deb", 7),
    ]


def test_a_program_finds_unpacked_libraries_and_data(tmp_path: Path) -> None:
    for path in ("usr/lib/x86/libone.so.1", "usr/lib/x86/espeak-ng-data/phontab", "usr/bin/x"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    env = packages.environment(tmp_path)
    assert env["LD_LIBRARY_PATH"].split(os.pathsep)[0] == str(tmp_path / "usr/lib/x86")
    assert env["ESPEAK_DATA_PATH"] == str(tmp_path / "usr/lib/x86/espeak-ng-data")
    assert env["PATH"].split(os.pathsep)[0] == str(tmp_path / "usr/bin")
    assert env["HOME"] == str(tmp_path)


def test_a_program_that_fails_is_quoted() -> None:
    with pytest.raises(DataError, match=r"sh failed \(3\): no voice"):
        packages.run_program(["sh", "-c", "echo no voice >&2; exit 3"], os.environ)
    with pytest.raises(DataError, match="no-such-program: no such program"):
        packages.run_program(["no-such-program"], os.environ)
