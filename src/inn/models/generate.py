"""Writing text with a model, one symbol at a time, in constant memory."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from inn.config.typed import shown, typed
from inn.data.vocabulary import Vocabulary
from inn.nn.modes import device_of, evaluating
from inn.nn.state import State
from inn.system.errors import InputError

_CHUNK = 256
"""Symbols of the prompt read at once."""
NO_NUMBER = "the model predicts what is no number: its weights or what it read are damaged"


class Writer(Protocol):
    """What can be written with: see `inn.models.sequence.SequenceModel`, which every model of the library is."""

    vocabulary: Vocabulary | None
    experience: State | None

    def __call__(self, *args: Any, **options: Any) -> tuple[Tensor, State]: ...

    def step_(self, tokens: Tensor, state: State | None = None, *, remember: bool = True) -> tuple[Tensor, State]: ...


@typed
def check_sampling(temperature: float = 1.0, top_k: int | None = None, top_p: float | None = None) -> None:
    """Raise `InputError` for a temperature, top-k or top-p that means nothing."""
    _check_sampling(temperature, top_k, top_p)


def _check_sampling(temperature: float, top_k: int | None, top_p: float | None) -> None:
    if not 0 < temperature < math.inf:
        raise InputError(f"temperature must be above 0 and finite, not {temperature}; try 0.8")
    if top_k is not None and top_k < 1:
        raise InputError(f"top-k must be at least 1, not {top_k}")
    if top_p is not None and not 0 < top_p <= 1:
        raise InputError(f"top-p must be in (0, 1], not {top_p}")


def sample(
    logits: Tensor,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Draw one symbol per row: `[B, V]` logits -> `[B]` int64 symbols, on the logits' device.

    The distribution is that of `chances`. `generator` must live on the logits' device.

    >>> sample(torch.tensor([[0.0, 9.0, 1.0]]), top_k=1)
    tensor([1])
    """
    _check_sampling(temperature, top_k, top_p)
    try:
        return torch.multinomial(chances(logits, temperature, top_k, top_p), 1, generator=generator)[:, 0]
    except RuntimeError as error:
        raise InputError(NO_NUMBER) from error


def chances(
    logits: Tensor,
    temperature: float | Tensor = 1.0,
    top_k: int | Tensor | None = None,
    top_p: float | Tensor | None = None,
) -> Tensor:
    """The probabilities that symbols are drawn by: `[B, V]` logits -> `[B, V]` float64, in the order of the symbols.

    softmax(logits / temperature), cut to its `top_k` most likely symbols (exactly k; of equals the lower number stays),
    then to the smallest set of the most likely whose mass reaches `top_p` (Holtzman et al. 2020, section 3.1), and
    normalised anew. Each option is a number for all rows, or `[B, 1]`, one for each.

    They stand in the order of the symbols, not of their rank: a draw then turns on rounding only where two symbols are
    about equally likely to be drawn, not wherever two have about the same rank.

    >>> chances(torch.tensor([[0.0, 9.0, 1.0]]), top_k=1)
    tensor([[0., 1., 0.]], dtype=torch.float64)
    """
    scores = logits.double() if logits.device.type != "mps" else logits.float()
    # Shifted so that the largest is 0: no temperature, however small, overflows.
    shares = ((scores - scores.max(-1, keepdim=True).values) / temperature).softmax(-1)
    if top_k is None and top_p is None:
        return shares
    # By logits, and not by shares: many of those are 0 at a low temperature.
    symbols = scores.sort(dim=-1, descending=True, stable=True).indices
    ranked = shares.gather(-1, symbols)
    if top_k is not None:
        ranked = ranked.masked_fill(torch.arange(ranked.shape[-1], device=ranked.device) >= top_k, 0)
    ranked = ranked / ranked.sum(-1, keepdim=True)
    if top_p is not None:
        before = ranked.cumsum(-1) - ranked  # mass of all more likely symbols; 0 for the first, which always stays
        ranked = ranked.masked_fill(before >= top_p, 0)
        ranked = ranked / ranked.sum(-1, keepdim=True)
    return torch.zeros_like(ranked).scatter(-1, symbols, ranked)


@typed
def generate(
    model: Writer,
    prompt: str = "",
    tokens: int | None = None,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int | None = None,
    unknown: str = "error",
    fresh: bool = False,
) -> Iterator[str]:
    """Continue `prompt`, yielding one piece of text per symbol; memory does not grow with the length.

    A piece may be empty while the bytes of a character are incomplete; what is still incomplete at the end comes as one
    more piece. The prompt itself is not repeated. An empty prompt starts from a line break, else from a space, else
    from the first symbol of the vocabulary, which is not part of the text. The draws have a random source of their
    own: the same seed gives the same text on the same device, and no other random numbers are disturbed. The model is
    in evaluation mode from the first piece to the last and then back in its own mode.

    Args:
        tokens: symbols to write; None writes until the consumer stops.
        temperature: above 0; below 1 sharpens the distribution, above 1 flattens it.
        top_k: draw from the k most likely symbols only.
        top_p: draw from the most likely symbols that together reach this share, in (0, 1].
        seed: of the draws; None differs from call to call.
        unknown: what to do about symbols of the prompt that the vocabulary lacks: `error` or `skip`.
        fresh: start as if nothing had been read before, not from the model's `experience`.

    Raises `InputError`, at the call and not at the first piece, for bad values, a prompt the vocabulary cannot spell,
    and a model without a vocabulary.

    Example: ``"".join(model.generate("the graph of ", tokens=100, temperature=0.8, seed=1))``
    """
    vocabulary, generator = _prepare(model, tokens, temperature, top_k, top_p, seed)
    start = [int(i) for i in vocabulary.encode(prompt, unknown=unknown)] if prompt else []

    def pieces() -> Iterator[str]:
        decoder = vocabulary.decoder()
        for symbol in start:  # so that what follows is spelt as a continuation
            decoder.feed(symbol)
        with evaluating(cast(nn.Module, model)):
            before = None if fresh else model.experience
            logits, state = read_prompts(model, [start or [start_symbol(vocabulary)]], before)
            written = 0
            while tokens is None or written < tokens:
                # Drawn on the CPU, where the generator is the same on every machine.
                drawn = sample(logits.cpu(), temperature, top_k, top_p, generator)
                yield decoder.feed(int(drawn))
                written += 1
                if written != tokens:
                    with torch.no_grad():  # never held across a yield: the consumer keeps its own mode
                        logits, state = model.step_(drawn.to(logits.device), state, remember=False)
        if rest := decoder.flush():
            yield rest

    return pieces()


