"""Table 6: dropout and weight decay on the words of the Penn Treebank; the paper's points, then a search of our own.

The trials are in an Optuna study in a SQLite file beside the runs. Any number of processes may work on it, each trial
is one run of the lab, and a trial that was interrupted is gone on with.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from inn.sweep.search import load_optuna, open_study, sampler
from inn.sweep.space import Range, Space
from inn.system.files import only_one
from inn_studies.lab import Job, Lab, digest
from inn_studies.paper import TABLE_6
from inn_studies.ptb import WORDS
from inn_studies.rows import best_bits, facts, markdown, model_settings, tune
from inn_studies.sizes import Size
from inn_studies.study import Study, Verdict

if TYPE_CHECKING:
    import optuna  # pyright: ignore[reportMissingImports]
    from matplotlib.figure import Figure  # pyright: ignore[reportMissingImports]

MODEL = "inn"
SPACE = Space({"dropout": Range(0.0, 0.6), "weight_decay": Range(1e-5, 1.0, log=True)})
"""Where the search looks."""


@dataclass(frozen=True)
class SweepSize(Size):
    """A sweep: `settings` are those of the runs that the learning rate is taken from."""

    searched: int = 8
    """Trials after the paper's points."""
    passes: float = 1.0
    """Symbols of a trial, as a multiple of `train.symbols`: more passes over the text, for there to be overfitting."""


def sweep_size(size: Size, **fields: Any) -> SweepSize:
    """A sweep that shares its learning rate's runs with the study `ptb`."""
    return SweepSize(**{**vars(size), **fields})


SIZES: dict[str, SweepSize] = {
    "smoke": sweep_size(WORDS["smoke"], searched=2),
    "cpu": sweep_size(WORDS["cpu"], searched=8, passes=2.0),
    "gpu": sweep_size(WORDS["gpu"], searched=24),
}


class PtbSweep(Study):
    name = "ptb-sweep"
    source = "Table 6"
    question = "Which dropout and weight decay suit the graph on the words of the Penn Treebank?"

    def sizes(self) -> dict[str, Size]:
        return dict(SIZES)

    def run(self, lab: Lab, size: Size, seeds: int) -> dict[str, Any]:
        assert isinstance(size, SweepSize)
        rate = tune(lab, size, {MODEL: model_settings(size, MODEL)}, 1)[0].rate
        size = replace(size, settings={**size.settings, "train.lr": rate})
        search = Search(lab, size)
        search.run()
        trials = [row for trial in search.study.trials if (row := search.row(trial)) is not None]
        return {
            "lr": rate,
            "study": search.study.study_name,
            "trials": trials,
            **facts(lab.train([search.job(search.study.trials[0].params)])[0]),
        }

    def table(self, result: dict[str, Any]) -> str:
        rows = [
            [
                str(trial["number"]),
                f"{trial['dropout']:.3g}",
                f"{trial['weight_decay']:.3g}",
                f"{trial['valid_ppl']:.1f}" if trial["valid_ppl"] else "diverged",
                f"{TABLE_6[point]:.1f}" if (point := point_of(trial)) in TABLE_6 else "–",
            ]
            for trial in sorted(result["trials"], key=lambda trial: trial["valid_ppl"] or float("inf"))
        ]
        head = ["trial:", "dropout:", "weight decay:", "valid PPL:", "paper's valid PPL:"]
        return (
            f"{result['parameters']:,} parameters, {result['symbols']:,} words, learning rate {result['lr']:g}, "
            "seed 0. The paper's six points first, then a search by Optuna (TPE).\n\n" + markdown(head, rows)
        )

    def draw(self, result: dict[str, Any], figure: Figure) -> bool:
        done = [trial for trial in result["trials"] if trial["valid_ppl"]]
        axes = figure.subplots()
        for name, marker, chosen in (
            ("the paper's points", "s", [t for t in done if point_of(t) in TABLE_6]),
            ("search", "o", [t for t in done if point_of(t) not in TABLE_6]),
        ):
            places = [t["dropout"] for t in chosen], [t["weight_decay"] for t in chosen]
            colours = [t["valid_ppl"] for t in chosen]
            limits = {"vmin": min(t["valid_ppl"] for t in done), "vmax": max(t["valid_ppl"] for t in done)}
            dots = axes.scatter(*places, c=colours, marker=marker, label=name, **limits)
        figure.colorbar(dots, label="validation perplexity")
        axes.set(xlabel="dropout", ylabel="weight decay", yscale="log", title="Penn Treebank, words")
        axes.legend()
        return True

    def verdicts(self, result: dict[str, Any]) -> list[Verdict]:
        done = [t for t in result["trials"] if t["valid_ppl"]]
        ours = {point_of(t): t["valid_ppl"] for t in done if point_of(t) in TABLE_6}
        if len(ours) < len(TABLE_6):
            return [Verdict("the best point", "207.2 PPL (Table 6)", "–", "not measured", "a point diverged")]
        theirs, best = min(TABLE_6, key=TABLE_6.__getitem__), min(ours, key=ours.__getitem__)
        gain, paper_gain = (
            1 - min(ours.values()) / max(ours.values()),
            1 - min(TABLE_6.values()) / max(TABLE_6.values()),
        )
        found = min(done, key=lambda t: t["valid_ppl"])
        return [
            Verdict(
                f"dropout {theirs[0]:g}, weight decay {theirs[1]:g} is the best of six",
                f"{TABLE_6[theirs]} PPL (Table 6)",
                f"{ours[theirs]:.1f} PPL",
                "reproduced" if best == theirs else "not reproduced",
                f"the best of the six is dropout {best[0]:g}, weight decay {best[1]:g} at {ours[best]:.1f}; of all "
                f"trials dropout {found['dropout']:.3g}, weight decay {found['weight_decay']:.3g} at "
                f"{found['valid_ppl']:.1f}",
            ),
            Verdict(
                "from the worst to the best point perplexity falls",
                f"by {paper_gain:.1%} (Table 6)",
                f"by {gain:.1%}",
                "reproduced" if gain > paper_gain / 2 else "not reproduced",
                f"{max(ours.values()):.1f} to {min(ours.values()):.1f} PPL",
            ),
        ]


