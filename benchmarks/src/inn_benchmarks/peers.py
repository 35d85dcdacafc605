"""Other people's Mamba, at the same sizes, in the same process; runs in the benchmark's own environment."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from inn.data.vocabulary import build_vocabulary
from inn_benchmarks.measure import BRIEF, NORMAL, Effort, in_turns, spread, train_step
from inn_benchmarks.rows import Measured
from inn_benchmarks.steps import VOCAB, StepSize, equal, stack

Logits = Callable[[Tensor], Tensor]
Rival = Callable[[Any, int], tuple[nn.Module, Logits]]
"""Makes a model of the stack's configuration with so many symbols; the model, and how it is called."""


def mambapy(parallel: bool) -> Rival:
    """mambapy's Mamba, its scan parallel or one step after the other; its own language model needs CUDA to be imported,
    so embedding, norm and head are put around its blocks here, as there."""

    def make(c: Any, vocab: int) -> tuple[nn.Module, Logits]:
        from mambapy.mamba import Mamba, MambaConfig, RMSNorm  # pyright: ignore[reportMissingImports]

        config = MambaConfig(
            c.width,
            c.layers,
            d_state=c.memory.state,
            expand_factor=c.memory.expand,
            d_conv=c.memory.conv,
            pscan=parallel,
        )
        head = nn.Linear(c.width, vocab, bias=False)
        model = nn.Sequential(nn.Embedding(vocab, c.width), Mamba(config), RMSNorm(c.width), head)
        return model, model

    return make


def transformers(parallel: bool) -> Rival:
    """transformers' Mamba as it is shipped, or told to use mambapy's parallel scan."""

    def make(c: Any, vocab: int) -> tuple[nn.Module, Logits]:
        from transformers import MambaConfig, MambaForCausalLM  # pyright: ignore[reportMissingImports]

        config = MambaConfig(
            vocab_size=vocab, hidden_size=c.width, num_hidden_layers=c.layers, state_size=c.memory.state,
            expand=c.memory.expand,
            conv_kernel=c.memory.conv, use_mambapy=parallel, bos_token_id=None, eos_token_id=None,
        )  # fmt: skip
        model = MambaForCausalLM(config)
        return model, lambda tokens: model(input_ids=tokens).logits

    return make


RIVALS: dict[str, dict[str, Rival]] = {
    "mambapy": {"parallel scan": mambapy(True), "sequential scan": mambapy(False)},
    "transformers": {"as shipped": transformers(False), "mambapy's scan": transformers(True)},
}
"""Every peer with its settings, of which the fastest is the one compared with."""


@dataclass(frozen=True)
class PeerSize(StepSize):
    """A training step; settings of one peer are compared on a step of `trial` = (batch, length)."""

    trial: tuple[int, int] = (1, 256)


def train(
    size: PeerSize = PeerSize(4, 256),
    effort: Effort = BRIEF,
    rivals: Mapping[str, Mapping[str, Rival]] = RIVALS,
) -> Measured:
    """Our Mamba stack, each peer at its better setting, and PyTorch's LSTM and Transformer, in turns."""
    ours = stack(**size.model)
    steps = {"inn": train_step(ours, size.batch, size.length, vocab=VOCAB)}
    parameters = {"inn": ours.num_parameters}
    trials: dict[str, dict[str, float]] = {}
    for peer, settings in rivals.items():
        trials[peer] = {name: trial(make, ours.config, size) for name, make in settings.items()}
        best = min(trials[peer], key=lambda name: trials[peer][name])
        model, logits = settings[best](ours.config, VOCAB)
        name = f"{peer}, {best}"
        steps[name] = train_step(model, size.batch, size.length, vocab=VOCAB, logits=logits)
        parameters[name] = sum(p.numel() for p in model.parameters())
    peers = [name for name in steps if name != "inn"]
    for kind in ("lstm", "transformer"):
        model = equal(kind, ours.num_parameters, VOCAB, step=8)
        steps[kind], parameters[kind] = train_step(model, size.batch, size.length, vocab=VOCAB), model.num_parameters
    times = in_turns(steps, effort)
    fastest = min(peers, key=lambda name: times[name].median)
    return Measured(
        times[fastest].median / times["inn"].median,
        "float32",
        sizes(ours, f"B {size.batch}, T {size.length}"),
        {
            "seconds": spread(times),
            "fastest_peer": fastest,
            "times_inn": {name: t.median / times["inn"].median for name, t in times.items()},
            "symbols_per_s": {name: size.symbols / t.median for name, t in times.items()},
            "parameters": parameters,
            "trial_seconds": {"sizes": f"B {size.trial[0]}, T {size.trial[1]}", **trials},
        },
    )


def trial(make: Rival, config: Any, size: PeerSize) -> float:
    """Seconds of one small training step of a peer at one setting."""
    model, logits = make(config, VOCAB)
    train_step(model, 1, 8, vocab=VOCAB, logits=logits)()  # imports, first calls
    once = Effort(rounds=1, seconds=0, most=1, sample=0.0)
    work = train_step(model, *size.trial, vocab=VOCAB, logits=logits)
    return in_turns({"step": work}, once)["step"].median


@dataclass(frozen=True)
class GenerateSize:
    """How many symbols a reading of the clock writes, and fields of the stack."""

    symbols: int = 200
    model: dict[str, Any] = field(default_factory=dict)


def generate(
    size: GenerateSize = GenerateSize(), effort: Effort = NORMAL, rival: Rival = RIVALS["transformers"]["as shipped"]
) -> Measured:
    """Greedy writing by `model.generate` of both; the peer's is a bare loop over its cached step if that is faster."""
    ours = stack(vocab=256, **size.model).eval()
    ours.vocabulary = build_vocabulary("bytes")
    theirs = rival(ours.config, 256)[0].eval()
    first = torch.tensor([[10]])

    def write() -> None:
        for _ in ours.generate("\n", size.symbols, top_k=1):
            pass

    @torch.inference_mode()
    def peer_generate() -> None:
        written = theirs.generate(  # pyright: ignore[reportCallIssue]
            first, attention_mask=torch.ones_like(first), max_new_tokens=size.symbols, do_sample=False
        )
        assert written.shape[1] == size.symbols + 1, "the peer stopped early"

    @torch.inference_mode()
    def peer_loop() -> None:
        token, cache = first, None
        for _ in range(size.symbols):
            out = theirs(input_ids=token, cache_params=cache, use_cache=True)
            token, cache = out.logits[:, -1].argmax(-1, keepdim=True), out.cache_params

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        times = in_turns({"inn": write, "generate": peer_generate, "bare loop": peer_loop}, effort)
    fastest = min(("generate", "bare loop"), key=lambda name: times[name].median)
    return Measured(
        times[fastest].median / times["inn"].median,
        "float32",
        sizes(ours, f"B 1, {size.symbols} symbols"),
        {
            "seconds": spread(times),
            "peer": f"transformers, {fastest}",
            "symbols_per_s": {name: size.symbols / t.median for name, t in times.items()},
            "parameters": {"inn": ours.num_parameters, "transformers": sum(p.numel() for p in theirs.parameters())},
        },
    )


def sizes(model: Any, rest: str) -> str:
    c = model.config
    return f"Mamba, D {c.width}, {c.layers} layers, state {c.memory.state}, {model.num_parameters:,} parameters, {rest}"
