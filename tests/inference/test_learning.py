"""A model that learns while it reads: the steps are those of a plain loop, in whatever pieces it reads."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import inn
from inn import INN
from inn.config.assemble import model_config
from inn.inference.evaluate import evaluate
from inn.inference.held_out import evaluate_run
from inn.inference.learning import Learner, Learning
from inn.models.build import build_model
from inn.system.errors import InputError

RECALLS = [{"kind": "counts", "contexts": [1, 2, 3], "slots": 64}, {"kind": "last", "slots": 64}, "none"]
NEAR = {"rtol": 1e-4, "atol": 1e-4}  # Adam makes a whole step of a gradient that is rounding alone
HOW = Learning(rate=0.02, window=8)


def small(recall=RECALLS[0], **fields):
    torch.manual_seed(0)
    return INN(vocab=5, neurons=2, width=8, rounds=1, recall=recall, **fields).double()


def text(*shape: int) -> torch.Tensor:
    """Symbols that mostly go up by one."""
    steps = 1 + (torch.rand(shape, generator=torch.Generator().manual_seed(0)) < 0.2).long()
    return steps.cumsum(-1) % 5


def by_hand(model, x: torch.Tensor) -> torch.Tensor:
    """Of one stream or several: forward over each window, backward, a step; the state carried."""
    model = copy.deepcopy(model).eval()
    optimizer, out, state = torch.optim.Adam(model.parameters(), lr=0.02, betas=(0.9, 0.99)), [], None
    for at in range(0, x.shape[1], 8):
        logits, state = model(x[:, at : at + 8], state)
        state = state.detach()
        out.append(logits.detach())
        if at + 8 < x.shape[1]:
            optimizer.zero_grad()
            F.cross_entropy(logits.flatten(0, 1), x[:, at + 1 : at + 9].flatten()).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
    return torch.cat(out, 1)


@pytest.mark.parametrize("recall", RECALLS, ids=["counts", "last", "none"])
def test_it_learns_as_a_plain_loop_does_in_whatever_pieces_it_reads(recall):
    model, x = small(recall), text(3, 50)
    before, wanted = copy.deepcopy(model.state_dict()), by_hand(model, x)
    for cuts in ([50], [1] * 50, [8, 20, 22]):
        learner = Learner(model, HOW, 3)
        torch.testing.assert_close(torch.cat([learner.read(part) for part in x.split(cuts, 1)], 1), wanted, **NEAR)
    learner = Learner(model, HOW, 3)
    torch.testing.assert_close(torch.stack([learner.step(x[:, t]) for t in range(50)], 1), wanted, **NEAR)
    assert all(torch.equal(t, before[name]) for name, t in model.state_dict().items())
    assert not torch.equal(learner.model.head.weight, model.head.weight)


def test_streams_that_share_their_tables_know_more():
    model, x = small(), text(1, 50).expand(4, -1)
    apart, together = (Learner(model, HOW, 4, together=share) for share in (False, True))
    a, b = ([learner.step(x[:, t]) for t in range(50)] for learner in (apart, together))
    assert not torch.equal(a[-1], b[-1])
    assert [len(together.tables[name]) for name in ("table", "recent")] == [1, 4]
    read = Learner(model, HOW, 4, together=True).read(x)
    torch.testing.assert_close(torch.stack(b, 1), read, **NEAR)


@pytest.mark.parametrize("kind", ["inn", "lstm"])
def test_a_score_of_what_learns_is_lower_and_without_a_rate_the_ordinary_one(kind):
    fields = {"neurons": 2, "rounds": 1, "slots": 64} if kind == "inn" else {}
    torch.manual_seed(0)
    model, symbols = build_model(model_config(kind, vocab=5, width=8, **fields)), text(1, 400)[0].numpy()
    plain = evaluate(model, symbols, window=50)
    assert evaluate(model, symbols, learn=HOW).nats < plain.nats - 0.1
    assert evaluate(model, symbols, learn=Learning(rate=0.0)).nats == pytest.approx(plain.nats, rel=1e-6)
    with pytest.raises(InputError, match="set streams 1"):
        evaluate(model, symbols, streams=2, learn=HOW)


def test_it_begins_with_what_was_read_before():
    model, symbols = small(), text(1, 300)[0].numpy()
    state = model.after_reading(torch.from_numpy(symbols))
    known = {name: t.clone() for name, t in state.round(-1).items()}
    with_it, without = (evaluate(model, symbols, state=s, learn=HOW).nats for s in (state, None))
    assert with_it < without
    assert all(torch.equal(t, state[-1, name]) for name, t in known.items())


@pytest.mark.parametrize("given", [{"rate": -1.0}, {"rate": float("nan")}, {"window": 0}, {"window": 65536}])
def test_what_cannot_be_is_refused(given):
    with pytest.raises(InputError, match="a model learns"):
        Learning(**given)


def test_a_run_is_scored_both_ways(tmp_path, capsys):
    corpus = tmp_path / "text.txt"
    corpus.write_text("the graph of neurons " * 200)
    train = {"symbols": 64, "eval_every": 100, "eval_symbols": 100, "sample_every": 0, "device": "cpu"}
    data = {"corpus": f"file:{corpus}", "batch": 2, "window": 16}
    run = inn.train("demo", run=tmp_path / "run", model={"neurons": 2, "width": 8, "rounds": 1}, train=train, data=data)
    plain, both = evaluate_run(run), evaluate_run(run, learn=Learning(rate=0.01, window=8))
    assert {name: value for name, value in both.items() if name != "learned"} == plain
    assert both["learned"]["bits"] < plain["bits"]
    from inn.cli.evaluate import main

    assert main([str(tmp_path / "run"), "--split", "test", "--learn", "--learn-window", "8"]) == 0
    assert "learning while reading" in capsys.readouterr().out
    with pytest.raises(InputError, match="--learn-rate is of --learn"):
        main([str(tmp_path / "run"), "--learn-rate", "0.1"])


def test_symbols_of_other_types_are_read():
    assert np.isfinite(evaluate(small(), text(1, 60)[0].numpy().astype(np.uint8), learn=HOW).nats)
