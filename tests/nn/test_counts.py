"""Recall by counts: against dicts of counts, in a model, and told beforehand in training."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace

import numpy as np
import pytest
import torch

import inn
from inn.config.models import INNConfig
from inn.config.settings import resolve
from inn.data.streams import SEGMENT, Streams
from inn.inference.evaluate import evaluate
from inn.nn.recall.contexts import Context, context, shown
from inn.nn.recall.counts import Counts
from inn.nn.recall.votes import Votes, levels, sure
from inn.surgery.generator import Generator
from inn.system.errors import InputError
from inn.training.experience import NEW, Experience, experience_of
from inn.training.objectives import base


def counts_of(contexts: list, vocab: int = 5, neurons: int = 2, **options) -> Counts:
    options = {"slots": 4096, **options}
    recall = {"kind": "counts", "contexts": contexts, **options}
    return Counts(INNConfig(vocab=vocab, neurons=neurons, width=4, rounds=1, recall=recall))


def text(length: int, vocab: int = 5, seed: int = 0) -> torch.Tensor:
    return torch.randint(vocab, (1, length), generator=torch.Generator().manual_seed(seed))


def test_what_is_found_is_what_a_dict_of_counts_has():
    r, x = counts_of([1, {"kind": "last", "length": 2, "skip": 1}]), text(300)
    found, symbols = r(x, None)[2], x[0].tolist()
    seen = [defaultdict(Counter), defaultdict(Counter)]
    for t, s in enumerate(symbols):
        before = [-1, -1, -1, *symbols[:t]]
        for known, key in zip(seen, (tuple(before[-1:]), tuple(before[-3:-1])), strict=True):
            known[key][s] += 1
        now = [-1, -1, -1, *symbols[: t + 1]]
        for n, key in enumerate((tuple(now[-1:]), tuple(now[-3:-1]))):
            got = found["found"][0, t, n, 0]
            assert {int(e) >> 8: int(e) & 255 for e in got if e >= 0} == dict(seen[n][key])


def test_votes_are_the_weighed_numbers_of_the_followers():
    r = counts_of([1, 2])
    found, state = r(text(200), None)[2], torch.randn(1, 200, 8)
    votes = Votes(INNConfig(vocab=5, neurons=2, width=4, rounds=1, recall={"kind": "counts", "contexts": [1, 2]}))
    got = votes(found, state)  # at the start every weight is the same and a vote the logarithm of its count's level
    mine, _ = levels(torch.device("cpu"))
    by_level = {int(count): value for count, value in zip(mine.tolist(), mine.tolist(), strict=True)}
    t, small = 20, {}
    for n in range(2):
        for entry in found["found"][0, t, n, 0].tolist():
            if entry >= 0:
                small[entry >> 8] = small.get(entry >> 8, 0.0) + 0.3 * np.log((by_level[entry & 255] + 0.05) / 0.1)
    assert {s: v for s, v in enumerate(got[0, t].tolist()) if v} == pytest.approx(small, abs=1e-5)
    assert sure(torch.tensor([[9 << 8 | 3, -1]])).tolist() == [3 * 16]


def test_words_are_made_of_letters_and_columns_of_lines():
    r = counts_of([{"kind": "word", "words": 0}, {"kind": "column", "newline": 4}], letters=[1, 2])
    x = torch.tensor([[1, 2, 0, 3, 1, 2, 0]])  # the word 1 2, then what is no word, then the same word
    found = r(x, None)[2]["found"][0, :, 0, 0]
    assert [int(e) >> 8 for e in found[5] if e >= 0] == [0]
    with pytest.raises(InputError, match=r"which of 5 symbols make words; give recall\.letters"):
        counts_of(["word"])
    with pytest.raises(InputError, match="0, 1 or 2 words before, not 3"):
        context({"kind": "word", "words": 3})
    assert [shown(context(one)) for one in (3, "column")] == [3, "column (newline 10)"]


def test_a_context_of_ones_own():
    class Sum(Context):
        """The sum of the last two symbols."""

        @property
        def reach(self) -> int:
            return 2

        def keys(self, histories: torch.Tensor) -> torch.Tensor:
            return histories.sum(-1)

    inn.register("context", "sum")(Sum)
    try:
        r, x = counts_of(["sum", 1]), text(200)
        reset = torch.zeros_like(x, dtype=torch.bool)
        reset[0, 100] = True
        found = r(x, None, reset)[2]["found"]
        alone = r(x[:, 100:], None)[2]["found"]
        assert torch.equal(found[:, 100:], alone)
        read = [-1, -1, *x[0, 100:].tolist()]
        last = Counter(c for a, b, c in zip(read, read[1:], read[2:]) if a + b == sum(read[-2:]))
        assert {int(e) >> 8: int(e) & 255 for e in found[0, -1, 0, 0] if e >= 0} == dict(last)
    finally:
        from inn.registry import CONTEXTS

        CONTEXTS._registered.pop("sum")


def test_neurons_that_forget_neither_take_in_nor_vote():
    from inn.analysis.lesions.lesion import forgetful

    model = inn.INN(vocab=5, neurons=2, width=4, rounds=1, recall={"kind": "counts", "contexts": [1, 2], "slots": 64})
    x = text(60)
    with torch.no_grad():
        whole = model(x)[0]
        with forgetful(model, [0, 1]):
            blind = model(x)[0]
        model.votes.bias.zero_()
        with forgetful(model, [0, 1]):
            assert torch.equal(model(x)[0], blind)  # nothing votes
    assert not torch.allclose(whole, blind)


def test_models_that_vote_are_not_merged_and_gates_do_not_reach_votes():
    recall = {"kind": "counts", "contexts": [1, 2], "slots": 64}
    model = inn.INN(vocab=5, neurons=2, width=4, rounds=1, recall=recall)
    with pytest.raises(InputError, match="recall 'counts' does not say how"):
        inn.merge(model, model)
    with pytest.raises(InputError, match="gates do not reach"):
        Generator(model, tasks=2)


def streams_of(symbols: np.ndarray, batch: int, window: int) -> Streams:
    return Streams(symbols, batch, window, "forward")


def test_what_is_told_beforehand_is_what_reading_from_the_start_finds():
    symbols = np.random.default_rng(0).integers(0, 5, 2 * SEGMENT + 100).astype(np.uint8)
    r, streams = counts_of([1, 3], slots=64), streams_of(symbols, 8, 256)
    assert len(streams.edges) == 3
    tables = r.initial_state(1)
    whole = r.find_(torch.from_numpy(symbols.astype(np.int64))[None], tables)
    told = Experience(r, streams)
    for _ in range(streams.windows_per_pass - 1):
        batch = streams.next()
    assert batch.starts is not None
    assert batch.starts[0] >= SEGMENT  # of the second segment, which comes after all of the first
    found = told.at(batch.starts, 256)
    for row, start in enumerate(batch.starts):
        same = torch.equal(found["found"][row], whole["found"][0, start : start + 256])
        assert same == (row % NEW != NEW - 1)
    again = Experience(r, streams).at(batch.starts, 256)  # as after a resume
    assert all(torch.equal(again[name], t) for name, t in found.items())


def test_a_model_is_told_what_it_would_have_found():
    recall = {"kind": "counts", "contexts": [1, 2], "slots": 64}
    model = inn.INN(vocab=5, neurons=2, width=4, rounds=1, recall=recall).double()
    x = text(50)
    logits, _ = model(x)
    found = model.recall(x, None)[2]
    told, after = model(x[:, :20], found={k: t[:, :20] for k, t in found.items()})
    assert not [key for key in after if key[0] == -1]
    more, _ = model(x[:, 20:], after, found={k: t[:, 20:] for k, t in found.items()})
    torch.testing.assert_close(torch.cat((told, more), 1), logits)
    with pytest.raises(InputError, match="this state is of another model"):
        model(x, after)


def test_objectives_that_are_not_told_do_not_read_forward():
    settings = resolve("demo", ["--data.order=forward"]).config
    model, streams = inn.INN(vocab=5, neurons=2, width=4, rounds=1), streams_of(np.zeros(500, np.uint8), 2, 8)
    own = base.Objective(None, base.Context(model, model, None, None, 1), settings.train)
    with pytest.raises(InputError, match="objective 'predict' looks up"):
        experience_of(model, settings, streams, own)
    assert experience_of(model, replace(settings, data=replace(settings.data, order="random")), None, own) is None


def test_a_text_is_scored_after_another():
    model = inn.INN(vocab=5, neurons=2, width=4, rounds=1, recall={"kind": "counts", "contexts": [4], "slots": 64})
    symbols = text(400)[0]
    with torch.no_grad():
        state = model.after_reading(symbols[:200])
        known = evaluate(model, symbols[200:].numpy(), state=state, window=64)
        logits, _ = model(symbols[None, 200:-1], state)
    nats = torch.nn.functional.cross_entropy(logits[0], symbols[201:])
    assert known.nats == pytest.approx(nats.item(), rel=1e-5)
    assert known.nats != pytest.approx(evaluate(model, symbols[200:].numpy()).nats, rel=1e-5)
    with pytest.raises(InputError, match="set streams 1"):
        evaluate(model, symbols.numpy(), state=state, streams=2)
