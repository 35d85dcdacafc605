"""What the model `digits` hears: recordings as log-mel features, and which digit it makes of them.

python -m inn_models.speech seven.wav
"""

from __future__ import annotations

import sys
import wave
from functools import cache
from math import gcd
from pathlib import Path
from typing import Any

import numpy as np

from inn.system.errors import InputError
from inn.system.files import plain_errors

RATE, WINDOW = 8000, 256
MELS, HOP = 20, 160
"""Of the model `digits`: bands, and samples from one step to the next (20 ms)."""


def log_mel(sound: np.ndarray, mels: int = MELS, hop: int = HOP) -> np.ndarray:
    """Logarithms of the energy `[T, mels]` in bands of the mel scale, of windows of 32 ms, less its mean in time.

    `sound` `[n]` has 8,000 samples a second, from -1 to 1.

    >>> log_mel(np.sin(np.arange(8000) / 3)).shape
    (49, 20)
    """
    padded = np.pad(sound, (0, max(WINDOW - len(sound), 0)))
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::hop] * np.hanning(WINDOW)
    power = np.abs(np.fft.rfft(frames)) ** 2
    bands = np.log(power @ _filters(mels) + 1e-4).astype(np.float32)
    return bands - bands.mean(0)


@cache
def _filters(mels: int) -> np.ndarray:
    """Triangles on the mel scale, `[WINDOW / 2 + 1, mels]`."""
    top = 2595 * np.log10(1 + RATE / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, top, mels + 2) / 2595) - 1)
    bins = np.fft.rfftfreq(WINDOW, 1 / RATE)[:, None]
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    return np.maximum(0, np.minimum(rising, falling))


def read_wav(path: str | Path) -> np.ndarray:
    """The sound of a WAV file of 16 bits `[n]`, its channels together, 8,000 samples a second, from -1 to 1.

    Raises `InputError` for what is none.
    """
    with plain_errors(path):
        try:
            with wave.open(str(path)) as file:
                width, channels, rate = file.getsampwidth(), file.getnchannels(), file.getframerate()
                content = file.readframes(file.getnframes())
        except (wave.Error, EOFError) as error:
            raise InputError(f"'{path}' is no WAV file ({error}); convert it to one of 16 bits") from None
    if width != 2 or not content:
        raise InputError(f"'{path}' has {8 * width} bits a sample, or none; convert it to a WAV file of 16 bits")
    sound = np.frombuffer(content, "<i2").reshape(-1, channels).mean(1) / 2**15
    if rate == RATE:
        return sound
    from scipy.signal import resample_poly

    common = gcd(rate, RATE)
    return resample_poly(sound, RATE // common, rate // common)


def heard(path: str | Path) -> dict[str, float]:
    """The probability of each digit in a recording of one.

    Example: ``heard("seven.wav")["7"]``
    """
    import torch

    import inn
    from inn_models import digits

    model = inn.load(digits)
    vocabulary: Any = model.vocabulary
    with torch.no_grad():
        logits = model(torch.from_numpy(log_mel(read_wav(path)))[None])[0][0, -1]
    return dict(zip(vocabulary.outputs, logits.softmax(-1).tolist()))


def main(files: list[str]) -> int:
    """Print the digit that each file most likely holds, and how likely it is."""
    for path in files:
        try:
            found = heard(path)
        except InputError as error:
            print(f"inn_models.speech: {error}", file=sys.stderr)
            return 2
        digit = max(found, key=lambda name: found[name])
        print(f"{path}: {digit} ({found[digit]:.0%})")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
