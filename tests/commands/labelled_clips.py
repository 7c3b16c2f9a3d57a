"""Clips whose truth is known, for tests of `calibrate` and `verdicts`: loud ones are human, faint ones synthetic."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import soundfile

from tests.made_speech import made_speech

VOICES, SYSTEMS, EACH = ("ann", "bob", "cid", "dan"), ("robot", "parrot"), 6


def write_clips(folder: Path) -> Path:
    """Write 24 human clips of four voices and 24 synthetic ones of two systems, and `clips.csv`, which lists them.

    They overlap: one voice is faint at times, one system loud.
    """
    rng = np.random.default_rng(0)
    speech = made_speech(8.0)
    rows = []
    for number in range(len(VOICES) * EACH):
        voice = VOICES[number % len(VOICES)]
        for label, gain, system in (
            ("human", rng.uniform(0.3 if voice == "dan" else 0.6, 1.0), ""),
            ("synthetic", rng.uniform(0.02, 0.3), SYSTEMS[number % 2]),
        ):
            path = f"{label}{number:02}.wav"
            start = rng.integers(60_000)
            soundfile.write(folder / path, gain * speech[start : start + 24_000], 16_000)
            rows.append({"path": path, "label": label, "speaker": voice, "attack": system, "split": "dev"})
    return write_table(folder / "clips.csv", rows)


def write_corpus(folder: Path) -> Path:
    """Write such clips as dev and eval of a corpus in the layout of ASVspoof 2019 LA, and its two examples."""
    (folder / "ASVspoof2019_LA_cm_protocols").mkdir(parents=True)
    (folder / "examples").mkdir()
    for split in ("dev", "eval"):
        clips = folder / f"ASVspoof2019_LA_{split}" / "flac"
        clips.mkdir(parents=True)
        lines = []
        for row in read_table(write_clips(clips)):
            wave, rate = soundfile.read(clips / row["path"])
            name = f"{split}_{Path(row['path']).stem}"
            soundfile.write(clips / f"{name}.flac", wave, rate)
            key = "bonafide" if row["label"] == "human" else "spoof"
            lines.append(f"{split}_{row['speaker']} {name} - {row['attack'] or '-'} {key}\n")
            if row["path"].endswith("00.wav"):
                soundfile.write(folder / "examples" / f"{row['label']}.flac", wave, rate)
        listing = folder / "ASVspoof2019_LA_cm_protocols" / f"ASVspoof2019.LA.cm.{split}.trl.txt"
        listing.write_text("".join(lines))
    return folder


def write_table(path: Path, rows: Sequence[Mapping[str, str]]) -> Path:
    """Write a table of clips."""
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, rows[0])
        table.writeheader()
        table.writerows(rows)
    return path


def read_table(path: Path) -> list[dict[str, str]]:
    """The rows of a table of clips."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
