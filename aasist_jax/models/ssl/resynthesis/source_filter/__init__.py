"""A source and a filter: pulses at the speaker's pitch and noise, shaped by the envelope of the spectrum."""

from typing import Any

from aasist_jax.models.ssl.resynthesis import ResynthesisConfig, ResynthesisKind


class SourceFilterConfig(ResynthesisConfig, frozen=True, kw_only=True, tag="source_filter"):
    """It has no settings."""


def _build(config: SourceFilterConfig) -> Any:
    from aasist_jax.models.ssl.resynthesis.source_filter.vocoder import resynthesise

    return resynthesise


RESYNTHESIS = ResynthesisKind(SourceFilterConfig, _build)
