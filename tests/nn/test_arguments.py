"""Every model and backend is fed the same odd arguments: the right value, or one sentence that says what is wanted."""

import copy
from contextlib import nullcontext

import pytest
import torch
import torch.distributed.checkpoint as dcp
from torch.nn.utils.rnn import pack_sequence

import inn
from inn.config.assemble import model_config
from inn.models.build import build_model
from inn.ops import use_backend
from inn.registry import READOUTS, ROUTERS

VOCAB, B, T = 7, 3, 6
SMALL = {
    "inn": {"neurons": 2, "width": 4, "rounds": 2, "slots": 64, "memory_options": {"state": 4}},
    "lstm": {"width": 8},
    "gru": {"width": 8},
    "mamba-stack": {"width": 8, "layers": 2, "memory_options": {"state": 4}},
    "mamba-stack-transposed": {"width": 8, "layers": 1, "memory_options": {"state": 4}},
    "ngram": {"order": 3},
    "transformer": {"width": 8, "heads": 2, "layers": 2, "window": 4},
    "transformer-paper": {"width": 8, "heads": 2, "layers": 2, "hidden": 16, "window": 4},
}
KINDS = sorted(SMALL)
LEARNING = [k for k in KINDS if k not in ("ngram", "mamba-stack-transposed")]
DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]


def built(kind, dtype=torch.float64, **fields):
    torch.manual_seed(0)
    return build_model(model_config(kind, vocab=VOCAB, **{**SMALL.get(kind, {}), **fields})).to(dtype).eval()


def graph(dtype=torch.float64, **fields):
    torch.manual_seed(0)
    return inn.Graph(**{"neurons": 2, "width": 4, "rounds": 2, "memory_options": {"state": 4}, **fields}).to(dtype)


def tokens(*shape):
    return torch.randint(VOCAB, shape, generator=torch.Generator().manual_seed(1))


def flags():
    return torch.rand(B, T, generator=torch.Generator().manual_seed(2)) < 0.5


def read(model, given, state=None, loss=slice(None), **options):
    """What comes out, the state, and every gradient, of what `loss` picks."""
    model.zero_grad()
    y, after = model(given, state, **options)
    if y.requires_grad:
        floats = [t.sin().sum() for t in after.values() if t.is_floating_point() and t.requires_grad]
        (y[loss].sin().sum() + sum(floats)).backward()
    return y, after, [p.grad for p in model.parameters()]


def assert_same(found, expected, places=slice(None)):
    near = {"rtol": 0.05, "atol": 0.05} if expected[0].dtype in (torch.bfloat16, torch.float16) else {}
    torch.testing.assert_close(found[0][places], expected[0][places], **near)
    assert set(found[1]) == set(expected[1])
    for key, t in expected[1].items():
        torch.testing.assert_close(found[1][key], t, **near)
    for ours, bar in zip(found[2], expected[2], strict=True):
        assert (ours is None) == (bar is None)
        if bar is not None:
            torch.testing.assert_close(ours, bar, **near)


def backends(dtype):
    return ["reference", "torch", *(["cpu"] if dtype == torch.float32 else [None])]


def readers(kinds=KINDS):
    """Every kind of model, and a graph on every backend, in every type: the reader, what it reads, and a context."""
    found = []
    for kind in kinds:
        for dtype in (torch.float64, torch.float32 if kind in ("inn", "ngram") else torch.bfloat16):
            found.append(pytest.param(kind, dtype, None, id=f"{kind}-{dtype}"))
    for dtype in DTYPES:
        for backend in backends(dtype):
            found.append(pytest.param("graph", dtype, backend, id=f"graph-{dtype}-{backend}"))
    return found


def reader(kind, dtype, backend):
    context = nullcontext() if backend is None else use_backend(backend)
    if kind != "graph":
        return built(kind, dtype), tokens(B, T), context
    x = torch.randn(B, T, 8, generator=torch.Generator().manual_seed(3)).to(dtype)
    return graph(dtype), x, context


@pytest.mark.parametrize("kind, dtype, backend", readers())
def test_zeros_and_ones_are_flags_in_any_type(kind, dtype, backend):
    model, x, context = reader(kind, dtype, backend)
    with context:
        for name in ("reset", "mask"):
            expected = read(model, x, **{name: flags()})
            for form in (torch.int64, torch.uint8, torch.float32):
                assert_same(read(model, x, **{name: flags().to(form)}), expected)


