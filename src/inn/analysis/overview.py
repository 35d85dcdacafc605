"""Everything there is to say about the neurons of a model on a text, as plain data: what pages and tables show.

Definitions and controls are those of the modules that this one calls; each says them with its formulas and units.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np
from scipy import sparse
from torch import Tensor

from inn.analysis.controls.untrained import untrained
from inn.analysis.lesions.cause import bits_under, cost, mean_bits, unlesioned, worth_of
from inn.analysis.lesions.importance import importance
from inn.analysis.lesions.lesion import cut, forgetful, mean_replaced, silenced, skipped
from inn.analysis.measures.activity import relative, sparsity
from inn.analysis.measures.classes import symbol_classes, text_of_symbol
from inn.analysis.measures.communities import DRAWS, communities
from inn.analysis.measures.contexts import APART, TOP, Context, Contexts
from inn.analysis.measures.degree import effective_degree, received, thresholded_degree
from inn.analysis.measures.effective import effective_neurons
from inn.analysis.measures.information import information
from inn.analysis.measures.lens import Lens, logit_lens
from inn.analysis.measures.timescale import half_lives, spectrum, time_constants
from inn.analysis.observe import Observed, graph_inputs, observe
from inn.analysis.of_task import classes_of, of_task, rows_of, shown_step
from inn.analysis.recording.sequences import Sequences
from inn.analysis.recording.stretches import SYMBOLS, Neurons, Stretches
from inn.analysis.roles import roles
from inn.data.base import Vocabulary
from inn.data.dataset import Dataset
from inn.data.task_data import TaskData
from inn.models.inn import INN
from inn.models.sequence import SequenceModel
from inn.models.signal import SignalModel
from inn.nn.modes import device_of
from inn.system.errors import InputError

EDGES = 8
"""Edges that are cut, the strongest ones."""
LISTED = 5
"""Symbols of a lens, and neighbours of a neuron, that a card names."""
FEW, STREAMS = 3, 8
"""Stretches for importance, which values hundreds of sets of neurons, and for time scales."""
FEW_EDGES = 0.5
"""Density up to which a graph counts as sparse where chance is drawn."""
COALITIONS = 256
"""Sets of neurons that importance values; all there are of 8 neurons."""


def survey(
    model: SequenceModel,
    dataset: Dataset,
    *,
    split: str = "valid",
    symbols: int = SYMBOLS,
    seed: int = 0,
    run: str = "",
    report: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Look into a model: what its neurons do, carry and cause on a text.

    Args:
        model: an INN, on any device.
        dataset: whose `split` is read, in the symbols of the model.
        split: the part of it.
        symbols: about how many symbols to look at, spread evenly over the part.
        seed: of shuffles, sampled orders and the untrained control.
        run: a name for the result.
        report: called with (work done, work to do), in lesioned symbols.

    Returns:
        plain data, ready for JSON; what does not apply is None. Bits are per symbol; shares are of 1. In a card,
        `information` is of the symbol just read, `lesion.by_class` of the symbol to be predicted, `importance` has a
        standard error (`importance_error`) over sampled orders, and `lens.silent` are the bits of the lens when this
        neuron too is at its average.

    Raises `InputError` for a model that is no INN, and for a text that is too short.

    Example: ``survey(inn.load("runs/demo"), dataset)["cards"][3]["lesion"]``
    """
    if not isinstance(model, Neurons) or not hasattr(model.config, "neurons"):
        kind = getattr(model.config, "kind", type(model).__name__)
        like = "signal" if isinstance(model, SignalModel) else "inn"
        raise InputError(f"a model of kind '{kind}' has no neurons to look into; give a run of kind '{like}'")
    text = rows_of(dataset, split, symbols, device_of(model))
    seen = observe(model, text)
    read, predicted = _classes(text, dataset.vocabulary)
    lesions = _lesions(model, seen)
    bits = bits_under(model, text, [unlesioned, *lesions.values()], report)
    costs = {key: cost(bits[0], of, predicted) for key, of in zip(lesions, bits[1:], strict=True)}
    graph = _graph_facts(model, seen)
    return {
        "run": run,
        "corpus": dataset.name,
        "split": split,
        "symbols": text.size,
        "bits": float(mean_bits(bits[0])),
        "metric": dataset.vocabulary.metric,
        **(of_task(dataset, text) if isinstance(dataset, TaskData) and isinstance(text, Sequences) else {}),
        "parameters": model.num_parameters,
        "neurons": model.config.neurons,
        "rounds": model.config.rounds,
        "router": model.config.router.kind,
        "routed": model.graph.round(0).router is not None,
        "mass": None if model.graph.round(0).router is None else model.graph.round(0).router.mass,  # type: ignore
        **graph,
        "roles": roles(seen, seed),
        "communities": _communities(model, seen, seed),
        "classes": {name: float(of.mean()) for name, of in read.items()},
        "cards": _cards(model, text, seen, dataset.vocabulary, read, costs, seed),
        "edges": [
            {"to": to, "from": n, "round": None, "bits": c.bits, "low": c.low, "high": c.high}
            for (what, to, n), c in costs.items()
            if what == "edge"
        ],
        "rounds_lesioned": [
            {"round": r, "what": what, "bits": c.bits, "low": c.low, "high": c.high}
            for (what, r, _), c in costs.items()
            if what in ("communication", "round")
        ],
        "control": {"untrained": _untrained(model, text, seed)},
    }


