"""The protocol of a router, and what the routers by weights have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor, nn

from inn.config.parts import Options as PartOptions
from inn.nn.direct import at_rest
from inn.nn.population import NeuronLinear, neuron_map
from inn.nn.presence import TakesPresent, relayed, relays
from inn.nn.routing.late import PAST, arriving, by_lag
from inn.nn.routing.options import MessageOptions
from inn.nn.topology.base import edges_of, learned
from inn.nn.topology.edges import Edges
from inn.system.errors import InputError

if TYPE_CHECKING:
    from inn.config.graph import GraphConfig
    from inn.nn.packing import Packed
    from inn.nn.tape import RoundTape

Parts = dict[str, Tensor]
EdgeWeights = tuple[nn.Parameter, Callable[[Tensor], Tensor]]


class Router(TakesPresent, nn.Module, ABC):
    """Computes the messages between the neurons of a population; the message at t depends on steps ≤ t only.

    Attributes:
        mass: what the rows of its routing weights sum to; None where that is free. An instance may say otherwise.
        parallel_in_time: False for a router whose message feeds the next step's memory; the graph then steps.
        into_memory: True for a router whose message is what the memory takes in, `[B, T, N, config.memory_inputs]`;
            a round is then communication, then memory.
        exchangeable: True for a router that lets neurons which are alike hear the same, whatever their number: one may
            then stand for all (`inn.collapse`).
        takes_lags: True for a router that honours `edges.lags`; with another such a topology is refused.
        lags: the steps that edges take, rising, where any takes some; () elsewhere.
        learns_edges: True for a router that gives learned edges a gradient; with another such a topology is refused.
        takes_log_weights: True for a router that adds `edges.log_weights` to its logits; the same.
        takes_classes: True for a router whose edges of one class share a weight; the same.
        skips: whether messages to neurons that rest cost nothing.
        Options: the dataclass of the router's options, which are `config.router`.
        heads: routing weights per edge that the tape records.
        sparse: whether the topology lists edges, K sources for each neuron; the complete graph lists none.
        degree: K, the sources of a neuron.
    """

    mass: float | None = 1.0
    parallel_in_time: ClassVar[bool] = True
    into_memory: ClassVar[bool] = False
    exchangeable: bool = False
    takes_lags: ClassVar[bool] = False
    takes_log_weights: ClassVar[bool] = False
    takes_classes: ClassVar[bool] = False
    learns_edges: ClassVar[bool] = False
    skips: bool = False
    Options: type[PartOptions] = PartOptions
    heads: int = 1

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "forward" in vars(cls):
            cls.forward = passing_on(cls.forward)  # type: ignore[method-assign]

    def __init__(self, config: GraphConfig):
        super().__init__()
        self.neurons, self.width = config.neurons, config.width
        edges = edges_of(config)
        known_of = {"lags": self.takes_lags, "log_weights": self.takes_log_weights, "classes": self.takes_classes}
        for what, known in known_of.items():
            if not known and edges is not None and getattr(edges, what) is not None:
                raise InputError(
                    f"topology '{config.topology.kind}' has {what} of edges, which router '{config.router.kind}' does "
                    f"not know of; use {'router mixing' if what == 'classes' else 'another router'}, or a topology "
                    "without them"
                )
        if not self.learns_edges and learned(config):
            raise InputError(
                f"topology '{config.topology.kind}' learns its edges, and router '{config.router.kind}' gives them no "
                "gradient; use router attention, dendrites, bus, mixing or static"
            )
        self.lags: tuple[int, ...] = ()
        if edges is not None and edges.lags is not None and edges.lags.any():
            self.lags = tuple(sorted({*edges.lags.flatten().tolist()}))
            self.window = max(getattr(config.topology, "lag_window", None) or 0, *self.lags, 1)
            if config.lag:
                raise InputError(
                    f"router '{config.router.kind}' with lag 1 hears the step before, and edges of topology "
                    f"'{config.topology.kind}' have lags of their own; leave one of them out"
                )
        self.sparse = edges is not None
        self.degree = config.neurons if edges is None else edges.sources.shape[1]

    def initial_state(self, batch: int) -> Parts:
        """The state before the first step, parts `[B, N, ...]`; empty for a router that looks at the present only."""
        if not self.lags:
            return {}
        like = next(self.parameters())
        return {PAST: at_rest(self, like, batch, self.neurons, self.window, self.carries() + 1)}

    def carries(self) -> int:
        """Numbers that a neuron puts on an edge, of a router that `takes_lags`."""
        return self.width

    def late(
        self,
        sent: Tensor,
        state: Parts | None,
        edges: Edges | None,
        present: Tensor | None,
        reset: Tensor | None,
        mask: Tensor | None,
    ) -> tuple[Tensor, Tensor | None, Edges | None, Parts]:
        """Of edges that take time: what arrives `[B, T, L x N, F]`, where from, by which edges, and the state after.

        Where no edge does all is as it was given.

        Args:
            sent: `[B, T, N, F]` what neurons put on their edges.
            state: the parts before the first step; None: none.
            present: `[B, T, N]` bool, who is there.
        """
        if not self.lags:
            return sent, present, edges, {}
        if edges is None or edges.lags is None:
            raise InputError("the edges of this router take time; give edges with lags")
        past = (state or self.initial_state(len(sent)))[PAST]
        found, there, past = arriving(sent, past, self.lags, present, reset, mask)
        return found, there, by_lag(edges, self.lags), {PAST: past}

    @abstractmethod
    def forward(
        self,
        x: Tensor,
        state: Parts | None = None,
        *,
        edges: Edges | None = None,
        gate: Tensor | None = None,
        reset: Tensor | None = None,
        mask: Tensor | None = None,
        tape: RoundTape | None = None,
    ) -> tuple[Tensor, Parts]:
        """Return the message that each neuron receives, `[B, T, N, D]`, and the new state.

        A third value, if any, is what the router adds to the training loss: scalars in nats, by name.

        Args:
            x: `[B, T, N, D]` the neurons after their norm.
            state: the parts that `initial_state` names; None where there are none.
            edges: which edges may be used; None is the complete graph. Where the topology lists edges (`self.sparse`)
                they are those, in `[N, K]`, some perhaps closed by a lesion.
            gate: `[B, T, N]` factor on what each neuron sends.
            reset, mask: `[B, T]` bool as in `Memory`; only routers with a state need them.
            tape: what records routing weights, `[B, T, H, N_to, N_from]`, or `[B, T, H, N_to, K]` with the edges they
                are of (`tape.add_routing`), when someone looks.

        A router whose weights sum to a mass gets `present`, `[B, T, N]` bool or None, if it has such a keyword, and
        shares the mass among the neurons that are there. One of free mass need not: gates of absent neurons are zero.
        """

    def packs(self, x: Tensor, edges: Edges | None) -> bool:
        """Whether `of_rows` stands for `forward` on tensors like `x`, and may be called in its place."""
        return False

    def of_rows(self, x: Tensor, rows: Packed, edges: Edges | None) -> Tensor:
        """What those that take part hear of one another, of a router without a state: lists `[R, D]` -> `[R, D]`."""
        raise NotImplementedError

    def edge_weights(self) -> list[EdgeWeights]:
        """The parameters that are weights of edges, each with the view of it (and of what is of its shape) as `[N, K,
        ...]`, neurons in order, K = N on the complete graph; [] where edges have no weights of their own. An edge whose
        weights are zero must carry nothing."""
        return []

    def sent(self, x: Tensor, gate: Tensor | None) -> Tensor:
        """What neurons `x` put on their edges, `[B, T, N, ...]`: what weights of edges are factors of."""
        return emitted(x, gate)

    @abstractmethod
    def flops(self) -> dict[str, float]:
        """Forward FLOPs for one symbol of the whole population, by part."""


def passing_on(forward: Callable[..., Any]) -> Callable[..., Any]:
    """A router's `forward` in which whom the absent pass on is heard in their place, where `edges.relay` says so.

    It is here, behind all that hangs on the call, that a lesion has closed its edges.
    """

    @wraps(forward)
    def call(self: Router, x: Tensor, state: Any = None, *, edges: Edges | None = None, **options: Any) -> Any:
        if edges is not None and edges.relay and (present := options.pop("present", None)) is not None:
            who, there = relays(present, edges.relay, edges.passing)
            x, gate = relayed(x, who, there), options.pop("gate", None)
            gate = None if gate is None else gate.gather(2, who)
            if self.takes_present:
                options["present"] = there
            else:
                gate = there.to(x.dtype) if gate is None else gate * there
            options["gate"] = gate
        return forward(self, x, state, edges=edges, **options)

    return call


def starts_silent(config: GraphConfig) -> bool:
    """Whether a router's last map starts at zero. Under `message-norm` the norm after it does instead."""
    return getattr(config.router, "zero_start", False) and config.update != "message-norm"


