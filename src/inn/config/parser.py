"""Typed, dotted options made from dataclasses: field docstrings are the help, every mistake is one sentence."""

from __future__ import annotations

import difflib
import os
import re
import threading
from argparse import SUPPRESS, Action, ArgumentError, HelpFormatter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from functools import cache
from typing import Any, Literal, get_args, get_origin, get_type_hints

from docstring_parser import parse_from_object
from jsonargparse import ArgumentParser, Namespace, set_parsing_settings

from inn.config.checks import expects, fits
from inn.config.parts import Options, option_names, options_of, parts_of
from inn.registry import Kinds
from inn.system.errors import InputError, nearest
from inn.system.parse import check_yaml

set_parsing_settings(docstring_parse_attribute_docstrings=True)
PARSING = threading.RLock()
"""Held while a parser is made or used: jsonargparse puts a class of argparse's aside meanwhile, for all threads."""


class _Help(HelpFormatter):
    """Help in plain words: the choices or the type of a value in its place, the default behind the text."""

    def _format_action_invocation(self, action: Action) -> str:
        options = [name for name in action.option_strings if not name.endswith("+")]  # `--list+ x` appends to a list
        if not options or action.nargs == 0:
            return super()._format_action_invocation(action) if not options else ", ".join(options)
        return f"{', '.join(options)} {self._format_args(action, self._value(action))}"

    def _value(self, action: Action) -> str:
        hint = getattr(action, "_typehint", None) or action.type
        if get_origin(hint) is Literal:
            return "{" + ",".join(map(str, get_args(hint))) + "}"
        inner = [part for part in get_args(hint) if part is not type(None)] or [hint]
        return {int: "N", float: "X", bool: "true|false"}.get(inner[0]) or action.dest.split(".")[-1].upper()

    def _expand_help(self, action: Action) -> str:
        text, default = action.help or "", action.default
        if not action.option_strings or default in (None, SUPPRESS, "", []) or action.nargs == 0:
            return text
        return f"{text} [{str(default).lower() if isinstance(default, bool) else default}]"


