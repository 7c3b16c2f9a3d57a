"""AASIST and AASIST-L (Jung et al., ICASSP 2022, arXiv:2110.01200)."""

from typing import Any

from aasist_jax.models.aasist.config import AASISTConfig
from aasist_jax.models.aasist.names import NAMES
from aasist_jax.models.aasist.published import PUBLISHED
from aasist_jax.models.batch_statistics import BATCH_STATISTICS
from aasist_jax.models.family import Family, Window


# The network and what explains or exports it are imported when they are needed: a family is registered without JAX.
def _build(config: AASISTConfig, **options: Any) -> Any:
    from aasist_jax.models.aasist.network import AASIST
    from aasist_jax.models.linen import LinenNetwork

    return LinenNetwork(AASIST(config, **options), config.nb_samp, state=("batch_stats",))


def _explainer(config: AASISTConfig, variables: dict[str, Any]) -> Any:
    from aasist_jax.models.aasist.explain import AASISTExplainer

    return AASISTExplainer(config, variables)


def _onnx_graph(config: AASISTConfig, variables: dict[str, Any]) -> Any:
    from aasist_jax.models.aasist.onnx import aasist_graph

    return aasist_graph(config, variables)


def _trains(config: AASISTConfig, path: str) -> bool:
    # The output of bn1 is discarded, so its scale and bias never get a gradient in PyTorch.
    return "/bn1/" not in path


FAMILY = Family(
    name="AASIST",
    config_type=AASISTConfig,
    build=_build,
    window=lambda config: Window(config.nb_samp, config.shortest_input),
    window_fields=("nb_samp",),
    trains=_trains,
    state_estimate=BATCH_STATISTICS,
    masks_filters=True,
    names=NAMES,
    published=PUBLISHED,
    frame_geometry=lambda config: config.frame_geometry,
    explainer=_explainer,
    onnx_graph=_onnx_graph,
)
