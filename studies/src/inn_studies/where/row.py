"""What a row of the suite is: a question, tasks, the models on them, a cheap baseline, and a verdict that may be no."""

from __future__ import annotations

import statistics
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from inn.system.errors import InputError
from inn_studies.lab import Lab
from inn_studies.rows import markdown
from inn_studies.study import Study, Verdict
from inn_studies.where.floors import floor
from inn_studies.where.harness import RATES, RATES_OF, Track, case, rivals, small, train_and_score
from inn_studies.where.intervals import ahead, interval, shown

SCALES = ("smoke", "short", "cpu")
OURS, BEST, WIDE = "graph", "best graph", "one wide neuron"
MODELS = (OURS, BEST, WIDE, "LSTM", "Mamba stack", "Transformer")
MONOLITHS = (WIDE, "LSTM", "Mamba stack", "Transformer")


@dataclass(frozen=True)
class Scale:
    """How much a row trains: `smoke` shows that it runs, `short` is one seed at one rate, `cpu` three of each.

    A run of `cpu` is as long as one of `short`, so that those that are there are used again; more is scored.
    """

    name: str
    seeds: int
    rates: int
    """Learning rates that each model's best one is taken from, on the validation part."""

    def of(self, smoke: Any, short: Any, cpu: Any = None) -> Any:
        """The value of this scale; cpu's is that of short where none is given."""
        return {"smoke": smoke, "short": short, "cpu": short if cpu is None else cpu}[self.name]


@dataclass(frozen=True)
class Answer:
    """What became of the row's question."""

    answer: str
    """`yes`, `no`, or `undecided` where one seed cannot tell."""
    because: str


Piece = tuple[Track, str, dict[str, Any], float, int]
"""A track, a model's name and its fields, a learning rate, a seed."""