class OptionParser(ArgumentParser):
    """An argument parser that raises `InputError` (it never exits, but after `--help`).

    >>> parser = OptionParser("inn example", "inn example [--count N]", "An example.")
    >>> parser.option("--count", type=int, default=1, help="How many.")
    >>> parser.parse(["--count", "3"]).count
    3
    >>> parser.parse(["--cuont", "3"])
    Traceback (most recent call last):
    inn.system.errors.InputError: unknown option '--cuont'; did you mean '--count'?
    """

    def __init__(self, prog: str, usage: str, description: str):
        super().__init__(
            prog=prog,
            usage=usage,
            description=description,
            exit_on_error=False,
            allow_abbrev=False,
            formatter_class=_Help,
        )
        self._types: dict[str, Any] = {}  # option string -> its type, to say what it expects
        self._called: dict[str, str] = {}  # name in the namespace -> option string, where they differ
        self._shown: dict[str, str] = {}  # positional argument -> its name in the usage

    def option(self, name: str, *, type: Any = str, default: Any = None, help: str, dest: str | None = None) -> None:
        """Add an option with a value; `dest`: what it is called in the namespace, where that has a method `name`."""
        more: dict[str, Any] = {} if dest is None else {"dest": dest}
        _completed(self.add_argument(name, type=type, default=default, help=help, **more), None)
        self._types[name] = type
        if dest is not None:
            self._called[dest] = name

    def flag(self, name: str, help: str) -> None:
        """Add an option without a value, false when absent."""
        self.add_argument(name, action="store_true", help=help)
        self._types[name] = None

    def positional(
        self,
        name: str,
        help: str,
        *,
        required: bool = True,
        metavar: str | None = None,
        many: bool = False,
        names: Iterable[str] | None = None,
    ) -> None:
        """Add a positional argument; it is None where it is not required and not given.

        `many`: a list, maybe empty. `names`: what a shell completes it by.
        """
        self._shown[name] = metavar or name.upper()
        kind: dict[str, Any] = {"nargs": "*", "default": []} if many else {"nargs": None if required else "?"}
        _completed(self.add_argument(name, metavar=self._shown[name], help=help, **kind), names)

    def section(
        self,
        name: str,
        config: type,
        defaults: Mapping[str, Any],
        extra: Mapping[str, str] = {},
        chosen: Mapping[str, str] = {},
        names: Mapping[str, Iterable[str]] = {},
    ) -> None:
        """Add every field of the dataclass `config` as `--name.field`, with its docstring as help.

        `extra` maps names to the help of text options that stand before the fields, in place of a field of that name;
        `names` to what a shell completes those by.
        Of a field that holds a part, `--name.part` is its kind, `chosen` or the default one, and `--name.part.option`
        an option of that kind.
        """
        group = self.add_argument_group(name, (config.__doc__ or "").strip())
        for key, text in extra.items():
            self._text(group, f"--{name}.{key}", defaults.get(key), text, names.get(key))
        parts = parts_of(config)
        hints = {key: hint for key, hint in get_type_hints(config).items() if key not in extra and key not in parts}
        skip: set[str | int] = {f.name for f in fields(config) if f.name in extra or f.name in parts}
        group.add_class_arguments(config, name, as_group=False, skip=skip)
        for action in group._group_actions[len(extra) :]:
            _completed(action, None)
        self.set_defaults({f"{name}.{key}": value for key, value in defaults.items() if key not in parts})
        self._types.update({f"--{name}.{key}": hint for key, hint in hints.items()})
        for part, kinds in parts.items():
            self._part(f"{name}.{part}", kinds, chosen[part], field_help(config, part), defaults.get(part) or {})

    def kind(self, name: str, kinds: Kinds, default: str, help: str, argv: Sequence[str]) -> None:
        """Add `--name KIND`, and every option of the kind that `argv` names as `--KIND.option`.

        Raises `InputError` for a kind that is not there.
        """
        kind = _given(f"--{name}", argv) or default
        kinds.check(kind)
        self.option(f"--{name}", default=default, help=f"{help} One of {', '.join(kinds)}.")
        options, own = options_of(kinds, kind), option_names(kinds, kind)
        if own:
            group = self.add_argument_group(kind, (options.__doc__ or "").strip())
            group.add_class_arguments(options, kind, as_group=False, skip={"kind"})
        self._types.update({f"--{kind}.{key}": hint for key, hint in get_type_hints(options).items() if key in own})

    def _text(self, group: Any, option: str, default: Any, text: str, names: Iterable[str] | None) -> None:
        _completed(group.add_argument(option, type=str, default=default, help=text), names)
        self._types[option] = str

    def _part(self, name: str, kinds: Kinds, kind: str, text: str, defaults: Mapping[str, Any]) -> None:
        """Add the kind of a part as `--name.kind`, which may be written `--name`, and the options of this kind."""
        options = options_of(kinds, kind)
        group = self.add_argument_group(name, (options.__doc__ or "").strip() if options is not Options else None)
        self._text(
            group, f"--{name}.kind", kind, f"{text} One of {', '.join(kinds)}. `--{name}` is short for it.", kinds
        )
        self._types[f"--{name}"] = str
        group.add_class_arguments(options, name, as_group=False, skip={"kind"})
        for action in group._group_actions[1:]:
            _completed(action, None)
        hints = {key: hint for key, hint in get_type_hints(options).items() if key in option_names(kinds, kind)}
        self._types.update({f"--{name}.{key}": hint for key, hint in hints.items()})
        self.set_defaults({f"{name}.{key}": value for key, value in defaults.items() if key in hints})

    def shorten(self, keep: Sequence[str]) -> None:
        """Leave out of the help every option of a section that is not one of `keep`, as in `model.width`."""
        for group in self._action_groups:
            inner = [action for action in group._group_actions if "." in action.dest]
            for action in inner:
                action.help = action.help if action.dest in keep else SUPPRESS
            if inner and all(action.help is SUPPRESS for action in inner):
                group.description = None

    def require(self, name: str) -> None:
        """Raise `InputError`, naming the nearest, where there is no option of this name."""
        if name not in self._types:
            raise unknown_option(name, self._types)

    def knows(self, argv: Sequence[str]) -> bool:
        """Whether there is every option that `argv` gives."""
        return all(token.split("=", 1)[0] in self._types for token in argv if token.startswith("--"))

    def type_of(self, name: str) -> Any:
        """The type of an option's value."""
        return self._types[name]

    def parse(self, argv: Sequence[str]) -> Namespace:
        """Parse `argv`; raises `InputError` with one sentence for anything unknown, missing or of the wrong type."""
        argv = ["--help" if token == "--help-all" else token for token in argv]
        for token in argv:
            name = token.split("=", 1)[0]
            if name.startswith("--") and name != "--help" and "_ARGCOMPLETE" not in os.environ:
                self.require(name)
                _check_value(name, _given(name, argv))
        try:
            with PARSING:
                args = self.parse_args(list(argv))
        except ArgumentError as error:
            raise InputError(self._sentence(str(error), argv)) from None
        except Exception as error:  # what reads the values is as general as YAML
            raise InputError(f"a value of {self.prog} cannot be read ({type(error).__name__}: {error})") from None
        for name, value in vars(args).items():  # of sections the settings check the values
            option = self._called.get(name, f"--{name.replace('_', '-')}")
            if option == "--seed" and value is not None and not 0 <= value < 2**63:
                raise InputError(f"--seed must be between 0 and 2^63 - 1, not {value}")
            if option in self._types and value is not None and not fits(value, self._types[option]):
                raise InputError(f"{option} expects {expects(self._types[option])}, not {value}")
            for text in value if isinstance(value, list) else [value]:
                if isinstance(text, str) and ("\0" in text or (not text and self.get_default(name) != "")):
                    shown = self._shown.get(name, f"--{name.replace('_', '-')}")
                    raise InputError(f"{shown} is {'no text that can be used' if text else 'empty'}: {self.usage}")
        return args

    def _sentence(self, message: str, argv: Sequence[str]) -> str:
        if found := re.search(r'Parser key "([^"]+)"', message):
            known = {**{option[2:].replace("-", "_"): option for option in self._types}, **self._called}
            name = known[found[1]]
            hint = self._types.get(name)
            value = _given(name, argv)
            if get_origin(hint) is Literal:
                return f"{name} cannot be '{value}'{nearest(value, map(str, get_args(hint)))}"
            return f"{name} expects {expects(hint)}, not '{value}'"
        if found := re.search(r"argument (--\S+): expected one argument", message):
            return f"{found[1]} needs a value: {expects(self._types.get(found[1]))}"
        if found := re.search(r"argument (--\S+): ignored explicit argument '(.*)'", message):
            return f"{found[1]} takes no value, but was given '{found[2]}'"
        if found := re.search(r"arguments are required: (.*)", message):
            missing = [self._shown.get(name, name) for name in found[1].split(", ")]
            return f"{' and '.join(missing)} is missing: {self.usage}"
        if found := re.search(r"(?i)unrecognized arguments: (.*)", message):
            return f"unexpected argument '{found[1]}': {self.usage}"
        return " ".join(message.split())


