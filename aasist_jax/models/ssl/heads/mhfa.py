"""Multi-head factorised attentive pooling over layers and time (Peng et al., 2022, arXiv:2210.01273)."""

from typing import Annotated, Any

from msgspec import Meta

from aasist_jax.models.ssl.heads import HeadConfig, HeadKind, all_steps

Size = Annotated[int, Meta(ge=1, le=4096)]


class MHFAConfig(HeadConfig, frozen=True, kw_only=True, tag="mhfa"):
    """The sizes of the pooling.

    Attributes:
        heads: attention heads; each pools the steps by weights of its own.
        compression: features that keys and values are reduced to.
        embedding: features of the embedding, of which the logits are a linear map.
    """

    heads: Size = 8
    compression: Size = 128
    embedding: Size = 256


def _build(config: MHFAConfig, **options: Any) -> Any:
    from aasist_jax.models.ssl.pooling import FactorisedAttentivePooling

    return FactorisedAttentivePooling(config.heads, config.compression, config.embedding, **options)


HEAD = HeadKind(MHFAConfig, _build, reduce=all_steps)
