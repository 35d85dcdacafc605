"""`inn train`: from settings to a run directory, with one live line of progress."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from inn.commands.common import JSON_HELP, SETTINGS_USAGE, console, print_json, with_settings
from inn.errors import InputError
from inn.options import OptionParser
from inn.settings import Settings, resolve, split_overrides

USAGE = f"inn train RECIPE [--run DIR] {SETTINGS_USAGE}, or inn train --resume RUN"


def main(argv: list[str]) -> int:
    """Run `inn train`; returns 0, or 130 where a signal stopped the run (it can be resumed)."""
    args, settings = parse(argv)
    if settings is None:
        summary = resume(args.run, quiet=args.json)
    else:
        summary = start(settings, args.run, quiet=args.json)
    if args.json:
        print_json({"run": args.run, **summary})
    else:
        tell_what_next(args.run, summary)
    return 130 if summary["status"] == "stopped" else 0


def parse(argv: list[str]) -> tuple[Namespace, Settings | None]:
    """The command's arguments, `run` always set, and the settings of a new run; None to resume one."""
    own, overrides = split_overrides(argv)
    parser = OptionParser("inn train", USAGE, "Train a model: a recipe by name, or a YAML file of your own.")
    parser.positional("recipe", "A recipe by name, or the path of a YAML file.", required=False)
    parser.option("--run", help="Where the run is written; runs/RECIPE when not given.")
    parser.option("--resume", help="A run directory to go on with, under its own settings.")
    parser.flag("--json", JSON_HELP + " Progress goes to stderr.")
    args = with_settings(parser, own, overrides).parse(own)
    if args.resume is not None:
        if args.recipe or args.run or overrides:
            raise InputError("--resume goes on under the run's own settings; leave out everything else but --json")
        args.run = args.resume
        return args, None
    if args.recipe is None:
        raise InputError(f"RECIPE is missing: {USAGE}")
    args.run = args.run or f"runs/{Path(args.recipe).stem}"
    return args, resolve(args.recipe, overrides)


def start(settings: Settings, run: str, *, quiet: bool = False) -> dict[str, Any]:
    """Train a new run and return its summary; `quiet` keeps stdout free and shows progress on stderr."""
    from inn.commands.display import Display, fetching
    from inn.data.prepare import prepare
    from inn.device import resolve_device
    from inn.training import train
    from inn.training.run import Run

    Run.check_free(run)  # before anything is downloaded
    resolve_device(settings.config.train.device)
    out = console(to_stderr=quiet)
    with fetching() as report:
        config = settings.with_vocab(prepare(settings.config.data, report=report).vocabulary.size)
    with Display(out) as display:
        return train(config, run, report=display)


def resume(run: str, *, quiet: bool = False) -> dict[str, Any]:
    """Go on with a run that was stopped, and return its summary."""
    from inn.commands.display import Display
    from inn.training import train

    with Display(console(to_stderr=quiet)) as display:
        return train(None, run, resume=True, report=display)


def tell_what_next(run: str, summary: dict[str, Any]) -> None:
    """Where the run is, and what to do with it."""
    if summary["status"] == "stopped":
        print(f"stopped at step {summary['step']:,} of {summary['steps']:,}; go on with: inn train --resume {run}")
        return
    print(f"\nthe run is in {run}; now try\n  inn eval {run}\n  inn generate {run} --temperature 0.8")
