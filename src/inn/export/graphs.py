"""ONNX graphs of a model: one step, a loop over steps, and the same in whole numbers of 8 bits."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from inn.export.step import LOGITS, NEXT, SYMBOL, Program, quiet
from inn.models.sequence import SequenceModel
from inn.system.errors import InputError
from inn.system.packages import require

OPSET = 20
"""The version of ONNX's operators that the graphs are of."""
SYMBOLS = "symbols"
"""What the loop reads."""
_BODY = "step/"  # before the names of values inside the loop
_LARGEST = 2**31 - 2**20  # bytes of a file of protocol buffers
_WORTH = 1 << 12  # numbers of a matrix from which on 8 bits are worth the operations around it
_MIDDLE = 128  # what 0 is in 8 bits


def decompositions() -> dict[Any, Callable]:
    """How operations are taken apart for ONNX: what its translation would round, or get wrong, is told here."""
    aten, table = torch.ops.aten, torch.export.default_decompositions()
    table.pop(aten.softplus.default, None)  # an operator of ONNX; taken apart it forgets what is small
    table[aten.log_sigmoid_forward.default] = lambda x: (-torch.nn.functional.softplus(-x), torch.zeros_like(x[:0]))
    table[aten.log1p.default], table[aten.expm1.default] = _log1p, _expm1
    table[aten.copy.default] = lambda self, source, non_blocking=False: source.to(self.dtype).expand_as(self).clone()
    table[aten.index.Tensor], table[aten.linalg_solve_triangular.default] = _index, _solve_triangular
    return dict(table)


def _log1p(x: Tensor) -> Tensor:
    """log(1 + x), exact where x is small: what 1 + x loses is in the divisor too (Higham 2002, section 1.14.1)."""
    u = 1 + x
    return torch.where(u == 1, x, x * torch.log(u) / torch.where(u == 1, 1.0, u - 1))


def _expm1(x: Tensor) -> Tensor:
    """exp(x) - 1, likewise."""
    u = torch.exp(x)
    near = (u != 1) & (u - 1 != -1) & (u < 2)  # else it is x, -1, or has nothing to lose
    log = torch.log(torch.where(near, u, 2.0))
    return torch.where(u == 1, x, torch.where(near, (u - 1) * x / log, u - 1))


def _index(self: Tensor, indices: list[Tensor | None]) -> Any:
    """Indices of 64 bits, which ONNX asks for."""
    if all(i is None or i.dtype in (torch.int64, torch.bool) for i in indices):
        return NotImplemented
    return torch.ops.aten.index(self, [i if i is None or i.dtype is torch.bool else i.long() for i in indices])


def _solve_triangular(a: Tensor, b: Tensor, *, upper: bool, left: bool = True, unitriangular: bool = False) -> Any:
    """Row by row, of a lower matrix with ones on its diagonal; the one of a single step has nothing else."""
    if upper or not left or not unitriangular:
        return NotImplemented
    rows: list[Tensor] = []
    for i in range(a.shape[-1]):
        known = [a[..., i : i + 1, j : j + 1] * row for j, row in enumerate(rows)]
        rows.append(b[..., i : i + 1, :] - sum(known) if known else b[..., i : i + 1, :])
    return torch.cat(rows, -2)


def step_graph(program: Program, model: SequenceModel, *, optimize: bool = True) -> Any:
    """One step as an ONNX model: `symbol [B], state...` -> `logits [B, V], next.state...`, checked.

    `optimize`: fold and rewrite what onnxscript can, which takes as long as the rest.

    Raises `InputError` where ONNX has no operator for a part, and for a model above 2 GB.
    """
    onnx = require("onnx", "export to ONNX", "onnx")
    require("onnxscript", "export to ONNX", "onnx")
    if (size := sum(t.numel() * t.element_size() for t in (*model.parameters(), *model.buffers()))) > _LARGEST:
        raise InputError(f"{size:,} bytes of weights are more than a file of ONNX holds; export it by --to pt2")
    names: Any = {
        "input_names": [SYMBOL, *program.names],
        "output_names": [LOGITS, *(NEXT + name for name in program.names)],
    }
    try:
        with quiet():
            found = torch.onnx.export(
                program.exported, dynamo=True, opset_version=OPSET, verbose=False, optimize=optimize, **names
            )
    except Exception as error:  # it names what it has no translation for, and raises what it likes
        lost = re.search(r"op='(\S+?)'", str(error))
        what = f"the operation {lost[1]}" if lost else f"a part of the model ({type(error).__name__})"
        raise InputError(f"{what} has no form in ONNX; export the model by --to pt2") from error
    assert found is not None
    graph = found.model_proto.graph
    _name_streams(graph)
    return _whole(onnx, graph, found.model_proto)


