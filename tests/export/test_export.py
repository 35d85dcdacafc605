"""Exports as a place: kinds by name, options by owner, wholly or not at all."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from inn.cli.main import main
from inn.config.parts import Options
from inn.export.base import export
from inn.registry import EXPORTS
from inn.system.errors import InputError


class Shout:
    """A form of one's own."""

    @dataclass
    class Options(Options):
        """How it is written."""

        loud: bool = False
        """Whether in capitals."""
        whisper: bool = False
        """Whether not at all."""

    def __init__(self, options):
        self.options = options

    def write(self, model, folder, home):
        (folder / "half.txt").write_text("half")
        if self.options.whisper:
            raise InputError(f"a model of kind '{model.config.kind}' cannot be written in a whisper")
        return [f"{home.name.upper() if self.options.loud else home.name}!"]


@pytest.fixture(autouse=True)
def shout():
    with EXPORTS.lent("shout", Shout):
        yield


def test_a_form_of_ones_own_has_options(run, tmp_path, capsys):
    assert export(run, tmp_path / "a", to="shout") == [f"{run.name}!"]
    assert main(["export", str(run), str(tmp_path / "b"), "--to", "shout", "--shout.loud", "true"]) == 0
    assert f"{run.name.upper()}!" in capsys.readouterr().out
    assert main(["export", str(run), str(tmp_path / "c"), "--shout.loud", "true"]) == 2
    assert "unknown option '--shout.loud'" in capsys.readouterr().err
    assert main(["export", str(run), str(tmp_path / "c"), "--to", "shuot"]) == 2
    assert "unknown export 'shuot'; did you mean 'shout'?" in capsys.readouterr().err
    assert not (tmp_path / "c").exists()


def test_nothing_is_left_of_what_cannot_be_written(run, tmp_path):
    with pytest.raises(InputError, match="cannot be written in a whisper"):
        export(run, tmp_path / "a", to="shout", whisper=True)
    with pytest.raises(InputError, match="quiet"):
        export(run, tmp_path / "a", to="shout", quiet=True)
    assert not list(tmp_path.iterdir())
