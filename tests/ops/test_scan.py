"""The scan: every backend against the loop in float64, outputs and all gradients."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import example, given
from hypothesis import strategies as st

from inn.ops import selective_scan, use_backend
from inn.system.errors import InputError

NAMES = "y last gx gdt gA gB gC gD gz gstate"
LAYOUTS = ["dense", "neurons", "half", "half-neurons", "channels"]
reference = selective_scan.backends["reference"].run


def on(name):
    """The op on this backend (the C++ one is built where it is not there yet)."""

    def run(*args):
        with use_backend(name):
            return selective_scan(*args)

    return run


def tensors(shape, sets=1, *, dt=-2.0, rate=1.0, seed=0):
    """x, dt, A, B, C, D, z, state in float64, values that float32 holds exactly; `shape` is B, T, N, E, S."""
    batch, time, neurons, channels, states = shape
    g = torch.Generator().manual_seed(seed)

    def r(*shape):
        return torch.randn(*shape, generator=g).double()

    x, z = r(batch, time, neurons, channels), r(batch, time, neurons, channels)
    B, C = r(batch, time, neurons, states), r(batch, time, neurons, states)
    return [
        x,
        (r(*x.shape) + dt).float().double(),
        -(rate * torch.exp(r(sets, channels, states))).float().double(),
        B,
        C,
        r(sets, channels),
        z,
        r(batch, neurons, channels, states),
    ]


def marks(shape, seed, often):
    """Steps with a reset, and steps that count, `[B, T]`."""
    g = torch.Generator().manual_seed(seed)
    return torch.rand(shape[:2], generator=g) < often, torch.rand(shape[:2], generator=g) >= often


@pytest.mark.parametrize("backend", ["torch", "cpu"])
@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 90), st.integers(1, 3), st.integers(1, 70), st.integers(1, 20)),
    separate=st.booleans(),
    reset=st.booleans(),
    mask=st.booleans(),
    dt=st.sampled_from([-50.0, -20.0, -6.0, -2.0, 2.0, 30.0, 1e4]),
    rate=st.sampled_from([0.0, 1e-6, 1.0, 30.0]),
    layout=st.sampled_from(LAYOUTS),
    seed=st.integers(0, 99),
)
@example((1, 1, 1, 1, 1), False, False, False, -2.0, 1.0, "dense", 0)
@example((2, 65, 1, 33, 17), True, True, True, -2.0, 1.0, "half", 1)
@example((3, 4, 1, 44, 5), True, False, False, 30.0, 30.0, "dense", 17)
def test_equals_the_reference(kit, backend, shape, separate, reset, mask, dt, rate, layout, seed):
    with_gradients, close, laid_out = kit
    exact = tensors(shape, shape[2] if separate else 1, dt=dt, rate=rate, seed=seed)
    resets, counts = marks(shape, seed, 0.2)
    options = (resets if reset else None, counts if mask else None)
    single = [laid_out(t.float(), layout) if t.ndim == 4 and i < 7 else t.float() for i, t in enumerate(exact)]
    single[7] = exact[7].float()
    bar = with_gradients(reference, exact, *options)
    loop = with_gradients(reference, single, *options)
    # exp(Δ A) is only known to |Δ A| roundings of Δ A; what has decayed by more than e^104 is 0 in float32.
    exponent = min(104.0, F.softplus(exact[1]).max().item() * exact[2].abs().max().item())
    close(with_gradients(on(backend), single, *options), bar, NAMES, 1e-5 + 2**-22 * exponent, loop)


@pytest.mark.parametrize("backend", ["torch", "cpu"])
@pytest.mark.parametrize(
    "shape", [(1, 300, 1, 40, 16), (1, 330, 2, 9, 64), (1, 70, 1, 3, 256), (70, 3, 1, 300, 5), (2, 129, 3, 130, 1)]
)
def test_many_steps_states_channels_or_streams(kit, backend, shape):
    with_gradients, close, _ = kit
    exact = tensors(shape, shape[2], dt=-4.0)
    resets, counts = marks(shape, 0, 0.02)
    bar = with_gradients(reference, exact, resets, counts)
    close(with_gradients(on(backend), [t.float() for t in exact], resets, counts), bar, NAMES, 1e-5)


@pytest.mark.parametrize("backend", ["torch", "cpu"])
def test_bfloat16_inputs_with_a_float32_state(kit, backend):
    with_gradients, close, laid_out = kit
    exact = tensors((2, 70, 3, 40, 16), 3)
    streams = (0, 1, 3, 4, 6)
    exact = [t.bfloat16().double() if i in streams else t for i, t in enumerate(exact)]
    given = [laid_out(t.bfloat16(), "half") if i in streams else t.float() for i, t in enumerate(exact)]
    ours = with_gradients(on(backend), given)
    assert [t.dtype for t in ours[:2]] == [torch.bfloat16, torch.float32]
    assert [t.dtype for t in ours[2:]] == [t.dtype for t in given]
    # The weighting of y is rounded to bfloat16 too, so that only the results' own rounding is left.
    leaves = [t.requires_grad_() for t in exact]
    y, last = reference(*leaves)
    g = torch.Generator().manual_seed(0)
    weights = [torch.randn(r.shape, generator=g, dtype=torch.float64) for r in (y, last)]
    gradients = torch.autograd.grad((y, last), leaves, (weights[0].bfloat16().double(), weights[1].float().double()))
    close(ours, [y.detach(), last.detach(), *gradients], NAMES, 2**-8)
    close(ours[1:2], [last.detach()], "last", 1e-5)  # the state is never rounded


@pytest.mark.parametrize("backend", ["torch", "cpu"])
@pytest.mark.parametrize("cut", [1, 63, 64, 65])
def test_a_split_equals_one_pass(backend, cut):
    x, dt, A, B, C, D, z, state = (t.float() for t in tensors((2, 130, 2, 20, 8)))
    whole, last = on(backend)(x, dt, A, B, C, D, z, state)
    parts = []
    for part in (slice(None, cut), slice(cut, None)):
        y, state = on(backend)(x[:, part], dt[:, part], A, B[:, part], C[:, part], D, z[:, part], state)
        parts.append(y)
    torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(state, last, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", [(2, 70, 2, 70, 16), (3, 40, 4, 130, 5), (1, 65, 1, 300, 16)])
@pytest.mark.parametrize("separate", [False, True])
def test_results_do_not_depend_on_the_number_of_threads(kit, shape, separate):
    with_gradients, _, _ = kit
    given = [t.float() for t in tensors(shape, shape[2] if separate else 1)]
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 3, 2):
            torch.set_num_threads(threads)
            results.append(with_gradients(on("cpu"), given))
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        for name, a, b in zip(NAMES.split(), results[0], other, strict=True):
            assert torch.equal(a, b), name


def test_only_one_result_used():
    given = [t.float().requires_grad_() for t in tensors((1, 5, 1, 4, 3))]
    for which in (0, 1):
        ours = torch.autograd.grad(on("cpu")(*given)[which].sum(), given, allow_unused=True, materialize_grads=True)
        bar = torch.autograd.grad(reference(*given)[which].sum(), given, allow_unused=True, materialize_grads=True)
        for a, b in zip(ours, bar, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_an_expanded_gradient():
    """That of a sum has no strides of its own."""
    given = [t.float().requires_grad_() for t in tensors((2, 5, 2, 4, 3))]
    ours = torch.autograd.grad(on("cpu")(*given)[0].sum(), given[0])[0]
    torch.testing.assert_close(ours, torch.autograd.grad(reference(*given)[0].sum(), given[0])[0])


@pytest.mark.parametrize("layout", ["dense", "neurons", "half-neurons"])
def test_results_lie_in_memory_as_the_inputs_do(kit, layout):
    with_gradients, _, laid_out = kit
    given = [t.float() for t in tensors((2, 5, 3, 8, 4))]
    given = [laid_out(t, layout) if i in (0, 1, 3, 4, 6) else t for i, t in enumerate(given)]
    y, _, gx, gdt, _, gB, gC, _, gz, _ = with_gradients(on("cpu"), given)
    for t in (y, gx, gdt, gz, gB, gC):
        order = [2, 0, 1, 3] if "neurons" in layout else [0, 1, 2, 3]
        assert t.permute(order).is_contiguous()


def test_inputs_are_left_as_they_were(kit):
    with_gradients, _, _ = kit
    given = [t.float() for t in tensors((2, 70, 2, 40, 16))]
    before = [t.clone() for t in given]
    with_gradients(on("cpu"), given, *marks((2, 70), 0, 0.1))
    for a, b in zip(given, before, strict=True):
        assert torch.equal(a, b)


def test_what_is_kept_for_the_gradient_does_not_grow_with_the_states():
    sizes = []
    for states in (16, 64):
        kept = []
        given = [t.float().requires_grad_() for t in tensors((1, 1024, 1, 32, states))]
        held = {id(t) for t in given}
        with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):  # noqa: B023
            on("cpu")(*given)
        sizes.append(sum(t.numel() for t in kept if id(t) not in held and t.ndim == 6))
    assert sizes[0] <= 1024 * 32 / 4
    assert sizes[1] <= sizes[0]


@pytest.mark.parametrize("dynamic", [False, True])
def test_torch_compile_sees_through_it(kit, dynamic):
    with_gradients, close, _ = kit

    def block(x, dt, A, B, C, D, z, state):
        y, last = selective_scan(2 * x, dt, A, B, C, D, z, state)
        return y + x, last

    given = [t.float() for t in tensors((2, 67, 2, 33, 5))]
    selective_scan(*given)  # builds the library if need be
    compiled = torch.compile(block, fullgraph=True, backend="aot_eager", dynamic=dynamic)
    close(with_gradients(compiled, given), with_gradients(block, given), NAMES, 1e-6)


def test_torch_export_of_a_step():
    class Step(torch.nn.Module):
        def forward(self, *args):
            return selective_scan(*args)

    given = tuple(t.float() for t in tensors((1, 1, 2, 8, 4)))
    with torch.no_grad():
        program = torch.export.export(Step(), given)
        assert any("selective_scan_fwd" in str(node.target) for node in program.graph.nodes)
        for a, b in zip(program.module()(*given), selective_scan(*given), strict=True):
            assert torch.equal(a, b)


def test_a_model_that_is_bfloat16_throughout(kit):
    with_gradients, close, _ = kit
    given = [t.bfloat16() for t in tensors((2, 20, 2, 33, 5), 2)]
    ours = with_gradients(on("cpu"), given)
    assert [t.dtype for t in ours] == [torch.bfloat16, torch.float32, *(8 * [torch.bfloat16])]
    close(ours, with_gradients(reference, [t.double() for t in given]), NAMES, 2**-6)


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("period", [0, 64])
def test_the_operator_keeps_pytorchs_rules(period, kind):
    given = [t.to(kind) for t in tensors((2, 66, 2, 5, 3))]
    selective_scan(*given)
    leaves = [t.requires_grad_(period > 0) for t in given]
    torch.library.opcheck(torch.ops.inn.selective_scan_fwd.default, (*leaves, *marks((2, 66), 0, 0.1), period))


def test_what_the_kernel_refuses():
    given = tensors((1, 3, 1, 4, 2))
    backend, reasons = selective_scan.choose(*given)
    assert backend.name == "torch"
    assert reasons["cpu"] == "takes float32 and bfloat16, not float64"
    single = [t.float() for t in given]
    assert selective_scan.choose(*single)[0].name == "cpu"
    assert "at least one" in selective_scan.choose(single[0][:0], *single[1:])[1]["cpu"]
    assert "on meta" in selective_scan.choose(*(t.to("meta") for t in single))[1]["cpu"]
    with pytest.raises(InputError, match="not float64"):
        on("cpu")(*given)


def test_wrong_shapes_are_errors_not_crashes():
    given = [t.float() for t in tensors((2, 3, 2, 4, 2))]
    for i, t in enumerate(given):
        wrong = [*given[:i], t[..., :-1], *given[i + 1 :]]
        with pytest.raises(RuntimeError, match=r"should be|the scan takes"):
            on("cpu")(*wrong)
