"""The table of followers: every backend against the loop, bit for bit, and the loop against a dictionary."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from inn.ops import use_backend
from inn.ops.lookup import EMPTY, RUNS, recall
from inn.ops.lookup.reference import place
from inn.system.errors import InputError

SYMBOLS = 3
"""So few that contexts come again and again."""


def on(name, *args):
    with use_backend(name):
        return recall(*args)


def start(batch, orders, slots, length=None):
    """A table and last symbols in which nothing is known."""
    table = torch.full((batch, len(orders), slots), EMPTY, dtype=torch.int32)
    return table, torch.full((batch, length or max(orders)), EMPTY)


def draw(batch, time, seed, reset, mask):
    """Symbols, steps with a reset, steps that count."""
    g = torch.Generator().manual_seed(seed)
    tokens = torch.randint(SYMBOLS, (batch, time), generator=g)
    resets, counts = torch.rand(2, batch, time, generator=g)
    return tokens, resets < 0.1 if reset else None, counts < 0.7 if mask else None


@pytest.mark.parametrize("backend", ["torch", "cpu"])
@given(
    batch=st.integers(1, 3),
    time=st.integers(1, 40),
    orders=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    slots=st.sampled_from([1, 2, 5, 16, 1000]),
    more=st.integers(0, 3),
    cuts=st.lists(st.integers(1, 39), max_size=3),
    reset=st.booleans(),
    mask=st.booleans(),
    seed=st.integers(0, 999),
)
@example(1, 3, [9], 1, 0, [1, 2], True, True, 0)  # longer than the text
@example(2, 40, [1, 1, 2], 2, 3, [7], False, False, 1)  # contexts that take each other's place
def test_equals_the_reference_in_any_split(backend, batch, time, orders, slots, more, cuts, reset, mask, seed):
    tokens, resets, counts = draw(batch, time, seed, reset, mask)
    theirs, ours = (start(batch, orders, slots, max(orders) + more) for _ in range(2))
    bar = on("reference", tokens, *theirs, orders, resets, counts)
    edges = [0, *sorted({c for c in cuts if c < time}), time]
    found = []
    for a, b in itertools.pairwise(edges):
        marks = (None if m is None else m[:, a:b] for m in (resets, counts))
        found.append(on(backend, tokens[:, a:b], *ours, orders, *marks))
    assert torch.equal(torch.cat(found, 1), bar)
    for a, b in zip(ours, theirs, strict=True):  # changed in place, to the same
        assert torch.equal(a, b)
        assert a.dtype == b.dtype


@given(st.integers(1, 60), st.integers(1, 4), st.integers(0, 999))
def test_the_reference_is_a_dictionary(time, k, seed):
    """With room for all, what is found is the last follower of the context, and for how long it has been right."""
    tokens = draw(1, time, seed, False, False)[0]
    table, recent = start(1, [k], 2**24)
    found = on("reference", tokens, table, recent, [k])[0, :, 0].tolist()
    text, known = [EMPTY] * k + tokens[0].tolist(), {}
    for t in range(time):
        before, now, symbol = tuple(text[t : t + k]), tuple(text[t + 1 : t + k + 1]), text[t + k]
        last, run = known.get(before, (None, 0))
        known[before] = (symbol, min(run + 1, RUNS - 1) if last == symbol else 0)
        symbol, run = known.get(now, (None, 0))
        assert found[t] == (EMPTY if symbol is None else symbol * RUNS + run)
    assert recent[0].tolist() == text[-k:]


@pytest.mark.parametrize("backend", ["reference", "torch", "cpu"])
def test_a_run_counts_how_often_in_a_row_it_was_right(backend):
    tokens = torch.tensor([[0, 1] * 12 + [0, 2, 0]])
    found = on(backend, tokens, *start(1, [1], 64), [1])[0, :, 0]
    after_zero = found[tokens[0] == 0].tolist()
    assert after_zero == [EMPTY, *(RUNS + min(n, RUNS - 1) for n in range(12)), 2 * RUNS]


@pytest.mark.parametrize("backend", ["reference", "torch", "cpu"])
def test_the_largest_symbol_has_room(backend):
    most = 2**21 - 1
    tokens = torch.tensor([[most] * 12])
    found = on(backend, tokens, *start(1, [2], 64), [2])[0, :, 0]
    assert found[-1] == most * RUNS + RUNS - 1


@pytest.mark.parametrize("backend", ["reference", "torch", "cpu"])
def test_a_reset_forgets_and_a_masked_step_is_none(backend):
    tokens, _, mask = draw(2, 30, 5, False, True)
    ours = start(2, [1, 3], 50)
    found = on(backend, tokens, *ours, [1, 3], None, mask)
    assert (found[~mask] == EMPTY).all()
    for b in range(2):
        alone = start(1, [1, 3], 50)
        assert torch.equal(on(backend, tokens[b : b + 1, mask[b]], *alone, [1, 3])[0], found[b, mask[b]])
        assert torch.equal(ours[0][b], alone[0][0])
    reset = torch.zeros(2, 30, dtype=torch.bool)
    reset[1, 0] = True
    kept, fresh = [t.clone() for t in ours], start(2, [1, 3], 50)
    found = on(backend, tokens, *ours, [1, 3], reset)
    assert torch.equal(found[1], on(backend, tokens, *fresh, [1, 3])[1])
    assert torch.equal(found[0], on(backend, tokens, *kept, [1, 3])[0])


def test_another_context_in_the_same_slot_counts_as_nothing():
    """With one slot all contexts meet there; the check bits tell most of them apart."""
    tokens = torch.randint(50, (1, 400), generator=torch.Generator().manual_seed(0))
    found = on("cpu", tokens, *start(1, [2], 1), [2])
    assert (found == EMPTY).float().mean() > 0.95
    assert len({place([a, b], 1)[1] for a in range(50) for b in range(50)}) == 128


def test_results_do_not_depend_on_threads():
    tokens = draw(5, 300, 0, False, False)[0]
    before = torch.get_num_threads()
    results = []
    for threads in (1, 3):
        torch.set_num_threads(threads)
        state = start(5, [2, 3], 100)
        results.append([on("cpu", tokens, *state, [2, 3]), *state])
    torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


@pytest.mark.parametrize("backend", ["reference", "torch", "cpu"])
def test_looking_up_learns_nothing(backend):
    learned, recent = start(1, [1, 2], 64)
    recall(torch.tensor([[0, 1, 2, 0, 1, 2]]), learned, recent, [1, 2])
    table = learned.clone()
    found = on(backend, torch.tensor([[0, 0, 1]]), table, recent, [1, 2], None, None, False)
    assert torch.equal(table, learned)
    assert recent[0].tolist() == [0, 1]  # contexts go on
    #                     after 2 0: 1, seen once | 0: 1, right once; 0 0: never | 1: 2, right once; 0 1: 2, right once
    assert found[0].tolist() == [[1 * RUNS + 1, 1 * RUNS], [1 * RUNS + 1, EMPTY], [2 * RUNS + 1, 2 * RUNS + 1]]


def test_says_why_it_cannot_take_a_call():
    tokens = torch.zeros(2, 3, dtype=torch.long)
    table, recent = start(2, [1, 2], 8)
    assert recall.choose(tokens, table, recent, [1, 2])[0].name == "cpu"
    strided = table.mT.contiguous().mT
    backend, reasons = recall.choose(tokens, strided, recent, [1, 2])
    assert backend.name == "torch"
    assert "dense" in reasons["cpu"]
    assert "not on meta" in recall.choose(tokens.to("meta"), table, recent, [1, 2])[1]["cpu"]
    with pytest.raises(InputError, match="dense"):
        on("cpu", tokens, strided, recent, [1, 2])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"orders": [1, 4]}, "orders"),
        ({"orders": [1, 0]}, "orders"),
        ({"orders": [1]}, "table"),
        ({"table": torch.zeros(2, 2, 8)}, "int32"),
        ({"recent": torch.zeros(2, 3, dtype=torch.int32)}, "int64"),
        ({"recent": torch.zeros(1, 3, dtype=torch.long)}, "recent"),
        ({"tokens": torch.zeros(2, 3)}, "int64"),
        ({"mask": torch.ones(2, 2, dtype=torch.bool)}, "mask"),
    ],
    ids=str,
)
def test_the_kernel_refuses_what_does_not_fit(change, message):
    table, recent = start(2, [1, 2], 8, length=3)
    args = {"tokens": torch.zeros(2, 3, dtype=torch.long), "table": table, "recent": recent, "orders": [1, 2]}
    with pytest.raises((RuntimeError, InputError), match=message):
        on("cpu", *{**args, "reset": None, "mask": None, **change}.values())


def test_a_table_that_is_not_dense_is_changed_in_place_too():
    tokens = draw(2, 20, 0, False, False)[0]
    state, bar = start(2, [1, 2], 16), start(2, [1, 2], 16)
    strided = state[0].mT.contiguous().mT
    assert torch.equal(recall(tokens, strided, state[1], [1, 2]), recall(tokens, *bar, [1, 2]))
    assert torch.equal(strided, bar[0])


def test_the_compiler_sees_what_is_changed():
    from inn.ops.cpu.library import why_not

    assert why_not() is None
    tokens = draw(2, 20, 0, False, True)[0]
    table, recent = start(2, [1, 2], 16)
    torch.library.opcheck(torch.ops.inn.recall.default, (tokens, table, recent, [1, 2], None, None, True))

    def run(tokens, table, recent):
        return recall(tokens, table, recent, [1, 2]) + table.sum()

    ours, bar = start(2, [1, 2], 16), start(2, [1, 2], 16)
    compiled = torch.compile(run, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(tokens, *ours), run(tokens, *bar))
    assert torch.equal(ours[0], bar[0])
    assert torch.equal(ours[1], bar[1])
