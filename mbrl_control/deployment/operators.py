"""What the graphs of a bundle may be made of: the operations that the export writes, and nothing read from elsewhere.

Only where bytes may do harm to nobody else, see `trial_child`: this parses them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import onnx

from mbrl_control.deployment.errors import BundleError

OPSET = 20
ALLOWED = frozenset(
    {
        "Abs",
        "Add",
        "And",
        "Cast",
        "Clip",
        "Concat",
        "Constant",
        "ConstantOfShape",
        "Cos",
        "Div",
        "Equal",
        "Exp",
        "Expand",
        "Gather",
        "GatherElements",
        "Gemm",
        "Greater",
        "GreaterOrEqual",
        "Identity",
        "If",
        "Less",
        "LessOrEqual",
        "MatMul",
        "Max",
        "Min",
        "Mul",
        "Neg",
        "Pow",
        "Reciprocal",
        "ReduceMax",
        "ReduceMean",
        "ReduceSum",
        "Relu",
        "Reshape",
        "ScatterND",
        "Shape",
        "Sigmoid",
        "Sign",
        "Sin",
        "Slice",
        "Split",
        "Sqrt",
        "Squeeze",
        "Sub",
        "Tanh",
        "Tile",
        "Transpose",
        "Unsqueeze",
        "Where",
    }
)
"""Of the default domain (ONNX operator schemas): arithmetic and arrangement; no loops, randomness or calls outside."""


def check_operators(content: bytes, place: str) -> None:
    """BundleError for an operation, a domain, a version, a type or external data that no export of this version has."""
    try:
        model = onnx.load_from_string(content)
    except Exception as error:  # protobuf's own classes have no common base
        raise BundleError(f"{place}: is no ONNX model ({error}); export the bundle again") from error
    versions = {entry.domain: entry.version for entry in model.opset_import}
    if versions != {"": OPSET}:
        raise BundleError(f"{place}: opset_import: {versions}, this version runs {{'': {OPSET}}}; export again")
    if model.functions or model.training_info:
        raise BundleError(f"{place}: brings functions of its own; export the bundle again")
    for node in _nodes(model.graph):
        if node.domain or node.op_type not in ALLOWED:
            name = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
            raise BundleError(f"{place}: operation {name}: is not among those of a bundle; export it again")
    if _holds_sparse(model.graph):
        raise BundleError(f"{place}: holds sparse tensors, which no export writes; export the bundle again")
    for tensor in _tensors(model.graph):
        if tensor.data_location != onnx.TensorProto.DEFAULT or tensor.external_data:
            raise BundleError(f"{place}: {tensor.name}: lies in another file, which is refused; export again")
    for value in (*model.graph.input, *model.graph.output):
        if value.type.tensor_type.elem_type != onnx.TensorProto.FLOAT:
            raise BundleError(f"{place}: {value.name}: is not of type float32; export the bundle again")


def _graphs(graph: Any) -> Iterator[Any]:
    """A graph and those inside its nodes."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            own = [attribute.g] if attribute.HasField("g") else []
            for inner in (*own, *attribute.graphs):  # one without a node has tensors all the same
                yield from _graphs(inner)


def _nodes(graph: Any) -> Iterator[Any]:
    for each in _graphs(graph):
        yield from each.node


def _attributes(graph: Any) -> Iterator[Any]:
    for node in _nodes(graph):
        yield from node.attribute


def _holds_sparse(graph: Any) -> bool:
    """Tensors of another kind, that `_tensors` would not see."""
    if any(each.sparse_initializer for each in _graphs(graph)):
        return True
    return any(one.HasField("sparse_tensor") or one.sparse_tensors for one in _attributes(graph))


def _tensors(graph: Any) -> Iterator[Any]:
    for each in _graphs(graph):
        yield from each.initializer
    for attribute in _attributes(graph):
        yield from (attribute.t, *attribute.tensors)
