"""Tables of counted followers: every backend against the loop, bit for bit, and the loop against a dictionary."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from inn.ops import use_backend
from inn.ops.counts import EMPTY, MOST, RUNS, counts
from inn.ops.counts.reference import Slot, pack, place, unpack
from inn.system.errors import InputError

BACKENDS = ["torch", "cpu"]


def on(name, *args):
    with use_backend(name):
        return counts(*args)


def draw(batch, time, contexts, vocab, keys, seed, reset, mask):
    """Symbols, of which a few are frequent; the keys of few contexts, before and after; resets, steps that count."""
    g = torch.Generator().manual_seed(seed)
    tokens = (torch.rand(batch, time, generator=g) ** 4 * vocab).long()
    known = torch.randint(-(2**63), 2**63 - 1, (keys,), generator=g)
    stream = known[torch.randint(keys, (batch, time + 1, contexts), generator=g)]
    resets, kept = torch.rand(2, batch, time, generator=g)
    return tokens, stream[:, :-1], stream[:, 1:], resets < 0.05 if reset else None, kept < 0.7 if mask else None


def empty(batch, contexts, slots, width):
    return torch.zeros(batch, contexts, slots, width, dtype=torch.int32)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("vocab", [27, 256, 5000])
@given(
    batch=st.integers(0, 2),
    time=st.integers(0, 60),
    contexts=st.integers(1, 3),
    width=st.sampled_from([2, 4, 16]),
    slots=st.sampled_from([1, 2, 3, 4, 64]),
    keys=st.sampled_from([1, 3, 12]),
    cuts=st.lists(st.integers(1, 59), max_size=3),
    reset=st.booleans(),
    mask=st.booleans(),
    seed=st.integers(0, 999),
)
@example(1, 300, 2, 4, 3, 12, [100], False, False, 0)  # slots that are taken from one another
@example(2, 60, 1, 16, 1, 1, [7, 30], True, True, 1)
def test_equals_the_reference_in_any_split(
    backend, vocab, batch, time, contexts, width, slots, keys, cuts, reset, mask, seed
):
    tokens, before, after, resets, kept = draw(batch, time, contexts, vocab, keys, seed, reset, mask)
    theirs, ours = (empty(batch, contexts, slots, width) for _ in range(2))
    bar = on("reference", tokens, before, after, theirs, vocab <= 256, resets, kept)
    edges = [0, *sorted({c for c in cuts if c < time}), time]
    found = []
    for i, (a, b) in enumerate(itertools.pairwise(edges)):
        marks = [None if m is None else m[:, a:b] for m in (resets, kept)]
        given_ = tokens[:, a:b], before[:, a:b], after[:, a:b], ours, vocab <= 256, *marks
        found.append(on(backend, *given_))
        if i == 0 and resets is None:  # a look-up between them changes nothing
            table = ours.clone()
            looked = on(backend, *given_, False)
            assert torch.equal(table, ours)
            assert all(map(torch.equal, looked, on("reference", *given_, False)))
    assert all(torch.equal(torch.cat(f, 1), theirs_) for f, theirs_ in zip(zip(*found, strict=True), bar, strict=True))
    assert all(f.dtype == torch.int32 for f in found[0])
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("narrow", [True, False])
def test_counts_that_are_halved_are_the_same(backend, narrow):
    """Two symbols, one of them rare, until both counts have gone through 255, and as many again that do not fit."""
    g = torch.Generator().manual_seed(0)
    tokens = (torch.rand(1, 900, generator=g) < 0.05).long()
    tokens[:, 600:] = torch.randint(2, 9, (1, 300), generator=g)
    keys = torch.full((1, 900, 1), 77)
    tables = [empty(1, 1, 2, 2 if narrow else 3) for _ in range(2)]
    bar = on("reference", tokens, keys, keys, tables[0], narrow)
    assert (bar[0] & 255).max() == MOST
    assert all(map(torch.equal, on(backend, tokens, keys, keys, tables[1], narrow), bar))
    assert torch.equal(*tables)


@given(st.integers(1, 120), st.integers(1, 8), st.booleans(), st.integers(0, 999))
def test_the_reference_is_a_dictionary(time, keys, narrow, seed):
    """With room for all, what is found are the followers in the order they came, how often, and the last one's run."""
    tokens, before, after, _, _ = draw(1, time, 1, 12, keys, seed, False, False)
    found, last = on("reference", tokens, before, after, empty(1, 1, 2**16, 7 if narrow else 13), narrow)
    known, runs = defaultdict(Counter), {}
    for t, symbol in enumerate(tokens[0].tolist()):
        was, now = before[0, t, 0].item(), after[0, t, 0].item()
        known[was][symbol] += 1
        same = was in runs and runs[was][0] == symbol
        runs[was] = symbol, min(runs[was][1] + 1, RUNS - 1) if same else 0
        cells = [c for c in found[0, t, 0].tolist() if c != EMPTY]
        assert cells == [symbol << 8 | times for symbol, times in known[now].items()]
        assert last[0, t, 0] == (runs[now][0] << 3 | runs[now][1] if now in runs else EMPTY)


