"""Odd calls of the library, drawn from a seed: each gives the right value, or refuses in one sentence."""

import random
import warnings
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.utils.rnn import pack_sequence

import inn
from inn.inference.evaluate import evaluate
from inn.models.generate import complete
from inn.ops import use_backend
from inn.registry import TABLES

VOCAB, B, T = 7, 2, 5
MODEL = {"neurons": 2, "width": 4, "rounds": 1, "slots": 64, "memory_options": {"state": 2}}
FIELDS = {
    "inn": MODEL,
    "lstm": {"width": 8, "layers": 1},
    "gru": {"width": 8, "layers": 1},
    "mamba-stack": {"width": 8, "layers": 1, "memory_options": {"state": 2}},
    "mamba-stack-transposed": {"width": 8, "layers": 1, "memory_options": {"state": 2}},
    "ngram": {"order": 2},
    "transformer": {"width": 8, "heads": 2, "layers": 1, "window": 4},
    "transformer-paper": {"width": 8, "heads": 2, "layers": 1, "hidden": 8, "window": 4},
}
GRAPHS = [(dtype, backend) for dtype in (torch.float32, torch.float64) for backend in ("reference", "torch", None)]
READERS = [*sorted(FIELDS), *(f"graph {dtype} {backend}" for dtype, backend in GRAPHS)]
REFUSED = "refused"


def reader(name):
    torch.manual_seed(0)
    if not name.startswith("graph"):
        model = inn.build_model(inn.model_config(name, vocab=VOCAB, **FIELDS.get(name, {})))
        return model.eval(), torch.randint(VOCAB, (B, T)), nullcontext()
    dtype, backend = GRAPHS[READERS.index(name) - len(FIELDS)]
    graph = inn.Graph(neurons=2, width=4, rounds=1, memory_options={"state": 2}).to(dtype)
    return graph, torch.randn(B, T, 8, dtype=dtype), use_backend(backend) if backend else nullcontext()


def refused(call, *args, **options):
    """Whether a call is refused as it should be: in one sentence of at most 300 characters."""
    sentence = None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            call(*args, **options)
    except inn.InputError as error:
        sentence = str(error)
    return sentence is not None and 0 < len(sentence) <= 300 and "\n" not in sentence


def odd_inputs(draw, x):
    """What may be given to be read: a value, and what it is read as."""
    whole = not x.is_floating_point()
    yield x.numpy(), REFUSED
    yield x.tolist(), REFUSED
    yield None, REFUSED
    yield 3, REFUSED
    yield "abc", REFUSED
    yield pack_sequence([x[0], x[1]]), REFUSED
    yield x[0], REFUSED
    yield x[..., None], REFUSED
    yield x[None], REFUSED
    yield x.to(torch.complex64), REFUSED
    yield x > 0, REFUSED
    yield x.half(), REFUSED
    yield x[:0], x[:0]
    yield x[:, :0], x[:, :0]
    yield x.clone().requires_grad_(not whole), x
    yield x.mT.contiguous().mT if whole else x[..., ::2].repeat_interleave(2, -1) * 0 + x, x
    if whole:
        form = draw.choice(
            [torch.uint8, torch.int8, torch.int16, torch.int32, torch.uint16, torch.uint32, torch.uint64]
        )
        yield x.to(form), x
        yield x - VOCAB * draw.randint(1, 2**40), REFUSED
        yield x + VOCAB * draw.randint(1, 2**40), REFUSED
        yield x.double() * torch.nan, REFUSED
    else:
        yield x.long(), REFUSED
        yield x.double() if x.dtype == torch.float32 else x.float(), REFUSED
        yield x[..., :-1], REFUSED
        yield torch.cat((x, x), -1), REFUSED