@torch.no_grad()
@typed
def complete(
    model: Writer,
    prompts: Sequence[str],
    tokens: int,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int | None = None,
    unknown: str = "error",
    fresh: bool = False,
) -> list[str]:
    """Continue several prompts of any lengths side by side, `tokens` symbols each; see `generate` for the options.

    One step of the model serves all streams; each is a stream of its own, whatever stands beside it.

    Example: ``complete(inn.load("runs/demo"), ["the graph of ", "a neuron"], 100, seed=1)``
    """
    vocabulary, generator = _prepare(model, tokens, temperature, top_k, top_p, seed)
    if not prompts:
        return []
    starts = [[int(i) for i in vocabulary.encode(p, unknown=unknown)] if p else [] for p in prompts]
    decoders = [vocabulary.decoder() for _ in prompts]
    for decoder, start in zip(decoders, starts, strict=True):
        for symbol in start:
            decoder.feed(symbol)
    texts = ["" for _ in prompts]
    with evaluating(cast(nn.Module, model)):
        before = None if fresh else model.experience
        logits, state = read_prompts(model, [start or [start_symbol(vocabulary)] for start in starts], before)
        for written in range(tokens):
            drawn = sample(logits.cpu(), temperature, top_k, top_p, generator)
            texts = [text + d.feed(int(i)) for text, d, i in zip(texts, decoders, drawn, strict=True)]
            if written + 1 < tokens:
                logits, state = model.step_(drawn.to(logits.device), state, remember=False)
    return [text + decoder.flush() for text, decoder in zip(texts, decoders, strict=True)]


def _prepare(
    model: Writer,
    tokens: int | None,
    temperature: float,
    top_k: int | None,
    top_p: float | None,
    seed: int | None,
) -> tuple[Vocabulary, torch.Generator]:
    """Check what was asked for; the model's vocabulary, and a source of random numbers for its draws."""
    if not isinstance(model, nn.Module) or not hasattr(model, "vocabulary"):
        raise InputError(f"what writes must be a model of the library, not {shown(model)}")
    if not getattr(model, "symbols", True):
        raise InputError("a model of signals reads numbers and writes no text; call it with a signal [B, T, F]")
    check_sampling(temperature, top_k, top_p)
    if tokens is not None and tokens < 0:
        raise InputError(f"tokens must be at least 0, not {tokens}")
    if seed is not None and not 0 <= seed < 2**63:
        raise InputError(f"seed must be between 0 and 2**63 - 1, not {seed}")
    vocabulary = model.vocabulary
    if vocabulary is None:
        raise InputError("this model has no vocabulary to write with; load a run, or set model.vocabulary")
    generator = torch.Generator()
    if seed is None:
        generator.seed()
    else:
        generator.manual_seed(seed)
    return vocabulary, generator


def start_symbol(vocabulary: Vocabulary) -> int:
    """What an empty prompt starts from: the line break, else the space, else symbol 0."""
    for text in ("\n", " "):
        symbols = vocabulary.encode(text, unknown="skip")
        if len(symbols):
            return int(symbols[-1])
    return 0


@torch.no_grad()
def read_prompts(
    model: Writer, prompts: Sequence[Sequence[int]], before: State | None = None
) -> tuple[Tensor, State | None]:
    """Read prompts of any lengths side by side, in chunks of time; each needs at least one symbol.

    `before`: the state of one stream that all start from; None starts afresh.

    Returns:
        logits `[B, V]` after each prompt's last symbol, and the state of all streams after them.
    """
    device, lengths = device_of(cast(nn.Module, model)), torch.tensor([len(p) for p in prompts])
    tokens = torch.zeros(len(prompts), int(lengths.max()), dtype=torch.long)
    for row, prompt in zip(tokens, prompts, strict=True):
        row[: len(prompt)] = torch.tensor(prompt)
    counts = torch.arange(tokens.shape[1]) < lengths[:, None]  # where false, a stream waits for longer ones
    last: list[Tensor | None] = [None] * len(prompts)
    state = None if before is None else before.select_batch([0] * len(prompts)).to(device)
    for at in range(0, tokens.shape[1], _CHUNK):
        part, mask = tokens[:, at : at + _CHUNK].to(device), counts[:, at : at + _CHUNK]
        logits, state = model(part, state, mask=None if mask.all() else mask.to(device))
        for row, length in enumerate(lengths.tolist()):
            if at < length <= at + _CHUNK:
                last[row] = logits[row, length - 1 - at].clone()
    return torch.stack([t for t in last if t is not None]), state