def test_a_full_slot_replaces_the_last_of_the_rarest_and_wears_the_others_down():
    slot = Slot(0)
    for symbol in [1, 2, 2, 3]:
        slot.learn(symbol, 3)
    slot.learn(4, 3)  # in the place of 3: of the rarest, 1 and 3, it is the last
    assert slot.followers == [[1, 1], [2, 2], [4, 1]]
    assert (slot.last, slot.run) == (4, 0)
    slot.followers = [[1, 9], [2, 9], [3, 9]]
    for left in (7, 6):  # 9 - 2; then 7 is the least alone, 7 - 1
        slot.learn(5, 3)
        assert slot.followers == [[1, 9], [2, 9], [3, left]]
    assert (slot.last, slot.run) == (5, 1)  # though it is not stored
    slot.followers = [[1, MOST], [2, 4], [3, 1]]
    slot.learn(1, 3)
    assert slot.followers == [[1, 129], [2, 2], [3, 1]]


@pytest.mark.parametrize("backend", ["reference", *BACKENDS])
def test_a_new_context_takes_the_lighter_of_two_places(backend):
    keys = [(check << 56) + 1 for check in (1, 2, 3, 4)]  # all want place 1, and then 0
    assert {place(k, 4)[:2] for k in keys} == {(1, 0)}
    table = empty(1, 1, 4, 3)

    def learn(*which):
        given_ = torch.tensor([[[keys[i]] for i in which]])
        on(backend, torch.zeros(1, len(which), dtype=torch.long), given_, given_, table, False)
        return [slot.check if slot.followers else None for slot in (unpack(s.tolist(), False) for s in table[0, 0])]

    assert learn(0) == [None, 1, None, None]
    assert learn(0, 1) == [2, 1, None, None]
    assert learn(2) == [3, 1, None, None]  # the second was seen once, the first twice
    assert learn(2, 3) == [3, 4, None, None]  # a tie


def test_words_hold_the_largest_of_everything():
    wide = Slot(255, 2**21 - 1, 7, [[2**21 - 1, 255], [0, 1]])
    assert unpack(pack(wide, 3, False), False) == wide
    narrow = Slot(255, 255, 7, [[255, 255], [0, 1], [255, 255], [255, 255]])
    assert unpack(pack(narrow, 2, True), True) == narrow
    for backend in BACKENDS:
        tokens, keys = torch.full((1, 12), 2**21 - 1), torch.full((1, 12, 1), -1)
        found, last = on(backend, tokens, keys, keys, empty(1, 1, 4, 2), False)
        assert found[0, -1, 0, 0] == (2**21 - 1) << 8 | 12
        assert last[0, -1, 0] == (2**21 - 1) << 3 | RUNS - 1


def test_results_do_not_depend_on_threads():
    tokens, before, after, reset, mask = draw(2, 400, 5, 27, 12, 0, True, True)
    threads_before, results = torch.get_num_threads(), []
    for threads in (1, 3):
        torch.set_num_threads(threads)
        table = empty(2, 5, 6, 4)
        results.append([*on("cpu", tokens, before, after, table, True, reset, mask), table])
    torch.set_num_threads(threads_before)
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_a_table_that_is_not_dense_is_changed_in_place_too():
    tokens, before, after, _, _ = draw(1, 20, 2, 27, 4, 0, False, False)
    bar, strided = empty(1, 2, 5, 3), empty(1, 2, 3, 5).mT
    backend, reasons = counts.choose(tokens, before, after, strided, True)
    assert backend.name == "torch"
    assert "dense" in reasons["cpu"]
    ours = counts(tokens, before, after, strided, True)
    assert all(map(torch.equal, ours, counts(tokens, before, after, bar, True)))
    assert torch.equal(strided, bar)


@pytest.mark.parametrize("backend", ["reference", *BACKENDS])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"table": empty(2, 2, 4, 1)}, "2 words"),
        ({"table": empty(2, 2, 0, 4)}, "1 slot"),
        ({"table": empty(1, 2, 4, 4)}, r"tokens should be \[1, T\]"),
        ({"before": torch.zeros(2, 3, 1, dtype=torch.long)}, r"before should be \[2, 3, 2\]"),
        ({"after": torch.zeros(2, 2, 2, dtype=torch.long)}, r"after should be \[2, 3, 2\]"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_named(backend, change, message):
    tokens, before, after, _, _ = draw(2, 3, 2, 27, 4, 0, False, False)
    args = {"tokens": tokens, "before": before, "after": after, "table": empty(2, 2, 4, 4), "narrow": True, **change}
    with pytest.raises(InputError, match=message):
        on(backend, *args.values())


def test_the_compiler_sees_what_is_changed():
    tokens, before, after, reset, mask = draw(2, 5, 2, 27, 4, 0, True, True)
    args = tokens, before, after, empty(2, 2, 4, 4), True, reset, mask, True
    bar = on("cpu", tokens, before, after, table := empty(2, 2, 4, 4), True, reset, mask)
    torch.library.opcheck(torch.ops.inn.counts.default, args)
    for backend in BACKENDS:
        ours = empty(2, 2, 4, 4)
        with use_backend(backend):
            compiled = torch.compile(lambda *t: counts(*t), fullgraph=True, backend="aot_eager")
            assert all(map(torch.equal, compiled(tokens, before, after, ours, True, reset, mask), bar))
            torch.compiler.reset()
        assert torch.equal(ours, table)


def test_it_can_be_exported():
    class Look(torch.nn.Module):
        def forward(self, tokens, before, after, table):
            table = table.clone()
            return *counts(tokens, before, after, table, True), table

    args = *draw(1, 4, 2, 27, 4, 0, False, False)[:3], empty(1, 2, 4, 4)
    program = torch.export.export(Look(), args)
    assert all(map(torch.equal, program.module()(*args), Look()(*args)))