def odd_flags(draw, x):
    good = torch.tensor([[draw.random() < 0.5 for _ in range(T)] for _ in range(B)])
    for form in (torch.int64, torch.uint8, torch.int32, torch.float32, torch.float64, torch.float16, torch.bfloat16):
        yield good.to(form), good
    yield good.mT.contiguous().mT, good
    for bad in (
        good[0], good[:1], good[:, :-1], good.T, good[..., None], good.long() + draw.randint(1, 9), good * torch.nan,
        good * -1.0 - 1, good.numpy(), good.tolist(), True, 1, "mask", torch.tensor(True), good.float() * 0.5 + 0.1,
    ):  # fmt: skip
        yield bad, REFUSED


def odd_states(draw, model, x):
    state = model(x)[1].detach()
    yield state.clone(), state
    if not len(state):
        return
    yield state.double(), state
    yield (
        inn.State({k: t.expand(B, *t.shape[1:]) for k, t in state.select_batch([0]).items()}),
        state.select_batch([0, 0]),
    )
    yield inn.State({k: t.mT.contiguous().mT for k, t in state.items()}), state
    first = next(iter(state))
    for bad in (
        {}, dict(state.items()), [state], "state", 0, x, inn.State({}), state.select_batch([0]),
        state.select_batch([0, 1, 0]), state.round(0), inn.State({**state, (9, "ssm"): state[first]}),
        inn.State({k: t for k, t in state.items() if k != first}),
        inn.State({k: t[..., None] for k, t in state.items()}),
        inn.State({**state, first: state[first].bool()}), inn.State({(r + 1, p): t for (r, p), t in state.items()}),
    ):  # fmt: skip
        yield bad, REFUSED


def assert_same(found, expected):
    torch.testing.assert_close(found[0], expected[0])
    assert set(found[1]) == set(expected[1])
    for key, t in expected[1].items():
        torch.testing.assert_close(found[1][key], t)


@pytest.mark.parametrize("name", READERS)
def test_what_a_model_is_called_with(name):
    model, x, context = reader(name)
    draw, calls = random.Random(name), 0
    with context, torch.no_grad():
        for given, meant in odd_inputs(draw, x):
            calls += 1
            if meant is REFUSED:
                assert refused(model, given), given
            else:
                assert_same(model(given), model(meant))
        for flag in ("mask", "reset"):
            for given, meant in odd_flags(draw, x):
                calls += 1
                if meant is REFUSED:
                    assert refused(model, x, **{flag: given}), given
                else:
                    assert_same(model(x, **{flag: given}), model(x, **{flag: meant}))
        for given, meant in odd_states(draw, model, x):
            calls += 1
            if meant is REFUSED:
                assert refused(model, x, given), given
            else:
                assert_same(model(x, given), model(x, meant))
            if hasattr(model, "step_"):
                if meant is REFUSED:
                    assert refused(model.step_, x[:, 0], given), given
                    assert refused(model.step, x[:, 0], given), given
                else:
                    expected = model.step(x[:, 0], meant)
                    assert_same(model.step_(x[:, 0], given), expected)
        if hasattr(model, "step_"):
            for step in (model.step, model.step_):
                for bad in (
                    x,
                    x[:, :1],
                    x[0, 0],
                    x[:, 0].tolist(),
                    x[:, 0].numpy(),
                    3,
                    None,
                    x[:, 0].float(),
                    x[:, 0] + 7,
                ):
                    calls += 1
                    assert refused(step, bad), bad
    assert calls >= 60


ODD = {
    "none": None, "int": 3, "negative": -1, "zero": 0, "huge": 10**30, "half": 0.5, "nan": float("nan"),
    "inf": float("inf"), "text": "x", "empty": "", "lines": "a\nb\0", "bytes": b"x", "list": [1], "dict": {},
    "array": np.zeros(3), "tensor": torch.zeros(2), "object": object(), "true": True, "path": Path("/nowhere"),
}  # fmt: skip
"""Values that any argument may be given, by name; where one of them means something it is no fault."""
CONFIG = """
vocab neurons width rounds share_rounds input weights identity memory population topology router norm update gate
readout dropout tied embedding_std recall recall_options embedding_width head cutoffs
memory_options router_options topology_options state expand conv dt_min dt_max dt_rank timescales preset
""".split()


