"""The Intelligent Neural Network: embedding, graph of neurons, head."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from inn.config.assemble import model_config
from inn.config.models import INNConfig
from inn.models.names import HoldsGraph
from inn.models.organs import descriptors_of, known, told_by
from inn.models.sequence import SequenceModel
from inn.models.size import with_parameters
from inn.models.views import readout_norm, told
from inn.nn.arguments import checked, config_of
from inn.nn.direct import going_round, passed_by, untouched
from inn.nn.graph import Graph
from inn.nn.parts import MeanLinear
from inn.nn.population import Embedding, Linear, started
from inn.nn.recall.base import Found, Recall
from inn.nn.roles import sensed
from inn.nn.state import State
from inn.nn.symbols import AdaptiveHead, products, widening
from inn.nn.topology.edges import Edges
from inn.registry import RECALLS
from inn.system.errors import InputError

RECALL = -1
"""Where the state keeps what neurons recall: before the first round."""


@passed_by("forward", "hidden", "read", backbone=Graph, recall=Recall)
class INN(HoldsGraph, SequenceModel):
    """A language model that is a graph of neurons (arXiv 2511.22813, section 2).

    By default each neuron has its own weights and its own part of the embedding, receives messages from all others with
    a weight matrix per edge (router `dendrites`), has a Mamba memory, and an n-gram cache: which symbol followed the
    same context last time, with its own context length (recall `last`). Preset `paper`: the published model.

    Args:
        config: an `INNConfig`; or give its fields by name, over a `preset` (`distinct`, `paper`, `paper-fixed`). A
            part's options are given as `memory_options={"state": 8}`; `parameters=470_000` finds the width.

    Raises:
        InputError: for an unknown field or a value that does not fit.

    >>> import torch
    >>> model = INN(vocab=256, neurons=8, width=64, rounds=4)
    >>> logits, state = model(torch.randint(256, (2, 10)))
    >>> logits.shape
    torch.Size([2, 10, 256])
    """

    no_split = ["Round"]
    """Modules that are on one device wholly (`infer_auto_device_map(no_split_module_classes=...)` of accelerate)."""
    config: INNConfig

    def __init__(self, config: INNConfig | None = None, *, preset: str | None = None, **fields: Any):
        parameters = fields.pop("parameters", None)
        given = fields if preset is None else {"preset": preset, **fields}
        config = config_of(INNConfig, config, given) or model_config("inn", preset, **fields)
        super().__init__(config if parameters is None else with_parameters(config, parameters))
        c = self.config
        embedded = c.embedding_width or c.input_width
        self.embedding = Embedding(c.vocab, embedded)
        self.widen = widening(c.embedding_width, c.input_width)
        recall = RECALLS[c.recall.kind]
        self.recall: Recall | None = None if recall is None else recall(c)
        self.votes: Any = None if recall is None else recall.voter(c)
        self.no_split = [*self.no_split, *(type(m).__name__ for m in (self.recall, self.votes) if m is not None)]
        self.backbone = Graph(c)
        if (table := getattr(c.gate, "table", None)) and len(table) != c.vocab:
            raise InputError(
                f"gate.table is of {len(table)} symbols, and the vocabulary has {c.vocab}; name a neuron for each"
            )
        self.norm, self.views, width = readout_norm(c), c.views, c.normed_width
        self.heard = self.views * width
        """Numbers that the head reads; votes of recall stand behind them."""
        self.descriptors = descriptors_of(c, together=False)
        # A tied head needs the embedding's width; where the readout has another one, a bridge leads to it.
        bridged = c.tied and (c.embedding_width is not None or width != c.input_width)
        self.bridge = Linear(width, embedded, bias=False) if bridged else nn.Identity()
        parts = len(c.readouts) if hasattr(c.readout, "parts") else 0
        if c.head == "adaptive" and parts:
            raise InputError(
                "head 'adaptive' does not tell the mean of what the parts of a readout say; set head linear"
            )
        if c.head == "adaptive":
            self.head = AdaptiveHead(width, c.vocab, c.cuts(c.vocab))
        else:
            size = embedded if c.tied else width
            self.head = MeanLinear(size, c.vocab, parts) if parts else Linear(size, c.vocab)
        self.dropout = nn.Dropout(c.dropout) if c.dropout else nn.Identity()
        started(self.embedding, c.embedding_std)
        if isinstance(self.head, Linear):
            started(self.head, 0.02)
            if c.tied:
                self.head.std = c.embedding_std
        self.tie_weights()
        self.register_load_state_dict_post_hook(_tie_what_was_loaded)

    def tie_weights(self) -> None:
        """Let a tied head have the embedding's weight, the very tensor; accelerate asks for it by this name."""
        if (
            self.config.tied
            and (one := self._parameter("embedding")) is not None
            and self._parameter("head") is not None
        ):
            # Not by setting the attribute: `init_empty_weights` makes a new tensor of each one that is set.
            self.head._parameters["weight"] = one

    def _apply(self, fn: Any, recurse: bool = True) -> INN:
        one = self._parameter("embedding")
        tied = one is not None and one is self._parameter("head")
        super()._apply(fn, recurse)
        if tied:  # `to_empty` makes new tensors, one for either
            self.tie_weights()
        return self

    def _parameter(self, child: str) -> nn.Parameter | None:
        """The weight of a child; None where it has no plain one (any longer)."""
        return getattr(self, child)._parameters.get("weight")

    def forward(
        self,
        tokens: Tensor,
        state: State | None = None,
        *,
        reset: Tensor | None = None,
        mask: Tensor | None = None,
        edges: Edges | None = None,
        remember: bool = True,
        predict: bool = True,
        dt: Tensor | None = None,
        every: bool = False,
        found: Found | None = None,
    ) -> tuple[Tensor, State]:
        """Predict the next symbol: `[B, T]` -> logits `[B, T, vocab]` and the state; see `SequenceModel.forward`.

        `edges` says which edges the routers may use; None is the complete graph. Without `remember` the symbols are
        not to be recalled later, as in `step_`; without `predict` the result is that of `hidden`. `dt` `[B, T]` is the
        time since the symbol before, for memories that take it (`liquid`). With `every` the logits are of every view of
        a readout that gives several (`each`), `[B, T, K, vocab]`, and else of the last. `found` is what the neurons
        recall at these symbols, where that is known: then nothing is looked up, and the state has no tables.
        """
        options: Any = {"edges": edges, "remember": remember, "dt": dt, "found": found}
        hidden, state = self.read(tokens, state, reset=reset, mask=mask, **options)
        return self.predict(hidden, every) if predict else hidden, state

    @checked
    def hidden(
        self,
        tokens: Tensor,
        state: State | None = None,
        *,
        reset: Tensor | None = None,
        mask: Tensor | None = None,
        edges: Edges | None = None,
        remember: bool = True,
        dt: Tensor | None = None,
    ) -> tuple[Tensor, State]:
        """`forward` up to the head: the normalised readout `[B, T, normed_width]`, for `predict`, and the state.

        Without `remember` the symbols are not to be recalled later, as in `step_`.
        """
        return self.read(tokens, state, reset=reset, mask=mask, edges=edges, remember=remember, dt=dt)

    def read(
        self,
        tokens: Tensor,
        state: State | None,
        *,
        reset: Tensor | None,
        mask: Tensor | None,
        edges: Edges | None = None,
        remember: bool = True,
        dt: Tensor | None = None,
        found: Found | None = None,
    ) -> tuple[Tensor, State]:
        """`hidden` of arguments that have been checked."""
        x, taken, recalled = self.dropout(self.widen(self.embedding(tokens))), None, {}
        if self.recall is not None:
            known = None if state is None else state.round(RECALL)
            taken, recalled, found = self.recall(tokens, known, reset, mask, remember, found)
            state = None if state is None else State({key: t for key, t in state.items() if key[0] != RECALL})
        options = {"edges": edges, "reset": reset, "mask": mask, **({} if dt is None else {"dt": dt})}
        if (present := self.present(tokens)) is not None:
            options["present"] = present
        x, after = self.backbone(x, state, recalled=taken, **options, checked=True)
        hidden, after = told_by(self, x, state, after, reset, mask)
        hidden = self.voted(hidden, found)
        return hidden, after if self.recall is None else _joined(after, recalled)

    def logits(self, x: Tensor) -> Tensor:
        """Logits `[B, T, vocab]` of neurons `[B, T, N, D]`."""
        return self.predict(self.norm(self.backbone.readout(x)))

    def spared(self, options: Mapping[str, Any]) -> tuple[int, ...]:
        return () if options.get("found") is None else (RECALL,)

    def voted(self, hidden: Tensor, found: Found | None) -> Tensor:
        """What the head reads, and behind it what recall votes `[B, T, vocab]`, where its kind has a say of its own."""
        return hidden if self.votes is None else torch.cat((hidden, self.votes(found, hidden)), -1)

    def predict(self, hidden: Tensor, every: bool = False) -> Tensor:
        """Logits `[..., vocab]` of what `hidden` gives; of every view `[..., K, vocab]`.

        Of what the head reads alone, `[..., normed_width]`, they are what the neurons say without the votes of recall.
        """
        votes = None
        if self.votes is not None and hidden.shape[-1] > self.heard:
            hidden, votes = hidden[..., : self.heard], hidden[..., self.heard :]
        logits = told(lambda one: self.head(self.dropout(self.bridge(one))), hidden, self.views, every)
        return logits if votes is None else logits + (votes[..., None, :] if every else votes)

    def embed(self, tokens: Tensor) -> Tensor:
        """Symbols `[B, T]` as the neurons' inputs `[B, T, N, D]`."""
        return self.backbone.distribute(self.dropout(self.widen(self.embedding(tokens))))

    def present(self, tokens: Tensor) -> Tensor | None:
        """Which neurons take these symbols `[B, T]`, `[B, T, N]` bool, where a gate knows that beforehand."""
        gate = self.backbone.gate
        return None if gate is None else gate.known(tokens)

    def step_(
        self, tokens: Tensor, state: State | None = None, *, remember: bool = True, found: Found | None = None
    ) -> tuple[Tensor, State]:
        """Predict after one symbol per stream, without a gradient: `[B]` -> logits `[B, vocab]`.

        With `found`, `[B, 1, ...]` by name, nothing is looked up and the state has no tables, as in `forward`.
        The state is changed in place and returned. While a tape records, in what is compiled, and where something hangs
        on a module (a hook, an adapter, offloading: see `inn.nn.direct`), a new one is made as ever, by `forward`.
        """
        if state is None:
            state = self.initial_state(tokens.shape[0]) if found is None else self._unrecalled(tokens.shape[0])
        graph, recall = self.backbone, self.recall
        if graph.tape is not None or torch.compiler.is_compiling() or not untouched(self) or self.descriptors:
            with torch.no_grad():
                logits, after = self(tokens[:, None], state, found=found)
                logits = logits[:, 0]
            if found is None and recall is not None and not remember:
                after = State({**after, (RECALL, "table"): state[RECALL, "table"]})
            return logits, after
        with torch.inference_mode(), going_round(self):
            tokens = tokens[:, None]
            x = self.embed(tokens)
            if recall is not None:
                if found is None:
                    taken, found = recall.read_(tokens, state.round(RECALL), remember=remember)
                else:
                    taken = recall.tell(found)
                x = x + sensed(taken, graph.sensors)
            hidden = self.norm(graph.out_(x, state, self.present(tokens)))
            logits = self.predict(self.voted(hidden, found))[:, 0]
        return logits.clone(), state  # the copy is an ordinary tensor

    def initial_state(self, batch: int) -> State:
        state = self._unrecalled(batch)
        return state if self.recall is None else _joined(state, self.recall.initial_state(batch))

    def _unrecalled(self, batch: int) -> State:
        """The initial state but for what is recalled."""
        return known(self, self.graph.initial_state(batch), batch)

    def after_reading(self, symbols: Tensor) -> State | None:
        """The state of one stream, on the CPU, that can recall a text `[n]` and remembers nothing else.

        None without recall. It costs a look-up per symbol and neuron, no arithmetic.
        """
        if self.recall is None:
            return None
        return _joined(known(self, self.graph.initial_state(1), 1).to("cpu"), self.recall.after_reading(symbols))

    def flops(self) -> dict[str, float]:
        parts = self.graph.flops()
        if isinstance(self.widen, Linear):
            parts["embedding"] = products(self.widen)
        parts["head"] = products(self.bridge, self.head)
        for part in (self.recall, self.votes, self.descriptors):
            parts |= part.flops() if part is not None else {}
        return parts


def _tie_what_was_loaded(model: INN, keys: Any) -> None:
    """Tie again where loading has put two tensors (`assign=True`) in place of one; of which a file may hold one."""
    one, other = model._parameter("embedding"), model._parameter("head")
    if not model.config.tied or one is None or other is None or one is other:
        return
    if one.is_meta:
        model.embedding._parameters["weight"] = other
    alike = type(one) is type(other) and one.shape == other.shape
    if one.is_meta or other.is_meta or (alike and torch.equal(one, other)):
        model.tie_weights()


def _joined(state: State, recalled: dict[str, Tensor]) -> State:
    return State({**state, **{(RECALL, name): t for name, t in recalled.items()}}, state.penalties)
