"""ASVspoof 2019, as published."""

import os
from pathlib import Path

from aasist_jax.data.utterances import LABEL_NAMES, Utterance, make_utterance, parse_all, read_text
from aasist_jax.errors import DataError

ASVSPOOF2019_LISTS = {"train": "train.trn", "dev": "dev.trl", "eval": "eval.trl"}


def read_asvspoof2019_la(database_path: str | os.PathLike[str], split: str, track: str = "LA") -> list[Utterance]:
    """Read one split of ASVspoof 2019 as published, in the order of its protocol.

    Under `database_path` lie `ASVspoof2019_LA_cm_protocols/ASVspoof2019.LA.cm.train.trn.txt` (dev.trl,
    eval.trl) with lines `speaker utterance environment attack key`, and the clips,
    `ASVspoof2019_LA_train/flac/UTTERANCE.flac`.

    Args:
        database_path: the folder of the unpacked database.
        split: train, dev or eval.
        track: LA; the physical-access track PA has the same layout.

    Raises:
        DataError: no such split or protocol; malformed lines, all of them in one message.
    """
    if split not in ASVSPOOF2019_LISTS:
        raise DataError(f"split {split!r} is not one of {', '.join(ASVSPOOF2019_LISTS)}")
    name = f"ASVspoof2019_{track}"
    protocol = Path(database_path, f"{name}_cm_protocols", f"ASVspoof2019.{track}.cm.{ASVSPOOF2019_LISTS[split]}.txt")
    flac_folder = Path(database_path, f"{name}_{split}", "flac")

    def parse(columns: list[str], origin: str) -> Utterance:
        if len(columns) != 5:
            raise ValueError(f"{len(columns)} columns, not the 5 of: speaker utterance environment attack key")
        speaker, utterance, _, attack, key = columns
        if key not in ("bonafide", "spoof"):
            raise ValueError(f"key {key!r} is neither bonafide nor spoof")
        if os.path.basename(utterance) != utterance:
            raise ValueError(f"utterance {utterance!r} is not a plain file name")
        return make_utterance(utterance, flac_folder / f"{utterance}.flac", LABEL_NAMES[key], attack, speaker, origin)

    lines = enumerate(read_text(protocol).splitlines(), start=1)
    return parse_all(protocol, ((number, line.split()) for number, line in lines if line.strip()), parse)