def _name_streams(graph: Any) -> None:
    """Call the size that streams have `batch`; drop sizes inside the graph, which follow, and where code came from."""
    symbol = next(value for value in graph.input if value.name == SYMBOL)
    own = symbol.type.tensor_type.shape.dim[0].dim_param
    for value in (*graph.input, *graph.output):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param == own:
                dim.dim_param = "batch"
    for told in (graph, *graph.node, *graph.input, *graph.output, *graph.initializer):
        del told.metadata_props[:]
    del graph.value_info[:]


def _whole(onnx: Any, graph: Any, like: Any) -> Any:
    """A graph as a model, checked."""
    made = onnx.helper.make_model(graph, opset_imports=like.opset_import, ir_version=10, producer_name="inn")
    made.functions.extend(like.functions)
    onnx.checker.check_model(made, full_check=True)
    return made


def looped(step: Any) -> Any:
    """The step over and over: `symbols [B, T], state...` -> `logits [B, T, V], next.state...`, one ONNX `Scan`."""
    onnx = require("onnx", "export to ONNX", "onnx")
    graph, weights = step.graph, {t.name for t in step.graph.initializer}
    own = lambda name: name if not name or name in weights else _BODY + name  # noqa: E731
    body = onnx.GraphProto(name="step")
    for node in graph.node:
        new = body.node.add()
        new.CopyFrom(node)
        new.name = own(node.name)
        new.input[:], new.output[:] = map(own, node.input), map(own, node.output)
    # ONNX wants states before what is read, and before what is told.
    for values, into in ((graph.input, body.input), (graph.output, body.output)):
        for value in (*values[1:], values[0]):
            new = into.add()
            new.CopyFrom(value)
            new.name = own(value.name)
    whole = onnx.GraphProto(name="steps")
    whole.initializer.extend(graph.initializer)
    for values, into, name in ((graph.input, whole.input, SYMBOLS), (graph.output, whole.output, LOGITS)):
        first = into.add()
        first.CopyFrom(values[0])
        first.name, shape = name, first.type.tensor_type.shape
        rest = list(shape.dim[1:])
        del shape.dim[1:]
        shape.dim.add().dim_param = "time"
        shape.dim.extend(rest)
        into.extend(values[1:])
    ins, outs = [v.name for v in whole.input], [v.name for v in whole.output]
    axes = {"num_scan_inputs": 1, "scan_input_axes": [1], "scan_output_axes": [1]}
    scan = onnx.helper.make_node("Scan", [*ins[1:], ins[0]], [*outs[1:], outs[0]], name="steps", body=body, **axes)
    whole.node.append(scan)
    return _whole(onnx, whole, step)


