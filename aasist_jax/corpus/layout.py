"""The files of the corpus: the ASVspoof 2019 LA layout, and a table that describes each clip."""

import csv
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path

import soundfile

from aasist_jax.corpus.plan import SPLITS, Clip
from aasist_jax.data.layouts.asvspoof2019 import clip_path, protocol_path
from aasist_jax.runtime import files
from aasist_jax.runtime.files import replacing

_COLUMNS = (
    "utterance",
    "split",
    "label",
    "attack",
    "attack_seen_in_training",
    "speaker",
    "language",
    "source",
    "channel",
    "seconds",
)


def protocol_lines(clips: Iterable[Clip]) -> list[str]:
    """Lines of a countermeasure protocol, sorted by utterance: speaker, utterance, "-", attack, key."""
    ordered = sorted(clips, key=lambda clip: clip.utterance)
    return [f"{clip.speaker} {clip.utterance} - {clip.attack} {clip.label}" for clip in ordered]


def read_metadata(output: Path) -> list[dict[str, str]]:
    """The rows of `metadata.csv`."""
    with (output / "metadata.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write_protocols(output: Path, clips: Iterable[Clip]) -> None:
    """Write the protocol of every split."""
    every = list(clips)
    for split in SPLITS:
        lines = protocol_lines(clip for clip in every if clip.split == split)
        write_text(protocol_path(output, split), "\n".join(lines) + "\n")


def write_metadata(
    output: Path,
    clips: Iterable[Clip],
    seen: Collection[str],
    more: Sequence[str] = (),
    describe: Callable[[Clip], Mapping[str, str]] = lambda clip: {},
) -> None:
    """Write `metadata.csv`; `seen` names the attacks of the train split. The clips must exist.

    `more` are further columns, which `describe` fills in for a clip.
    """
    with replacing(output / "metadata.csv") as scratch, scratch.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, (*_COLUMNS, *more))
        writer.writeheader()
        for clip in sorted(clips, key=lambda clip: clip.utterance):
            row: dict[str, object] = {name: getattr(clip, name) for name in _COLUMNS if hasattr(clip, name)}
            row["attack_seen_in_training"] = int(clip.attack in seen)
            row["seconds"] = f"{soundfile.info(clip_path(output, clip.split, clip.utterance)).duration:.4f}"
            writer.writerow({**row, **describe(clip)})


def write_text(path: Path, text: str) -> None:
    """Write a file atomically, and create its folder if needed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_text(path, text)
