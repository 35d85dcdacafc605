"""The delta rule: every backend against the loop in float64, outputs and all gradients."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import example, given
from hypothesis import strategies as st

from inn.ops import delta_scan, use_backend
from inn.system.errors import InputError

NAMES = "y last gq gk gv gdecay gbeta gstate"
ADDED = "y last gq gk gv gdecay gstate"
reference = delta_scan.backends["reference"].run


def on(name, erase=True):
    """The op on this backend, with β or without."""

    def run(q, k, v, decay, beta, *rest):
        with use_backend(name):
            return delta_scan(q, k, v, decay, beta, *rest)

    return run if erase else lambda q, k, v, decay, *rest: run(q, k, v, decay, None, *rest)


def tensors(shape, shared=False, erase=True, *, rate=0.1, seed=0):
    """q, k, v, decay, β, state in float64, values that float32 holds exactly; `shape` is B, T, N, H, K, V."""
    batch, time, neurons, heads, keys, values = shape
    g = torch.Generator().manual_seed(seed)
    sets = 1 if shared else heads

    def r(*shape):
        return torch.randn(*shape, generator=g)

    q, k = (F.normalize(r(batch, time, neurons, sets, keys), dim=-1).flatten(-2) for _ in range(2))
    beta = [2 * torch.rand(batch, time, neurons, heads, generator=g)] if erase else []
    decay = -rate * torch.rand(batch, time, neurons, heads, generator=g)
    v, state = r(batch, time, neurons, heads * values), r(batch, neurons, heads, keys, values)
    return [t.double() for t in (q, k, v, decay, *beta, state)]


def marks(shape, seed, often, mask):
    """Steps with a reset `[B, T]`, and steps that count, `[B, T]` or `[B, T, N]`."""
    g = torch.Generator().manual_seed(seed)
    reset = torch.rand(shape[:2], generator=g) < often
    return reset, None if mask is None else torch.rand(shape[:mask], generator=g) >= often


@pytest.mark.parametrize("backend", ["torch", "cpu"])
@given(
    shape=st.tuples(*(st.integers(1, n) for n in (3, 70, 3, 3, 9, 70))),
    shared=st.booleans(),
    erase=st.booleans(),
    reset=st.booleans(),
    mask=st.sampled_from([None, 2, 3]),
    rate=st.sampled_from([0.0, 1e-4, 0.1, 3.0]),
    layout=st.sampled_from(["dense", "neurons", "half", "half-neurons", "channels"]),
    seed=st.integers(0, 99),
)
@example((1, 1, 1, 1, 1, 1), False, True, False, None, 0.1, "dense", 0)
@example((2, 130, 2, 2, 5, 33), True, True, True, 3, 0.1, "half", 1)
@example((1, 66, 1, 2, 16, 112), False, False, True, 2, 0.1, "half-neurons", 2)
def test_equals_the_reference(kit, backend, shape, shared, erase, reset, mask, rate, layout, seed):
    with_gradients, close, laid_out = kit
    exact = tensors(shape, shared, erase, rate=rate, seed=seed)
    resets, counts = marks(shape, seed, 0.1, mask)
    options = (resets if reset else None, counts)
    single = [laid_out(t.float(), layout) if t.ndim == 4 else t.float() for t in exact]
    bar = with_gradients(on("reference", erase), exact, *options)
    loop = with_gradients(on("reference", erase), single, *options)
    close(with_gradients(on(backend, erase), single, *options), bar, NAMES if erase else ADDED, 1e-5, loop)


@pytest.mark.parametrize("backend", ["torch", "cpu"])
def test_a_keys_own_value_takes_the_place_of_the_old_one(backend):
    """With β 1, and no decay, a key that is read after it was written gives exactly what was written last."""
    k = F.one_hot(torch.tensor([0, 1, 0, 1, 2]), 3).double().view(1, 5, 1, 3)
    v, one = torch.randn(1, 5, 1, 2, dtype=torch.float64), torch.ones(1, 5, 1, 1, dtype=torch.float64)
    k, v, one = (t.float() if backend == "cpu" else t for t in (k, v, one))
    y, last = on(backend)(k, k, v, 0 * one, one, torch.zeros(1, 1, 1, 3, 2, dtype=v.dtype))
    torch.testing.assert_close(y, v)
    torch.testing.assert_close(last[0, 0, 0], v[0, [2, 3, 4], 0])


@pytest.mark.parametrize("backend", ["torch", "cpu"])
def test_bfloat16_values_with_a_float32_state(kit, backend):
    with_gradients, close, laid_out = kit
    exact = tensors((2, 70, 3, 2, 6, 20))
    exact[2] = exact[2].bfloat16().double()
    given = [laid_out(t.bfloat16(), "half") if i == 2 else t.float() for i, t in enumerate(exact)]
    ours = with_gradients(on(backend), given)
    assert [t.dtype for t in ours[:2]] == [torch.bfloat16, torch.float32]
    assert [t.dtype for t in ours[2:]] == [t.dtype for t in given]
    bar = with_gradients(reference, exact)
    close(ours, bar, NAMES, 2**-7)
    close(ours[1:2], bar[1:2], "last", 1e-5)  # the state is never rounded


@pytest.mark.parametrize("backend", ["torch", "cpu"])
@pytest.mark.parametrize("cut", [1, 63, 64, 65])
def test_a_split_equals_one_pass(backend, cut):
    *streams, state = (t.float() for t in tensors((2, 130, 2, 2, 8, 20)))
    whole, last = on(backend)(*streams, state)
    parts = []
    for part in (slice(None, cut), slice(cut, None)):
        y, state = on(backend)(*(t[:, part] for t in streams), state)
        parts.append(y)
    torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(state, last, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shared", [False, True])
def test_results_do_not_depend_on_the_number_of_threads(kit, shared):
    with_gradients, _, _ = kit
    given = [t.float() for t in tensors((2, 70, 2, 2, 16, 70), shared)]
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append(with_gradients(on("cpu"), given))
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        for name, a, b in zip(NAMES.split(), results[0], other, strict=True):
            assert torch.equal(a, b), name


@pytest.mark.parametrize("backend", ["torch", "cpu"])
def test_nothing_of_a_masked_step_or_a_state_before_a_reset_is_seen(kit, backend):
    with_gradients, _, _ = kit
    given = [t.float() for t in tensors((2, 40, 2, 2, 5, 6))]
    reset, mask = torch.zeros(2, 40, dtype=torch.bool), torch.ones(2, 40, 2, dtype=torch.bool)
    reset[:, 0], mask[:, 7:9], mask[0, 20, 1] = True, False, False
    poisoned = [t.masked_fill(~mask[..., None], torch.nan) for t in given[:5]]
    ours = with_gradients(on(backend), [*poisoned, torch.full_like(given[5], torch.nan)], reset, mask)
    for name, a, b in zip(NAMES.split(), ours, with_gradients(on(backend), given, reset, mask), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-6, msg=name)


def test_only_one_result_used():
    given = [t.float().requires_grad_() for t in tensors((1, 5, 1, 2, 4, 3))]
    for which in (0, 1):
        found = [
            torch.autograd.grad(run(*given)[which].sum(), given, allow_unused=True, materialize_grads=True)
            for run in (on("cpu"), reference)
        ]
        for a, b in zip(*found, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dynamic", [False, True])
def test_torch_compile_sees_through_it(kit, dynamic):
    with_gradients, close, _ = kit

    def block(q, k, v, decay, beta, state):
        y, last = delta_scan(q, k, 2 * v, decay, beta, state)
        return y + v, last

    given = [t.float() for t in tensors((2, 67, 2, 1, 8, 33))]
    delta_scan(*given)  # builds the library if need be
    compiled = torch.compile(block, fullgraph=True, backend="aot_eager", dynamic=dynamic)
    close(with_gradients(compiled, given), with_gradients(block, given), NAMES, 1e-6)


@pytest.mark.parametrize("erase", [False, True])
@pytest.mark.parametrize("period", [0, 64])
def test_the_operator_keeps_pytorchs_rules(period, erase):
    given = [t.float() for t in tensors((2, 66, 2, 2, 5, 3), erase=erase)]
    on("cpu", erase)(*given)
    leaves = [t.requires_grad_(period > 0) for t in given]
    if not erase:
        leaves.insert(4, None)
    torch.library.opcheck(torch.ops.inn.delta_scan_fwd.default, (*leaves, *marks((2, 66, 2), 0, 0.1, 3), period))


def test_what_the_kernel_refuses():
    given = tensors((1, 3, 1, 1, 4, 2))
    backend, reasons = delta_scan.choose(*given)
    assert backend.name == "torch"
    assert reasons["cpu"] == "takes float32 and bfloat16, not float64"
    with pytest.raises(InputError, match="not float64"):
        on("cpu")(*given)


def test_wrong_shapes_are_errors_not_crashes():
    given = [t.float() for t in tensors((2, 3, 2, 2, 4, 3))]
    for i, t in enumerate(given):
        wrong = [*given[:i], t[..., :-1], *given[i + 1 :]]
        with pytest.raises(RuntimeError, match=r"should be|takes v"):
            on("cpu")(*wrong)
