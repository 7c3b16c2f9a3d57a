"""What the published file calls the variables of Distill-MOS."""

import re
from functools import partial

from aasist_jax.models.family import CheckpointNames
from aasist_jax.models.ssl.encoders import transformer

_AFTER_CNN = "transformer_pool_attn"
_TRANSFORMER = f"{_AFTER_CNN}.transformer"
_TORCH_NAMES = {
    "norm_input": f"{_AFTER_CNN}.norm_input",
    "norm": f"{_TRANSFORMER}.norm",
    "linear_proj": f"{_TRANSFORMER}.linear_proj",
    "position_encoding": f"{_TRANSFORMER}.position_encoding",
    "norm_trans": f"{_AFTER_CNN}.norm_trans",
    "pool": f"{_AFTER_CNN}.pool",
}


def _torch_module(path: str) -> str:
    path = path.removeprefix("encoder/").replace("/", ".")
    first, dot, rest = path.partition(".")
    if found := re.fullmatch(r"cnn_(\d+)", first):
        # Every convolution is followed by a LeakyReLU, which counts as a layer.
        return f"cnn.cnn.{2 * int(found[1])}"
    if found := re.fullmatch(r"layers_(\d+)", first):
        return f"{_TRANSFORMER}.transformer_encoder.layers.{found[1]}{dot}{rest}"
    return f"{_TORCH_NAMES[first]}{dot}{rest}"


NAMES = CheckpointNames(_torch_module)
block_of = partial(transformer.block_of, positions="position_encoding", last_norm="norm_trans")
