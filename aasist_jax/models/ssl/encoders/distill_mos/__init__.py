"""Distill-MOS (Stahl and Gamper, 2025, arXiv:2502.05356): a small student of a predictor of speech quality."""

from typing import Any

from aasist_jax.models.ssl.encoders import EncoderKind
from aasist_jax.models.ssl.encoders.distill_mos.config import DistillMOSConfig
from aasist_jax.models.ssl.encoders.distill_mos.names import NAMES, block_of


def _build(config: DistillMOSConfig, **options: Any) -> Any:
    from aasist_jax.models.ssl.encoders.distill_mos.network import DistillMOSEncoder

    return DistillMOSEncoder(config, **options)


KIND = EncoderKind(DistillMOSConfig, _build, NAMES, block_of, state=("batch_stats",), any_length=True)
