"""Tables 1 and 7: how time, memory and FLOPs grow with length, neurons and width, and what an epoch costs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing import get_all_start_methods, get_context
from typing import TYPE_CHECKING, Any

from inn_benchmarks.measure import BRIEF, Effort, in_turns, slope, train_step
from inn_studies.lab import Job, Lab
from inn_studies.paper import TABLE_7
from inn_studies.rows import markdown, model_settings
from inn_studies.sizes import TEXT8, Size
from inn_studies.study import Outcome, Study, Verdict

if TYPE_CHECKING:
    import torch
    from matplotlib.figure import Figure  # pyright: ignore[reportMissingImports]

FORMULAS: dict[str, dict[str, tuple[str, str]]] = {
    "lstm": {"time": ("L d²", "T1 D2"), "memory": ("L d", "T1 D1")},
    "transformer": {"time": ("L² d", "T2 D1"), "memory": ("L²", "T2 D0")},
    "inn": {"time": ("L N d² + N² L d", "T1 N1-2 D2"), "memory": ("L N d", "T1 N1 D1")},
}
"""Table 1: what the paper's formulas say, and the slopes that this means (a range where two terms compete)."""

EPOCH = ("lstm", "transformer-paper", "transformer", "mamba-stack", "inn", "inn-paper-fixed")
VOCAB = 27
CLOSE = 0.3
"""How far a measured slope may be from the formula's; sizes are finite, and the smaller terms count."""


@dataclass(frozen=True)
class CostSize(Size):
    """The sweeps (each holds the others' sizes at their first values) and what else stays as it is."""

    lengths: tuple[int, ...] = (256, 512, 1024, 2048, 4096)
    neurons: tuple[int, ...] = (4, 8, 16, 32, 64)
    widths: tuple[int, ...] = (32, 64, 128, 256)
    rounds: int = 2
    effort: Effort = BRIEF


def cost_size(size: Size, **fields: Any) -> CostSize:
    """The models of a size, with these sweeps."""
    return CostSize(**{**vars(size), **fields})


SIZES: dict[str, CostSize] = {
    "smoke": cost_size(
        TEXT8["smoke"], lengths=(16, 64), neurons=(2, 4), widths=(8, 16), rounds=1, effort=Effort(2, 0.0, 2, 0.0)
    ),
    "cpu": cost_size(TEXT8["cpu"]),
    "gpu": cost_size(TEXT8["gpu"], lengths=(1024, 2048, 4096, 8192, 16384), widths=(64, 128, 256, 512), rounds=6),
}


