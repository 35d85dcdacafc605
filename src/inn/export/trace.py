"""From a model to a program: a step is traced by `torch.export`, and each operation of the graph lowered."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from inn.export.lowering import Lowering, Value, dtype_name, name_of, traced
from inn.export.operations import OPERATIONS, UNFOLDED
from inn.export.passes import simplified
from inn.export.program import Buffer, Program, View, padded_to, strides_of
from inn.export.watched import Watched, everything
from inn.models.inn import RECALL
from inn.models.sequence import SequenceModel
from inn.nn.recall.base import Found
from inn.nn.state import State
from inn.system.errors import InputError


class _Step(nn.Module):
    def __init__(self, model: SequenceModel):
        super().__init__()
        self.model = model

    def forward(self, symbol: Tensor, state: State) -> tuple[Tensor, State]:
        return self.model.step(symbol, state)


class _Told(_Step):
    def forward(self, symbol: Tensor, state: State, *found: Tensor) -> tuple[Tensor, State]:
        logits, after = self.model(symbol[:, None], state, found=dict(zip(self.names, found)))
        return logits[:, 0], after

    def __init__(self, model: SequenceModel, names: Sequence[str]):
        super().__init__(model)
        self.names = names


def program_of(
    model: SequenceModel,
    start: State | None = None,
    watched: bool = False,
    *,
    found: Found | None = None,
    lowering: type[Lowering] = Lowering,
) -> Program:
    """What `model.step` does for one stream, as a program.

    Args:
        model: on the CPU, in evaluation mode.
        start: what it carries at the beginning; by default `model.initial_state(1)`.
        watched: whether neurons and edges can be silenced, and what neurons do is told too: a step of `Watched`, with
            inputs `spoken` and `open` and outputs by channel.
        found: an example of what one stream finds at one symbol, `[1, 1, ...]` by name: the step is then told what is
            found, by inputs of these names, and carries no tables.
        lowering: what turns the traced graph into a program.

    Raises `InputError`, with the name of the operation, for a part that does what the program has no word for.

    >>> import inn
    >>> model = inn.INN(vocab=5, neurons=2, width=8, rounds=1, recall="none").eval()
    >>> [state.name for state in program_of(model).states]
    ['round0_conv', 'round0_ssm']
    """
    state = model.initial_state(1)
    if found is not None:
        state = State({key: t for key, t in state.items() if key[0] != RECALL})
    if start is not None:  # in the order in which a step gives its parts
        state = State({key: start[key] for key in state})
    module = Watched(model) if watched else _Step(model) if found is None else _Told(model, [*found])  # type: ignore[arg-type]
    given = {"symbol": torch.zeros(1, dtype=torch.int64)}
    more: dict[str, Tensor] = {} if found is None else {**found}
    if watched:
        more = dict(zip(("spoken", "open"), everything(model)))  # type: ignore[arg-type]
    try:
        graph = traced(module, (*given.values(), state, *more.values()), lowering.whole)
    except Exception as error:  # PyTorch has many ways to say so
        reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        raise InputError(
            f"a step of a {type(model).__name__} cannot be traced by torch.export ({reason}); export a model whose "
            "step depends on shapes alone"
        ) from error
    low = lowering(type(model).__name__, OPERATIONS, UNFOLDED)
    signature = graph.graph_signature
    known: dict[str, Value] = {}
    weights = {**graph.state_dict, **graph.constants}
    for name, target in {**signature.inputs_to_parameters, **signature.inputs_to_buffers}.items():
        known[name] = weights[target].detach()
        low.names[known[name].data_ptr()] = name_of(target)
    for name, target in signature.inputs_to_lifted_tensor_constants.items():
        known[name] = graph.constants[target]
    first, *others = map(str, signature.user_inputs)
    inputs = []
    for name, (own, t) in zip([first, *others[len(state) :]], {**given, **more}.items(), strict=True):
        inputs.append(Buffer(own, "input", tuple(t.shape), dtype_name(t)))
        known[name] = View(inputs[-1], inputs[-1].shape, strides_of(inputs[-1].shape))
    scanned = {str(n.args[7]) for n in graph.graph.nodes if str(n.target) == "inn.selective_scan_fwd.default"}
    states, carried = [], {}
    for name, ((r, part), t) in zip(others, state.items()):  # what comes after them are the controls
        # A scan runs over its channels: they stand side by side.
        wide = padded_to(t.shape[-2]) if name in scanned else 0
        laid = nn.functional.pad(t.transpose(-1, -2), (0, wide - t.shape[-2])) if wide else t
        own = Buffer(_state_name(r, part), "state", tuple(laid.shape), dtype_name(t), laid.contiguous())
        steps = strides_of(own.shape)
        known[name] = View(own, tuple(t.shape), (*steps[:-2], 1, wide) if wide else steps)
        carried[r, part] = known[name]
        states.append(own)
    logits, *after = low.graph(graph.graph, known)
    if [v.shape for v in carried.values()] != [tuple(v.shape) for v in after[: len(states)]]:
        raise InputError(
            f"the state of a {type(model).__name__} grows as it reads, and an export to code carries arrays "
            "of fixed size; export another kind"
        )
    for target, value in zip(carried.values(), after):
        low.copy(value, target, "state")
    told = {"logits": logits, **dict(zip(module.channels if watched else (), after[len(states) :]))}  # type: ignore[arg-type]
    outputs = []
    for name, value in told.items():
        shape = low.view(value).shape
        outputs.append(Buffer(name, "output", shape[1:] if name == "logits" else shape, "float32"))
        low.copy(value, View(outputs[-1], shape, strides_of(shape)), "head" if name == "logits" else name)
    symbol, *controls = inputs
    return simplified(Program(symbol, outputs[0], states, carried, low.ops, controls, outputs[1:]))


def _state_name(r: int, part: str) -> str:
    own = "".join(c if c.isalnum() else "_" for c in part)
    return f"recall_{own}" if r < 0 else f"round{r}_{own}"
