"""What Hugging Face's files call the variables of a Whisper encoder, which have the same names here."""

import re

from aasist_jax.models.family import CheckpointNames


def _torch_module(path: str) -> str:
    path = path.removeprefix("encoder/").replace("/", ".")
    return "model.encoder." + re.sub(r"^layers_(\d+)", r"layers.\1", path)


def block_of(path: str) -> int | None:
    """The first hidden state that a parameter takes part in; None for the table of positions, which is not trained."""
    first = path.partition("/")[0]
    if first == "embed_positions":
        return None
    if found := re.fullmatch(r"layers_(\d+)", first):
        return int(found[1]) + 1
    return -1 if first == "layer_norm" else 0


NAMES = CheckpointNames(_torch_module, {"embedding": "weight"}.__getitem__)
