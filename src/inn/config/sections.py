"""The options of a run's settings: every field of its three sections, for a model of one kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from functools import cache, lru_cache
from typing import Any

from inn.config.assemble import Draft
from inn.config.models import PRESETS
from inn.config.parser import OptionParser
from inn.config.parts import options_of, parts_of
from inn.config.run import DataConfig, RunConfig, TrainConfig
from inn.registry import MODELS

SECTIONS = ("model", "data", "train")
MODEL_EXTRA = {
    "kind": f"The kind of model: {', '.join(MODELS)}. Its fields are those below; --help shows the kind's own.",
    "preset": f"A preset to start from instead of the recipe's model (kind inn): {', '.join(PRESETS)}.",
    "parameters": "Target number of parameters, as in 470k or 2.5M: the width is computed from it, and saved.",
}

MAIN = (
    *("model.kind", "model.parameters", "model.neurons", "model.width", "model.rounds", "model.layers", "model.order"),
    *("model.memory.kind", "model.router.kind", "model.topology.kind", "model.dropout"),
    *("data.corpus", "data.vocabulary", "data.batch", "data.window"),
    *("train.symbols", "train.lr", "train.seed", "train.device", "train.dtype"),
)
"""The settings that a short help shows."""


def add_settings(
    parser: OptionParser,
    kind: str,
    defaults: RunConfig | None = None,
    chosen: Mapping[str, Mapping[str, str]] | None = None,
) -> None:
    """Add every field of a run's settings to `parser`, for a model of this kind; `defaults` are shown by the help.

    `chosen` names the kinds of the parts by section: their options are added.
    """
    shown = defaults.to_dict() if defaults else {}
    MODELS.check(kind)
    types = {"model": MODELS.options(kind), "data": DataConfig, "train": TrainConfig}
    for section, config_type in types.items():
        values = shown.get(section, {})
        kinds = {
            **Draft(config_type).kinds(),
            **{part: values[part]["kind"] for part in parts_of(config_type) if part in values},
        }
        kinds.update((chosen or {}).get(section, {}))
        extra = MODEL_EXTRA if section == "model" else {}
        if section == "model":
            values = {"kind": kind, **values}
        names = {"kind": MODELS, "preset": PRESETS} if section == "model" else {}
        parser.section(section, config_type, values, extra, kinds, names)


def parsed(kind: str, drafts: Mapping[str, Draft], argv: Sequence[str]) -> dict[str, Any]:
    """The settings of a model of this kind, with the parts that are chosen: from options to fields by section."""
    chosen = tuple(
        (section, part, name, options_of(parts_of(draft.config_type)[part], name))
        for section, draft in drafts.items()
        for part, name in draft.kinds().items()
    )
    return deepcopy(_parsed(_made(kind, drafts["model"].config_type, chosen), tuple(argv)))


@lru_cache(256)  # a recipe is read again and again, by studies and sweeps, and has a hundred fields
def _parsed(parser: OptionParser, argv: tuple[str, ...]) -> dict[str, Any]:
    return parser.parse(argv).as_dict()


@cache
def _made(kind: str, config_type: type, chosen: tuple[tuple[str, str, str, type], ...]) -> OptionParser:
    parser, kinds = OptionParser("inn", "--section.field value ...", "Settings."), {name: {} for name in SECTIONS}
    for section, part, name, _ in chosen:
        kinds[section][part] = name
    add_settings(parser, kind, chosen=kinds)
    return parser
