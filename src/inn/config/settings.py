"""From a recipe and what the user overrides to the settings of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from inn.config.models import MODEL_CONFIGS, PRESETS, model_config
from inn.config.options import PARSING, OptionParser
from inn.config.run import DataConfig, RunConfig, TrainConfig, of_its_version
from inn.system.errors import InputError, lookup, nearest

SECTIONS = ("model", "data", "train")
ALIASES = {"--device": "--train.device", "--dtype": "--train.dtype", "--seed": "--train.seed"}
"""Short names of the options that every command with a model has."""

_RECIPE_KEYS = {"description", "vocab", "models", *SECTIONS}
_MODEL_EXTRA = {
    "kind": f"The kind of model: {', '.join(MODEL_CONFIGS)}. Its fields are those below; --help shows the kind's own.",
    "preset": f"A starting point in place of the recipe's model (kind inn): {', '.join(PRESETS)}.",
}


@dataclass
class Settings:
    """What a recipe and its overrides come to."""

    config: RunConfig
    """The settings of the run."""
    description: str
    """What the recipe is for, in a sentence."""
    vocab: int | None
    """The vocabulary's size where the recipe or the user declares it; None where only the data can tell."""

    def with_vocab(self, size: int) -> RunConfig:
        """The settings for data of `size` distinct symbols; raises `InputError` where another size was declared."""
        if self.vocab not in (None, size):
            raise InputError(
                f"model.vocab is {self.vocab}, but corpus '{self.config.data.corpus}' has {size} distinct symbols "
                f"({self.config.data.vocabulary}); leave model.vocab out and it is taken from the data"
            )
        tree = self.config.to_dict()
        tree["model"]["vocab"] = size
        return RunConfig.from_dict(tree)


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
    kind, base = _model_base(tree, given)
    tokens = [*_tokens(base, "model"), *_tokens(tree.get("data"), "data"), *_tokens(tree.get("train"), "train")]
    tokens, given = _with_tokenizer(tokens), _with_tokenizer(given)
    with PARSING:
        parser = OptionParser("inn", "--section.field value ...", "Settings.")
        add_settings(parser, kind)
        try:
            defaults = parser.parse(tokens).as_dict()
        except InputError as error:
            raise InputError(f"in {name}: {error}") from None
        parsed = parser.parse([*tokens, *given]).as_dict()
    model = {key: value for key, value in parsed["model"].items() if key not in _MODEL_EXTRA}
    data = parsed["data"]

    vocab = model["vocab"] if _value("--model.vocab", given) else None
    same_symbols = all(data[key] == defaults["data"][key] for key in ("corpus", "vocabulary", "tokenizer", "units"))
    if vocab is None and same_symbols:  # what the recipe says of its own data holds for no other
        vocab = base.get("vocab", tree.get("vocab"))
        model["vocab"] = model["vocab"] if vocab is None else _whole(vocab, name)
    config = RunConfig(model_config(kind, **model), DataConfig(**data), TrainConfig(**parsed["train"]))
    return Settings(config, str(tree.get("description", "")).strip(), vocab)


def add_settings(parser: OptionParser, kind: str, defaults: RunConfig | None = None) -> None:
    """Add every field of a run's settings to `parser`, for a model of this kind; `defaults` are shown by the help."""
    shown = defaults.to_dict() if defaults else {}
    model = {"kind": kind, **shown.get("model", {})}
    parser.section("model", lookup("model kind", kind, MODEL_CONFIGS), model, _MODEL_EXTRA)
    parser.section("data", DataConfig, shown.get("data", {}))
    parser.section("train", TrainConfig, shown.get("train", {}))


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


def recipes() -> dict[str, Path]:
    """The recipes that come with the package, by name."""
    folder = Path(str(files("inn"))) / "recipes"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def read_recipe(recipe: str) -> dict[str, Any]:
    """Return a recipe's YAML as plain data; raises `InputError` where there is none, or where it is not a recipe."""
    path = recipes().get(recipe)
    if path is None:
        path = Path(recipe)
        if path.suffix not in (".yaml", ".yml"):
            raise InputError(f"unknown recipe '{recipe}'{nearest(recipe, recipes())}")
        if not path.is_file():
            raise InputError(f"there is no recipe file '{recipe}'; the recipes by name are {', '.join(recipes())}")
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        place = getattr(error, "problem_mark", None)
        where = f" (line {place.line + 1})" if place else ""
        raise InputError(f"recipe '{recipe}' is not valid YAML{where}") from None
    if not isinstance(tree, dict):
        raise InputError(f"recipe '{recipe}' must hold sections: {', '.join(sorted(_RECIPE_KEYS))}")
    for key in tree:
        if key not in _RECIPE_KEYS:
            raise InputError(f"recipe '{recipe}': unknown section '{key}'{nearest(str(key), _RECIPE_KEYS)}")
    sections = {**{name: tree.get(name) for name in SECTIONS}, **_mapping(tree.get("models"), recipe, "models")}
    for name, section in sections.items():
        _mapping(section, recipe, name)
    for kind in tree.get("models") or {}:
        if kind not in MODEL_CONFIGS:
            raise InputError(f"recipe '{recipe}': unknown model kind '{kind}'{nearest(str(kind), MODEL_CONFIGS)}")
    return of_its_version(tree)


def model_kind(given: Sequence[str], default: str = "inn") -> str:
    """The kind of model that overrides of the form `--model.kind=KIND` name; raises `InputError` for an unknown one."""
    kind = _value("--model.kind", given) or default
    lookup("model kind", kind, MODEL_CONFIGS)
    return kind


def _model_base(tree: Mapping[str, Any], given: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """The model's kind, and the fields it starts from before the overrides."""
    section = dict(tree.get("model") or {})
    kind_of_recipe = section.pop("kind", "inn")
    kind = model_kind(given, kind_of_recipe)
    if preset := _value("--model.preset", given):
        model_config(kind, preset)  # raises where the kind has no such preset
        return kind, dict(PRESETS[preset])
    models = tree.get("models") or {}
    base = dict(models.get(kind) or models.get(kind.removesuffix("-transposed")) or {})
    if kind == kind_of_recipe:
        base.update(section)
    if preset := base.pop("preset", None):
        model_config(kind, preset)
        base = {**PRESETS[preset], **base}
    return kind, base


def _tokens(section: Mapping[str, Any] | None, name: str) -> list[str]:
    """A section of a recipe as the command line would say it: one way of checking for both."""
    words = {True: "true", False: "false", None: "null"}
    return [
        f"--{name}.{key}={words[value] if isinstance(value, bool | None) else value}"
        for key, value in (section or {}).items()
    ]


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
