"""Builds an ONNX graph node by node and generates the names of nodes and values."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

OPSET = 17
IR_VERSION = 8
"""Format version of the year 2022, which runtimes from then on can read."""


class GraphBuilder:
    """Collects the nodes and constants of a graph; methods refer to values by their names."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, np.ndarray] = {}

    def constant(self, name: str, value: Any, dtype: type[np.generic] = np.float32) -> str:
        """Add a constant in `dtype`; a name that is used again must have the same value."""
        array = np.ascontiguousarray(value, dtype)
        if name in self._constants:
            np.testing.assert_array_equal(self._constants[name], array, err_msg=name)
        self._constants[name] = array
        return name

    def integers(self, *values: int) -> str:
        """Add a constant list of integers, the form in which operators take axes and sizes."""
        return self.constant("integers_" + "_".join(map(str, values)), values, np.int64)

    def node(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add a node with one output; returns the output's name."""
        (output,) = self.node_outputs(operator, 1, *inputs, **attributes)
        return output

    def node_outputs(self, operator: str, outputs: int, *inputs: str, **attributes: Any) -> list[str]:
        """Add a node with several outputs; returns their names."""
        name = f"{operator}_{len(self._nodes)}"
        names = [f"{name}_{i}" for i in range(outputs)] if outputs > 1 else [name]
        self._nodes.append(helper.make_node(operator, inputs, names, name=name, **attributes))
        return names

    def graph(
        self, name: str, *, inputs: Sequence[onnx.ValueInfoProto], outputs: Sequence[tuple[str, onnx.ValueInfoProto]]
    ) -> onnx.GraphProto:
        """Finish the graph; `outputs` pairs the name of a value with the description of the output that it becomes."""
        for value, info in outputs:
            self._nodes.append(helper.make_node("Identity", [value], [info.name], name=info.name))
        constants = [numpy_helper.from_array(array, key) for key, array in self._constants.items()]
        return helper.make_graph(self._nodes, name, inputs, [info for _, info in outputs], constants)
