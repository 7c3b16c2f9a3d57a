"""Pretrained speech encoders with a head: a linear probe, or attentive pooling over layers.

A recording may be compared with its own resynthesis on the way.

Named after self-supervised learning, by which most encoders that detectors are built on were trained.
"""

from typing import Any

from aasist_jax.models.family import CheckpointNames, Family, Window
from aasist_jax.models.ssl.config import SSLConfig
from aasist_jax.models.ssl.encoders import kind_of
from aasist_jax.models.ssl.heads import head_of
from aasist_jax.models.ssl.resynthesis import resynthesis_of


def _build(config: SSLConfig, **options: Any) -> Any:
    from aasist_jax.models.linen import LinenNetwork
    from aasist_jax.models.ssl.network import SSL

    state = {name for kind in (kind_of(config.encoder), head_of(config.head)) for name in kind.state}
    return LinenNetwork(SSL(config, **options), config.encoder.shortest, state=tuple(sorted(state)))


def _window(config: SSLConfig) -> Window:
    return Window(config.nb_samp, config.encoder.shortest, fixed=not kind_of(config.encoder).any_length)


def _on_host(config: SSLConfig) -> str:
    return "" if config.resynthesis is None else resynthesis_of(config.resynthesis).on_host


FAMILY = Family(
    name="SSL",
    config_type=SSLConfig,
    build=_build,
    window=_window,
    window_fields=("nb_samp",),
    trains=SSLConfig.trains,
    encoder_config=lambda config: config.encoder,
    on_host=_on_host,
    names=CheckpointNames(),
)
