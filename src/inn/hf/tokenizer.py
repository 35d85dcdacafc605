"""Vocabularies as tokenizers of `transformers`: the same numbers for the same text."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from inn.data.base import check_unknown, named
from inn.data.names import Names
from inn.data.subwords import SubWords
from inn.data.tokens import Tokens
from inn.data.vocabulary import END, UNKNOWN, Bytes, Characters, Vocabulary, Words
from inn.models.generate import start_symbol
from inn.runs.beside import fields_of
from inn.system.errors import InputError

PAD = "<pad>"
_ROLES = (
    "bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token", "model_max_length",
)  # fmt: skip
_SPACE = r"[\t-\r\u001c-\u0020\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+"
"""White space as Python's `str.split` has it."""


class INNTokenizer(PreTrainedTokenizerFast):
    """A tokenizer whose texts begin where `inn` has them begin, and that says which character it lacks.

    Without `inn.hf` a folder's tokenizer opens as a plain one, which numbers every text alike.

    Args:
        start: the symbol that an empty prompt starts from: `bos_token`, which no text is given by itself. It is an
            ordinary symbol, and decoding keeps it.
        unknown: what to do about characters that the vocabulary lacks: `error`, or `skip`, which leaves them out.
    """

    # Not to be given an __init__: transformers takes a class that has one for one that builds its tokens anew.

    def __getattr__(self, key: str) -> Any:
        own = self.__dict__
        start = own.get("init_kwargs", {}).get("start")
        if start is None or key not in ("bos_token", "bos_token_id") or own["_special_tokens_map"].get("bos_token"):
            return super().__getattr__(key)
        return start if key == "bos_token_id" else self.convert_ids_to_tokens(start)

    def update_post_processor(self) -> None:
        """Have texts given the start symbol, and the end, if that is asked for: a space is a name like any other."""
        asked = {"start": ("bos_token", self.add_bos_token), "end": ("eos_token", self.add_eos_token)}
        roles = {name: role for name, (role, wanted) in asked.items() if wanted}
        first, last = (f"{name} " if name in roles else "" for name in ("start", "end"))
        text = f"{first}$A {last}".strip()
        self.backend_tokenizer.post_processor = processors.TemplateProcessing(
            single=text,
            pair=f"{text} {first}$B {last}".strip(),
            special_tokens=[
                {"id": name, "ids": [getattr(self, f"{role}_id")], "tokens": [getattr(self, role)]}
                for name, role in roles.items()
            ],  # type: ignore[arg-type]
        )

    @property
    def _closed(self) -> bool:
        """Whether there are characters that it has no number for."""
        model = self.backend_tokenizer.model
        return isinstance(model, models.WordLevel) and model.unk_token not in self.get_vocab()

    def _encode_plus(self, text: Any, text_pair: Any = None, **options: Any) -> Any:
        unknown = self.init_kwargs.get("unknown", "error")
        check_unknown(unknown)
        if unknown == "skip":
            if not self._closed:
                raise InputError("unknown 'skip' is for tokenizers of characters; others know what to make of any text")
            known = set(self.get_vocab())
            text, text_pair = (_mapped(t, lambda s: "".join(c for c in s if c in known)) for t in (text, text_pair))
        try:
            return super()._encode_plus(text, text_pair, **options)
        except Exception as error:  # the library raises nothing more particular
            if not self._closed or "UNK" not in str(error):
                raise
            _mapped([text, text_pair], self._refuse)
            raise

    def _refuse(self, text: str) -> str:
        known = self.get_vocab()
        at = next((i for i, c in enumerate(text) if c not in known), None)
        if at is not None:
            raise InputError(
                f"the vocabulary of {len(known) - 1} characters lacks {named(text[at])}, at position {at:,}; "
                "leave it out, or open the tokenizer with unknown='skip'"
            ) from None
        return text


def _mapped(text: Any, change: Callable[[str], str]) -> Any:
    """What a tokenizer is given, a text or lists of texts, with each of them changed."""
    if isinstance(text, str):
        return change(text)
    return type(text)(_mapped(t, change) for t in text) if isinstance(text, (list, tuple)) else text


