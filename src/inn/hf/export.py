"""From a run to a folder that `transformers` opens."""

from __future__ import annotations

import json
from pathlib import Path

from transformers import GenerationConfig
from transformers.utils import logging

from inn.data.tokens import Tokens
from inn.hf.folder import CARD, TITLE
from inn.hf.model import INNForCausalLM
from inn.hf.tokenizer import build_tokenizer
from inn.models.sequence import SequenceModel
from inn.runs.beside import GENERATION, carry, fields_of
from inn.runs.directory import Run
from inn.runs.exported import is_exported
from inn.runs.load import load
from inn.system.errors import InputError
from inn.system.files import new_folder
from inn.training.summary import without_folder


def export(run: str | Path | Run, folder: str | Path) -> Path:
    """Write a run's best checkpoint as a folder for `transformers`, wholly or not at all; returns the folder.

    Args:
        run: a run directory, or one checkpoint in it (`RUN/checkpoints/step-...`).
        folder: a new folder, or an empty one.

    Raises `InputError` where the run cannot be loaded, is of a kind that `transformers` cannot be given, or where the
    folder holds something already.

    Example: ``export("runs/demo", "exported")``
    """
    folder = Path(folder)
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise InputError(f"'{folder}' exists already and is not empty; give a new folder")
    inn = load(run)
    model = INNForCausalLM.wrap(inn)  # type: ignore[arg-type]
    home = home_of(run)
    card = model_card(inn, Run(home))
    with new_folder(folder) as temporary:
        write(model, temporary, home)
        (temporary / CARD).write_text(card, encoding="utf-8")
    return folder


def home_of(run: str | Path | Run) -> Path:
    """The folder that a model's sidecars are in: the run of a checkpoint, a run or an exported folder itself."""
    path = Path(run)
    return path.parent.parent if path.parent.name == "checkpoints" and not is_exported(path) else path


def write(model: INNForCausalLM, folder: Path, home: Path | None = None) -> None:
    """Write a model, with its tokenizer where it has a vocabulary, into a folder.

    `home`: the folder that it comes from; what that says of a tokenizer, and of how text is drawn, goes along.
    """
    vocabulary = model.inn.vocabulary
    if vocabulary is not None:
        tokenizer = build_tokenizer(vocabulary, home)
        own = {  # from all symbols, as `inn generate` draws
            "bos_token_id": tokenizer.bos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
            "do_sample": True,
            "top_k": 0,
        }
        given = {} if home is None else fields_of(home / GENERATION)
        given = {name: value for name, value in given.items() if not name.startswith(("_", "transformers", "cache"))}
        model.generation_config = GenerationConfig(**{**own, **given})
        tokenizer.save_pretrained(folder)
        if home is not None and isinstance(vocabulary, Tokens):
            carry(home, folder, ("additional_chat_templates",))
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    model.save_pretrained(folder)
    if shown:
        logging.enable_progress_bar()


def model_card(inn: SequenceModel, run: Run) -> str:
    """The README of an exported run: what it is, what it scored, how to open it."""
    config, summary = run.config(), run.summary() or {}
    data = summary.get("data") or {}
    best, metric = summary.get("best") or {}, summary.get("metric")
    assert inn.vocabulary is not None
    rows = [
        ("kind", f"`{config.model.kind}`"),
        ("parameters", f"{inn.num_parameters:,}"),
        ("symbols", f"{inn.vocabulary.size:,} ({inn.vocabulary.kind})"),
        ("trained on", f"`{without_folder(config.data.corpus)}`, {config.train.symbols:,} {inn.vocabulary.unit}s"),
    ]
    if best and metric:
        measure, unit = (best["bits"], metric) if metric != "PPL" else (2 ** best["bits"], "perplexity")
        rows.append(("validation", f"{measure:.4f} {unit} over {best['count']:,} {inn.vocabulary.unit}s"))
    for name, value in (("data sha256", data.get("sha256")), ("commit", summary.get("commit"))):
        if value:
            rows.append((name, f"`{value}`"))
    table = "\n".join(f"| {name} | {value} |" for name, value in rows)
    settings = json.dumps({"model": INNForCausalLM.wrap(inn).config.inn}, indent=1)  # type: ignore[arg-type]
    return TEXT.format(title=TITLE, table=table, settings=settings)


TEXT = """---
library_name: transformers
pipeline_tag: text-generation
tags: [inn, recurrent, graph-of-neurons]
---

{title}

A language model that is a graph of neurons: each keeps a memory of its own, and at every step they talk to one another.

| | |
| --- | --- |
{table}

```python
import inn.hf  # pip install "inn-torch[hf]"; or from_pretrained(..., trust_remote_code=True), which imports it
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained(".")
model = AutoModelForCausalLM.from_pretrained(".")
prompt = tokenizer("the ", return_tensors="pt")
print(tokenizer.decode(model.generate(**prompt, max_new_tokens=50)[0]))
```

`inn.load(".")` opens the same folder without `transformers`.

<details><summary>Settings</summary>

```json
{settings}
```

</details>
"""