@pytest.mark.parametrize("kind", [*KINDS, "graph"])
@pytest.mark.parametrize("name", ["reset", "mask"])
def test_other_flags_are_refused_and_the_shape_is_named(kind, name):
    model, x, _ = reader(kind, torch.float64, None)
    good = flags()
    for bad in (good[0], good[:1], good.T, good[..., None], good.long() * 2, good * torch.nan, good.long() - 1):
        with pytest.raises(inn.InputError, match=rf"{name} must be (\[B, T\], here \[3, 6\]|bool, or .* 0 or 1)"):
            model(x, **{name: bad})
    for bad in (good.tolist(), good.numpy(), True):
        with pytest.raises(inn.InputError, match=rf"{name} must be a tensor \[B, T\]"):
            model(x, **{name: bad})


@pytest.mark.parametrize("kind, dtype, backend", readers())
def test_what_stands_behind_a_mask_reaches_nothing(kind, dtype, backend):
    model, x, context = reader(kind, dtype, backend)
    mask = flags()
    mask[0], mask[1] = False, True
    with context:
        state = model(x)[1].detach()
        for given, live in ((None, mask[1:]), (state, mask[1:])):
            expected = read(model, x[1:], given and given.select_batch([1, 2]), loss=live, mask=live)
            for junk in (torch.nan, torch.inf) if kind == "graph" else (-100, VOCAB, 2**40):
                dirty = x.masked_fill(~mask if kind != "graph" else ~mask[..., None], junk)
                if given is not None:  # a stream that reads nothing keeps even a state that is lost
                    given = spoilt(given, [0])
                y, after, gradients = read(model, dirty, given, loss=mask, mask=mask)
                assert y.isfinite().all()
                if kind != "mamba-stack-transposed":  # its streams meet
                    kept = after.select_batch([1, 2])
                    places = live[:, :, None].expand(-1, -1, y.shape[-1])
                    assert_same((y[1:], kept, gradients), expected, places)
                if given is not None:
                    first, last = given.select_batch([0]), after.select_batch([0])
                    for key, t in first.items():
                        torch.testing.assert_close(last[key], t, equal_nan=True)


def spoilt(state, rows):
    """The state, with numbers of these streams that are no numbers."""
    found = state.clone()
    for t in found.values():
        if t.is_floating_point():
            t[rows] = torch.nan
    return found


@pytest.mark.parametrize("kind, dtype, backend", readers(LEARNING))
@pytest.mark.parametrize("at", [0, 2])
def test_a_reset_cures_a_stream_that_was_lost(kind, dtype, backend, at):
    model, x, context = reader(kind, dtype, backend)
    reset = torch.zeros(B, T, dtype=torch.bool)
    reset[:, at] = True
    with context:
        state = spoilt(model(x)[1].detach(), [0, 1, 2])
        expected = read(model, x[:, at:])
        y, after, gradients = read(model, x, state, loss=(slice(None), slice(at, None)), reset=reset)
        assert_same((y[:, at:], after, gradients), expected)
        assert y[:, :at].isnan().all()  # nobody knows what it would have been
        waiting = torch.ones(B, T, dtype=torch.bool)
        waiting[:, :at] = False
        y, after, gradients = read(model, x, state, loss=waiting, reset=reset, mask=waiting)
        assert_same((y[:, at:], after, gradients), expected)
        assert y.isfinite().all()


@pytest.mark.parametrize("backend", ["reference", "torch", "cpu", None])
def test_an_input_that_is_lost_is_forgotten_at_the_next_reset(backend):
    g, x, _ = reader("graph", torch.float32, backend)
    reset = torch.zeros(B, T, dtype=torch.bool)
    reset[:, 3] = True
    dirty = x.clone()
    dirty[0, 1] = torch.inf
    with nullcontext() if backend is None else use_backend(backend):
        counted = torch.ones(B, T, dtype=torch.bool)
        counted[0, 1:3] = False
        expected, found = (read(g, given, loss=counted, reset=reset) for given in (x, dirty))
    assert_same(found, expected, counted[..., None].expand(-1, -1, 8))
    assert found[0][0, 1:3].isnan().all()


@pytest.mark.parametrize("router", sorted(set(ROUTERS) - {"none"}))
@pytest.mark.parametrize("readout", sorted(READOUTS))
@pytest.mark.parametrize("topology", ["complete", "ring"])
def test_no_part_of_a_graph_hears_what_is_masked(router, readout, topology):
    gate = {"gate": "soft", "gate_penalty": 0.1}
    fields = {"topology": topology, **READOUTS[readout].beside}
    g = graph(neurons=4, router=router, readout=readout, **fields, **gate).train()
    x, mask = torch.randn(B, T, 16, dtype=torch.float64), flags()
    results = []
    for junk in (0.0, torch.nan):
        g.zero_grad()
        y, after = g(x.masked_fill(~mask[..., None], junk), mask=mask)
        (y[mask].sin().sum() + after.penalties["gate"]).backward()
        results.append((y, after, [p.grad for p in g.parameters()]))
    assert_same(*results)