def _completed(action: Any, names: Iterable[str] | None) -> None:
    """Let a shell complete an argument by these names (see argcomplete), or by those of its type, or by files."""
    hint = getattr(action, "_typehint", None)
    if names is None and hint not in (None, str):
        names = map(str, get_args(hint)) if get_origin(hint) is Literal else ("true", "false") * (hint is bool)
    if names is not None:
        known = list(names)
        action.completer = lambda **_: known  # type: ignore[attr-defined]


@cache
def field_help(config: type, name: str) -> str:
    """The docstring under a field of a dataclass."""
    for base in config.__mro__:
        if name in vars(base).get("__annotations__", {}):
            for param in parse_from_object(base).params:
                if param.arg_name == name and param.description:
                    return " ".join(param.description.split())
    return ""


def unknown_option(name: str, known: Iterable[str]) -> InputError:
    """The error for an option that does not exist; finds `--model.width` for `--width` too."""
    known = sorted(known)
    section, _, field = name.removeprefix("--").partition(".")
    if in_section := [option.split(".", 1)[1] for option in known if option.startswith(f"--{section}.")]:
        return InputError(f"unknown field '{section}.{field}'{nearest(field, in_section)}")
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.75)
    if not close:
        leaves = {option.removeprefix("--").split(".")[-1]: option for option in known}
        leaf = difflib.get_close_matches(name.removeprefix("--").split(".")[-1], leaves, n=1, cutoff=0.6)
        close = [leaves[leaf[0]]] if leaf else []
    return InputError(
        f"unknown option '{name}'" + (f"; did you mean '{close[0]}'?" if close else "; --help lists them")
    )


def _check_value(name: str, value: str) -> None:
    """Raise `InputError` for a value that a reader of YAML, written in C, dies of, and for names that multiply."""
    try:
        check_yaml(value)
        if "&" in value and "*" in value and "[" in value:
            raise RecursionError
    except RecursionError:
        raise InputError(f"{name} is nested too deeply; give a value, or a list of values") from None
    except ValueError as error:
        raise InputError(f"{name} cannot be read ({error})") from None


def _given(name: str, argv: Sequence[str]) -> str:
    """The value that `argv` gives to the option `name`, the last one where it is given twice."""
    value = ""
    for i, token in enumerate(argv):
        if token == name and i + 1 < len(argv):
            value = argv[i + 1]
        elif token.startswith(f"{name}="):
            value = token.split("=", 1)[1]
    return value
