"""A linear probe: mean and standard deviation over time of every chosen layer, normalised, and one linear map."""

from typing import Any

from aasist_jax.models.ssl.heads import HeadConfig, HeadKind, statistics


class MeanStdConfig(HeadConfig, frozen=True, kw_only=True, tag="mean_std"):
    """It has no sizes of its own."""


def _build(config: MeanStdConfig, **options: Any) -> Any:
    from aasist_jax.models.ssl.pooling import StatisticsHead

    return StatisticsHead(**options)


HEAD = HeadKind(MeanStdConfig, _build, state=("batch_stats",), reduce=statistics, stored_as="float32")
