"""Where the time of a training step goes, by op, each op beside the least time that its work needs on this machine.

Every operator that PyTorch dispatches is timed as it is called: on a CPU it is done when the call returns.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from inn.ops.flops import tell_counters
from inn.system.provenance import hardware
from inn_benchmarks import rates, steps
from inn_benchmarks.measure import Work, train_step

PHASES = ("forward", "backward", "update")
LEAST = 0.002
"""Share of a step below which what was called is kept as one of the others of its phase."""
EXPONENTIALS: dict[str, Callable[..., float]] = {
    # of each state its decay, of each channel a softplus and a gate; the backward pass computes them again
    "inn::selective_scan_fwd": lambda x, dt, A, *_: prod(x) * (A[-1] + 2),
    "inn::selective_scan_bwd": lambda gy, glast, x, dt, A, *_: prod(x) * (A[-1] + 2),
    "inn::causal_conv_fwd": lambda x, *_: prod(x),
    "inn::causal_conv_bwd": lambda gy, glast, x, *_: prod(x),
    "inn::neuron_attention_fwd": lambda q, k, v, heads, *_: prod(q[:3]) * q[2] * heads,
    "inn::neuron_attention_bwd": lambda gout, q, k, v, heads, *_: prod(q[:3]) * q[2] * heads,
    "inn::memory_step": lambda x, into, conv, bias, scan, dt, dt_bias, A, *_: x[0] * x[2] * A[1] * (2 * A[2] + 3),
    **dict.fromkeys(
        (f"aten::{name}" for name in ("exp", "sigmoid", "tanh", "silu", "softplus", "_softmax", "_log_softmax")),
        lambda x, *_, **__: prod(x),
    ),
}
"""Exponentials of an operator by the shapes of what it is given."""
_NOTHING = ("aten::empty", "aten::empty_like", "aten::new_empty", "aten::empty_strided", "aten::new_empty_strided")
_LOOKUPS = ("aten::embedding", "aten::index", "aten::index_select", "aten::gather")  # read as much as they give


class Profile(TorchDispatchMode):
    """While entered, adds up the time of every operator and of the work it is asked for.

    Attributes:
        found: calls, seconds and bound by phase, operator and shapes.
    """

    def __init__(self, machine: rates.Rates) -> None:
        super().__init__()
        tell_counters()
        self.machine, self.now, self.updating = machine, rates.clock(), False
        self.found: dict[tuple[str, str, str], dict[str, Any]] = defaultdict(
            lambda: {"calls": 0, "seconds": 0.0, "bound": 0.0, "by": defaultdict(float)}
        )

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func.namespace == "profiler":
            return func(*args, **kwargs)
        start = self.now()
        out = func(*args, **kwargs)
        seconds = self.now() - start
        backward = torch._C._current_graph_task_id() != -1
        phase = "update" if self.updating else "backward" if backward else "forward"
        bound, by = self.machine.bound(*work(func, args, kwargs, out))
        entry = self.found[phase, func.name().partition(".")[0], shapes(args)]
        entry["calls"] += 1
        entry["seconds"] += seconds
        entry["bound"] += bound
        entry["by"][by] += bound
        return out

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Entered, and told when an optimiser is at work."""
        hooks = [
            register_optimizer_step_pre_hook(lambda *_: setattr(self, "updating", True)),
            register_optimizer_step_post_hook(lambda *_: setattr(self, "updating", False)),
        ]
        try:
            with self:
                yield
        finally:
            for hook in hooks:
                hook.remove()


def work(func: Any, args: tuple, kwargs: dict[str, Any], out: Any) -> tuple[float, str, float, float]:
    """What an operator has to do: FLOPs of products and their dtype, bytes to read and write, exponentials."""
    name = func.name().partition(".")[0]
    tensors = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
    dtype = next((str(t.dtype)[6:] for t in tensors), "float32")
    sizes = [tuple(a.shape) if isinstance(a, Tensor) else a for a in args]
    formula = flop_registry.get(func._overloadpacket)
    flops = float(formula(*args, **kwargs, out_val=out)) if formula else 0.0
    if "selective_scan" in name:
        dtype = "float32"  # its arithmetic, whatever the type around it
    count = EXPONENTIALS.get(name, lambda *_, **__: 0)
    return flops, dtype, _bytes(func, name, args, kwargs, tensors, out), float(count(*sizes))


def _bytes(func: Any, name: str, args: tuple, kwargs: dict[str, Any], tensors: list[Tensor], out: Any) -> float:
    results = [t for t in tree_leaves(out) if isinstance(t, Tensor)]
    if func.is_view or name in _NOTHING:
        return 0.0
    if name in _LOOKUPS:
        return 2.0 * sum(map(_held, results))
    given = {t.data_ptr() for t in tensors}
    written = sum(_held(t) for t in results if t.data_ptr() not in given)
    for argument, value in (
        *zip(func._schema.arguments, args),
        *((a, kwargs.get(a.name)) for a in func._schema.arguments),
    ):
        if argument.alias_info is not None and argument.alias_info.is_write:
            written += sum(_held(t) for t in tree_leaves(value) if isinstance(t, Tensor))
    return float(written + sum(map(_held, tensors)))


