"""From a recipe and what the user overrides to the settings of a run."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from importlib.resources import files
from pathlib import Path
from typing import Any

from inn.config.assemble import Draft, add, drafted, implied_parts, model_draft, preset_of
from inn.config.checks import idle, kind_of
from inn.config.migrate import migrate
from inn.config.parser import PARSING
from inn.config.parts import check_option, kinds_of, longhand, parts_of
from inn.config.run import DataConfig, RunConfig, TrainConfig, task_of
from inn.config.sections import MODEL_EXTRA, SECTIONS, parsed
from inn.config.sizes import with_sizes
from inn.registry import MODELS, TASKS
from inn.system.errors import InputError, nearest
from inn.system.parse import read_yaml

ALIASES = {"--device": "--train.device", "--dtype": "--train.dtype", "--seed": "--train.seed"}
"""Short names of the options that every command with a model has."""

_RECIPE_KEYS = {"description", "cost", "vocab", "models", *SECTIONS}


@dataclass
class Settings:
    """What a recipe and its overrides come to."""

    config: RunConfig
    """The settings of the run."""
    description: str
    """What the recipe is for, in a sentence."""
    vocab: int | None
    """The vocabulary's size where the recipe or the user declares it; None where only the data can tell."""
    parameters: int | None = None
    """Parameters that the model is to have, by a width that `inn.models.size.sized` finds; None: the width is given."""

    def with_sizes(self, sizes: Mapping[str, Any]) -> RunConfig:
        """The settings for data of these sizes (`Dataset.sizes`); raises `InputError` where another was declared."""
        if self.vocab not in (None, size := sizes.get("vocab", self.vocab)):
            data, start = self.config.data, self.config.train.start
            kind = f" ({data.vocabulary})" if data.text else ""
            remedy = "leave model.vocab out and it is taken from the data"
            if start is not None and not data.text:
                remedy = f"start from a run on this task, not from '{start}'"
            raise InputError(
                f"model.vocab is {self.vocab}, but corpus '{data.corpus}' has {size} distinct symbols{kind}; {remedy}"
            )
        tree = self.config.to_dict()
        return RunConfig.from_dict({**tree, "model": with_sizes(tree["model"], sizes)})


def resolve_settings(recipe: str | None = None, overrides: Sequence[str] = ()) -> RunConfig:
    """Return the settings of a recipe (a name, or the path of a YAML file), with `--section.field value` overrides.

    Raises `InputError` for an unknown recipe, field or value, naming the nearest one.

    >>> resolve_settings("text8-small", ["--model.kind", "lstm", "--train.lr", "1e-3"]).train.lr
    0.001
    """
    return resolve(recipe, overrides).config


def resolve(recipe: str | None = None, overrides: Sequence[str] = ()) -> Settings:
    """Like `resolve_settings`, with the recipe's description and whether the vocabulary's size is known."""
    return resolve_tree(read_recipe(recipe) if recipe is not None else {}, overrides, f"recipe '{recipe}'")


