"""What `torch.compile` may take for constant, said without importing the compiler."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

F = TypeVar("F", bound=Callable)


def constant(function: F) -> F:
    """`torch.compiler.assume_constant_result`, which sets this mark too, but imports the compiler first: a second."""
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return function