def test_the_price_of_talking_is_of_steps_that_are_there():
    g = graph(router="bus", gate="soft", gate_penalty=1.0).train()
    torch.nn.init.normal_(g.rounds[0].gate.weight)
    x = torch.randn(1, T, 8, dtype=torch.float64)
    mask = torch.ones(1, T, dtype=torch.bool)
    mask[:, 4:] = False
    torch.testing.assert_close(g(x, mask=mask)[1].penalties, g(x[:, :4])[1].penalties)


@pytest.mark.parametrize("kind", KINDS)
def test_tokens_of_any_whole_type_and_no_others(kind):
    model, x, _ = reader(kind, torch.float64, None)
    expected = model(x)[0]
    for form in (torch.uint8, torch.int8, torch.int16, torch.int32, torch.uint16, torch.uint32, torch.uint64):
        assert torch.equal(model(x.to(form))[0], expected)
        assert torch.equal(model.step_(x[:, 0].to(form))[0], model.step(x[:, 0])[0])
    for bad, sentence in (
        (x.double(), "whole numbers, not float64"),
        (x > 1, "whole numbers, not bool"),
        (x[0], r"\[B, T\].*, not \[6\]"),
        (x[..., None], r"not \[3, 6, 1\]"),
        (x.tolist(), r"tensor \[B, T\] .*, not a list"),
        (x.numpy(), "not a ndarray"),
        (None, "not None"),
        (x - 1, "from 0 to 6.* not -1"),
        (x + 1, "from 0 to 6.* not 7"),
    ):
        with pytest.raises(inn.InputError, match=sentence):
            model(bad)
    for step in (model.step, model.step_):
        for bad, sentence in (
            (x, r"\[B\]"),
            (x[:, 0].tolist(), r"\[B\]"),
            (x[:, 0] + 7, "from 0"),
            (x[0, 0], r"\[B\]"),
        ):
            with pytest.raises(inn.InputError, match=sentence):
                step(bad)


def test_a_graph_takes_its_own_type_and_shape():
    g, x, _ = reader("graph", torch.float32, None)
    for bad, sentence in (
        (x.double(), r"takes float32.* not float64"),
        (x.long(), "not int64"),
        (x[0], r"\[batch, time, 8\]"),
        (x[..., :7], r"\[3, 6, 7\]"),
        (x.tolist(), "not a list"),
        (pack_sequence([x[0], x[1]]), "PackedSequence.*mask"),
    ):
        with pytest.raises(inn.InputError, match=sentence):
            g(bad)
    with torch.autocast("cpu", torch.bfloat16):
        assert g(x.bfloat16())[0].isfinite().all()
    assert g.double()(x.double())[0].dtype == torch.float64  # the type is the weights' of now
    with pytest.raises(inn.InputError, match=r"edges must be inn\.Edges"):
        g(x.double(), edges=[[0, 1]])
    with pytest.raises(inn.InputError, match="2 neurons, not of 3"):
        g(x.double(), edges=inn.Edges.complete(3))


@pytest.mark.parametrize("kind", [*KINDS, "graph"])
def test_nothing_is_made_of_nothing(kind):
    model, x, _ = reader(kind, torch.float64, None)
    state = model(x)[1].detach()
    for given, before in (
        (x[:0], None),
        (x[:, :0], None),
        (x[:0, :0], None),
        (x[:0], state.select_batch([])),
        (x[:, :0], state),
    ):
        leaf = given.clone().requires_grad_(given.is_floating_point())
        none = torch.zeros(given.shape[:2])
        y, after, gradients = read(model, leaf, before, mask=none, reset=none)
        assert list(y.shape) == [*given.shape[:2], model(x)[0].shape[-1]]
        assert all(g is not None and not g.any() for g in gradients)
        assert leaf.grad is None if not leaf.requires_grad else leaf.grad.shape == leaf.shape
        expected = model.initial_state(len(given)) if before is None else before
        for key, t in expected.items():
            torch.testing.assert_close(after[key], t)
    if kind != "graph":
        logits, after = model.step_(x[:0, 0])
        assert list(logits.shape) == [0, VOCAB]
        assert all(len(t) == 0 for t in after.values())


STRANGERS = {
    "another rounds": lambda kind: built(
        kind, **{"inn": {"rounds": 3}, "ngram": {"order": 4}}.get(kind, {"layers": 3})
    ),
    "another width": lambda kind: built(kind, **({"order": 2} if kind == "ngram" else {"width": 16})),
    "no recall": lambda kind: inn.INN(vocab=VOCAB, neurons=2, width=4, rounds=2, recall=[]),
    "other slots": lambda kind: built("inn", slots=128),
    "another kind": lambda kind: built("lstm" if kind != "lstm" else "transformer"),
}


