"""Write down what the library does today, for the tests beside this file to hold it to.

Run only on a commit whose behaviour is trusted: whatever it does then is right from then on.

    PYTHONPATH=src python tests/pins/make.py

All of `tests/pins` but the code, `forms.json`, `mistakes.json`'s command lines and the recipes is written anew.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import tempfile
from pathlib import Path

if __name__ == "__main__":  # before torch is imported
    os.environ["OMP_NUM_THREADS"] = "1"
    os.environ["INN_CACHE"] = tempfile.mkdtemp()

import old
import pinned
import torch
from pinned import HERE, KINDS, PRESETS, RUNS, facts, run_cli
from safetensors.torch import save_file

import inn

STEP = 9
"""Where the stopped run stops: between two checkpoints, in the middle of a pass over the text."""


def write(name: str, value) -> None:
    """Keep a pin as JSON, one line for each of its entries."""
    lines = ",\n".join(f" {json.dumps(key)}: {json.dumps(entry)}" for key, entry in value.items())
    (HERE / f"{name}.json").write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")


def corpus() -> str:
    """A text of some 6,000 characters, 30 of them different, with something to learn in it."""
    draw = random.Random(0)
    words = (
        "the cat dog sat ran on under over mat tree and then it was not so very quick jumping fox vow lazy pub".split()
    )
    ends = [" ", " ", " ", " ", ", ", ".\n", "? "]
    return "".join(draw.choice(words) + draw.choice(ends) for _ in range(1300)) + "a z\n"


def defaults() -> dict:
    """Every field and default of every kind, preset and section, by flat name."""
    found = {kind: pinned.asdict(inn.model_config(kind)) for kind in KINDS}
    found |= {f"inn {preset}": pinned.asdict(inn.model_config("inn", preset=preset)) for preset in PRESETS}
    Path("bare.yaml").write_text("data: {corpus: 'file:corpus.txt'}\nmodel: {kind: ngram}\n", encoding="utf-8")
    settings = facts("info", "bare.yaml")["settings"]
    return found | {section: settings[section] for section in ("data", "train")}


def models() -> None:
    """Names, shapes and fresh weights, states and logits of every form."""
    names, states, fresh, logits = {}, {}, {"environment": pinned.environment()}, {}
    for form in pinned.forms():
        model = pinned.build(form)
        names[form] = pinned.shapes(model.state_dict())
        fresh[form] = {"sha256": pinned.digest(model.state_dict()), "prints": pinned.prints(model.state_dict())}
        logits[f"{form}/1"], logits[f"{form}/2"], _ = pinned.readings(form)
        states[form] = pinned.shapes(model.initial_state(2))
    names["graph"] = pinned.shapes(pinned.build_graph().state_dict())
    logits["graph"] = pinned.graph_reading()
    write("names", names)
    write("states", states)
    write("fresh", fresh)
    save_file({name: t.contiguous() for name, t in logits.items()}, HERE / "logits.safetensors")


def runs(folder: Path) -> None:
    """Finished runs, one that was stopped, exported folders, and what the commands say of them."""
    for run in RUNS:
        result = run_cli("train", *pinned.recipe_of(run), "--run", f"runs/{run}")
        assert result.code == 0, result
    with pinned.use_backend("reference"):
        old.train_until(*_split(pinned.recipe_of("inn")), "runs/stopped", STEP)
    for run in ("inn", "mamba-stack"):
        assert run_cli("export", f"runs/{run}", f"exported/{run}").code == 0
    write("answers", {run: pinned.answers(run) for run in RUNS})
    logits = {path.name: pinned.exported_logits(path).contiguous() for path in sorted(Path("exported").iterdir())}
    save_file(logits, HERE / "exported.safetensors")
    for name in ("runs", "exported"):
        shutil.rmtree(HERE / name, ignore_errors=True)
        shutil.copytree(folder / name, HERE / name, ignore=shutil.ignore_patterns("events.*"))


def _split(argv: list[str]) -> tuple[str, list[str]]:
    return argv[0], [f"{name}={value}" for name, value in zip(argv[1::2], argv[2::2])]


def mistakes() -> None:
    """The sentences for the command lines of `mistakes.json`."""
    found = []
    for case in pinned.read("mistakes"):
        result = run_cli(*case["argv"])
        assert (result.code, result.out) == (2, ""), result
        sentence = re.sub("^inn: |\n$", "", result.err)
        found.append(json.dumps({**case, "sentence": sentence.split(": inn ")[0] if "begins" in case else sentence}))
    (HERE / "mistakes.json").write_text("[\n " + ",\n ".join(found) + "\n]\n", encoding="utf-8")


def main() -> None:
    """Write all pins."""
    torch.set_num_threads(1)
    os.environ["COLUMNS"] = "200"
    (HERE / "corpus.txt").write_text(corpus(), encoding="utf-8")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for path in [HERE / "corpus.txt", *HERE.glob("*.yaml")]:
            shutil.copy(path, folder)
        os.chdir(folder)
        write("defaults", defaults())
        models()
        runs(folder)
        write("options", {command: pinned.options(command) for command in pinned.COMMANDS})
        mistakes()
        os.chdir(HERE)


if __name__ == "__main__":
    main()
