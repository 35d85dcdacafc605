"""The card of a trained model, generated: what it is, what it was trained on, what it scored, how to open it."""

from __future__ import annotations

import json
from pathlib import Path

from inn.config.parts import plain
from inn.data.names import Channels, Names
from inn.models.sequence import SequenceModel
from inn.models.signal import SignalModel
from inn.runs.directory import Run

CARD, TITLE = "README.md", "# An Intelligent Neural Network"
"""The card that `inn export` writes, which says what the weights beside it have scored."""


def model_card(inn: SequenceModel, run: Run) -> str:
    """The README of an exported run: what it is, what it scored, how to open it."""
    task = isinstance(inn.vocabulary, Names | Channels)
    return filled(SIGNALS if isinstance(inn, SignalModel) else TASK if task else TEXT, inn, card_rows(inn, run))


def filled(template: str, inn: SequenceModel, rows: list[tuple[str, str]], **fields: str) -> str:
    """A card of a template: the table of `rows`, the model's settings, and further `fields`."""
    table = "\n".join(f"| {name} | {value} |" for name, value in rows)
    settings = json.dumps({"model": plain(inn.config)}, indent=1)
    features = getattr(inn.config, "features", 0)
    return template.format(title=TITLE, table=table, settings=settings, features=features, **fields)


def card_rows(inn: SequenceModel, run: Run) -> list[tuple[str, str]]:
    """What is known of a run, as rows of its card: its size, what it was trained on, its best validation."""
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
    return rows


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


def without_folder(corpus: str) -> str:
    """A corpus's name, of a path only the last part: the rest means nothing on another machine.

    >>> without_folder("file:/somewhere/notes.txt")
    'file:notes.txt'
    """
    kind, colon, path = corpus.partition(":")
    return f"{kind}:{Path(path).name}" if colon else corpus


SETTINGS = """
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
    + SETTINGS
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
    + SETTINGS
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
    + SETTINGS
)

SMALL = (
    """---
library_name: inn-torch
tags: [inn, recurrent]
---

{title}

A run with its weights in 8 bits: whatever takes a run (`inn eval`, `inn.load`, ...) takes this folder.

| | |
| --- | --- |
{table}
"""
    + SETTINGS
)
