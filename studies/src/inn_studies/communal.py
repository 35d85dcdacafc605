"""How few parameters an INN needs when its neurons share the states of what they read (`weights: communal`)."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inn_studies import compressors
from inn_studies.lab import Job, Lab
from inn_studies.rows import best_bits, facts, jobs, markdown, model_settings, score, spread, tune
from inn_studies.sizes import TEXT8, Fields, Size
from inn_studies.study import Study, Verdict

if TYPE_CHECKING:
    from matplotlib.figure import Figure  # pyright: ignore[reportMissingImports]

    from inn.runs.directory import Run

SEPARATE, SMALLER, TRAINED, MADE, TUNED, LONGER = (
    "separate", "separate, narrower", "communal from the start", "made communal", "made communal, trained on",
    "separate, trained on",
)  # fmt: skip
EQUAL = ", equal FLOPs"
"""After the name of communal weights trained on more symbols: with as much arithmetic as separate ones took."""
CALIBRATION = 2**21
"""Symbols of the training part that calibration rows are drawn from."""
NEAR, SHARE = 0.01, 0.6
"""The goal: bits per character that communal weights may cost, at no more than this share of the parameters."""


@dataclass(frozen=True)
class CommunalSize(Size):
    """`models` has the separate form, a narrower one and the communal one, of about equal parameters."""

    keep: float = 0.48
    """Share of what neurons read one another through that is kept when a trained model is made communal."""
    on: float = 0.5
    """Symbols that are trained on afterwards, as a share of `train.symbols`."""
    gentle: tuple[float, ...] = (1e-3, 3e-3)
    """Peak learning rates then."""
    rows: int = 64


def _communal(size: Size, models: Fields, **fields: Any) -> CommunalSize:
    return CommunalSize(**{**vars(size), "models": models, **fields})


SIZES: dict[str, CommunalSize] = {
    "smoke": _communal(
        TEXT8["smoke"],
        {
            SEPARATE: {"kind": "inn", "neurons": 3, "width": 12, "rounds": 2},
            SMALLER: {"kind": "inn", "neurons": 3, "width": 9, "rounds": 2},
            TRAINED: {
                "kind": "inn", "neurons": 3, "width": 12, "rounds": 2, "weights": "communal", "communal_states": 9,
            },
        },
        rows=4,
    ),
    "cpu": _communal(
        replace(TEXT8["cpu"], rates=(6e-3, 1.2e-2)),
        {
            SEPARATE: {"kind": "inn", "neurons": 8, "width": 19, "rounds": 4},
            SMALLER: {"kind": "inn", "neurons": 8, "width": 14, "rounds": 4},
            TRAINED: {
                "kind": "inn", "neurons": 8, "width": 19, "rounds": 4, "weights": "communal", "communal_states": 58,
            },
        },
    ),
    "gpu": _communal(
        Size("text8-1m", {"train.sample_every": 0}, rates=(6e-3, 1.2e-2), seeds=3),
        {
            SEPARATE: {"kind": "inn", "neurons": 8, "width": 30, "rounds": 4},
            SMALLER: {"kind": "inn", "neurons": 8, "width": 22, "rounds": 4},
            TRAINED: {
                "kind": "inn", "neurons": 8, "width": 30, "rounds": 4, "weights": "communal", "communal_states": 92,
            },
        },
    ),
}  # fmt: skip


class Communal(Study):
    name = "communal"
    source = "NGC's neuronal states in an INN"
    question = "How few parameters does an INN need when its neurons share the states of what they read?"
    page = "neuronal-groups"

    def sizes(self) -> dict[str, Size]:
        return dict(SIZES)

    def run(self, lab: Lab, size: Size, seeds: int) -> dict[str, Any]:
        assert isinstance(size, CommunalSize)
        fields = {label: model_settings(size, label) for label in size.models}
        tuned = {model.label: model for model in tune(lab, size, fields, seeds)}
        separate = tuned[SEPARATE].runs
        made = lab.measure(make, separate, keep=size.keep, rows=size.rows, limit=size.scored)
        states = made[0]["states"]
        sharing = {**fields[SEPARATE], "model.weights": "communal", "model.communal_states": states}
        groups: dict[str, list[Run]] = {label: model.runs for label, model in tuned.items()}
        rates = {label: model.rate for label, model in tuned.items()}
        symbols = separate[0].config().train.symbols
        cheaper = facts(separate[0])["training_flops_per_symbol"] / made[0]["training_flops_per_symbol"]
        longer = size.but(train_symbols=round(symbols * cheaper))
        groups[TRAINED + EQUAL] = lab.train(
            jobs(longer, TRAINED + EQUAL, fields[TRAINED], [rates[TRAINED]], range(seeds))
        )
        rates[TRAINED + EQUAL] = rates[TRAINED]
        folders = [found["folder"] for found in made]
        for label, settings, starts, share in (
            (TUNED, sharing, folders, size.on),
            (TUNED + EQUAL, sharing, folders, size.on * cheaper),
            (LONGER, fields[SEPARATE], [str(run.path) for run in separate], size.on),
        ):
            on = size.but(train_symbols=round(symbols * share))
            swept = lab.train([_on(on, label, settings, starts[0], 0, rate) for rate in size.gentle])
            _, rates[label] = min((best_bits(run) or math.inf, rate) for run, rate in zip(swept, size.gentle))
            wanted = [_on(on, label, settings, start, seed, rates[label]) for seed, start in enumerate(starts)]
            groups[label] = lab.train(wanted)
        rows = []
        for label, runs in groups.items():
            kept = [run for run in runs if best_bits(run) is not None]
            bits = [found["bits"] for found in lab.measure(score, kept, split="test", limit=size.scored)]
            found = facts(kept[0])
            started = found["config"]["train"]["start"] is not None
            rows.append(
                {
                    **found,
                    "label": label,
                    "lr": rates[label],
                    "valid_bits": [best_bits(run) for run in kept],
                    "test_bits": bits,
                    "symbols": found["symbols"] + started * facts(separate[0])["symbols"],
                }
            )
        first = made[0]
        shared = {name: value for name, value in rows[0].items() if name not in ("valid_bits", "lr")}
        shared |= {name: first[name] for name in ("parameters", "training_flops_per_symbol")}
        rows.append(
            {**shared, "label": MADE, "lr": None, "valid_bits": [], "test_bits": [found["bits"] for found in made]}
        )
        return {"rows": rows, "states": states}

    def readings(self, result: dict[str, Any]) -> list[dict[str, Any]]:
        return [compressors.case(result["rows"][0], {"test": 1_000_000})]

    def table(self, result: dict[str, Any]) -> str:
        whole = next(row for row in result["rows"] if row["label"] == SEPARATE)
        rows = [
            [
                row["label"],
                f"{row['parameters']:,}",
                f"{row['parameters'] / whole['parameters']:.1%}",
                f"{row['training_flops_per_symbol'] / 1e6:.2f} M",
                f"{row['symbols']:,}",
                "–" if row["lr"] is None else f"{row['lr']:g}",
                spread(row["test_bits"]),
                "–" if row is whole else spread([a - b for a, b in zip(row["test_bits"], whole["test_bits"])]),
            ]
            for row in sorted(result["rows"], key=lambda row: statistics.mean(row["test_bits"]))
        ]
        head = [
            "weights", "parameters:", "share:", "training FLOPs per symbol:", "symbols in all:", "lr:", "test BPC:",
            "behind separate:",
        ]  # fmt: skip
        bits = {row["label"]: row["test_bits"] for row in result["rows"]}
        shares = {row["label"]: row["parameters"] / whole["parameters"] for row in result["rows"]}

        def stands(label: str, of: str) -> str:
            behind = [a - b for a, b in zip(bits[label], bits[of])]
            met = "reached" if statistics.mean(behind) <= NEAR and shares[label] <= SHARE else "not reached"
            return f"'{label}' is {spread(behind)} behind '{of}': {met}"

        return (
            f"The default model with a state of {result['states']} numbers; *made*: a trained separate one, its maps "
            "factorised on text that it was trained on. Goal: within "
            f"{NEAR} of separate weights at {SHARE:.0%} of their parameters. After as many symbols, "
            f"{stands(TUNED, LONGER)}. After as much arithmetic, which is more symbols as each takes less, "
            f"{stands(TUNED + EQUAL, LONGER)}; {stands(TRAINED + EQUAL, SEPARATE)}.\n\n" + markdown(head, rows)
        )

    def draw(self, result: dict[str, Any], figure: Figure) -> bool:
        axes = figure.subplots()
        for row in result["rows"]:
            mean = statistics.mean(row["test_bits"])
            axes.plot(row["parameters"], mean, "o" if "separate" in row["label"] else "s", label=row["label"])
        axes.set(xlabel="parameters", ylabel="test bits per character", xlim=(0, None))
        figure.legend(loc="outside right upper", fontsize="small")
        return True

    def verdicts(self, result: dict[str, Any]) -> list[Verdict]:
        return []


def _on(size: Size, label: str, fields: Fields, start: str, seed: int, rate: float) -> Job:
    """The run that goes on from a folder's weights."""
    (job,) = jobs(size, label, {**fields, "train.start": start}, [rate], [seed])
    return job


