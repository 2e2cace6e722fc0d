"""The passes every float32 graph goes through before anything else: the same function in fewer and plainer nodes.

Read `simplify` for their order. Each pass is proved on its own by a test against ONNX Runtime; parity.py compares the
whole with torch. They know nothing of precision, and leave inputs and outputs as they are.
"""

from __future__ import annotations

from collections import defaultdict

from onnx import GraphProto, ModelProto, NodeProto

from segx_export import onnxgraph
from segx_export.fold import fold_batch_norms
from segx_export.pointwise import add_all, move_pointwise


def simplify(model: ModelProto) -> ModelProto:
    """A copy with BatchNorm folded, 1x1 convolutions where they cost least, and sums written as sums."""
    return sum_stacks(move_pointwise(fold_batch_norms(model)))


def sum_stacks(model: ModelProto) -> ModelProto:
    """A copy in which a ReduceSum over maps stacked for it alone (`torch.stack(maps).sum(0)`) is a chain of Adds.

    Stacking copies every map, and ReduceSum has no int8 kernel where Add has one. Maps that are enlarged alike before
    they are summed are summed first and enlarged once.
    """
    plain = ModelProto()
    plain.CopyFrom(model)
    graph = plain.graph
    for node in [node for node in graph.node if node.op_type == "ReduceSum"]:
        parts = _stacked(graph, node.input[0], list(node.input[1:2]), onnxgraph.attribute(node, "keepdims", 1))
        if parts:
            graph.node.remove(node)
            add_all(graph, _enlarged_once(graph, parts), node.output[0])
    onnxgraph.sort_nodes(graph)
    onnxgraph.remove_dead(graph)
    onnxgraph.name_nodes(graph)
    return plain


def _stacked(graph: GraphProto, name: str, axes: list[str], keepdims: int) -> list[str]:
    """The tensors that were stacked into `name` along the axis that is summed; none where it is anything else."""
    made, used, known = onnxgraph.producers(graph), onnxgraph.consumers(graph), onnxgraph.constants(graph)
    stack = made.get(name)
    if keepdims or stack is None or stack.op_type != "Concat" or len(used[name]) != 1 or len(stack.input) < 2:
        return []
    axis = onnxgraph.attribute(stack, "axis", 0)
    lifted = [made.get(part) for part in stack.input]
    if not axes or axes[0] not in known or known[axes[0]].tolist() != [axis] or axis < 0:
        return []
    parts = []
    for node in lifted:
        if node is None or node.op_type != "Unsqueeze" or node.input[1] not in known:
            return []
        if known[node.input[1]].tolist() != [axis]:
            return []
        parts.append(node.input[0])
    return parts


def _enlarged_once(graph: GraphProto, parts: list[str]) -> list[str]:
    """The same sum with one Resize for all parts that come out of equal ones: enlarging is linear."""
    made, used = onnxgraph.producers(graph), onnxgraph.consumers(graph)
    outputs = {item.name for item in graph.output}
    groups: dict[bytes, list[NodeProto]] = defaultdict(list)
    rest = []
    for part in parts:
        node = made.get(part)
        if node is None or node.op_type != "Resize" or len(used[part]) > 1 or part in outputs or not _is_linear(node):
            rest.append(part)
        else:
            groups[_manner(node)].append(node)
    for alike in groups.values():
        if len(alike) == 1:
            rest.append(alike[0].output[0])
            continue
        total = onnxgraph.fresh(graph, f"{alike[0].input[0]}_sum")
        add_all(graph, [node.input[0] for node in alike], total)
        alike[0].input[0] = total
        rest.append(alike[0].output[0])
    return rest


def _is_linear(node: NodeProto) -> bool:
    """Whether a Resize with constant factors is a linear map: cropping fills with a constant, and is none."""
    way = next((item.s for item in node.attribute if item.name == "coordinate_transformation_mode"), b"half_pixel")
    return len(node.input) == 3 and way != b"tf_crop_and_resize"


def _manner(node: NodeProto) -> bytes:
    """Everything about a Resize but its name and what it reads and writes; equal for equal ones."""
    plain = NodeProto(op_type=node.op_type, input=node.input[1:])
    plain.attribute.extend(sorted(node.attribute, key=lambda item: item.name))
    manner: bytes = plain.SerializeToString(deterministic=True)
    return manner
