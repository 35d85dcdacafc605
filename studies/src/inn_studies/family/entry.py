"""An entry of the family: a published system, what it claims, where it lives here, and criteria that can fail."""

from __future__ import annotations

import statistics
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from inn.system.errors import InputError
from inn_studies.lab import Lab
from inn_studies.rows import markdown
from inn_studies.study import Study, Verdict
from inn_studies.where.harness import Track, case, small, train_and_score
from inn_studies.where.intervals import shown
from inn_studies.where.row import Scale, measured_row

SCALES = ("smoke", "cpu")
Met = Literal["yes", "no", "undecided"]


@dataclass(frozen=True)
class Criterion:
    """One thing that has to hold, and what was measured of it."""

    id: str
    """A few words, the same for all times."""
    goal: str
    """What has to hold, with its number."""
    measured: str
    """What was found, with its number."""
    verdict: Met
    """`undecided`: too little was measured to tell."""

    @classmethod
    def of(cls, id: str, goal: str, measured: str, met: bool | None) -> Criterion:
        """With a verdict by whether it is met; None: undecided."""
        return cls(id, goal, measured, "undecided" if met is None else "yes" if met else "no")


class Entry(Study):
    """An entry: a file of this package, a line in `inn_studies.family.ENTRIES`.

    A subclass sets the class attributes, trains and measures in `run`, and judges in `criteria` by the result alone.
    The result is plain data: `rows` for the table, those of controls marked `control` (see `trained` and `row`), and
    whatever else `criteria` reads. Where data or a part is missing `run` raises `InputError`, and the entry is skipped.
    """

    page = "family"
    number: ClassVar[int | str]
    """In the list of related systems."""
    title: ClassVar[str]
    """What it is, in a few words."""
    source: ClassVar[str]
    """The paper: its title, and where it is."""
    claim: ClassVar[str]
    """What the paper says of it, in a sentence, with its number."""
    home: ClassVar[str]
    """Where it lives in the library."""
    control: ClassVar[str]
    """What it is compared with, in the same table, so that the result could have been otherwise."""
    score: ClassVar[str] = "accuracy"
    """What the scores of the table are."""

    @property
    def name(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        return str(self.number)

    @property
    def question(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.claim

    @property
    def command(self) -> str:
        return f"inn study family --only {self.number}"

    def sizes(self) -> dict[str, Any]:
        """`smoke` shows that it runs; `cpu` is what the criteria are for."""
        return {"smoke": Scale("smoke", 1, 1), "cpu": Scale("cpu", 3, 3)}

    @abstractmethod
    def measure(self, lab: Lab, size: Any, seeds: int) -> dict[str, Any]:
        """Train and measure at a `Scale` (`size.of(smoke, cpu)`); returns the result but for `skipped`."""

    @abstractmethod
    def criteria(self, result: dict[str, Any]) -> list[Criterion]:
        """What has to hold, judged by the result alone."""

    def found(self, result: dict[str, Any]) -> str:
        """What became of the paper's claim at our size, in a sentence; empty: the criteria say it."""
        return ""

    def run(self, lab: Lab, size: Any, seeds: int) -> dict[str, Any]:
        try:
            return {"skipped": "", **self.measure(lab, size, seeds)}
        except InputError as error:
            return {"skipped": f"{error}", "rows": []}

    def table(self, result: dict[str, Any]) -> str:
        return table(result["rows"])

    def verdicts(self, result: dict[str, Any]) -> list[Verdict]:
        return []


def trained(
    lab: Lab,
    track: Track,
    models: Mapping[str, Mapping[str, Any]],
    size: Scale,
    seeds: int,
    *,
    rates: Sequence[float],
    higher: bool = True,
    controls: Sequence[str] = (),
) -> list[dict[str, Any]]:
    """Rows of models trained on a task, each at its best rate by the score of the validation part (seed 0).

    Args:
        models: fields of `--model`, by label.
        rates: learning rates; at scale `smoke` only the first.
        higher: whether more of the score is better.
        controls: the labels that are controls.
    """
    rates = rates[:1] if size.name == "smoke" else rates
    track = small(track) if size.name == "smoke" else track

    def done(pieces: Sequence[tuple[str, float, int]]) -> dict[tuple[str, float, int], Any]:
        cases = {
            f"{track.name}, {label} {lr:g} {seed}": case(track, label, models[label], lr, seed, lab.root)
            for label, lr, seed in pieces
        }
        return dict(zip(pieces, lab.compute(train_and_score, cases).values(), strict=True))

    found = done([(label, lr, 0) for label in models for lr in rates])
    valid = {key: run["scores"]["valid"]["value"] if run["scores"] else None for key, run in found.items()}
    best = {}
    for label in models:
        good = {lr: v for lr in rates if (v := valid[label, lr, 0]) is not None}
        best[label] = (max if higher else min)(good, key=lambda lr: good[lr]) if good else min(rates)
    found |= done([(label, best[label], seed) for label in models for seed in range(1, seeds)])
    rows = []
    for label, fields in models.items():
        sweep = {f"{lr:g}": valid[label, lr, 0] for lr in rates}
        runs = [found[label, best[label], seed] for seed in range(seeds)]
        rows.append({**measured_row(label, dict(fields), best[label], sweep, runs), "task": dict(track.known())})
        rows[-1]["control"] = label in controls
    return rows


def row(label: str, scores: Mapping[str, Sequence[float]], *, control: bool = False, **more: Any) -> dict[str, Any]:
    """A row of what is not trained by `trained`: scores by name, one per seed."""
    return {"model": label, "scores": {n: list(v) for n, v in scores.items()}, "control": control, **more}


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as Markdown: the cost where it is known, and every score; controls say that they are."""
    tests = list(dict.fromkeys(test for row in rows for test in row["scores"]))
    cells = [
        [
            f"{row['model']} *(control)*" if row.get("control") else row["model"],
            f"{row['parameters']:,}" if row.get("parameters") is not None else "–",
            f"{row['training_seconds']:.0f}" if row.get("training_seconds") is not None else "–",
            f"{row['lr']:g}" if row.get("lr") is not None else "–",
            *(shown(row["scores"].get(test) or []) for test in tests),
        ]
        for row in rows
    ]
    return markdown(["model", "parameters:", "seconds:", "lr:", *(f"{test}:" for test in tests)], cells)


def scores(result: Mapping[str, Any], label: str, test: str) -> list[float]:
    """The scores of a row by its label, one per seed; empty where all runs diverged."""
    return next(row for row in result["rows"] if row["model"] == label)["scores"].get(test, [])


def mean(result: Mapping[str, Any], label: str, test: str) -> float:
    """The mean of a row's scores over seeds; NaN where there are none, which meets no criterion."""
    values = scores(result, label, test)
    return statistics.mean(values) if values else float("nan")
