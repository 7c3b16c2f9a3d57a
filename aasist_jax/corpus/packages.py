"""Uses Debian packages without root: downloads them with apt, unpacks them with `dpkg-deb -x`, runs them there."""

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from aasist_jax.errors import DataError
from aasist_jax.runtime.files import write_text

Progress = Callable[[str, int, int], None]
"""Called as `progress(stage, done, total)`; `done` never decreases within a stage and ends at `total`."""

OTHER_WAYS = (
    "train on recordings of your own (`aasist-jax train --config NAME --set data_config.layout=csv "
    "--set database_path=clips.csv`, a table of path and label; `aasist-jax models` lists the names), "
    "or on ASVspoof 2019 LA (`aasist-jax download` fetches it)"
)

_TOOLS = ("apt-get", "dpkg-deb")


@dataclass(frozen=True)
class Archive:
    """One .deb as apt announces it: the package's name, the file's name and its size in bytes."""

    package: str
    file: str
    size: int


def require_apt() -> None:
    """Check that Debian packages can be downloaded and unpacked here.

    Raises:
        DataError: `apt-get` or `dpkg-deb` is not on the PATH; the message names the other ways to data.
    """
    for tool in _TOOLS:
        if shutil.which(tool) is None:
            raise DataError(f"{tool} is not on the PATH: the corpus needs a Debian or Ubuntu system; {OTHER_WAYS}")


def fetch(downloads: Path, *, named: Sequence[str], programs: Sequence[str], progress: Progress) -> Path:
    """Download and unpack packages; finished work of an earlier call is not repeated.

    Args:
        downloads: A folder, in which `archives/`, `unpacked/` and `apt/` are created.
        named: Packages to download, without their dependencies.
        programs: Packages among `named` whose missing shared libraries are downloaded as well.
        progress: Called for the stages "download" (bytes) and "unpack" (packages).

    Returns:
        The root of the unpacked tree (`usr/bin`, `usr/share`, ...).

    Raises:
        DataError: A package is unknown, or the network fails. A later call resumes.
    """
    root = downloads / "unpacked"
    stamps = downloads / "unpacked.stamps"
    complete = stamps / "complete"
    contents = "\n".join(sorted(named)) + "\n"
    if complete.is_file() and complete.read_text() == contents:
        return root
    archives = _download(downloads, named, programs, progress)
    root.mkdir(parents=True, exist_ok=True)
    stamps.mkdir(exist_ok=True)
    for done, archive in enumerate(archives):
        progress("unpack", done, len(archives))
        stamp = stamps / archive.file
        if not stamp.exists():
            _unpack(downloads / "archives" / archive.file, root)
            stamp.touch()
    progress("unpack", len(archives), len(archives))
    write_text(complete, contents)
    return root


def environment(root: Path) -> dict[str, str]:
    """The environment in which programs of an unpacked tree find their libraries and data."""
    folders = sorted({str(library.parent) for library in root.glob("**/lib/**/*.so*")})
    env = dict(os.environ)
    env["PATH"] = os.pathsep.join([str(root / "usr" / "bin"), env.get("PATH", os.defpath)])
    env["LD_LIBRARY_PATH"] = os.pathsep.join([*folders, *filter(None, [env.get("LD_LIBRARY_PATH")])])
    # A user's own start-up files (~/.festivalrc) must not change what is built.
    env["HOME"] = str(root)
    env["LC_ALL"] = "C.UTF-8"
    for phonemes in root.glob("usr/**/espeak-ng-data/phontab"):
        env["ESPEAK_DATA_PATH"] = str(phonemes.parent)
    return env


def run_program(arguments: Sequence[str], env: Mapping[str, str], *, stdin: str = "") -> str:
    """Run a program of the unpacked tree and return its output.

    Raises:
        DataError: The program is missing, fails or takes longer than a minute.
    """
    program = shutil.which(arguments[0], path=env.get("PATH"))
    if program is None:
        raise DataError(f"{arguments[0]}: no such program among the unpacked packages; remove the downloads folder")
    try:
        finished = subprocess.run(
            [program, *arguments[1:]], env=env, input=stdin, capture_output=True, text=True, timeout=60
        )
    except subprocess.TimeoutExpired:
        raise DataError(f"{arguments[0]} did not finish within a minute; start the build again") from None
    if finished.returncode != 0:
        raise DataError(f"{arguments[0]} failed ({finished.returncode}): {_last_line(finished.stderr)}")
    return finished.stdout


