"""What the processes of a training run send one another: counted, and by formula."""

from __future__ import annotations

import contextlib
from collections import Counter

import torch.distributed as dist
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook

from inn.training.parallel.ddp import DDP
from inn.training.parallel.single import SingleDevice


class Traffic(contextlib.AbstractContextManager["Traffic"]):
    """Counts, while entered, the bytes of the tensors that training hands to collectives.

    Attributes:
        bytes: by collective, of whole tensors: what is gathered, before it is scattered, what is reduced. A ring sends
            2 (W - 1) / W of an `all-reduce`, (W - 1) / W of an `all-gather` or a `reduce-scatter`, from each process.
    """

    def __init__(self) -> None:
        self.bytes: Counter[str] = Counter()

    def watch(self, strategy: SingleDevice) -> None:
        """Count what DDP sends, which does not pass through Python otherwise."""
        if isinstance(strategy, DDP):

            def hook(state, bucket):
                self.bytes["all-reduce"] += bucket.buffer().nbytes
                return allreduce_hook(state, bucket)

            strategy.ddp.register_comm_hook(None, hook)

    def __enter__(self) -> Traffic:
        self._real = {name: getattr(dist, name) for name in (_name(_GATHER), _name(_SCATTER))}

        def counting(name: str, what: str, argument: int):
            def call(*args, **kwargs):
                whole = args[argument] if len(args) > argument else kwargs["input" if argument else "output_tensor"]
                self.bytes[what] += whole.nbytes
                return self._real[name](*args, **kwargs)

            return call

        setattr(dist, _name(_GATHER), counting(_name(_GATHER), "all-gather", 0))
        setattr(dist, _name(_SCATTER), counting(_name(_SCATTER), "reduce-scatter", 1))
        return self

    def __exit__(self, *_: object) -> None:
        for name, real in self._real.items():
            setattr(dist, name, real)


# What FSDP calls, in newer versions of PyTorch and in older ones.
_GATHER = ("all_gather_single", "all_gather_into_tensor")
_SCATTER = ("reduce_scatter_single", "reduce_scatter_tensor")


def _name(names: tuple[str, ...]) -> str:
    return next(name for name in names if hasattr(dist, name))


def volume(parameters: int, in_rounds: int, parallel: str, accumulate: int = 1) -> dict[str, int]:
    """Bytes of the tensors that a step hands to each collective, float32, by formula.

    DDP reduces all gradients once. FSDP gathers all weights for each forward pass, those of the rounds once more for
    each backward pass (what belongs to no round stays gathered), and scatters all gradients once.

    Args:
        parameters: of the model, P; a tied weight counts once.
        in_rounds: of these, in the rounds of a graph.
        parallel: `ddp` or `fsdp`.
        accumulate: backward passes per step.

    >>> volume(1000, 800, "ddp", accumulate=4), volume(1000, 800, "fsdp")
    ({'all-reduce': 4000}, {'all-gather': 7200, 'reduce-scatter': 4000})
    """
    if parallel == "ddp":
        return {"all-reduce": 4 * parameters}
    return {"all-gather": 4 * accumulate * (parameters + in_rounds), "reduce-scatter": 4 * parameters}


def on_the_wire(volumes: dict[str, int], world: int) -> float:
    """Bytes that each process sends in a step, its collectives being rings; as many come in.

    >>> on_the_wire({"all-reduce": 4000}, 4)
    6000.0
    """
    return sum(n * (2 if name == "all-reduce" else 1) * (world - 1) / world for name, n in volumes.items())
