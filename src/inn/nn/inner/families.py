"""Families of basis functions on [-1, 1]: numbers `[...]` -> the K functions of each, `[..., K]`."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor


def bspline(u: Tensor, count: int) -> Tensor:
    """Uniform cubic B-splines; they sum to 1."""
    width = 2 / (count - 3)
    away = ((u[..., None] + 1) / width + 1 - _numbers(u, count)).abs()
    return torch.where(away < 1, 2 / 3 - away**2 + away**3 / 2, (2 - away).clamp_min(0) ** 3 / 6)


def chebyshev(u: Tensor, count: int) -> Tensor:
    """Chebyshev polynomials of degree 0 to K - 1. (Legendre, Jacobi and Gram polynomials span the same functions.)"""
    found = [torch.ones_like(u), u]
    for _ in range(count - 2):
        found.append(2 * u * found[-1] - found[-2])
    return torch.stack(found, -1)


def fourier(u: Tensor, count: int) -> Tensor:
    """A constant, then cosines and sines of 1, 2, ... half-turns, alternately."""
    n = _numbers(u, count)
    return torch.cos(math.pi * (torch.ceil(n / 2) * u[..., None] - n % 2 / 2))


def hinge(u: Tensor, count: int) -> Tensor:
    """A constant, and max(0, u - t) at evenly spaced t from -1 on: piecewise linear."""
    at = 2 * (_numbers(u, count)[1:] - 1) / (count - 1) - 1
    return torch.cat([torch.ones_like(u)[..., None], (u[..., None] - at).relu()], -1)


def rbf(u: Tensor, count: int) -> Tensor:
    """Gaussians as wide as they are apart."""
    step = 2 / (count - 1)
    return torch.exp(-(((u[..., None] + 1) / step - _numbers(u, count)) ** 2))


def wavelet(u: Tensor, count: int) -> Tensor:
    """A constant, and Mexican hats at one place, at two of half the width, at four of a quarter, ..."""
    n = _numbers(u, count)[1:]
    places = torch.exp2(torch.floor(torch.log2(n)))
    s2 = ((u[..., None] + 1) * places - 2 * (n - places) - 1) ** 2 * 4
    return torch.cat([torch.ones_like(u)[..., None], (1 - s2) * torch.exp(-s2 / 2)], -1)


FAMILY: dict[str, Callable[[Tensor, int], Tensor]] = {
    "bspline": bspline, "chebyshev": chebyshev, "fourier": fourier, "hinge": hinge, "rbf": rbf, "wavelet": wavelet,
}  # fmt: skip


def _numbers(u: Tensor, count: int) -> Tensor:
    return torch.arange(count, dtype=u.dtype, device=u.device)
