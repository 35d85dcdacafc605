"""What `make.py`, which writes the pins down, and the tests, which hold the library to them, have in common.

Names of settings are kept flat, as `model.state` is, whatever section of a configuration holds them: `find` looks.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import old
import torch
from torch import Tensor

import inn
from inn.ops import use_backend
from inn.system import provenance

HERE = Path(__file__).parent
KINDS = ("inn", "lstm", "transformer", "transformer-paper", "mamba-stack", "mamba-stack-transposed", "ngram")
PRESETS = ("distinct", "paper", "paper-fixed")
COMMANDS = (
    "train eval analyze stability score compress-text decompress-text runs push generate export look play upcycle info "
    "data compress study sweep bench demo"
).split()
SECTIONS = ("memory", "router", "topology", "gate", "readout", "population", "symbols", "head")
"""Fields of a model's configuration that may hold other fields, once they are grouped by owner."""
OWNED = {
    "heads": ("attention",),
    "qk_norm": ("attention",),
    "routing_dropout": ("attention",),
    "zero_start": ("attention", "static", "mixing", "bus"),
    "bus_width": ("bus",),
}
"""Options of some routers only: a configuration with another router need not have them."""
MOVED: dict[str, str] = {f"recall_{option}": f"recall.{option}" for option in ("width", "slots", "forget")}
"""Flat name -> its place, dotted, for a field whose own name has changed."""
MODELS = ("inn", "lstm", "mamba-stack", "transformer", "ngram")
RUNS = (*MODELS, "paper", "bus")
"""The finished runs in `runs/`: one per model of `recipe.yaml`, and those of `paper.yaml` and `bus.yaml`."""
PROMPT = "the cat "
_TINY = {
    "vocab": 11, "neurons": 3, "width": 8, "rounds": 2, "state": 4,
    "recall": [1, 3], "recall_slots": 16, "recall_width": 4,
}  # fmt: skip


def read(name: str) -> Any:
    """A pin that is kept as JSON."""
    return json.loads((HERE / f"{name}.json").read_text(encoding="utf-8"))


# -- settings


def find(config: Any, name: str) -> Any:
    """The value of the field that had the flat name `name`, wherever the configuration has it now.

    `config` is a dataclass or plain data. Where a name such as `router` has become a section, its value is the
    section's `kind`. Raises `KeyError` where there is no such field.

    >>> find({"router": {"kind": "bus", "bus_width": 3}}, "bus_width")
    3
    >>> find({"router": {"kind": "bus", "bus_width": 3}}, "router"), find({"router": "bus"}, "router")
    ('bus', 'bus')
    """
    tree = config if isinstance(config, Mapping) else asdict(config)
    if name in MOVED:
        for part in MOVED[name].split("."):
            tree = tree[part]
        return tree
    if name == "recall" and isinstance(tree.get(name), Mapping):  # once a list of contexts
        return tree[name].get("contexts", [])
    if name in tree:
        value = tree[name]
        return value["kind"] if name in SECTIONS and isinstance(value, Mapping) else value
    for section in tree.values():
        if isinstance(section, Mapping):
            with contextlib.suppress(KeyError):
                return find(section, name)
    raise KeyError(name)


def differences(pinned: Mapping[str, Any], config: Any) -> dict[str, tuple[Any, Any]]:
    """Flat name -> what was pinned and what a configuration has, where these differ."""
    found: dict[str, tuple[Any, Any]] = {}
    for name, value in pinned.items():
        try:
            now = find(config, name)
        except KeyError:
            if name in OWNED and "router" in pinned and pinned["router"] not in OWNED[name]:
                continue
            if name in MOVED and pinned.get("recall") == []:
                continue
            now = "nothing of that name"
        if now != value or type(now) is not type(value):
            found[name] = (value, now)
    return found


# -- models


def forms() -> list[str]:
    """The names of the models that are pinned."""
    return list(read("forms"))


def build(form: str, seed: int = 0) -> Any:
    """One of the models of `forms.json` with fresh weights."""
    fields = read("forms")[form]
    tiny = _TINY if fields.get("kind", "inn") == "inn" else {"vocab": _TINY["vocab"]}
    if fields.get("recall", tiny.get("recall")) == []:  # what recall can be told means nothing without it
        tiny = {name: value for name, value in tiny.items() if not name.startswith("recall")}
    torch.manual_seed(seed)
    return inn.build_model(inn.model_config(**{**tiny, **fields}))


def build_graph() -> inn.Graph:
    """A bare graph with fresh weights."""
    torch.manual_seed(0)
    return inn.Graph(neurons=3, width=8, rounds=2, state=4, router="attention", heads=2, zero_start=False)


def shapes(tensors: Mapping[Any, Tensor]) -> dict[str, Any]:
    """Name -> shape and type; names of a state are `round/part`."""
    names = {key: old.name_of(key) if isinstance(key, str) else "/".join(map(str, key)) for key in tensors}
    return {names[key]: [list(t.shape), str(t.dtype).removeprefix("torch.")] for key, t in tensors.items()}


def digest(tensors: Mapping[str, Tensor]) -> str:
    """The sha256 of tensors by name, whatever their order."""
    found, tensors = hashlib.sha256(), {old.name_of(name): t for name, t in tensors.items()}
    for name in sorted(tensors):
        found.update(name.encode() + b"\0" + tensors[name].detach().contiguous().numpy().tobytes())
    return found.hexdigest()


