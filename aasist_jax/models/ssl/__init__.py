"""Pretrained speech encoders with a head: a linear probe, or attentive pooling over layers.

A recording may be compared with its own resynthesis on the way.

Named after self-supervised learning, by which most encoders that detectors are built on were trained.
"""

import dataclasses
import math
from typing import Any

from aasist_jax.models.family import CheckpointNames, Family, FrozenFront, Window
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


def _frozen_front(config: SSLConfig) -> FrozenFront | None:
    """The encoder and what the head keeps of its hidden states, where nothing of the encoder is trained."""
    if config.frozen_states < config.encoder.hidden_states:
        return None
    head = head_of(config.head)

    def compute(variables: Any, waves: Any, lengths: Any, dtype: Any) -> Any:
        from aasist_jax.models.ssl.network import SSL

        return SSL(config, dtype).apply(variables, waves, lengths, method="features")

    def rest(shape: tuple[int, ...], **options: Any) -> Any:
        from aasist_jax.models.linen import LinenNetwork
        from aasist_jax.models.ssl.network import HeadOnFeatures

        return LinenNetwork(HeadOnFeatures(config, shape, **options), math.prod(shape), state=head.state)

    # What a head of another size takes is the same, and so is what several heads take.
    fields = {field.name: repr(getattr(config, field.name)) for field in dataclasses.fields(config)}
    mark = {**fields, "head": f"{head.reduce.__module__}.{head.reduce.__qualname__} as {head.stored_as}"}
    return FrozenFront("encoder", compute, rest, head.stored_as, repr(sorted(mark.items())))


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
    frozen_front=_frozen_front,
    on_host=_on_host,
    names=CheckpointNames(),
)
