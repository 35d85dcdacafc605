"""Neurons that hear one another's last step: in C++ against step by step, outputs and all gradients."""

from __future__ import annotations

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from inn.ops import feedback_scan, use_backend

NAMES = (
    "y said conv ssm ggiven gsaid gconv gssm ghear ggain gbias gtaps gtaps_bias gto_scan gto_dt gdt_bias gA gskip gout"
)


def tensors(B, T, N, D, E, S, K, R, *, seed=0):
    """What the op takes but for reset and mask, in float64, values that float32 holds exactly."""
    g = torch.Generator().manual_seed(seed)

    def r(*shape, scale=1.0, offset=0.0):
        return (torch.randn(*shape, generator=g) * scale + offset).float().double()

    states = r(B, N, D), r(B, N, K - 1, E), r(B, N, E, S)
    norm = r(N, D), r(N, D)
    maps = r(N, R + 2 * S, E, scale=0.5 / E**0.5), r(N, E, R, scale=0.5 / R), r(N, E, offset=-2)
    rest = -r(N, E, S).exp().float().double(), r(N, E), r(N, D, E, scale=0.5 / E**0.5)
    # what is heard is weak enough for a rounding error not to grow with the steps
    return [
        r(B, T, N, 2 * E),
        *states,
        r(N, 2 * E, N * D, scale=0.25 / (N * D) ** 0.5),
        *norm,
        r(N, E, K),
        r(N, E),
        *maps,
        *rest,
    ]


def on(backend, norm="layer"):
    """The op on this backend: its tensors, then reset and mask."""

    def run(*given):
        *tensors, reset, mask = given
        given, said, conv, ssm, hear, gain, bias, *weights = tensors
        gain, bias = None if norm == "none" else gain, None if norm != "layer" else bias
        with use_backend(backend):
            return feedback_scan(given, said, conv, ssm, reset, mask, hear, gain, bias, *weights)

    return run


def marks(B, T, seed=0):
    g = torch.Generator().manual_seed(seed)
    return torch.rand(B, T, generator=g) < 0.3, torch.rand(B, T, generator=g) >= 0.3


def single(shape, **options):
    return [t.float() for t in tensors(*shape, **options)]


@given(
    shape=st.tuples(
        st.integers(1, 10), st.integers(1, 12), st.integers(1, 3), st.integers(1, 20), st.integers(1, 40),
        st.integers(1, 18), st.integers(1, 4), st.integers(1, 3),
    ),
    norm=st.sampled_from(["layer", "rms", "none"]),
    reset=st.booleans(),
    mask=st.booleans(),
    layout=st.sampled_from(["dense", "neurons", "half"]),
    seed=st.integers(0, 99),
)  # fmt: skip
@settings(max_examples=25)
@example((1, 1, 1, 4, 1, 1, 1, 1), "layer", False, False, "dense", 0)
@example((9, 37, 3, 17, 34, 5, 4, 2), "layer", True, True, "neurons", 1)
@example((3, 20, 4, 16, 32, 16, 4, 1), "rms", True, False, "half", 2)
def test_equals_the_reference(kit, shape, norm, reset, mask, layout, seed):
    with_gradients, close, laid_out = kit
    if norm != "none":  # a norm over few numbers makes a rounding error as large as they are
        shape = (*shape[:3], max(4, shape[3]), *shape[4:])
    exact = tensors(*shape, seed=seed)
    options = [t if wanted else None for t, wanted in zip(marks(*shape[:2], seed), (reset, mask), strict=True)]
    given = [laid_out(t.float(), layout) if i == 0 else t.float() for i, t in enumerate(exact)]
    loop = with_gradients(on("reference", norm), given, *options)
    bar = with_gradients(on("reference", norm), exact, *options)
    close(with_gradients(on("cpu", norm), given, *options), bar, NAMES, 2e-5, loop)


