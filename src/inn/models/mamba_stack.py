"""A stack of Mamba blocks (Gu & Dao 2023): the graph of neurons with one neuron, which talks to nobody."""

from __future__ import annotations

from torch import Tensor

from inn.config.models import INNConfig
from inn.config.rivals import MambaStackConfig
from inn.models.inn import INN
from inn.models.sequence import SequenceModel
from inn.nn.state import State
from inn.nn.topology.edges import Edges


class MambaStack(INN):
    """Embedding, `x + Mamba(LN x)` per layer, LayerNorm, head: the same code as `inn.INN` with one neuron.

    Dropout falls where INN has it: on the input, on what each block adds, and before the head.

    >>> from inn.config.rivals import MambaStackConfig
    >>> MambaStack(MambaStackConfig(vocab=27)).num_parameters
    2637083
    """

    config: MambaStackConfig  # type: ignore[assignment]

    def __init__(self, config: MambaStackConfig):
        super().__init__(one_neuron(config))
        self.config = config


class TransposedMambaStack(MambaStack):
    """The published "Mamba baseline": a stack that is fed batch and time the wrong way round.

    The published code turns its input round once more than it should, so the scan runs over the streams of the batch,
    at one moment, and never over time: a symbol is predicted from the symbol before it and from what *other* streams
    read at that moment. The 3.438 BPC reported as the stack's divergence is what a bigram table gets (3.43). This
    model keeps the mistake reproducible; it is no baseline. It carries nothing from one position to the next, so its
    state is empty, a reset changes nothing, and alone (batch 1) it is a bigram model.
    """

    def forward(
        self,
        tokens: Tensor,
        state: State | None = None,
        *,
        reset: Tensor | None = None,
        mask: Tensor | None = None,
        edges: Edges | None = None,
    ) -> tuple[Tensor, State]:
        """See `SequenceModel.forward`; a masked position is skipped by the scan over the batch."""
        hidden, _ = self.read(tokens.mT, None, reset=None, mask=None if mask is None else mask.mT, edges=edges)
        return self.predict(hidden).transpose(0, 1), State({})

    step_ = SequenceModel.step_  # nothing is carried that could be changed in place

    def initial_state(self, batch: int) -> State:
        """Empty: nothing is carried over time."""
        return State({})


def one_neuron(c: MambaStackConfig) -> INNConfig:
    """The graph that is this stack."""
    return INNConfig(
        vocab=c.vocab, neurons=1, width=c.width, rounds=c.layers, router="none", input="copy", weights="shared",
        readout="mean", dropout=c.dropout, tied=c.tied, embedding_std=c.embedding_std, memory=c.memory,
        embedding_width=c.embedding_width, head=c.head, cutoffs=c.cutoffs, recall="none",
    )  # fmt: skip
