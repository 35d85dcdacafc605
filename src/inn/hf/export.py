"""The export `hf`: a folder that `transformers` opens."""

from __future__ import annotations

import json
from pathlib import Path

from transformers import GenerationConfig
from transformers.utils import logging

from inn.config.parts import Options, plain
from inn.data.names import Channels, Names
from inn.data.tokens import Tokens
from inn.hf.folder import CARD, TITLE
from inn.hf.model import INNForCausalLM
from inn.hf.tokenizer import build_tokenizer
from inn.models.sequence import SequenceModel
from inn.models.signal import SignalModel
from inn.runs.beside import GENERATION, carry, fields_of
from inn.runs.directory import Run
from inn.runs.exported import EXPERIENCE, PRIVATE, save_exported
from inn.training.summary import without_folder


class HuggingFace:
    """A folder that `transformers` opens; a model of signals, which it cannot be given, is for `inn.load` alone.

    Example: ``inn.export.export("runs/demo", "exported", to="hf")``
    """

    def __init__(self, options: Options) -> None:
        """It has no options."""

    def write(self, model: SequenceModel, folder: Path, home: Path) -> list[str]:
        signals = isinstance(model, SignalModel)
        if signals:
            save_exported(model, folder)
        else:
            write(INNForCausalLM.wrap(model), folder, home)  # type: ignore[arg-type]
        (folder / CARD).write_text(model_card(model, Run(home)), encoding="utf-8")
        said = ["inn.load of this folder opens it"]
        if not signals:
            said = ["AutoModelForCausalLM.from_pretrained of this folder opens it after `import inn.hf`"]
        if (folder / EXPERIENCE).exists():
            said.append(f"{EXPERIENCE} {PRIVATE}")
        return said


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
    task = isinstance(inn.vocabulary, Names | Channels)
    rows = [
        ("kind", f"`{config.model.kind}`"),
        ("parameters", f"{inn.num_parameters:,}"),
        *(in_and_out(inn) if task else [("symbols", f"{inn.vocabulary.size:,} ({inn.vocabulary.kind})")]),
        ("trained on", f"`{without_folder(config.data.corpus)}`, {config.train.symbols:,} {inn.vocabulary.unit}s"),
    ]
    if best and metric:
        measure, unit = (best["bits"], metric) if metric != "PPL" else (2 ** best["bits"], "perplexity")
        said = f"{measure:.4f} {unit} over {best['count']:,} {'target' if task else inn.vocabulary.unit}s"
        if (name := summary.get("measure")) in best:
            said = f"{name} {best[name]:.4f}, {said}"
        rows.append(("validation", said))
    for name, value in (("data sha256", data.get("sha256")), ("commit", summary.get("commit"))):
        if value:
            rows.append((name, f"`{value}`"))
    table = "\n".join(f"| {name} | {value} |" for name, value in rows)
    settings = json.dumps({"model": plain(inn.config)}, indent=1)
    return (SIGNALS if isinstance(inn, SignalModel) else TASK if task else TEXT).format(
        title=TITLE, table=table, settings=settings, features=getattr(inn.config, "features", 0)
    )


def in_and_out(inn: SequenceModel) -> list[tuple[str, str]]:
    """What a model of a task reads and tells, as rows of its card."""
    vocabulary = inn.vocabulary
    if isinstance(vocabulary, Channels):
        told = {"classes": "the logit of", "values": "the value of", "next": "the value at the next step of"}[
            vocabulary.head
        ]
        if inn.config.head == "quantiles":
            told = f"the quantiles {', '.join(map(str, inn.config.quantiles))} of"
        reads = f"at each step the numbers {_listed(vocabulary.channels)}, NaN where one is missing"
        return [("reads", reads), ("tells", f"at each step {told} {_listed(vocabulary.outputs)}")]
    assert vocabulary is not None
    names = [vocabulary.symbol(i) for i in range(vocabulary.size)]
    return [("reads", f"symbols by number: {_listed(names)}"), ("tells", "at each step the logits of these symbols")]


def _listed(names: list[str], most: int = 20) -> str:
    more = f" and {len(names) - most:,} more (`vocabulary.json`)" if len(names) > most else ""
    return ", ".join(f"`{name}`".replace("|", "\\|") for name in names[:most]) + more


_SETTINGS = """
<details><summary>Settings</summary>

```json
{settings}
```

</details>
"""

SIGNALS = (
    """---
library_name: inn-torch
tags: [inn, recurrent, time-series]
---

{title}

A model of signals: it reads numbers step by step and carries a state. `input_mean` and `input_scale` among its weights
are those of the training part, and are applied inside: give numbers in their own units.

| | |
| --- | --- |
{table}

```python
import inn, torch  # pip install inn-torch

model = inn.load(".")
y, state = model(torch.zeros(1, 10, {features}))  # [batch, time, channels]
y, state = model(torch.zeros(1, 5, {features}), state)  # goes on from there
```
"""
    + _SETTINGS
)

TASK = (
    """---
library_name: transformers
tags: [inn, recurrent, graph-of-neurons]
---

{title}

A graph of neurons that was trained on a task: it reads symbols, and tells at each step the target of that step.

| | |
| --- | --- |
{table}

```python
import inn, torch  # pip install inn-torch

model = inn.load(".")
symbols = torch.from_numpy(model.vocabulary.encode(model.vocabulary.symbol(0)).astype("int64"))
logits, state = model(symbols[None])  # [batch, time]
```

`AutoModelForCausalLM.from_pretrained(".")` opens the same folder after `import inn.hf`.
"""
    + _SETTINGS
)

TEXT = (
    """---
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
"""
    + _SETTINGS
)