def prints(tensors: Mapping[str, Tensor]) -> dict[str, float]:
    """A number per tensor that other draws would change, but not what another processor rounds otherwise."""
    found = {}
    for name, t in tensors.items():
        flat = t.detach().double().flatten()
        found[old.name_of(name)] = float(f"{(flat * torch.cos(torch.arange(len(flat)).double())).sum().item():.7g}")
    return found


def environment() -> str:
    """What fresh weights depend on to the last bit; on processors of other makers MKL draws other normal numbers."""
    processor = provenance.hardware(torch.device("cpu"))["cpu"]
    maker = next((name for name in ("AMD", "Intel") if name in processor), "other")
    return f"torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}, {maker}"


def fill(module: torch.nn.Module) -> Any:
    """Give every weight values that depend on its name alone, not on any random generator; float64, evaluation."""
    module = module.double().eval()
    with torch.no_grad():
        for name, p in module.named_parameters():
            start = int(hashlib.sha256(old.name_of(name).encode()).hexdigest()[:6], 16) % 1000
            # Fractional parts of the multiples of the golden ratio: plain arithmetic, the same everywhere.
            spread = [math.modf((start + i) * 0.6180339887498949)[0] - 0.5 for i in range(p.numel())]
            p.copy_(torch.tensor(spread, dtype=torch.float64).view(p.shape))
    return module


def symbols(batch: int, time: int, first: int = 0) -> Tensor:
    """Symbols with repeats in them, so that there is something to recall."""
    at = torch.arange(batch * time).view(batch, time) + first
    return (at * at % 7 + at // 5) % _TINY["vocab"]


def readings(form: str) -> tuple[Tensor, Tensor, inn.State]:
    """The logits of two stretches of text, the state carried over, the first with a reset and padding; the state."""
    model = fill(build(form))
    if form == "ngram":
        model.fit(symbols(1, 60)[0])
    reset = torch.zeros(2, 6, dtype=torch.bool)
    mask = torch.ones(2, 6, dtype=torch.bool)
    reset[0, 3] = reset[1, 0] = True
    mask[1, 4:] = False
    with torch.no_grad(), use_backend("reference"):
        one, state = model(symbols(2, 6), reset=reset, mask=mask)
        two, state = model(symbols(2, 5, first=3), state)
    return torch.where(mask[..., None], one, 0.0), two, state


def graph_reading() -> Tensor:
    """What a bare graph makes of a wave."""
    graph = fill(build_graph())
    wave = torch.sin(torch.arange(2 * 5 * 24, dtype=torch.float64)).view(2, 5, 24)
    with torch.no_grad(), use_backend("reference"):
        return graph(wave)[0]


# -- the command line


@dataclass
class Result:
    """What a command did."""

    code: int
    out: str
    err: str


def run_cli(*argv: object) -> Result:
    """Run `inn ARGV` in this process, by the reference kernels: nothing is compiled, no machine differs."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), use_backend("reference"):
        code = old.main([str(a) for a in argv])
    return Result(code, out.getvalue(), err.getvalue())


def facts(*argv: object) -> dict[str, Any]:
    """What a command that must succeed prints under `--json`."""
    result = run_cli(*argv, "--json")
    assert result.code == 0, result
    return json.loads(result.out)


def options(command: str) -> list[str]:
    """The options that a command's help shows, sorted, those of the model left out."""
    result = run_cli(command, "--help-all")
    assert result.code == 0, result
    return sorted(o for o in set(re.findall(r"^ +(--[\w.-]+)", result.out, re.MULTILINE)) if o[:8] != "--model.")


def recipe_of(run: str) -> list[str]:
    """The arguments of `inn train` that make one of the runs in `runs/`."""
    return ["recipe.yaml", "--model.kind", run] if run in MODELS else [f"{run}.yaml"]


def last_checkpoint(run: Path) -> Path:
    """The newest checkpoint of a run."""
    return max((run / "checkpoints").glob("step-*"))


def weights(run: Path) -> dict[str, Tensor]:
    """The weights at the end of a run."""
    return {old.name_of(name): t.clone() for name, t in inn.load(last_checkpoint(run)).state_dict().items()}


def metrics(run: Path) -> list[dict[str, Any]]:
    """What a run logged, but for how long things took."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return [{name: value for name, value in line.items() if name not in ("time", "symbols_per_s")} for line in lines]


def answers(run: str) -> dict[str, Any]:
    """What the commands say of a run; the folder that holds `runs` and the corpus must be the working directory."""
    path = f"runs/{run}"
    score = facts("eval", path, "--device", "cpu")
    keep = ("bits", "nats", "count", "bpb", "bpc", "ppl", "metric", "unit", "parameters", "floors", "data_sha256")
    info = facts("info", path)
    size = ("kind", "parameters", "parameters_by_part", "training_flops_per_symbol", "state_bytes")
    writing = ("generate", path, "--tokens", 40, "--seed", 3, "--device", "cpu")
    return {
        "eval": {name: score[name] for name in keep},
        "info": {name: info[name] for name in (*size, "forward_flops_by_part")},
        "text": facts(*writing, "--prompt", PROMPT)["text"],
        "fresh text": facts(*writing, "--fresh", "--temperature", 0.5, "--top-k", 5)["text"],
    }


def exported_logits(folder: Path) -> Tensor:
    """The logits of the prompt by an exported folder, opened by `transformers`."""
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    import inn.hf  # noqa: F401

    logging.disable_progress_bar()
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    with torch.no_grad(), use_backend("reference"):
        return model(**tokenizer(PROMPT, return_tensors="pt")).logits
