"""From a run to a folder that `transformers` opens."""

from __future__ import annotations

import json
from pathlib import Path

from transformers import GenerationConfig
from transformers.utils import logging

from inn.hf.model import INNForCausalLM
from inn.hf.tokenizer import build_tokenizer
from inn.models.generate import start_symbol
from inn.models.sequence import SequenceModel
from inn.runs.directory import Run
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
    path = Path(run)
    card = model_card(inn, Run(path if (path / "config.yaml").is_file() else path.parent.parent))
    with new_folder(folder) as temporary:
        write(model, temporary)
        (temporary / "README.md").write_text(card, encoding="utf-8")
    return folder


def write(model: INNForCausalLM, folder: Path) -> None:
    """Write a model, with its tokenizer where it has a vocabulary, into a folder."""
    vocabulary = model.inn.vocabulary
    if vocabulary is not None:
        tokenizer = build_tokenizer(vocabulary)
        model.generation_config = GenerationConfig(  # from all symbols, as `inn generate` draws
            bos_token_id=start_symbol(vocabulary), pad_token_id=tokenizer.pad_token_id, do_sample=True, top_k=0
        )
        tokenizer.save_pretrained(folder)
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
    return CARD.format(table=table, settings=settings)


CARD = """---
library_name: transformers
pipeline_tag: text-generation
tags: [inn, recurrent, graph-of-neurons]
---

# An Intelligent Neural Network

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
