"""Fuzz models in C: python tests/export/fuzz.py [KIND ...] [--seconds N | --runs N]; needs clang with libFuzzer.

Exports a small untrained model of each kind, compiles `fuzz.c` beside it with the sanitizers of addresses and undefined
behaviour, and lets libFuzzer change saved states and weights, from states that are sound. Ends with 1 where something
was found, and names the input; with 77 where there is no libFuzzer.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from inn import INN
from inn.export.c.saved import saved
from inn.export.c.source import source_of
from inn.export.trace import program_of

HARNESS = Path(__file__).with_name("fuzz.c")
FLAGS = "-std=c99 -O1 -g -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all".split()
FLAGS += ["-fno-sanitize-coverage=trace-cmp"]  # following every comparison takes half of the time
MISSING = 77
COUNTS = {
    "kind": "counts", "slots": 8, "followers": 6, "letters": list(range(1, 27)),
    "contexts": [1, 3, "word", {"kind": "word", "words": 1}, {"kind": "last", "skip": 1, "length": 2}, "column"],
}  # fmt: skip
KINDS: dict[str, dict[str, Any]] = {
    "counts": {"recall": COUNTS},
    "counts of many": {"recall": {**COUNTS, "followers": 3}, "vocab": 300},
    "last": {"recall": {"kind": "last", "slots": 8}},
    "attending": {"memory_options": {"attend": 3}},
    "addressed": {"gate": "address", "router": "attention", "neurons": 4},
    "experts": {"gate": "experts", "router": "attention", "neurons": 4},
    "ring": {"router": "mixture", "topology": "ring", "neurons": 5},
    "parts": {"readout": "parts", "memory": "delta"},
    "eight bits": {"width": 20, "vocab": 90, "memory": "mamba"},
}
"""Models whose states and weights differ in kind: tables, windows, places of edges, matrices of 8 bits."""


def small(fields: dict[str, Any]) -> INN:
    """An untrained model whose weights all say something."""
    torch.manual_seed(0)
    model = INN(
        **{"vocab": 27, "neurons": 3, "width": 4, "rounds": 1, "recall": "none", "memory": "gru", **fields}
    ).eval()
    with torch.no_grad():
        for p in model.parameters():
            if not p.any():
                p.normal_(0, 0.1)
    return model


def build(kind: str, folder: Path) -> str | None:
    """Write a model, the program that fuzzes it and inputs to begin with; tells why that cannot be."""
    model = small(KINDS[kind])
    program = program_of(model)
    source = source_of(program, "a model that is fuzzed", None, int8=kind == "eight bits")
    corpus = folder / "corpus"
    corpus.mkdir(parents=True)
    for name, text in {"model.h": source.header, "model.c": source.code}.items():
        (folder / name).write_text(text)
    (folder / "model.bin").write_bytes(source.weights)
    read = bytes([1, 2, 3, 1, 2, 3, 4])  # again and again, so that what a state recalls is asked for
    with torch.no_grad():
        state = saved(program, source.fingerprint, model(torch.tensor([[*read] * 9]))[1])
    places = np.random.default_rng(1).integers(16, len(source.weights), 8).tolist()
    changes = b"".join(place.to_bytes(3, "little") + bytes([17 * i]) for i, place in enumerate(places))
    begun = [(0, state), (0, state[:-8]), (1, b""), (1, changes), (2, source.weights), (3, b""), (3, changes)]
    for i, (what, rest) in enumerate(begun):
        for repaired in (0, 1):
            (corpus / f"{i}{repaired}").write_bytes(bytes([what, len(read), repaired, 0]) + read + rest)
    cc = shutil.which("clang")
    if cc is None:
        return "clang is not on this machine"
    made = subprocess.run(
        [cc, *FLAGS, f"-I{folder}", "-o", folder / "fuzz", HARNESS, "-lm"], capture_output=True, text=True, cwd=folder
    )
    if made.returncode and "fuzzer" in made.stderr and "error: " not in made.stderr.replace("linker", ""):
        return f"clang has no libFuzzer: {made.stderr.strip().splitlines()[0]}"
    if made.returncode:
        raise SystemExit(made.stderr)
    return None


def main(argv: list[str]) -> int:
    """Fuzz the kinds that are named, all of them where none is."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"of: {', '.join(KINDS)}")
    parser.add_argument("--seconds", type=int, default=60, help="for each kind [60]")
    parser.add_argument("--runs", type=int, default=-1, help="inputs of each kind, at most [no limit]")
    parser.add_argument("--keep", type=Path, help="a folder for what is built and found [a temporary one]")
    asked = parser.parse_args(argv)
    if unknown := [kind for kind in asked.kinds if kind not in KINDS]:
        parser.error(f"no such kind: {unknown[0]}")
    with tempfile.TemporaryDirectory() as temporary:
        for kind in asked.kinds or KINDS:
            folder = (asked.keep or Path(temporary)).absolute() / kind.replace(" ", "-")
            shutil.rmtree(folder, ignore_errors=True)
            if reason := build(kind, folder):
                print(reason)
                return MISSING
            ran = subprocess.run(
                ["./fuzz", "corpus", f"-max_total_time={asked.seconds}", f"-runs={asked.runs}", "-seed=1",
                 "-max_len=65536", "-timeout=20", "-print_final_stats=1"],
                cwd=folder, capture_output=True, text=True, errors="replace",
            )  # fmt: skip
            if ran.returncode:
                found = next(folder.glob("*-[0-9a-f]*"), None)
                print(ran.stderr[-6000:], f"{kind}: {found and found.read_bytes().hex()}", sep="\n")
                return 1
            inputs = re.search(r"stat::number_of_executed_units: *(\d+)", ran.stderr)
            edges = re.findall(r"cov: (\d+)", ran.stderr)
            print(
                f"{kind}: nothing found; {inputs and inputs[1]} inputs, {edges and edges[-1]} edges of the code reached"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
