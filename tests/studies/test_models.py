"""The trained models of `inn-models`: small, with cards that are up to date, and at work without training."""

from __future__ import annotations

import io
import wave
import zipfile
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
import torch

import inn as library
import inn_models
from inn.cli.main import main
from inn.registry import TRAINED as INSTALLED
from inn.system.errors import InputError
from inn_models import speech
from inn_studies.models import TRAINED, folder_of
from inn_studies.models.card import card

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def installed(monkeypatch):
    """The models under their names, whether or not the distribution is installed where the tests run."""
    entries = {one.name: EntryPoint(one.name, f"inn_models:{one.name}", INSTALLED.group) for one in TRAINED}
    monkeypatch.setattr(INSTALLED, "_brought", entries)


@pytest.mark.parametrize("trained", TRAINED, ids=lambda one: one.name)
def test_a_card_is_up_to_date_and_no_folder_of_a_machine_is_named(trained):
    folder = folder_of(trained.name)
    written = (folder / "README.md").read_text(encoding="utf-8")
    assert card(trained, folder) == written, "write it anew by `inn study models --cards`"
    assert trained.licence in written
    assert "-dirty" not in written
    texts = [path.read_text(encoding="utf-8") for path in folder.rglob("*") if path.suffix not in (".safetensors", "")]
    assert not [text for text in texts if "/tmp/" in text or "/home/" in text or "/work/" in text]


def test_all_together_are_below_2_mb_and_declared():
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in Path(inn_models.__file__).parent.rglob("*"):
            archive.write(path)
    assert packed.tell() < 2_000_000
    assert library.load("text8").num_parameters <= 500_000
    about = (ROOT / "models" / "pyproject.toml").read_text(encoding="utf-8")
    assert [one.name for one in TRAINED if f'\n{one.name} = "inn_models:{one.name}"' not in about] == []


def test_they_write_score_and_hear(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["generate", "text8", "--prompt", "the history of ", "--tokens", "60", "--seed", "1"]) == 0
    written = capsys.readouterr().out
    assert written.startswith("the history of ")
    assert len(written) == 15 + 60 + 1
    lines = [
        f"Nov 30 03:{i // 60:02}:{i % 60:02} host sshd[{700 + i}]: session opened for user root\n" for i in range(90)
    ]
    lines[70] = "kernel panic: not syncing, attempted to kill init\n"
    Path("app.log").write_text("".join(lines))
    assert main(["score", "logs", "app.log", "--top", "1"]) == 0
    assert "kernel panic" in capsys.readouterr().out
    with wave.open("tone.wav", "wb") as file:
        file.setparams((2, 2, 16_000, 0, "NONE", "not compressed"))
        file.writeframes(np.repeat(np.sin(np.arange(8000) / 6) * 20_000, 2).astype("<i2").tobytes())
    assert speech.read_wav("tone.wav").shape == (4000,)  # half a second at 8 kHz
    assert (
        np.abs(speech.read_wav("tone.wav")[100:-100] - np.sin(np.arange(4000) / 3)[100:-100] * 20_000 / 2**15).max()
        < 0.01
    )
    assert sum(speech.heard("tone.wav").values()) == pytest.approx(1, abs=1e-5)
    assert speech.main(["tone.wav"]) == 0
    assert speech.main(["app.log"]) == 2
    assert "app.log' is no WAV file" in capsys.readouterr().err


def test_digits_are_told(tmp_path):
    """Of the test part of the data, where they are here."""
    from inn_studies.tasks.spoken import Spoken, SpokenOptions

    try:
        part = Spoken(SpokenOptions()).part("test")
    except InputError as missing:
        pytest.skip(str(missing))
    model, right = library.load("digits"), 0
    for start, end in list(zip(part.starts, part.starts[1:]))[:40]:
        with torch.no_grad():
            logits = model(torch.from_numpy(part.inputs[start:end])[None])[0][0, -1]
        right += int(logits.argmax()) == int(part.targets[end - 1])
    assert right >= 38
