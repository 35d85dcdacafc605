"""Preparing a text and training on it take memory that does not grow with the text."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

MEGABYTE = 1 << 20
SIZE = 128 * MEGABYTE

# Run in a process of its own, whose highest use of memory so far (VmHWM) is read before and after.
CODE = """
import sys
from inn.config.run import DataConfig
from inn.data.prepare import prepare
from inn.data.streams import Streams

def highest():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) * 1024

import requests, pooch, torch  # whatever is imported on the way is not what is measured
before = highest()
data = prepare(DataConfig(corpus="file:" + sys.argv[1], vocabulary=sys.argv[2]))
prepared = highest()
streams = Streams(data.train, batch=16, window=4096)
read = 0
for _ in range(streams.windows_per_pass):
    read += streams.next().inputs.numel()
print(len(data.train), read, prepared - before, highest() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="reads the memory of a process from /proc")  # noqa: PTH110
@pytest.mark.parametrize("vocabulary", ["characters", "words"])
def test_memory_does_not_grow_with_the_text(tmp_path, own_cache, vocabulary):
    path = tmp_path / "big.txt"
    line = ("".join(f"word{i % 97:02d} " for i in range(7)) + "naïve zy\n").encode()
    block = line * (MEGABYTE // len(line))
    with path.open("wb") as file:
        while file.tell() < (SIZE if vocabulary == "characters" else SIZE // 4):
            file.write(block)
    run = subprocess.run(
        [sys.executable, "-c", CODE, str(path), vocabulary], stdout=subprocess.PIPE, text=True, check=True
    )
    symbols, read, preparing, in_all = map(int, run.stdout.split())
    assert read > 0.99 * symbols
    assert preparing < 64 * MEGABYTE
    assert in_all < 88 * MEGABYTE  # the symbols alone, all of them resident, are more for characters
