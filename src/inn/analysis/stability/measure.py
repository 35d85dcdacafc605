"""Stability in time and depth, of any causal model: does it forget a disturbance, and how?

The family of measures that *Neuronal Group Communication* (arXiv 2510.16851) speaks of. Its own formulas were not to be
had; these are reconstructions: perturbation decay along the sequence (S1), growth over depth (S2), contraction towards
stored patterns (S3), what turns one group's neuronal states into the next one's (S4), and the Lyapunov exponents over
time of models that have a state.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from inn.analysis.stability.decay import fit_decay, interval
from inn.analysis.stability.depths import Change, Depths, Hidden
from inn.analysis.stability.lyapunov import LEAST, exact, exponents_over_time
from inn.analysis.stability.patterns import contraction
from inn.data.names import Channels, Names
from inn.models.sequence import SequenceModel
from inn.models.signal import SignalModel
from inn.models.window import Windowed
from inn.nn.modes import device_of, evaluating
from inn.nn.state import State
from inn.system.errors import InputError

LAGS = 32
"""Distances in time that a decay is measured at, evenly on a logarithmic scale: fair to both laws."""
AFTER = 8
"""Symbols that a block needs from the push on."""
ROUNDING = 100
"""Distances below this many rounding errors of the state itself are no longer measured."""


def stability(
    model: nn.Module | Hidden,
    tokens: Tensor,
    *,
    at: int | None = None,
    size: float = 0.01,
    directions: int = 4,
    seed: int = 0,
) -> dict[str, Any]:
    """Measure the stability of a model on blocks of text; every interval is a bootstrap over the blocks.

    - *Decay* (S1): the embedding of one symbol is pushed by `size` of its norm, in random directions; followed is the
      distance of the residual states from those without the push, at every depth, over the symbols after it. The same
      for a push of the whole state, at the last depth.
    - *Depth* (S2): growth_l = ln(‖dH_l‖ / ‖dH_0‖) at the symbol that was pushed; the finite-time Lyapunov exponent is
      growth_L / L, per round or layer: above 0, differences grow with depth.
    - *Time*: Lyapunov exponents of the state under the text (`exponents_over_time`): below 0, the past is forgotten.
    - *Patterns* (S3): contraction towards the running mean, of the last depth (see `contraction`).

    Blocks are read one by one, so memory is bounded by the longest. What neurons recall depends on symbols, which
    stay as they are: a push of an embedding cannot reach it. Distances end where rounding begins, so a `SequenceModel`
    is measured on a copy in float64; others come as they are. The control is another call: the same model untrained,
    on the same blocks.

    Args:
        model: a `SequenceModel`, a Hugging Face causal model (not imported here: its embedding and layers are found by
            `get_input_embeddings` and `config.num_hidden_layers`), or any function that is a `Hidden`.
        tokens: `[blocks, T]`, stretches of text far enough apart to be independent.
        at: which symbol is pushed; a quarter of the way when None.
        size: of the push, relative.
        directions: random pushes per block.
        seed: of the directions, the shuffles and the bootstrap.

    Returns:
        Plain data, with None for what is not finite:

        - `blocks`, `symbols` per block, `at`, `size`, `depths` (L);
        - `before`: the largest distance before the push, over the push itself; only rounding in a causal model;
        - `embedding`: results of `decay` for depths 1 .. L; `state`: one, None without a state;
        - `depth`: `growth` (each of `mean low high` is `[L]`) and `exponent`;
        - `time`: `exponents` (each of `mean low high` is `[K]`, 1 / symbol); None without a recurrent state;
        - `patterns`: the keys of `contraction`, and `excess`, the contraction beyond that of shuffled time.

    Raises:
        InputError: for a text that is too short around `at`, and for a model that cannot be seen into.

    >>> from inn import INN
    >>> model = INN(vocab=27, neurons=2, width=8, rounds=2, recall="none")
    >>> found = stability(model, torch.randint(27, (3, 64)))
    >>> len(found["embedding"]), len(found["depth"]["growth"]["mean"]), found["before"] < 1e-4
    (2, 2, True)
    """
    if tokens.ndim != (3 if isinstance(model, SignalModel) else 2) or not len(tokens):
        raise InputError(f"stability is measured on blocks of text [blocks, symbols], not on {list(tokens.shape)}")
    length = tokens.shape[1]
    at = length // 4 if at is None else at
    if not 1 <= at <= length - AFTER:
        raise InputError(
            f"a push at symbol {at} of {length} leaves no text before it, or fewer than {AFTER} symbols from there on; "
            "give longer blocks, or another place"
        )
    if not size > 0 or directions < 1:
        raise InputError(f"a push needs a size above 0 and a direction or more, not {size} and {directions}")
    sequence = exact(model) if isinstance(model, SequenceModel) else None
    if sequence is not None and not any(t.is_floating_point() for t in sequence.initial_state(1).values()):
        sequence = None
    seen = sequence or model
    hidden: Hidden = Depths(seen) if isinstance(seen, nn.Module) else seen
    tokens = tokens.to(device_of(seen)) if isinstance(seen, nn.Module) else tokens
    generator = torch.Generator().manual_seed(seed)

    before, gains, kicks, patterns = 0.0, [], [], []
    for row in tokens:
        rows = row.expand(directions + 1, *row.shape)  # the first is left as it is
        states = hidden(rows, _push(at, size, generator))
        pushed = (states[0][1:, at] - states[0][0, at]).norm(dim=-1)
        early = [(h[1:, :at] - h[:1, :at]).norm(dim=-1).amax(1) / pushed for h in states]
        before = max(before, *(float(e.max()) for e in early))
        gains.append(np.stack([_log_distances(h[:, at:], pushed) for h in states]))
        patterns.append(contraction(states[-1][0], seed))
        if sequence is not None:
            after = Depths(sequence)(rows[:, at:], state=_kicked(_state_after(sequence, rows[:, :at]), size, generator))
            kicks.append(_log_distances(after[-1]))
    logs = np.stack(gains)  # [blocks, depth 0 .. L, lag 0 .. T - at - 1]
    layers, lags = logs.shape[1] - 1, _lags(logs.shape[2] - 1)
    growth = logs[:, 1:, 0]
    short = length < LEAST and isinstance(model, SequenceModel) and _of_task(model)
    windowed = isinstance(sequence, Windowed)
    found = {
        "blocks": len(tokens),
        "symbols": length,
        "at": at,
        "size": size,
        "depths": layers,
        "before": before,
        "embedding": [fit_decay(lags, logs[:, depth][:, lags], seed) for depth in range(1, layers + 1)],
        "state": fit_decay(lags, np.stack(kicks)[:, lags - 1], seed) if kicks else None,
        "depth": {"growth": interval(growth, seed), "exponent": interval(growth[:, -1] / layers, seed)},
        "time": _time(sequence, tokens, seed) if sequence is not None and not short and not windowed else None,
        "patterns": _over_blocks(patterns, seed),
    }
    return _plain(found)


def _of_task(model: SequenceModel) -> bool:
    """Whether a model's sequences are as long as they are: a text could be cut longer."""
    return isinstance(model.vocabulary, Names | Channels) or isinstance(model, SignalModel)