class Row(Study):
    """A row: its name in `inn_studies.where.ROWS`, its tasks, and how its result is judged."""

    page = "where"
    source = "a row of docs/where.md"
    bar: ClassVar[str]
    """What the graph has to reach."""
    score: ClassVar[str] = "accuracy"
    """What the scores are."""
    share: ClassVar[bool] = True
    """Whether a score is a share, from 0 to 1."""
    higher: ClassVar[bool] = True
    """Whether more is better."""
    baseline: ClassVar[str] = "table of counts"
    """One of `inn_studies.where.floors.FLOORS`."""
    best: ClassVar[Mapping[str, Any]] = {}
    """Fields of `--model` of the best graph that is known for this row; empty: none yet."""
    variants: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """Fields of further graphs by label: the best one without a part of it, or with another memory."""

    @property
    def command(self) -> str:
        return f"inn study where --rows {self.name}"

    def sizes(self) -> dict[str, Any]:
        return {"smoke": Scale("smoke", 1, 1), "short": Scale("short", 1, 1), "cpu": Scale("cpu", 3, 3)}

    @abstractmethod
    def tracks(self, scale: Scale) -> list[Track]:
        """What is trained; raises `InputError` where the data are not there."""

    @abstractmethod
    def judge(self, result: dict[str, Any]) -> Answer:
        """The verdict, by the result alone."""

    def headline(self, result: dict[str, Any]) -> list[tuple[str, str]]:
        """The tracks and tests whose mean stands in the table of all rows; the last test of every track."""
        return [(t["name"], list(t["tests"])[-1]) for t in result["tracks"]]

    # -- measuring

    def run(self, lab: Lab, size: Any, seeds: int) -> dict[str, Any]:
        try:
            tracks = [small(track) if size.name == "smoke" else track for track in self.tracks(size)]
            models = [self.models(track) for track in tracks]
            if size.name == "smoke":
                models = [{name: found[name] for name in (OURS, WIDE, "LSTM")} for found in models]
        except InputError as error:
            return {"skipped": f"{error}", "tracks": []}
        rates = {name: _rates(size, name) for found in models for name in found}
        sweep = [
            (t, name, rate, 0) for t, found in enumerate(models) for name in found for rate in rates[name]
        ]  # fmt: skip
        done = self._measured(lab, size, tracks, models, sweep)
        chosen = {(t, name): self._best(done, t, name, rates[name]) for t, found in enumerate(models) for name in found}
        rest = [(t, name, rate, seed) for (t, name), rate in chosen.items() for seed in range(1, seeds)]
        done |= self._measured(lab, size, tracks, models, rest)
        floors = self.floors(lab, tracks)
        return {
            "skipped": "",
            "tracks": [
                {
                    "name": track.name,
                    "tests": {name: _sequences(done, t, name) for name in track.tests if name != "valid"},
                    "baseline": {self.baseline: floors[track.name]["scores"]} if self.baseline else {},
                    "rows": [
                        measured_row(
                            name, models[t][name], chosen[t, name],
                            {f"{rate:g}": _valid(done[t, name, rate, 0]) for rate in rates[name]},
                            [done[t, name, chosen[t, name], seed] for seed in range(seeds)],
                        )
                        for name in models[t]
                    ],
                }
                for t, track in enumerate(tracks)
            ],
        }  # fmt: skip

    def models(self, track: Track) -> dict[str, dict[str, Any]]:
        """The fields of `--model` of every model on a track, by label."""
        return rivals(track, self.best, self.variants)

    def measured(self, lab: Lab, size: Scale, wanted: dict[str, Piece]) -> dict[str, Any]:
        """What comes of each piece of work, by its label."""
        return lab.compute(train_and_score, {label: case(*piece, root=lab.root) for label, piece in wanted.items()})

    def floors(self, lab: Lab, tracks: list[Track]) -> dict[str, Any]:
        """What the cheap baseline scores on each track."""
        return lab.compute(floor, {track.name: self._floor(track) for track in tracks} if self.baseline else {})

    def _measured(self, lab: Lab, size: Scale, tracks: list, models: list, wanted: list[tuple]) -> dict[tuple, Any]:
        pieces = {
            f"{self.name}, {tracks[t].name} {name} {lr:g} {seed}": (tracks[t], name, models[t][name], lr, seed)
            for t, name, lr, seed in wanted
        }
        return dict(zip(wanted, map(self.measured(lab, size, pieces).__getitem__, pieces), strict=True))

    def _best(self, done: Mapping[tuple, Any], track: int, name: str, rates: Sequence[float]) -> float:
        """The rate with the best validation score; the lowest where all runs diverged."""
        scores = {rate: _valid(done[track, name, rate, 0]) for rate in rates}
        good = {rate: score for rate, score in scores.items() if score is not None}
        if not good:
            return min(rates)
        return (max if self.higher else min)(good, key=lambda rate: good[rate])

    def _floor(self, track: Track) -> dict[str, Any]:
        tests = {name: dict(test.options) for name, test in track.tests.items()}
        return {"kind": self.baseline, "corpus": track.corpus, "options": dict(track.options), "tests": tests}

    # -- reading a result

    def values(self, result: dict[str, Any], model: str, only: Sequence[tuple[str, str]] | None = None) -> list[float]:
        """The headline score of a model, one per seed; empty where it was not measured, or diverged."""
        found = []
        for track, test in only or self.headline(result):
            row = next((r for r in track_of(result, track)["rows"] if r["model"] == model), None)
            if row is None or not row["scores"].get(test):
                return []
            found.append(row["scores"][test])
        return [statistics.mean(scores) for scores in zip(*found)]

    def baseline_value(self, result: dict[str, Any]) -> float | None:
        """The headline score of the baseline."""
        found = [
            scores[test]["value"]
            for track, test in self.headline(result)
            for scores in list(track_of(result, track)["baseline"].values())[:1]
            if test in scores
        ]
        return statistics.mean(found) if found else None

    def sequences(self, result: dict[str, Any]) -> int:
        """How many test sequences stand behind a headline score."""
        return sum(track_of(result, track)["tests"][test] or 0 for track, test in self.headline(result))

    def ours(self, result: dict[str, Any]) -> str:
        """The better of our graphs."""
        pick = max if self.higher else min
        known = {name: v for name in (OURS, BEST) if (v := self.values(result, name))}
        return pick(known, key=lambda name: statistics.mean(known[name])) if known else OURS

    def rival(self, result: dict[str, Any], among: Sequence[str] = MONOLITHS) -> str | None:
        """The best of the others."""
        pick = max if self.higher else min
        known = {name: v for name in among if (v := self.values(result, name))}
        return pick(known, key=lambda name: statistics.mean(known[name])) if known else None

    def lead(self, result: dict[str, Any], among: Sequence[str] = MONOLITHS) -> Answer:
        """Whether our graph is ahead of all others outside the intervals."""
        ours, theirs = self.ours(result), self.rival(result, among)
        a, b = self.values(result, ours), self.values(result, theirs) if theirs else []
        if not a or not b:
            return Answer("undecided", "too little was measured")
        found = ahead(a, b, self.sequences(result), self.share, self.higher)
        text = f"{ours} {shown(a)}, best other ({theirs}) {shown(b)}"
        if found is None:
            better = (statistics.mean(a) > statistics.mean(b)) == self.higher
            return Answer("undecided" if better else "no", f"{text}; one seed" if better else text)
        return Answer("yes" if found else "no", text)

    # -- showing it

    def table(self, result: dict[str, Any]) -> str:
        if result["skipped"]:
            return f"Skipped: {result['skipped']}."
        head = ["task", "model", "parameters:", "training FLOPs per step:", "seconds:", "lr:"]
        tests = list(dict.fromkeys(test for track in result["tracks"] for test in track["tests"]))
        rows = []
        for track in result["tracks"]:
            for row in track["rows"]:
                rows.append([
                    track["name"], row["model"], f"{row['parameters']:,}",
                    f"{row['training_flops_per_step'] / 1e3:,.0f} k",
                    f"{row['training_seconds']:.0f}", f"{row['lr']:g}", *(_cell(row["scores"].get(t)) for t in tests),
                ])  # fmt: skip
            for name, scores in track["baseline"].items():
                cells = (_cell([scores[t]["value"]] if t in scores else None) for t in tests)
                rows.append([track["name"], name, "–", "–", "–", "–", *cells])
        return markdown([*head, *(f"{test}:" for test in tests)], rows)

    def bars(self, result: dict[str, Any], axes: Any) -> None:
        """Draw the headline scores into axes."""
        names = [name for name in MODELS if self.values(result, name)]
        if not names:
            return
        means = [statistics.mean(self.values(result, name)) for name in names]
        spans = [interval(self.values(result, name), self.sequences(result), self.share) for name in names]
        low, high = zip(*(span or (mean, mean) for mean, span in zip(means, spans, strict=True)), strict=True)
        errors = [[max(m - a, 0) for m, a in zip(means, low)], [max(b - m, 0) for m, b in zip(means, high)]]
        colours = ["C1" if name in (OURS, BEST) else "C0" for name in names]
        axes.barh(names, means, xerr=errors, color=colours)
        if (floor_value := self.baseline_value(result)) is not None:
            axes.axvline(floor_value, color="grey", linestyle=":", label="baseline")
        axes.invert_yaxis()
        axes.set(title=self.name, xlabel=self.score)

    def verdicts(self, result: dict[str, Any]) -> list[Verdict]:
        return []


