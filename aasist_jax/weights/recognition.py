"""Tells which model a PyTorch checkpoint is of, by its tensors, for a message about one that does not fit."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from aasist_jax.config import configuration_names, load_config
from aasist_jax.models.family import family, family_names, family_of
from aasist_jax.weights.names import torch_shapes

STRANGERS = (
    ("RawGAT-ST", (r"\bencoder1\.0\.0\.", r"\bencoder2\.0\.0\.", r"\bproj_node\.weight$")),
    ("RawNet2", (r"\bblock0\.0\.conv1\.", r"\bfc_attention0\.", r"\bgru\.weight_ih_l0$")),
    ("SSL_Anti-spoofing (wav2vec 2.0 of fairseq and a back-end)", (r"\bssl_model\.model\.", r"\bpost_extract_proj\.")),
    ("wav2vec 2.0 of fairseq", (r"\bfeature_extractor\.conv_layers\.0\.0\.weight$", r"\bpost_extract_proj\.")),
    ("WavLM of Hugging Face", (r"\bfeature_projection\.", r"\bgru_rel_pos_linear\.")),
    (
        "wav2vec 2.0 or HuBERT of Hugging Face",
        (r"\bfeature_projection\.", r"\bfeature_extractor\.conv_layers\.0\.conv\."),
    ),
    ("Whisper of OpenAI", (r"\bencoder\.positional_embedding$", r"\bblocks\.0\.attn\.query\.")),
    ("Whisper of Hugging Face", (r"\bencoder\.embed_positions\.", r"\bencoder\.conv1\.", r"\bself_attn\.q_proj\.")),
)
"""Models that are often met in files and are no family here: a name, and patterns that all occur among the tensors'."""

ALIKE = 0.9
"""Share of names in common from which a checkpoint is taken for another size of a family."""


def what_it_looks_like(tensors: Mapping[str, np.ndarray], config: Any) -> str:
    """What tensors are those of, as the end of a message: of a shipped configuration, a family or a known stranger.

    Args:
        tensors: the state dict.
        config: the `model_config` that they do not fit.

    Returns:
        One clause without a full stop, or '' if nothing else is known that looks like them.
    """
    for name, patterns in STRANGERS:
        if all(any(re.search(pattern, tensor) for tensor in tensors) for pattern in patterns):
            return f"it looks like {name}, which is none of the architectures here ({', '.join(family_names())})"
    shapes = {name: tuple(value.shape) for name, value in tensors.items()}
    alike: dict[str, float] = {}
    tried: list[Any] = []
    for name in _configurations():
        candidate = load_config(name).model_config
        # Several configurations may describe the same network.
        if candidate in tried or family_of(candidate).names is None:
            continue
        tried.append(candidate)
        expected = torch_shapes(candidate)
        if expected == shapes:
            return "" if candidate == config else f"this is {name}; use --config {name}"
        in_common = len(expected.keys() & shapes.keys()) / max(len(expected.keys() | shapes.keys()), 1)
        alike.setdefault(family_of(candidate).name, in_common)
    nearest = max(alike, key=lambda name: alike[name], default="")
    if nearest and alike[nearest] >= ALIKE:
        return f"it looks like {nearest} of another size; give --config the configuration that it was trained with"
    return ""


def _configurations() -> list[str]:
    """The shipped configurations, those of published weights first: others may describe the same network."""
    known = configuration_names()
    published = [entry.config for name in family_names() for entry in family(name).published]
    first = [name for name in published if name in known]
    return first + [name for name in known if name not in first]
