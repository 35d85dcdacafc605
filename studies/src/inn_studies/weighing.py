"""What study `ngc-bytes` measures: bytes of folders, perplexity, speed, and caches; functions of plain options."""

from __future__ import annotations

import copy
import statistics
import tempfile
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inn_studies.compressing import opened, spaced

if TYPE_CHECKING:
    from torch import Tensor, nn


def weighed(
    model: str,
    corpus: str,
    rows: int,
    length: int,
    windows: int,
    plan: str | None = None,
    keep: float = 1.0,
    bits: tuple[int | None, ...] = (None,),
    correct: int = 0,
    dtype: str = "bfloat16",
    rounds: int = 3,
    by: str = "ours",
) -> dict[str, Any]:
    """A model made smaller, once for all `bits` that it is then rounded to; `rows` of bytes, perplexity and speed.

    Args:
        plan, keep: of `inn.compress.compress`; None for the dense model.
        bits: what its matrices are rounded to; None for numbers of `dtype`.
        correct: the rank of a correction of the rounded projections, itself of 8 bits.
        dtype: of a folder that is not rounded.
        rounds: of writing, beside the dense model, each time one after the other.
        by: who rounds: `ours`, or `hqq`, as torchao has it, with as many bits and a scale for as many numbers.
    """
    from inn.compress import rows_of
    from inn.compress.measure import score, writing_speeds
    from inn.compress.pipeline import compress
    from inn.compress.rounded import round_
    from inn.system.device import quick_products

    dense, calibration, held_out = opened(model, corpus)
    drawn = rows_of(calibration, rows, length)
    small = copy.deepcopy(dense)
    began = time.perf_counter()
    if plan is not None:
        compress(small, drawn, plan, keep)
    seconds = time.perf_counter() - began
    found = []
    for number in bits:
        made, more = copy.deepcopy(small), 0
        if number is not None and correct:
            more = _corrected(made, drawn, number, correct)
        elif number is not None:
            (round_ if by == "ours" else hqq)(made, number)
        with quick_products():
            scored = score(made, spaced(held_out, windows, length), length)
        speeds = writing_speeds({"dense": dense, "small": made}, calibration[:64], rounds=rounds)
        found.append(
            {
                "bits": number,
                "bytes": _on_disk(made, number, dtype) + more,
                "perplexity": scored.perplexity,
                "nats": [part.nats for part in scored.parts],
                "symbols": scored.count,
                "speed": speeds["small"] / speeds["dense"],
                "seconds": seconds,
            }
        )
    return {"rows": found}


def hqq(model: nn.Module, bits: int) -> None:
    """Round a model's matrices by half-quadratic quantisation (HQQ, scales only), in place; needs torchao."""
    import torch

    from inn.compress.rounded import GROUP, matrices

    ao, kind = import_module("torchao.quantization"), getattr(torch, f"int{bits}")
    config = ao.IntxWeightOnlyConfig(kind, ao.PerGroup(GROUP), intx_choose_qparams_algorithm="hqq_scale_only")
    unique = {id(p): p for module, name in matrices(model) for p in (getattr(module, name),)}
    for p in unique.values():
        flat = p.detach().flatten()
        groups = torch.nn.functional.pad(flat, (0, -len(flat) % GROUP)).view(-1, GROUP)  # as ours are laid
        holder = torch.nn.Linear(GROUP, len(groups), bias=False, dtype=p.dtype, device=p.device)
        holder.weight.data.copy_(groups)
        ao.quantize_(holder, config)
        made: Any = holder.weight
        p.data.copy_(made.dequantize().flatten()[: len(flat)].view_as(p))


def _on_disk(model: nn.Module, bits: int | None, dtype: str) -> int:
    """Bytes of the weights of a folder."""
    import torch

    from inn.compress.decoder import weight_bytes
    from inn.compress.folder import round_to, save

    model = copy.deepcopy(model)
    with tempfile.TemporaryDirectory() as folder:
        if bits is None:
            model.to(getattr(torch, dtype))
        else:
            round_to(model, bits)  # what is rounded already stays
        save(model, folder)
        return weight_bytes(Path(folder))


