"""A tiny model of the family, quick to compile: its configuration, and an encoder for it as a file would hold it."""

import functools
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np

from aasist_jax.encoders.readers import PretrainedEncoder
from aasist_jax.models.ssl.encoders import kind_of
from aasist_jax.models.ssl.encoders.distill_mos.config import DistillMOSConfig
from aasist_jax.weights.folder import Source

ENCODER: dict[str, Any] = {
    "kind": "distill_mos",
    "win_length": 64,
    "hop_length": 32,
    "channels": [4],
    "frequency_strides": [8],
    "time_strides": [4],
    "d_model": 12,
    "layers": 1,
    "heads": 2,
    "ffn_dim": 8,
    "max_positions": 40,
}
MODEL_CONFIG = {"architecture": "SSL", "nb_samp": 4000, "encoder": ENCODER}


@functools.cache
def pretrained() -> PretrainedEncoder:
    """Variables that no seed of a training run draws."""
    fields = {name: tuple(value) if isinstance(value, list) else value for name, value in ENCODER.items()}
    config = DistillMOSConfig(**{name: value for name, value in fields.items() if name != "kind"})
    module = kind_of(config).build(config)
    shapes: Any = jax.eval_shape(module.init, jax.random.key(0), jax.ShapeDtypeStruct((1, 64), np.float32))
    rng = np.random.default_rng(7)

    params = jax.tree.map(lambda leaf: rng.normal(scale=0.3, size=leaf.shape).astype(np.float32), shapes["params"])
    # Small variances, so that the batch norms bring out what differs from wave to wave.
    spread = jax.tree.map(lambda leaf: np.abs(np.asarray(rng.normal(size=leaf.shape))), shapes["batch_stats"])
    state = jax.tree.map(
        lambda leaf, x: (0.02 * x if leaf.ndim else 9 * x).astype(leaf.dtype), shapes["batch_stats"], spread
    )
    return PretrainedEncoder(config, {"params": params, "batch_stats": state}, Source("tiny.pt", "0" * 64))


def configuration(clips: Path, folder: Path, init: Path | str, **model: Any) -> Path:
    """Write a configuration that trains the tiny model; `model` are keys of its `model_config`."""
    path = folder / "tiny.json"
    document = {
        "model_config": MODEL_CONFIG | model,
        "optim_config": {"base_lr": 0.05},
        "data_config": {"layout": "csv"},
        "train_config": {"init": str(init), "log_steps": 1, "class_weights": [0.5, 0.5]},
        "database_path": str(clips),
        "batch_size": 8,
        "num_epochs": 1,
    }
    path.write_text(json.dumps(document))
    return path
