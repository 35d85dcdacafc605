"""Packages that only some things need: whether they are there, and the one sentence that says how to get them."""

from __future__ import annotations

import importlib
from typing import Any

from inn.system.errors import InputError

_TITLES = {
    "matplotlib": "Matplotlib",
    "optuna": "Optuna",
    "sklearn": "scikit-learn",
    "transformer_lens": "TransformerLens",
}


def optional(module: str) -> Any:
    """Import a module and return it; None where its package is not installed.

    >>> optional("json").loads("1"), optional("json2")
    (1, None)
    """
    try:
        return importlib.import_module(module)
    except ImportError:
        return None


def require(module: str, what: str, extra: str) -> Any:
    """Import a module and return it; raises `InputError` where its package is not installed.

    Args:
        module: such as `optuna` or `matplotlib.figure`.
        what: what needs it, for the sentence.
        extra: the extra of this distribution that brings it.

    >>> require("json2", "a forecast", "future")
    Traceback (most recent call last):
    inn.system.errors.InputError: a forecast needs the package 'json2'; install it: pip install 'inn-torch[future]'
    """
    found = optional(module)
    if found is None:
        package = module.partition(".")[0]
        called = _TITLES.get(package, f"the package '{package}'")
        raise InputError(f"{what} needs {called}; install it: pip install 'inn-torch[{extra}]'")
    return found
