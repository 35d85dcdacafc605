"""Keys and counts in Triton against the loops, bit for bit, by its interpreter where there is no GPU."""

from __future__ import annotations

import pytest
import torch

from inn.ops import use_backend
from inn.ops.counts import counts
from inn.ops.keys import COLUMN, EMPTY, LAST, WORD, keys

pytest.importorskip("triton")

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def moved(given):
    return [t.to(DEVICE) if isinstance(t, torch.Tensor) else t for t in given]


def on(name, op, *given):
    with use_backend(name):
        return op(*(moved(given) if name == "triton" else given))


@pytest.mark.parametrize(
    ("vocab", "width", "slots", "marked"),
    [(27, 2, 3, True), (256, 4, 2, False), (5000, 3, 3, True), (5000, 2, 1, False)],
    ids=str,
)
def test_counts(vocab, width, slots, marked):
    """With tables so small that slots are taken from one another; then a look-up in what was learned."""
    g = torch.Generator().manual_seed(vocab + slots)
    batch, time, contexts, known = 2, 12, 1, 4
    tokens = (torch.rand(batch, time, generator=g) ** 4 * vocab).long()
    pool = torch.randint(-(2**63), 2**63 - 1, (known,), generator=g)
    stream = pool[torch.randint(known, (batch, time + 1, contexts), generator=g)]
    reset, mask = (torch.rand(batch, time, generator=g) < p if marked else None for p in (0.1, 0.8))
    tables = [torch.zeros(batch, contexts, slots, width, dtype=torch.int32) for _ in range(2)]
    tables[1] = tables[1].to(DEVICE)
    for learn in (True, False):
        given = [[tokens, stream[:, :-1], stream[:, 1:], table, vocab <= 256, reset, mask, learn] for table in tables]
        bar, ours = on("reference", counts, *given[0]), on("triton", counts, *given[1])
        assert all(torch.equal(a, b.cpu()) for a, b in zip(bar, ours, strict=True))
        assert torch.equal(tables[0], tables[1].cpu())


@pytest.mark.parametrize("narrow", [True, False])
def test_counts_that_are_halved_are_the_same(narrow):
    g = torch.Generator().manual_seed(0)
    tokens = torch.randint(5, (1, 8), generator=g)
    same = torch.full((1, 8, 1), -5)
    cells = [(s << 8 | c) for s, c in ((1, 254), (2, 9), (3, 9), (0, 255))]
    if narrow:
        cells = [cells[0] | cells[1] << 16, cells[2] | cells[3] << 16]
    words = torch.tensor([w - 2**32 if w >= 2**31 else w for w in (255 << 24 | 1 << 3 | 6, *cells)])
    tables = [torch.zeros(1, 1, 4, len(words), dtype=torch.int32) for _ in range(2)]
    for table in tables:
        table[0, 0, (-5 & 2**40 - 1) % 4] = words
    tables[1] = tables[1].to(DEVICE)
    bar = on("reference", counts, tokens, same, same, tables[0], narrow)
    ours = on("triton", counts, tokens, same, same, tables[1], narrow)
    assert all(torch.equal(a, b.cpu()) for a, b in zip(bar, ours, strict=True))
    assert torch.equal(tables[0], tables[1].cpu())


def test_the_compiler_sees_what_is_changed():
    tokens = torch.zeros(1, 3, dtype=torch.long, device=DEVICE)
    same = torch.ones_like(tokens)[..., None]
    table, bar = (torch.zeros(1, 1, 2, 3, dtype=torch.int32, device=DEVICE) for _ in range(2))
    with use_backend("triton"):
        compiled = torch.compile(lambda *t: counts(*t), fullgraph=True, backend="aot_eager")
        ours, theirs = compiled(tokens, same, same, table, True), counts(tokens, same, same, bar, True)
    assert all(map(torch.equal, ours, theirs))
    assert torch.equal(table, bar)


@pytest.mark.parametrize("marked", [True, False])
def test_keys(marked):
    g = torch.Generator().manual_seed(0)
    stream = torch.randint(6, (2, 140), generator=g)
    stream[0, :4] = EMPTY
    tokens, recent = stream[:, 9:], stream[:, :9].clone()
    reset, mask = (torch.rand(tokens.shape, generator=g) < p if marked else None for p in (0.1, 0.7))
    specs = [
        (LAST, 0, 0),
        (LAST, 0, 3),
        (LAST, 2, 7),
        *((WORD, n, 0) for n in range(3)),
        (COLUMN, 4, 0),
        (COLUMN, -1, 0),
    ]
    given = tokens, recent, specs, torch.tensor([False, True, True, True]), reset, mask
    bar, ours = on("reference", keys, *given), on("triton", keys, *given)
    assert all(torch.equal(a, b.cpu()) for a, b in zip(bar, ours, strict=True))


def test_keys_go_through_the_compiler():
    tokens, recent = (torch.zeros(1, n, dtype=torch.long, device=DEVICE) for n in (3, 2))
    with use_backend("triton"):
        compiled = torch.compile(lambda *t: keys(*t), fullgraph=True, backend="aot_eager")
        assert all(map(torch.equal, compiled(tokens, recent, [(LAST, 0, 1)]), keys(tokens, recent, [(LAST, 0, 1)])))


def test_they_are_not_chosen_on_a_cpu_unless_asked_for():
    given, table = torch.ones(1, 3, 1, dtype=torch.long), torch.zeros(1, 1, 2, 3, dtype=torch.int32)
    assert "on a GPU" in counts.backends["triton"].refuses(given[..., 0], given, given, table, True)
    assert "on a GPU" in keys.backends["triton"].refuses(given[..., 0], given[..., 0], [(LAST, 0, 1)])
    with use_backend("triton"):
        assert "int64" in keys.backends["triton"].refuses(given[..., 0].int(), given[..., 0], [(LAST, 0, 1)])
        assert "dense" in counts.backends["triton"].refuses(given[..., 0], given, given, table.mT, True)
