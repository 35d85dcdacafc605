"""The trained models of `inn-models`: what each is trained on, under which licence, and what it is not.

`inn study models` trains them, measures them and writes them, in 8 bits and with their cards, into `models/`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from inn_studies.lab import Job, Lab
from inn_studies.logs import Logs, LogSize
from inn_studies.logs.samples import held_out
from inn_studies.models.measures import bits_of_logs, bits_of_text8, digits_heard

FOLD, LINES = 0, 250
"""Of the logs: the fold whose systems the model never reads, and how many lines it reads of each of the others."""


@dataclass(frozen=True)
class Trained:
    """A trained model: how it is made, and what its card says that no file of a run knows."""

    name: str
    what: str
    """In a sentence."""
    data: str
    licence: str
    """Of the data; what follows from it for the weights."""
    uses: tuple[str, ...]
    """Lines of a shell that show it at work."""
    is_not: tuple[str, ...]
    job: Callable[[Lab], Job]
    """The run that it is made of, on data that are put where they have to be."""
    measure: Callable[[str, str], dict[str, Any]]
    """Called with that run and the folder in 8 bits: what was measured, see `inn_studies.models.measures`."""
    experience: str = "none"
    """What goes along of what it recalls: the option of the export `small`."""


def _text8(lab: Lab) -> Job:
    settings = {
        "train.symbols": 4_000_000, "train.lr": 0.01, "train.eval_every": 200, "train.eval_symbols": 50_000,
        "train.sample_every": 0, "train.checkpoint_every": 100, "train.keep": 1,
    }  # fmt: skip
    return Job("trained text8", "text8-last", settings)


def _logs(lab: Lab) -> Job:
    study = Logs()
    size = study.sizes()["cpu"]
    assert isinstance(size, LogSize)
    return study.job(lab, replace(size, first=LINES), FOLD, 0)


def _digits(lab: Lab) -> Job:
    settings = {
        "data.corpus": "task:spoken", "data.batch": 32, "train.symbols": 2_048_000, "train.lr": 2e-3,
        "train.log_every": 100, "train.eval_every": 250, "train.eval_symbols": 20_000, "train.sample_every": 0,
        "train.checkpoint_every": 1_000_000, "train.keep": 1, "model.kind": "signal", "model.pool": "mean",
        "model.head": "classes", "model.neurons": 4, "model.width": 16, "model.rounds": 2,
    }  # fmt: skip
    return Job("trained digits", "study-smoke", settings)


TRAINED = (
    Trained(
        "text8",
        "A small language model of the letters a to z and the space: it writes in the manner of an encyclopaedia.",
        "The first 4,000,000 characters of text8: English Wikipedia of 2006 (https://mattmahoney.net/dc/textdata.html).",
        "CC BY-SA 3.0 and GFDL (Wikipedia). What it recalls are pieces of that text: pass it on under one of them.",
        (
            'inn generate text8 --prompt "the history of "',
            "inn play text8 --open",
            "inn eval text8 --split test --limit 100000",
        ),
        (
            "It knows nothing: what it says of people, places and dates is made up.",
            "It is no assistant, and follows no instruction.",
            "It reads and writes a to z and the space alone: no capitals, digits, stops or other languages.",
            "Its text has the slant of its source, an encyclopaedia of 2006 that volunteers wrote.",
        ),
        _text8,
        bits_of_text8,
        "proven",
    ),
    Trained(
        "logs",
        "A model of lines of system logs: lines that cost it many bits are unusual. It reads the bytes of any log.",
        f"The first {LINES} lines of the logs of twelve systems of loghub (Zhu et al. 2023); it never read those of "
        f"{', '.join(held_out(FOLD))}.",
        "loghub is for research use, and these weights are, too. What the model recalls of the logs is left out: the "
        "folder holds no line of them.",
        (
            "inn score logs /var/log/dpkg.log --only-flagged",
            "inn score logs app.log --top 10",
            "inn play logs --open",
        ),
        (
            "It is no alarm: a flagged line is unusual, not wrong, and one that is wrong may look usual.",
            "It knows no order of events: a line that is missing or comes too often is not seen.",
            "It has read no log of yours. Trained on your own normal days it is better: `docs/how-to/watch-a-log.md`.",
        ),
        _logs,
        bits_of_logs,
    ),
    Trained(
        "digits",
        "A model of sound: it tells which of the ten digits was said in English, from 20 log-mel bands every 20 ms.",
        "Takes 10 to 49 of four of the six speakers of the Free Spoken Digit Dataset, 8 kHz.",
        "CC BY-SA 4.0 (Free Spoken Digit Dataset): pass these weights on under the same licence.",
        (
            "python -m inn_models.speech seven.wav",
            "inn eval digits --split test --task speakers=unseen  # with inn-studies, and the data in INN_DATA",
        ),
        (
            "It knows no word but the digits, and names one whatever it hears, silence too.",
            "It heard four speakers: of others, other accents, microphones and noise it tells less.",
            "It expects one digit from the beginning of a recording to its end, and finds none in longer speech.",
            "It says nothing about who speaks, and must not be used to tell people apart.",
        ),
        _digits,
        digits_heard,
    ),
)
"""Every trained model, in the order of the page."""


def folder_of(name: str) -> Path:
    """Where a trained model is in a checkout or an installation: its folder in `inn_models`."""
    import inn_models

    return Path(inn_models.__file__).parent / name
