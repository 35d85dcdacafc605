"""The contract of gates."""

from __future__ import annotations

import itertools
from typing import Any

import torch

from inn.nn.gates.base import Gate
from inn.registry import GATES
from inn.testing.expect import expect, expect_equal, named
from inn.testing.graphs import B, D, N, T, _built, _check_graph, _config, _near, _random


def check_gate(gate: type[Gate] | str, **options: Any) -> None:
    """Hold a gate to its contract, with weights shared and separate.

    Shapes and types; steps, streams do not meet; what it is given is not changed; gradients reach it; what is masked or
    absent counts in no penalty; in a graph any split equals one pass.
    """
    with named(GATES, gate) as kind:
        cls = GATES[kind]
        what = f"gate '{kind}'"
        expect(cls.rests or not cls.once, f"{what}: `once` means nothing without `rests`")
        for weights, dtype in itertools.product(("shared", "separate"), (torch.float64, torch.bfloat16)):
            config = _config(gate={"kind": kind, **options}, weights=weights)
            what = f"gate '{kind}' (weights {weights})"
            g = _built(cls, config, dtype)
            with torch.no_grad():
                for p in g.parameters():  # what begins at zero would show nothing
                    p.add_(torch.randn_like(p) * 0.5)
            x = _random(B, T, N, D).to(dtype).requires_grad_()
            kept = x.detach().clone()
            awake, factor, penalties = g(x)
            expect_equal(list(factor.shape), [B, T, N], f"{what}: its factor is not [batch, time, neuron]")
            expect(torch.equal(x, kept), f"{what}: it changes what it was given")
            expect(torch.autograd.grad(factor.sum(), x)[0].any(), f"{what}: no gradient passes its factor")
            expect(all(p.ndim == 0 for p in penalties.values()), f"{what}: a penalty is no scalar")
            expect_equal(awake is not None, cls.rests, f"{what}: who takes part goes with `rests`")
            if awake is not None:
                expect_equal(list(awake.shape), [B, T, N], f"{what}: who takes part is not [batch, time, neuron]")
                expect_equal(awake.dtype, torch.bool, f"{what}: who takes part is not bool")
            if dtype == torch.float64:
                with torch.no_grad():
                    _meetings(g, x, factor, awake, what)
                _check_graph(config, what)
            expect(all(n >= 0 for n in g.flops().values()), f"{what}: flops() must count")


def _meetings(g: Gate, x: torch.Tensor, factor: torch.Tensor, awake: torch.Tensor | None, what: str) -> None:
    _near(torch.cat([g(x[:, t : t + 1])[1] for t in range(T)], 1), factor, f"{what}: steps meet inside it")
    other = x.clone()
    other[1] += 1
    _near(g(other)[1][0], factor[0], f"{what}: streams meet inside it")
    mask, present = torch.ones(B, T, dtype=torch.bool), torch.ones(B, T, N, dtype=torch.bool)
    mask[:, 2], present[:, 3, 1] = False, False
    other = x.clone()
    other[:, 2] += 1
    other[:, 3, 1] += 1
    found, bar = (g(z, mask=mask, present=present)[2] for z in (other, x))
    for name, penalty in bar.items():
        _near(found[name], penalty, f"{what}: what is masked or absent counts in its penalty '{name}'")
