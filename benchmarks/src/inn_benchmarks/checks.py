"""Whether what runs on a card computes what it should: every op on every backend, and whole models, against float64."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import torch
from torch import Tensor

from inn.config.assemble import model_config
from inn.models.build import build_model
from inn.ops import (
    causal_conv,
    memory_step,
    neighbour_attention,
    neighbour_messages,
    neighbour_scores,
    neighbour_sum,
    neuron_attention,
    neuron_linear,
    neuron_norm,
    recall,
    recurrence,
    selective_scan,
    use_backend,
)
from inn.ops.dispatch import Backend, Op

TOLERANCE = {torch.float32: 5e-4, torch.bfloat16: 0.06, torch.float16: 0.02}
"""Of an output or a gradient, as a share of its largest number (1 where that is smaller)."""
Inputs = list[Tensor]
Case = tuple[Inputs, tuple[Any, ...]]
"""What an op reads: tensors that have a gradient, in float32, and what follows them."""

SIZES = {
    "small": [(1, 5, 2, 3, 2)],
    "full": [(2, 7, 2, 5, 3), (2, 67, 3, 33, 16), (1, 1, 1, 1, 1), (3, 131, 2, 65, 4), (2, 300, 8, 128, 16)],
}
"""Batch, time, neurons, channels, states; `small` is for an interpreter."""
FLAGS = (0, 1, 2, 3)
"""1: resets, 2: a mask."""


def _flags(shape: tuple[int, int], wanted: int) -> tuple[Tensor | None, Tensor | None]:
    return torch.rand(shape) < 0.15 if wanted & 1 else None, torch.rand(shape) < 0.7 if wanted & 2 else None


def _scans(b: int, t: int, n: int, e: int, s: int) -> Iterator[Case]:
    for p, flags in product({1, n}, FLAGS):
        u, z = torch.randn(n, b, t, 2 * e).permute(1, 2, 0, 3).chunk(2, -1)  # as the in-projection leaves them
        B, C = torch.randn(b, t, n, 2 * s).split(s, -1)
        A = -torch.rand(p, e, s) * 4
        A[..., 0] = 0  # a state that never decays
        dt = torch.randn(b, t, n, e) * 3 - 2
        yield [u, dt, A, B, C, torch.randn(p, e), z, torch.randn(b, n, e, s)], _flags((b, t), flags)


def _convs(b: int, t: int, n: int, e: int, taps: int) -> Iterator[Case]:
    for p, flags in product({1, n}, FLAGS):
        x = torch.randn(n, b, t, 2 * e).permute(1, 2, 0, 3).chunk(2, -1)[0]
        k = min(taps, 4)
        yield [x, torch.randn(p, e, k), torch.randn(p, e), torch.randn(b, n, k - 1, e)], _flags((b, t), flags)


def _attentions(b: int, t: int, n: int, width: int, heads: int) -> Iterator[Case]:
    for neurons, closed in product({n, _many(n)}, (False, True)):
        q, k, v = (torch.randn(neurons, b, min(t, 9), min(heads, 4), width).permute(1, 2, 0, 3, 4) for _ in range(3))
        yield [q, k, v], (torch.rand(neurons, neurons) < 0.5 if closed else None,)


def _many(n: int) -> int:
    """Enough neurons for several blocks; of the sizes for an interpreter, a few."""
    return 8 * n + 3 if n > 2 else n + 3


def _edges(n: int) -> tuple[Tensor, Tensor]:
    return torch.randint(n, (n, min(n, 16))), torch.rand(n, min(n, 16)) < 0.7


def _listed(b: int, t: int, n: int, width: int, heads: int) -> Iterator[Case]:
    for neurons, full in product({n, _many(n)}, (False, True)):
        q, k, v = (torch.randn(neurons, b, min(t, 9), min(heads, 4), width).permute(1, 2, 0, 3, 4) for _ in range(3))
        sources, is_open = _edges(neurons)
        signs, present = torch.randint(2, sources.shape) * 2 - 1, torch.rand(q.shape[:3]) < 0.6
        yield [q, k, v], (sources, is_open, *((signs, torch.randn(sources.shape), present) if full else ()))


def _sums(b: int, t: int, n: int, width: int, heads: int) -> Iterator[Case]:
    v, edges = torch.randn(b, min(t, 9), n, min(heads, 4), width), _edges(n)
    yield [v.flatten(3), torch.randn(edges[0].shape)], (*edges,)
    yield [v, torch.randn(*v.shape[:2], v.shape[3], *edges[0].shape)], (*edges,)


def _scores(b: int, t: int, n: int, width: int, heads: int) -> Iterator[Case]:
    yield list(torch.randn(2, b, min(t, 9), n, min(heads, 4), width).unbind(0)), _edges(n)


def _messages(b: int, t: int, n: int, width: int, outputs: int) -> Iterator[Case]:
    for p, signed in product({1, n}, (False, True)):
        sources, is_open = _edges(n)
        weight = torch.randn(p, outputs, sources.shape[1], width) / width**0.5
        signs = torch.randint(2, sources.shape) * 2 - 1 if signed else None
        yield [torch.randn(b, t, n, width), weight], (sources, is_open, signs)


def _maps(b: int, t: int, n: int, inputs: int, outputs: int) -> Iterator[Case]:
    for p, bias in product({1, n}, (False, True)):
        x = torch.randn(b, t, n, 2 * inputs).chunk(2, -1)[0]
        yield [x, torch.randn(p, outputs, inputs), *([torch.randn(p, outputs)] if bias else [])], ()


def _norms(b: int, t: int, n: int, width: int, _: int) -> Iterator[Case]:
    for p in {1, n}:  # not of width 2, where rounding is all that the gradient is
        yield [torch.randn(b, t, n, width + 2), torch.randn(p, width + 2), torch.randn(p, width + 2)], ()


GATES = {"elman": (1, 1), "gru": (3, 1), "lstm": (4, 2), "slstm": (4, 4)}
"""The cells that a GPU has a kernel for: their gates and states."""


def loop_of(cell: str) -> Op:
    """The recurrence of one cell as an op of `x, state, *weights, reset, mask`."""

    def turned(call: Callable[..., Any]) -> Callable[..., Any]:
        return lambda x, state, *rest: call(cell, x, state, *rest[-2:], *rest[:-2])

    each = recurrence.backends.values()
    return Op("recurrence", *(Backend(b.name, turned(b.run), turned(b.refuses), b.kernel) for b in each))


def loop_inputs(cell: str, b: int, t: int, n: int, p: int, units: int) -> Inputs:
    """x, the state and the weights of a cell, as models lay them out."""
    gates, states = GATES[cell]
    x = torch.randn(n, b, t, gates * units).permute(1, 2, 0, 3)
    state = torch.randn(b, n, states, units)
    if cell == "slstm":
        state[:, :, 2] = state[:, :, 2].abs() + 0.5  # the normaliser
    return [
        x,
        state,
        torch.randn(p, gates * units, units) / units**0.5,
        *([torch.randn(p, units)] if cell == "gru" else []),
    ]


def _loops(cell: str) -> Callable[..., Iterator[Case]]:
    def cases(b: int, t: int, n: int, units: int, _: int) -> Iterator[Case]:
        for p, flags in product({1, n}, FLAGS):
            yield loop_inputs(cell, b, t, n, p, units), _flags((b, t), flags)

    return cases


OPS: dict[str, tuple[Op, Callable[..., Iterator[Case]], tuple[int, ...]]] = {
    "scan": (selective_scan, _scans, (0, 1, 3, 4, 6)),
    "conv": (causal_conv, _convs, (0,)),
    "attention": (neuron_attention, _attentions, (0, 1, 2)),
    "linear": (neuron_linear, _maps, (0, 1, 2)),
    "listed attention": (neighbour_attention, _listed, (0, 1, 2)),
    "listed sums": (neighbour_sum, _sums, (0,)),
    "listed scores": (neighbour_scores, _scores, (0, 1)),
    "listed messages": (neighbour_messages, _messages, (0, 1)),
    "norm": (neuron_norm, _norms, (0,)),
    **{f"loop {cell}": (loop_of(cell), _loops(cell), (0,)) for cell in GATES},
}
"""Every op with derivatives: what it is fed, and which of its inputs come in the type of the arithmetic."""


def check_op(name: str, device: str, sizes: str = "full", seconds: float = 60.0) -> dict[str, Any]:
    """Compare outputs and all gradients of an op, on every backend and in every type, with its reference in float64.

    Of `small` sizes the first case is of all types, and each of the others of one, in turn; where three things vary,
    half of the cases are taken, so that any two of them still meet in all ways.

    Returns the cases compared, the largest error by backend and type as a share of the tolerance, why backends refused,
    and what was wrong. Ends after so many seconds, with `complete` False.
    """
    op, cases, streams = OPS[name]
    found = _Found(seconds)
    torch.manual_seed(0)
    for size in SIZES[sizes]:
        for at, (inputs, options) in enumerate(_half(list(cases(*size))) if sizes == "small" else cases(*size)):
            bars: dict[torch.dtype, list[Tensor]] = {}
            kinds = list(TOLERANCE)[at % 3 :][:1] if at and sizes == "small" else list(TOLERANCE)
            for kind, backend in product(kinds, ("chosen", *(b for b in op.backends if b != "reference"))):
                if found.late():
                    return found.plain()
                given = [a.to(kind) if i in streams else a for i, a in enumerate(inputs)]
                if kind not in bars:
                    with use_backend("reference"):
                        bars[kind] = _run(op, [a.double() for a in given], options, "cpu")
                what = f"{backend}, {str(kind).removeprefix('torch.')}"
                try:
                    ours = _on(op, backend, given, options, device)
                except Exception as error:  # whatever a kernel, a compiler or a driver says is a finding
                    found.wrong.append(f"{what}, {size}: {type(error).__name__}: {str(error)[:300]}")
                    continue
                if isinstance(ours, str):
                    found.refused[what] = ours
                else:
                    found.compare(what, f"{size}", ours, bars[kind], TOLERANCE[kind])
    return found.plain(True)


def _half(cases: list[Case]) -> list[Case]:
    """Of eight cases of three things that are or are not so the four where an even number of them is; of fewer all."""
    return [case for at, case in enumerate(cases) if len(cases) < 8 or at.bit_count() % 2 == 0]


def _on(op: Op, backend: str, inputs: Inputs, options: tuple[Any, ...], device: str) -> list[Tensor] | str:
    """Outputs and gradients on a backend of that name, or on what the op chooses; or why it cannot take the call."""
    if backend == "chosen":
        return _run(op, inputs, options, device)
    with use_backend(backend):
        there = [a.to(device) for a in inputs]
        if reason := op.backends[backend].refuses(*there, *(_moved(o, device) for o in options)):
            return reason
        return _run(op, inputs, options, device)


def _moved(value: Any, device: str) -> Any:
    return value.to(device) if isinstance(value, Tensor) else value


def _run(op: Op, inputs: Inputs, options: tuple[Any, ...], device: str) -> list[Tensor]:
    """Outputs and the gradients of every input, in float64 on the CPU; what a masked step gives is taken for zero."""
    args = [a.detach().to(device).requires_grad_() for a in inputs]
    outputs = op(*args, *(_moved(o, device) for o in options))
    outputs = [o.cpu().double() for o in (outputs if isinstance(outputs, tuple) else (outputs,)) if o is not None]
    if len(options) == 2 and options[1] is not None and options[1].shape == outputs[0].shape[:2]:
        outputs[0] = outputs[0] * options[1][:, :, None, None]
    weights = torch.Generator().manual_seed(1)
    loss = sum((o * torch.randn(o.shape, generator=weights, dtype=o.dtype)).sum() for o in outputs)
    loss = loss + sum(0 * a.double().sum().cpu() for a in args)  # where all is masked or reset, some are not used
    gradients = torch.autograd.grad(loss, args)  # type: ignore[arg-type]
    return [t.detach().cpu().double() for t in (*outputs, *gradients)]


class _Found:
    """What the comparisons of a check came to."""

    def __init__(self, seconds: float):
        self.until = time.monotonic() + seconds
        self.cases, self.worst, self.refused = 0, dict[str, float](), dict[str, str]()
        self.wrong: list[str] = []

    def late(self) -> bool:
        return time.monotonic() > self.until

    def compare(self, what: str, size: str, ours: list[Tensor], bars: list[Tensor], tolerance: float) -> None:
        self.cases += 1
        for i, (a, bar) in enumerate(zip(ours, bars, strict=True)):
            if a.shape != bar.shape:
                self.wrong.append(f"{what}, {size}: [{i}] has shape {list(a.shape)}, not {list(bar.shape)}")
            elif bar.numel():
                share = float((a - bar).abs().max() / bar.abs().max().clamp_min(1.0)) / tolerance
                self.worst[what] = max(self.worst.get(what, 0.0), share)
                if not share <= 1:
                    self.wrong.append(f"{what}, {size}: [{i}] is off by {share:.3g} times the tolerance")

    def plain(self, complete: bool = False) -> dict[str, Any]:
        return {
            "cases": self.cases,
            "complete": complete,
            "worst": {what: round(share, 4) for what, share in self.worst.items()},
            "refused": self.refused,
            "wrong": self.wrong[:20],
            "failures": len(self.wrong),
        }


def check_step(device: str, seconds: float = 60.0) -> dict[str, Any]:
    """The step of a memory, which changes its state in place, against the same on the reference ops in float64."""
    found = _Found(seconds)
    torch.manual_seed(0)
    b, n, d, e, s, k, r = 3, 4, 20, 33, 16, 4, 5
    for p, into, kind in product((1, n), (True, False), TOLERANCE):
        shapes = [(p, e, k), (p, e), (p, r + 2 * s, e), (p, e, r), (p, e), (p, e, s), (p, e), (p, d, e)]
        x = [torch.randn(b, 1, n, d), torch.randn(p, 2 * e, d)] if into else [torch.randn(b, 1, n, 2 * e), None]
        args: list[Any] = [*x, *(torch.randn(shape) / shape[-1] ** 0.5 for shape in shapes)]
        args = [a.to(kind) if a is not None and i in (0, 1, 4, 5, 6, 9) else a for i, a in enumerate(args)]  # the maps
        states = [torch.randn(b, n, k - 1, e), torch.randn(b, n, e, s)]
        ours = [_moved(a, device) for a in (*args, *(t.clone() for t in states))]
        exact: list[Any] = [a if a is None else a.double() for a in (*args, *states)]
        what = str(kind).removeprefix("torch.")
        try:
            with torch.no_grad():
                for _ in range(3):
                    y = memory_step(*ours)
                    with use_backend("reference"):
                        exact_y = memory_step.backends["torch"].run(*exact)
        except Exception as error:
            found.wrong.append(f"{what}: {type(error).__name__}: {str(error)[:300]}")
            continue
        got = [t.cpu().double() for t in (y, *ours[-2:])]
        found.compare(what, f"P {p}, into {into}", got, [exact_y, *exact[-2:]], 3 * TOLERANCE[kind])
    return found.plain(True)


def check_recall(device: str, seconds: float = 60.0) -> dict[str, Any]:
    """Looking up what followed the last time: bit for bit the reference loop."""
    found = _Found(seconds)
    torch.manual_seed(0)
    orders = (1, 2, 3, 6)
    for batch, time_, slots, flags in product((1, 3), (1, 40), (5, 1000), FLAGS):
        tokens, marks = torch.randint(3, (batch, time_)), _flags((batch, time_), flags)
        table = torch.full((batch, len(orders), slots), -1, dtype=torch.int32)
        recent = torch.full((batch, max(orders)), -1)
        there = [t.to(device) for t in (tokens, table.clone(), recent.clone())]
        with use_backend("reference"):
            bar = recall(tokens, table, recent, orders, *marks)
        ours = recall(*there, orders, *(_moved(m, device) for m in marks))
        got = [t.cpu().double() for t in (ours, *there[1:])]
        found.compare("chosen", f"{batch, time_, slots, flags}", got, [t.double() for t in (bar, table, recent)], 1e-9)
    return found.plain(True)


MODELS: dict[str, dict[str, Any]] = {
    "inn": {"neurons": 4, "width": 16, "rounds": 2, "recall": {"kind": "last", "slots": 64}},
    "inn, attention": {"neurons": 4, "width": 16, "rounds": 2, "router": "attention", "recall": "none"},
    "inn, shared": {"neurons": 3, "width": 16, "rounds": 2, "preset": "paper-fixed", "heads": 2},
    "mamba-stack": {"width": 24, "layers": 2},
    "lstm": {"width": 24, "layers": 2},
    "transformer": {"width": 24, "layers": 2, "heads": 2},
}


def check_models(device: str, models: tuple[str, ...] = tuple(MODELS), seconds: float = 90.0) -> dict[str, Any]:
    """Whole models on the device against the same in float64 on the CPU: logits, gradients, splits, writing."""
    found = _Found(seconds)
    for name in models:
        fields = dict(MODELS[name])
        torch.manual_seed(0)
        config = model_config(name.partition(",")[0], fields.pop("preset", None), vocab=11, dropout=0.0, **fields)
        model = build_model(config)
        exact = build_model(config).double()
        exact.load_state_dict(
            {key: t.double() if t.is_floating_point() else t for key, t in model.state_dict().items()}
        )
        model = model.to(device).eval()
        exact.eval()
        tokens, marks = torch.randint(11, (3, 24)), _flags((3, 24), 3)
        for flags, kind in product((False, True), (torch.float32, torch.bfloat16)):
            if found.late():
                return found.plain()
            what, size = str(kind).removeprefix("torch."), f"{name}{', flags' if flags else ''}"
            given: dict[str, Any] = {"reset": marks[0], "mask": marks[1]} if flags else {}
            try:
                ours = _read(model, tokens.to(device), {k: _moved(m, device) for k, m in given.items()}, kind, 24)
                with use_backend("reference"):
                    bar = _read(exact, tokens, given, torch.float64, 24)
                if kind is torch.bfloat16:  # gradients of a model in bfloat16 are rounding in places
                    ours, bar = ours[:1], bar[:1]
                found.compare(what, size, ours, bar, 4 * TOLERANCE[kind])
                if not flags:
                    parts = _read(model, tokens.to(device), {}, kind, 7)[:1]
                    found.compare(what, f"{size}, in parts", parts, bar[:1], 4 * TOLERANCE[kind])
                if not flags and kind is torch.float32:
                    found.compare(what, f"{size}, written", [_written(model, tokens.to(device))], bar[:1], 2e-3)
            except Exception as error:
                found.wrong.append(f"{what}, {size}: {type(error).__name__}: {str(error)[:300]}")
    return found.plain(True)


def _read(model: Any, tokens: Tensor, marks: dict[str, Any], kind: torch.dtype, window: int) -> list[Tensor]:
    """Logits and gradients, in float64 on the CPU; logits of masked steps are taken for zero."""
    state, logits = None, []
    with torch.autocast(tokens.device.type, torch.bfloat16, enabled=kind is torch.bfloat16):
        for at in range(0, tokens.shape[1], window):
            out, state = model(tokens[:, at : at + window], state, **marks)
            logits.append(out.double())
    whole = torch.cat(logits, 1)
    if "mask" in marks:
        whole = whole * marks["mask"][..., None]
    weights = torch.randn(whole.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    parameters = [p for p in model.parameters() if p.requires_grad]
    gradients = torch.autograd.grad((whole.cpu() * weights).mean(), parameters, allow_unused=True)
    kept = [(torch.zeros_like(p) if g is None else g).cpu().double() for p, g in zip(parameters, gradients)]
    return [whole.detach().cpu(), *kept]


def _written(model: Any, tokens: Tensor) -> Tensor:
    """The logits of a text read symbol by symbol, as text is written."""
    state, logits = model.initial_state(len(tokens)), []
    with torch.no_grad():
        for symbols in tokens.unbind(1):
            out, state = model.step_(symbols, state)
            logits.append(out.cpu().double())
    return torch.stack(logits, 1)
