"""WORLD (Morise, Yokomori and Ozawa, 2016, IEICE Trans. E99-D): pitch, envelope and aperiodicity, by `pyworld`."""

from importlib.util import find_spec
from typing import Any

from aasist_jax.models.ssl.resynthesis import ResynthesisConfig, ResynthesisKind


class WorldConfig(ResynthesisConfig, frozen=True, kw_only=True, tag="world"):
    """It has no settings."""

    def __post_init__(self) -> None:
        """Ask for the package."""
        if find_spec("pyworld") is None:
            raise ValueError("kind: world needs the package pyworld; run `pip install 'aasist-jax[world]'`")


def _build(config: WorldConfig) -> Any:
    from aasist_jax.models.ssl.resynthesis.world.vocoder import resynthesise

    return resynthesise


RESYNTHESIS = ResynthesisKind(WorldConfig, _build, on_host="WORLD (the package pyworld)")
