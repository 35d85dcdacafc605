"""What a healing has done, on the disk: an interrupted one goes on from there, or says why it cannot."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from inn.system.errors import InputError
from inn.system.files import atomic_file, sha256_of

Mark = dict[str, Any]


def mark(
    weights: Iterable[Tensor],
    text: Tensor,
    stages: Iterable[tuple[Any, ...]],
    minutes: float | None,
    steps: int | None,
    length: int,
    seed: int,
) -> Mark:
    """All that a healing's result depends on, as plain data: weights and text by their hash."""
    return {
        "weights": _hash(weights),
        "text": _hash([text]),
        "recipe": list(stages),
        "minutes": minutes,
        "steps": steps,
        "length": length,
        "seed": seed,
        "torch": str(torch.__version__),
        "threads": torch.get_num_threads(),
    }


class HealState:
    """A file for the state of one healing, the one of `its` mark; without a path none is kept."""

    def __init__(self, path: Path | None, its: Mark):
        self.path, self.mark = path, its

    def read(self) -> dict[str, Any] | None:
        """What was kept; None where there is nothing.

        Raises `InputError` for the state of another healing, and for a damaged one.
        """
        if self.path is None or not self.path.exists():
            return None
        remedy = f"delete '{self.path}' to begin anew"
        try:
            found = torch.load(self.path, map_location="cpu", weights_only=True)
            its = found.pop("mark")
        except Exception as error:  # whatever a damaged file makes a reader say
            raise InputError(f"the state of a healing in '{self.path}' cannot be read; {remedy}") from error
        if other := [name for name, value in self.mark.items() if its.get(name) != value]:
            raise InputError(
                f"the healing in '{self.path}' was begun with other {' and '.join(other)}, so it cannot go on bit for "
                f"bit; {remedy}"
            )
        return found

    def write(self, found: dict[str, Any]) -> None:
        assert self.path is not None
        with atomic_file(self.path) as file:
            torch.save({**found, "mark": self.mark}, file)

    def remove(self) -> None:
        if self.path is not None:
            self.path.unlink(missing_ok=True)


def _hash(tensors: Iterable[Tensor]) -> str:
    def blocks() -> Iterator[bytes]:
        for tensor in tensors:
            yield str((tuple(tensor.shape), tensor.dtype)).encode()
            yield tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()

    return sha256_of(blocks())
