"""Lowering: what the functions that turn operations of a graph into those of a program are written with."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Container, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.fx import Graph, Node
from torch.fx.node import map_arg

from inn.export.program import Buffer, Call, Map, Operand, Take, View, padded_to, strides_of
from inn.system.errors import InputError

Value = Any
"""What a node of a graph gives: a `View`, a `Tensor` of known numbers, a plain value, or a list of these."""


def traced(module: nn.Module, inputs: tuple[Any, ...], whole: Sequence[str] = ()) -> torch.export.ExportedProgram:
    """A module's graph of small operations for inputs of these shapes; those named in `whole` are not taken apart."""
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table = torch.export.default_decompositions() if whole else None
        for name in whole:
            assert table is not None
            table.pop(getattr(torch.ops.aten, name).default, None)
        with torch.backends.mkldnn.flags(enabled=False):
            return torch.export.export(module, inputs).run_decompositions(table)


class Lowering:
    """Operations of graphs, lowered one after the other.

    Args:
        model: what the model is called, for errors.
        operations: what each operation of a graph becomes, by name: functions of a lowering, the node and its inputs.
        unfolded: names of operations that are never done beforehand, even where all that they take is known.

    Attributes:
        ops: what has been lowered.
        names: names of weights, by the address of their numbers.
        whole: operations that are not taken apart when a module is traced.
    """

    whole: ClassVar[tuple[str, ...]] = ()

    def __init__(self, model: str, operations: Mapping[str, Callable[..., Any]], unfolded: Container[str] = ()):
        self.model, self.operations, self.unfolded = model, operations, unfolded
        self.ops: list[Any] = []
        self.names: dict[int, str] = {}
        self.part = ""
        self._weights: dict[Any, tuple[Buffer, Tensor]] = {}  # tensors stay, or another could have their address
        self._kept: list[Tensor] = []
        self._work = 0

    def graph(self, graph: Graph, known: dict[str, Value]) -> list[Value]:
        """Lower a graph whose inputs are `known` by name; returns its outputs."""
        values: dict[Node, Value] = {}

        def value(of: Any) -> Value:
            return map_arg(of, lambda node: values[node])

        for node in graph.nodes:
            if node.op == "placeholder":
                values[node] = known[node.name]
            elif node.op == "output":
                return list(value(node.args[0]))
            else:
                if stack := node.meta.get("nn_module_stack"):
                    self.part = part_of(list(stack.values())[-1][0]) or self.part
                args, kwargs = value(node.args), value(node.kwargs)
                name = node.target.__name__ if isinstance(node.target, type(len)) else str(node.target)
                name = name.removeprefix("aten.").removesuffix(".default")
                if not _views(args) and not _views(kwargs) and name not in self.unfolded:
                    values[node] = self.folded(node, name, args, kwargs)
                    continue
                lower = self.operations.get(name)
                if lower is None:
                    raise InputError(
                        f"{self.part or 'the model'} of this {self.model} takes the operation '{name}', which an "
                        "export to code has no form of; choose another kind for that part"
                    )
                values[node] = lower(self, node, *args, **kwargs)
        return []

    def folded(self, node: Node, name: str, args: Any, kwargs: Any) -> Value:
        """What an operation gives of which all that it takes is known."""
        with torch.no_grad():
            return node.target(*args, **kwargs)  # type: ignore[operator]

    # What the functions of `operations` are written with.

    def work(self, shape: Sequence[int], dtype: str) -> View:
        """A new array that lives within a step."""
        self._work += 1
        buffer = Buffer(f"t{self._work}", "work", tuple(shape), dtype)
        return View(buffer, buffer.shape, strides_of(buffer.shape))

    def view(self, value: Value) -> View:
        """A value as numbers of a buffer: known numbers become a weight."""
        if isinstance(value, View):
            return value
        if isinstance(value, (int, float, bool)):
            value = torch.tensor(value)
        shape, steps = tuple(value.shape), value.stride()
        narrow = value
        for axis, (size, step) in enumerate(zip(shape, steps)):
            if size > 1 and step == 0:  # expanded: the numbers are there once
                narrow = narrow.narrow(axis, 0, 1)
        dense = narrow.contiguous()
        key = (narrow.data_ptr(), narrow.numel(), dtype_name(dense), () if narrow.is_contiguous() else narrow.stride())
        if key not in self._weights:
            name = self.names.get(narrow.data_ptr(), f"constant{len(self._weights)}")
            used = {b.name for b, _ in self._weights.values()}
            name = name if name not in used else f"{name}_{len(self._weights)}"
            self._weights[key] = Buffer(name, "weight", tuple(dense.shape), dtype_name(dense), dense), narrow
        buffer = self._weights[key][0]
        return View(buffer, tuple(narrow.shape), strides_of(narrow.shape)).broadcast(shape)

    def named(self, made: Tensor, of: Tensor) -> Tensor:
        """Numbers made of a weight, which have its name."""
        self._kept.append(made)
        self.names[made.data_ptr()] = self.names.get(of.data_ptr(), f"constant{len(self.names)}")
        return made

    def linear_weight(self, weight: Tensor, of: Tensor, role: str = "") -> Buffer:
        """The buffer of a linear map's matrices `[P, O, I]`, made of the parameter `of`."""
        key = ("linear" + role, of.data_ptr(), tuple(weight.shape), weight.stride())
        if key not in self._weights:
            name = self.names.get(of.data_ptr(), f"matrix{len(self._weights)}")
            used = {b.name for b, _ in self._weights.values()}
            name = name if name not in used else f"{name}_{len(self._weights)}"
            data = weight.contiguous()
            self._weights[key] = Buffer(name, "weight", tuple(data.shape), "float32", data, linear=True), of
        return self._weights[key][0]

    def operand(self, value: Value, shape: Sequence[int]) -> Operand:
        """A value as an operand of a map over `shape`; a single known number is written as such."""
        if isinstance(value, (int, float, bool)):
            return value
        if isinstance(value, Tensor) and value.numel() == 1:
            return value.item()
        return self.view(value).broadcast(shape)

    def map(self, fn: str, shape: Sequence[int], dtype: str, *inputs: Value, within: str | None = None) -> View:
        """An elementwise function of values; computed in the type `within`, by default that of what comes out."""
        out = self.work(shape, dtype)
        operands = tuple(i if isinstance(i, Take) else self.operand(i, shape) for i in inputs)
        self.ops.append(Map(fn, operands, out, within or dtype, self.part))
        return out

    def copy(self, value: Value, target: View, part: str | None = None) -> None:
        """Write a value to where `target` is."""
        self.ops.append(Map("copy", (self.operand(value, target.shape),), target, target.dtype, part or self.part))

    def dense(self, value: Value) -> View:
        """A value whose numbers stand side by side; copied if they do not."""
        view = self.view(value)
        return view if view.dense else self.map("copy", view.shape, view.dtype, view)

    def rows(self, value: Value) -> View:
        """A value `[1, 1, N, D]` as rows `[N, D]` whose numbers stand side by side."""
        view = self.view(value)
        if view.strides[-1] != 1 and view.shape[-1] != 1:
            view = self.map("copy", view.shape, view.dtype, view)
        return View(view.buffer, view.shape[-2:], view.strides[-2:], view.offset)

    def call(
        self,
        name: str,
        inputs: Sequence[View | None],
        outputs: Sequence[View],
        changes: Sequence[View] = (),
        **options: Any,
    ) -> None:
        """A named operation."""
        self.ops.append(Call(name, tuple(inputs), tuple(outputs), options, self.part, tuple(changes)))

    def linear(self, x: View, weight: Tensor, bias: Tensor | None, of: Tensor) -> View:
        """Rows `x` `[N, I]` by known matrices `[P, O, I]`: rows `[N, O]`, with padding between them."""
        sets, outputs, inputs = weight.shape
        neurons = x.shape[0]
        wide = padded_to(outputs)
        weight = nn.functional.pad(weight, (0, 0, 0, wide - outputs))
        padded = None if bias is None else nn.functional.pad(bias, (0, wide - outputs))
        out = self.work((neurons, wide), "float32")
        alike = neurons > 1 and x.strides[0] == 0 and sets == neurons
        if alike:  # all hear the same: one large map
            x, weight = View(x.buffer, (1, inputs), (inputs, 1), x.offset), weight.reshape(1, -1, inputs)
            padded = None if padded is None else padded.reshape(1, -1)
        if padded is not None and bias is not None:
            padded = self.named(padded, bias)
        rows = weight.shape[1]
        self.call(
            "linear",
            (
                x,
                View(self.linear_weight(weight, of), tuple(weight.shape), strides_of(weight.shape)),
                None if padded is None else self.view(padded),
            ),
            (View(out.buffer, (x.shape[0], rows), (rows, 1)),),
        )
        return View(out.buffer, (neurons, outputs), (wide, 1))

    def expanded(self, module: nn.Module, inputs: Sequence[Value]) -> list[Value]:
        """What a module of smaller operations gives, lowered in place of one large one."""
        fakes = tuple(
            v.detach() if isinstance(v, Tensor) else torch.zeros(v.shape, dtype=getattr(torch, v.dtype)) for v in inputs
        )
        found = traced(module, fakes, self.whole)
        known: dict[str, Value] = dict(zip(map(str, found.graph_signature.user_inputs), inputs, strict=True))
        for name, target in found.graph_signature.inputs_to_lifted_tensor_constants.items():
            known[name] = found.constants[target]
        for name, target in found.graph_signature.inputs_to_buffers.items():
            known[name] = found.constants[target] if target in found.constants else found.state_dict[target]
        part = self.part
        values = self.graph(found.graph, known)
        self.part = part
        return values


