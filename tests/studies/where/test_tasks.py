"""Tasks on real data: what is read, how it is split, and what is said where it is not there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from inn.system.errors import InputError
from inn.testing import check_task
from inn_models import speech
from inn_studies.tasks import KINDS, series, spoken
from inn_studies.tasks.logs import LogSessions, LogSessionsOptions, templates
from inn_studies.tasks.series import Series, SeriesOptions
from inn_studies.tasks.spoken import Spoken, SpokenOptions


def test_a_set_of_series_has_its_standard_test_part_and_a_validation_part_of_each_class(aeon):
    task = Series(SeriesOptions("GunPoint"))
    train, valid, test = (task.part(name) for name in ("train", "valid", "test"))
    assert (len(train), len(valid), len(test)) == (16, 4, 12)
    for part in (train, valid, test):
        labels = part.targets[part.starts[1:] - 1]
        assert (np.bincount(labels) == len(part) // 2).all()
        assert part.counted == len(part)  # a label at the last step, and nowhere else
    assert test.lengths.tolist()[:2] == [4, 5]
    assert np.isnan(test.inputs).sum() == 6
    whole = {float(part.inputs[start + 3, 0]) for part in (train, valid) for start in part.starts[:-1]}
    assert whole == {float(v) for v in [*range(4, 14), *range(4, -6, -1)]}  # nothing is lost, nothing twice


def test_steps_that_are_folded_stand_side_by_side(aeon):
    plain, task = Series(SeriesOptions("GunPoint")), Series(SeriesOptions("GunPoint", fold=2))
    assert task.channels == ["0.0", "1.0", "0.1", "1.1"]
    part = task.part("test")
    assert part.lengths.tolist()[:2] == [2, 3]
    assert part.inputs[:2].tolist() == plain.part("test").inputs[:4].reshape(2, 4).tolist()


def test_published_accuracies_are_those_of_the_standard_split(aeon):
    assert series.published("GunPoint") == {"HC2": 1.0, "InceptionTime": 0.9}
    assert series.published("BasicMotions") == {}


def test_who_is_unseen_is_heard_only_in_the_test_part(data):
    same, unseen = Spoken(SpokenOptions()), Spoken(SpokenOptions(speakers="unseen"))
    assert [len(same.part(name)) for name in ("train", "valid", "test")] == [40, 40, 40]
    assert [len(unseen.part(name)) for name in ("train", "valid", "test")] == [40, 40, 60]
    features, _, speakers, takes = spoken.spoken(20, 160)
    heard = [features[i] for i in np.flatnonzero((speakers < 4) & (takes == 10))]
    assert np.array_equal(unseen.part("train").inputs, np.concatenate(heard))


def test_a_tone_is_loud_in_the_band_of_its_pitch():
    seconds = np.arange(4000) / speech.RATE
    bands = [
        speech.log_mel(np.sin(2 * np.pi * pitch * seconds) * seconds, 20, 160)[-5].argmax() for pitch in (200, 3000)
    ]
    low, high = (speech._filters(20)[round(pitch / speech.RATE * 256)].argmax() for pitch in (200, 3000))
    assert bands == [low, high]


def test_sessions_of_a_log_keep_their_order_but_for_the_events_that_came_too_early(data):
    sessions, known = templates()
    assert len(sessions) == 40
    assert len(known) == 4  # three events, and what is rare
    task = LogSessions(LogSessionsOptions(active=3, length=30, swapped=0.5, examples=30))
    part = task.part("test")
    inputs, early = part.inputs.reshape(30, 30) - 2, part.targets.reshape(30, 30)
    usual = sessions[0].tolist()
    for row, marks in zip(inputs, early, strict=True):
        assert len(set(row // len(known))) == 3
        for seat in set(row // len(known)):
            chosen = row // len(known) == seat
            events, marked = (row % len(known))[chosen].tolist(), marks[chosen].tolist()
            for at in range(0, len(events) - 2, 3):
                session, wrong = events[at : at + 3], marked[at : at + 3]
                if any(wrong):
                    i = wrong.index(1)
                    session[i], session[i + 1] = session[i + 1], session[i]
                assert session == usual
    assert 0.05 < early.mean() < 0.3


@pytest.mark.parametrize(("kind", "options"), [("spoken", {}), ("log-sessions", {"examples": 20, "length": 20})])
def test_tasks_on_data_keep_the_contract(data, kind, options, registered):
    check_task(kind, **options)


def test_series_keep_the_contract(aeon, registered):
    check_task("series", name="GunPoint")


def test_what_is_not_there_is_said_in_a_sentence(monkeypatch, tmp_path):
    monkeypatch.setattr(series, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="come with aeon, which is not installed; pip install aeon"):
        Series(SeriesOptions()).part("train")
    monkeypatch.delenv("INN_DATA", raising=False)
    with pytest.raises(InputError, match="INN_DATA is not set"):
        spoken.data_file("speech/none.npz")
    monkeypatch.setenv("INN_DATA", str(tmp_path))
    with pytest.raises(InputError, match="is not there"):
        spoken.data_file("speech/none.npz")
    with pytest.raises(InputError, match=r"GunPont.*GunPoint"):
        SeriesOptions("GunPont")
    with pytest.raises(InputError, match="same or unseen"):
        SpokenOptions(speakers="others")
    with pytest.raises(InputError, match="active must be at most 16"):
        LogSessionsOptions(active=17)


def test_the_installed_tasks_are_those_of_the_table():
    text = (Path(__file__).parents[3] / "studies" / "pyproject.toml").read_text(encoding="utf-8")
    assert all(f'{name} = "inn_studies.tasks.{place}"' in text for name, place in KINDS.items())