def test_nothing_behind_a_mask_is_read_and_a_reset_forgets_what_is_no_number(kit):
    with_gradients, _, _ = kit
    shape = (3, 9, 2, 5, 10, 4, 4, 1)
    first, *others = single(shape)
    _, there = marks(3, 9)
    poisoned = first.masked_fill(~there[..., None, None], torch.nan)
    ours = with_gradients(on("cpu"), [poisoned, *others], None, there)
    assert all(
        torch.equal(a, b) for a, b in zip(ours, with_gradients(on("cpu"), [first, *others], None, there), strict=True)
    )
    assert (ours[0][~there] == 0).all()
    assert (ours[4][~there] == 0).all()
    reset = torch.zeros(3, 9, dtype=torch.bool)
    reset[:, 0] = True
    lost = on("cpu")(first, *(torch.full_like(t, torch.nan) for t in others[:3]), *others[3:], reset, None)
    fresh = on("cpu")(first, *(torch.zeros_like(t) for t in others[:3]), *others[3:], None, None)
    assert all(torch.equal(a, b) for a, b in zip(lost, fresh, strict=True))


@pytest.mark.parametrize("cut", [1, 8, 21])
def test_a_split_equals_one_pass_to_the_bit(cut):
    first, said, conv, ssm, *weights = single((3, 22, 2, 5, 10, 4, 3, 1))
    y, *last = on("cpu")(first, said, conv, ssm, *weights, None, None)
    one, *state = on("cpu")(first[:, :cut], said, conv, ssm, *weights, None, None)
    two, *state = on("cpu")(first[:, cut:], *state, *weights, None, None)
    assert torch.equal(torch.cat((one, two), 1), y)
    assert all(torch.equal(a, b) for a, b in zip(state, last, strict=True))


def test_results_do_not_depend_on_the_number_of_threads(kit):
    with_gradients, _, _ = kit
    given, before, results = single((40, 40, 3, 12, 36, 9, 4, 1)), torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append(with_gradients(on("cpu"), given, *marks(40, 40)))
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_only_one_result_used():
    given = [t.requires_grad_() for t in single((2, 10, 2, 5, 10, 4, 4, 1))]
    for which in range(4):
        ours, bar = (
            torch.autograd.grad(on(name)(*given, None, None)[which].sum(), given, allow_unused=True)
            for name in ("cpu", "reference")
        )
        for a, b in zip(ours, bar, strict=True):
            torch.testing.assert_close(a, torch.zeros_like(a) if b is None else b, rtol=1e-3, atol=1e-5)


def test_torch_compile_sees_through_it(kit):
    with_gradients, close, _ = kit
    given = single((3, 9, 2, 5, 10, 4, 4, 1))

    def block(first, *others):
        y, *last = feedback_scan(2 * first, *others[:3], None, None, *others[3:])
        return y + 1, *last

    compiled = torch.compile(block, fullgraph=True, backend="aot_eager")
    close(with_gradients(compiled, given), with_gradients(block, given), NAMES, 1e-6)


@pytest.mark.parametrize("period", [0, 8])
def test_the_operator_keeps_pytorchs_rules(period):
    first, said, conv, ssm, hear, *weights = (t.requires_grad_(period > 0) for t in single((2, 9, 2, 5, 10, 4, 3, 1)))
    on("cpu")(first, said, conv, ssm, hear, *weights, None, None)
    torch.library.opcheck(
        torch.ops.inn.feedback_fwd.default,
        (first, said, conv, ssm, *marks(2, 9), hear, *weights, 1e-5, period),
        test_utils=("test_schema", "test_autograd_registration", "test_faketensor"),
    )


def test_wrong_shapes_are_errors_not_crashes():
    given = single((2, 3, 2, 5, 10, 4, 4, 2))
    for i, t in enumerate(given):
        wrong = [*given[:i], t[..., :-1], *given[i + 1 :]]
        with pytest.raises(RuntimeError, match="should"):
            on("cpu")(*wrong, None, None)
