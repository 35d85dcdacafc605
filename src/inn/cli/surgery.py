"""`inn keep`, `grow`, `cut`, `graft`, `merge`, `split` and `unsplit`: parts of runs, each with a table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from shlex import join, quote
from typing import Any

from jsonargparse import Namespace

from inn.cli.common import JSON_HELP, console, print_json
from inn.config.parser import OptionParser
from inn.system.errors import InputError
from inn.system.files import check_free


@dataclass(frozen=True)
class Command:
    """One of the commands: how it is called, what it is for, and its own options.

    Attributes:
        organ: whether it is given an organ's file beside the run.
        others: whether it is given other runs beside it.
        writes: the option that names what is written.
        add: adds its own options to a parser.
        make: what is done to models, of them and the arguments: a function from models to the new one, or the organ.
    """

    name: str
    usage: str
    summary: str
    add: Callable[[OptionParser], None]
    make: Callable[[list[Any], Namespace], Callable[..., Any]]
    organ: bool = False
    others: bool = False
    writes: str = "run"

    def main(self, argv: list[str]) -> int:
        """Run the command."""
        args = self.parse(argv)
        from inn.runs.directory import Run

        runs = [Run(path) for path in (args.source, *(args.others if self.others else ()))]
        own = runs[0]
        if self.writes == "run":
            Run.check_free(args.run)
        else:
            check_free(args.out)
        from inn.runs.load import load
        from inn.surgery.runs import measured, write_run

        models = [load(run) for run in runs]
        model, operation = models[0], self.make(models, args)
        made = _warned(operation, models)
        if self.writes == "out":
            facts = {"from": args.source, "organ": args.out, **_of_organ(made, model)}
            made.save(args.out)
        else:
            facts: dict[str, Any] = {"from": args.source, "run": args.run, "done": self.name}
            if self.others:
                facts["others"] = args.others
                facts["beside"] = [measured(m, run, args.symbols) for m, run in zip(models[1:], runs[1:])]
            facts |= {when: measured(m, own, args.symbols) for when, m in (("before", model), ("after", made))}
            moments, facts["optimiser"] = _moments(operation, models, made, runs)
            write_run(made, own, args.run, join(["inn", self.name, *argv]), moments)
        if args.json:
            print_json(facts)
        elif self.writes == "out":
            _show_organ(facts)
        else:
            _show(facts)
        return 0

    def parse(self, argv: list[str]) -> Namespace:
        """The command's arguments."""
        parser = OptionParser(f"inn {self.name}", self.usage, self.summary)
        parser.positional("source", "The run whose model it is.")
        if self.organ:
            parser.positional("organ", "A file that `inn cut` wrote.")
        if self.others:
            parser.positional("others", "Other runs, whose models are put beside its.", metavar="RUN", many=True)
        self.add(parser)
        if self.writes == "run":
            parser.option("--run", help="The folder of the new run.")
            parser.option("--symbols", type=int, default=20_000, help="Validation symbols to score (0: none).")
        else:
            parser.option("--out", help="The file to write.")
        parser.flag("--json", JSON_HELP)
        args = parser.parse(argv)
        if self.others and not args.others:
            raise InputError(f"another RUN is missing: {self.usage}")
        if getattr(args, self.writes) is None:
            raise InputError(f"--{self.writes} is missing: {self.usage}")
        if self.writes == "run" and (args.symbols < 0 or args.symbols == 1):
            raise InputError(f"--symbols must be 0, or at least 2, not {args.symbols}")
        return args


def numbers(option: str, text: str | None) -> list[int] | None:
    """Numbers of neurons or rounds as they are written on the command line.

    >>> numbers("--neurons", "0,2-4")
    [0, 2, 3, 4]
    """
    if text is None:
        return None
    found: list[int] = []
    for part in str(text).strip("[]").split(","):
        first, _, last = part.strip().partition("-")
        if not first.isdecimal() or not (last or first).isdecimal() or int(last or first) - int(first) > 1 << 20:
            raise InputError(f"{option} lists numbers like 0,2,5 or 0-3, not '{text}'")
        found += range(int(first), int(last or first) + 1)
    return found


def _parts(parser: OptionParser) -> None:
    parser.option("--neurons", type=str | None, help="Numbers of neurons, from 0: 0,2,5 or 0-3.")
    parser.option("--rounds", type=str | None, help="Numbers of rounds, from 0.")


