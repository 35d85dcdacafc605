"""The graph of neurons: rounds of memory and communication over a population, and the state they carry."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from inn.config.assemble import graph_config
from inn.config.graph import GraphConfig
from inn.nn.arguments import Checked, config_of, vectors
from inn.nn.direct import passed_by
from inn.nn.feedback import FeedbackRound
from inn.nn.masked import legible
from inn.nn.modes import evaluating
from inn.nn.presence import check_takes_present, only_present
from inn.nn.roles import sensed, sensors_of, to_sensors
from inn.nn.round import Round, flops_of
from inn.nn.spikes import code
from inn.nn.starting import reset_parameters
from inn.nn.state import State
from inn.nn.steps import presence
from inn.nn.topology.base import edges_of, wiring_of
from inn.nn.topology.edges import NAMES, Edges
from inn.nn.topology.present import Present
from inn.registry import GATES, READOUTS
from inn.system.errors import InputError

if TYPE_CHECKING:
    from inn.nn.tape import Tape

Chosen = tuple[Tensor | None, Tensor | None, dict[str, Tensor]]
"""Who takes part `[B, T, N]`, by what factor `[B, T, N]`, and what this adds to the training loss."""


@passed_by("forward", "run", rounds=Round)
class Graph(Checked):
    """A graph of neurons as a layer: `[B, T, F]` -> `[B, T, F]`, causal, with a state.

    With `input: split` and `readout: concat` (the default) F is N x D, with `copy` and `mean` it is D.

    Args:
        config: a `GraphConfig`; or give its fields by name.

    Attributes:
        checkpoint_rounds: in training, keep only the input of each round and recompute the round in the backward
            pass: memory for one round instead of all of them, a third more work, the same results.
        wiring: the module that makes the edges where they are learned, else None.
        ids: the neurons' stable ids, `[N]` integers, kept through surgery and checkpoints.

    >>> layer = Graph(neurons=4, width=16, rounds=2)
    >>> y, state = layer(torch.randn(2, 10, 64))
    >>> y.shape
    torch.Size([2, 10, 64])
    """

    no_decay = ("identity", "identity_gain")
    symbols = False
    tape: Tape | None = None
    checkpoint_rounds: bool = False
    ids: Tensor
    sensors: Tensor | None

    def __init__(self, config: GraphConfig | None = None, **fields: Any):
        super().__init__()
        config = config_of(GraphConfig, config, fields) or graph_config(**fields)
        assert config is not None
        self.config = config
        for name, t in self._first_buffers().items():
            self.register_buffer(name, t)
        self.wiring = wiring_of(config)
        self.identity = self.identity_gain = None
        if config.identity != "none":
            self.identity = nn.Parameter(torch.randn(config.neurons, config.width) * config.identity_std)
        if config.identity == "silent":
            self.identity_gain = nn.Parameter(torch.zeros(config.width))
        made = FeedbackRound if config.lag else Round
        self.rounds = nn.ModuleList(made(config) for _ in range(1 if config.share_rounds else config.rounds))
        self.readout = READOUTS[config.readout.kind](config)
        gate = GATES[config.gate.kind]
        self.gate = gate(config) if gate is not None and gate.once else None
        if gate is not None and gate.rests:
            readout = self.readout if gate.once else None
            check_takes_present(config, self.rounds, readout, f"leave gate '{config.gate.kind}' out")
        if config.spikes:
            code(self.rounds, config.spikes)

    def _first_buffers(self) -> dict[str, Tensor | None]:
        edges = edges_of(self.config)
        self.relay = 0 if edges is None else edges.relay
        own = {"ids": torch.arange(self.config.neurons)}
        own |= {} if edges is None else {f"edge_{name}": t for name, t in edges.tensors().items()}
        return own | {"sensors": sensors_of(self.config)}  # last, for torch.export miscounts what follows a None

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Start anew: the whole graph as a new one starts, also where `to_empty` has just made room for it."""
        for name, t in self._first_buffers().items():
            if t is not None:
                getattr(self, name).copy_(t)
        if self.identity is not None:
            self.identity.normal_().mul_(self.config.identity_std)
        if self.identity_gain is not None:
            self.identity_gain.zero_()
        self.readout.reset_places()  # type: ignore[operator]
        reset_parameters(self)

    @property
    def in_features(self) -> int:
        """Width F of the input."""
        return self.config.input_width

    @property
    def out_features(self) -> int:
        """Width of the output."""
        return self.config.readout_width

    def round(self, r: int) -> Round:
        """The module of round `r`; all rounds have the same one under `share_rounds`."""
        return self.rounds[0 if self.config.share_rounds else r]  # type: ignore[return-value]

    @property
    def edges(self) -> Edges | None:
        """The edges of the topology, of this moment where they are learned; None for the complete graph."""
        if self.wiring is not None:
            return self.wiring()
        if not hasattr(self, "edge_sources"):
            return None
        found: dict[str, Any] = {name: getattr(self, f"edge_{name}", None) for name in NAMES}
        return Edges(**found, relay=self.relay).to(self.ids.device)

    @property
    def topology(self) -> Present:
        """The edges that there are: `density`, `edges()`, how many each neuron hears."""
        with evaluating(self), torch.no_grad():
            edges = self.edges
        return Present(Edges.complete(self.config.neurons) if edges is None else edges)

    def initial_state(self, batch: int) -> State:
        """The state of `batch` streams before their first step."""
        parts = ((r, self.round(r).initial_state(batch)) for r in range(self.config.rounds))
        return State({(r, name): t for r, tree in parts for name, t in tree.items()})

    def forward(
        self,
        x: Tensor,
        state: State | None = None,
        *,
        recalled: Tensor | None = None,
        edges: Edges | None = None,
        reset: Tensor | None = None,
        mask: Tensor | None = None,
        present: Tensor | None = None,
        dt: Tensor | None = None,
    ) -> tuple[Tensor, State]:
        """Run the graph over a stretch of time.

        Args:
            x: `[B, T, F]` inputs, F = `config.input_width`.
            state: what an earlier call returned; None starts afresh.
            recalled: `[B, T, N, D]` what each neuron takes in besides.
            edges: which of the topology's edges the routers may use; None: all of them.
            reset: `[B, T]` bool, the state starts afresh before these steps.
            mask: `[B, T]` bool, where false the state passes through unchanged.
            present: `[B, T, N]` bool (or `[B, N]`, for all steps), which neurons are there; None: all of them. One that
                is absent is skipped: its state passes through unchanged, nobody hears it, and the readout leaves it
                out. With `input: split` its part of the input is not looked at.
            dt: `[B, T]` the time since the step before, for memories that take it (`liquid`); None: 1 everywhere.

        Returns:
            `[B, T, config.readout_width]` and the state after the last step.

        Raises:
            InputError: if the input's width, type or device, the state, the mask or the resets do not fit; if a router
                or a readout of the graph does not know of absent neurons, or no memory of time between steps.
        """
        neurons = self.distribute(x)
        neurons = neurons if recalled is None else neurons + sensed(recalled, self.sensors)
        more = {} if dt is None else {"dt": dt}
        chosen = self.choose(neurons, present, mask)
        neurons, state = self.run(neurons, state, edges=edges, reset=reset, mask=mask, chosen=chosen, **more)
        y = self.read(neurons, chosen)
        if self.training and (found := self.readout.penalties(y, mask)):  # type: ignore[operator]
            state = State(state, {**state.penalties, **found})
        return y, state

    def choose(self, x: Tensor, present: Tensor | None = None, mask: Tensor | None = None) -> Chosen:
        """Which of the neurons `[B, T, N, D]` take part, by the gate that is asked once, if the graph has one."""
        present = None if present is None else self._absences(present)
        if self.gate is None:
            return present, None, {}
        own, factor, penalties = self.gate(only_present(x, present), mask=mask, present=present)
        assert own is not None
        return own if present is None else own & present, factor, penalties

    def read(self, x: Tensor, chosen: Chosen | None = None) -> Tensor:
        """The readout `[B, T, readout_width]` of neurons `[B, T, N, D]` after the rounds."""
        present = None if chosen is None else chosen[0]
        return self.readout(x) if present is None else self.readout(x, present=present)

    def out_(self, x: Tensor, state: State, present: Tensor | None = None, dt: Tensor | None = None) -> Tensor:
        """`run_`, read out: one step `[B, 1, N, D]` -> `[B, 1, readout_width]`."""
        chosen = self.choose(x, present)
        return self.read(self.run_(x, state, dt=dt, chosen=chosen), chosen)

    def check_given(self, given: Any) -> Tensor:
        x = vectors(given, self.config.input_width, self)
        self.check_device("the graph's input", x)
        return x

    def check_present(self, present: Any, given: Tensor) -> tuple[Tensor, Tensor]:
        """Which neurons are there, `[B, T, N]`, and the input without what is those' that are not."""
        present = presence(present, given, self.config.neurons)
        if self.config.input == "split":
            own = present if self.sensors is None else present[..., self.sensors]
            given = given.masked_fill(~own.repeat_interleave(self.config.width, -1), 0)
        return present, given

    def _absences(self, present: Tensor) -> Tensor | None:
        """Who is there, None where it can be seen without waiting that all are; `InputError` from who cannot skip."""
        check_takes_present(self.config, self.rounds, self.readout, "leave `present` out")
        return None if legible(present) and bool(present.all()) else present

    @property
    def takes_dt(self) -> bool:
        """Whether a memory of the graph takes the time between steps."""
        return any(module.memory.takes_dt for module in self.rounds)  # type: ignore[union-attr]

    def _times(self, dt: Tensor) -> Tensor:
        if not self.takes_dt:
            raise InputError(
                "no memory of this graph takes the time between steps, dt; leave it out, or use memory 'liquid'"
            )
        return dt

    def run_(
        self,
        x: Tensor,
        state: State,
        present: Tensor | None = None,
        dt: Tensor | None = None,
        chosen: Chosen | None = None,
    ) -> Tensor:
        """`run` over one step, `[B, 1, N, D]`, that changes the state in place instead of returning a new one."""
        present, factor, _ = self.choose(x, present) if chosen is None else chosen
        dt = None if dt is None else self._times(dt)
        x = only_present(x, present)
        return self._rounds(x, state, self.edges, None, None, present, factor, dt, in_place=True)[0]

    def distribute(self, x: Tensor) -> Tensor:
        """Give each neuron its input: `[B, T, F]` -> `[B, T, N, D]`, identity added."""
        c = self.config
        S = len(c.sensors)
        x = x.unflatten(-1, (S, c.width)) if c.input == "split" else x[:, :, None].expand(-1, -1, S, -1)
        x = to_sensors(x, self.sensors, c.neurons)
        if self.identity is not None:
            own = self.identity if self.identity_gain is None else self.identity * self.identity_gain
            x = x + own.to(x.dtype)
        if c.populations == 1:
            return x
        # In memory neuron by neuron, as separate maps want their rows; all that follows keeps this order.
        return x.permute(2, 0, 1, 3).contiguous().permute(1, 2, 0, 3)

    def run(
        self,
        x: Tensor,
        state: State | None = None,
        *,
        edges: Edges | None = None,
        reset: Tensor | None = None,
        mask: Tensor | None = None,
        present: Tensor | None = None,
        dt: Tensor | None = None,
        chosen: Chosen | None = None,
    ) -> tuple[Tensor, State]:
        """All rounds on neurons `[B, T, N, D]`, without input and readout; absent neurons come out as zeros.

        `chosen` is what `choose` says of the same neurons, where it is known; it stands in the place of `present`.
        """
        state = state if state is not None else self.initial_state(x.shape[0])
        present, factor, penalties = self.choose(x, present, mask) if chosen is None else chosen
        x = only_present(x, present)
        dt = None if dt is None else self._times(dt)
        if (own := self.edges) is not None:
            edges = own if edges is None else own.within(edges)
        if x.shape[1] == 1 or all(module.parallel_in_time for module in self.rounds):
            return self._rounds(x, state, edges, reset, mask, present, factor, dt, penalties)
        # A message feeds the next step's memory: there is no way but step by step.
        steps = []
        for t in range(x.shape[1]):
            at = slice(t, t + 1)
            now = [None if v is None else v[:, at] for v in (reset, mask, present, factor, dt)]
            y, state = self._rounds(x[:, at], state, edges, now[0], now[1], now[2], now[3], now[4], penalties)
            steps.append(y)
        return torch.cat(steps, dim=1), state

    def _rounds(
        self,
        x: Tensor,
        state: State,
        edges: Edges | None,
        reset: Tensor | None,
        mask: Tensor | None,
        present: Tensor | None = None,
        factor: Tensor | None = None,
        dt: Tensor | None = None,
        penalties: dict[str, Tensor] | None = None,
        in_place: bool = False,
    ) -> tuple[Tensor, State]:
        new: dict[tuple[int, str], Tensor] = {}
        found = {name: [penalty] for name, penalty in (penalties or {}).items()}
        rounds = [*self.rounds] * (self.config.rounds if self.config.share_rounds else 1)
        for r, module in enumerate(rounds):
            tape = None if self.tape is None else self.tape.at(r, mask)
            options = {"edges": edges, "reset": reset, "mask": mask, "tape": tape}
            if present is not None:
                options["present"] = present
            if factor is not None:
                options["factor"] = factor
            if dt is not None:
                options["dt"] = dt
            if self.checkpoint_rounds and tape is None and torch.is_grad_enabled():
                x, parts, more = checkpoint(module, x, state.round(r), **options, use_reentrant=False)
            else:
                x, parts, more = module(x, state.round(r), **options, in_place=in_place)
            new.update({(r, name): t for name, t in parts.items()})
            for name, penalty in more.items():
                found.setdefault(name, []).append(penalty)
        if self.tape is not None:
            self.tape.outputs(x)
        return x, state if in_place else State(new, self._penalties(found))

    def _penalties(self, found: dict[str, list[Tensor]]) -> dict[str, Tensor]:
        """What the parts add to the training loss, in nats by name: the mean over the rounds that have such a part."""
        if not self.training:
            return {}
        weights = {"gate": self.config.gate_penalty}
        means = {name: torch.stack(values).mean() for name, values in found.items()}
        return {name: weights.get(name, 1.0) * mean for name, mean in means.items() if weights.get(name, 1.0)}

    def flops(self, density: float | Sequence[float] = 1.0) -> dict[str, float]:
        """Forward FLOPs for one step of the whole graph, by part (a multiply-add counts two).

        `density` is the share of the neurons that take part in the rounds, or in each: see `Round.flops`.
        """
        total = flops_of([self.round(r) for r in range(self.config.rounds)], density)
        return total if self.gate is None else {**total, **self.gate.flops()}
