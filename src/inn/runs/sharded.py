"""Reading the tensors of a checkpoint that several processes wrote in shards, by PyTorch's DCP."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
from torch import Tensor
from torch.distributed.checkpoint import HuggingFaceStorageReader


def read_into(path: Path, part: str, tensors: dict[str, Any]) -> None:
    """Fill tensors, shared or not, with what the checkpoint at `path` holds under their names."""
    with quietly():
        dcp.load(tensors, storage_reader=HuggingFaceStorageReader(str(_folder(path, part))))


def read_forms(path: Path, part: str, whole: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The shapes and types of what the checkpoint at `path` holds of a part, as tensors without numbers.

    `whole` is what has been read of it, where it is in a file of its own.
    """
    if not (path / part).is_dir():
        return {name: t.to("meta") for name, t in whole.items()}
    found = HuggingFaceStorageReader(str(path / part)).read_metadata().state_dict_metadata
    return {n: torch.empty(m.size, dtype=m.properties.dtype, device="meta") for n, m in found.items()}  # type: ignore[union-attr]


def read_whole(folder: Path) -> dict[str, Tensor]:
    """All tensors of a folder of shards, whole, in this process alone."""
    forms = read_forms(folder.parent, folder.name, {})
    tensors: dict[str, Any] = {name: torch.empty_like(t, device="cpu") for name, t in forms.items()}
    with quietly():
        dcp.load(tensors, storage_reader=HuggingFaceStorageReader(str(folder)), no_dist=True)
    return tensors


def _folder(path: Path, part: str) -> Path:
    """Where a part is: in a folder of shards, or in a file beside those of the other parts."""
    return path / part if (path / part).is_dir() else path


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
