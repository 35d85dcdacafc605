"""What counts of followers say, against the loop in float64: results and all gradients."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from inn.ops import use_backend
from inn.ops.cpu.library import why_not
from inn.ops.votes import BUCKETS, expected, votes
from inn.ops.votes.reference import LEVELS, bucket, followers
from inn.ops.votes.torch import buckets
from inn.system.errors import InputError

KINDS = [("torch", "float64"), ("torch", "bfloat16"), ("cpu", "float32"), ("cpu", "bfloat16"), ("torch", "float16")]
sizes = st.tuples(st.integers(1, 3), st.integers(1, 20), st.integers(1, 3), st.sampled_from([1, 2, 6, 17]))


def slots(shape, vocab, seed=0, known=0.6):
    """Slots `[B, T, K, F]` as tables have them: distinct followers, none from some place on; often the last one's."""
    g = torch.Generator().manual_seed(seed)
    batch, time, contexts, most = shape
    symbols = torch.rand(batch, time, contexts, max(vocab, most), generator=g).argsort(-1)[..., :most] % vocab
    counts = (torch.rand(shape, generator=g) ** 4 * 256).int().clamp(1, 255)
    room = torch.rand(batch, time, contexts, 1, generator=g) < known
    none = torch.arange(most) >= torch.randint(most + 1, (batch, time, contexts, 1), generator=g) * room
    found = (symbols.int() << 8 | counts).masked_fill(none, -1)
    runs = torch.randint(8, shape[:3], generator=g, dtype=torch.int32)
    which = torch.randint(most, (*shape[:3], 1), generator=g)
    last = symbols.gather(-1, which)[..., 0].int() << 3 | runs
    return found, last.masked_fill(none.all(-1), -1)


def tensors(op, shape, vocab, width, seed):
    """The floats that an op takes, in float64."""
    g = torch.Generator().manual_seed(seed)
    other = (vocab, width) if op is expected else shape[:3]
    return [torch.randn(s, generator=g).double() for s in ((shape[2], BUCKETS), other)]


def on(backend, op, found, last, vocab):
    def run(*floats):
        with use_backend(backend):
            return (op(found, last, *floats, *([vocab] if op is votes else [])),)

    return run


@pytest.mark.parametrize("op", [votes, expected])
@pytest.mark.parametrize(("backend", "kind"), KINDS)
@settings(max_examples=8)
@given(shape=sizes, vocab=st.sampled_from([1, 3, 27]), width=st.sampled_from([1, 5, 24]), seed=st.integers(0, 99))
@example((2, 3, 2, 30), 5000, 24, 0)
@example((1, 1, 1, 1), 2, 33, 1)
@example((16, 40, 1, 3), 27, 16, 2)  # sums in parts
def test_equals_the_reference(kit, op, backend, kind, shape, vocab, width, seed):
    with_gradients, close, _ = kit
    kind, slot = getattr(torch, kind), slots(shape, vocab, seed)
    ours = [t.to(kind) for t in tensors(op, shape, vocab, width, seed)]
    bar = with_gradients(on("reference", op, *slot, vocab), [t.double() for t in ours])
    found = with_gradients(on(backend, op, *slot, vocab), ours)
    assert [t.dtype for t in found] == [kind] * 3
    half = {torch.bfloat16: 0.02, torch.float16: 0.005}
    close(found, bar, "y gtable gother", half.get(kind, 1e-5 if kind == torch.float32 else 1e-12))


def test_a_bucket_tells_counts_others_and_the_last_symbol_apart():
    starts = [*range(6), 6, 7, 9, 12, 16, 24, 36, 60, 100, 180, 256]
    assert [LEVELS.count(level) for level in range(16)] == [b - a for a, b in itertools.pairwise(starts)]
    assert bucket(5, 7000, None) == (5 * 16 + 15) * 4
    assert [bucket(0, 0, run) for run in range(8)] == [1, 2, 2, 3, 3, 3, 3, 3]


def every_bucket():
    """Slots of two followers with all pairs of counts, and large sums beside a third; all runs."""
    a, b = (t.flatten() for t in torch.meshgrid(torch.arange(1, 256), torch.arange(1, 256), indexing="ij"))
    found = torch.stack((a, 256 + b, torch.full_like(a, -1)), -1)
    found[::7, 2] = 2 * 256 + 255
    return found.int()[None, :, None], ((a + b) % 4 * 8 + a % 8).int()[None, :, None]


