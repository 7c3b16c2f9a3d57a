"""The inputs of the benchmarks: noise and labels, recordings, a corpus, weights."""

import itertools
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from benchmarks.options import Options

RATE = 16_000


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

    files = sorted(corpus_of(options).glob("ASVspoof2019_LA_eval/flac/*.flac"))
    if not files:
        raise FileNotFoundError(2, "no FLAC files of the eval split there", str(corpus_of(options)))
    order = itertools.cycle(np.random.default_rng(0).permutation(np.array(files)))
    clips, samples = list[np.ndarray](), round(seconds * RATE)
    while sum(clip.size for clip in clips) < samples:
        clips.append(load_audio(next(order)))
    return np.concatenate(clips)[:samples]


def write_corpus(folder: Path, clips: Mapping[str, int]) -> Path:
    """Write a corpus of noise in the layout of ASVspoof 2019 LA: `clips` a split, 1 to 6 s as most of the real ones."""
    import soundfile

    from aasist_jax.corpus.layout import write_text
    from aasist_jax.data.layouts.asvspoof2019 import clip_path, protocol_path

    rng = np.random.default_rng(0)
    for split, count in clips.items():
        lines = [f"S{i % 8} {split}_{i:05} - " + ("- bonafide" if i % 2 else "A01 spoof") for i in range(count)]
        write_text(protocol_path(folder, split), "\n".join(lines) + "\n")
        clip_path(folder, split, "x").parent.mkdir(parents=True)
        for line in lines:
            wave = 0.1 * rng.standard_normal(int(rng.uniform(1, 6) * RATE))
            soundfile.write(clip_path(folder, split, line.split()[1]), wave, RATE)
    return folder


def write_random_weights(folder: Path, configuration: str | Path = "quickstart") -> Path:
    """Write a weights folder with random parameters for a configuration's model; by default a small one."""
    from aasist_jax.config import load_config
    from aasist_jax.training.step import random_variables
    from aasist_jax.weights.folder import Source, save_weights

    config = load_config(configuration).model_config
    return save_weights(folder, config, random_variables(config, 0), Source("random", "0" * 64))
