"""AASIST and AASIST-L (Jung et al., ICASSP 2022)."""

from typing import Any

from aasist_jax.models.aasist.config import AASISTConfig
from aasist_jax.models.aasist.names import _frozen_parameter, _torch_module, _torch_parameter
from aasist_jax.models.aasist.network import AASIST
from aasist_jax.models.family import Architecture, register


def _onnx_graph(config: AASISTConfig, variables: dict[str, Any]) -> Any:
    # Needs the extra `onnx`, which nothing else does.
    from aasist_jax.models.aasist.onnx import aasist_graph

    return aasist_graph(config, variables)


register(
    Architecture(
        name="AASIST",
        config_type=AASISTConfig,
        build=AASIST,
        torch_module=_torch_module,
        torch_parameter=_torch_parameter,
        frozen_parameter=_frozen_parameter,
        frame_geometry=lambda config: config.frame_geometry,
        onnx_graph=_onnx_graph,
    )
)
