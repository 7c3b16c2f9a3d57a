"""aasist-jax quality: Predict how good recordings sound, from 1 to 5.

Mean opinion scores by Distill-MOS. They say nothing of who speaks: synthetic speech can sound excellent. They are not
calibrated for telephone speech, music or noise. Compare recordings of one kind.

Exit codes: 0 all done; 1 failure, or none done; 2 usage; 3 some not done.
"""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from aasist_jax.commands import exit_codes
from aasist_jax.commands.options import AudioFiles, Channel, Format, Recursive, RowFormat, check_output
from aasist_jax.detection.inputs import Recording, find_recordings, left_out, open_recording, printable
from aasist_jax.errors import AudioError
from aasist_jax.runtime.messages import print_error, print_warning, say

SUFFIXES = (".csv", ".jsonl", ".json")


def quality(
    files: AudioFiles,
    weights: Annotated[
        str, typer.Option(help="The wheel of distillmos, its .pt file, or distill_mos where it is installed.")
    ] = "distill_mos",
    format: RowFormat = None,
    recursive: Recursive = False,
    output: Annotated[Path | None, typer.Option(help="Write to this file, .csv, .jsonl or .json.")] = None,
    channel: Channel = None,
) -> None:
    """Predict the quality of recordings, and print or write a row for each."""
    if output is not None:
        check_output(output, SUFFIXES)
        if format not in (None, Format(output.suffix[1:].lower())):
            raise typer.BadParameter(f"--output {output}: ends in another format than --format {format}")
        format = Format(output.suffix[1:].lower())
    recordings = find_recordings(files, recursive=recursive)
    if not recursive and (told := left_out(files, recordings)):
        print_warning(told)

    # What loads JAX comes after what can fail at once.
    from aasist_jax.runtime.start_up import prepare_to_compute

    prepare_to_compute()
    from aasist_jax.encoders.quality import QualityPredictor

    predictor = QualityPredictor.from_pretrained(weights)
    rows: list[dict[str, Any]] = []
    try:
        rows.extend(_predicted(predictor, recordings, channel))
    finally:
        # After an interruption too: what was done by then is given.
        _give(rows, format or Format.table, output)
    failed = sum(row["status"] == "error" for row in rows)
    if output is not None:
        say(f"{output}: {len(rows):,} recordings" + (f", {failed:,} failed" if failed else ""))
    if failed:
        raise typer.Exit(exit_codes.FAILURE if failed == len(rows) else exit_codes.SOME_FAILED)


def _predicted(predictor: Any, recordings: Sequence[Recording], channel: int | None) -> Iterator[dict[str, Any]]:
    """A row for each recording; of one that cannot be read, what is wrong is told on standard error as well."""
    from aasist_jax.audio.load import iter_audio
    from aasist_jax.runtime.progress import Progress

    with Progress() as progress:
        for recording in recordings:
            title = printable(recording.name)
            row = dict.fromkeys(COLUMNS) | {"file": recording.name, "channel": channel, "status": "ok"}
            try:
                source = open_recording(recording)
                found = predictor.predict(
                    lambda source=source: iter_audio(source, channel=channel),
                    lambda done, total, title=title: progress.update(title, done, total),
                )
                row |= {"mos": found.mos, "lowest": min(found.segments), "segments": len(found.segments)}
                row |= {"seconds": found.seconds}
            except AudioError as error:
                print_error(str(error))
                row |= {"status": "error", "error": str(error)}
            yield row


COLUMNS = ("file", "channel", "mos", "lowest", "segments", "seconds", "status", "error")
"""Of a row: `mos` is the mean over segments of 7.68 s, at most a second apart, and `lowest` that of the worst one."""


def _give(rows: Sequence[dict[str, Any]], format: Format, output: Path | None) -> None:
    if format is Format.table:
        _print_table(rows)
    elif output is None:
        sys.stdout.write(as_text(rows, format))
    else:
        from aasist_jax.runtime.files import write_text

        write_text(output, as_text(rows, format))


def as_text(rows: Sequence[dict[str, Any]], format: Format) -> str:
    """Rows as JSON, JSON lines or CSV."""
    import csv
    import io
    import json

    if format is Format.json:
        return json.dumps(rows, indent=2) + "\n"
    if format is Format.jsonl:
        return "".join(json.dumps(row) + "\n" for row in rows)
    text = io.StringIO()
    table = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    return text.getvalue()


def _print_table(rows: Sequence[dict[str, Any]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE)
    table.add_column("file", overflow="fold")
    for name in ("quality, 1 to 5", "worst 7.7 s", "seconds"):
        table.add_column(name, justify="right")
    for row in rows:
        told = ["error", "", ""]
        if row["status"] == "ok":
            told = [f"{row['mos']:.2f}", f"{row['lowest']:.2f}", f"{row['seconds']:.2f}"]
        table.add_row(Text(printable(row["file"])), *told)
    console = Console()
    console.print(table)
    console.print(
        "1 bad, 2 poor, 3 fair, 4 good, 5 excellent: of the sound, and not of who or what speaks.", highlight=False
    )
