"""What each operation of a traced graph becomes in a program."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from inn.export.elements import (
    clamped,
    converted,
    divided,
    embedded,
    filled,
    gathered,
    gelu,
    indexed,
    item,
    log_sigmoid,
    mapped,
    nothing,
    power,
    same,
    seen,
    selected,
    softplus,
)
from inn.export.library import (
    conv,
    delta_scan,
    layer_norm,
    linear,
    neighbour_attention,
    neighbour_messages,
    neighbour_mix,
    neighbour_scores,
    neighbour_sum,
    neuron_attention,
    norm,
    recurrence,
    rnn_layer,
    scan,
)
from inn.export.recalled import RECALLED
from inn.export.several import (
    along,
    copied,
    joined,
    length,
    ordered,
    overwritten,
    padded,
    product,
    product_and_sum,
    reduced,
    scattered,
)

UNFOLDED: frozenset[str] = frozenset(("auto_functionalized_v2",))
"""What is never computed beforehand."""

OPERATIONS: dict[str, Callable[..., Any]] = {
    **dict.fromkeys(
        "view _unsafe_view reshape unsqueeze squeeze squeeze.dim squeeze.dims permute transpose.int t select.int "
        "slice.Tensor expand split_with_sizes split.Tensor unbind.int unfold diagonal".split(),
        seen,
    ),
    **dict.fromkeys("alias clone detach lift_fresh_copy contiguous detach_".split(), same),
    **dict.fromkeys(
        "_assert_tensor_metadata promote_types _assert_scalar sym_constrain_range_for_size _assert_async.msg".split(),
        nothing,
    ),
    "getitem": item,
    **{
        fn: mapped(fn, 1)
        for fn in "neg exp exp2 expm1 log log2 log1p sqrt rsqrt reciprocal abs sin cos tan atan tanh sigmoid relu "
        "floor ceil round sign isnan isinf erf silu logical_not bitwise_not".split()
    },
    **{
        f"{fn}{kind}": mapped(fn, 2)
        for fn in "add sub mul eq ne lt le gt ge remainder bitwise_and bitwise_or bitwise_xor".split()
        for kind in (".Tensor", ".Scalar")
    },
    **{fn: mapped(fn, 2) for fn in "minimum maximum logical_and logical_or logical_xor atan2".split()},
    "where.self": mapped("where", 3),
    "div.Tensor": divided,
    "div.Scalar": divided,
    "div.Tensor_mode": divided,
    "div.Scalar_mode": divided,
    "pow.Tensor_Scalar": power,
    "clamp": clamped,
    "clamp.Tensor": clamped,
    "clamp_min": clamped,
    "gelu": gelu,
    "softplus": softplus,
    "log_sigmoid_forward": log_sigmoid,
    "_to_copy": converted,
    **dict.fromkeys("full_like zeros_like ones_like empty_like new_zeros new_full new_empty new_ones".split(), filled),
    "embedding": embedded,
    "index.Tensor": indexed,
    "gather": gathered,
    "index_select": selected,
    **{f"{fn}.dim_IntList": reduced(fn) for fn in ("sum",)},
    "sum": reduced("sum"),
    "mean.dim": reduced("mean"),
    "mean": reduced("mean"),
    "amax": reduced("amax"),
    "amin": reduced("amin"),
    "any.dim": reduced("any"),
    "any": reduced("any"),
    "all.dim": reduced("all"),
    "prod.dim_int": reduced("prod"),
    "linalg_vector_norm": length,
    "_softmax": along("softmax"),
    "_log_softmax": along("log_softmax"),
    "cumsum": along("cumsum"),
    "sort.stable": ordered,
    "topk": ordered,
    "cat": joined,
    "constant_pad_nd": padded,
    "copy": copied,
    "scatter.src": scattered,
    "scatter.value": scattered,
    "scatter_add": scattered,
    "select_scatter": overwritten,
    "slice_scatter": overwritten,
    "mm": product,
    "bmm": product,
    "addmm": product_and_sum,
    "native_layer_norm": layer_norm,
    "mkldnn_rnn_layer": rnn_layer,
    "inn.neuron_linear_fwd": linear,
    "inn.neuron_norm_fwd": norm,
    "inn.causal_conv_fwd": conv,
    "inn.selective_scan_fwd": scan,
    "inn.delta_scan_fwd": delta_scan,
    "inn.recurrence_fwd": recurrence,
    "inn.neuron_attention_fwd": neuron_attention,
    "inn.neighbour_attention_fwd": neighbour_attention,
    "inn.neighbour_sum_fwd": neighbour_sum,
    "inn.neighbour_mix": neighbour_mix,
    "inn.neighbour_scores": neighbour_scores,
    "inn.neighbour_messages_fwd": neighbour_messages,
    **RECALLED,
}
"""By name, without the name of PyTorch's library."""
