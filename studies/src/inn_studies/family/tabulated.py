"""A space of graphs with every combination trained once: what searches are compared on, exactly and in seconds."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

from inn.data.names import sizes_of
from inn.sweep.space import Choice, Space
from inn_studies.lab import Lab
from inn_studies.where.harness import Test, Track, job, scored

SPACE = Space({
    "model.memory": Choice(("mamba", "elm", "lif")),
    "model.router": Choice(("dendrites", "attention", "mixing")),
    "model.neurons": Choice((2, 4, 8)),
    "model.rounds": Choice((1, 2, 4)),
    "model.topology": Choice(("complete", "hub")),
})  # fmt: skip
"""162 graphs."""
SMOKE = Space(
    {**SPACE.parts, "model.neurons": Choice((2,)), "model.rounds": Choice((1,)), "model.memory": Choice(("elm", "lif"))}
)
WIDTH, RATE, SEED, BATCH = 8, 5e-3, 0, 50
STEPS = 52
"""Two passes over the images."""


def combinations(space: Space) -> list[dict[str, Any]]:
    """Every combination of a space of choices.

    >>> len(combinations(SPACE))
    162
    """
    parts = {name: part.values for name, part in space.parts.items() if isinstance(part, Choice)}
    return [dict(zip(parts, values, strict=True)) for values in product(*parts.values())]


def key(values: Mapping[str, Any]) -> str:
    """A combination as it stands in the table.

    >>> key({"model.memory": "elm", "model.neurons": 4})
    'elm 4'
    """
    return " ".join(map(str, values.values()))


def combination(root: str, values: dict[str, Any], steps: int) -> dict[str, Any]:
    """Train a combination on the digits: its best validation in bits, and its accuracy on the test part."""
    track = Track("digits", "task:digits", steps, BATCH, tests={"test": Test()})
    own = {name.removeprefix("model."): value for name, value in values.items()}
    model = {"kind": "signal", "head": sizes_of(track.data().vocabulary)["head"], "width": WIDTH, **own}
    run = Lab(Path(root)).train([job(track, f"table {key(values)}", model, RATE, SEED)])[0]
    summary = run.summary() or {}
    return {
        "bits": summary["best"]["bits"],
        "accuracy": scored(str(run), "test", {})["value"],
        "parameters": summary["parameters"],
        "data": summary["data"],
    }


def tabulate(lab: Lab, space: Space, steps: int) -> dict[str, dict[str, Any]]:
    """The table: what each combination came to, by `key`; what is trained already is not trained again."""
    given = {key(v): {"root": str(lab.root), "values": v, "steps": steps} for v in combinations(space)}
    return lab.compute(combination, given)
