"""Every derivative of every op, by every backend, against the reference in float64: right, or refused."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch.autograd import forward_ad
from torch.func import grad, hessian, jacfwd, jacrev, jvp, linearize, vmap

import inn.ops
from inn.ops import use_backend
from inn.ops.dispatch import Op
from inn.ops.votes import expected, votes
from inn.system.errors import InputError

B, T, N, E, S, D = 2, 3, 2, 3, 2, 4
pytestmark = pytest.mark.filterwarnings("ignore:Attempted to insert", "ignore:`torch.jit")
OPS = {name: op for name, op in vars(inn.ops).items() if isinstance(op, Op)} | {"expected": expected, "votes": votes}
RESET = torch.tensor([[False, True, False], [False, False, False]])
MASK = torch.tensor([[True, True, True], [True, False, True]])


LISTED = torch.tensor([[0, 1], [1, 0]]), torch.tensor([[True, True], [True, False]])
SIGNS = torch.tensor([[1, -1], [1, 1]])
PRESENT = torch.ones(B, T, N, dtype=torch.bool).index_put((torch.tensor(0), torch.tensor(1)), torch.tensor(False))

FIRST, R = torch.tensor([0, 3, 4, 6, 6]), 6  # steps of neuron 0 in both streams, then of neuron 1
ORDER, MEETINGS = torch.tensor([0, 4, 1, 5, 2, 3]), torch.tensor([0, 2, 4, 5, 6])


def random(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


FOUND = torch.tensor([[3, 258, -1], [514, -1, -1]], dtype=torch.int32).expand(B, T, 2, 3)  # of two contexts
LAST = torch.tensor([[8 + 2, 2 * 8], [-1, 2 * 8 + 7], [0, 8]], dtype=torch.int32).expand(B, T, 2)


def attention(q, k, v):
    out = OPS["neuron_attention"](*(t.unflatten(3, (2, 2)) for t in (q, k, v)), torch.eye(N).bool() | RESET[:1, :N].T)
    return (out[0],)


CASES = {
    "causal_conv": (
        lambda *t: OPS["causal_conv"](*t, RESET, MASK),
        (random(B, T, N, E), random(N, E, 3), random(N, E), random(B, N, 2, E)),
    ),
    "delta_scan": (
        lambda *t: OPS["delta_scan"](*t, RESET, MASK),
        (random(B, T, N, E), random(B, T, N, E) + 0.1, random(B, T, N, S), -random(B, T, N, 1).exp(),
         random(B, T, N, 1).sigmoid(), random(B, N, 1, E, S)),
    ),
    "feedback_scan": (
        lambda given, said, conv, ssm, hear, *weights: OPS["feedback_scan"](  # a norm of zeros is too steep to test
            given, said, conv, ssm, RESET, MASK, hear, None, None, *weights
        ),
        (random(B, T, N, 2 * E) / 8, random(B, N, D), random(B, N, 1, E), random(B, N, E, S),
         random(N, 2 * E, N * D) / 4, random(N, E, 2), random(N, E), random(N, 1 + 2 * S, E) / 4, random(N, E, 1),
         random(N, E) - 1, -random(N, E, S).exp() - 0.5, random(1, N, E)[0], random(N, D, E) / 2),
    ),
    "neighbour_attention": (
        lambda q, k, v, log_weights: OPS["neighbour_attention"](
            *(t.unflatten(3, (2, 2)) for t in (q, k, v)), *LISTED, SIGNS, log_weights, PRESENT
        )[:1],
        (random(B, T, N, D), random(B, T, N, D) + 1, random(B, T, N, D) - 1, random(N, 2)),
    ),
    "neighbour_messages": (
        lambda *t: (OPS["neighbour_messages"](*t, *LISTED, SIGNS),),
        (random(B, T, N, D), random(N, 3, 2, D)),
    ),
    "neighbour_scores": (
        lambda q, k: (OPS["neighbour_scores"](*(t.unflatten(3, (2, 2)) for t in (q, k)), *LISTED),),
        (random(B, T, N, D), random(B, T, N, D) + 1),
    ),
    "neighbour_sum by step": (
        lambda v, weights: (OPS["neighbour_sum"](v.unflatten(3, (2, 2)), weights, *LISTED),),
        (random(B, T, N, D), random(B, T, 2, N, 2)),
    ),
    "neighbour_sum": (lambda *t: (OPS["neighbour_sum"](*t, *LISTED),), (random(B, T, N, D), random(N, 2))),
    "neuron_attention": (attention, (random(B, T, N, D), random(B, T, N, D) + 1, random(B, T, N, D) - 1)),
    "neuron_linear": (
        lambda *t: OPS["neuron_linear"](*t, (2, 1)),
        (random(B, T, N, E), random(N, 3, E), random(N, 3)),
    ),
    "neuron_norm": (lambda *t: (OPS["neuron_norm"](*t),), (random(B, T, N, D), random(N, D), random(1, N, D)[0])),
    "packed_attention": (
        lambda *t: (OPS["packed_attention"](*(a.unflatten(1, (2, 2)) for a in t), ORDER, MEETINGS),),
        (random(R, D), random(R, D) + 1, random(R, D) - 1),
    ),
    "packed_conv": (
        lambda *t: OPS["packed_conv"](*t, FIRST),
        (random(R, E), random(N, E, 3), random(N, E), random(B, N, 2, E)),
    ),
    "packed_scan": (
        lambda *t: OPS["packed_scan"](*t, FIRST),
        (random(R, E), random(R, E) - 1, -random(N, E, S).exp(), random(R, S), random(R, S) + 1, random(N, E),
         random(R, E) + 1, random(B, N, E, S)),
    ),
    "recurrence": (
        lambda x, state, *weights: OPS["recurrence"]("gru", x, state, RESET, MASK, *weights),
        (random(B, T, N, 3 * E), random(B, N, 1, E), random(N, 3 * E, E), random(N, E)),
    ),
    "selective_scan": (
        lambda *t: OPS["selective_scan"](*t, RESET, MASK),
        (random(B, T, N, E), random(B, T, N, E) - 1, -random(N, E, S).exp(), random(B, T, N, S),
         random(B, T, N, S) + 1, random(N, E), random(B, T, N, E) + 1, random(B, N, E, S)),
    ),
    "votes": (
        lambda table, weights: (OPS["votes"](FOUND, LAST, table.repeat(1, 256), weights, 4),),
        (random(2, 4), random(B, T, 2)),
    ),
    "expected": (
        lambda table, symbols: (OPS["expected"](FOUND, LAST, table.repeat(1, 256), symbols),),
        (random(2, 4), random(3, E)),
    ),
}  # fmt: skip


def op_of(name):
    return OPS[name.split()[0]]


SLOW = {"triton": pytest.mark.slow}  # the interpreter takes seconds
PAIRS = [
    pytest.param(name, backend, marks=SLOW.get(backend, ()), id=f"{name}-{backend}")
    for name in CASES
    for backend in op_of(name).backends
]


def double(tensors):
    return tuple(t.double() for t in tensors)


def scalar(run, *tensors):
    """A weighting of what an op gives that is not linear, so that there is a second derivative of linear ops too."""
    return sum((y * torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view(y.shape)).sin().sum() for y in run(*tensors))


def close(ours, bar):
    for a, b in zip(ours, bar, strict=True):
        torch.testing.assert_close(a.double(), b, rtol=2e-4, atol=2e-5 * max(1.0, float(b.abs().max())))


def exact(f, *args):
    with use_backend("reference"):
        return f(*args)


@pytest.fixture(params=CASES)
def case(request):
    return CASES[request.param]


def available(name, backend, run, tensors):
    """Whether a backend can run here at all; else the test of it is skipped."""
    try:
        with use_backend(backend):
            run(*tensors)
    except InputError as error:
        pytest.skip(f"{name}: {error}")


def test_every_op_is_here():
    assert set(OPS) == {
        *(op_of(name).name for name in CASES),
        "recall",
        "memory_step",
    }  # of whole numbers; of one step, without a gradient


def test_forward_mode(case, request):
    """The bar itself against finite differences; then `jvp`, `linearize` and dual numbers against the bar."""
    run, tensors = case
    tangents = tuple(torch.randn_like(t) for t in tensors)
    (x, v), h = (double(tensors), double(tangents)), 1e-6
    bar = exact(jvp, run, x, v)[1]
    ahead, behind = (exact(run, *(a + s * h * b for a, b in zip(x, v, strict=True))) for s in (1, -1))
    for a, b, c in zip(ahead, behind, bar, strict=True):
        torch.testing.assert_close((a - b) / (2 * h), c, rtol=1e-6, atol=1e-6)
    close(jvp(run, tensors, tangents)[1], bar)
    if not request.node.callspec.id.startswith("packed"):  # where lists of steps cannot be read, nothing is packed
        close(linearize(run, *tensors)[1](*tangents), bar)
    with forward_ad.dual_level():
        found = run(*(forward_ad.make_dual(a, b) for a, b in zip(tensors, tangents, strict=True)))
        close([forward_ad.unpack_dual(y).tangent for y in found], bar)


def test_transforms_fall_back_by_themselves(case):
    run, tensors = case
    f, x = partial(scalar, run), double(tensors)
    every = tuple(range(len(tensors)))
    close(grad(f, every)(*tensors), exact(grad(f, every), *x))
    for transform in (jacrev, jacfwd):
        close([transform(run)(*tensors)[0]], [exact(transform(run), *x)[0]])
    close([hessian(f, 1)(*tensors)], [exact(hessian(f, 1), *x)])
    many = [torch.stack((t, 2 * t)) for t in tensors]
    each = [grad(f, every)(*tensors), grad(f, every)(*(2 * t for t in tensors))]
    close(vmap(grad(f, every))(*many), [torch.stack(pair).double() for pair in zip(*each, strict=True)])


@pytest.mark.parametrize(("name", "backend"), PAIRS)
def test_a_gradient_can_be_differentiated_again_and_batched(name, backend):
    run, tensors = CASES[name]
    available(name, backend, run, tensors)
    weights = [torch.randn_like(t) for t in tensors]

    def twice(tensors, backend):
        leaves = [t.detach().clone().requires_grad_() for t in tensors]
        inputs = [leaves[0], *(t + 0.1 * leaves[0].sum() for t in leaves[1:])]  # which depend on one another
        with use_backend(backend):
            y = scalar(run, *inputs)
        first = torch.autograd.grad(y, leaves, create_graph=True)
        again = sum((g * w.to(g.dtype)).sum() for g, w in zip(first, weights, strict=True))
        found = torch.autograd.grad(again, leaves, allow_unused=True)
        return [*(g.detach() for g in first), *(g for g in found if g is not None)]

    close(twice(tensors, backend), twice(double(tensors), "reference"))
    leaves = [t.clone().requires_grad_() for t in tensors]
    with use_backend(backend):
        y = run(*leaves)[0]
    every = torch.eye(y.numel()).view(-1, *y.shape)
    many = torch.autograd.grad(y, leaves, every, is_grads_batched=True, retain_graph=True, allow_unused=True)
    one = torch.autograd.grad(y, leaves, every[1], allow_unused=True)
    close([g[1] for g in many if g is not None], [g.double() for g in one if g is not None])


@pytest.mark.parametrize("backend", ["cpu", "triton"])
@pytest.mark.parametrize("name", CASES)
def test_a_kernel_that_is_asked_for_refuses(name, backend):
    if backend not in op_of(name).backends:
        pytest.skip(f"{name} has no kernel in {backend}")
    run, tensors = CASES[name]
    with (
        use_backend(backend),
        pytest.raises(InputError, match=f"'{backend}' of {op_of(name).name} cannot take this call"),
    ):
        jvp(run, tensors, tensors)


def test_dropped_weights_have_one_derivative():
    q = random(B, T, N, 2, 2).requires_grad_()
    y, _ = OPS["neuron_attention"](q, q, q, None, 0.5)
    if OPS["neuron_attention"].choose(q, q, q, None, 0.5)[0].kernel:
        with pytest.raises(InputError, match="use_backend"):
            torch.autograd.grad(y.sum(), q, create_graph=True)


class Marked(torch.Tensor):
    """A tensor of a class of its own, as those of torchao or DTensor are."""


@pytest.mark.parametrize("name", CASES)
def test_tensor_classes_are_passed_on(name):
    run, tensors = CASES[name]
    marked = [t.as_subclass(Marked) for t in tensors]
    close([t.as_subclass(torch.Tensor) for t in run(*marked)], [t.double() for t in run(*tensors)])
    args = (*marked[:3], None) if name == "neuron_linear" else marked
    if name.startswith("neighbour"):
        args = (*marked, *LISTED)
    if not name.endswith("attention"):
        assert not op_of(name).choose(*args)[0].kernel


def test_a_step_takes_weights_of_any_strides():
    model = inn.INN(vocab=9, neurons=2, width=4, rounds=1, recall=[]).eval()
    symbol = torch.tensor([1])
    bar = model.step_(symbol)[0]
    for p in model.backbone.rounds.parameters():
        p.data = p.data.transpose(0, -1).contiguous().transpose(0, -1)
    torch.testing.assert_close(model.step_(symbol)[0], bar)
    assert not model.backbone.rounds[0].memory.A_log.is_contiguous()
