"""The rules of a run: from its directory to plain data, which is kept beside it."""

from __future__ import annotations

import json
import math
import statistics
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from inn.analysis.of_task import rows_of
from inn.analysis.recording.stretches import SYMBOLS, Neurons
from inn.analysis.rules.counting import SYMBOLS as ALPHABET
from inn.analysis.rules.counting import answers_of, automaton_of, carriers
from inn.analysis.rules.explain import LEAVES, Explanation, Rule, explain, remaining
from inn.data.dataset import Dataset
from inn.data.examples import IGNORED
from inn.data.task_data import TaskData
from inn.models.inn import INN
from inn.models.sequence import SequenceModel
from inn.nn.modes import device_of
from inn.runs.directory import Run
from inn.runs.load import checkpoint_of, load_with_data, path_of
from inn.system.device import resolve_device
from inn.system.errors import InputError
from inn.system.files import atomic_file
from inn.system.report import Report, nobody

FILE = "rules.json"
"""Where the rules of a run are kept, in its directory."""
STRINGS, LENGTH = 200, 256
"""Strings that the automaton of a run is checked on, and their length."""

_NUMBERS = ("fidelity", "shuffled", "coverage", "precision", "share", "threshold")


def explain_run(
    run: str | Path | Run,
    *,
    symbols: int = SYMBOLS,
    leaves: int = LEAVES,
    seed: int = 0,
    device: str = "auto",
    report: Report = nobody,
) -> dict[str, Any]:
    """When the parts of a run are active, in words, and the automaton of one that counts; kept in the run's directory.

    Rules are fitted on the training part of its data and held to the validation part.

    Args:
        run: a run of a graph of neurons, or its directory.
        symbols: how many to read of each part.
        leaves: of a rule, at most.
        seed: of shuffles and random strings.
        device: `auto`, `cpu`, `cuda` (or `cuda:1`, ...) or `mps`.
        report: told of what is fetched, encoded and read.

    Raises `InputError` for runs without neurons, and whose data is not to be had.

    Example: ``explain_run("runs/demo")["rules"][0]["lines"]``
    """
    model, dataset = load_with_data(run, report=report)
    if not isinstance(model, Neurons) or not hasattr(model.config, "neurons"):
        raise InputError(f"run '{path_of(run)}' has no neurons to explain; give a run of kind 'inn' or 'signal'")
    model.to(resolve_device(device))
    text, held_out = (rows_of(dataset, part, symbols, device_of(model)) for part in ("train", "valid"))
    reading = partial(report, "reading")
    found = explain(model, text, held_out, dataset.vocabulary, leaves=leaves, seed=seed, report=reading)
    learned, note = _automaton(model, dataset, seed)
    facts = {
        "run": str(path_of(run)),
        "checkpoint": checkpoint_of(Run(path_of(run))).name,
        "corpus": dataset.name,
        "neurons": model.config.neurons,
        "rounds": model.config.rounds,
        "unit": dataset.vocabulary.unit,
        "fitted": found.fitted,
        "held_out": found.held_out,
        "questions": len(found.asked),
        "leaves": leaves,
        "summary": summary(found),
        "rules": [plain(found, rule) for rule in found.rules],
        "instead": remaining(model, held_out, found, partial(report, "rules in place of neurons")),
        "automaton": learned,
        "notes": [note] if note else [],
    }
    with atomic_file(Path(path_of(run)) / FILE) as file:
        file.write(f"{json.dumps(facts, ensure_ascii=False, indent=1)}\n".encode())
    return facts


def rules_of(run: str | Path | Run) -> dict[str, Any] | None:
    """The rules that `explain_run` has kept of a run; None where there are none, or of other weights."""
    path = Path(path_of(run)) / FILE
    if not path.is_file():
        return None
    facts = json.loads(path.read_text("utf-8"))
    return facts if facts.get("checkpoint") == checkpoint_of(Run(path_of(run))).name else None


def summary(found: Explanation) -> dict[str, dict[str, Any]]:
    """Medians over the parts of each kind."""
    kinds = dict.fromkeys(rule.part.kind for rule in found.rules)
    return {
        kind: {
            "parts": len(some := [rule for rule in found.rules if rule.part.kind == kind]),
            **{
                name: _median([getattr(rule, name) for rule in some])
                for name in ("fidelity", "shuffled", "coverage", "size")
            },
        }
        for kind in kinds
    }


def _median(values: list[float]) -> float | None:
    """The median of those that are numbers: a part that is always alike has no fidelity."""
    return _number(statistics.median([v for v in values if not math.isnan(v)] or [math.nan]))


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def plain(found: Explanation, rule: Rule) -> dict[str, Any]:
    """A rule as plain data; `lines` are depth, words, and the share of active steps where they end in a leaf."""
    return {
        "kind": rule.part.kind,
        "neuron": rule.part.neuron,
        "source": rule.part.source,
        "round": rule.part.round,
        **{name: _number(getattr(rule, name)) for name in _NUMBERS},
        "size": rule.size,
        "lines": [list(line) for line in found.lines(rule)],
    }


def _automaton(model: SequenceModel, dataset: Dataset, seed: int) -> tuple[dict[str, Any] | None, str]:
    """The automaton of a model of a task that tells something at every step, or why there is none."""
    if not isinstance(dataset, TaskData) or not isinstance(model, INN) or dataset.vocabulary.size > ALPHABET:
        return None, ""
    if bool((dataset.examples("valid").targets == IGNORED).any()):
        return None, "no automaton is looked for: not every step has something to tell"
    try:
        learned = automaton_of(model, dataset.vocabulary, seed=seed)
    except InputError as error:
        return None, str(error)
    strings = np.random.default_rng([seed, 2]).integers(0, dataset.vocabulary.size, (STRINGS, LENGTH))
    valid = dataset.examples("valid")
    right = learned.read(valid.padded()[0]) if len(set(valid.lengths.tolist())) == 1 else None
    return {
        "states": learned.states,
        "symbols": list(learned.symbols),
        "answers": list(learned.answers),
        "following": learned.following.tolist(),
        "answer": learned.answer.tolist(),
        "strings": STRINGS,
        "length": LENGTH,
        "agreement": float((learned.read(strings) == answers_of(model)(strings)).mean()),
        "right": None if right is None else float((right == valid.padded()[1]).mean()),
        "carriers": carriers(model, learned, seed=seed),
        "mermaid": learned.mermaid(),
        "drawn": learned.drawn(),
    }, ""
