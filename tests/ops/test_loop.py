"""The loop over time: the C++ backend against the cells in Python, outputs and all gradients."""

from __future__ import annotations

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from inn.ops import recurrence, use_backend
from inn.ops.loop import cpu
from inn.ops.loop.cells import CELLS

GATES = {"elman": 1, "gru": 3, "lstm": 4, "slstm": 4, "liquid": 4, "rhn": 2, "elm": 1, "lif": 1, "lif-soft": 1}
HEARING = sorted(GATES.keys() - {"elm", "lif", "lif-soft"})  # the cells with a recurrent weight


def on(name, cell):
    """The op on this backend, for a fixed cell: x, state and the weights, then reset and mask."""

    def run(x, state, *given):
        *weights, reset, mask = given
        with use_backend(name):
            return recurrence(cell, x, state, reset, mask, *weights)

    return run


def tensors(cell, shape, sets=1, *, population=False, layers=2, hidden=21, seed=0):
    """x, state and weights in float64, values that float32 holds exactly; `shape` is B, T, N, H."""
    batch, time, neurons, units = shape
    g = torch.Generator().manual_seed(seed)

    def r(*shape):
        return torch.randn(*shape, generator=g)

    def u(*shape):
        return torch.rand(*shape, generator=g)

    gates, heard = GATES[cell], units * (neurons if population else 1)
    x = r(batch, time, neurons, hidden if cell == "elm" else gates * units)
    state = r(batch, neurons, CELLS[cell].states, units)
    if cell == "slstm":
        state[:, :, 2] = state[:, :, 2].abs() + 0.5  # its normaliser
    if cell == "rhn":
        weights = [r(sets, layers, 2 * units, heard) / heard**0.5, r(sets, layers, 2 * units)]
    elif cell == "elm":
        weights = [
            r(sets, hidden, units) / units**0.5,
            r(sets, units, hidden) / hidden**0.5,
            *(u(sets, units) for _ in "bkl"),
        ]
    elif cell.startswith("lif"):
        weights = [u(sets, units), u(sets, units) + 0.3]
    else:
        weights = [r(sets, gates * units, heard) / heard**0.5]
        weights += {"gru": [r(sets, units)], "liquid": [u(batch, time)]}.get(cell, [])
    return [t.double() for t in (x, state, *weights)]


def names(cell):
    inputs = ["x", "state", *(f"w{i}" for i in range(CELLS[cell].weights))]
    return " ".join(["y", "last", *(f"g{name}" for name in inputs)])


def marks(shape, seed, per_neuron=False, often=0.3):
    """Steps with a reset `[B, T]`, and steps that count, `[B, T]` or `[B, T, N]`."""
    g = torch.Generator().manual_seed(seed)
    counts = torch.rand(shape[: 3 if per_neuron else 2], generator=g) >= often
    return torch.rand(shape[:2], generator=g) < often, counts


def bar_of(kit, cell, exact, *options):
    """By the reference: in float64, but where a cell jumps, in float32, so that it jumps at the same steps."""
    with_gradients, _, _ = kit
    jumps = cell.startswith("lif")
    return with_gradients(on("reference", cell), [t.float() for t in exact] if jumps else exact, *options)


@pytest.mark.parametrize("cell", CELLS)
@given(
    shape=st.tuples(st.integers(1, 10), st.integers(1, 12), st.integers(1, 3), st.integers(1, 40)),
    separate=st.booleans(),
    population=st.booleans(),
    reset=st.booleans(),
    mask=st.sampled_from([None, False, True]),
    layout=st.sampled_from(["dense", "neurons", "half", "half-neurons"]),
    every=st.booleans(),
    seed=st.integers(0, 99),
)
@example((1, 1, 1, 1), False, False, False, None, "dense", False, 0)
@example((9, 40, 2, 33), True, True, True, False, "half", False, 1)
@example((2, 37, 3, 16), True, False, True, True, "neurons", True, 2)
def test_equals_the_reference(kit, cell, shape, separate, population, reset, mask, layout, every, seed):
    with_gradients, close, laid_out = kit
    population = population and cell in HEARING and not (cell == "rhn" and mask)
    sets = shape[2] if separate or population else 1
    exact = tensors(cell, shape, sets, population=population, seed=seed)
    resets, counts = marks(shape, seed, bool(mask))
    options = (resets if reset else None, None if mask is None else counts)
    single = [laid_out(t.float(), layout) if i == 0 else t.float() for i, t in enumerate(exact)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cpu, "_KEPT", 1 << 24 if every else 0)
        ours = with_gradients(on("cpu", cell), single, *options)
    loop = with_gradients(on("reference", cell), single, *options)
    close(ours, bar_of(kit, cell, exact, *options), names(cell), 1e-5, loop)


