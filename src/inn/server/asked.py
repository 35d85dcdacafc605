"""What a request for completions asks for: every field checked, whatever somebody has sent."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from inn.data.base import Vocabulary
from inn.models.generate import start_symbol
from inn.server.draws import Draws
from inn.server.settings import ServerSettings
from inn.server.streams import Ask
from inn.system.errors import InputError, nearest

STOPS, STOP_LENGTH = 16, 1000
"""Texts that end a stream, at most, and characters of each."""
TOP = 20
"""Likeliest symbols that are told, at most."""
NUMBERS = 1_000_000
"""Log-probabilities that an answer holds, at most."""
NAME_LENGTH = 128
FIELDS = (
    "model prompt max_tokens temperature top_p top_k n seed stop stream stream_options logprobs echo user best_of "
    "conversation unknown suffix frequency_penalty presence_penalty logit_bias"
).split()
NOTHING: dict[str, tuple[Any, ...]] = {
    "suffix": ("",),
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "logit_bias": ({},),
}
"""Fields that OpenAI's clients know and these models do not: the values that ask for nothing."""


class NoModel(InputError):
    """Another model than the one that is served."""


@dataclass(frozen=True)
class Completions:
    """What is asked for.

    Attributes:
        asks: a stream for each choice, the choices of one prompt side by side.
        texts: what was read of the prompt of each.
        echo: whether that is told, too.
        stream: whether text is sent as it comes.
        usage: whether a stream ends with what it took.
    """

    asks: Sequence[Ask]
    texts: Sequence[str]
    echo: bool
    stream: bool
    usage: bool


def completions(body: dict[str, Any], vocabulary: Vocabulary, name: str, limits: ServerSettings) -> Completions:
    """Check the JSON of a request; `name` is that of the model that is served.

    Raises:
        NoModel: for another model.
        InputError: with a sentence that names the field, for everything else.

    Example: ``completions({"prompt": "the ", "max_tokens": 9}, model.vocabulary, "demo", ServerSettings())``
    """
    body = {field: value for field, value in body.items() if value is not None}
    for field in body:
        if field not in FIELDS:
            raise InputError(f"there is no field {_short(field)}{nearest(field[:80], FIELDS)}")
    if body.get("model", name) != name:
        raise NoModel(f"there is no model {_short(body['model'])}; this server has '{name}'")
    _text(body, "user", "")
    for field, values in NOTHING.items():
        if field in body and (isinstance(body[field], bool) or body[field] not in values):
            raise InputError(f"{field} is not supported by these models; leave it out")
    n = _whole(body, "n", 1, 1, limits.choices)
    if _whole(body, "best_of", n, 1, limits.choices) != n:
        raise InputError("best_of is not supported beside n; leave it out")
    unknown = _text(body, "unknown", "error")
    prompts = _prompts(body.get("prompt", ""), vocabulary, unknown, limits.choices)
    if len(prompts) * n > limits.choices:
        raise InputError(
            f"{len(prompts):,} prompts times n {n} are more than {limits.choices} choices; send them apart"
        )
    conversation = _text(body, "conversation", "") or None
    echo, stream = _flag(body, "echo"), _flag(body, "stream")
    if conversation is not None:
        if len(conversation) > NAME_LENGTH or not conversation.isprintable():
            raise InputError(f"conversation must be a name of at most {NAME_LENGTH} printable characters")
        if len(prompts) * n > 1 or echo:
            raise InputError("conversation goes with one prompt, n 1 and no echo; leave it out, or those")
    top = None if "logprobs" not in body else _whole(body, "logprobs", 0, 0, TOP)
    stop, tokens = _stop(body.get("stop", [])), _whole(body, "max_tokens", min(16, limits.tokens), 0, limits.tokens)
    temperature, top_p = _number(body, "temperature", 1.0, 0.0), _number(body, "top_p", 1.0, 0.0)
    top_k = _whole(body, "top_k", 0, 1, 2**31) if "top_k" in body else None
    seed = _whole(body, "seed", 0, 0, 2**63 - 1) if "seed" in body else None
    if top is not None:
        numbers = n * (top + 1) * (len(prompts) * tokens + sum(map(len, prompts)) * echo)
        if numbers > NUMBERS:
            raise InputError(f"logprobs asks for {numbers:,} numbers, more than {NUMBERS:,}; send less text, or apart")
    asks, texts = [], []
    for prompt in prompts:
        start = [] if prompt or conversation is not None else [start_symbol(vocabulary)]
        symbols, text = [*start, *prompt], vocabulary.decode(prompt) if echo else ""
        for choice in range(n):
            own = None if seed is None else (seed + choice) % 2**63
            draws = Draws(temperature, top_k, None if top_p == 1 else top_p, own)
            asks.append(
                Ask(
                    symbols,
                    tokens,
                    draws,
                    stop,
                    top=top,
                    score=echo and top is not None,
                    conversation=conversation,
                    seconds=limits.seconds,
                    silent=len(start),
                )
            )
            texts.append(text)
    options = body.get("stream_options", {})
    if not isinstance(options, dict) or not set(options) <= {"include_usage", "include_obfuscation"}:
        raise InputError('stream_options must be {"include_usage": true}; leave it out')
    return Completions(asks, texts, echo, stream, _flag(options, "include_usage"))