def build_tokenizer(vocabulary: Vocabulary, about: Path | None = None) -> INNTokenizer:
    """The tokenizer that numbers every text as `vocabulary` does, and reads numbers back as it does.

    The number after the last symbol is `<pad>`, which no text is encoded to and the model never predicts: it stands for
    nothing but padding, which is on the left, and for an end that is never written. A character that a vocabulary of
    characters lacks is an error. Tokenizers of others keep their special tokens, the first of which stands for padding
    where none is said to, and add none to a text.

    `about`: a folder that says how a tokenizer of others is used, in files of `inn.runs.beside.ABOUT_TEXT`.

    >>> from inn.data.vocabulary import Characters
    >>> tokenizer = build_tokenizer(Characters("abc "))
    >>> tokenizer("a cab").input_ids, tokenizer.decode([1, 0, 3]), tokenizer.bos_token
    ([1, 0, 3, 1, 2], 'a c', ' ')
    """
    start = start_symbol(vocabulary)
    if isinstance(vocabulary, Bytes):
        tokenizer = _byte_pairs(SubWords([]))
    elif isinstance(vocabulary, SubWords):
        tokenizer = _byte_pairs(vocabulary)
    elif isinstance(vocabulary, Characters):
        tokenizer = _characters(vocabulary)
    elif isinstance(vocabulary, Words):
        tokenizer = _words(vocabulary)
    elif isinstance(vocabulary, Names):
        tokenizer = _names(vocabulary)
    elif isinstance(vocabulary, Tokens):
        return _of_others(vocabulary, start, about)
    else:
        raise InputError(f"a vocabulary of {vocabulary.kind} has no tokenizer of transformers; give another")
    tokenizer.add_special_tokens([AddedToken(PAD, special=True, normalized=False)])
    if tokenizer.token_to_id(PAD) != vocabulary.size:
        raise InputError(f"'{PAD}' is a symbol of the vocabulary, and stands for padding; take it out of the text")
    # <pad> in a text means these five characters, unless there are none of them to spell it with.
    spelt = not isinstance(vocabulary, Characters) or set(PAD) <= set(vocabulary.symbols())
    return _wrapped(tokenizer, start=start, pad_token=PAD, eos_token=PAD, split_special_tokens=spelt)


def _wrapped(tokenizer: Tokenizer, **options: Any) -> INNTokenizer:
    return INNTokenizer(
        tokenizer_object=tokenizer,
        padding_side="left",
        clean_up_tokenization_spaces=False,
        model_input_names=["input_ids", "attention_mask"],
        **options,
    )


def _of_others(vocabulary: Tokens, start: int, about: Path | None) -> INNTokenizer:
    tree = {**vocabulary.tree, "post_processor": None}  # which adds special tokens
    tokenizer = Tokenizer.from_str(json.dumps(tree))
    roles, known = _roles(about), tokenizer.get_vocab(with_added_tokens=True)
    roles = {name: token for name, token in roles.items() if not name.endswith("_token") or token in known}
    special = [token["content"] for token in tree.get("added_tokens") or [] if token.get("special")]
    if special or "eos_token" in roles:
        end = roles.get("eos_token") or special[0]
        return _wrapped(
            tokenizer, **{"start": start, "eos_token": end, "pad_token": special[0] if special else end, **roles}
        )
    tokenizer.add_special_tokens([AddedToken(PAD, special=True, normalized=False)])
    return _wrapped(
        tokenizer, **{"start": start, "pad_token": PAD, "eos_token": PAD, "split_special_tokens": True, **roles}
    )


def _roles(about: Path | None) -> dict[str, Any]:
    """What the files beside a tokenizer say of it: special tokens by role, templates, the longest text."""
    if about is None:
        return {}
    fields = fields_of(about / "special_tokens_map.json") | fields_of(about / "tokenizer_config.json")
    plain = {name: t["content"] if isinstance(t, dict) and "content" in t else t for name, t in fields.items()}
    found = {name: plain[name] for name in _ROLES if isinstance(plain.get(name), (str, int))}
    if isinstance(longest := found.get("model_max_length"), int) and longest > 1 << 60:  # which stands for none
        del found["model_max_length"]
    if isinstance(plain.get("chat_template"), (str, list, dict)):
        found["chat_template"] = plain["chat_template"]
    if (file := about / "chat_template.jinja").is_file():
        found["chat_template"] = file.read_text(encoding="utf-8")
    return found


def _byte_pairs(vocabulary: SubWords) -> Tokenizer:
    tokenizer = Tokenizer(vocabulary.model())
    split = vocabulary.size > 256  # single bytes have no pieces to be kept apart
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=split)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _characters(vocabulary: Characters) -> Tokenizer:
    numbers = {character: i for i, character in enumerate(vocabulary.symbols())}
    tokenizer = Tokenizer(models.WordLevel(numbers, unk_token=UNKNOWN))  # which is none of them, and so an error
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    return tokenizer


def _names(vocabulary: Names) -> Tokenizer:
    tokenizer = Tokenizer(models.WordLevel({n: i for i, n in enumerate(vocabulary.symbols())}, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(_SPACE), "removed")
    return tokenizer


def _words(vocabulary: Words) -> Tokenizer:
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(vocabulary.symbols())}, unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.Replace("\n", f" {END} ")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(_SPACE), "removed")
    # Words and line ends are joined by spaces, of which those around a line end are then taken away.
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace(Regex(f"^{END}$"), "\n"),
            decoders.WordPiece(prefix="\n\n", cleanup=False),
            decoders.Fuse(),
            decoders.Replace(Regex(" ?\n ?"), "\n"),
        ]
    )
    return tokenizer
