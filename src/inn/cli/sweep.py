"""`inn sweep`: the settings of a recipe that suit its text best, searched for, shown and drawn."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonargparse import Namespace

from inn.cli.common import JSON_HELP, SETTINGS_USAGE, console, one_of, print_json, with_settings
from inn.config.parser import OptionParser
from inn.config.settings import recipes, resolve, short_name, split_overrides
from inn.data.metric import in_metric
from inn.system.errors import InputError

if TYPE_CHECKING:
    import optuna  # pyright: ignore[reportMissingImports]

    from inn.sweep.work import SweepPlan

USAGE = (
    "inn sweep RECIPE SPACE.yaml [--sampler tpe|random|mcts|evolution] [--topologies] [--trials N] [--workers K] "
    f"[--storage URL] {SETTINGS_USAGE}"
)
SHOWN = 12
"""Trials that the table shows."""


def main(argv: list[str]) -> int:
    """Run `inn sweep`; going on with a sweep is running the same command again."""
    from inn.sweep.plot import draw_sweep
    from inn.sweep.work import run_sweep

    args, overrides = parse(argv)
    plan = planned(args, overrides)
    out = console(to_stderr=args.json)
    study = run_sweep(plan, args.workers, lambda trial: out.print(line(trial, plan), soft_wrap=True))
    facts = result(plan, study)
    drawn = draw_sweep(study, plan.space, plan.folder / "sweep.png")
    if args.json:
        print_json({**facts, "plot": str(drawn) if drawn else None})
        return 0
    show(facts)
    if drawn:
        out.print(f"plot: {drawn}", soft_wrap=True)
    else:
        out.print("no plot: Matplotlib is not installed, or no trial has ended; pip install 'inn-torch[sweep]'")
    return 0


def parse(argv: list[str]) -> tuple[Namespace, list[str]]:
    """The command's arguments, and the settings of all trials as `--section.field=value`."""
    own, overrides = split_overrides(argv)
    parser = OptionParser("inn sweep", USAGE, "Search for the best settings of a recipe (Optuna).")
    parser.positional(
        "recipe", "A recipe by name, the path of a YAML file, task:NAME, csv:PATH or npz:PATH.", names=recipes()
    )
    parser.positional("space", "A YAML file with the search space: `train.lr: {low: 1e-3, high: 2e-2, log: true}`.")
    parser.option("--trials", type=int, default=20, help="Trials of the sweep, including those done earlier.")
    parser.option("--workers", type=int, default=1, help="Trials in parallel, each in its own process.")
    parser.option("--storage", help="A database for several machines, as an RDB URL; default: a SQLite file in --run.")
    parser.option("--sampler", default="tpe", help="How it looks: tpe, random, mcts (a tree of choices) or evolution.")
    parser.flag("--topologies", "Search for who hears whom, too: short programs of rings, stars, cliques and copies.")
    parser.option("--pruner", default="median", help="How bad trials are stopped early: median, hyperband or none.")
    parser.option("--run", help="Folder of runs, storage and plot; default: runs/sweep-RECIPE-SPACE.")
    parser.flag("--json", JSON_HELP + " Progress goes to stderr.")
    parser = with_settings(parser, own, overrides)
    args = parser.parse(own)
    one_of("--pruner", args.pruner, "median", "hyperband", "none")
    one_of("--sampler", args.sampler, "tpe", "random", "mcts", "evolution")
    for option in ("trials", "workers"):
        if getattr(args, option) < 1:
            raise InputError(f"--{option} must be at least 1, not {getattr(args, option)}")
    args.run = args.run or f"runs/sweep-{short_name(args.recipe)}-{Path(args.space).stem}"
    return args, overrides


def planned(args: Namespace, overrides: list[str]) -> SweepPlan:
    """The sweep that was asked for; raises `InputError` for anything that means nothing, before anything is written."""
    from inn.sweep.search import load_optuna
    from inn.sweep.space import read_space
    from inn.sweep.work import plan_sweep

    load_optuna("`inn sweep`")
    space = read_space(args.space, resolve(args.recipe, overrides).config.model.kind)
    return plan_sweep(
        args.recipe, overrides, space, trials=args.trials, folder=args.run, storage=args.storage, pruner=args.pruner,
        sampler=args.sampler, topologies=args.topologies,
    )  # fmt: skip