def _classes(
    text: Stretches | Sequences, vocabulary: Vocabulary
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Classes of the symbols read and of those predicted, `[K x T]` each, with the symbol before them in view."""
    if isinstance(text, Sequences):
        return classes_of(text, vocabulary)
    rows = text.tokens[:, text.before - 1 :].cpu().numpy()  # one before, T read, one more predicted
    found = {name: of.reshape(rows.shape) for name, of in symbol_classes(rows.ravel(), vocabulary).items()}
    return (
        {name: of[:, 1:-1].ravel() for name, of in found.items()},
        {n: of[:, 2:].ravel() for n, of in found.items()},
    )


def _recalls(model: Neurons) -> bool:
    return isinstance(model, INN) and model.recall is not None


def _lesions(model: Neurons, seen: Observed) -> dict[tuple[str, int, int], Any]:
    """Every lesion of a survey, by (what, which, from)."""
    c, found = model.config, {}
    for n in range(c.neurons):
        found["neuron", n, 0] = partial(silenced, model, [n])
        found["mean", n, 0] = partial(mean_replaced, model, [n], seen.averages)
        if _recalls(model):
            found["recall", n, 0] = partial(forgetful, model, [n])
    if seen.connectivity is not None:
        strength = seen.connectivity.mean(0).fill_diagonal_(-1.0)
        for place in strength.flatten().topk(min(EDGES, c.neurons * (c.neurons - 1))).indices.tolist():
            edge = place // c.neurons, place % c.neurons
            found["edge", edge[0], edge[1]] = partial(cut, model, [edge])
    for r in range(c.rounds):
        if seen.connectivity is not None:
            found["communication", r, 0] = partial(skipped, model, r, "communication")
        found["round", r, 0] = partial(skipped, model, r)
    return found


def _graph_facts(model: Neurons, seen: Observed) -> dict[str, Any]:
    """What the population does as a whole."""
    activity, weights = relative(seen.activity.flatten(1, 2)), seen.connectivity
    facts: dict[str, Any] = {
        "effective_neurons": effective_neurons(seen.outputs) if model.config.neurons > 1 else 1.0,
        "activity": {
            "mean": activity.mean(1).tolist(),
            "variance": activity.var(1, correction=0).tolist(),
            "sparsity": sparsity(activity).tolist(),
        },
    }
    if weights is None:
        none = dict.fromkeys(("connectivity", "received", "degree", "change"))
        return {**facts, **none, "hubs": [], "specialists": []}
    heard = seen.heard
    assert heard is not None
    return {
        **facts,
        "connectivity": weights.tolist(),
        "received": heard.received().tolist(),
        "hubs": heard.hubs(),
        "specialists": heard.specialists(),
        "degree": {
            "in": thresholded_degree(weights).tolist(),
            "out": (weights > 0.5 / weights.shape[-1]).double().sum(-2).tolist(),
            "effective": effective_degree(weights).tolist(),
        },
        "change": weights.diff(dim=0).abs().mean((1, 2)).tolist(),
    }


def _communities(model: Neurons, seen: Observed, seed: int) -> dict[str, Any] | None:
    """Of a graph of few edges, the null keeps how many each neuron hears and is heard by (`communities`)."""
    heard, few = seen.heard, model.graph.topology.density <= FEW_EDGES
    if heard is None or heard.neurons < 2:
        return None
    if heard.sources is not None or not few:
        return communities(heard, seed=seed)
    return communities(sparse.csr_array(heard.weights.mean(0).cpu().numpy()), seed=seed, draws=DRAWS)


def _untrained(model: Neurons, text: Stretches | Sequences, seed: int) -> dict[str, Any]:
    """The same of a model that has not learned anything."""
    fresh = untrained(model, seed)
    seen = observe(fresh, text.some(STREAMS))
    found, facts = _communities(fresh, seen, seed), _graph_facts(fresh, seen)
    weights = seen.connectivity
    return {
        "effective_neurons": facts["effective_neurons"],
        "sparsity": facts["activity"]["sparsity"],
        "modularity": found and found["modularity"],
        "received_spread": None if weights is None else float(received(weights.mean(0)).std(correction=0)),
    }


def _cards(
    model: Neurons,
    text: Stretches | Sequences,
    seen: Observed,
    vocabulary: Vocabulary,
    read: dict[str, np.ndarray],
    costs: dict[tuple[str, int, int], Any],
    seed: int,
) -> list[dict[str, Any]]:
    """A card for each neuron."""
    N = model.config.neurons
    loud = relative(seen.activity.flatten(1, 2)).mean(0)  # [K x T, N], over rounds
    told = information(loud, read, seed=seed, block=min(64, len(loud) // 4))
    loud = loud.view(*text.inputs.shape[:2], N)
    preferred = Contexts()
    if isinstance(text, Sequences):
        for k, a, b in text.pieces():
            preferred.add(loud[k : k + 1, a:b], text.places[k : k + 1, a:b], [int(text.places[k, a])])
    else:
        for k, start in enumerate(text.starts.tolist()):
            preferred.add(loud[k : k + 1], text.inputs[k : k + 1], [start])
    contexts = preferred.found()
    few = len(seen.outputs)
    lenses = _lenses(model, seen, text, loud[:few])
    streams = text.streams(STREAMS)
    lives: list[float | None] = [None] * N
    spectra: list[list[float]] = [[] for _ in range(N)]
    if streams is not None:
        x, state = graph_inputs(model, streams)
        lives, constants = half_lives(model.graph, x, state), time_constants(model.graph, x, state)
        spectra = spectra if constants is None else spectrum(constants)
    worth = importance(worth_of(model, text.some(FEW)), N, pairs=max(2, COALITIONS // (2 * N)), seed=seed)
    names = [text_of_symbol(vocabulary, i) for i in range(vocabulary.size)]
    shown = (
        partial(_shown, vocabulary=vocabulary) if isinstance(text, Stretches) else partial(shown_step, text, vocabulary)
    )
    cards = []
    for n in range(N):
        silent = costs["neuron", n, 0]
        cards.append(
            {
                "neuron": n,
                "name": f"neuron {int(model.graph.ids[n])}",
                "information": {name: {"bits": float(i.bits[n]), "null": float(i.null[n])} for name, i in told.items()}
                or None,
                "contexts": [shown(context) for context in contexts[n]],
                "timescale": {"half_life": lives[n], "spectrum": spectra[n]},
                "lens": lenses
                and {
                    "bits": lenses[n].bits,
                    "silent": lenses[n].silent,
                    "top": [[names[i], push] for i, push in lenses[n].top(LISTED)],
                },
                **_neighbours(seen.connectivity, n),
                "recall": _recall(model, n, costs),
                "lesion": {**asdict(silent), "mean_replaced": costs["mean", n, 0].bits},
                "importance": worth.values[n],
                "importance_error": worth.errors[n],
            }
        )
    return cards


def _lenses(model: Neurons, seen: Observed, text: Stretches | Sequences, loud: Tensor) -> list[Lens] | None:
    """What each neuron alone would predict, where something counts; None of a signal."""
    if not isinstance(model, INN):
        return None
    outputs, targets = seen.outputs, text.targets[: len(seen.outputs)]
    if isinstance(text, Sequences):
        counts = targets >= 0
        outputs, targets, loud = outputs[counts][None], targets[counts][None], loud.to(counts.device)[counts][None]
        if not targets.numel():
            return None
    return logit_lens(model, outputs, targets, loud, seen.averages.spoken)


def _shown(context: Context, vocabulary: Vocabulary) -> dict[str, Any]:
    """A context as text; between words the space is with the text around."""
    ids, at = context.symbols, context.place
    before, symbol, after = (
        vocabulary.decode(ids[:at]),
        text_of_symbol(vocabulary, ids[at]),
        vocabulary.decode(ids[at + 1 :]),
    )
    if vocabulary.kind == "words":
        before, after = f"{before} ".lstrip(" "), f" {after}".rstrip(" ")
    return {"before": before, "symbol": symbol, "after": after, "activity": context.activity, "at": context.at}


def _neighbours(weights: Tensor | None, n: int) -> dict[str, Any]:
    """The other neurons that a neuron hears the most, and those that hear it the most, with their shares."""
    if weights is None:
        return {"hears": None, "heard_by": None}
    mean = weights.mean(0)

    def strongest(row: Tensor) -> list[list[float]]:
        others = [[i, float(row[i])] for i in row.argsort(descending=True).tolist() if i != n]
        return others[:LISTED]

    return {"hears": strongest(mean[n]), "heard_by": strongest(mean[:, n])}


def _recall(model: Neurons, n: int, costs: dict[tuple[str, int, int], Any]) -> dict[str, Any] | None:
    if not isinstance(model, INN) or model.recall is None:
        return None
    bits, votes = costs["recall", n, 0].bits, model.votes is not None
    return {"length": model.recall.contexts(n), "bits": bits, "votes": votes}


__all__ = ["APART", "TOP", "survey"]
