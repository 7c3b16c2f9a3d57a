"""Reads Whisper's encoder from a checkpoint in OpenAI's form: `dims` and `model_state_dict`."""

from pathlib import Path

from aasist_jax.encoders.readers import PretrainedEncoder, Reader
from aasist_jax.encoders.whisper_tensors import POSITIONS, from_openai, whisper_encoder
from aasist_jax.errors import CheckpointError, WeightsError
from aasist_jax.runtime.files import sha256_of
from aasist_jax.weights.folder import Source
from aasist_jax.weights.torch_file import read_torch_checkpoint

ENCODER, DECODER = "encoder.", "decoder."
HEADS_KEY, POSITIONS_KEY = "n_audio_head", "n_audio_ctx"
HEAD_BYTES = 1 << 16
"""The pickle comes first in the archive, and the names of the encoder's tensors come early in the pickle."""


def _recognises(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError:
        return False
    return head.startswith(b"PK\x03\x04") and (b"encoder.positional_embedding" in head or HEADS_KEY.encode() in head)


def _read(path: Path) -> PretrainedEncoder:
    try:
        checkpoint = read_torch_checkpoint(path)
    except CheckpointError as error:
        raise WeightsError(str(error)) from None
    sizes = checkpoint.settings.get("dims", {})
    heads, positions = sizes.get(HEADS_KEY), sizes.get(POSITIONS_KEY, POSITIONS)
    if not isinstance(heads, int) or not isinstance(positions, int) or min(heads, positions) < 1:
        raise WeightsError(f"{path}: its dims do not say how many attention heads there are ({HEADS_KEY})")
    strangers = [name for name in checkpoint.tensors if not name.startswith((ENCODER, DECODER))]
    if strangers:
        raise WeightsError(f"{path}: holds {strangers[0][:80]!a}, which is no tensor of Whisper")
    tensors = {name: tensor for name, tensor in checkpoint.tensors.items() if name.startswith(ENCODER)}
    return whisper_encoder(from_openai(tensors), heads, str(path), Source(path.name, sha256_of(path)), positions)


READER = Reader(reads="Whisper by OpenAI (a .pt file)", recognises=_recognises, read=_read)
