"""The programs in `examples/`, for the entries that are about them."""

from __future__ import annotations

import sys
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from inn.system.errors import InputError

FOLDER = Path(__file__).parents[4] / "examples"


@cache
def example(name: str, number: int | str) -> Any:
    """The module `examples/NAME.py` for an entry; raises `InputError` where there is no checkout.

    What it is built on has to be there: an entry asks for it before (`inn.system.packages.require`).
    """
    if not (FOLDER / f"{name}.py").is_file():
        raise InputError(f"entry {number} is about examples/{name}.py, which is not here; run it in a checkout")
    sys.path.insert(0, str(FOLDER))  # one example may build on another
    try:
        return import_module(name)
    finally:
        sys.path.remove(str(FOLDER))
