"""Griffin-Lim: the phases are found anew for the magnitudes that 80 mel bands leave of the spectrum."""

from typing import Annotated, Any

from msgspec import Meta

from aasist_jax.models.ssl.resynthesis import ResynthesisConfig, ResynthesisKind


class GriffinLimConfig(ResynthesisConfig, frozen=True, kw_only=True, tag="griffin_lim"):
    """How long the phases are sought.

    Attributes:
        iterations: how often the wave is made from the spectrum and the spectrum from the wave.
    """

    iterations: Annotated[int, Meta(ge=1, le=1000)] = 16


def _build(config: GriffinLimConfig) -> Any:
    import functools

    from aasist_jax.models.ssl.resynthesis.griffin_lim.vocoder import resynthesise

    return functools.partial(resynthesise, iterations=config.iterations)


RESYNTHESIS = ResynthesisKind(GriffinLimConfig, _build)
