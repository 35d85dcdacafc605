"""What a training step costs on many accelerators, on paper: memory, bytes on the wire, seconds."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from inn.config.models import INNConfig
from inn.models.inn import INN
from inn.nn.state import State
from inn_benchmarks.traffic import on_the_wire, volume


@dataclass(frozen=True)
class Machine:
    """What is assumed of an accelerator and its network; per accelerator, in both directions at once.

    Attributes:
        flops: arithmetic that training reaches, per second.
        near: bytes per second to accelerators of the same node; `per_node` of them.
        far: bytes per second to those of other nodes.
        hidden: share of the communication that runs beside the backward pass, where there is time for it.
    """

    flops: float
    near: float
    far: float
    per_node: int = 8
    hidden: float = 0.5


@dataclass(frozen=True)
class Model:
    """The numbers of a model that its costs follow from.

    Attributes:
        parameters: P, a tied weight counted once.
        rounds: parameters of each round.
        flops: training FLOPs per symbol.
        stream: bytes of the state that a stream carries.
    """

    parameters: int
    rounds: tuple[int, ...]
    flops: float
    stream: int


@dataclass(frozen=True)
class StepCost:
    """A step of one process: bytes it holds (activations aside) and sends, seconds it computes and sends for.


    `efficiency` is the share of the step that is arithmetic: 1 where communication costs nothing.
    """

    memory: float
    sent: float
    computing: float
    sending: float
    efficiency: float


def sizes_of(config: INNConfig) -> Model:
    """The sizes of a model; no memory is taken for its weights.

    >>> sizes_of(INNConfig(vocab=27, neurons=2, width=8, rounds=3)).rounds
    (3136, 3136, 3136)
    """
    with torch.device("meta"):
        model = INN(config)
        state: State = model.initial_state(1)
    rounds = tuple(sum(p.numel() for p in one.parameters()) for one in model.graph.rounds)
    return Model(model.num_parameters, rounds, model.training_flops, state.bytes)


def cost(
    model: Model, world: int, rows: int, window: int, machine: Machine, parallel: str = "ddp", accumulate: int = 1
) -> StepCost:
    """What a step costs each of `world` processes that have `rows` streams each.

    Memory: weights, gradients and AdamW's two moments are four float32 of every parameter, all of them in each process
    (`ddp`) or a share (`fsdp`), which gathers what belongs to no round and two rounds, the present one and the next.
    The state of the streams is there twice, before and after a window.

    Time: arithmetic at the machine's rate; bytes as `traffic.volume` has them, at the rate of the slowest link of a
    ring: `far` where there are several nodes. What the backward pass does not hide is added.

    >>> small = Model(1_000_000, (200_000,) * 4, 6e6, 0)
    >>> one = cost(small, 1, 16, 256, Machine(1e12, 1e9, 1e9))
    >>> one.sent, one.efficiency, one.memory
    (0.0, 1.0, 16000000.0)
    """
    inside = sum(model.rounds)
    sent = on_the_wire(volume(model.parameters, inside, parallel, accumulate), world)
    held = 16.0 * model.parameters
    if parallel == "fsdp" and world > 1:
        held = held / world + 4.0 * (model.parameters - inside + 2 * max(model.rounds))
    computing = model.flops * rows * window / machine.flops
    sending = sent / (machine.near if world <= machine.per_node else machine.far)
    exposed = max(sending * (1 - machine.hidden), sending - computing * 2 / 3)  # two thirds are the backward pass
    return StepCost(held + 2.0 * rows * model.stream, sent, computing, sending, computing / (computing + exposed))
