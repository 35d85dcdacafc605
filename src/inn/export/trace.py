"""From a model to a program: a step is traced by `torch.export`, and each operation of the graph lowered."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from inn.export.lowering import Lowering, Value, dtype_name, name_of, traced
from inn.export.passes import simplified
from inn.export.program import Buffer, Program, View, padded_to, strides_of
from inn.models.sequence import SequenceModel
from inn.nn.state import State
from inn.system.errors import InputError


class _Step(nn.Module):
    def __init__(self, model: SequenceModel):
        super().__init__()
        self.model = model

    def forward(self, symbol: Tensor, state: State) -> tuple[Tensor, State]:
        return self.model.step(symbol, state)


def program_of(model: SequenceModel) -> Program:
    """What `model.step` does for one stream, as a program.

    Args:
        model: on the CPU, in evaluation mode. What it carries at the beginning is `model.initial_state(1)`.

    Raises `InputError`, with the name of the operation, for a part that does what the program has no word for.

    >>> import inn
    >>> model = inn.INN(vocab=5, neurons=2, width=8, rounds=1, recall="none").eval()
    >>> [state.name for state in program_of(model).states]
    ['round0_conv', 'round0_ssm']
    """
    state = model.initial_state(1)
    symbol = torch.zeros(1, dtype=torch.int64)
    try:
        found = traced(_Step(model), (symbol, state))
    except Exception as error:  # PyTorch has many ways to say so
        reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        raise InputError(
            f"a step of a {type(model).__name__} cannot be traced by torch.export ({reason}); export a model whose "
            "step depends on shapes alone"
        ) from error
    lowering = Lowering(type(model).__name__)
    signature = found.graph_signature
    known: dict[str, Value] = {}
    weights = {**found.state_dict, **found.constants}
    for name, target in {**signature.inputs_to_parameters, **signature.inputs_to_buffers}.items():
        known[name] = weights[target].detach()
        lowering.names[known[name].data_ptr()] = name_of(target)
    for name, target in signature.inputs_to_lifted_tensor_constants.items():
        known[name] = found.constants[target]
    first, *others = map(str, signature.user_inputs)
    buffer = Buffer("symbol", "input", (1,), "int64")
    known[first] = View(buffer, (1,), (1,))
    scanned = {str(n.args[7]) for n in found.graph.nodes if str(n.target) == "inn.selective_scan_fwd.default"}
    states, carried = [], []
    for name, ((r, part), t) in zip(others, state.items(), strict=True):
        # A scan runs over its channels: they stand side by side.
        wide = padded_to(t.shape[-2]) if name in scanned else 0
        laid = nn.functional.pad(t.transpose(-1, -2), (0, wide - t.shape[-2])) if wide else t
        own = Buffer(_state_name(r, part), "state", tuple(laid.shape), dtype_name(t), laid.contiguous())
        steps = strides_of(own.shape)
        known[name] = View(own, tuple(t.shape), (*steps[:-2], 1, wide) if wide else steps)
        carried.append(known[name])
        states.append(own)
    logits, *after = lowering.graph(found.graph, known)
    shape = lowering.view(logits).shape
    output = Buffer("logits", "output", (shape[-1],), "float32")
    for target, value in zip(carried, after, strict=True):
        lowering.copy(value, target, "state")
    lowering.copy(logits, View(output, shape, strides_of(shape)), "head")
    return simplified(Program(buffer, output, states, carried, lowering.ops))


def _state_name(r: int, part: str) -> str:
    own = "".join(c if c.isalnum() else "_" for c in part)
    return f"recall_{own}" if r < 0 else f"round{r}_{own}"