def _held(t: Tensor) -> int:
    """Bytes of a tensor in memory: what is repeated by a stride of zero lies there once."""
    return t.element_size() * prod(size for size, stride in zip(t.shape, t.stride()) if stride or size == 0)


def shapes(args: tuple) -> str:
    """The shapes of the tensors of a call, in words; of a list the first.

    >>> shapes((torch.zeros(2, 3), [torch.zeros(4)], 1))
    '2x3 4'
    """
    first = (a[0] if isinstance(a, list | tuple) and a else a for a in args)
    return " ".join("x".join(map(str, t.shape)) or "1" for t in first if isinstance(t, Tensor))


def profile(row: str, machine: dict[str, Any] | None = None, rounds: int = 7, **size: Any) -> dict[str, Any]:
    """Profile what a row measures: its step, taken in turns as it is and with every operator timed.

    Returns `step` (seconds), `ops` (a list, most time first, of `phase`, `op`, `shapes`, `calls`, `seconds`, `bound`
    and `by`, which says what the bound is made of), `rates`, `sizes`, `dtype`, `threads`, `clock` and `machine`.
    """
    torch.manual_seed(0)
    step, sizes, dtype = WORKS[row](**size)
    at_best = rates.measure(**(machine or {}))
    now, plain, turns = rates.clock(), [], []
    step()
    step()
    for _ in range(rounds):
        start = now()
        step()
        plain.append(now() - start)
        timed = Profile(at_best)
        with timed.watching():
            step()
        turns.append(timed.found)
    whole = statistics.median(plain)
    return {
        "step": whole,
        "ops": summed(turns, LEAST * whole),
        "rates": at_best.to_dict(),
        "sizes": sizes,
        "dtype": dtype,
        "threads": torch.get_num_threads(),
        "clock": "processor time" if torch.get_num_threads() == 1 else "time of day",
        "machine": {**hardware(torch.device("cpu")), "instructions": torch.backends.cpu.get_cpu_capability()},
    }


def summed(turns: list[dict[tuple[str, str, str], dict[str, Any]]], least: float) -> list[dict[str, Any]]:
    """What was called, most time first: medians of the turns; what takes less than `least` seconds is put together."""
    ops: dict[tuple[str, str, str], dict[str, Any]] = {}
    for key in dict.fromkeys(key for found in turns for key in found):
        each = [found[key] for found in turns if key in found]
        seconds = statistics.median(e["seconds"] for e in each)
        key = key if seconds >= least else (key[0], "inn::others", "")
        names = dict(zip(("phase", "op", "shapes"), key))
        to = ops.setdefault(key, {**names, "calls": 0, "seconds": 0.0, "bound": 0.0, "by": defaultdict(float)})
        to["calls"] += each[0]["calls"]
        to["seconds"] += seconds
        to["bound"] += each[0]["bound"]
        for kind, bound in each[0]["by"].items():
            to["by"][kind] += bound
    for op in ops.values():
        op["by"] = max(op["by"], key=lambda kind, of=op["by"]: of[kind])
    return sorted(ops.values(), key=lambda op: -op["seconds"])


Made = tuple[Work, str, str]


def _training(make: Callable[..., Any], size: steps.StepSize, bf16: bool = False) -> Callable[..., Made]:
    def build(**changed: Any) -> Made:
        given = steps.StepSize(**changed) if changed else size
        model = make(given)
        step = train_step(model, given.batch, given.length, vocab=steps.VOCAB, bf16=bf16)
        return step, steps.words(model, given), "bfloat16" if bf16 else "float32"

    return build


def _writing(symbols: int = 200, model: dict[str, Any] | None = None) -> Made:
    from inn.data.vocabulary import build_vocabulary

    network = steps.stack(vocab=256, **(model or {})).eval()
    network.vocabulary = build_vocabulary("bytes")

    def write() -> None:
        for _ in network.generate("\n", symbols, top_k=1):
            pass

    return write, f"{steps.words(network, steps.StepSize(1, 1))}, {symbols} symbols written", "float32"


WORKS: dict[str, Callable[..., Made]] = {
    "gemm-share": _training(lambda size: steps.stack(**size.model), steps.GEMM, bf16=True),
    "paper-step": _training(steps.paper, steps.PAPER),
    "separate-8": _training(steps.distinct, steps.SEPARATE_8),
    "separate-32": _training(steps.distinct, steps.SEPARATE_32),
    "peers-generate": _writing,
}
"""The rows that can be profiled: what makes their work, with its sizes and dtype in words."""
