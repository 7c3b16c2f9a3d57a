"""The inputs of the benchmarks: noise and labels, recordings, a corpus, weights."""

import itertools
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from benchmarks.options import Options

RATE = 16_000
LISTS = {"train": "train.trn", "dev": "dev.trl", "eval": "eval.trl"}


def noise(batch: int, samples: int) -> np.ndarray:
    """Waveforms float32 (batch, samples) that are the same in every run and in every process."""
    return (0.1 * np.random.default_rng(0).standard_normal((batch, samples))).astype(np.float32)


def labels(batch: int) -> np.ndarray:
    """Both labels by turns, int32 (batch,)."""
    return np.arange(batch, dtype=np.int32) % 2


def corpus_of(options: Options) -> Path:
    """Give the corpus of the options, or one of noise, which is written once a run."""
    folder = options.path("corpus") if options.corpus else options.scratch / "LA"
    return folder if folder.exists() else write_corpus(folder, {"train": 160, "dev": 16, "eval": 64})


def recording(options: Options, seconds: float) -> np.ndarray:
    """Join clips of the corpus's eval split in a random order, again and again, float32 (samples,)."""
    from aasist_jax.audio.load import load_audio

    files = np.array(sorted(corpus_of(options).glob("ASVspoof2019_LA_eval/flac/*.flac")))
    clips, samples = [], round(seconds * RATE)
    for file in itertools.cycle(np.random.default_rng(0).permutation(files)):
        clips.append(load_audio(file)[:samples])
        samples -= clips[-1].size
        if not samples:
            return np.concatenate(clips)
    raise FileNotFoundError(2, "no FLAC files of the eval split there", str(corpus_of(options)))


def write_corpus(folder: Path, clips: Mapping[str, int]) -> Path:
    """Write a corpus of noise in the layout of ASVspoof 2019 LA: `clips` a split, 1 to 6 s as most of the real ones."""
    import soundfile

    rng = np.random.default_rng(0)
    for split, count in clips.items():
        audio, lists = folder / f"ASVspoof2019_LA_{split}" / "flac", folder / "ASVspoof2019_LA_cm_protocols"
        audio.mkdir(parents=True)
        lists.mkdir(exist_ok=True)
        lines = [f"S{i % 8} {split}_{i:05} - " + ("- bonafide" if i % 2 else "A01 spoof") for i in range(count)]
        (lists / f"ASVspoof2019.LA.cm.{LISTS[split]}.txt").write_text("\n".join(lines) + "\n")
        for line in lines:
            wave = 0.1 * rng.standard_normal(int(rng.uniform(1, 6) * RATE))
            soundfile.write(audio / f"{line.split()[1]}.flac", wave, RATE)
    return folder


def write_random_weights(folder: Path, configuration: str | Path = "quickstart") -> Path:
    """Write a weights folder with random parameters for a configuration's model; by default a small one."""
    from aasist_jax.config import load_config
    from aasist_jax.training.step import random_variables
    from aasist_jax.weights.folder import Source, save_weights

    config = load_config(configuration).model_config
    return save_weights(folder, config, random_variables(config, 0), Source("random", "0" * 64))