def test_every_backend_has_the_same_buckets():
    """The number of a bucket is the bucket: what comes out is where it was looked up."""
    found, last = every_bucket()
    table, weights = torch.arange(BUCKETS).float()[None], torch.ones(found.shape[:3])
    bar = torch.zeros(1, found.shape[1], 3)
    for t in range(0, found.shape[1], 11):
        for symbol, q in followers(found[0, t, 0], last[0, t, 0]):
            bar[0, t, symbol] = q
    for backend in ("torch", "cpu"):
        said = on(backend, votes, found, last, 3)(table, weights)[0]
        assert torch.equal(said[:, ::11], bar[:, ::11])
    none, _, which = buckets(found, last)
    assert torch.equal(said, which.masked_fill(none, 0)[:, :, 0].float())


@pytest.mark.parametrize("op", [votes, expected])
@pytest.mark.parametrize("backend", ["torch", "cpu"])
def test_a_slot_without_followers_adds_nothing_whatever_its_weight(op, backend):
    found, last = slots((1, 4, 2, 3), 5)
    found[0, 1], last[0, 1] = -1, -1
    table, other = (t.float() for t in tensors(op, found.shape, 5, 4, 0))
    if op is votes:
        other[0, 1] = torch.nan
    table[:, 0] = torch.nan  # of no follower that was counted
    leaves = [table.requires_grad_(), other.requires_grad_()]
    (y,) = on(backend, op, found, last, 5)(*leaves)
    gradients = torch.autograd.grad(y.sum(), leaves)
    assert all(t.isfinite().all() for t in (y, *gradients))
    assert (y[0, 1] == 0).all()
    assert (gradients[0][:, 0] == 0).all()


@pytest.mark.parametrize("op", [votes, expected])
@pytest.mark.parametrize("vocab", [27, 500])  # with sums in parts
def test_results_do_not_depend_on_the_number_of_threads(kit, op, vocab):
    shape = (4, 100, 3, 6)
    floats, slot = [t.float() for t in tensors(op, shape, vocab, 24, 0)], slots(shape, vocab)
    before, results = torch.get_num_threads(), []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        results.append(kit[0](on("cpu", op, *slot, vocab), floats))
    torch.set_num_threads(before)
    assert all(torch.equal(a, b) for other in results[1:] for a, b in zip(results[0], other, strict=True))


@pytest.mark.parametrize("op", [votes, expected])
@pytest.mark.parametrize("empty", [0, 1, 2, 3])
def test_nothing_gives_nothing(op, empty):
    shape = [2, 3, 2, 4]
    shape[empty] = 0
    found, last = torch.zeros(shape).int(), torch.zeros(shape[:3]).int()
    floats = [t.float().requires_grad_() for t in tensors(op, shape, 5, 3, 0)]
    for backend in ("torch", "reference"):
        (y,) = on(backend, op, found, last, 5)(*floats)
        assert y.shape == ((*shape[:2], 5) if op is votes else (*shape[:3], 3))
        assert (y == 0).all()
    given = (found, last, *floats, *([5] if op is votes else []))
    assert op.choose(*given)[0].name == "torch"