def part_of(path: str) -> str:
    """A module's path in words.

    >>> part_of("model.backbone.rounds.0.router.hear")
    'round 1, router, hear'
    """
    words = path.split(".")
    named = [
        f"round {int(w) + 1}" if before == "rounds" else w.replace("_", " ") for before, w in zip(["", *words], words)
    ]
    return ", ".join(w for w in named if w not in ("model", "backbone", "rounds", ""))


def name_of(target: str) -> str:
    path = target.removeprefix("model.").replace("backbone.", "").replace("rounds.", "round")
    return "".join(c if c.isalnum() else "_" for c in path)


def shape_of(node: Node, i: int | None = None) -> tuple[int, ...]:
    """The shape that a node gives; of several values that of one."""
    value = node.meta["val"]
    return tuple((value if i is None else value[i]).shape)


def dtype_of(node: Node) -> str:
    """The type that a node gives."""
    return dtype_name(node.meta["val"])


def last_axis(view: View, axis: int) -> View:
    """A view whose last axis is that one."""
    axis %= len(view.shape)
    return view.axes([a for a in range(len(view.shape)) if a != axis] + [axis])


def dtype_name(t: Tensor) -> str:
    """The name of a tensor's type."""
    return str(t.dtype).removeprefix("torch.")


def _views(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return any(map(_views, value))
    if isinstance(value, dict):
        return any(map(_views, value.values()))
    return isinstance(value, View)