def _named(args: Namespace) -> dict[str, Any]:
    return {"neurons": numbers("--neurons", args.neurons), "rounds": numbers("--rounds", args.rounds)}


def _keep(models: list[Any], args: Namespace) -> Callable[..., Any]:
    from inn.surgery.neurons import keep

    return lambda model: keep(model, **_named(args))


def _of_grow(parser: OptionParser) -> None:
    parser.option("--neurons", type=int, default=1, help="How many to add.")
    parser.option("--memory", help="Kind of memory of the new neurons; default: that of the last neuron.")
    parser.option("--seed", type=int, default=0, help="What the new weights are drawn from.")


def _grow(models: list[Any], args: Namespace) -> Callable[..., Any]:
    from inn.surgery.neurons import grow

    return lambda model: grow(model, neurons=args.neurons, memory=args.memory, seed=args.seed)


def _of_cut(parser: OptionParser) -> None:
    _parts(parser)
    parser.option("--licence", default="", help="Under which the organ may be used: a line for its header.")


def _cut(models: list[Any], args: Namespace) -> Callable[..., Any]:
    from inn.surgery.organ import cut

    return lambda model: cut(model, **_named(args), licence=args.licence)


def _of_graft(parser: OptionParser) -> None:
    parser.option("--at", type=int | None, help="The first round or neuron whose place it takes; default: as before.")
    parser.flag("--insert", "Put it beside the run's own rounds or neurons, in the place of none.")


def _graft(models: list[Any], args: Namespace) -> Callable[..., Any]:
    from inn.surgery.graft import graft
    from inn.surgery.organ import Organ

    organ = Organ.load(args.organ)
    return lambda model: graft(model, organ, at=args.at, insert=args.insert)


def _of_merge(parser: OptionParser) -> None:
    parser.flag("--across", "Let there be edges across, of weights that start at zero, which training may open.")


def _merge(models: list[Any], args: Namespace) -> Callable[..., Any]:
    from inn.surgery.merge import planned, put_together

    plan = planned(models, args.across)
    return lambda *parts: put_together(parts, plan)


def _warned(operation: Callable[..., Any], models: list[Any]) -> Any:
    """What an operation makes of models; what it warns of is told."""
    import warnings

    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always", UserWarning)
        made = operation(*models)
    for one in found:
        console(to_stderr=True).print(f"inn: {one.message}", soft_wrap=True)
    return made


def _moments(
    operation: Callable[..., Any], models: list[Any], made: Any, runs: list[Any]
) -> tuple[Any, dict[str, Any]]:
    """The optimiser's moments of the new model, and what there is to say of them."""
    from inn.surgery.moments import Moments, carried_moments
    from inn.surgery.runs import moments_of

    kinds = [run.config().train.optimizer for run in runs]  # the new run goes on with that of the first
    known = [moments_of(run) if kind == kinds[0] else Moments({}) for run, kind in zip(runs, kinds)]
    moments, share = {}, 0.0
    if any(own.tensors for own in known):
        moments, share = carried_moments(operation, models, made, known)
    steps = [int(t) for name, t in moments.items() if name.endswith("/step")]
    return moments, {"steps": max(steps, default=0), "share": share}


def _of_split(parser: OptionParser) -> None:
    parser.option("--experts", type=int | None, help="Groups of neurons; default: one for each neuron.")
    parser.option("--use", type=int | None, help="How many take part at each step; default: half of them.")
    parser.option("--seed", type=int, default=0, help="Where the search for groups starts.")


