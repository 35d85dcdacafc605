"""The rivals on signals: the same layers as on symbols, between a linear map in and a linear head."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from inn.config.signals import SignalLSTMConfig, SignalTransformerConfig
from inn.models.recurrent import first_state, products, read, recurrent
from inn.models.signal import SignalModel
from inn.models.transformer import Layer, layer_flops, through
from inn.models.window import Plan, Windowed
from inn.nn.direct import home
from inn.nn.state import State


class SignalLSTM(SignalModel):
    """LSTM layers of one width, as in `inn.models.lstm.LSTM`.

    >>> y, state = SignalLSTM(SignalLSTMConfig(features=3, width=16))(torch.randn(2, 5, 3))
    >>> y.shape, state[1, "c"].shape
    (torch.Size([2, 5, 1]), torch.Size([2, 1, 16]))
    """

    name: ClassVar[str] = "lstm"

    def __init__(self, config: SignalLSTMConfig):
        super().__init__(config, config.width, config.width)
        self.add_module(self.name, recurrent(self.name, config.width, config.layers, config.dropout))

    @property
    def layers(self) -> nn.RNNBase:
        """PyTorch's layers, which are the child of the kind's name."""
        return getattr(self, self.name)

    def body(self, x: Tensor, state: State | None, reset: Tensor | None, mask: Tensor | None) -> tuple[Tensor, State]:
        return read(self.layers, x, self.body_state(x.shape[0]) if state is None else state, reset, mask)

    def body_state(self, batch: int) -> State:
        c, weight = self.config, self.input.weight
        return first_state(self.name, c.layers, batch, c.width, weight.dtype, home(self.input, weight))

    def body_flops(self) -> dict[str, float]:
        return {self.name: products(self.name, self.config.layers, self.config.width)}


class SignalGRU(SignalLSTM):
    """The same with GRU layers."""

    name = "gru"


class SignalTransformer(Windowed, SignalModel):
    """The layers of `inn.models.transformer.Transformer`: each step attends to the last `window` steps.

    >>> y, state = SignalTransformer(SignalTransformerConfig(features=3, width=16, layers=2))(torch.randn(2, 5, 3))
    >>> y.shape, state[1, "k"].shape
    (torch.Size([2, 5, 1]), torch.Size([2, 1, 255, 16]))
    """

    blocks = False

    def __init__(self, config: SignalTransformerConfig):
        c = config
        super().__init__(c, c.width, c.width)
        self.layers = nn.ModuleList(Layer(c) for _ in range(c.layers))
        self.norm = nn.RMSNorm(c.width, eps=1e-6)
        self.dropout = nn.Identity()  # there is some after each sublayer

    @property
    def first(self) -> nn.Embedding | nn.Linear:
        return self.input

    def encode(
        self, given: Tensor, plan: Plan, caches: list[tuple[Tensor, Tensor]]
    ) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        # In float32 at least: a bfloat16 model could not tell position 257 from 256.
        dtype = torch.promote_types(self.input.weight.dtype, torch.float32)
        y, joined = through(self.layers, given, plan, caches, dtype)
        return self.norm(y), joined

    def body(self, x: Tensor, state: State | None, reset: Tensor | None, mask: Tensor | None) -> tuple[Tensor, State]:
        return self.read_windows(x, state, reset, mask)

    def body_state(self, batch: int) -> State:
        return self.empty_caches(batch)

    def body_flops(self) -> dict[str, float]:
        return layer_flops(self.config)