def quantised(step: Any) -> Any:
    """The step with matrices of 8 bits, a scale for each column, and what they multiply in 8 bits, a scale a row.

    Rows are scaled each for itself, so that no stream or neuron depends on another's numbers. Both are unsigned with
    128 for zero: sums of those saturate on no processor.
    """
    onnx = require("onnx", "export to ONNX", "onnx")
    graph = onnx.GraphProto()
    graph.CopyFrom(step.graph)
    weights = {t.name: t for t in graph.initializer}
    nodes, taken = [], {}
    for node in graph.node:
        given = weights.get(node.input[0 if node.op_type == "Gather" else 1]) if len(node.input) > 1 else None
        if given is None or given.data_type != onnx.TensorProto.FLOAT or np.prod(given.dims) < _WORTH:
            nodes.append(node)
        elif node.op_type == "Gather" and len(given.dims) == 2 and not _attribute(onnx, node, "axis", 0):
            nodes += _rows_of(onnx, node, taken.setdefault((given.name, -1), _in_8_bits(onnx, given, -1)))
        elif node.op_type == "MatMul" or (node.op_type == "Gemm" and not _odd(onnx, node)):
            axis = -1 if _attribute(onnx, node, "transB", 0) else -2
            nodes += _product(onnx, node, taken.setdefault((given.name, axis), _in_8_bits(onnx, given, axis)))
        else:
            nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
    for tensors in taken.values():
        graph.initializer.extend(tensors)
    for name, value in _CONSTANTS.items():
        graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(value), name))
    used = {name for node in graph.node for name in node.input}
    kept = [t for t in graph.initializer if t.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    return _whole(onnx, graph, step)


_CONSTANTS = {
    "8bit/zero": np.uint8(_MIDDLE),
    "8bit/middle": np.float32(_MIDDLE),
    "8bit/most": np.float32(127),
    "8bit/least": np.float32(1e-30),
    "8bit/last": np.array([-1], np.int64),
}


def _attribute(onnx: Any, node: Any, name: str, default: Any) -> Any:
    found = [a for a in node.attribute if a.name == name]
    return onnx.helper.get_attribute_value(found[0]) if found else default


def _odd(onnx: Any, node: Any) -> bool:
    """Whether a `Gemm` is more than a product and a bias."""
    factors = _attribute(onnx, node, "alpha", 1.0), _attribute(onnx, node, "beta", 1.0)
    return bool(_attribute(onnx, node, "transA", 0)) or factors != (1.0, 1.0)


def _in_8_bits(onnx: Any, tensor: Any, axis: int) -> tuple[Any, Any]:
    """A matrix `[..., I, O]` in 8 bits and its scales `[..., 1, O]`; of `[O, I]`, `axis` -1, they are `[O, 1]`."""
    numbers = onnx.numpy_helper.to_array(tensor)
    scale = np.maximum(np.abs(numbers).max(axis, keepdims=True) / 127, np.float32(1e-30))
    whole = (np.rint(numbers / scale) + _MIDDLE).astype(np.uint8)
    name = f"{tensor.name}/8bit/{axis}"
    return onnx.numpy_helper.from_array(whole, name), onnx.numpy_helper.from_array(scale, f"{name}/scale")


def _rows_of(onnx: Any, node: Any, tensors: tuple[Any, Any]) -> Iterator[Any]:
    """The nodes of rows taken out of a table of 8 bits."""
    out, make = node.output[0], onnx.helper.make_node
    yield make("Gather", [tensors[0].name, node.input[1]], [f"{out}/whole"])
    yield make("Gather", [tensors[1].name, node.input[1]], [f"{out}/scale"])
    yield make("Cast", [f"{out}/whole"], [f"{out}/number"], to=onnx.TensorProto.FLOAT)
    yield make("Sub", [f"{out}/number", "8bit/middle"], [f"{out}/centred"])
    yield make("Mul", [f"{out}/centred", f"{out}/scale"], [out])


def _product(onnx: Any, node: Any, tensors: tuple[Any, Any]) -> Iterator[Any]:
    """The nodes of a product of whole numbers in place of one of floats."""
    out, make, (matrix, columns) = node.output[0], onnx.helper.make_node, (tensors[0].name, tensors[1].name)
    if _attribute(onnx, node, "transB", 0):
        yield make("Transpose", [matrix], [f"{out}/matrix"], perm=[1, 0])
        yield make("Transpose", [columns], [f"{out}/columns"], perm=[1, 0])
        matrix, columns = f"{out}/matrix", f"{out}/columns"
    yield make("Abs", [node.input[0]], [f"{out}/size"])
    yield make("ReduceMax", [f"{out}/size", "8bit/last"], [f"{out}/greatest"], keepdims=1)
    yield make("Div", [f"{out}/greatest", "8bit/most"], [f"{out}/unit"])
    yield make("Max", [f"{out}/unit", "8bit/least"], [f"{out}/scale"])
    yield make("Div", [node.input[0], f"{out}/scale"], [f"{out}/scaled"])
    yield make("Round", [f"{out}/scaled"], [f"{out}/rounded"])
    yield make("Add", [f"{out}/rounded", "8bit/middle"], [f"{out}/raised"])
    yield make("Cast", [f"{out}/raised"], [f"{out}/whole"], to=onnx.TensorProto.UINT8)
    yield make("MatMulInteger", [f"{out}/whole", matrix, "8bit/zero", "8bit/zero"], [f"{out}/sum"])
    yield make("Cast", [f"{out}/sum"], [f"{out}/number"], to=onnx.TensorProto.FLOAT)
    yield make("Mul", [f"{out}/number", f"{out}/scale"], [f"{out}/rows"])
    if node.op_type == "MatMul" or len(node.input) < 3:
        yield make("Mul", [f"{out}/rows", columns], [out])
    else:
        yield make("Mul", [f"{out}/rows", columns], [f"{out}/product"])
        yield make("Add", [f"{out}/product", node.input[2]], [out])
