"""The engine: every stream is written as it would be alone."""

from __future__ import annotations

import random

import pytest
import torch

from inn.data.vocabulary import Bytes
from inn.models.generate import generate, sample
from inn.nn.state import State
from inn.server.conversations import Conversations, Keep, Kept
from inn.server.draws import Draws, draw
from inn.server.engine import Engine
from inn.server.streams import BEGIN, CHUNK, MANY, Ask, Busy, End, Full, Piece, Stream, Text, alike
from inn.system.errors import InputError

COUNTS = {"recall": {"kind": "counts", "contexts": [1, 2, 3], "slots": 64}}


def heard(stream):
    """The text of a stream and its end."""
    text = ""
    while isinstance(event := stream.events.get(timeout=60), Piece):
        text += event.text
    assert isinstance(event, End)
    return text, event


def asked(model, prompt, tokens, **draws):
    return Ask(model.vocabulary.encode(prompt).tolist(), tokens, Draws(**draws))


def alone(model, prompt, tokens, **draws):
    return "".join(generate(model, prompt, tokens, **draws))


@pytest.mark.parametrize(
    "kind, fields",
    [
        ("inn", {"slots": 64}),
        ("inn", {"recall": []}),
        ("inn", COUNTS),
        ("lstm", {"width": 16}),
        ("transformer", {"width": 16, "heads": 2, "layers": 2, "window": 8}),
        ("ngram", {"order": 2}),
    ],
)
def test_many_streams_of_unequal_length_are_each_as_alone(model_of, kind, fields):
    model = model_of(kind, **fields)
    draw_ = random.Random(1)
    wanted = []
    for seed in range(40):
        prompt = "".join(draw_.choices("abc xyz", k=draw_.choice([1, 3, 70, 200]) if seed % 8 == 0 else 5))
        how = [{}, {"temperature": 0.6}, {"top_p": 0.8}, {"top_k": 3, "top_p": 0.9}][seed % 4]
        wanted.append((prompt, draw_.randint(1, 40), {"seed": seed, **how}))
    engine, reads = Engine(model, streams=12, queue=40, shared=False), []
    read = engine.reading.read_
    engine.reading.read_ = lambda symbols, *rest: reads.append(symbols.shape) or read(symbols, *rest)
    streams = [engine.submit(asked(model, prompt, tokens, **how)) for prompt, tokens, how in wanted]
    with engine:
        found = [heard(stream) for stream in streams]
    for (prompt, tokens, how), (text, end) in zip(wanted, found, strict=True):
        assert text == alone(model, prompt, tokens, **how)
        assert (end.reason, end.read, end.written) == ("length", len(prompt), tokens)
    assert engine.steps < sum(tokens for _, tokens, _ in wanted) / 3  # they were written together
    assert max(streams for streams, _ in reads) > 4  # and so were their prompts read, a few at a time
    assert all(streams * symbols <= MANY for streams, symbols in reads)
    assert (engine.active, engine.waits, engine.rows.count) == (0, 0, 0)


