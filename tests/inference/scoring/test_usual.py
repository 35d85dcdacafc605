"""Lines that were planted stand out; ordinary ones do not."""

from __future__ import annotations

import random

import pytest

from inn.config.rivals import NgramConfig
from inn.data.vocabulary import build_vocabulary
from inn.inference.scoring.lines import LineScorer
from inn.inference.scoring.usual import STANDS_OUT, Usual
from inn.models.build import build_model

PLANTED = [
    "12:00:00 ERROR kernel: segfault at 0000000000000018 in libssl.so",
    "12:00:00 INFO auth: user root logged in from 203.0.113.77",
    '12:00:00 INFO http: 10.0.1.4 "GET /login?user=1%27%20OR%201=1--" 200',
    "Traceback (most recent call last):",
    "oom",
    '12:00:00 INFO http: 10.0.3.99 "DELETE /api/v1/users" 200',
]


def log(lines: int, seed: int) -> list[str]:
    draw, found = random.Random(seed), []
    for i in range(lines):
        ip = f"10.0.{draw.randrange(4)}.{draw.randrange(1, 255)}"
        found.append(
            f"12:{i // 60 % 60:02}:{i % 60:02} "
            + draw.choice(
                [
                    f'INFO http: {ip} "GET {draw.choice(["/", "/index.html", "/api/v1/users"])}" 200',
                    f"INFO auth: user {draw.choice(['ann', 'bob', 'eve'])} logged in from {ip}",
                    "DEBUG worker: heartbeat",
                ]
            )
        )
    return found


def test_planted_lines_of_a_log_stand_out_and_no_others():
    train, text, draw = log(6000, 0), log(600, 1), random.Random(2)
    places = sorted(draw.sample(range(100, 600), len(PLANTED)))
    for place, line in zip(places, PLANTED):
        text[place] = line
    v = build_vocabulary("bytes")
    model = build_model(NgramConfig(vocab=256, order=3)).fit(v.encode("\n".join(train)))  # type: ignore[operator]
    model.vocabulary = v
    scorer = LineScorer(model)
    lines = [*scorer.feed("\n".join(text).encode()), *scorer.end()]
    assert [line.number - 1 for line in lines if line.surprise > STANDS_OUT] == places


def test_one_dear_symbol_is_enough_and_so_is_a_dear_line():
    usual, draw = Usual(), random.Random(0)
    ordinary = [usual.surprise(draw.gauss(2, 0.2), draw.gauss(7, 1)) for _ in range(500)]
    assert max(ordinary) < STANDS_OUT
    assert usual.surprise(2.0, 18.0) > STANDS_OUT
    assert usual.surprise(4.0, 7.0) > STANDS_OUT
    assert usual.surprise(0.0, 0.0) < 0  # nothing to see


def test_surprise_is_in_standard_deviations_where_costs_are_normal():
    usual, draw = Usual(), random.Random(0)
    for _ in range(1000):
        usual.surprise(draw.gauss(6, 0.5), draw.gauss(20, 2))
    assert usual.surprise(6 + 5 * 0.5, 20) == pytest.approx(5, rel=0.1)
    assert usual.surprise(6, 20 + 4 * 2) == pytest.approx(4, rel=0.1)


def test_equal_lines_have_no_spread_and_a_hair_more_is_no_news():
    usual = Usual()
    for _ in range(100):
        usual.surprise(0.5, 3.0)
    assert usual.surprise(0.6, 3.5) < STANDS_OUT


def test_what_is_usual_follows_the_text_and_is_taken_from_the_last_thousand_lines():
    usual = Usual()
    for _ in range(1500):
        usual.surprise(1.0, 5.0)
    assert usual.surprise(3.0, 5.0) > STANDS_OUT
    for _ in range(1100):
        usual.surprise(3.0, 5.0)
    assert usual.surprise(3.0, 5.0) == pytest.approx(0.0)
    assert len(usual._costs) == 1000


def test_nothing_is_said_of_the_first_lines():
    usual = Usual()
    assert [usual.surprise(9.0 * (i % 2), 1.0) for i in range(30)] == [0.0] * 30


def test_a_log_that_varies_much_raises_the_bar():
    draw = random.Random(0)
    usual, calm = Usual(), Usual()
    found = [usual.flagged(2 + 0.1 * draw.expovariate(1) ** 3, 8)[1] for _ in range(3000)]
    assert sum(found[1000:]) <= 2 * 0.01 * 2000
    assert sum(usual.surprise(2 + 0.1 * draw.expovariate(1) ** 3, 8) > STANDS_OUT for _ in range(1000)) > 50
    assert not any(calm.flagged(draw.gauss(2, 0.1), 8)[1] for _ in range(1000))
    assert calm.flagged(5, 8)[1]
