"""aasist-jax join-clips: Join clips to recordings that test a verdict.

The clips of a corpus, such as build-corpus makes, become conversations of two voices, of which one may be synthetic,
and recordings of one human voice, also with 4 s of synthetic speech put in. turns.csv says who speaks when.
"""

import enum
from pathlib import Path
from typing import Annotated

import typer

from aasist_jax.runtime.messages import say


class Kind(enum.StrEnum):
    """The kinds of recordings, as `--kind` takes them."""

    human_human = "human-human"
    human_synthetic = "human-synthetic"
    one_voice = "one-voice"
    inserted = "inserted"


def join_clips(
    corpus: Annotated[Path, typer.Argument(help="Folder of the corpus.")],
    output: Annotated[Path, typer.Argument(help="Folder for the recordings; new or empty.")],
    split: Annotated[str, typer.Option(help="Split whose clips are used.")] = "eval",
    count: Annotated[int, typer.Option(min=1, help="Recordings to make.")] = 20,
    kind: Annotated[list[Kind] | None, typer.Option(help="One kind; repeat for more (default: all in turn).")] = None,
    channels: Annotated[int, typer.Option(min=1, max=2, help="Of conversations; 2 for a voice in each.")] = 1,
    minutes: Annotated[float, typer.Option(min=0.05, max=60, help="Length of each, at the least.")] = 1.0,
    degrade: Annotated[str | None, typer.Option(help="telephone, noise-10dB, opus-12k, mp3-64k or room.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Another seed gives other recordings.")] = 0,
) -> None:
    """Make the recordings and print the minutes of each kind of speech."""
    from aasist_jax.corpus.drawn_recordings import KINDS, Request, draw_recordings
    from aasist_jax.corpus.made_recordings import TURNS, write_recordings
    from aasist_jax.errors import DataError
    from aasist_jax.runtime.progress import with_progress

    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise DataError(f"{output} is not an empty folder: give another one")
    kinds = tuple(known for known in KINDS if not kind or known in [each.value for each in kind])
    drawn = draw_recordings(corpus, split, Request(kinds, count, channels, minutes * 60, degrade, seed))
    made = write_recordings(output, with_progress(drawn, description="recordings", total=count))
    say(f"{count} recordings and {TURNS} are in {output}")
    for label in ("bonafide", "spoof"):
        seconds = sum(turn.end - turn.start for turns in made.values() for turn in turns if turn.label == label)
        print(f"{label}: {seconds / 60:.1f} minutes")