@pytest.mark.parametrize("op", [votes, expected])
@pytest.mark.parametrize("backend", ["torch", "reference"])
def test_gradients_equal_finite_differences(op, backend):
    shape = (1, 3, 2, 3)
    few = [tensors(op, shape, 4, 2, 0)[0][:, :8], tensors(op, shape, 4, 2, 0)[1]]
    run = on(backend, op, *slots(shape, 4), 4)
    inputs = [t.requires_grad_() for t in few]
    assert torch.autograd.gradcheck(lambda table, other: run(table.repeat(1, BUCKETS // 8), other), inputs)
    assert torch.autograd.gradgradcheck(lambda table, other: run(table.repeat(1, BUCKETS // 8), other), inputs)


@pytest.mark.parametrize("op", [votes, expected])
@pytest.mark.parametrize("which", [0, 1])
def test_a_gradient_follows_any_one_argument(op, which):
    floats = [t.float() for t in tensors(op, (2, 3, 2, 4), 5, 3, 0)]
    floats[which].requires_grad_()
    slot = slots((2, 3, 2, 4), 5)
    found = [torch.autograd.grad(on(b, op, *slot, 5)(*floats)[0].sum(), floats[which])[0] for b in ("cpu", "reference")]
    torch.testing.assert_close(*found)
    with torch.no_grad():
        assert not on("cpu", op, *slot, 5)(*floats)[0].requires_grad


@pytest.mark.skipif(why_not() is not None, reason="no compiler")
def test_the_operators_are_told_to_pytorch_as_they_are():
    found, last = slots((2, 3, 2, 4), 5)
    ops, checks = torch.ops.inn, ("test_schema", "test_autograd_registration", "test_faketensor")
    for op in (votes, expected):
        floats = [t.float().requires_grad_() for t in tensors(op, found.shape, 5, 3, 0)]
        forward = (ops.votes_fwd.default, (found, last, *floats, 5)) if op is votes else None
        forward = forward or (ops.expected_fwd.default, (found, last, *floats))
        torch.library.opcheck(*forward, test_utils=checks)
        g = torch.randn_like(forward[0](*forward[1])).detach()
        backward = ops.votes_bwd.default if op is votes else ops.expected_bwd.default
        torch.library.opcheck(backward, (g, found, last, *(t.detach() for t in floats)), test_utils=checks)


class Both(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.symbols = (torch.nn.Parameter(t.float()) for t in tensors(expected, (2, 3, 2, 4), 5, 3, 0))

    def forward(self, found, last):
        heard = expected(found, last, self.table, self.symbols)
        return votes(found, last, self.table, heard.sum(-1), 5)


@pytest.mark.parametrize("backend", ["torch", "cpu"])
def test_compiled_and_exported_it_is_the_same(backend):
    model, slot = Both(), slots((2, 3, 2, 4), 5)
    with use_backend(backend):
        plain = model(*slot)
        bar = torch.autograd.grad(plain.sin().sum(), list(model.parameters()))
        compiled = torch.compile(model, fullgraph=True, backend="aot_eager")(*slot)
        found = torch.autograd.grad(compiled.sin().sum(), list(model.parameters()))
        any_size = {0: torch.export.Dim("batch"), 1: torch.export.Dim("time")}
        exported = torch.export.export(model, slot, dynamic_shapes=(any_size, any_size)).module()
        longer = slots((3, 7, 2, 4), 5)
        torch.testing.assert_close(exported(*longer), model(*longer))
    torch.testing.assert_close([compiled, *found], [plain, *bar])


@pytest.mark.skipif(why_not() is not None, reason="no compiler")
def test_a_flop_counter_counts_each_follower_and_twice_that_backwards():
    model, slot = Both(), slots((2, 3, 2, 4), 5)
    with FlopCounterMode(display=False) as counter:
        model(*slot).sum().backward()
    entries, width = 2 * 3 * 2 * 4, 3
    assert counter.get_total_flops() == 3 * 2 * entries * (1 + width)


@pytest.mark.parametrize("backend", ["reference", "torch", "cpu"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"found": torch.zeros(2, 3, 2).int()}, r"found should be \[B, T, K, F\], not \[2, 3, 2\]"),
        ({"last": torch.zeros(2, 3, 1).int()}, r"last should be \[2, 3, 2\], not \[2, 3, 1\]"),
        ({"table": torch.zeros(2, 512)}, r"table should be \[2, 1024\], not \[2, 512\]"),
        ({"weights": torch.zeros(2, 3)}, r"weights should be \[2, 3, 2\], not \[2, 3\]"),
    ],
    ids=["found", "last", "table", "weights"],
)
def test_refuses_what_does_not_fit(backend, change, message):
    found, last = slots((2, 3, 2, 4), 5)
    given = {"found": found, "last": last, "table": torch.zeros(2, BUCKETS), "weights": torch.zeros(2, 3, 2)}
    with use_backend(backend), pytest.raises(InputError, match=message):
        votes(**{**given, **change}, vocab=5)


@pytest.mark.parametrize("backend", ["reference", "torch", "cpu"])
def test_a_symbol_that_is_none_is_not_written(backend):
    found, last = torch.full((1, 1, 1, 2), 5 << 8 | 1).int(), torch.zeros(1, 1, 1).int()
    with pytest.raises((RuntimeError, IndexError)):
        on(backend, votes, found, last, 5)(torch.ones(1, BUCKETS), torch.ones(1, 1, 1))
    with pytest.raises((RuntimeError, IndexError)):
        on(backend, expected, found, last, 5)(torch.ones(1, BUCKETS), torch.ones(5, 3))


def test_says_why_it_cannot_take_a_call():
    found, last = slots((2, 3, 2, 4), 5)
    table, weights = torch.zeros(2, BUCKETS), torch.zeros(2, 3, 2)
    assert votes.choose(found, last, table, weights, 5)[0].name == "cpu"
    assert "int32" in votes.choose(found.long(), last, table, weights, 5)[1]["cpu"]
    assert "float64" in votes.choose(found, last, table, weights.double(), 5)[1]["cpu"]
    assert "not on meta" in votes.choose(found.to("meta"), last, table, weights, 5)[1]["cpu"]
