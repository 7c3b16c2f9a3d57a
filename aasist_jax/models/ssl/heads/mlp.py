"""A perceptron of one hidden layer on mean and standard deviation over time of every chosen layer, normalised."""

from typing import Annotated, Any

from msgspec import Meta

from aasist_jax.models.ssl.heads import HeadConfig, HeadKind, statistics


class MLPConfig(HeadConfig, frozen=True, kw_only=True, tag="mlp"):
    """The sizes of the perceptron.

    Attributes:
        hidden: features of the hidden layer, which is the embedding.
        dropout: share of the hidden features that a training step leaves out.
    """

    hidden: Annotated[int, Meta(ge=1, le=65_536)] = 128
    dropout: Annotated[float, Meta(ge=0, lt=1)] = 0.2


def _build(config: MLPConfig, **options: Any) -> Any:
    from aasist_jax.models.ssl.pooling import StatisticsHead

    return StatisticsHead(config.hidden, config.dropout, **options)


HEAD = HeadKind(MLPConfig, _build, state=("batch_stats",), reduce=statistics, stored_as="float32")