@pytest.mark.parametrize("cell", CELLS)
def test_what_is_computed_again_is_the_same_to_the_bit(kit, monkeypatch, cell):
    with_gradients, _, _ = kit
    given = [t.float() for t in tensors(cell, (9, 40, 2, 20), 2)]
    found = []
    for kept in (0, 1 << 24):
        monkeypatch.setattr(cpu, "_KEPT", kept)
        found.append(with_gradients(on("cpu", cell), given, *marks((9, 40), 0)))
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


@pytest.mark.parametrize("cell", CELLS)
def test_nothing_behind_a_mask_is_read(kit, cell):
    with_gradients, _, _ = kit
    shape = (3, 9, 2, 12)
    given = [t.float() for t in tensors(cell, shape, 2)]
    _, counts = marks(shape, 0, per_neuron=True)
    poisoned = [given[0].masked_fill(~counts[..., None], torch.nan), *given[1:]]
    ours = with_gradients(on("cpu", cell), poisoned, None, counts)
    assert all(
        torch.equal(a, b) for a, b in zip(ours, with_gradients(on("cpu", cell), given, None, counts), strict=True)
    )
    assert (ours[0][~counts] == 0).all()


def test_a_reset_forgets_even_what_is_no_number():
    x, state, weight = (t.float() for t in tensors("lstm", (2, 3, 2, 5)))
    reset = torch.tensor([[True, False, False]] * 2)
    y, last = on("cpu", "lstm")(x, torch.full_like(state, torch.nan), weight, reset, None)
    bar = on("cpu", "lstm")(x, torch.zeros_like(state), weight, None, None)
    assert torch.equal(y, bar[0])
    assert torch.equal(last, bar[1])


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("cut", [1, 31, 32])
def test_a_split_equals_one_pass_to_the_bit(cell, cut):
    x, state, *weights = (t.float() for t in tensors(cell, (3, 34, 2, 20)))
    whole, last = recurrence(cell, x, state, None, None, *weights)
    parts = []
    for part in (slice(None, cut), slice(cut, None)):
        own = [*weights[:-1], weights[-1][:, part]] if cell == "liquid" else weights
        y, state = recurrence(cell, x[:, part], state, None, None, *own)
        parts.append(y)
    assert torch.equal(torch.cat(parts, 1), whole)
    assert torch.equal(state, last)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(("sets", "population"), [(1, False), (3, False), (3, True)])
def test_results_do_not_depend_on_the_number_of_threads(kit, cell, sets, population):
    with_gradients, _, _ = kit
    given = [t.float() for t in tensors(cell, (20, 40, 3, 36), sets, population=population and cell in HEARING)]
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append(with_gradients(on("cpu", cell), given, None, None))
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


@pytest.mark.parametrize("cell", CELLS)
def test_bfloat16_inputs_with_a_float32_state(kit, cell):
    with_gradients, close, _ = kit
    exact = tensors(cell, (3, 20, 2, 20), 2)
    exact[0] = exact[0].bfloat16().double()
    given = [exact[0].bfloat16(), *(t.float() for t in exact[1:])]
    ours = with_gradients(on("cpu", cell), given, None, None)
    assert [t.dtype for t in ours] == [torch.bfloat16, torch.float32, *(t.dtype for t in given)]
    close(ours[1:2], bar_of(kit, cell, exact, None, None)[1:2], "last", 1e-5)  # the state is never rounded
    close(ours, with_gradients(on("reference", cell), given, None, None), names(cell), 2**-6)


