"""PyTorch's recurrent layers, LSTM and GRU, read as every model is: with a state, resets and masks."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inn.nn.state import State
from inn.ops.derivatives import readable, transformed

LAYERS: dict[str, type[nn.LSTM] | type[nn.GRU]] = {"lstm": nn.LSTM, "gru": nn.GRU}
"""PyTorch's layers by the name that models keep them under."""
PARTS = {"lstm": "hc", "gru": "h"}
"""The parts of a layer's state."""
Parts = tuple[Tensor, ...]


def recurrent(name: str, width: int, layers: int, dropout: float) -> nn.RNNBase:
    """Layers of one width, dropout between them."""
    # PyTorch warns about dropout "between layers" when there is only one.
    return LAYERS[name](width, width, layers, batch_first=True, dropout=dropout if layers > 1 else 0.0)


def first_state(name: str, layers: int, batch: int, width: int, dtype: torch.dtype, device: torch.device) -> State:
    """Zeros: `(layer, "h")`, and of an LSTM `(layer, "c")`, each `[B, 1, width]`."""
    zeros = torch.zeros(batch, 1, width, dtype=dtype, device=device)
    return State({(i, part): zeros.clone() for part in PARTS[name] for i in range(layers)})


def products(name: str, layers: int, width: int) -> float:
    """FLOPs per step: the gates are maps of the input and of h."""
    return 2.0 * layers * 2 * {"lstm": 4, "gru": 3}[name] * width**2


def read(
    layers: nn.RNNBase, x: Tensor, state: State, reset: Tensor | None, mask: Tensor | None
) -> tuple[Tensor, State]:
    """Read `[B, T, width]`, from a state; what the last layer gives, `[B, T, width]`, and the state after it."""
    names = [part for part in PARTS["lstm"] if (0, part) in state]
    count = len(state) // len(names)
    parts: Parts = tuple(torch.stack([state[i, part][:, 0] for i in range(count)]) for part in names)
    outputs = []
    for start, end in segments(x.shape[1], reset, mask):
        if reset is not None:
            fresh = reset[:, start, None]
            parts = tuple(t.masked_fill(fresh, 0) for t in parts)
        run = by_layers if transformed() or torch.compiler.is_exporting() else _whole
        y, new = run(layers, x[:, start:end], tuple(t.contiguous() for t in parts))
        new = tuple(n.to(t.dtype) for n, t in zip(new, parts, strict=True))  # autocast may have left bfloat16
        if mask is not None:
            live = mask[:, start, None]
            new = tuple(torch.where(live, n, t) for n, t in zip(new, parts, strict=True))
        parts = new
        outputs.append(y)
    after = {(i, name): t[i][:, None] for name, t in zip(names, parts, strict=True) for i in range(count)}
    return torch.cat(outputs, dim=1), State(after)


def _whole(layers: nn.RNNBase, x: Tensor, parts: Parts) -> tuple[Tensor, Parts]:
    if len(parts) == 2:
        return layers(x, parts)
    y, h = layers(x, parts[0])
    return y, (h,)


def by_layers(layers: nn.RNNBase, x: Tensor, parts: Parts) -> tuple[Tensor, Parts]:
    """What `layers` compute of x `[B, T, D]`, for transforms and for export.

    Its fused kernels have no forward mode, so there are formulas for that; and PyTorch exports it as so many steps as
    the example has, but for the kernel of one LSTM layer on a CPU, which a single step does not need.
    """
    one = type(x.shape[1]) is int and x.shape[1] == 1
    fused = isinstance(layers, nn.LSTM) and not one and not transformed() and x.is_cpu and x.dtype == torch.float32
    kernel, step = fused and torch.backends.mkldnn.is_available(), STEPS[type(layers)]
    last = []
    for i, now in enumerate(zip(*parts, strict=True)):
        weights = layers.all_weights[i]
        if kernel:
            h, c = now
            begin = h[None], c[None], False, [], 2, layers.hidden_size, 1, True, False, False, True
            y, h, c, _ = torch.ops.aten.mkldnn_rnn_layer(x.transpose(0, 1).contiguous(), *weights, *begin)
            x, now = y.transpose(0, 1), (h[0], c[0])
        else:
            given, steps = F.linear(x, weights[0], weights[2]), []
            for t in range(x.shape[1]):
                now = step(given[:, t], F.linear(now[0], weights[1], weights[3]), *now)
                steps.append(now[0])
            x = torch.stack(steps, 1)
        last.append(now)
        if i + 1 < layers.num_layers:
            x = F.dropout(x, layers.dropout, layers.training)
    return x, tuple(torch.stack(t) for t in zip(*last, strict=True))


def _lstm_step(given: Tensor, heard: Tensor, h: Tensor, c: Tensor) -> Parts:
    enter, keep, new, out = (given + heard).chunk(4, -1)
    c = keep.sigmoid() * c + enter.sigmoid() * new.tanh()
    return out.sigmoid() * c.tanh(), c


def _gru_step(given: Tensor, heard: Tensor, h: Tensor) -> Parts:
    (clear, keep, new), (clear_h, keep_h, new_h) = given.chunk(3, -1), heard.chunk(3, -1)
    keep = (keep + keep_h).sigmoid()
    new = (new + (clear + clear_h).sigmoid() * new_h).tanh()
    return ((1 - keep) * new + keep * h,)


STEPS: dict[type, Callable[..., Parts]] = {nn.LSTM: _lstm_step, nn.GRU: _gru_step}


def segments(steps: int, reset: Tensor | None, mask: Tensor | None) -> list[tuple[int, int]]:
    """Cut `steps` positions where any row resets or any row's mask changes.

    Inside a segment nothing happens but the recurrence itself, so PyTorch's fused kernel can run it whole.

    >>> segments(6, torch.tensor([[False, False, True, False, False, False]]), None)
    [(0, 2), (2, 6)]
    """
    if reset is None and mask is None:
        return [(0, steps)]
    if not all(readable(t) for t in (reset, mask) if t is not None):
        return [(t, t + 1) for t in range(steps)]
    cuts = torch.zeros(steps, dtype=torch.bool)
    if reset is not None:
        cuts |= reset.any(0).cpu()
    if mask is not None:
        cuts[1:] |= (mask[:, 1:] != mask[:, :-1]).any(0).cpu()
    inner = [i for i in cuts.nonzero()[:, 0].tolist() if i > 0]
    edges = [0, *inner, steps]
    return list(pairwise(edges))
