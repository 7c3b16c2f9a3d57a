"""A folder of made recordings: a FLAC file each, and `turns.csv`, a table of what is said when and by whom."""

import csv
from collections.abc import Iterable
from dataclasses import asdict, fields
from pathlib import Path

import soundfile

from aasist_jax.audio.limits import SAMPLE_RATE
from aasist_jax.corpus.conversations import MadeRecording, Turn
from aasist_jax.errors import DataError
from aasist_jax.runtime.files import replacing

TURNS = "turns.csv"
_COLUMNS = ("recording", *(field.name for field in fields(Turn)))


def write_recordings(folder: Path, recordings: Iterable[tuple[str, MadeRecording]]) -> dict[str, tuple[Turn, ...]]:
    """Write `NAME.flac` of each (16 bit) as it comes, and at last `turns.csv`; the turns of each by name.

    Args:
        folder: made if needed; a `turns.csv` that it has is replaced.
        recordings: names without an ending, and what they name.

    Raises:
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = {}
    for name, recording in recordings:
        with replacing(folder / f"{name}.flac") as scratch:
            soundfile.write(scratch, recording.wave, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
        written[name] = recording.turns
    with replacing(folder / TURNS) as scratch, scratch.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, _COLUMNS)
        writer.writeheader()
        for name, turns in written.items():
            for turn in turns:
                times = {"start": f"{turn.start:.6f}", "end": f"{turn.end:.6f}"}
                writer.writerow({"recording": name} | asdict(turn) | times)
    return written


def read_turns(folder: Path) -> dict[str, tuple[Turn, ...]]:
    """The turns of each recording of a folder, by the name of its file without the ending.

    Raises:
        DataError: there is no `turns.csv`, or it is not one.
    """
    path = folder / TURNS
    if not path.is_file():
        raise DataError(f"{folder}: there is no {TURNS}; give a folder that aasist-jax join-clips has made")
    found: dict[str, list[Turn]] = {}
    with path.open(newline="", encoding="utf-8") as file:
        for number, row in enumerate(csv.DictReader(file), start=2):
            try:
                turn = Turn(
                    start=float(row["start"]),
                    end=float(row["end"]),
                    channel=int(row["channel"]),
                    speaker=row["speaker"],
                    label=row["label"],
                    attack=row["attack"],
                )
                found.setdefault(row["recording"], []).append(turn)
            except (KeyError, TypeError, ValueError):
                raise DataError(f"{path}:{number}: expected {', '.join(_COLUMNS)}; make the folder again") from None
    return {name: tuple(turns) for name, turns in found.items()}
