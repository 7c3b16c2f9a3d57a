"""Whisper's encoder beside that of the package `transformers`, with the same random weights of tiny's size."""

from functools import partial
from itertools import product
from typing import Any

import numpy as np
import torch

from aasist_jax.encoders.encoder import Encoder
from aasist_jax.encoders.whisper_tensors import PREFIX, whisper_encoder
from aasist_jax.features.log_mel import FFT, HOP, mel_filters
from aasist_jax.models.ssl.encoders.whisper.config import WhisperConfig
from aasist_jax.weights.folder import Source
from benchmarks.options import Options
from benchmarks.rounds import BenchmarkError, Implementation, Table, take_turns, timing_table

LENGTHS = {"4.04 s": 64_600, "30.00 s": 480_000}
"""Samples of a window of the detectors, and the 30 s that Whisper fills every wave to."""


def encoders(options: Options) -> list[Table]:
    """Time from waves to the last hidden state, in float32."""
    theirs = _their_network(sizes := WhisperConfig())
    tensors = {PREFIX + name: value.numpy() for name, value in theirs.state_dict().items()}
    encoder = Encoder(whisper_encoder(tensors, sizes.heads, "random", Source("random", "")))
    torch.set_num_threads(options.threads)

    def ours(waves: np.ndarray) -> np.ndarray:
        return encoder.hidden_states(waves)[-1]

    rows = []
    for (what, samples), batch in product(LENGTHS.items(), options.batch):
        waves = np.random.default_rng(batch).normal(0, 0.1, (batch, samples)).astype(np.float32)
        reference = Implementation(partial(_theirs, theirs, waves))
        found = {"transformers": reference, "aasist_jax": Implementation(partial(ours, waves), 1e-3)}
        rows += [(what, batch, timing) for timing in take_turns(what, found, rounds=options.rounds)]
    return [timing_table(f"Whisper tiny's encoder, {options.rounds} rounds", rows)]


def _their_network(sizes: WhisperConfig) -> Any:
    try:
        from transformers.models.whisper import modeling_whisper as theirs
    except ImportError:
        raise BenchmarkError("encoders: needs the package `transformers`; run `pip install transformers`") from None
    layers = {"encoder_layers": sizes.layers, "encoder_attention_heads": sizes.heads, "encoder_ffn_dim": sizes.ffn_dim}
    return theirs.WhisperEncoder(theirs.WhisperConfig(d_model=sizes.d_model, **layers)).eval()


@torch.inference_mode()
def _theirs(network: Any, waves: np.ndarray) -> np.ndarray:
    """Its layers one by one, since its own forward takes nothing but 30 s."""
    spectrum = torch.stft(torch.from_numpy(waves), FFT, HOP, window=torch.hann_window(FFT), return_complex=True)
    levels = (torch.tensor(mel_filters(80)).float() @ spectrum[..., :-1].abs().square()).clamp(min=1e-10).log10()
    x = (torch.maximum(levels, levels.amax((1, 2), keepdim=True) - 8) + 4) / 4
    x = torch.nn.functional.gelu(network.conv2(torch.nn.functional.gelu(network.conv1(x)))).transpose(1, 2)
    x = x + network.embed_positions.weight[: x.shape[1]]
    for layer in network.layers:
        x = layer(x, None)
    return network.layer_norm(x).numpy()