def _split(models: list[Any], args: Namespace) -> Callable[..., Any]:
    from inn.surgery.reading import config_of
    from inn.surgery.split import split

    experts = config_of(models[0]).neurons if args.experts is None else args.experts
    use = max(1, experts // 2) if args.use is None else args.use
    return lambda model: split(model, experts=experts, use=use, seed=args.seed)


def _unsplit(models: list[Any], args: Namespace) -> Callable[..., Any]:
    from inn.surgery.split import unsplit

    return unsplit


def _of_organ(organ: Any, model: Any) -> dict[str, Any]:
    from inn.models.names import current

    count = sum(t.numel() for t in organ.tensors.values())
    of = {current(name.partition(":")[0]) for name in organ.tensors}
    return {
        organ.what: organ.numbers, "ids": organ.about["ids"], "numbers": count, "tensors": len(of),
        "donor_parameters": model.num_parameters, "base_sha256": organ.about["base_sha256"],
        "licence": organ.about["licence"],
    }  # fmt: skip


def _show_organ(facts: dict[str, Any]) -> None:
    what = "rounds" if "rounds" in facts else "neurons"
    share = facts["numbers"] / facts["donor_parameters"]
    console().print(
        f"{what} {', '.join(map(str, facts[what]))} of {facts['from']}: {facts['numbers']:,} numbers, {share:.0%} of "
        f"its {facts['donor_parameters']:,}\nwrote {facts['organ']}; now try\n"
        f"  inn graft RUN {quote(facts['organ'])} --run NEW",
        soft_wrap=True,
    )


def _show(facts: dict[str, Any]) -> None:
    from rich.table import Table

    columns, after, out = [facts["before"], *facts.get("beside", [])], facts["after"], console()
    table = Table(box=None, pad_edge=False)
    names = ["before"] if len(columns) == 1 else [Path(run).name for run in (facts["from"], *facts["others"])]
    for name in ("", *names, "after", *(("share",) if len(columns) == 1 else ())):
        table.add_column(name, justify="right" if name else "left", no_wrap=True)
    for name, key, shown in (
        ("neurons", "neurons", "{:,}"), ("rounds", "rounds", "{:,}"), ("memory", "memory", "{}"),
        ("topology", "topology", "{}"), ("parameters", "parameters", "{:,}"),
        ("FLOPs per symbol", "flops_per_symbol", "{:,.0f}"), ("bits, validation", "bits", "{:.4f}"),
    ):  # fmt: skip
        values = [one[key] for one in (*columns, after)]
        if None in values:
            continue
        one, other = values[0], values[-1]
        share = f"{other / one:.3f}" if isinstance(one, int | float) and one else ""
        table.add_row(name, *map(shown.format, values), *((share,) if len(columns) == 1 else ()))
    out.print(table)
    if why := after.get("unscored"):
        out.print(f"not scored: {why}", soft_wrap=True)
    optimiser = facts["optimiser"]
    goes_on = "the optimiser starts afresh, for no moments of it are kept"
    if optimiser["steps"]:
        known = f"{optimiser['share']:.0%} of the numbers"
        goes_on = f"the optimiser goes on from step {optimiser['steps']:,}, with moments of {known}"
    out.print(
        f"wrote {facts['run']} ({goes_on}); now try\n"
        f"  inn train --from {quote(facts['run'])} --run {quote(facts['run'] + '-trained')}",
        soft_wrap=True,
    )


keep = Command(
    "keep", "inn keep RUN --neurons 0,2,5 | --rounds 0,1 --run NEW [--symbols N] [--json]",
    "A smaller run of some of the neurons or rounds: what the whole computes without the others.", _parts, _keep,
)  # fmt: skip
grow = Command(
    "grow", "inn grow RUN [--neurons 1] [--memory KIND] --run NEW [--seed 0] [--symbols N] [--json]",
    "A larger run that computes the same: new neurons, which training lets speak.", _of_grow, _grow,
)  # fmt: skip
cut = Command(
    "cut", "inn cut RUN --neurons 1,4 | --rounds 1,2 --out FILE [--licence TEXT] [--json]",
    "Neurons or rounds of a run as a file, to be grafted into another; the run stays as it is.", _of_cut, _cut,
    writes="out",
)  # fmt: skip
graft = Command(
    "graft", "inn graft RUN ORGAN --run NEW [--at N] [--insert] [--symbols N] [--json]",
    "A run with an organ in it, in the place of its own rounds or neurons or beside them.", _of_graft, _graft,
    organ=True,
)  # fmt: skip
merge = Command(
    "merge", "inn merge RUN RUN [RUN ...] --run NEW [--across] [--symbols N] [--json]",
    "One run of several: their neurons side by side; it tells the mean of what each tells.", _of_merge, _merge,
    others=True,
)  # fmt: skip
split = Command(
    "split", "inn split RUN [--experts E] [--use K] --run NEW [--seed 0] [--symbols N] [--json]",
    "A run whose neurons are in groups, by what they read; the rest of them rest at each step.", _of_split, _split,
)  # fmt: skip
unsplit = Command(
    "unsplit", "inn unsplit RUN --run NEW [--symbols N] [--json]",
    "A run that was split, with all its neurons at each step again.", lambda parser: None, _unsplit,
)  # fmt: skip
