"""aasist-jax download: Get ASVspoof 2019 LA from its public archive (7.1 GiB).

It takes as much again to unpack. The data set is published by the University of Edinburgh (DOI 10.7488/ds/2555) under
the ODC-By licence. The same command goes on where an earlier one was stopped. Only an archive that it has downloaded
itself in the same run is removed at the end.
"""

from pathlib import Path
from typing import Annotated

import typer

from aasist_jax.commands.options import RARE
from aasist_jax.runtime.messages import say

PAGE = "https://doi.org/10.7488/ds/2555"
URL = "https://datashare.ed.ac.uk/server/api/core/bitstreams/a9f87c35-f055-4015-80e2-2fdff0d46269/content"
MD5 = "30c98f11d8b2bc21f2c257bfd78bb5c5"
SIZE = 7_640_952_520


def download(
    output: Annotated[Path, typer.Option(help="Folder in which LA/ is made.")] = Path("data"),
    archive: Annotated[
        Path | None,
        typer.Option(
            help="Where LA.zip lies or is to lie; one that is there is checked and used (default: OUTPUT/LA.zip)."
        ),
    ] = None,
    keep_archive: Annotated[bool, typer.Option("--keep-archive", help="Do not remove LA.zip at the end.")] = False,
    url: Annotated[str, typer.Option(help="Address of LA.zip, for a mirror.", rich_help_panel=RARE)] = URL,
    md5: Annotated[
        str | None,
        typer.Option(help=f"MD5 of the archive (default: the published {MD5}).", rich_help_panel=RARE),
    ] = None,
    sha256: Annotated[
        str | None, typer.Option(help="SHA-256 of the archive, for a mirror.", rich_help_panel=RARE)
    ] = None,
) -> None:
    """Download, check, unpack, and check again; print what is there."""
    from aasist_jax.data import la_archive
    from aasist_jax.runtime.progress import byte_progress

    folder, archive = output / "LA", archive or output / "LA.zip"
    if folder.exists():
        print(_contents(folder))
        return
    found = archive.exists()
    say(f"{'checking' if found else 'downloading'} {archive}")
    _get_archive(url, archive, md5, sha256)
    say(f"unpacking into {folder}")
    with byte_progress(archive.name) as progress:
        la_archive.unpack(archive, folder, trials=la_archive.TRIALS, progress=progress)
    contents = _contents(folder)
    if found or keep_archive:
        say(f"{archive} is no longer needed, and kept")
    else:
        archive.unlink()
    print(contents)


def _get_archive(url: str, archive: Path, md5: str | None, sha256: str | None) -> None:
    from aasist_jax.errors import DownloadError, UnreachableError
    from aasist_jax.runtime.download import download
    from aasist_jax.runtime.progress import byte_progress

    published = md5 is None and sha256 is None
    try:
        with byte_progress(archive.name) as progress:
            download(
                url,
                archive,
                sha256=sha256,
                md5=MD5 if published else md5,
                size=SIZE if published else None,
                progress=progress,
            )
    except UnreachableError as error:
        raise DownloadError(f"{error}; or get LA.zip from {PAGE} by other means as {archive}") from error


def _contents(folder: Path) -> str:
    """What is there, once every clip is known to be there."""
    from aasist_jax.data import la_archive

    counts = la_archive.check(folder, la_archive.TRIALS)
    splits = ", ".join(f"{name} {total:,} ({bonafide:,} bona fide)" for name, (total, bonafide) in counts.items())
    return f"{folder} is complete: {splits}"
