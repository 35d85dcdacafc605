"""The page as a file: whole, small, harmless whatever it shows."""

from __future__ import annotations

import base64
import hashlib
import json
import re

import numpy as np
import pytest

from inn.explorer.pack import pack_dense, pack_strongest, packed
from inn.explorer.page import as_script_data, build_page
from inn.explorer.passage import read_passage
from inn.runs.directory import Run
from inn.runs.history import history
from inn.system.errors import InputError

HOSTILE = "</script><script>alert(1)</script><!--  {{script}} &lt;"


def data_of(page: str) -> dict:
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[1])


def test_hostile_text_stays_data(history_of, survey_of):
    page = build_page([{"name": HOSTILE, "history": history_of(), "survey": survey_of(4, 2, HOSTILE)}])
    assert page.count("<script") == 2
    assert page.count("</script>") == 2
    assert "alert(1)<" not in page
    assert data_of(page)["runs"][0]["name"] == HOSTILE
    assert data_of(page)["runs"][0]["survey"]["cards"][0]["contexts"][0]["before"] == f"before {HOSTILE}"


def test_script_data_keeps_any_text():
    for text in (HOSTILE, "\u2028\u2029", "\ud800", "\x00\x1f", "]]>", "\U0001f9e0"):
        written = as_script_data([text])
        assert written.isascii()
        assert not set(written) & set("<>&")
        assert json.loads(written) == [text]


def test_its_policy_allows_its_own_script_and_style_and_no_request():
    page = build_page([{"name": "run"}])
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1]
    assert "default-src 'none'" in policy
    for tag in ("script", "style"):
        inside = re.search(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)[1]
        digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert set(re.findall(r"\w+://[^\"']*", page)) == {"http://www.w3.org/2000/svg"}  # a name, never fetched


def test_numbers_are_plain():
    page = build_page([{"name": "run", "survey": {"bits": float("nan"), "received": [1.23456789, float("inf")]}}])
    assert data_of(page)["runs"][0]["survey"] == {"bits": None, "received": [1.235, None]}


@pytest.mark.slow
def test_a_page_of_32_neurons_6_rounds_2000_symbols_is_below_10_megabytes(history_of, model_of, survey_of):
    """Whatever the routing: random shares are what deflates least."""
    model = model_of("abc ", neurons=32, width=4, rounds=6)
    facts = read_passage(model, np.arange(40) % 4)
    draw = np.random.default_rng(0)
    loud = packed(draw.integers(0, 256, (2000, 6, 32), dtype=np.uint8))
    shares = draw.random((2000, 6, 32, 32), dtype=np.float32)
    routing = pack_dense(shares, 8_600_000 - len(loud))
    if routing is None:
        sources = np.argsort(-shares, -1)[..., :8]
        routing = pack_strongest(np.take_along_axis(shares, sources, -1), sources, 8_600_000 - len(loud))
    for key in ("text", "ids", "bits"):
        facts[key] = facts[key] * 50
    facts["top"] = {**facts["top"], "ids": facts["top"]["ids"] * 50, "shares": facts["top"]["shares"] * 50}
    facts |= {"symbols": 2000, "routing": routing, "activity": {**facts["activity"], "data": loud}}
    page = build_page([{"name": "run", "passage": facts, "survey": survey_of(32, 6), "history": history_of()}])
    assert len(page.encode()) <= 10_000_000


def test_history_of_a_run(tmp_path):
    (tmp_path / "config.yaml").write_text("model: {kind: inn}")
    (tmp_path / "metrics.jsonl").write_text(
        '{"event": "train", "step": 10, "symbols": 400, "bits": 3.5, "effective_neurons": 2.5}\n'
        '{"event": "validation", "step": 20, "bits": 3.0, "best": true}\n'
        '{"event": "warning", "step": 20, "text": "slow"}\n{"event": "tra'
    )
    (tmp_path / "samples.txt").write_text("--- step 10\nthe first\n\nof two\n\n--- step 20\nlast\n\n")
    found = history(Run(tmp_path))
    assert found["train"] == [{"step": 10, "symbols": 400, "bits": 3.5, "effective_neurons": 2.5}]
    assert found["validation"] == [{"step": 20, "symbols": 800, "bits": 3.0}]
    assert found["samples"] == [{"step": 10, "text": "the first\n\nof two"}, {"step": 20, "text": "last"}]
    assert found["floors"] == {}
    (tmp_path / "samples.txt").unlink()
    assert history(Run(tmp_path))["samples"] == []
    (tmp_path / "metrics.jsonl").write_text("no json\n")
    with pytest.raises(InputError, match=r"cannot read .*metrics\.jsonl"):
        history(Run(tmp_path))


def test_long_curves_are_thinned_to_their_ends(tmp_path):
    (tmp_path / "config.yaml").write_text("model: {kind: inn}")
    lines = [{"event": "train", "step": s, "symbols": s, "bits": 1.0} for s in range(1, 5001)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = history(Run(tmp_path))["train"]
    assert (len(found), found[0]["step"], found[-1]["step"]) == (600, 1, 5000)