def track_of(result: dict[str, Any], name: str) -> dict[str, Any]:
    """A track of a result."""
    return next(track for track in result["tracks"] if track["name"] == name)


def _rates(size: Scale, name: str) -> tuple[float, ...]:
    rates = RATES_OF.get(name, RATES)
    return rates if size.rates > 1 else rates[1:2]


def _valid(found: dict[str, Any]) -> float | None:
    score = found["scores"].get("valid")
    return None if score is None else score["value"]


def _sequences(done: Mapping[tuple, Any], track: int, test: str) -> int | None:
    return next((f["scores"][test]["sequences"] for key, f in done.items() if key[0] == track and f["scores"]), None)


def measured_row(name: str, model: dict, rate: float, sweep: dict, runs: list[dict[str, Any]]) -> dict[str, Any]:
    """What is kept of a model on a track: what its runs took, and its scores, one per seed.

    Args:
        sweep: validation scores by learning rate.
        runs: what `train_and_score` gives, one per seed.
    """
    first, tests = runs[0], runs[0]["scores"]
    return {
        "model": name,
        "settings": model,
        "lr": rate,
        "sweep_valid": sweep,
        "diverged": sum(run["status"] != "finished" for run in runs),
        **{key: first[key] for key in ("parameters", "training_flops_per_step", "steps_read", "data", "commit")},
        "training_seconds": min(run["training_seconds"] for run in runs),  # of the run that was disturbed least
        "scores": {test: _values(runs, test) for test in tests},
        "valid": _values(runs, "valid"),
    }


def _values(runs: list[dict[str, Any]], test: str) -> list[float]:
    found = [run["scores"][test]["value"] for run in runs if run["scores"]]
    return [value for value in found if value is not None]


def _cell(values: Sequence[float] | None) -> str:
    return shown(values or [])