def public(run, model):
    """Calls with one argument that may be anything, and the values that would take long or ask for the network."""

    def text(**given):
        return list(model.generate(**{"tokens": 2, "seed": 0, **given}))

    def built(kind, name):
        def build(value):
            with torch.device("meta"):
                fields = {"vocab": VOCAB, **FIELDS[kind], name: value}
                if kind == "inn" and name == "preset":
                    fields = {name: value, "vocab": VOCAB}
                inn.build_model(inn.model_config(kind, **fields))

        return build

    state = model.initial_state(2)
    for name in ("prompt", "temperature", "top_k", "top_p", "seed", "unknown", "fresh"):
        yield f"generate({name})", lambda v, name=name: text(**{name: v}), ()
    yield "generate(tokens)", lambda v: text(tokens=v), ("none", "huge")
    yield "generate(model)", lambda v: list(inn.generate(v, "x", 2)), ()
    yield "complete(prompts)", lambda v: complete(model, v, 2), ()
    yield "complete(tokens)", lambda v: complete(model, ["t"], v), ("huge",)
    for name in ("split", "streams", "window", "limit", "device", "dtype"):
        yield f"evaluate({name})", lambda v, name=name: inn.evaluate(run, **{"limit": 40, name: v}), ()
    for name in ("streams", "window", "warmup", "device", "dtype", "blocks"):
        yield f"evaluate of a model({name})", lambda v, name=name: evaluate(model, np.zeros(9, int), **{name: v}), ()
    yield "evaluate(run)", inn.evaluate, ()
    yield "load", inn.load, ()
    for name in ("run", "other", "text", "symbols", "unknown", "out"):
        yield f"look({name})", lambda v, name=name: inn.look(**{"run": run, "symbols": 20, name: v}), ()
    yield "record(channel)", lambda v: inn.record(model, v).__enter__(), ()
    yield "record(model)", lambda v: inn.record(v, "routing").__enter__(), ()
    yield "collapse", inn.collapse, ()
    yield "train(recipe)", lambda v: inn.train(v, run), ()
    yield "train(run)", lambda v: inn.train("nothing", v), ()
    for name in ("model", "data", "train", "resume", "report"):
        yield f"train({name})", lambda v, name=name: inn.train("demo", run, **{name: v}), ("true", "int")
    for what in TABLES:
        yield f"register({what})", lambda v, what=what: inn.register(what, "odd")(v), ()
    yield "register(what)", lambda v: inn.register(v, "odd")(object), ()
    yield "register(name)", lambda v: inn.register("memory", v)(inn.Memory), ()
    yield "Topology.from_graph", inn.Topology.from_graph, ()
    for name, call in (
        ("build_model", inn.build_model),
        ("model_config", inn.model_config),
        ("INN", inn.INN),
        ("Graph", inn.Graph),
    ):
        yield name, call, ("none",)
    for name in CONFIG:
        yield f"INN({name})", built("inn", name), ()
    for kind in sorted(set(FIELDS) - {"inn"}):
        for name in (*FIELDS[kind], "vocab"):
            yield f"{kind}({name})", built(kind, name), ()
    yield "Edges.complete", inn.Edges.complete, ()
    yield "Edges.listed", inn.Edges.listed, ()
    yield "Edges.close", lambda v: inn.Edges.complete(2).close(v), ()
    yield "State", inn.State, ()
    yield "initial_state", model.initial_state, ()
    for name in ("select_batch", "select_neurons", "concat_batch", "concat_neurons"):
        yield name, getattr(state, name), ()
    yield "use_backend", lambda v: use_backend(v).__enter__(), ()


def test_what_the_library_is_called_with(whole, cache, tmp_path):
    model, faults, calls = inn.load(whole), [], 0
    for name, call, left in public(whole, model):
        for what, value in ODD.items():
            if what in left:
                continue
            calls += 1
            try:
                refused(call, value)
            except Exception as error:  # whatever else it is, it is a fault
                faults.append(f"{name} of {what}: {type(error).__name__}: {error}")
    assert not faults, "\n".join(faults)
    assert calls > 1000