class Cost(Study):
    name = "cost"
    source = "Tables 1 and 7"
    question = "How do time, memory and FLOPs grow with length, neurons and width, and what does an epoch cost?"

    def sizes(self) -> dict[str, Size]:
        return dict(SIZES)

    def run(self, lab: Lab, size: Size, seeds: int) -> dict[str, Any]:
        from inn_benchmarks.run import call

        assert isinstance(size, CostSize)
        threads = 1
        jobs = {label: Job(label, size.recipe, {**size.settings, **model_settings(size, label)}) for label in EPOCH}
        options = {
            "points": sweeps(size),
            "configs": {label: job.config().to_dict() for label, job in jobs.items()},
            "effort": vars(size.effort),
        }
        found = call("inn_studies.cost:measured", options, threads=threads)
        lab.report("measured time and memory", 1, 1)
        return {"threads": threads, **found}

    def table(self, result: dict[str, Any]) -> str:
        rows = []
        for what, points in result["sweeps"].items():
            kind, axis = what.split(" ")
            sizes = f"{points[0]['x']}–{points[-1]['x']}"
            slopes = [f"{slope_of(points, key):.2f}" for key in ("flops", "seconds", "bytes")]
            expected = [expected_slope(kind, cost, axis)[0] for cost in ("time", "memory")]
            rows.append([kind, axis, sizes, *slopes, *expected])
        head = ["model", "grows", "sizes", "FLOPs:", "time:", "memory:", "formula, time:", "formula, memory:"]
        epoch = [
            [
                label,
                f"{row['parameters']:,}",
                f"{row['training_flops_per_symbol'] / 1e6:.2f} M",
                f"{row['seconds_per_symbol'] * 1e6:.2f} µs",
                f"{relative(result)[label]:.2f}",
                f"{TABLE_7[name]:g}" if (name := label.replace("-fixed", "")) in TABLE_7 else "–",
            ]
            for label, row in result["epoch"].items()
        ]
        columns = [
            "model", "parameters:", "training FLOPs per symbol:", "time per symbol:", "against the LSTM:", "paper:",
        ]  # fmt: skip
        return (
            "Slopes of log cost over log size, of a training step on one stream, "
            f"{result['threads']} CPU thread{'s' * (result['threads'] > 1)} or the GPU; the formulas are Table 1's.\n\n"
            f"{markdown(head, rows)}\n\nTime of an epoch (Table 7): training steps of {result['batch']} x "
            f"{result['window']} symbols, in turns.\n\n{markdown(columns, epoch)}"
        )

    def draw(self, result: dict[str, Any], figure: Figure) -> bool:
        axes = dict(zip("TND", figure.subplots(1, 3), strict=True))
        for what, points in result["sweeps"].items():
            kind, axis = what.split(" ")
            x, seconds = zip(*[(p["x"], p["seconds"]) for p in points], strict=True)
            axes[axis].loglog(x, seconds, "o-", base=2, label=f"{kind}, slope {slope_of(points, 'seconds'):.2f}")
        for axis, name in (("T", "length T"), ("N", "neurons N"), ("D", "width D")):
            axes[axis].set(xlabel=name, ylabel="training step (s)")
            axes[axis].set_yscale("log", base=10)
            if axes[axis].lines:
                axes[axis].legend(fontsize="small")
        return True

    def verdicts(self, result: dict[str, Any]) -> list[Verdict]:
        found = []
        for what, points in result["sweeps"].items():
            kind, axis = what.split(" ")
            for cost, key in (("time", "seconds"), ("memory", "bytes")):
                found.append(judged(kind, axis, cost, slope_of(points, key), slope_of(points, "flops")))
        ours = relative(result)
        for label, times in TABLE_7.items():
            if label == "lstm":  # the unit
                continue
            mine = ours["inn-paper-fixed" if label == "inn-paper" else label]
            same: Outcome = "reproduced" if 2 / 3 < mine / times < 1.5 else "not reproduced"
            why = f"{mine:.2f} times the LSTM's; the text beside the table says 50" if label == "inn-paper" else (
                f"{mine:.2f} times the LSTM's"
            )  # fmt: skip
            found.append(
                Verdict(f"an epoch of {label}", f"{times:g} of the LSTM's (Table 7)", f"{mine:.2f}", same, why)
            )
        return found


def sweeps(size: CostSize) -> dict[str, list[dict[str, Any]]]:
    """What is measured, by model and axis: sizes `x`, lengths, and fields of the model."""
    length, neurons, width = size.lengths[0], size.neurons[0], size.widths[0]
    base = {
        "lstm": {"kind": "lstm", "width": width, "layers": size.rounds},
        "transformer": {"kind": "transformer", "width": width, "layers": size.rounds, "heads": 2, "window": length},
        "inn": {"kind": "inn", "neurons": neurons, "width": width, "rounds": size.rounds},
    }
    found = {}
    for kind, model in base.items():
        window = (lambda x: {"window": x}) if kind == "transformer" else (lambda x: {})
        found[f"{kind} T"] = [{"x": x, "length": x, "model": {**model, **window(x)}} for x in size.lengths]
        found[f"{kind} D"] = [{"x": x, "length": length, "model": {**model, "width": x}} for x in size.widths]
    found["inn N"] = [{"x": x, "length": length, "model": {**base["inn"], "neurons": x}} for x in size.neurons]
    return found


def measured(
    points: dict[str, list[dict[str, Any]]], configs: dict[str, dict[str, Any]], effort: dict[str, Any]
) -> dict[str, Any]:
    """Every sweep and the epoch; to be called in a process of its own."""
    return {
        "sweeps": {what: growth(sweep, Effort(**effort)) for what, sweep in points.items()},
        **epoch(configs, Effort(**effort)),
    }


def growth(points: list[dict[str, Any]], effort: Effort) -> list[dict[str, Any]]:
    """Seconds, bytes and FLOPs of a training step at each point of a sweep, smallest first."""
    from inn.config.assemble import model_config
    from inn.models.build import build_model

    models = [build_model(model_config(**point["model"], vocab=VOCAB)).to(_device()) for point in points]
    steps = {
        str(p["x"]): train_step(model, 1, p["length"], vocab=VOCAB) for p, model in zip(points, models, strict=True)
    }
    bytes_ = _held(points)
    times = in_turns(steps, effort)
    return [
        {
            "x": p["x"],
            "seconds": times[str(p["x"])].median,
            "bytes": held,
            "flops": model.training_flops * p["length"],
        }
        for p, model, held in zip(points, models, bytes_, strict=True)
    ]