def resolve_tree(tree: Mapping[str, Any], overrides: Sequence[str] = (), name: str = "the settings") -> Settings:
    """Like `resolve`, of a recipe as plain data; `name` is how mistakes in it call it."""
    rest, given = split_overrides(overrides)
    if rest:
        raise InputError(f"unexpected argument '{rest[0]}' among the settings; write them as --section.field value")
    kind, preset, base = _model_base(tree, given)
    given = _with_tokenizer(given)
    with PARSING:
        try:
            drafts = _drafts(tree, kind, preset, base)
            tokens = _with_tokenizer(
                [token for section, draft in drafts.items() for token in _tokens(draft.tree, section)]
            )
            defaults = parsed(kind, drafts, tokens)
        except InputError as error:
            raise InputError(f"in {name}: {error}") from None
        given = choose_kinds(drafts, given)
        for draft in drafts.values():
            draft.drop_idle()
        tokens = _all_tokens(drafts)
        found = parsed(kind, drafts, [*tokens, *given])
    sections = {section: dict(found[section]) for section in SECTIONS}
    parameters = found["model"].get("parameters")
    sections["model"] = {key: value for key, value in sections["model"].items() if key not in MODEL_EXTRA}
    data = sections["data"]

    vocab = sections["model"]["vocab"] if _value("--model.vocab", given) else None
    same_symbols = all(data[key] == defaults["data"][key] for key in ("corpus", "vocabulary", "tokenizer", "units"))
    if (
        vocab is None and same_symbols and "vocab" in sections["model"]
    ):  # what the recipe says of its own data holds for no other
        vocab = base.get("vocab", tree.get("vocab"))
        sections["model"]["vocab"] = sections["model"]["vocab"] if vocab is None else _whole(vocab, name)
    for section, draft in drafts.items():
        named = {token.split("=", 1)[0].removeprefix(f"--{section}.").partition(".")[0] for token in given}
        for field in set(idle(draft.config_type, sections[section])) - named:
            del sections[section][field]  # as the recipe has it, it means nothing beside what was given
    model = drafts["model"].config_type(**sections["model"], kind=kind)
    config = RunConfig(model, DataConfig(**data), TrainConfig(**sections["train"]))
    if parameters is not None:
        if _value("--model.width", given):
            raise InputError("model.parameters finds the width; leave out either of model.parameters and model.width")
        parameters = count_of(parameters)
    return Settings(config, str(tree.get("description", "")).strip(), vocab, parameters)


def _drafts(tree: Mapping[str, Any], kind: str, preset: str | None, base: Mapping[str, Any]) -> dict[str, Draft]:
    """The sections of a recipe; the model's begins with a preset, if one is named."""
    model = model_draft(kind, preset_of(kind, preset) if preset else {})
    add(model, base, lenient=True, of=f" of model kind '{kind}'")
    return {
        "model": model,
        "data": drafted(DataConfig, _with_vocabulary(tree.get("data") or {}), lenient=True, section="data."),
        "train": drafted(TrainConfig, tree.get("train") or {}, lenient=True, section="train."),
    }


def _with_vocabulary(data: Mapping[str, Any]) -> Mapping[str, Any]:
    """What names a tokenizer and no vocabulary means its tokens."""
    if data.get("tokenizer") and "vocabulary" not in data:
        return {**data, "vocabulary": "tokenizer"}
    return data


def _all_tokens(drafts: Mapping[str, Draft]) -> list[str]:
    return _with_tokenizer([token for section, draft in drafts.items() for token in _tokens(draft.tree, section)])


def choose_kinds(drafts: Mapping[str, Draft], given: Sequence[str]) -> list[str]:
    """Choose the kinds that overrides name, and address every option of a part by its place: `--model.memory.state=8`.

    >>> drafts = {"model": model_draft("inn", {})}
    >>> choose_kinds(drafts, ["--model.state=8", "--model.router=bus", "--model.width=16"])
    ['--model.memory.state=8', '--model.router.kind=bus', '--model.width=16']
    """
    split, found = [], []
    for token in given:
        option, _, value = token.partition("=")
        section, _, path = option.removeprefix("--").partition(".")
        config_type = drafts[section].config_type if section in drafts else object
        field, _, inner = path.partition(".")
        kinds = kinds_of(config_type).get(field) if inner in ("", "kind") else None
        chosen = value if kinds is None else longhand(config_type, field, value)
        if kinds is not None and "=" in token and kind_of(chosen) not in kinds:
            raise InputError(f"--{section}.{field} cannot be '{value}'{nearest(value, kinds)}")
        if kinds is not None and field in parts_of(config_type):
            drafts[section].choose(field, chosen)  # its options, where `value` is short for some, are the draft's now
            path, value = f"{field}.kind", kind_of(chosen)
        for part, kind in implied_parts(config_type, {path: value}).items():
            drafts[section].choose(part, kind)
            found.append(f"--{section}.{part}.kind={kind}")
        split.append((section, path, "=" in token, value))
    for section, path, has_value, value in split:
        draft = drafts.get(section)
        if draft is not None:
            path = _place(draft, section, path)
        found.append(f"--{section}.{path}={value}" if has_value else f"--{section}.{path}")
    return found


