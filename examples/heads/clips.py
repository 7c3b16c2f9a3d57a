"""Choose the clips of the large corpus that `sweep.json` trains on: `python clips.py CORPUS > data/clips.csv`."""

import csv
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np

corpus = Path(sys.argv[1]).resolve()
rows = list(csv.DictReader((corpus / "metadata.csv").open()))


def drawn(split: str, rng: np.random.Generator, most: int) -> list[dict[str, str]]:
    """So many clips of each system of a split, in a random order."""
    made = [row for row in rows if row["split"] == split and row["attack"] != "-"]
    systems = defaultdict[str, list[dict[str, str]]](list)
    for i in rng.permutation(len(made)):
        systems[made[i]["attack"]].append(made[i])
    return [row for _, clips in sorted(systems.items()) for row in clips[:most]]


# hibari is distilled from a voice that is kept for checks.
train = [row for row in drawn("train", np.random.default_rng(0), 300) if row["attack"] != "hibari"]
originals = {row["origin"] for row in train}
train += sorted((row for row in rows if row["utterance"] in originals), key=lambda row: row["utterance"])
of_dev = np.random.default_rng(1)
human = [row for row in rows if row["split"] == "dev" and row["attack"] == "-"]
dev = [human[i] for i in of_dev.permutation(len(human))[:350]] + drawn("dev", of_dev, 80)
table = csv.writer(sys.stdout, lineterminator="\n")
table.writerow(["path", "label", "attack", "speaker", "split", "utterance", "copy_of"])
for row in train + dev:
    path = corpus / f"ASVspoof2019_LA_{row['split']}/flac/{row['utterance']}.flac"
    table.writerow([path, *(row[key] for key in ["label", "attack", "speaker", "split", "utterance", "origin"])])