def _prompts(given: Any, vocabulary: Vocabulary, unknown: str, most: int) -> list[list[int]]:
    """The symbols of a text, of several, of a list of symbols, or of several."""
    if isinstance(given, str):
        given = [given]
    if not isinstance(given, list) or not given:
        raise InputError("prompt must be a text, a list of texts, or the numbers of symbols, and not an empty list")
    if not isinstance(given[0], str | list):
        given = [given]
    if len(given) > most:
        raise InputError(f"prompt holds {len(given):,} texts, more than {most}; send them apart")
    return [_symbols(one, vocabulary, unknown) for one in given]


def _symbols(one: Any, vocabulary: Vocabulary, unknown: str) -> list[int]:
    if isinstance(one, str):
        try:
            return vocabulary.encode(one, unknown=unknown).tolist()
        except InputError as error:
            raise InputError(str(error).replace("use --unknown skip", 'send "unknown": "skip"')) from None
    if not isinstance(one, list) or any(type(i) is not int for i in one):
        raise InputError("prompt must hold texts, or whole numbers, the symbols of the vocabulary; not both")
    if bad := next((i for i in one if not 0 <= i < vocabulary.size), None):
        raise InputError(f"prompt holds symbol {bad}; the vocabulary has those from 0 to {vocabulary.size - 1}")
    return one


def _stop(given: Any) -> list[str]:
    texts = [given] if isinstance(given, str) else given
    fits = isinstance(texts, list) and len(texts) <= STOPS
    if not fits or not all(isinstance(one, str) and 0 < len(one) <= STOP_LENGTH for one in texts):
        raise InputError(f"stop must be a text, or at most {STOPS}, of 1 to {STOP_LENGTH:,} characters each")
    return texts


def _whole(body: dict[str, Any], field: str, default: int, least: int, most: int) -> int:
    value = body.get(field, default)
    if field in body and (type(value) is not int or not least <= value <= most):
        raise InputError(f"{field} must be a whole number from {least} to {most}, not {_short(value)}")
    return value


def _number(body: dict[str, Any], field: str, default: float, least: float) -> float:
    value = body.get(field, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value < math.inf:
        raise InputError(f"{field} must be a number of {least:g} or more, not {_short(value)}")
    return float(value)


def _flag(body: dict[str, Any], field: str) -> bool:
    value = body.get(field, False)
    if not isinstance(value, bool):
        raise InputError(f"{field} must be true or false, not {_short(value)}")
    return value


def _text(body: dict[str, Any], field: str, default: str) -> str:
    value = body.get(field, default)
    if not isinstance(value, str):
        raise InputError(f"{field} must be a text, not {_short(value)}")
    return value


def _short(value: Any) -> str:
    """A value as a sentence can hold it."""
    if isinstance(value, dict | list):
        return "a list" if isinstance(value, list) else "an object"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