def point_of(trial: dict[str, Any]) -> tuple[float, float]:
    return trial["dropout"], trial["weight_decay"]


class Search:
    """The trials of a sweep, in an Optuna study that outlives the process and is open to others."""

    def __init__(self, lab: Lab, size: SweepSize):
        optuna = load_optuna("study 'ptb-sweep'")
        self.optuna, self.lab, self.size = optuna, lab, size
        self.total = len(TABLE_6) + size.searched
        name = digest(self.job({}).config())
        file = lab.root / "ptb-sweep.db"
        with only_one(file):  # two that begin at once make one study, with each of the paper's points once
            self.study = open_study(f"sqlite:///{file.as_posix()}", name, fresh=not lab.resume, heartbeat=False)
            if not self.study.trials:
                for dropout, decay in TABLE_6:
                    self.study.enqueue_trial({"dropout": dropout, "weight_decay": decay})

    def run(self) -> None:
        """Work until all trials are done, one's own and those of processes that died."""
        while lost := [t for t in self._running() if not self.lab.busy(self.job(t.params))]:
            self._finish(lost[: self.lab.workers])
        while trials := self._next(self.lab.workers):
            self._finish(trials)
        while others := self._running():  # waits for those that are at work, and goes on where one dies
            self._finish(others[:1])

    def job(self, params: dict[str, float]) -> Job:
        """The run of a trial."""
        settings = {
            **self.size.settings,
            **model_settings(self.size, MODEL),
            **({"model.dropout": params["dropout"], "train.weight_decay": params["weight_decay"]} if params else {}),
        }
        job = Job(f"{MODEL} sweep", self.size.recipe, settings)
        symbols = round(job.config().train.symbols * self.size.passes)
        return replace(job, settings={**settings, "train.symbols": symbols})

    def row(self, trial: optuna.trial.FrozenTrial) -> dict[str, Any] | None:
        """What the results keep of a trial."""
        bits = trial.value if trial.state == self.optuna.trial.TrialState.COMPLETE else None
        return {"number": trial.number, **trial.params, "valid_bits": bits, "valid_ppl": bits and 2.0**bits}

    def _next(self, count: int) -> list[optuna.trial.FrozenTrial]:
        """Take up to so many trials that nobody has taken; the sampler's seed is the trial's number."""
        taken = []
        with only_one(self.lab.root / "ptb-sweep.db"):
            while len(taken) < count:
                waiting = self._in_state(self.optuna.trial.TrialState.WAITING)
                begun = len(self.study.trials) - len(waiting)
                if begun >= self.total:
                    break
                self.study.sampler = sampler(begun, startup=len(TABLE_6))
                trial = self.study.ask()
                SPACE.suggest(trial)
                taken.append(self.study.trials[trial.number])
        return taken

    def _finish(self, trials: Sequence[optuna.trial.FrozenTrial]) -> None:
        """Train trials, wait for those that another process trains, and write down what came out."""
        runs = self.lab.train([self.job(trial.params) for trial in trials])
        for trial, run in zip(trials, runs, strict=True):
            bits = best_bits(run)
            state = None if bits is not None else self.optuna.trial.TrialState.FAIL
            with suppress(self.optuna.exceptions.UpdateFinishedTrialError):  # another process was a moment faster
                self.study.tell(trial.number, bits, state=state, skip_if_finished=True)

    def _running(self) -> list[optuna.trial.FrozenTrial]:
        return self._in_state(self.optuna.trial.TrialState.RUNNING)

    def _in_state(self, state: Any) -> list[optuna.trial.FrozenTrial]:
        return self.study.get_trials(states=(state,))