def test_few_prompts_are_read_between_two_steps_unless_most_streams_wait_for_that():
    def streams(*lengths):
        return [Stream(Ask([0] * n, 5, Draws()), Bytes(), 0.0) for n in lengths]

    def read(writers, *lengths):
        return [len(stream.next) for stream in alike(streams(*lengths), writers)]

    assert read(9, 5, 7, 5, 5, 5) == [5] * BEGIN
    assert read(4, 5, 7, 5, 5, 5) == [5] * 4
    assert read(0, *[10] * 99) == [10] * (MANY // 10)
    assert read(0, *[CHUNK] * 9) == [CHUNK] * (MANY // CHUNK)
    assert read(0, *[CHUNK + 1] * 9) == [CHUNK]  # none of them writes after that
    assert read(0, 2 * CHUNK, 5, 5) == [CHUNK]
    assert read(3) == []
    rest = streams(*[CHUNK + 9] * 9)
    for stream in rest:
        stream.at, stream.state = CHUNK, State({})
    assert len(alike(rest, 0)) == BEGIN  # whose states are copied side by side


def test_shared_tables_are_the_experience_and_nobody_writes_to_them(model_of):
    model = model_of(**COUNTS)
    before = model.experience.clone()
    with Engine(model, streams=8) as engine:
        assert engine.reading.bytes < model.experience.bytes - 3 * 64 * 16 * 4 + 1
        streams = [engine.submit(asked(model, "abc abc abc", 20, seed=seed)) for seed in range(8)]
        texts = [heard(stream)[0] for stream in streams]
    for seed, text in enumerate(texts):
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            ids = torch.as_tensor(model.vocabulary.encode("abc abc abc").astype("int64"))
            logits, state = model(ids[None], model.experience, remember=False)
            logits, own = logits[:, -1], []
            for _ in range(20):
                own.append(sample(logits, generator=generator))
                logits, state = model.step_(own[-1], state, remember=False)
        assert text == model.vocabulary.decode(torch.cat(own).numpy())
    assert all(torch.equal(before[key], t) for key, t in model.experience.items())


def test_a_draw_of_many_is_the_draw_of_each_alone():
    torch.manual_seed(0)
    logits = 3 * torch.randn(64, 50)
    logits[7] = torch.nan
    options = [
        {"temperature": t, "top_k": k, "top_p": p} for t in (0.1, 1.0) for k in (None, 1, 9, 99) for p in (None, 0.5)
    ] * 4
    drawn = draw(logits, [Draws(**how, seed=i) for i, how in enumerate(options)])
    assert drawn[7] is None
    for i, how in enumerate(options):
        if i != 7:
            assert drawn[i] == int(sample(logits[i : i + 1], **how, generator=torch.Generator().manual_seed(i)))
    assert draw(logits[:1], [Draws(0.0)]) == [int(logits[0].argmax())]


def test_a_conversation_goes_on_where_it_stopped(model_of):
    model = model_of(slots=64)
    with Engine(model) as engine:

        def say(prompt, tokens, seed, name="one"):
            ask = asked(model, prompt, tokens, seed=seed)
            ask.conversation = name
            return heard(engine.submit(ask))

        first, end = say("abc ", 10, 1)
        assert not end.continued
        assert engine.conversations.bytes >= engine.reading.bytes
        second, end = say(" xyz", 10, 2)
        assert (end.continued, end.read) == (True, 4)
        say("qqqqqqqq ", 5, 1, "other")  # another one in between changes nothing
        third, _ = say("", 10, 3)

    def stretch(symbols, state, remember):
        logits, state = model(torch.tensor(symbols)[None], state, remember=remember)
        return logits[:, -1], state

    encode = model.vocabulary.encode
    state, last, texts = model.experience, [], []
    with torch.no_grad():
        for prompt, seed in (("abc ", 1), (" xyz", 2), ("", 3)):
            generator, own = torch.Generator().manual_seed(seed), []
            if last:
                logits, state = stretch(last, state, False)
            if prompt:
                logits, state = stretch(encode(prompt).tolist(), state, True)
            for n in range(10):
                own.append(int(sample(logits, generator=generator)))
                if n < 9:
                    logits, state = model.step_(torch.tensor(own[-1:]), state, remember=False)
            last = own[-1:]
            texts.append(model.vocabulary.decode(own))
    assert [first, second, third] == texts


def test_what_is_too_much_or_too_old_is_forgotten(model_of):
    state, now = model_of(slots=64).initial_state(1), [0.0]
    one = Kept(state, 1, torch.zeros(4), None, used=0.0)
    size = one.size
    store = Conversations(Keep(most=3, bytes=2 * size, seconds=10), clock=lambda: now[0])
    for name in "abc":
        store.put(name, one)
    assert (len(store), store.bytes, store.dropped) == (2, 2 * size, 1)
    assert store.take("a") is None
    assert store.take("b") is one
    now[0] = 11.0
    assert store.take("c") is None
    assert (len(store), store.bytes, store.dropped) == (0, 0, 2)
    tight = Conversations(Keep(bytes=size - 1))
    tight.put("a", one)
    assert len(tight) == 0


def test_streams_end_early_and_leave_the_others_alone(model_of):
    model = model_of(slots=64)
    with Engine(model, streams=3, queue=1) as engine:
        gone = engine.submit(asked(model, "abc", 10**6, seed=1))
        late = engine.submit(asked(model, "abc", 10**6, seed=2))
        talk = asked(model, "abc", 300, seed=3)
        talk.conversation = "one"
        whole = engine.submit(talk)
        with pytest.raises(Busy, match="'one' is being written in"):
            engine.submit(talk)
        waiting = engine.submit(asked(model, "abc", 5, seed=4))
        with pytest.raises(Full, match="wait already"):
            engine.submit(asked(model, "abc", 5, seed=5))
        gone.cancelled, late.deadline = True, 0.0
        assert heard(gone)[1].reason == "cancelled"
        assert heard(late)[1].reason == "timeout"
        assert heard(whole)[0] == alone(model, "abc", 300, seed=3)
        assert heard(waiting)[0] == alone(model, "abc", 5, seed=4)
        last = engine.submit(asked(model, "abc", 10**6, seed=1))
    assert heard(last)[1].reason == "cancelled"
    with pytest.raises(Full, match="stopping"):
        engine.submit(asked(model, "abc", 1))


def test_what_is_wrong_with_one_stream_ends_that_one(model_of, monkeypatch):
    model = model_of(slots=64)
    with pytest.raises(InputError, match="at least 1 stream"):
        Engine(model, streams=0)
    with Engine(model) as engine:
        good, bad = engine.submit(asked(model, "abc", 200, seed=1)), engine.submit(Ask([99], 5, Draws()))
        empty = engine.submit(Ask([], 5, Draws()))
        assert "tokens must be from 0 to 27" in heard(bad)[1].sentence
        assert "nothing to go on from" in heard(empty)[1].sentence
        assert heard(good)[0] == alone(model, "abc", 200, seed=1)
        monkeypatch.setattr(engine.reading, "step", lambda *_: 1 / 0)
        assert "ZeroDivisionError" in heard(engine.submit(asked(model, "abc", 9)))[1].sentence
        monkeypatch.undo()
        assert heard(engine.submit(asked(model, "abc", 9, seed=1)))[0] == alone(model, "abc", 9, seed=1)


@pytest.mark.parametrize("stops", [["ab"], ["aab"], ["aabaaa", "ba"], ["b", "aabb", "abab"]])
def test_a_text_ends_where_the_first_stop_is_complete_however_it_is_cut(stops):
    draw_ = random.Random(0)
    for _ in range(200):
        whole = "".join(draw_.choices("aaabc", k=30))
        ends = [(end, -len(s)) for s in stops for end in range(31) if whole[:end].endswith(s)]
        wanted = whole if not ends else whole[: min(ends)[0] + min(ends)[1]]
        text, told, at = Text(stops), "", 0
        while at < len(whole):
            size = draw_.randint(1, 6)
            told, at = told + text.feed(whole[at : at + size]), at + size
            assert wanted.startswith(told)
        assert (told + text.rest(), text.ended) == (wanted, bool(ends))


def test_stop_texts_and_scores(model_of):
    model = model_of(slots=64)
    text = alone(model, "abc", 60, seed=1)
    with Engine(model) as engine:
        ask = asked(model, "abc", 60, seed=1)
        ask.stop = [text[20:23], text[40:42]]
        assert heard(engine.submit(ask))[0] == text[: text.index(text[20:23])]
        score = asked(model, "hello world" * 9, 0)
        score.score, score.top = True, 2
        stream = engine.submit(score)
        told = []
        while isinstance(event := stream.events.get(timeout=60), Piece):
            told += event.chances
    ids = torch.tensor(score.prompt)
    with torch.no_grad():
        logprobs = model(ids[None], model.experience)[0][0].double().log_softmax(-1)
    assert [chance.symbol for chance in told] == ids.tolist()
    assert told[0].logprob is None
    own = logprobs[:-1].gather(-1, ids[1:, None])[:, 0]
    torch.testing.assert_close(torch.tensor([c.logprob for c in told[1:]]), own.float(), rtol=1e-4, atol=1e-4)
    assert all(max(c.top.values()) >= c.logprob - 1e-9 and len(c.top) == 2 for c in told[1:])