def _place(draft: Draft, section: str, path: str) -> str:
    """Where an option is: as it was given, or under the part that has it; raises for one that no chosen kind has."""
    parts = parts_of(draft.config_type)
    field, _, inner = path.partition(".")
    if field in parts and inner and inner != "kind":
        check_option(f"{section}.{field}", parts[field], draft.kinds()[field], inner)
        return path
    if inner or field in {f.name for f in fields(draft.config_type)} or field in MODEL_EXTRA:
        return path
    if (owner := draft.owner(field)) is not None:
        return f"{owner}.{field}"
    if (place := draft.former(field)) is not None:
        return _place(draft, section, ".".join(place))
    if (where := draft.elsewhere(field)) is not None:
        raise InputError(f"field '{section}.{field}' {where.replace('; set ', f'; set {section}.')}, or leave it out")
    return path  # which the parser knows nothing of, and says so


def count_of(text: str | int) -> int:
    """A number of parameters as a person writes it.

    >>> count_of("470k"), count_of("1.5M"), count_of(12000)
    (470000, 1500000, 12000)
    """
    units = {"k": 1e3, "m": 1e6, "b": 1e9, "g": 1e9}
    found = re.fullmatch(r"([0-9]{1,18}(?:[.][0-9]{1,18})?)([kmbg]?)", str(text).strip().lower().replace("_", ""))
    if not found or not (count := round(float(found[1]) * units.get(found[2], 1))):
        raise InputError(f"model.parameters expects a number like 470k or 2.5M, not '{text}'")
    return count