def _corrected(model: nn.Module, rows: Tensor, bits: int, rank: int) -> int:
    """Round a dense model, and add to every projection what rank k makes good of its error; bytes of the corrections.

    The error is measured by what the outputs lose on the text, as SVD-LLM measures that of a weight.
    """
    import torch

    from inn.compress.blocks import find_blocks, weight_of
    from inn.compress.calibrate import Stream
    from inn.compress.rounded import bytes_of_group, round_, rounded, widened
    from inn.compress.states import factorise

    whole = copy.deepcopy(model)
    blocks, taken = find_blocks(whole), 0
    round_(model, bits)
    stream = Stream(whole, rows)
    for layer in range(len(stream.layers)):
        moments, stream.batches = stream.moments(blocks, layer, stream.batches)
        for block, moment in moments.items():
            place = blocks[block]
            weight, ours = weight_of(whole, place), weight_of(model, place)
            states = factorise([(weight - ours).double()], [moment], min(rank, *weight.shape))
            parts = [states.inputs.T.float().contiguous(), states.outputs[0].float().contiguous()]
            parts = [widened(rounded(p, 8), 8, tuple(p.shape)) for p in parts]
            with torch.no_grad():
                ours += parts[1] @ parts[0]
            taken += sum(-(-p.numel() // 32) * bytes_of_group(8) for p in parts)
    return taken


def cached(
    model: str,
    corpus: str,
    rows: int,
    length: int,
    windows: int,
    keep: float,
    contexts: tuple[int, ...],
    symbols: int = 8,
    rounds: int = 3,
) -> dict[str, Any]:
    """Perplexity, bytes of cache per symbol, and symbols per second after long contexts, dense and latent.

    What is written after is drawn at random straight into the caches: speed does not ask what they say.

    Args:
        keep: the share of the cache's numbers that the latent one keeps; 1 for a dense model.
        contexts: symbols that are in the cache before writing.
        symbols, rounds: written each time, and how often, all caches one after the other.
    """
    from transformers import DynamicCache

    from inn.compress import rows_of
    from inn.compress.caching import compress_cache
    from inn.compress.latent import LatentCache, bytes_of
    from inn.system.device import quick_products

    dense, calibration, held_out = opened(model, corpus)
    small = copy.deepcopy(dense)
    began = time.perf_counter()
    with quick_products():
        outcome = compress_cache(small, rows_of(calibration, rows, length), keep)
    seconds = time.perf_counter() - began
    kinds: dict[str, tuple[nn.Module, Callable[[], Any]]] = {
        "dense": (dense, DynamicCache),
        "dense, int8": (dense, lambda: LatentCache(dense, rounded=True)),
        "latent": (small, lambda: LatentCache(small)),
        "latent, int8": (small, lambda: LatentCache(small, rounded=True)),
    }
    text = spaced(held_out, windows, length).view(windows, length)
    found: dict[str, Any] = {"ranks": [rank for _, rank in outcome.groups], "seconds": seconds, "caches": {}}
    for name, (made, new) in kinds.items():
        nats, cache = _through(made, text, new)
        bytes_ = bytes_of(cache) / length
        found["caches"][name] = {"nats": nats, "symbols": windows * (length - 1), "bytes": bytes_, "speeds": {}}
    for context in contexts:
        taken: dict[str, list[float]] = {name: [] for name in kinds}
        filled = {name: _filled(made, new(), context) for name, (made, new) in kinds.items()}
        for _ in range(rounds):
            for name, (made, _) in kinds.items():
                taken[name].append(_seconds(made, filled[name], symbols))
        for name, seconds_ in taken.items():
            found["caches"][name]["speeds"][str(context)] = symbols / statistics.median(seconds_)
    return found


def _through(model: nn.Module, text: Tensor, new: Callable[[], Any]) -> tuple[list[float], Any]:
    """Nats of every row of a text `[B, T]`, read through a cache of its own, and the last of these."""
    import torch

    nats, cache = [], None
    with torch.inference_mode():
        for row in text:
            cache = new()
            logits = model(row[None], past_key_values=cache, use_cache=True).logits[0, :-1].float()
            nats.append(float(torch.nn.functional.cross_entropy(logits, row[1:], reduction="sum")))
    return nats, cache


def _filled(model: nn.Module, cache: Any, context: int) -> Any:
    """The cache with so many random symbols in it: what one symbol leaves there, again and again, and noise on it."""
    import torch

    with torch.inference_mode():
        model(torch.zeros(1, 1, dtype=torch.long), past_key_values=cache, use_cache=True)
        for layer in cache.layers:
            one = [x.expand(*x.shape[:2], context - 1, x.shape[-1]).clone() for x in (layer.keys, layer.values)]
            if getattr(layer, "rounded", False):  # these are bytes already
                layer.keys, layer.values = (torch.cat([a, b], -2) for a, b in zip((layer.keys, layer.values), one))
            else:
                layer.update(*(x + 0.1 * torch.randn_like(x) for x in one))
    return cache


def _seconds(model: nn.Module, cache: Any, symbols: int) -> float:
    """Seconds to write so many symbols; the cache is as it was afterwards."""
    import torch

    drawn = torch.zeros(1, 1, dtype=torch.long)
    with torch.inference_mode():
        model(drawn, past_key_values=cache, use_cache=True)
        began = time.perf_counter()
        for _ in range(symbols):
            drawn = model(drawn, past_key_values=cache, use_cache=True).logits[:, -1:].argmax(-1)
        took = time.perf_counter() - began
    cache.crop(-symbols - 1)
    return took