@pytest.mark.parametrize("kind", [k for k in KINDS if k != "mamba-stack-transposed"])
@pytest.mark.parametrize("stranger", STRANGERS)
def test_a_state_of_another_model_is_refused(kind, stranger):
    model, state = built(kind), STRANGERS[stranger](kind).initial_state(B)
    for call in (
        lambda: model(tokens(B, T), state),
        lambda: model.step(tokens(B), state),
        lambda: model.step_(tokens(B), state),
    ):
        with pytest.raises(inn.InputError, match="this state is of another model: "):
            call()


@pytest.mark.parametrize("kind", KINDS)
def test_states_that_are_none(kind):
    model = built(kind)
    for bad in ({}, dict(model.initial_state(B)), [1], "state", torch.zeros(B)):
        for call in (model, lambda x, s: model.step_(x[:, 0], s)):
            with pytest.raises(inn.InputError, match=r"state must be an inn\.State"):
                call(tokens(B, T), bad)
    if kind != "mamba-stack-transposed":
        with pytest.raises(inn.InputError, match=r"1 streams, the input of 3; repeat it"):
            model(tokens(B, T), model.initial_state(1))


@pytest.mark.parametrize("kind", LEARNING)
def test_a_state_comes_in_any_type_and_form(kind):
    model, x = built(kind, torch.float32), tokens(B, T)
    state = model(x[:1])[1].detach()
    spread = inn.State({k: t.expand(B, *t.shape[1:]) for k, t in state.items()})
    expected = model.step(x[:, 0], state.select_batch([0] * B))
    for form in (spread, spread.double(), state.double().select_batch([0] * B)):
        logits, after = model.step_(x[:, 0], form)
        torch.testing.assert_close(logits, expected[0])
        for key, t in expected[1].items():
            torch.testing.assert_close(after[key], t)
    torch.testing.assert_close(spread[next(iter(state))][0], state[next(iter(state))][0])  # nobody else's is changed
    learning = model(x[:, :1])[1]  # a part of a graph of gradients
    kept = copy.deepcopy(learning)
    model(x, model.step_(x[:, 1], learning)[1])
    for key, t in learning.items():
        assert torch.equal(t, kept[key])
    model.double()
    assert model(x, state.select_batch([0] * B))[0].dtype == torch.float64


@pytest.mark.parametrize("kind", LEARNING)
def test_what_was_made_in_inference_mode_is_learned_from(kind):
    model, x, reset, mask = built(kind), tokens(B, T), flags(), ~flags()
    state = model(x)[1].detach()
    want = read(model, x, state, reset=reset, mask=mask)
    with torch.inference_mode():
        state = model(x)[1]
        x, reset, mask = x.clone(), reset.clone(), mask.clone()
    y, after, gradients = read(model, x, state, reset=reset, mask=mask)
    assert torch.equal(y, want[0])
    assert not any(t.is_inference() for t in after.values())
    assert all(torch.equal(a, b) for a, b in zip(gradients, want[2], strict=True) if a is not None)


def test_states_are_joined_moved_copied_and_saved(tmp_path):
    model = built("inn", torch.float32)
    _, state = model(tokens(B, T))
    joined = state.select_batch([0]).concat_batch(state.select_batch([1]), state.select_batch([2]))
    assert all(torch.equal(joined[k], state[k]) for k in state)
    assert state.double()[0, "ssm"].dtype == torch.float64
    assert state.double().float().cpu()[0, "ssm"].dtype == torch.float32
    assert state.double()[-1, "table"].dtype == torch.int32
    with pytest.raises(inn.InputError, match="same rounds"):
        state.concat_batch(built("lstm").initial_state(1))
    with pytest.raises(inn.InputError, match="cannot be joined"):
        state.concat_batch(built("inn", torch.float32, slots=128).initial_state(1))
    copied = copy.deepcopy(state)
    assert all(torch.equal(copied[k], state[k]) for k in state)
    assert not copied[0, "ssm"].requires_grad
    dcp.save({"state": state.detach()}, checkpoint_id=tmp_path / "dcp")
    found = model.initial_state(B)
    dcp.load({"state": found}, checkpoint_id=tmp_path / "dcp")
    assert all(torch.equal(found[k], state[k]) for k in state)


def test_a_kind_of_ones_own_is_checked_too():
    class Guess(inn.SequenceModel):
        """All symbols alike."""

        def forward(self, tokens, state=None, *, reset=None, mask=None):
            assert mask is None or mask.dtype == torch.bool
            return torch.zeros(*tokens.shape, VOCAB), self.initial_state(len(tokens))

        def initial_state(self, batch):
            return inn.State({})

        def flops(self):
            return {}

    model = Guess(model_config("ngram", vocab=VOCAB))
    assert list(model(tokens(B, T), mask=torch.ones(B, T))[0].shape) == [B, T, VOCAB]
    with pytest.raises(inn.InputError, match="whole numbers"):
        model(tokens(B, T).float())