def split_overrides(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Part a command line into the command's own arguments and the settings, as `--section.field=value`.

    >>> split_overrides(["text8", "--seed", "3", "--run", "here", "--model.width=32"])
    (['text8', '--run', 'here'], ['--train.seed=3', '--model.width=32'])
    """
    own, settings = [], []
    tokens = iter(range(len(argv)))
    for i in tokens:
        name, equals, value = argv[i].partition("=")
        name = ALIASES.get(name, name)
        if not name.startswith(tuple(f"--{section}." for section in SECTIONS)):
            own.append(argv[i])
        elif equals:
            settings.append(f"{name}={value}")
        elif i + 1 < len(argv) and not argv[i + 1].startswith("--"):
            settings.append(f"{name}={argv[next(tokens)]}")
        else:
            settings.append(name)  # its value is missing, as the parser will say
    return own, settings


def short_name(recipe: str) -> str:
    """What runs of a recipe are called: its name, or the last part of a path without its ending.

    >>> short_name("task:parity"), short_name("csv:my/data.csv"), short_name("own/mine.yaml")
    ('parity', 'data', 'mine')
    """
    return Path(recipe.partition(":")[2] if task_of(recipe) != "none" else recipe).stem


def recipes() -> dict[str, Path]:
    """The recipes that come with the package, by name."""
    return {path.stem: path for path in sorted((Path(str(files("inn"))) / "recipes").glob("*.yaml"))}


def read_recipe(recipe: str) -> dict[str, Any]:
    """Return a recipe's YAML as plain data, or that of a task's own recipe, `task:NAME`, `csv:PATH`, `npz:PATH`.

    Raises `InputError` where there is none, or where it is not a recipe.
    """
    if task_of(recipe) != "none":
        return task_recipe(recipe)
    path = recipes().get(recipe, Path(recipe))
    if path.suffix not in (".yaml", ".yml"):
        there = "; there is such a path, but it is no recipe and no run; a text is --data.corpus file:PATH"
        meant = there if os.path.exists(recipe) else nearest(recipe, recipes())  # noqa: PTH110  (of any name)
        raise InputError(f"unknown recipe '{recipe}'{meant}")
    if not path.is_file():
        raise InputError(f"there is no recipe file '{recipe}'; the recipes by name are {', '.join(recipes())}")
    tree = read_yaml(path, f"recipe '{recipe}'")
    if not isinstance(tree, dict):
        raise InputError(f"recipe '{recipe}' must hold sections: {', '.join(sorted(_RECIPE_KEYS))}")
    for key in tree:
        if key not in _RECIPE_KEYS:
            raise InputError(f"recipe '{recipe}': unknown section '{key}'{nearest(str(key), _RECIPE_KEYS)}")
    sections = {**{name: tree.get(name) for name in SECTIONS}, **_mapping(tree.get("models"), recipe, "models")}
    for name, section in sections.items():
        _mapping(section, recipe, name)
    for kind in tree.get("models") or {}:
        if kind not in MODELS:
            raise InputError(f"recipe '{recipe}': unknown model kind '{kind}'{nearest(str(kind), MODELS)}")
    return migrate(tree)


def task_recipe(corpus: str) -> dict[str, Any]:
    """The settings that training on a task starts from.

    >>> task_recipe("task:parity")["model"]["kind"]
    'inn'
    """
    kind = task_of(corpus)
    TASKS.check(kind)
    model = {"kind": "signal"} if TASKS[kind].signal else {"kind": "inn", "recall": "none"}
    return {
        "description": f"A small graph of neurons on {corpus}.",
        "model": {**model, "neurons": 8, "width": 16, "rounds": 2},
        "data": {"corpus": corpus, "batch": 32},
        "train": {"symbols": 1_000_000, "eval_every": 200, "checkpoint_every": 200, "sample_every": 0},
    }


def model_kind(given: Sequence[str], default: str = "inn") -> str:
    """The kind of model that overrides of the form `--model.kind=KIND` name; raises `InputError` for an unknown one."""
    kind = _value("--model.kind", given) or default
    MODELS.check(kind)
    return kind


def _model_base(tree: Mapping[str, Any], given: Sequence[str]) -> tuple[str, str | None, dict[str, Any]]:
    """The model's kind, and the preset and the fields it starts from before the overrides."""
    section = dict(tree.get("model") or {})
    kind_of_recipe = section.pop("kind", "inn")
    kind = model_kind(given, kind_of_recipe)
    if preset := _value("--model.preset", given):
        preset_of(kind, preset)  # raises where the kind has no such preset
        return kind, preset, {}
    models = tree.get("models") or {}
    base = dict(models.get(kind) or models.get(kind.removesuffix("-transposed")) or {})
    if kind == kind_of_recipe:
        base.update(section)
    return kind, base.pop("preset", None), base


def _tokens(section: Mapping[str, Any] | None, name: str) -> list[str]:
    """A section of a recipe as the command line would say it: one way of checking for both."""
    words = {True: "true", False: "false", None: "null"}
    found = []
    for key, value in (section or {}).items():
        if isinstance(value, Mapping):
            found += _tokens({k: v for k, v in value.items() if k != "from"}, f"{name}.{key}")
        elif isinstance(value, list):  # groups of a population have options in them
            found.append(f"--{name}.{key}={json.dumps(value, ensure_ascii=False)}")
        else:
            found.append(f"--{name}.{key}={words[value] if isinstance(value, bool | None) else value}")
    return found


def _with_tokenizer(given: Sequence[str]) -> list[str]:
    """What names a tokenizer means its tokens, and what names other symbols does not mean it any more."""
    named = _value("--data.tokenizer", given), _value("--data.vocabulary", given)
    if named[0] not in (None, "null") and named[1] is None:
        return [*given, "--data.vocabulary=tokenizer"]
    if named[1] is not None and named[0] is None:
        return [*given, "--data.tokenizer=null"]
    return list(given)


def _value(option: str, given: Sequence[str]) -> str | None:
    """The last value that `given`, in the form `--name=value`, has for `option`."""
    values = [token.split("=", 1)[1] for token in given if token.startswith(f"{option}=")]
    return values[-1] if values else None


def _mapping(section: Any, recipe: str, name: str) -> Mapping[str, Any]:
    if section is not None and not isinstance(section, dict):
        raise InputError(f"recipe '{recipe}': '{name}' must hold fields, not '{section}'")
    return section or {}


def _whole(value: Any, name: str) -> int:
    if not isinstance(value, int) or value < 1:
        raise InputError(f"{name}: vocab expects a whole number above 0, not '{value}'")
    return value
