"""Whatever JSON somebody sends, it is read or refused in a sentence."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from inn.data.vocabulary import Bytes, Characters
from inn.server.asked import FIELDS, NUMBERS, completions
from inn.server.settings import ServerSettings
from inn.system.errors import InputError

NUMBER = st.integers(-3, 300) | st.integers() | st.floats() | st.sampled_from([0, 1, 2**63, 2**63 - 1, 1e308, 5e-324])
TEXT = st.text(st.characters(codec=None, categories=None), max_size=8) | st.sampled_from(["abc", "skip", "error", "m"])
SOME = st.none() | st.booleans() | NUMBER | TEXT
JSON = st.recursive(SOME, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=3))
LIKELY = {
    "model": st.just("m"), "prompt": TEXT | st.lists(st.integers(0, 2), max_size=9), "max_tokens": st.integers(0, 99),
    "temperature": st.floats(0, 3), "top_p": st.floats(0, 1), "n": st.integers(1, 3), "stop": TEXT | st.lists(TEXT),
    "logprobs": st.integers(0, 5), "echo": st.booleans(), "stream": st.booleans(), "unknown": st.just("skip"),
}  # fmt: skip


@settings(max_examples=60)
@given(st.fixed_dictionaries({}, optional={name: LIKELY.get(name, JSON) | JSON for name in FIELDS}))
def test_any_json_is_read_or_refused(body):
    for vocabulary in (Characters("abc "), Bytes()):
        found, sentence = None, ""
        try:
            found = completions(body, vocabulary, "m", ServerSettings(tokens=100, choices=6))
        except InputError as error:
            sentence = str(error)
        if found is None:
            assert 0 < len(sentence.encode()) < 400  # it can be sent
            continue
        assert 1 <= len(found.asks) == len(found.texts) <= 6
        for ask, text in zip(found.asks, found.texts, strict=True):
            assert all(0 <= symbol < vocabulary.size for symbol in ask.prompt)
            assert 0 <= ask.tokens <= 100
            assert ask.prompt or ask.conversation
            json.dumps([text, ask.conversation], ensure_ascii=False).encode()
            assert ask.top is None or ask.tokens * (ask.top + 1) <= NUMBERS
