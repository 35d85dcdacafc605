"""`inn train`: from settings to a run directory, with one live line of progress."""

from __future__ import annotations

import os
from collections.abc import Sequence

from jsonargparse import Namespace

from inn.cli.common import JSON_HELP, SETTINGS_USAGE, console, print_json, with_settings
from inn.config.parser import OptionParser
from inn.config.run import task_of
from inn.config.settings import Settings, read_recipe, recipes, resolve, resolve_tree, short_name, split_overrides
from inn.system.errors import InputError

USAGE = f"inn train RECIPE [--run DIR] [--from RUN] {SETTINGS_USAGE}, or inn train --resume RUN"


def main(argv: list[str]) -> int:
    """Run `inn train`; returns 0, or 130 where a signal stopped the run (it can be resumed).

    Under `torchrun` it is one of several processes, the first of which prints. One that was started again, because a
    process had died, goes on with the run that its first life began.
    """
    args, settings = parse(argv)
    from inn.runs.directory import Run

    if "RANK" not in os.environ:  # torchrun may have started this again, in the run that it left
        check_start(args, settings)
    # Here, so that mistakes and --help do not wait for torch.
    from inn.cli.display import tell_what_next, train_run
    from inn.training.finite import TrainingDiverged
    from inn.training.parallel.group import MainProcessError, is_main_process, launcher_id, was_restarted

    if args["from"] is not None:
        settings = resolve_from(args["from"], args.recipe, args.overrides)
    again = was_restarted() and Run.was_created_by(launcher_id(), args.run)  # one of the processes had died
    try:
        summary = train_run(None if again else settings, args.run, json=args.json, samples=args.samples)
    except (MainProcessError, TrainingDiverged):
        if not is_main_process():
            return 2
        raise
    if not is_main_process():
        pass
    elif args.json:
        print_json({"run": args.run, **summary})
    else:
        tell_what_next(args.run, summary)
    # torchrun takes anything but 0 for a process that died, and would start the run again.
    return 130 if launcher_id() is None and summary.get("status") == "stopped" else 0


def check_start(args: Namespace, settings: Settings | None) -> None:
    """Refuse what can be refused at once, and say what begins; PyTorch takes its time to start."""
    from inn.data.corpora import check_corpus
    from inn.runs.directory import Run

    if args["from"] is not None or settings is None:
        Run(args["from"] or args.run)
    if settings is not None:
        Run.check_free(args.run)
        check_corpus(settings.config.data.corpus)
        out = console(to_stderr=True, progress=True)
        if out.is_terminal:
            about = f"{args.run}: {settings.config.model.kind} on '{settings.config.data.corpus}', starting"
            out.print(about, style="dim", soft_wrap=True)


def parse(argv: list[str]) -> tuple[Namespace, Settings | None]:
    """The command's arguments, `run` always set, and the settings of a new run; None where another run has them."""
    own, overrides = split_overrides(argv)
    parser = OptionParser("inn train", USAGE, "Train a model: a recipe by name, or a YAML file of your own.")
    parser.positional(
        "recipe",
        "A recipe by name, the path of a YAML file, task:NAME, csv:PATH or npz:PATH.",
        required=False,
        names=recipes(),
    )
    parser.option("--run", help="The folder of the run; default: runs/RECIPE.")
    parser.option("--from", help="A run to take model, weights and vocabulary from; without RECIPE also its settings.")
    parser.option("--resume", help="A run directory to continue, with its own settings.")
    parser.flag("--samples", "Also print the samples generated during training; samples.txt always has them.")
    parser.flag("--json", JSON_HELP + " Progress goes to stderr.")
    args = with_settings(parser, own, overrides).parse(own)
    if args.resume is not None:
        if args.recipe or args.run or overrides or args["from"]:
            raise InputError("--resume goes on under the run's own settings; leave out everything else but --json")
        args.run = args.resume
        return args, None
    if args["from"] is not None:
        if args.run is None:
            raise InputError(f"--from {args['from']} needs --run DIR: where the new run is written")
        args.overrides = overrides
        return args, None
    if args.recipe is None:
        raise InputError(f"RECIPE is missing: `inn recipes` lists them; {USAGE}")
    args.run = args.run or f"runs/{short_name(args.recipe)}"
    return args, resolve(args.recipe, overrides)


def resolve_from(source: str, recipe: str | None, overrides: Sequence[str]) -> Settings:
    """The settings of a run that starts with another's weights: its model, and its symbols on whatever text.

    Data and training are the recipe's where one is named, else those of the run `source`.
    """
    from inn.runs.directory import Run

    run = Run(source)
    own = run.config().to_dict()
    tree = own if recipe is None else read_recipe(recipe)
    data = {**(tree.get("data") or {})}
    if not any(given.startswith(("--data.vocabulary", "--data.tokenizer")) for given in overrides):
        data |= {name: own["data"][name] for name in ("vocabulary", "units", "tokenizer")}
        corpus = resolve_tree({"data": data}, [o for o in overrides if o.startswith("--data.")]).config.data.corpus
        reads = data["vocabulary"] != "bytes" and task_of(corpus) == "none"
        if reads and (data["tokenizer"] or corpus != own["data"]["corpus"]):
            data["tokenizer"] = str(run.path)  # another text would have other symbols, and a folder may be gone
    train = {**(tree.get("train") or {}), "start": source}
    return resolve_tree({"model": own["model"], "data": data, "train": train}, overrides, f"run '{source}'")