@pytest.mark.parametrize("shape", [(0, 3, 2, 4), (2, 0, 2, 4)])
def test_no_streams_or_no_steps(shape):
    x, state, weight = (t.float().requires_grad_() for t in tensors("lstm", shape))
    y, last = recurrence("lstm", x, state, None, None, weight)
    assert y.shape == shape
    assert torch.equal(last, state)
    (y.sum() + last.sum()).backward()
    assert torch.equal(state.grad, torch.ones_like(state))


def test_only_one_result_used():
    given = [t.float().requires_grad_() for t in tensors("gru", (2, 5, 2, 4))]
    for which in (0, 1):
        ours, bar = (
            torch.autograd.grad(on(name, "gru")(*given, None, None)[which].sum(), given)
            for name in ("cpu", "reference")
        )
        for a, b in zip(ours, bar, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_a_second_derivative_is_the_references():
    found = []
    for name in ("cpu", "reference"):
        leaves = [t.float().requires_grad_() for t in tensors("gru", (2, 4, 2, 3))]
        y, _ = on(name, "gru")(*leaves, None, None)
        (first,) = torch.autograd.grad(y.pow(2).sum(), leaves[0], create_graph=True)
        found.append(torch.autograd.grad(first.pow(2).sum(), leaves))
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_a_gradient_twice_is_the_same():
    given = [t.float().requires_grad_() for t in tensors("gru", (2, 40, 2, 8))]
    y, _ = recurrence("gru", given[0], given[1], None, None, *given[2:])
    first = torch.autograd.grad(y.sum(), given, retain_graph=True)
    assert all(torch.equal(a, b) for a, b in zip(first, torch.autograd.grad(y.sum(), given), strict=True))


@pytest.mark.parametrize(("cell", "dynamic"), [("gru", False), ("rhn", True)])
def test_torch_compile_sees_through_it(kit, cell, dynamic):
    with_gradients, close, _ = kit

    def block(x, state, *weights):
        y, last = recurrence(cell, 2 * x, state, None, None, *weights)
        return y + 1, last

    given = [t.float() for t in tensors(cell, (3, 9, 2, 10), 2)]
    compiled = torch.compile(block, fullgraph=True, backend="aot_eager", dynamic=dynamic)
    close(with_gradients(compiled, given), with_gradients(block, given), names(cell), 1e-6)


def test_torch_export_of_a_step():
    class Step(torch.nn.Module):
        def forward(self, x, state, *weights):
            return recurrence("gru", x, state, None, None, *weights)

    given = tuple(t.float() for t in tensors("gru", (1, 1, 2, 8)))
    with torch.no_grad():
        program = torch.export.export(Step(), given)
        assert any("recurrence_fwd" in str(node.target) for node in program.graph.nodes)
        for a, b in zip(program.module()(*given), Step()(*given), strict=True):
            assert torch.equal(a, b)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("period", [0, 4])
def test_the_operator_keeps_pytorchs_rules(cell, period):
    x, state, *weights = (t.float().requires_grad_(period > 0) for t in tensors(cell, (2, 9, 2, 5)))
    recurrence(cell, x, state, None, None, *weights)
    absent = [None] * (5 - len(weights))
    torch.library.opcheck(
        torch.ops.inn.recurrence_fwd.default,
        (x, state, *marks((2, 9), 0), *weights, *absent, cell, period, cell == "gru"),
        test_utils=("test_schema", "test_autograd_registration", "test_faketensor"),
    )


def test_what_the_kernel_refuses():
    given = tensors("rhn", (2, 3, 2, 4), 2, population=True)
    assert recurrence.choose("rhn", *given[:2], None, None, *given[2:])[0].name == "reference"
    x, state, *weights = (t.float() for t in given)
    assert recurrence.choose("rhn", x, state, None, None, *weights)[0].name == "cpu"
    _, reasons = recurrence.choose("rhn", x, state, None, marks((2, 3, 2), 0, True)[1], *weights)
    assert reasons["cpu"] == "takes no mask of neurons whose layers hear the population"


@pytest.mark.parametrize("cell", CELLS)
def test_wrong_shapes_are_errors_not_crashes(cell):
    given = [t.float() for t in tensors(cell, (2, 3, 2, 4))]
    for i, t in enumerate(given):
        wrong = [*given[:i], t[..., :-1], *given[i + 1 :]]
        with pytest.raises(RuntimeError, match=r"should"):
            on("cpu", cell)(*wrong, None, None)
