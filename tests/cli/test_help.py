"""--help documents everything, from the docstrings of the fields."""

from __future__ import annotations

import ast
import inspect
import re
from dataclasses import fields
from itertools import pairwise

import pytest

from inn.cli.commands import COMMANDS, summaries
from inn.config.parts import parts_of
from inn.config.run import DataConfig, TrainConfig
from inn.config.sections import MAIN
from inn.registry import MODELS


def docstrings(cls: type) -> dict[str, str]:
    """The docstring under each field of a dataclass, read from its source: nothing the command line itself uses."""
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__[:-1]):
        body = ast.parse(inspect.getsource(base)).body[0].body  # type: ignore[attr-defined]
        for field, text in pairwise(body):
            if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr):
                found[field.target.id] = " ".join(ast.literal_eval(text.value).split())  # type: ignore[attr-defined]
    return found


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "1000")


@pytest.mark.parametrize("kind", list(MODELS))
@pytest.mark.parametrize("command", [["train"], ["train", "text8"], ["info"], ["demo"]])
def test_every_field_is_documented(inn, kind, command):
    result = inn(*command, "--help-all", "--model.kind", kind)
    assert result.code == 0
    text = " ".join(result.out.split())
    model = MODELS.options(kind)
    for section, cls in (("model", model), ("data", DataConfig), ("train", TrainConfig)):
        documented = docstrings(cls)
        for field in fields(cls):
            assert f"--{section}.{field.name}{'.kind' * (field.name in parts_of(cls))} " in text
            if field.name != "kind":
                assert documented[field.name].rstrip(".") in text
    for part, kinds in parts_of(model).items():
        default = next(f.default for f in fields(model) if f.name == part)
        check_options(text, part, kinds.options(default))


PARTS = parts_of(MODELS.options("inn"))


@pytest.mark.parametrize("part, kind", [(part, kind) for part, kinds in PARTS.items() for kind in kinds])
def test_every_option_of_a_chosen_kind_is_documented(inn, part, kind, tmp_path):
    (tmp_path / "edges.csv").write_text("to,from\n0,1\n")
    needed = ["--model.width", 16, *(["--model.topology.path", tmp_path / "edges.csv"] if kind == "file" else [])]
    text = " ".join(inn("train", "demo", "--help-all", f"--model.{part}", kind, *needed).out.split())
    assert f"--model.{part}.kind " in text
    check_options(text, part, PARTS[part].options(kind))


def check_options(text: str, part: str, options: type | None) -> None:
    """That the help names each option of a kind under its part, and says what it is."""
    documented = docstrings(options) if options else {}
    for name in documented.keys() - {"kind"}:
        assert f"--model.{part}.{name} " in text
        assert documented[name].rstrip(".") in text


def test_help_shows_the_recipes_own_defaults(inn):
    text = " ".join(inn("train", "text8-paper", "--help").out.split())
    assert "--model.neurons N Neurons in the population (N). [32]" in text


def test_short_help_shows_the_main_settings_and_no_others(inn):
    text = inn("train", "demo", "--help").out
    assert set(re.findall(r"^  --([a-z]+[.][a-z.]+)", text, re.MULTILINE)) <= set(MAIN)
    for shown in ("--data.corpus", "--help-all", "Neurons in the population"):
        assert shown in text
    assert "model.readout" not in text  # a section of which nothing is shown


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(inn, command):
    result = inn(command, "--help")
    assert result.code == 0
    assert result.out.startswith(f"usage: inn {command}")
    assert result.err == ""
    lines = result.out.splitlines()
    for line, after in pairwise([*lines, ""]):
        if line.startswith("  --"):  # the help stands beside the option, or below it
            assert "  " in line.strip() or after.startswith(" " * 10), f"{line} has no help"


def test_the_overview_names_every_command(inn):
    for argv in ([], ["--help"], ["-h"]):
        result = inn(*argv)
        assert result.code == 0
        for group, commands in summaries().items():
            assert f"\n{group}:\n" in result.out
            for command, text in commands.items():
                assert f"  {command} " in result.out
                assert text[:50] in result.out
        assert max(map(len, result.out.splitlines())) <= 80


def test_version(inn):
    import inn as package

    assert inn("--version").out == f"inn {package.__version__}\n"
