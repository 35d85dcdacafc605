"""Weights rounded to a few bits, as they lie on the disk: groups of 32 numbers with a scale each, weight-only.

Every matrix of a model is rounded, shared states and embeddings among them; biases and norms stay as they are. In
memory the numbers are ordinary ones that lie on the grid, so whatever computes with them, trains or merges them goes on
as before; a folder holds the bytes. What lies on the grid is rounded to itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from inn.system.errors import InputError

GROUP = 32
"""Numbers that share a scale of 16 bits, in the order in which they lie."""
BITS = range(2, 9)
_SHRUNK = (1.0, 0.96, 0.92, 0.88, 0.84, 0.8, 0.75, 0.7)
"""Shares of a group's largest number that are tried as the largest code's: of few bits a smaller one may err less."""
_AT_ONCE = 1 << 14


def rounded(weight: Tensor, bits: int) -> Tensor:
    """A weight in bytes, uint8 `[groups * (2 + 4 bits)]`: of every group its scale in float16, then its codes.

    Codes are symmetric, -(2^(bits - 1) - 1) to 2^(bits - 1) - 1; of each group the scale is the one of eight that errs
    least. A last group that is not full is filled up with zeros.

    Args:
        weight: of any shape and floating type, finite.
        bits: 2 to 8.

    >>> w = torch.tensor([[1.0, -0.5, 0.25]])
    >>> widened(rounded(w, 8), 8, (1, 3)).sub(w).abs().max() < 0.005
    tensor(True)
    """
    flat = weight.detach().flatten().float()
    flat = nn.functional.pad(flat, (0, -len(flat) % GROUP)).view(-1, GROUP)
    return torch.cat([_packed(part, bits) for part in flat.split(_AT_ONCE)])


def widened(packed: Tensor, bits: int, shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> Tensor:
    """The numbers of `rounded` bytes, in a shape."""
    rows = packed.view(-1, bytes_of_group(bits))
    made = torch.cat([_opened(part, bits) for part in rows.split(_AT_ONCE)])
    return made.flatten()[: math.prod(shape)].view(shape).to(dtype)


def bytes_of_group(bits: int) -> int:
    """Bytes of a group: `bits` for each of its numbers, and two for its scale."""
    return GROUP * bits // 8 + 2


def matrices(model: nn.Module) -> Iterator[tuple[nn.Module, str]]:
    """The parameters of a model that are rounded, by module and name: all that are matrices of full groups."""
    for module in model.modules():
        for name, p in module.named_parameters(recurse=False):
            if p.ndim == 2 and p.numel() >= GROUP:
                yield module, name


@torch.no_grad()
def round_(model: nn.Module, bits: int) -> None:
    """Round a model's matrices to the numbers that `rounded` keeps, in place.

    Raises `InputError` for another number of bits than 2 to 8, and for weights that are not finite or too large.

    >>> layer = nn.Linear(32, 1)
    >>> round_(layer, 2)
    >>> len(layer.weight.unique()) <= 3
    True
    """
    if bits not in BITS:
        raise InputError(f"bits must be {BITS[0]} to {BITS[-1]}, not {bits}")
    seen: set[int] = set()
    for module, name in matrices(model):
        p: Tensor = getattr(module, name)
        if id(p) in seen:
            continue
        seen.add(id(p))
        made = widened(rounded(p, bits), bits, tuple(p.shape), p.dtype)
        if not torch.isfinite(made).all():
            raise InputError(f"a weight of {type(module).__name__} is not finite, or beyond float16; it has no scale")
        p.copy_(made)


def bytes_in_states(state: dict[str, Tensor], names: set[str], bits: int) -> dict[str, Tensor]:
    """A state dict with the weights of these names in bytes; what is one tensor under two names stays one."""
    made: dict[tuple[int, int], Tensor] = {}
    out = dict(state)
    for name in names & set(state):
        p = state[name]
        key = (p.data_ptr(), p.numel())
        if key not in made:
            made[key] = rounded(p, bits)
        out[name] = made[key]
    return out


class Storage:
    """A model's matrices while their bytes are loaded: `open` makes room for bytes, `close` widens them."""

    def __init__(self, model: nn.Module, bits: int):
        self.bits = bits
        self.shapes: list[tuple[nn.Module, str, tuple[int, ...], torch.dtype]] = []
        for module, name in list(matrices(model)):
            p: Tensor = getattr(module, name)
            self.shapes.append((module, name, tuple(p.shape), p.dtype))
        # Where a head is tied, transformers makes its bias as long as its weight, which are bytes for now.
        biases = ((m, m._parameters.get("bias")) for m, _, _, _ in self.shapes)
        self.biases = [(m, len(b)) for m, b in biases if b is not None]
        room: dict[int, nn.Parameter] = {}
        for module, name, shape, _ in self.shapes:
            p = getattr(module, name)
            size = -(-math.prod(shape) // GROUP) * bytes_of_group(bits)
            empty = torch.empty(size, dtype=torch.uint8, device=p.device)
            setattr(module, name, room.setdefault(id(p), nn.Parameter(empty, requires_grad=False)))

    def close(self) -> None:
        """Put numbers where bytes were read."""
        made: dict[int, nn.Parameter] = {}
        for module, name, shape, dtype in self.shapes:
            p: Tensor = getattr(module, name)
            if id(p) not in made:
                made[id(p)] = nn.Parameter(widened(p, self.bits, shape, dtype))
            setattr(module, name, made[id(p)])
        for module, length in self.biases:
            bias: Tensor = module.bias  # type: ignore[assignment]
            bias.data = bias.data[:length]


def _packed(numbers: Tensor, bits: int) -> Tensor:
    most = 2 ** (bits - 1) - 1
    tried = (numbers.abs().amax(1, keepdim=True) / most * numbers.new_tensor(_SHRUNK)).half()  # [groups, 8]
    wide = tried.float()[..., None]
    found = (numbers[:, None] / wide.where(wide > 0, 1)).round().clamp(-most, most)
    best = (found * wide - numbers[:, None]).square().sum(-1).argmin(1, keepdim=True)  # the largest of equals
    scales, codes = tried.gather(1, best), found[torch.arange(len(found)), best[:, 0]]
    unsigned = (codes + most).to(torch.uint8)
    ones = (unsigned[..., None] >> torch.arange(bits, dtype=torch.uint8, device=codes.device)) & 1
    places = 2 ** torch.arange(8, device=codes.device)
    packed = (ones.view(len(codes), -1, 8) * places).sum(-1).to(torch.uint8)
    return torch.cat([scales.view(torch.uint8), packed], 1).flatten()


def _opened(rows: Tensor, bits: int) -> Tensor:
    scales = rows[:, :2].contiguous().view(torch.float16).float()
    ones = (rows[:, 2:, None] >> torch.arange(8, dtype=torch.uint8, device=rows.device)) & 1
    places = 2 ** torch.arange(bits, device=rows.device)
    unsigned = (ones.view(len(rows), GROUP, bits) * places).sum(-1)
    return (unsigned - (2 ** (bits - 1) - 1)).float() * scales