def _unpack(archive: Path, root: Path) -> None:
    finished = subprocess.run(["dpkg-deb", "-x", archive, root], capture_output=True, text=True)
    if finished.returncode != 0:
        archive.unlink(missing_ok=True)
        raise DataError(
            f"{archive.name} cannot be unpacked ({_last_line(finished.stderr)}); "
            "it has been removed: start the build again"
        )


def _download(downloads: Path, named: Sequence[str], programs: Sequence[str], progress: Progress) -> list[Archive]:
    folder, partial = downloads / "archives", downloads / "archives" / "partial"
    partial.mkdir(parents=True, exist_ok=True)
    progress("download", 0, 1)
    error = DataError("apt-get was not tried")
    # Try the system's package lists first. They may be empty or outdated, and only root can update them.
    for own_lists in (False, True):
        options = _apt_options(downloads, own_lists=own_lists)
        if own_lists:
            # Errors are ignored here: a failed source may not be needed, and if it is, the next command fails.
            subprocess.run(["apt-get", *options, "update", "-qq"], capture_output=True)
        try:
            archives = _announced(options, named, programs)
            _download_archives(options, archives, folder, partial, progress)
            return archives
        except DataError as failure:
            error = failure
    raise error


def _apt_options(downloads: Path, *, own_lists: bool) -> list[str]:
    cache, lists = downloads.resolve() / "apt" / "cache", downloads.resolve() / "apt" / "lists"
    (cache / "archives" / "partial").mkdir(parents=True, exist_ok=True)
    settings = {
        "Dir::Cache": str(cache),
        "Debug::NoLocking": "1",
        # As root, apt would otherwise switch to a user who cannot write into this folder.
        "APT::Sandbox::User": "",
        "Acquire::Retries": "3",
        "Acquire::http::Timeout": "60",
    }
    if own_lists:
        (lists / "partial").mkdir(parents=True, exist_ok=True)
        settings["Dir::State::Lists"] = str(lists)
    return [part for key, value in settings.items() for part in ("-o", f"{key}={value}")]


def _announced(options: Sequence[str], named: Sequence[str], programs: Sequence[str]) -> list[Archive]:
    """The archives to download: the named packages, and the shared libraries that the programs lack here."""
    wanted = parse_uris(_apt(options, "download", "--print-uris", "-qq", *named))
    needed = parse_uris(_apt(options, "install", "--print-uris", "-qq", "--no-install-recommends", *programs))
    known = {archive.package for archive in wanted}
    libraries = [one for one in needed if one.package.startswith("lib") and one.package not in known]
    return wanted + libraries


def parse_uris(lines: str) -> list[Archive]:
    """Read `apt-get --print-uris`: per line a quoted URI, the file's name, its size and a hash."""
    archives = []
    for line in lines.splitlines():
        if line.startswith("'"):
            _, file, size, *_ = line.split()
            archives.append(Archive(package=file.partition("_")[0], file=file, size=int(size)))
    return archives


def _download_archives(
    options: Sequence[str], archives: Sequence[Archive], folder: Path, partial: Path, progress: Progress
) -> None:
    total = sum(archive.size for archive in archives)
    missing = [archive for archive in archives if not _complete(folder, archive)]
    if missing:
        with subprocess.Popen(
            ["apt-get", *options, "download", "-qq", *(archive.package for archive in missing)],
            cwd=partial,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                while process.poll() is None:
                    progress("download", min(_bytes_there(archives, folder, partial), total), total)
                    time.sleep(0.2)
            except BaseException:
                process.terminate()
                raise
            assert process.stderr is not None
            complaint = process.stderr.read()
        for archive in missing:
            if _complete(partial, archive):
                os.replace(partial / archive.file, folder / archive.file)
        left = [archive.package for archive in missing if not _complete(folder, archive)]
        if left:
            raise DataError(
                f"{', '.join(left)}: not downloaded ({_last_line(complaint)}); "
                "check the network and start the build again: it goes on where it stopped"
            )
    progress("download", total, total)


def _complete(folder: Path, archive: Archive) -> bool:
    path = folder / archive.file
    return path.is_file() and path.stat().st_size == archive.size


def _bytes_there(archives: Iterable[Archive], *folders: Path) -> int:
    paths = (folder / archive.file for archive in archives for folder in folders)
    return sum(path.stat().st_size for path in paths if path.is_file())


def _apt(options: Sequence[str], *arguments: str) -> str:
    finished = subprocess.run(["apt-get", *options, *arguments], capture_output=True, text=True)
    if finished.returncode != 0:
        raise DataError(
            f"apt-get cannot find the corpus packages ({_last_line(finished.stderr)}); "
            f"check the network and /etc/apt/sources.list, or {OTHER_WAYS}"
        )
    return finished.stdout


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no reason given"