def epoch(configs: dict[str, dict[str, Any]], effort: Effort) -> dict[str, Any]:
    """Seconds per symbol of a training step of each model, in turns."""
    from inn.config.run import RunConfig
    from inn.models.build import build_model

    settings = {label: RunConfig.from_dict(tree) for label, tree in configs.items()}
    data = next(iter(settings.values())).data
    models = {label: build_model(config.model).to(_device()) for label, config in settings.items()}
    works = {
        label: train_step(model, data.batch, data.window, vocab=model.config.vocab) for label, model in models.items()
    }
    times = in_turns(works, effort)
    return {
        "batch": data.batch,
        "window": data.window,
        "epoch": {
            label: {
                "seconds_per_symbol": times[label].median / (data.batch * data.window),
                "seconds": times[label].to_dict(),
                "parameters": model.num_parameters,
                "training_flops_per_symbol": model.training_flops,
                "config": configs[label],
            }
            for label, model in models.items()
        },
    }


def _device() -> torch.device:
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _held(points: list[dict[str, Any]]) -> list[int]:
    """Bytes of a step at each point, each in a process of its own: what another left would be used again."""
    import torch

    arguments = [(p["model"], p["length"], torch.get_num_threads()) for p in points]
    if _device().type != "cpu":
        return [bytes_of(*each) for each in arguments]
    context = get_context("forkserver" if "forkserver" in get_all_start_methods() else "spawn")
    if context.get_start_method() == "forkserver":
        # what every step imports, PyTorch's compiler among it, once and not in each process
        context.set_forkserver_preload(["inn_benchmarks.memory", "inn.models.build", "torch._dynamo"])
    with context.Pool(1, maxtasksperchild=1) as pool:
        return pool.starmap(bytes_of, arguments, chunksize=1)


def bytes_of(fields: dict[str, Any], length: int, threads: int) -> int:
    """What a training step's memory peaks at, above weights and optimiser."""
    import torch

    from inn.config.assemble import model_config
    from inn.models.build import build_model
    from inn_benchmarks.memory import added_peak

    torch.set_num_threads(threads)
    model = build_model(model_config(**fields, vocab=VOCAB)).to(_device())
    if _device().type == "cpu":
        return added_peak(model, 1, length)
    train_step(model, 1, 8, vocab=VOCAB)()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    train_step(model, 1, length, vocab=VOCAB)()
    return torch.cuda.max_memory_allocated() - before


def slope_of(points: list[dict[str, Any]], key: str) -> float:
    """The slope over the larger half of the sizes, at least two, where what does not grow counts least."""
    upper = points[-max(2, math.ceil(len(points) / 2)) :]
    return slope((p["x"], max(p[key], 1e-9)) for p in upper)


def expected_slope(kind: str, cost: str, axis: str) -> tuple[str, float, float]:
    """The slope that the paper's formula means: in words, its least and its largest value.

    >>> expected_slope("inn", "time", "N"), expected_slope("lstm", "memory", "T")
    (('1–2', 1.0, 2.0), ('1', 1.0, 1.0))
    """
    words = next(word[1:] for word in FORMULAS[kind][cost][1].split() if word[0] == axis)
    low, _, high = words.partition("-")
    return words.replace("-", "–"), float(low), float(high or low)


def relative(result: Mapping[str, Any]) -> dict[str, float]:
    """Times per symbol against the LSTM's."""
    times = {label: row["seconds_per_symbol"] for label, row in result["epoch"].items()}
    return {label: time / times["lstm"] for label, time in times.items()}


def judged(kind: str, axis: str, cost: str, measured: float, flops: float) -> Verdict:
    """Whether a cost grows as the formula of Table 1 says."""
    words, low, high = expected_slope(kind, cost, axis)
    names = {"T": "length", "N": "neurons", "D": "width"}
    near = low - CLOSE <= measured <= high + CLOSE
    because = f"FLOPs grow with slope {flops:.2f} over the same sizes" if cost == "time" else "the peak of a step"
    if not near:
        rather = "more than the formula, which leaves terms out" if measured > high else (
            "less than the formula, whose term does not rule at these sizes" if cost == "time" else
            "less than the formula, whose term is never held in memory as a whole at these sizes"
        )  # fmt: skip
        because += f"; {rather}"
    return Verdict(
        f"{kind}: {cost} over {names[axis]}",
        f"slope {words}, from O({FORMULAS[kind][cost][0]}) (Table 1)",
        f"slope {measured:.2f}",
        "reproduced" if near else "not reproduced",
        because,
    )
