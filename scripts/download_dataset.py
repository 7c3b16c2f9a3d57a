"""Get ASVspoof 2019 LA from its public archive: download, check, unpack, check again."""

from pathlib import Path
from typing import Annotated

import typer

from aasist_jax.commands.cli import run
from aasist_jax.data import la_archive
from aasist_jax.errors import DownloadError, UnreachableError
from aasist_jax.runtime.download import download, progress_bar

PAGE = "https://doi.org/10.7488/ds/2555"
URL = "https://datashare.ed.ac.uk/server/api/core/bitstreams/a9f87c35-f055-4015-80e2-2fdff0d46269/content"
MD5 = "30c98f11d8b2bc21f2c257bfd78bb5c5"
SIZE = 7_640_952_520


def main(
    output: Annotated[Path, typer.Option(help="Folder in which LA/ is made.")] = Path("data"),
    url: Annotated[str, typer.Option(help="Address of LA.zip, for a mirror.")] = URL,
    archive: Annotated[
        Path | None,
        typer.Option(
            help="Where LA.zip lies or is to lie; one that is there is checked and used (default: OUTPUT/LA.zip)."
        ),
    ] = None,
    keep_archive: Annotated[bool, typer.Option("--keep-archive", help="Do not remove LA.zip at the end.")] = False,
    md5: Annotated[str | None, typer.Option(help=f"MD5 of the archive (default: the published {MD5}).")] = None,
    sha256: Annotated[str | None, typer.Option(help="SHA-256 of the archive, for a mirror.")] = None,
) -> None:
    """Get ASVspoof 2019 LA (7.1 GiB, and as much again to unpack) into OUTPUT/LA.

    The data set is published by the University of Edinburgh (DOI 10.7488/ds/2555) under the ODC-By licence. Run the
    same command again after any interruption: download and unpacking go on where they stopped. Only an archive that
    this command has downloaded itself in the same run is removed at the end.
    """
    get(output, url, archive or output / "LA.zip", keep_archive, md5, sha256)


def get(output: Path, url: str, archive: Path, keep_archive: bool, md5: str | None, sha256: str | None) -> None:
    """Do what `main` says."""
    folder = output / "LA"
    if folder.exists():
        _report(folder)
        return
    published = md5 is None and sha256 is None
    found = archive.exists()
    typer.echo(f"{'checking' if found else 'downloading'} {archive}")
    try:
        with progress_bar(archive.name) as progress:
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
    typer.echo(f"unpacking into {folder}")
    with progress_bar(archive.name) as progress:
        la_archive.unpack(archive, folder, trials=la_archive.TRIALS, progress=progress)
    _report(folder)
    if found or keep_archive:
        typer.echo(f"{archive} is no longer needed, and kept")
    else:
        archive.unlink()


def _report(folder: Path) -> None:
    counts = la_archive.check(folder, la_archive.TRIALS)
    splits = ", ".join(f"{name} {total:,} ({bonafide:,} bona fide)" for name, (total, bonafide) in counts.items())
    typer.echo(f"{folder} is complete: {splits}")


if __name__ == "__main__":
    run(main)
