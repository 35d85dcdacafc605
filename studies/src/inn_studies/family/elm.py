"""26: leaky units with many time constants and a small network (ELM), on digits read pixel by pixel."""

from __future__ import annotations

from typing import Any

import torch

from inn.config.assemble import graph_config
from inn.data.names import sizes_of
from inn.models.build import parameters_of
from inn.models.size import with_parameters
from inn_studies.family.entry import Criterion, Entry, mean, trained
from inn_studies.lab import Lab
from inn_studies.where.harness import RATES, Test, Track, configured

OURS, LSTM, CONTROL = "ELM", "LSTM", "ELM, all τ = 1"
GRAPH = {"kind": "signal", "neurons": 1, "width": 36, "rounds": 1, "router": "none", "memory": "elm"}
BEHIND, MORE, EXACT = 0.01, 0.15, 1e-6
PASSES, BATCH, IMAGES = 20, 50, 1300


def impulse(steps: int) -> dict[str, float]:
    """How far the memory is from e^(-t/τ) after an impulse, nothing being proposed, at most (for `Lab.compute`)."""
    from inn.nn.memory.elm import ELM

    memory: Any = ELM(graph_config(neurons=2, width=16, rounds=1, router="none", memory="elm")).double()
    with torch.no_grad():
        memory.out.zero_()
        memory.out_bias.zero_()
        state = memory.initial_state(1)
        state["m"] += 1
        off, tau = 0.0, memory.taus()
        for t in range(1, steps + 1):
            _, state = memory(torch.zeros(1, 1, 2, 16, dtype=torch.float64), state)
            off = max(off, float((state["m"] - torch.exp(-t / tau)).abs().max()))
    return {"off": off, "shortest": float(tau.min()), "longest": float(tau.max()), "steps": steps}


class Elm(Entry):
    """The ELM beside an LSTM of its size, and beside itself without slow units."""

    number = 26
    title = "Leaky units and a small network (ELM)"
    source = "*The ELM Neuron*, [arXiv 2306.16922](https://arxiv.org/abs/2306.16922)"
    claim = (
        "leaky units of many time constants with a small network for what is written into them follow a detailed model "
        "of a cortical neuron (AUC 0.9915 with 6,827 parameters), and solve long-range tasks that LSTMs do not."
    )
    home = "memory `elm`"
    control = "the same with all time constants at 1"
    score = "accuracy on scikit-learn's digits, pixel by pixel, after 20 passes"

    def measure(self, lab: Lab, size: Any, seeds: int) -> dict[str, Any]:
        steps = size.of(2, PASSES * IMAGES // BATCH)
        track = Track("digits", "task:digits", steps, BATCH, {}, {"test": Test()})
        sizes = sizes_of(track.data().vocabulary)
        ours = {**GRAPH, "head": sizes["head"]}
        rival = {"kind": "signal-lstm", "layers": 1, "head": sizes["head"]}
        target = parameters_of(configured(ours, sizes))
        models = {
            OURS: ours,
            LSTM: {**rival, "width": with_parameters(configured(rival, sizes), target).width},
            CONTROL: {**ours, "memory.tau_min": 1.0, "memory.tau_max": 1.0},
        }
        rows = trained(lab, track, models, size, seeds, rates=RATES, controls=[CONTROL])
        return {"rows": rows, "impulse": lab.compute(impulse, {"impulse": {"steps": size.of(4, 200)}})["impulse"]}

    def criteria(self, result: dict[str, Any]) -> list[Criterion]:
        ours, lstm, control = (mean(result, name, "test") for name in (OURS, LSTM, CONTROL))
        a, b = (next(r["parameters"] for r in result["rows"] if r["model"] == name) for name in (OURS, LSTM))
        fade = result["impulse"]
        span = f"{fade['steps']} steps, τ {fade['shortest']:.0f} to {fade['longest']:.0f}"
        return [
            Criterion.of("digits", "≥ LSTM − 0.01", f"{ours:.3f} against {lstm:.3f}", ours >= lstm - BEHIND),
            Criterion.of("control", "all τ = 1 loses", f"{control:.3f} against {ours:.3f}", control < ours),
            Criterion.of("size", "≤ 15 % more than the LSTM", f"{a:,} against {b:,}", a <= b * (1 + MORE)),
            Criterion.of("impulse", "e^(−t/τ) to 1e-6", f"off by {fade['off']:.1e} over {span}", fade["off"] <= EXACT),
        ]

    def found(self, result: dict[str, Any]) -> str:
        ours, lstm = (mean(result, name, "test") for name in (OURS, LSTM))
        return (
            f"on these 64 steps it is {ours - lstm:+.3f} to an LSTM of its size; the paper's data of a cortical neuron "
            "are not measured here."
        )