def make(run: str, keep: float, rows: int, limit: int | None) -> dict[str, Any]:
    """Make a trained run communal, as a folder beside it, and score that (a measure for `Lab.measure`)."""
    import torch

    from inn.compress.calibrate import rows_of
    from inn.hf.export import write
    from inn.hf.model import INNForCausalLM
    from inn.inference.evaluate import evaluate
    from inn.models.inn import INN
    from inn.nn.modes import as_tokens
    from inn.runs.load import load_with_data
    from inn.surgery.communal import communal
    from inn.system.files import remove_folder
    from inn_studies.rows import STREAMS

    model, dataset = load_with_data(run)
    assert isinstance(model, INN)
    text = as_tokens(dataset.train[:CALIBRATION], torch.device("cpu"))
    small, lost = communal(model, rows_of(text, rows, min(512, len(text) // rows)), keep)
    folder = Path(run) / "communal"
    if folder.exists():
        remove_folder(folder)
    folder.mkdir()
    write(INNForCausalLM.wrap(small), folder)
    return {
        "folder": str(folder),
        "states": small.config.communal_states,
        "parameters": small.num_parameters,
        "training_flops_per_symbol": small.training_flops,
        "lost": lost,
        "bits": evaluate(small, dataset.test[:limit], streams=STREAMS).bits,
    }