def emitted(values: Tensor, gate: Tensor | None) -> Tensor:
    """What neurons send, `[B, T, N, D]`: their values, times their gates `[B, T, N]` where they have them."""
    return values if gate is None else values * gate[..., None].to(values.dtype)


class WeightedRouter(Router):
    """A router whose message is a weighted sum of values: Σ_j w_ij V x_j, then an output map.

    Subclasses define the weights. With `zero_start` the output map starts at zero: no messages at first. With the
    update form `message-norm` the norm after it starts at zero instead, since it would amplify a message near zero.
    """

    Options = MessageOptions

    def __init__(self, config: GraphConfig):
        super().__init__(config)
        silent = starts_silent(config)
        maps = getattr(config.router, "maps", True)
        self.value = neuron_map(config, config.width, config.width, bias=True) if maps else nn.Identity()
        self.out: nn.Module = nn.Identity()
        if maps:
            self.out = NeuronLinear(config.populations, config.width, config.width, bias=True, zero=silent)

    def values(self, x: Tensor, gate: Tensor | None) -> Tensor:
        return emitted(self.value(x), gate)

    def flops(self) -> dict[str, float]:
        maps: list[Any] = [m for m in (self.value, self.out) if not isinstance(m, nn.Identity)]
        return {
            "routing.matrices": float(sum(m.flops(self.neurons) for m in maps)),
            "routing.messages": 2.0 * self.neurons * self.degree * self.width,
        }
