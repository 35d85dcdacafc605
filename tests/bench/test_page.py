"""What a page costs is measured in a real browser, where there is one."""

from __future__ import annotations

import numpy as np
import pytest

from inn import INN
from inn.data.vocabulary import build_vocabulary
from inn.explorer.page import build_page
from inn.explorer.passage import read_passage
from inn_benchmarks import page as pages
from inn_benchmarks.look import ScoredSize
from inn_benchmarks.rows import Skipped


@pytest.fixture
def path(tmp_path):
    model = INN(vocab=3, neurons=2, width=8, rounds=1, recall=[])
    model.vocabulary = build_vocabulary("characters", "abc")
    path = tmp_path / "page.html"
    passage = read_passage(model, np.arange(60) % 3)
    path.write_text(build_page([{"name": "small", "passage": passage}]), encoding="utf-8")
    return path


@pytest.mark.slow
def test_a_page_is_measured(path):
    try:
        cost = pages.measure_page(path)
    except Skipped as reason:
        pytest.skip(str(reason))
    assert cost["bytes"] == path.stat().st_size
    assert 0 < cost["first_paint_s"] < 60
    assert 0 < cost["drawn_s"] < 60
    assert 1 < cost["frames_per_s"] < 1000


def test_where_there_is_no_browser(path, monkeypatch):
    monkeypatch.setattr(pages.shutil, "which", lambda _: None)
    with pytest.raises(Skipped, match=r"there is no Chromium here|playwright is not installed"):
        pages.measure_page(path)


@pytest.fixture
def measured(monkeypatch):
    """Every opening measures one byte, second and frame more than the one before."""
    found = iter(range(1, 100))
    monkeypatch.setattr(
        pages, "measure_page", lambda path: dict.fromkeys(("bytes", "first_paint_s", "frames_per_s"), next(found))
    )


def test_the_rows_of_a_page(measured):
    size = pages.PageSize(50, {"neurons": 3, "width": 8, "rounds": 1})
    assert pages.page_size(size).ratio == 1e-6
    assert pages.page_paint(size, openings=3).ratio == 3  # of 2, 3, 4
    assert pages.page_frames(size, openings=3).ratio == 6
    assert pages.page_size(size).sizes == "N 3, 1 rounds, 50 symbols; headless Chromium, 1280 x 800"


@pytest.mark.loopback
def test_a_keystroke():
    try:
        measured = pages.keystroke(ScoredSize({"neurons": 2, "width": 8, "rounds": 1}, symbols=60), strokes=5)
    except Skipped as reason:
        pytest.skip(str(reason))
    assert len(measured.details["milliseconds"]) == 5
    assert 0 < measured.ratio < 60_000
