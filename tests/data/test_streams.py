from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from inn.data.streams import Streams
from inn.system.errors import InputError

# Streams, window, and a text that is long enough for them, by little or by much.
sizes = st.tuples(st.integers(1, 5), st.integers(1, 20), st.integers(0, 300)).map(
    lambda t: (t[0] * (t[1] + 1) + t[2], t[0], t[1])
)


def streams_of(n: int, batch: int, window: int, **options) -> Streams:
    return Streams(np.arange(n, dtype=np.uint16), batch, window, **options)  # a symbol is its own place


@given(sizes, st.sampled_from(["contiguous", "random"]), st.integers(0, 3))
def test_targets_are_the_symbols_after_the_inputs(size, order, seed):
    n, batch, window = size
    streams = streams_of(n, batch, window, order=order, seed=seed)
    for _ in range(5):
        got = streams.next()
        assert got.inputs.shape == got.targets.shape == (batch, window)
        assert got.inputs.dtype == got.targets.dtype == torch.int64
        assert torch.equal(got.targets, got.inputs + 1)
        assert torch.equal(got.inputs, got.inputs[:, :1] + torch.arange(window))
        assert got.inputs.min() >= 0
        assert got.targets.max() < n


@given(sizes)
def test_a_pass_reads_every_symbol_once_and_resets_at_its_start_only(size):
    n, batch, window = size
    streams = streams_of(n, batch, window)
    length = n // batch
    left_out = (length - 1) % window
    for turn in range(4):
        first = left_out if turn % 2 else 0
        expected = np.arange(batch)[:, None] * length + np.arange(first, first + length - 1 - left_out)
        seen = []
        for k in range(streams.windows_per_pass):
            assert streams.passes == turn
            got = streams.next()
            seen.append(got.inputs)
            if k == 0:
                assert got.reset is not None
                assert got.reset.dtype == torch.bool
                assert got.reset.tolist() == [True] * batch
            else:
                assert got.reset is None
        # In order, each once, none of another stream's part, and at most window - 1 of each part left out.
        assert torch.cat(seen, dim=1).tolist() == expected.tolist()


