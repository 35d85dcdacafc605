"""Spoken digits: recordings of six speakers as log-mel features, with the speakers that nothing is trained on apart."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from inn.config.checks import check_at_least
from inn.config.parts import Options
from inn.data.examples import Examples, last_step
from inn.data.tasks.base import Task
from inn.system.errors import InputError
from inn_models.speech import HOP, MELS, log_mel
from inn_studies.tasks.files import data_file

SPEAKERS, TAKES, OFFICIAL = 6, 50, 5
"""Of the Free Spoken Digit Dataset: takes 0 to 4 are its test split."""


@dataclass
class SpokenOptions(Options):
    """Which digit is spoken: the Free Spoken Digit Dataset as log-mel features."""

    speakers: str = "same"
    """`same`: the official split; `unseen`: the speakers of `unseen` are tested on, and only there."""
    unseen: int = 2
    """Speakers, the last ones, that are left out of training and validation."""
    mels: int = MELS
    """Bands of the mel scale: the channels."""
    hop: int = HOP
    """Samples from one step to the next: 160 are 20 ms."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 0, "unseen")
        check_at_least(self, 1, "mels", "hop")
        if self.speakers not in ("same", "unseen"):
            raise InputError(f"speakers must be same or unseen, not '{self.speakers}'")
        if not self.unseen < SPEAKERS:
            raise InputError(f"unseen must be at most {SPEAKERS - 1} of {SPEAKERS} speakers, not {self.unseen}")


class Spoken(Task):
    """Which digit is spoken, said at the last step.

    Training has takes 10 to 49 of the speakers that are heard, validation takes 5 to 9 of them, and the test part takes
    0 to 4 of them (the official split), or all takes of the unseen ones.
    """

    Options = SpokenOptions
    signal = True

    @property
    def channels(self) -> list[str]:
        return [f"mel{i}" for i in range(self.options.mels)]

    @property
    def classes(self) -> list[str]:
        return [str(digit) for digit in range(10)]

    def part(self, name: str) -> Examples:
        features, digits, speakers, takes = spoken(self.options.mels, self.options.hop)
        heard = speakers < SPEAKERS - self.options.unseen
        chosen = {
            "train": heard & (takes >= 2 * OFFICIAL),
            "valid": heard & (takes >= OFFICIAL) & (takes < 2 * OFFICIAL),
            "test": heard & (takes < OFFICIAL) if self.options.speakers == "same" else ~heard,
        }[name]
        numbers = np.flatnonzero(chosen)
        inputs = [features[i] for i in numbers]
        return Examples.of(inputs, [last_step(int(digits[i]), len(features[i])) for i in numbers])


@cache
def spoken(mels: int, hop: int) -> tuple[list[np.ndarray], np.ndarray, np.ndarray, np.ndarray]:
    """Features `[T, mels]` of every recording, with its digit, speaker and take."""
    with np.load(data_file("speech/spoken-digits.npz")) as kept:
        audio, ends = mu_law(kept["audio"]), np.cumsum(kept["length"])
        digit, speaker, take = (kept[name].astype(np.int64) for name in ("digit", "speaker", "take"))
    sounds = np.split(audio, ends[:-1])
    return [log_mel(sound, mels, hop) for sound in sounds], digit, speaker, take


def mu_law(codes: np.ndarray) -> np.ndarray:
    """8-bit mu-law to samples from -1 to 1: 0 is the lowest, 255 the highest.

    >>> mu_law(np.array([0, 255])).round(3).tolist()
    [-1.0, 1.0]
    """
    y = codes.astype(np.float32) / 127.5 - 1
    return np.sign(y) * np.expm1(np.abs(y) * np.log(256)) / 255
