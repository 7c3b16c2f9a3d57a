"""Trained vocoders that need no training: of small sizes, and with weights that are all zero."""

import json
from dataclasses import asdict
from pathlib import Path

import jax
import numpy as np
from flax.traverse_util import flatten_dict
from safetensors.numpy import save_file

from aasist_jax.corpus.neural_vocoders.diffusion import DiffusionConfig
from aasist_jax.corpus.neural_vocoders.kinds import KINDS
from aasist_jax.corpus.neural_vocoders.multiband_gan import MultibandGanConfig
from aasist_jax.corpus.neural_vocoders.trained import CONFIG, MODEL
from aasist_jax.corpus.neural_vocoders.training import initial_parameters
from aasist_jax.corpus.neural_vocoders.vocos import VocosConfig

SMALL = {
    "vocos": VocosConfig(width=16, blocks=1),
    "multiband_gan": MultibandGanConfig(channels=16, dilations=(1,)),
    "diffusion": DiffusionConfig(width=8, layers=2, steps=2),
}


def write_vocoder(folder: Path, kind: str, value: float = 0.0) -> None:
    vocoder = KINDS[kind].network(SMALL[kind])
    shapes = jax.eval_shape(lambda: initial_parameters(vocoder, jax.random.key(0)))
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: np.full(leaf.shape, value, np.float32) for name, leaf in flatten_dict(shapes, sep="/").items()}
    save_file(tensors, folder / MODEL)
    description = {"format": 1, "kind": kind, "config": asdict(SMALL[kind]), "training": {"steps": 1}}
    (folder / CONFIG).write_text(json.dumps(description))
