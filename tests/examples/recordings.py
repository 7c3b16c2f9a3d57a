"""What the notebooks are run on here: recordings and a table of clips, made of the corpus that the tests have.

python -m tests.examples.recordings FOLDER
"""

import csv
import sys
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import soundfile

from aasist_jax.data.layouts import find_layout
from aasist_jax.data.utterances import Utterance
from tests.conftest import CORPUS, EVAL_CLIPS

RATE, WINDOW = 16_000, 64_600
HUMAN = ("MC_E_1000000", "MC_E_1704791", "MC_E_1087109")
OTHER_HUMAN = ("MC_E_1807738", "MC_E_1768143", "MC_E_1902766")
SYNTHETIC = ("MC_E_1712710", "MC_E_1356355", "MC_E_1609763", "MC_E_1712710")


def joined(names: Iterable[str], windows: int) -> np.ndarray:
    """Clips one after the other, with pauses of 0.2 s, cut to so many windows."""
    pause = np.zeros(RATE // 5, np.float32)
    parts = [part for name in names for part in (soundfile.read(EVAL_CLIPS / f"{name}.flac", dtype="f4")[0], pause)]
    return np.concatenate(parts)[: windows * WINDOW]


def write_recordings(folder: Path) -> None:
    """Two humans, a synthetic voice, one between the words of a human, noise, and a damaged file."""
    recordings = {
        "recording": np.concatenate([joined(HUMAN, 2), joined(SYNTHETIC, 2), joined(HUMAN[::-1], 1)]),
        "human": joined(OTHER_HUMAN, 2),
        "synthetic": joined(SYNTHETIC, 3),
        "noise": np.random.default_rng(0).normal(0, 0.05, 3 * RATE),
    }
    for name, wave in recordings.items():
        soundfile.write(folder / f"{name}.flac", wave, RATE)
    (folder / "broken.flac").write_bytes((folder / "human.flac").read_bytes()[:20_000])


def write_table(folder: Path, counts: dict[str, int]) -> None:
    """Write `clips.csv`: so many human and so many synthetic clips of each split, evenly over voices and systems.

    The paths lead through `corpus`, a link.
    """
    (folder / "corpus").symlink_to(CORPUS)
    with (folder / "clips.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(("path", "label", "speaker", "attack", "split"))
        for split, count in counts.items():
            for clip in chosen(find_layout("asvspoof2019_la").read(CORPUS, split, "LA"), count):
                label = "human" if clip.label == "bonafide" else "synthetic"
                path = Path("corpus") / clip.path.relative_to(CORPUS)
                table.writerow((path, label, clip.speaker, clip.attack, split))


def chosen(clips: Iterable[Utterance], count: int) -> list[Utterance]:
    """So many clips of each label, in turn of each voice or system."""
    turns: dict[str, int] = defaultdict(int)
    ranked = []
    for clip in clips:
        maker = clip.speaker if clip.label == "bonafide" else clip.attack
        ranked.append((turns[maker], len(ranked), clip))
        turns[maker] += 1
    in_turn = [clip for _, _, clip in sorted(ranked, key=lambda each: each[:2])]
    return [
        clip for label in ("bonafide", "spoof") for clip in [each for each in in_turn if each.label == label][:count]
    ]


if __name__ == "__main__":
    write_recordings(Path(sys.argv[1]))
    write_table(Path(sys.argv[1]), {"train": 120, "dev": 60, "eval": 100})
