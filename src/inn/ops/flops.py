"""What PyTorch's FLOP counter makes of the kernels: as much as `flops()` of models says, and twice that backwards.

`torch.utils.flop_counter` takes half a second to import, so it is told the formulas once somebody else has imported it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import torch
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack

from inn.ops.cpu.library import when_loaded

COUNTER = "torch.utils.flop_counter"
_told = False


def tell_counters() -> None:
    """Give the formulas to PyTorch's FLOP counter, where there is one, and to the counters that count already."""
    global _told
    counting: Any = sys.modules.get(COUNTER)
    if _told or counting is None:
        return
    _told = True
    modes: list[Any] = _get_current_dispatch_mode_stack()
    for name, formula in FORMULAS.items():
        for space, op in (("aten", name), ("inn", name), ("inn", f"triton_{name}")):
            packet = getattr(getattr(torch.ops, space), op, None)
            if packet is not None and packet not in counting.flop_registry:
                counting.register_flop_formula(packet)(formula)
                for counter in (mode.counter for mode in modes if hasattr(mode, "counter")):
                    counter.flop_registry[packet] = counting.flop_registry[packet]


@when_loaded
def register() -> None:
    """Tell of the kernels, too."""
    global _told
    _told = False
    tell_counters()


def _scan(x, A):
    return 7 * prod(x) * A[-1]


def _conv(x, weight):
    return 2 * prod(x) * weight[-1]


def _delta(v, beta, state):
    return (5 if beta is None else 8) * prod(v) * state[-2]


def _attention(q, keys):
    return 4 * prod(q) * keys


def _messages(x, weight, sources):
    return 2 * prod(x[:2]) * sources[0] * prod(weight[1:])


def _met(q, first):
    """How many meet at a step is in the numbers, not in the shapes: as if as many did at all steps."""
    return _attention(q, q[0] / max(1, first[0] - 1))


def _lstm(x, w, u):
    return 2 * prod(x[:2]) * w[0] * (w[1] + u[1])


def _step(x, into, conv_weight, conv_bias, to_scan, to_dt, dt_bias, A_log, skip, out, *states, **kwargs):
    maps = sum(m[-1] * m[-2] for m in (into, to_scan, to_dt, out) if m is not None)
    return x[0] * x[2] * (2 * maps + A_log[1] * (2 * conv_weight[-1] + 7 * A_log[2]))


def _loop(x, state, reset, mask, *weights, **kwargs):
    return 2 * prod(x) + 2 * prod(x[:3]) * sum(prod(w[1:]) for w in weights if isinstance(w, Sequence) and len(w) > 2)


def _feedback(given, said, conv, ssm, reset, mask, hear, gain, bias, conv_weight, conv_bias, to_scan, to_dt, *others):
    maps = sum(w[1] * w[2] for w in (hear, to_scan, to_dt)) + said[2] * ssm[2]
    return prod(given[:3]) * (2 * maps + ssm[2] * (2 * conv_weight[2] + 7 * ssm[3]))


def _recall(tokens, table, recent, orders, reset, mask, learn, width=0, **kwargs):
    return 2 * prod(tokens) * table[1] * width


