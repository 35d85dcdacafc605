"""Models of a given size: the width that comes nearest to a number of parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from inn.models.build import parameters_of
from inn.system.errors import InputError

if TYPE_CHECKING:
    from inn.config.run import RunConfig
    from inn.config.settings import Settings


def with_parameters(config: Any, parameters: int, step: int | None = None) -> Any:
    """The same configuration with the width that brings the model nearest to so many parameters.

    Widths are multiples of `step`; when not given, of the smallest number that fits the configuration (its heads).
    Raises `InputError` for a model without a width, and for fewer parameters than the narrowest has.

    >>> from inn.config.assemble import model_config
    >>> with_parameters(model_config(vocab=27), 470_000).width
    19
    """
    if "width" not in {f.name for f in fields(config)}:
        raise InputError(f"a model of kind '{config.kind}' has no width; leave model.parameters out")
    step = step or _step(config)

    def size_at(steps: int) -> int:
        return parameters_of(replace(config, width=steps * step))

    smallest = size_at(1)
    if parameters < smallest:
        raise InputError(f"the narrowest such model has {smallest:,} parameters, not {parameters:,}; ask for more")
    low, high = 1, 2
    while size_at(high) < parameters:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if size_at(middle) < parameters else (low, middle)
    return replace(config, width=step * min((low, high), key=lambda steps: abs(size_at(steps) - parameters)))


def sized(settings: Settings, sizes: Mapping[str, Any]) -> RunConfig:
    """The settings of a run on data of these sizes (`Dataset.sizes`), the width found where `parameters` are given."""
    config = settings.with_sizes(sizes)
    if settings.parameters is None:
        return config
    return replace(config, model=with_parameters(config.model, settings.parameters))


def _step(config: Any) -> int:
    """The smallest number whose multiples are widths that the configuration allows."""
    for step in range(1, 257):
        try:
            for multiple in (1, 2, 3):
                replace(config, width=step * multiple)
        except InputError:
            continue
        return step
    replace(config)  # raises what is wrong with it, whatever the width
    raise InputError("no width up to 256 fits these settings; set model.width")