def _push(at: int, size: float, generator: torch.Generator) -> Change:
    """Push the embedding at one symbol in a random direction each, in all rows but the first."""

    def change(embedded: Tensor) -> Tensor:
        embedded = embedded.clone()
        here = embedded[1:, at]
        embedded[1:, at] = here + size * here.norm(dim=-1, keepdim=True) * _directions(here, generator)
        return embedded

    return change


def _state_after(model: SequenceModel, tokens: Tensor) -> State:
    with evaluating(model), torch.no_grad():
        return model(tokens)[1]


def _kicked(state: State, size: float, generator: torch.Generator) -> State:
    """Push every real-valued part of a state, in all rows but the first."""

    def kick(t: Tensor) -> Tensor:
        if not t.is_floating_point() or not t.numel():
            return t
        flat = t[1:].flatten(1)
        flat = flat + size * flat.norm(dim=-1, keepdim=True) * _directions(flat, generator)
        return torch.cat([t[:1], flat.view_as(t[1:])])

    return State({key: kick(t) for key, t in state.items()})


def _directions(like: Tensor, generator: torch.Generator) -> Tensor:
    noise = torch.randn(like.shape, generator=generator, dtype=torch.float64)
    return (noise / noise.norm(dim=-1, keepdim=True)).to(like)


def _log_distances(states: Tensor, pushed: Tensor | None = None) -> np.ndarray:
    """ln of the distance of rows 1.. of `states` `[rows, K, F]` from row 0, mean over rows: `[K]`; -inf in rounding."""
    distance = (states[1:] - states[:1]).norm(dim=-1).double()  # [directions, K]
    floor = ROUNDING * torch.finfo(states.dtype).eps * states[:1].norm(dim=-1).double()
    measured = torch.where(distance > floor, distance, 0.0)
    return (measured if pushed is None else measured / pushed[:, None]).log().mean(0).cpu().numpy()


def _lags(most: int) -> np.ndarray:
    return np.unique(np.geomspace(1, most, LAGS).round().astype(int))


def _time(model: SequenceModel, tokens: Tensor, seed: int) -> dict[str, Any]:
    return {"exponents": interval(exponents_over_time(model, tokens, seed=seed), seed)}


def _plain(found: Any) -> Any:
    """Numbers that JSON lacks become None."""
    if isinstance(found, dict):
        return {name: _plain(value) for name, value in found.items()}
    if isinstance(found, list):
        return [_plain(value) for value in found]
    return None if isinstance(found, float) and not math.isfinite(found) else found


def _over_blocks(patterns: list[dict[str, float]], seed: int) -> dict[str, Any]:
    columns = {name: np.array([block[name] for block in patterns]) for name in patterns[0]}
    columns["excess"] = columns["contraction"] - columns["shuffled_contraction"]
    return {name: interval(values, seed) for name, values in columns.items()}
