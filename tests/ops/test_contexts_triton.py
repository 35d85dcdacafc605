"""Keys and counts in Triton against the loops, bit for bit, by its interpreter where there is no GPU."""

from __future__ import annotations

import os

import pytest
import torch

from inn.ops import use_backend
from inn.ops.counts import counts

pytest.importorskip("triton")

CUDA = torch.cuda.is_available()
DEVICE = "cuda" if CUDA else "cpu"
needs = pytest.mark.skipif(
    not CUDA and os.environ.get("TRITON_INTERPRET") != "1", reason="needs a GPU, or TRITON_INTERPRET=1"
)


def moved(given):
    return [t.to(DEVICE) if isinstance(t, torch.Tensor) else t for t in given]


def on(name, op, *given):
    with use_backend(name):
        return op(*(moved(given) if name == "triton" else given))


@needs
@pytest.mark.parametrize(
    ("vocab", "width", "slots", "marked"),
    [(27, 4, 3, True), (256, 16, 2, False), (5000, 4, 3, True), (5000, 2, 1, False)],
    ids=str,
)
def test_counts(vocab, width, slots, marked):
    """With tables so small that slots are taken from one another; then a look-up in what was learned."""
    g = torch.Generator().manual_seed(vocab + slots)
    batch, time, contexts, keys = 2, 50, 2, 5
    tokens = (torch.rand(batch, time, generator=g) ** 4 * vocab).long()
    known = torch.randint(-(2**63), 2**63 - 1, (keys,), generator=g)
    stream = known[torch.randint(keys, (batch, time + 1, contexts), generator=g)]
    reset, mask = (torch.rand(batch, time, generator=g) < p if marked else None for p in (0.05, 0.7))
    tables = [torch.zeros(batch, contexts, slots, width, dtype=torch.int32) for _ in range(2)]
    tables[1] = tables[1].to(DEVICE)
    for learn in (True, False):
        given = [[tokens, stream[:, :-1], stream[:, 1:], table, vocab <= 256, reset, mask, learn] for table in tables]
        bar, ours = on("reference", counts, *given[0]), on("triton", counts, *given[1])
        assert all(torch.equal(a, b.cpu()) for a, b in zip(bar, ours, strict=True))
        assert torch.equal(tables[0], tables[1].cpu())


@needs
@pytest.mark.parametrize("narrow", [True, False])
def test_counts_that_are_halved_are_the_same(narrow):
    g = torch.Generator().manual_seed(0)
    tokens = torch.randint(5, (1, 20), generator=g)
    keys = torch.full((1, 20, 1), -5)
    cells = [(s << 8 | c) for s, c in ((1, 254), (2, 9), (3, 9), (0, 255))]
    if narrow:
        cells = [cells[0] | cells[1] << 16, cells[2] | cells[3] << 16]
    words = torch.tensor([w - 2**32 if w >= 2**31 else w for w in (255 << 24 | 1 << 3 | 6, *cells)])
    tables = [torch.zeros(1, 1, 4, len(words), dtype=torch.int32) for _ in range(2)]
    for table in tables:
        table[0, 0, (-5 & 2**40 - 1) % 4] = words
    tables[1] = tables[1].to(DEVICE)
    bar = on("reference", counts, tokens, keys, keys, tables[0], narrow)
    ours = on("triton", counts, tokens, keys, keys, tables[1], narrow)
    assert all(torch.equal(a, b.cpu()) for a, b in zip(bar, ours, strict=True))
    assert torch.equal(tables[0], tables[1].cpu())


@needs
def test_the_compiler_sees_what_is_changed():
    tokens, keys = torch.zeros(1, 3, dtype=torch.long, device=DEVICE), torch.ones(1, 3, 1, dtype=torch.long, device=DEVICE)
    table, bar = (torch.zeros(1, 1, 2, 3, dtype=torch.int32, device=DEVICE) for _ in range(2))
    with use_backend("triton"):
        compiled = torch.compile(lambda *t: counts(*t), fullgraph=True, backend="aot_eager")
        ours, theirs = compiled(tokens, keys, keys, table, True), counts(tokens, keys, keys, bar, True)
    assert all(map(torch.equal, ours, theirs))
    assert torch.equal(table, bar)


def test_they_are_not_chosen_on_a_cpu_unless_asked_for():
    keys, table = torch.ones(1, 3, 1, dtype=torch.long), torch.zeros(1, 1, 2, 3, dtype=torch.int32)
    assert "GPU" in counts.backends["triton"].refuses(keys[..., 0], keys, keys, table, True)