FORMULAS: dict[str, Callable[..., float]] = {
    "selective_scan_fwd": lambda x, dt, A, *_, **__: _scan(x, A),
    "selective_scan_bwd": lambda gy, glast, x, dt, A, *_, **__: 2 * _scan(x, A),
    "packed_attention_fwd": lambda q, k, v, heads, order, first, **__: _met(q, first),
    "packed_attention_bwd": lambda gy, q, k, v, heads, order, first, **__: (
        2 * _attention(q, q[0] / max(1, first[0] - 1))
    ),
    "packed_scan_fwd": lambda x, dt, A, *_, **__: _scan(x, A),
    "packed_scan_bwd": lambda gy, glast, x, dt, A, *_, **__: 2 * _scan(x, A),
    "packed_conv_fwd": lambda x, weight, *_, **__: _conv(x, weight),
    "packed_conv_bwd": lambda gy, glast, x, weight, *_, **__: 2 * _conv(x, weight),
    "delta_scan_fwd": lambda q, k, v, decay, beta, state, *_, **__: _delta(v, beta, state),
    "delta_scan_bwd": lambda gy, glast, q, k, v, decay, beta, state, *_, **__: 2 * _delta(v, beta, state),
    "causal_conv_fwd": lambda x, weight, *_, **__: _conv(x, weight),
    "causal_conv_bwd": lambda gy, glast, x, weight, *_, **__: 2 * _conv(x, weight),
    "neuron_attention_fwd": lambda q, *_, **__: _attention(q, q[2]),
    "neuron_attention_bwd": lambda gout, q, *_, **__: 2 * _attention(q, q[2]),
    "neighbour_attention_fwd": lambda q, k, v, heads, sources, *_, **__: _attention(q, sources[1]),
    "neighbour_attention_bwd": lambda gout, q, k, v, heads, sources, *_, **__: 2 * _attention(q, sources[1]),
    "neighbour_sum_fwd": lambda v, weights, *_, **__: 2 * prod(v) * weights[1],
    "neighbour_sum_bwd": lambda gout, v, weights, *_, **__: 4 * prod(v) * weights[1],
    "neighbour_mix": lambda v, weights, *_, **__: 2 * prod(v) * weights[-1],
    "neighbour_spread": lambda v, weights, *_, **__: 2 * prod(v) * weights[-1],
    "neighbour_scores": lambda q, k, heads, sources, *_, **__: 2 * prod(q) * sources[1],
    "neighbour_messages_fwd": lambda x, weight, sources, *_, **__: _messages(x, weight, sources),
    "neighbour_messages_input_bwd": lambda gy, x, weight, sources, *_, **__: _messages(x, weight, sources),
    "neighbour_messages_weight_bwd": lambda gy, x, weight, sources, *_, **__: _messages(x, weight, sources),
    "neighbour_messages_bwd": lambda gy, x, weight, sources, *_, **__: 2 * _messages(x, weight, sources),
    "neuron_linear_fwd": lambda x, weight, *_, **__: 2 * prod(x) * weight[1],
    "neuron_linear_input_bwd": lambda gy, weight, *_, **__: 2 * sum(map(prod, gy)) * weight[2],
    "neuron_linear_weight_bwd": lambda gy, x, *_, **__: 2 * sum(map(prod, gy)) * x[3],
    "neuron_linear_bwd": lambda gy, x, *_, **__: 4 * prod(gy) * x[3],
    "memory_step": _step,
    "recall": _recall,
    "votes_fwd": lambda found, *_, **__: 2 * prod(found),
    "votes_bwd": lambda gy, found, *_, **__: 4 * prod(found),
    "expected_fwd": lambda found, last, table, symbols, **__: 2 * prod(found) * symbols[1],
    "expected_bwd": lambda gy, found, last, table, symbols, **__: 4 * prod(found) * symbols[1],
    "recurrence_fwd": lambda *given, **__: _loop(*given[:9]),
    "recurrence_bwd": lambda gy, glast, *given, **__: 2 * _loop(*given[:9]),
    "feedback_fwd": lambda *given, **__: _feedback(*given),
    "feedback_bwd": lambda gy, gsaid, gconv, gssm, *given, **__: 2 * _feedback(*given),
    # PyTorch's own on the CPU, which it does not count: what an LSTM and a Transformer run on.
    "mkldnn_rnn_layer": lambda x, w, u, *_, **__: _lstm(x, w, u),
    "mkldnn_rnn_layer_backward": lambda x, w, u, *_, **__: 2 * _lstm(x, w, u),
    "_scaled_dot_product_flash_attention_for_cpu": lambda q, k, *_, **__: _attention(q, k[2]),
    "_scaled_dot_product_flash_attention_for_cpu_backward": lambda gy, q, k, *_, **__: 2 * _attention(q, k[2]),
}
"""FLOPs of an operator by the shapes of what it is given."""
