"""What Hugging Face's files call the variables of a Whisper encoder, which have the same names here."""

import re
from functools import partial

from aasist_jax.models.family import CheckpointNames
from aasist_jax.models.ssl.encoders import transformer


def _torch_module(path: str) -> str:
    path = path.removeprefix("encoder/").replace("/", ".")
    return "model.encoder." + re.sub(r"^layers_(\d+)", r"layers.\1", path)


NAMES = CheckpointNames(_torch_module, {"embedding": "weight"}.__getitem__)
block_of = partial(transformer.block_of, positions="embed_positions", last_norm="layer_norm")
