"""The recipes as a user finds them."""

from __future__ import annotations

import json

import pytest

from inn.config.settings import recipes, resolve
from inn.models.build import build_model


def test_the_list_says_what_each_takes_and_whether_its_text_is_here(inn):
    rows = json.loads(inn("recipes", "--json").out)["recipes"]
    assert {row["name"] for row in rows} == set(recipes())
    assert [row["minutes"] for row in rows] == sorted(row["minutes"] for row in rows)
    assert {row["where"] for row in rows if row["corpus"] == "pydoc"} == {"interpreter"}
    table = inn("recipes").out
    for row in rows:
        assert f"\n{row['name']}" in table
    assert max(map(len, table.splitlines())) <= 80


@pytest.mark.parametrize("name", recipes())
def test_the_parameters_that_are_listed_are_those_of_the_model(inn, name):
    listed = next(r for r in json.loads(inn("recipes", "--json").out)["recipes"] if r["name"] == name)["parameters"]
    settings = resolve(name)
    model = build_model(settings.with_sizes({"vocab": settings.vocab or 103}).model)
    assert model.num_parameters == pytest.approx(listed, rel=0.05)
