"""A small zip file in the layout of the published LA archive, its clips being random bytes."""

import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

TRIALS = {"train": 5, "dev": 4, "eval": 6}
LISTS = {"train": "train.trn", "dev": "dev.trl", "eval": "eval.trl"}


def la_files(trials: Mapping[str, int] = TRIALS, size: int = 2000) -> dict[str, bytes]:
    """Members by name; each split holds two bona fide clips, and one clip that no protocol lists."""
    random = np.random.default_rng(0)
    files = {"LA/README.LA.txt": b"what this is\n", "LA/ASVspoof2019_LA_asv_scores/scores.txt": b"0.5\n" * 50}
    for split, count in trials.items():
        names = [f"LA_{split[0].upper()}_{1_000_000 + i}" for i in range(count)]
        lines = [
            f"LA_0001 {name} - {'-' if i < 2 else 'A01'} {'bonafide' if i < 2 else 'spoof'}"
            for i, name in enumerate(names)
        ]
        files[f"LA/ASVspoof2019_LA_cm_protocols/ASVspoof2019.LA.cm.{LISTS[split]}.txt"] = "\n".join(lines).encode()
        for name in [*names, f"LA_{split[0].upper()}_A0000001"]:
            files[f"LA/ASVspoof2019_LA_{split}/flac/{name}.flac"] = random.bytes(size)
    return files


def write_zip(path: Path, files: Mapping[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression, compresslevel=1) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def unlisted(name: str) -> bool:
    return name.endswith("_A0000001.flac")
