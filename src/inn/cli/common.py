"""What several commands share: printing one JSON object, and options that cover a run's settings."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inn.config.assemble import model_draft
from inn.config.parser import OptionParser
from inn.config.sections import MAIN, add_settings
from inn.config.settings import ALIASES, choose_kinds, model_kind, recipes, resolve_settings
from inn.system.errors import InputError, nearest

if TYPE_CHECKING:
    from rich.console import Console

    from inn.inference.learning import Learning

JSON_HELP = "Print one JSON object on stdout, and nothing else."
SETTINGS_USAGE = "[--section.field value ...]"
QUIET: ContextVar[bool] = ContextVar("quiet", default=False)
"""Whether progress is kept to oneself: `--quiet`, which every command takes."""
SURE = 0.95
"""Share of the bootstrap's drawings from which a law of decay is called better than the other without reserve."""


def console(*, to_stderr: bool = False, progress: bool = False) -> Console:
    """Where text for people goes, as it is: a bracket or `:name:` in a path or a sample is no markup.

    `progress`: what tells how work goes on, and is not printed under `--quiet`.
    """
    from rich.console import Console

    return Console(stderr=to_stderr, highlight=False, markup=False, emoji=False, quiet=progress and QUIET.get())


def print_json(value: dict[str, Any]) -> None:
    """Print one JSON object; numbers that JSON has no word for (infinity, NaN) become null."""
    print(json.dumps(_plain(value), ensure_ascii=False, indent=2))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value


def with_settings(parser: OptionParser, own: Sequence[str], overrides: Sequence[str]) -> OptionParser:
    """Let `parser` document every setting, for the recipe and the kind of model that the command line names.

    Where nobody is shown them, by help, by the Tab key or by the error for an unknown option, they are left out: that
    is half of the time that a command takes to see what was asked.
    """
    recipe = next((t for t in own if t in recipes() or t.endswith((".yaml", ".yml"))), None)
    asked = any(token in ("-h", "--help", "--help-all") for token in own)
    defaults = None
    if asked:
        with suppress(InputError):  # which names what is missing; the help says how to give it
            defaults = resolve_settings(recipe, overrides)
    kind = defaults.model.kind if defaults else model_kind(overrides)
    if not asked and "_ARGCOMPLETE" not in os.environ and parser.knows(own):
        return parser
    chosen = {}
    if asked and defaults is None:
        draft = model_draft(kind, {})
        choose_kinds({"model": draft}, [token for token in overrides if token.startswith("--model.")])
        chosen["model"] = draft.kinds()
    add_settings(parser, kind, defaults, chosen)
    short = ", ".join(f"{alias} for {name}" for alias, name in ALIASES.items())
    parser.epilog = f"Short names: {short}. `--model.kind KIND --help` documents another kind of model."
    if "--help-all" not in own:
        parser.shorten(MAIN)
        parser.epilog = f"These are the main settings; --help-all shows every one. {parser.epilog}"
    return parser


def needs_run(path: str) -> None:
    """Raise `InputError` where a path is nothing that `inn.load` opens; PyTorch is not waited for."""
    from inn.runs.directory import Run
    from inn.runs.trained import located

    kinds = ("config.yaml", "config.json", "checkpoint.json")
    if not path.startswith("hf://") and not any((Path(located(path)) / name).is_file() for name in kinds):
        Run(path)  # which says what is missing


def needs_model(path: str) -> None:
    """`needs_run`, but a recipe will do: its name, or a YAML file."""
    if path not in recipes() and not path.endswith((".yaml", ".yml")):
        needs_run(path)


def is_run(path: str) -> bool:
    """Whether `path` is a run directory or a trained model by name, rather than the name of a recipe."""
    from inn.runs.trained import located

    return (Path(path if path in recipes() else located(path)) / "config.yaml").is_file()


def one_of(name: str, value: str, *known: str) -> str:
    """Return `value`, or raise an `InputError` where it is none of the known ones."""
    if value not in known:
        raise InputError(f"{name} cannot be '{value}'{nearest(value, known)}")
    return value


def law(found: dict[str, Any]) -> str:
    """The law that a push fades by, where one could be fitted."""
    if found["better"] is None:
        return "–"
    of = found["power"]["exponent"] if found["better"] == "power" else found["exponential"]["rate"]
    law = f"lag^-{of['mean']:.2f}" if found["better"] == "power" else f"exp(-{of['mean']:.3f} lag)"
    unsure = ", unsure" if found["share"] < SURE else ""
    return f"{law} [{of['low']:.3g}, {of['high']:.3g}]{unsure}"


def learn_options(parser: OptionParser, help: str) -> None:
    """The options of a model that learns while it reads."""
    parser.flag("--learn", help)
    parser.option("--learn-rate", type=float | None, help="Of --learn: the learning rate.")
    parser.option("--learn-window", type=int | None, help="Of --learn: symbols of a stream that a step is taken on.")
    parser.option("--learn-average", type=float | None, help="Of --learn: what an average of the weights keeps a step.")


def learning(args: Any) -> Learning | None:
    """How a model is to learn while it reads; None where it is not to.

    Raises `InputError` for an option of `--learn` without it, and for values that cannot be.
    """
    given = {"rate": args.learn_rate, "window": args.learn_window, "average": args.learn_average}
    given = {name: value for name, value in given.items() if value is not None}
    if not args.learn:
        if given:
            raise InputError(f"--learn-{next(iter(given))} is of --learn; add it, or leave this out")
        return None
    from inn.inference.learning import Learning

    return Learning(**given)


def task_options(text: str) -> dict[str, Any]:
    """Options as they are written on the command line.

    >>> task_options("length=256,form=table,operators=[and,or]")
    {'length': 256, 'form': 'table', 'operators': ['and', 'or']}
    """
    found = {}
    for piece in re.split(r",(?![^\[]*\])", text):  # commas in a list are the list's
        name, equals, value = piece.partition("=")
        if not equals or not name.strip():
            raise InputError(f"--task expects OPTION=VALUE, like length=256, not '{piece}'")
        found[name.strip()] = _value(value.strip())
    return found


def _value(text: str) -> Any:
    if text.startswith("[") and text.endswith("]"):
        return [_value(one.strip()) for one in text[1:-1].split(",") if one.strip()]
    words = {"true": True, "false": False, "null": None}
    if text in words:
        return words[text]
    for number in (int, float):
        with suppress(ValueError):
            return number(text)
    return text