def test_a_text_is_read_forward_a_segment_at_a_time(monkeypatch):
    monkeypatch.setattr("inn.data.streams.SEGMENT", 100)
    streams = streams_of(350, 3, 8, order="forward")
    assert streams.edges == [0, 116, 233, 350]
    for turn in range(2):
        for begin, end in pairwise(streams.edges):
            part, seen = (end - begin) // 3, []
            for k in range((part - 1) // 8):
                assert streams.passes == turn
                got = streams.next()
                assert (got.reset is not None) == (k == 0)
                assert got.starts is not None
                assert got.starts.tolist() == got.inputs[:, 0].tolist()
                seen.append(got.inputs)
            whole = np.concatenate([np.arange(begin + b * part, begin + b * part + len(seen) * 8) for b in range(3)])
            assert torch.cat(seen, 1).flatten().tolist() == whole.tolist()


@given(sizes)
def test_two_passes_leave_out_nothing(size):
    n, batch, window = size
    streams = streams_of(n, batch, window)
    length = n // batch
    seen = set()
    for _ in range(2 * streams.windows_per_pass):
        seen |= set(streams.next().targets.flatten().tolist())
    starts = {b * length for b in range(batch)}  # the first symbol of a part is never predicted
    assert seen == set(range(batch * length)) - starts


@given(sizes, st.sampled_from(["contiguous", "forward", "random"]), st.integers(0, 40), st.integers(1, 40))
def test_a_stored_position_continues_identically(size, order, before, after):
    n, batch, window = size
    streams = streams_of(n, batch, window, order=order, seed=7)
    for _ in range(before):
        streams.next()
    stored = json.loads(json.dumps(streams.state_dict()))
    again = streams_of(n, batch, window, order=order, seed=7)
    again.load_state_dict(stored)
    for _ in range(after):
        one, other = streams.next(), again.next()
        assert torch.equal(one.inputs, other.inputs)
        assert torch.equal(one.targets, other.targets)
        assert (one.reset is None) == (other.reset is None)
    assert streams.state_dict() == again.state_dict()


def test_random_windows_differ_by_step_and_seed_and_reach_both_ends():
    streams = streams_of(12, 8, 4, order="random", seed=1)
    batches = [streams.next() for _ in range(60)]
    starts = {int(i) for b in batches for i in b.inputs[:, 0]}
    assert starts == set(range(8))  # the last window that fits starts at 12 - 4 - 1
    assert all(b.reset is not None and b.reset.all() for b in batches)
    assert len({tuple(b.inputs[:, 0].tolist()) for b in batches}) > 50
    other = streams_of(12, 8, 4, order="random", seed=2)
    assert [other.next().inputs.tolist() for _ in range(5)] != [b.inputs.tolist() for b in batches[:5]]


@pytest.mark.parametrize(
    ("n", "batch", "window", "order"), [(9, 1, 9, "random"), (9, 2, 4, "contiguous"), (0, 1, 1, "random")]
)
def test_too_short_a_text_is_refused_with_the_numbers(n, batch, window, order):
    with pytest.raises(InputError) as error:
        Streams(np.zeros(n, np.uint8), batch, window, order, name="corpus 'x'")
    assert f"corpus 'x' has {n} symbols" in str(error.value)
    assert f"needs {window + 1} " in str(error.value)
    assert "--data.window" in str(error.value)
    Streams(
        np.zeros(max(n, 1) + batch, np.uint8), batch, min(window, max(n, 1) // batch), order
    )  # a little more is enough


@pytest.mark.parametrize("change", [{"batch": 3}, {"window": 5}, {"order": "random"}, {"seed": 1}, {"n": 60}])
def test_a_position_of_other_streams_is_refused(change):
    settings = {"n": 50, "batch": 2, "window": 4, "order": "contiguous", "seed": 0}
    stored = streams_of(**settings).state_dict()
    with pytest.raises(InputError, match="stored position"):
        streams_of(**{**settings, **change}).load_state_dict(stored)


def test_bad_arguments_are_sentences():
    symbols = np.zeros(10, np.uint8)
    with pytest.raises(InputError, match="did you mean 'random'"):
        Streams(symbols, 1, 1, "randm")
    with pytest.raises(InputError, match="batch must be at least 1, not 0"):
        Streams(symbols, 0, 1)
    with pytest.raises(InputError, match="window must be at least 1, not -1"):
        Streams(symbols, 1, -1)


def test_mapped_pages_are_let_go_and_read_again(tmp_path, monkeypatch):
    monkeypatch.setattr("inn.data.streams._RELEASE", 1)
    written = np.arange(40_000, dtype=np.uint16)
    written.tofile(tmp_path / "symbols.bin")
    mapped = np.memmap(tmp_path / "symbols.bin", np.uint16, mode="r")
    streams = Streams(mapped, 2, 999)
    seen = torch.cat([streams.next().inputs for _ in range(streams.windows_per_pass)], dim=1)
    assert seen[0].tolist() == written[: seen.shape[1]].tolist()
    # A private, writable map would lose what was written to it.
    private = np.memmap(tmp_path / "symbols.bin", np.uint16, mode="c")
    private[:] = 7
    assert Streams(private, 1, 100).next().inputs.unique().tolist() == [7]
    assert private[0] == 7


def positions(streams: Streams, windows: int) -> list[list[int]]:
    """Where each stream's windows start, in a text of consecutive numbers."""
    return [streams.next().inputs[:, 0].tolist() for _ in range(windows)]


@pytest.mark.parametrize("rest", [0, 5, 37])
def test_shuffled_stretches_read_everything_once_in_a_pass(rest):
    batch, window = 3, 4
    streams = Streams(np.arange(batch * window * 80 + 1 + rest), batch, window, "shuffled", seed=5)
    stretch, per_pass = streams.stretch, streams.windows_per_pass
    assert stretch > 1
    first = positions(streams, per_pass)
    # A stream reads on inside a stretch; streams change over at times of their own.
    moves = [[b - a == window for a, b in zip(x, y)] for x, y in pairwise(first)]
    jumps = [sum(not row[b] for row in moves) for b in range(batch)]
    assert all(per_pass // stretch - 1 <= n <= per_pass // stretch + 1 for n in jumps)
    assert not any(sum(not ok for ok in row) > 1 for row in moves)
    # Without the phases, a pass is every stretch at most once: nothing is read twice.
    read = [x for row in first for x in row]
    assert len(set(read)) >= len(read) - batch * stretch
    second = positions(streams, per_pass)
    assert first != second
    assert streams.passes == 2
    again = Streams(np.arange(batch * window * 80 + 1 + rest), batch, window, "shuffled", seed=5)
    assert positions(again, per_pass) == first


def test_resets_are_where_a_stretch_begins():
    streams = Streams(np.arange(3 * 4 * 80 + 1), 3, 4, "shuffled", seed=1)
    before = streams.next()
    assert before.reset is not None
    assert before.reset.all()
    for _ in range(300):
        now = streams.next()
        jumped = now.inputs[:, 0] != before.inputs[:, -1] + 1
        resets = torch.zeros(3, dtype=torch.bool) if now.reset is None else now.reset
        assert bool((resets >= jumped).all())  # two stretches may follow one another by chance
        assert int(resets.sum()) <= int(jumped.sum()) + 1
        before = now


@pytest.mark.parametrize("order", ["contiguous", "forward", "shuffled", "random"])
def test_streams_shared_by_processes_are_the_streams_of_one(order):
    text = np.arange(4000)
    whole = Streams(text, 6, 5, order, seed=2)
    shares = [Streams(text, 6, 5, order, seed=2, rows=slice(i, i + 2)) for i in (0, 2, 4)]
    for _ in range(150):
        batch, parts = whole.next(), [share.next() for share in shares]
        assert torch.equal(batch.inputs, torch.cat([part.inputs for part in parts]))
        assert torch.equal(batch.targets, torch.cat([part.targets for part in parts]))
        resets = torch.cat([torch.zeros(2, dtype=torch.bool) if p.reset is None else p.reset for p in parts])
        assert torch.equal(torch.zeros(6, dtype=torch.bool) if batch.reset is None else batch.reset, resets)
    assert shares[0].state_dict() == whole.state_dict()
    other = Streams(text, 6, 5, order, seed=2)
    other.load_state_dict(shares[1].state_dict())
    assert torch.equal(other.next().inputs, whole.next().inputs)