def line(trial: optuna.trial.FrozenTrial, plan: SweepPlan) -> str:
    """What became of a trial, in a line."""
    return f"trial {trial.number}: {outcome(trial)}  {words(plan.told(trial.params))}"


def outcome(trial: optuna.trial.FrozenTrial) -> str:
    """Its score, or why it has none."""
    metric = trial.user_attrs.get("metric", "BPC")
    state = trial.state.name
    if state == "COMPLETE" and trial.value is not None:
        score = trial.user_attrs.get("score")
        return f"{in_metric(trial.value, metric):.3f} {metric}" + (f", {score}" if score else "")
    if state == "PRUNED":
        last = trial.last_step
        return f"pruned at {last / 10:.0f}%" if last is not None else "pruned"
    if state == "FAIL":
        return f"failed ({trial.user_attrs.get('error', 'its process was lost too often')})"
    return state.lower()


def words(params: dict[str, Any]) -> str:
    """Settings as people read them: four digits are enough."""
    return "  ".join(f"{name} {short_value(value)}" for name, value in params.items())


def short_value(value: Any) -> str:
    """A value for a table.

    >>> short_value(0.0123456), short_value(8), short_value(True)
    ('0.01235', '8', 'true')
    """
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def result(plan: SweepPlan, study: optuna.Study) -> dict[str, Any]:
    """What the sweep came to, as plain data: every trial, and the command that trains the best one."""
    from inn.sweep.trials import counted

    trials = sorted(counted(study), key=lambda t: (t.state.name != "COMPLETE", t.value or 0.0, t.number))
    done = [trial for trial in trials if trial.state.name == "COMPLETE"]
    best = done[0] if done else None
    rows = [
        {
            "number": trial.number, "state": trial.state.name.lower(), "bits": trial.value, "outcome": outcome(trial),
            "parameters": trial.user_attrs.get("parameters"), "settings": plan.told(trial.params),
            "run": str(plan.run(trial)),
        }
        for trial in trials
    ]  # fmt: skip
    return {
        "recipe": plan.recipe,
        "study": plan.study,
        "storage": "sqlite" if plan.storage.startswith("sqlite:") else plan.storage.split(":", 1)[0],
        "best": rows[0] if best else None,
        "command": command(plan, best.params) if best else None,
        "trials": rows,
    }


def command(plan: SweepPlan, params: dict[str, Any]) -> str:
    """The command line that trains with these settings, to be pasted."""
    options = []
    for token in plan.overrides_of(params):
        name, _, value = token.partition("=")
        number = params.get(name.removeprefix("--"))
        options += [name, short_value(number) if isinstance(number, float) else value]  # four digits are enough
    return shlex.join(["inn", "train", plan.recipe, "--run", f"{plan.folder}-best", *options])


def show(facts: dict[str, Any]) -> None:
    """The best trials, and the command that trains the best one."""
    from rich.table import Table

    out = console()
    names = list(dict.fromkeys(name for row in facts["trials"] for name in row["settings"]))
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("trial", *names, "parameters", "outcome"):
        table.add_column(name, justify="left" if name == "outcome" else "right")
    for row in facts["trials"][:SHOWN]:
        size = f"{row['parameters']:,}" if row["parameters"] else "–"
        values = [short_value(row["settings"].get(name, "")) for name in names]
        cells = [str(row["number"]), *values, size, row["outcome"]]
        table.add_row(*cells, style="bold" if row is facts["trials"][0] and facts["best"] else "")
    out.print(table)
    if (left := len(facts["trials"]) - SHOWN) > 0:
        out.print(f"and {left} more", style="dim")
    if facts["best"] is None:
        out.print("\nNo trial has come to an end: every one failed or was pruned; see the reasons above.")
        return
    out.print(f"\nThe best one is in {facts['best']['run']}. To train with its settings:", soft_wrap=True)
    out.print(f"  {facts['command']}", soft_wrap=True)
