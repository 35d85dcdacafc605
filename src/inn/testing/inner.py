"""The contract of inner maps."""

from __future__ import annotations

import itertools
from typing import Any

import torch

from inn.nn.inner.base import InnerMap
from inn.registry import INNERS
from inn.testing.expect import expect, expect_equal, named
from inn.testing.graphs import B, D, N, T, _built, _check_graph, _config, _near, _random


def check_inner(inner: type[InnerMap] | str, **options: Any) -> None:
    """Hold an inner map to its contract, with weights shared and separate.

    Its shape and type; steps, streams and neurons do not meet; what it is given is not changed; gradients reach it.
    """
    with named(INNERS, inner) as kind:
        for weights, dtype in itertools.product(("shared", "separate"), (torch.float64, torch.bfloat16)):
            config = _config(inner={"kind": kind, **options}, weights=weights)
            what = f"inner map '{kind}' (weights {weights})"
            m = _built(INNERS[kind], config, dtype)
            with torch.no_grad():
                for p in m.parameters():  # what begins at zero would show nothing
                    p.add_(torch.randn_like(p) * 0.1)
            x = _random(B, T, N, D).to(dtype).requires_grad_()
            kept = x.detach().clone()
            y = m(x)
            expect_equal(list(y.shape), [B, T, N, D], f"{what}: what it gives is not [batch, time, neuron, width]")
            expect_equal(y.dtype, dtype, f"{what}: its type is not its input's")
            expect(torch.equal(x, kept), f"{what}: it changes what it was given")
            expect(torch.autograd.grad(y.sum(), x)[0].any(), f"{what}: no gradient reaches what it was given")
            expect(all(n >= 0 for n in m.flops().values()), f"{what}: flops() must count")
            if dtype != torch.float64:
                continue
            with torch.no_grad():
                _near(torch.cat([m(x[:, t : t + 1]) for t in range(T)], 1), y, f"{what}: steps meet inside it")
                for axis, who in ((0, "streams"), (2, "neurons")):
                    other = x.clone()
                    other.select(axis, 1).add_(1)
                    moved = (m(other) - y).transpose(0, axis)
                    _near(moved[[0, *range(2, len(moved))]], 0 * moved[1:], f"{what}: {who} meet inside it")
            if (clamped := m.clamped(x)) is not None:
                expect_equal(list(clamped.shape), [B, T, N], f"{what}: clamped() is not [batch, time, neuron]")
            _check_graph(config, what)
