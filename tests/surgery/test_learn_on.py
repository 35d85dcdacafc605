"""Learning on: organs for what is new alone, all else as it was bit for bit, and what the log says of it."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch

import inn
from inn.config.run import DataConfig, TrainConfig
from inn.data.examples import Examples
from inn.surgery.learn_on import _with_organ, learn_on, train_on
from inn.surgery.neurons import grow, keep
from inn.surgery.novelty import describe, units_of
from inn.surgery.stream import Domain, StreamLog
from inn.system.errors import InputError

SMALL = {"vocab": 9, "neurons": 3, "width": 8, "rounds": 1, "recall": [1, 2]}
DATA: dict[str, Any] = {"batch": 4, "window": 32}
TRAIN = {"symbols": 4096, "lr": 1e-2}
SIZES: dict[str, Any] = {"span": 32, "rank": 8}


def text(rise: int, seed: int, n: int = 6000) -> Any:
    """Symbols that mostly go on by a fixed rise."""
    draw = np.random.default_rng(seed)
    steps = np.where(draw.random(n) < 0.9, rise, draw.integers(0, 9, n))
    symbols = (np.cumsum(steps) % 9).astype(np.uint8)
    return Domain(f"by {rise}", symbols[: n // 2], symbols[n // 2 :])


def model_of(domain: Domain, **fields):
    torch.manual_seed(0)
    model = inn.INN(**{**SMALL, **fields})
    with torch.random.fork_rng():
        train_on(model, domain, DataConfig(**DATA), TrainConfig(symbols=6000, lr=1e-2))
    return model.eval()


@pytest.fixture(scope="module")
def learned():
    first, second = text(1, 0), text(4, 1)
    model = model_of(first)
    before = {name: t.clone() for name, t in model.state_dict().items()}
    stream = [first, text(1, 2), second, text(4, 3), text(1, 4)]
    draws = torch.get_rng_state()
    with torch.inference_mode():
        made = learn_on(model, stream, neurons=2, data=DATA, train=TRAIN, held=0, **SIZES)
    assert torch.equal(torch.get_rng_state(), draws)
    return model, before, stream, *made


def test_an_organ_grows_for_what_is_new_and_for_nothing_else(learned):
    model, before, _, grown, log = learned
    assert log.expanded == [2]
    assert log.fits == [0, 0, 1, 1, 0]
    assert log.novelty[0] is None
    assert log.novelty[2] > 1 > max(log.novelty[1], log.novelty[3], log.novelty[4])
    assert grown.config.readout.organs == [[3, 4]]
    assert log.parameters == [model.num_parameters] * 2 + [grown.num_parameters] * 3
    assert all(torch.equal(t, before[name]) for name, t in model.state_dict().items())
    assert log.matrix[4][2] < log.matrix[1][2] - 0.5  # bits of the new one
    assert abs(log.matrix[4][0] - log.matrix[0][0]) < 0.02  # the old one is recognised
    assert log.names == ["by 1", "by 1 (2)", "by 4", "by 4 (2)", "by 1 (3)"]


def test_the_organ_that_fits_answers_and_a_stream_may_turn(learned):
    model, _, stream, grown, _ = learned
    old, new = (torch.from_numpy(stream[i].test[:1500].astype(np.int64))[None] for i in (0, 2))
    with torch.no_grad():
        torch.testing.assert_close(grown(old)[0][:, 300:], model(old)[0][:, 300:], atol=1e-5, rtol=0)
        grown.descriptors.forced = 1
        forced, whole = grown(new)[0], grown(torch.cat((old, new), 1))[1]
        grown.descriptors.forced = None
        torch.testing.assert_close(grown(new)[0][:, 300:], forced[:, 300:])
        state = grown(old)[1]
        turned, after = grown(new, state)
        torch.testing.assert_close(after[-2, "error"], whole[-2, "error"])
        grown.descriptors.forced = 1
        assert torch.equal(turned[:, -200:], grown(new, state)[0][:, -200:])  # it has turned within 1,300 symbols
        grown.descriptors.forced = None
        one, step = [], None
        for t in range(5):
            y, step = grown.step_(old[:, t], step)
            one.append(y)
        torch.testing.assert_close(torch.stack(one, 1), grown(old)[0][:, :5], atol=1e-5, rtol=1e-5)


def test_it_goes_on_and_an_organ_can_be_taken_out_again(learned):
    model, _, stream, grown, _ = learned
    third = text(7, 5)
    more, log = learn_on(grown, [stream[0], stream[2], third], neurons=1, data=DATA, train=TRAIN)
    assert log.expanded == [2]
    assert log.fits == [0, 1, 2]
    assert more.config.readout.organs == [[3, 4], [5]]
    tokens = torch.from_numpy(stream[0].test[:50].astype(np.int64))[None]
    alone = keep(more, neurons=[0, 1, 2])
    assert alone.descriptors is None
    torch.testing.assert_close(alone(tokens)[0], model(tokens)[0], atol=1e-5, rtol=0)
    less = keep(more, neurons=[0, 1, 2, 5])
    assert less.config.readout.organs == [[3]]
    for name in ("center", "directions", "offset", "record"):
        assert torch.equal(getattr(less.descriptors, name), getattr(more.descriptors, name)[[0, 2]])
    with pytest.raises(InputError, match="keep all of these, or no organ"):
        keep(more, neurons=[0, 3, 4])
    with pytest.raises(InputError, match=r"use inn\.learn_on"):
        grow(more)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize(
    "fields",
    [
        {}, {"weights": "communal", "communal_states": 4}, {"router": "attention"}, {"router": "bus"},
        {"router": "mixture"}, {"topology": "ring", "topology_options": {"neighbours": 2}}, {"input": "copy"},
        {"weights": "shared", "identity": "embedding"}, {"norm": "rms"}, {"router_options": {"lag": 1}},
    ],
)  # fmt: skip
def test_what_was_there_stays_bit_for_bit_with_every_router(fields, optimizer):
    domain = Domain("noise", np.random.default_rng(0).integers(0, 9, 2000).astype(np.uint8), np.zeros(0))
    torch.manual_seed(0)
    model = inn.INN(**{**SMALL, **fields}).eval()
    known = [describe(units_of(model, domain, 16), 4)]
    own = DataConfig(batch=2, window=16), TrainConfig(symbols=96, lr=0.1, weight_decay=0.0, optimizer=optimizer)
    memory = "gru" if not fields else None
    new = _with_organ(model, known, 2, memory, 0, domain, *own, {"span": 16, "rank": 4})
    tokens = torch.arange(18).reshape(2, 9) % 9
    moved = new(tokens)[0]
    new.descriptors.forced = 0
    torch.testing.assert_close(new(tokens)[0], model(tokens)[0], atol=1e-5, rtol=1e-5)
    new.descriptors.forced = 1
    assert not torch.allclose(new(tokens)[0], model(tokens)[0], atol=1e-3), moved
    half = copy.deepcopy(new).bfloat16()
    assert (half(tokens)[0] - new(tokens)[0]).abs().max() < 0.3
    # without organs it is the old model again, to the bit
    again = keep(new, neurons=[0, 1, 2])
    for name, t in model.state_dict().items():
        there = again.state_dict()[name]
        if there.shape == t.shape:
            assert torch.equal(there, t), name


def images(turn: bool, seed: int) -> Domain:
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, 3, (160, 1))
    x = np.eye(3)[labels[:, 0]].repeat(4, 1) + 0.3 * draw.standard_normal((160, 12))
    x = (1.0 - x if turn else x).astype(np.float32)[:, None]
    one = Examples.equal(x, labels.astype(np.int64))
    return Domain("turned" if turn else "plain", one.take(np.arange(120)), one.take(np.arange(120, 160)))


def test_signals_are_learned_on_too():
    torch.manual_seed(0)
    fields = {"features": 12, "outputs": 3, "head": "classes", "neurons": 3, "width": 8, "rounds": 1}
    model = inn.build_model(inn.model_config("signal", **fields, memory="none", router="none"))
    train = TrainConfig(symbols=2000, lr=1e-2)
    train_on(model, images(False, 0), DataConfig(batch=20), train)
    stream = [images(False, 0), images(True, 1), images(False, 2)]
    grown, log = learn_on(model.eval(), stream, data={"batch": 20}, train={"symbols": 2000, "lr": 1e-2})
    assert (log.expanded, log.fits, log.score) == ([1], [0, 1, 0], "accuracy")
    assert log.matrix[2][1] > log.matrix[0][1] + 0.3
    assert log.backward == 0
    assert grown.config.readout.organs == [[3, 4]]


def test_the_log_is_what_the_matrix_says():
    log = StreamLog(["a", "b", "c"], "accuracy", [[0.9, 0.1, 0.2], [0.7, 0.8, 0.4], [0.5, 0.6, 0.7]])
    assert log.average == pytest.approx(0.6)
    assert log.backward == pytest.approx(((0.5 - 0.9) + (0.6 - 0.8)) / 2)
    assert log.forward == pytest.approx(((0.1 - 0.1) + (0.4 - 0.2)) / 2)
    log.score = "bits"
    assert log.backward == pytest.approx(0.3)
    assert log.to_dict()["backward_transfer"] == log.backward


def test_what_cannot_be_learned_on_is_refused():
    model, one = inn.INN(**SMALL), text(1, 0)
    signal = inn.build_model(inn.model_config("signal", features=12, outputs=3, head="classes"))
    short = Domain("short", one.train[:100], one.test)
    cases: Any = (
        (model, [one], {}, "a stream of 1 has nothing to learn on"),
        (model, "pydoc", {}, "stream must be a list"),
        (model, [one, 3], {}, "not of a int"),
        (model, [short, one], {}, "'short' has 100 symbols, and to know a text takes 32 times 256"),
        (model, [one, Domain("x", one.train + 9, one.test)], {}, "the model knows 9"),
        (model, [one, "file:notes.txt"], {}, "no vocabulary to read"),
        (model, [one, images(False, 0)], {}, "is of signals, and the model reads symbols"),
        (signal, [images(False, 0), one], {}, "not of examples of 12 features"),
        (model, [one, one], {"novelty": 0.0}, "novelty must be"),
        (model, [one, one], {"neurons": 0}, "neurons must be at least 1"),
        (model, [one, one], {"held": -1}, "held must be at least 0"),
        (inn.INN(**SMALL, readout="mean"), [one, one], {}, "readout 'concat'"),
        (inn.INN(**SMALL, router="workspace"), [one, one], {}, "router 'workspace'"),
        (inn.Graph(neurons=2, width=4), [one, one], {}, "not a Graph"),
    )
    for given, stream, options, sentence in cases:
        with pytest.raises(InputError, match=sentence):
            learn_on(given, stream, **options)
