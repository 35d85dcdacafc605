"""Keys of contexts: every backend against the loop, bit for bit, and the loop against what a reader writes down."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from inn.ops import use_backend
from inn.ops.keys import COLUMN, EMPTY, LAST, WORD, histories, keys
from inn.ops.keys.reference import context
from inn.system.errors import InputError

NEWLINE = 4
LETTERS = torch.tensor([False, True, True, True])
"""Of symbols 0 to 5: 0 is a space, 4 a newline, and 5 is none of the four that the letters tell of."""
BACKENDS = ["torch", "cpu"]


def on(name, *args):
    with use_backend(name):
        return keys(*args)


def draw(batch, time, length, seed, reset, mask):
    """Symbols, those before them, steps with a reset, steps that count; some symbols are no letter."""
    g = torch.Generator().manual_seed(seed)
    stream = torch.randint(6, (batch, length + time), generator=g)
    recent, tokens = stream[:, :length].clone(), stream[:, length:]
    first = torch.randint(length + 1, (batch, 1), generator=g)
    recent[torch.arange(length) < first] = EMPTY
    resets, counts = torch.rand(2, batch, time, generator=g)
    return tokens, recent, resets < 0.1 if reset else None, counts < 0.7 if mask else None


def specs(length):
    last = [(LAST, skip, n) for skip in (0, 1, 3) for n in (0, 1, 2, 6) if skip + n <= length]
    return [*last, *((WORD, n, 0) for n in range(3)), (COLUMN, NEWLINE, 0), (COLUMN, -1, 0)]


@pytest.mark.parametrize("backend", BACKENDS)
@given(
    batch=st.integers(0, 3),
    time=st.integers(0, 30),
    length=st.integers(0, 20),
    cuts=st.lists(st.integers(1, 29), max_size=3),
    reset=st.booleans(),
    mask=st.booleans(),
    seed=st.integers(0, 999),
)
@example(1, 600, 12, [300], True, True, 0)  # several blocks of steps
@example(0, 0, 0, [], True, True, 0)
def test_equals_the_reference_in_any_split(backend, batch, time, length, cuts, reset, mask, seed):
    tokens, recent, resets, counts = draw(batch, time, length, seed, reset, mask)
    asked = specs(length)
    bar = on("reference", tokens, recent, asked, LETTERS, resets, counts)
    edges = [0, *sorted({c for c in cuts if c < time}), time]
    found, given_ = [], recent.clone()
    for a, b in itertools.pairwise(edges):
        marks = (None if m is None else m[:, a:b] for m in (resets, counts))
        *both, recent = on(backend, tokens[:, a:b], recent, asked, LETTERS, *marks)
        found.append(both)
    for ours, theirs in zip([*(torch.cat(f, 1) for f in zip(*found, strict=True)), recent], bar, strict=True):
        assert torch.equal(ours, theirs)
        assert ours.dtype == torch.int64
    assert edges != [0, time] or torch.equal(given_, draw(batch, time, length, seed, reset, mask)[1])  # not changed


def test_contexts_are_what_they_are_said_to_be():
    text = {c: i for i, c in enumerate("abcdefghijklmnopqrstuvwxyz ,\n")}
    letters, newline = frozenset(range(26)), text["\n"]

    def read(written, spec):
        kind, a, b = spec
        numbers = context([text[c] for c in reversed(written)], (kind, newline if kind == COLUMN else a, b), letters)
        return [
            n if kind == COLUMN and i == 0 else ("-" if n == EMPTY else list(text)[n]) for i, n in enumerate(numbers)
        ]

    assert read("the cat", (LAST, 0, 3)) == [*"tac"]
    assert read("the cat", (LAST, 2, 3)) == [*"c e"]
    assert read("the cat", (WORD, 0, 0)) == [*"tac"]
    assert read("one, the  cat", (WORD, 1, 0)) == [*"tac-eht"]
    assert read("one, the  cat", (WORD, 2, 0)) == [*"tac-eht-eno"]
    assert read("the cat ", (WORD, 0, 0)) == []
    assert read("the cat, ", (WORD, 1, 0)) == [*"-tac"]
    assert read("cat", (WORD, 2, 0)) == [*"tac"]
    assert read("xx\nabcd\nefg", (COLUMN, 0, 0)) == [3, "d"]
    assert read("xx\nabc\nefg", (COLUMN, 0, 0)) == [3, "\n"]
    assert read("xx\nab\nefg", (COLUMN, 0, 0)) == [3, "-"]
    assert read("xx\nab\n", (COLUMN, 0, 0)) == [0, "a"]
    assert read("ab\nef", (COLUMN, 0, 0)) == [2, "-"]  # where the line before begins is not known
    assert read("abef", (COLUMN, 0, 0)) == [EMPTY, "-"]


@pytest.mark.parametrize("backend", ["reference", *BACKENDS])
def test_keys_do_not_change_with_place_nor_with_what_stands_further_back(backend):
    recent = torch.tensor([[0, 1, 2, 3], [5, 1, 2, 3]])
    tokens = torch.zeros(2, 1, dtype=torch.long)
    first = on(backend, tokens, recent, [(LAST, 0, 3), (LAST, 0, 4), (WORD, 0, 0)], LETTERS)[0]
    turned = on(backend, tokens, recent, [(WORD, 0, 0), (LAST, 0, 3)], LETTERS)[0]
    assert torch.equal(first[..., [2, 0]], turned)
    assert torch.equal(first[0] == first[1], torch.tensor([[True, False, True]]))
    assert len(set(first.flatten().tolist())) == 4
    empty = on(backend, tokens, torch.full((2, 4), EMPTY), [(LAST, 0, 3)])
    assert empty[0][0, 0, 0] != empty[1][0, 0, 0]


def test_keys_are_spread():
    """Places and check bits of contexts that differ in one symbol are as good as drawn."""
    found = on("cpu", torch.arange(20000)[None], torch.full((1, 2), EMPTY), [(LAST, 0, 2)])[1].flatten()
    for part, size in ((found & 2**40 - 1, 256), (found >> 56 & 255, 256), (found & 255, 256)):
        times = torch.bincount(part % size, minlength=size).double()
        assert (times - 20000 / size).square().sum() / (20000 / size) < 350  # χ² of 255 degrees: 255 ± 23


def test_histories_go_on_over_masked_steps_and_begin_at_a_reset():
    tokens = torch.tensor([[5, 6, 7, 8]])
    mask, reset = torch.tensor([[True, False, True, True]]), torch.tensor([[False, False, False, True]])
    found = histories(tokens, torch.tensor([[3, 4]]), reset, mask)
    assert found.tolist() == [[[4, 5], [4, 5], [5, 7], [EMPTY, 8]]]


def test_results_do_not_depend_on_threads():
    tokens, recent, reset, mask = draw(2, 2000, 9, 0, True, True)
    before, results = torch.get_num_threads(), []
    for threads in (1, 3):
        torch.set_num_threads(threads)
        results.append(on("cpu", tokens, recent, specs(9), LETTERS, reset, mask))
    torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


@pytest.mark.parametrize("backend", ["reference", *BACKENDS])
@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ((LAST, 2, 3), "5 symbols; keep 0 to 4"),
        ((WORD, 3, 0), "3 words"),
        ((WORD, 1, 0), "letters"),
        ((7, 0, 0), "kind"),
    ],
    ids=str,
)
def test_what_cannot_be_asked_is_named(backend, spec, message):
    with pytest.raises(InputError, match=message):
        on(backend, torch.zeros(1, 2, dtype=torch.long), torch.zeros(1, 4, dtype=torch.long), [spec])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tokens": torch.zeros(2, 3)}, "int64"),
        ({"recent": torch.zeros(1, 4, dtype=torch.long)}, "recent"),
        ({"mask": torch.ones(2, 2, dtype=torch.bool)}, "mask"),
        ({"letters": torch.ones(2, 2, dtype=torch.bool)}, "letters"),
    ],
    ids=str,
)
def test_the_kernel_refuses_what_does_not_fit(change, message):
    args = {"tokens": torch.zeros(2, 3, dtype=torch.long), "recent": torch.zeros(2, 4, dtype=torch.long)}
    args |= {"specs": [(WORD, 1, 0)], "letters": LETTERS, "reset": None, "mask": None, **change}
    with pytest.raises((RuntimeError, InputError), match=message):
        on("cpu", *args.values())


def test_the_compiler_takes_it_whole():
    tokens, recent, reset, mask = draw(2, 20, 7, 0, True, True)
    asked = specs(7)
    given_ = (tokens, recent, asked, LETTERS, reset, mask)
    bar = on("cpu", *given_)
    flat = [number for spec in asked for number in spec]
    torch.library.opcheck(torch.ops.inn.keys.default, (tokens, recent, flat, LETTERS, reset, mask))
    for backend in BACKENDS:
        with use_backend(backend):
            compiled = torch.compile(lambda *t: keys(*t), fullgraph=True, backend="aot_eager")
            assert all(torch.equal(a, b) for a, b in zip(compiled(*given_), bar, strict=True))
            torch.compiler.reset()
