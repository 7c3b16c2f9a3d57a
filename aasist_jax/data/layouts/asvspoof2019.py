"""ASVspoof 2019 as published: each split has a protocol and a folder of FLAC files."""

import csv
import io
import os
from collections.abc import Mapping
from pathlib import Path

from aasist_jax.data.layouts import Layout
from aasist_jax.data.table_words import LABEL_NAMES
from aasist_jax.data.utterances import Utterance, make_utterance, parse_all, read_text
from aasist_jax.errors import DataError

ASVSPOOF2019_LISTS = {"train": "train.trn", "dev": "dev.trl", "eval": "eval.trl"}
"""The end of the name of each split's protocol."""


def protocol_path(database_path: Path, split: str, track: str = "LA") -> Path:
    """The path of a split's countermeasure protocol."""
    name = f"ASVspoof2019.{track}.cm.{ASVSPOOF2019_LISTS[split]}.txt"
    return database_path / f"ASVspoof2019_{track}_cm_protocols" / name


def clip_path(database_path: Path, split: str, utterance: str, track: str = "LA") -> Path:
    """The path of a clip."""
    return database_path / f"ASVspoof2019_{track}_{split}" / "flac" / f"{utterance}.flac"


def read_asvspoof2019_la(database_path: str | os.PathLike[str], split: str, track: str = "LA") -> list[Utterance]:
    """Read one split of ASVspoof 2019 as published, in the order of its protocol.

    `database_path` contains the protocols, `ASVspoof2019_LA_cm_protocols/ASVspoof2019.LA.cm.train.trn.txt` (dev.trl,
    eval.trl) with lines `speaker utterance environment attack key`, and the clips,
    `ASVspoof2019_LA_train/flac/UTTERANCE.flac`. If there is a `metadata.csv` with the columns `utterance` and `origin`,
    as in the corpora that we build, it says which clips are copies of which.

    Args:
        database_path: the folder of the unpacked database.
        split: train, dev or eval.
        track: LA; the physical-access track PA has the same layout.

    Raises:
        DataError: there is no such split or protocol, or lines are malformed; the message lists all of these.
    """
    if split not in ASVSPOOF2019_LISTS:
        raise DataError(f"split {split!r} is not one of {', '.join(ASVSPOOF2019_LISTS)}")
    database = Path(database_path)
    originals = _originals(database)

    def parse(columns: list[str], origin: str) -> Utterance:
        if len(columns) != 5:
            raise ValueError(f"{len(columns)} columns, not the 5 of: speaker utterance environment attack key")
        speaker, utterance, _, attack, key = columns
        if key not in ("bonafide", "spoof"):
            raise ValueError(f"key {key!r} is neither bonafide nor spoof")
        if os.path.basename(utterance) != utterance:
            raise ValueError(f"utterance {utterance!r} is not a plain file name")
        path = clip_path(database, split, utterance, track)
        return make_utterance(utterance, path, LABEL_NAMES[key], attack, speaker, origin, originals.get(utterance, ""))

    protocol = protocol_path(database, split, track)
    lines = enumerate(read_text(protocol).splitlines(), start=1)
    return parse_all(protocol, ((number, line.split()) for number, line in lines if line.strip()), parse)


def _originals(database: Path) -> Mapping[str, str]:
    """The original of each copy, by name; none if there is no table, or another than ours."""
    try:
        rows = list(csv.DictReader(io.StringIO(read_text(database / "metadata.csv"), newline="")))
    except (DataError, csv.Error):
        return {}
    return {row["utterance"]: row["origin"] for row in rows if row.get("utterance") and row.get("origin")}


def splits_there(database_path: Path, track: str) -> list[str]:
    """The splits that have both a protocol and a folder of clips.

    All protocols are published in one archive, so a split may have a protocol but no clips.
    """
    return [
        split
        for split in ASVSPOOF2019_LISTS
        if protocol_path(database_path, split, track).is_file()
        and clip_path(database_path, split, "", track).parent.parent.is_dir()
    ]


LAYOUT = Layout(
    name="asvspoof2019_la",
    expects="database_path is the folder that ASVspoof 2019 unpacks to",
    read=read_asvspoof2019_la,
    splits=splits_there,
)
