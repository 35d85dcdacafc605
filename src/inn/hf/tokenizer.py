"""Vocabularies as tokenizers of `transformers`: the same numbers for the same text."""

from __future__ import annotations

import json
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from inn.data.subwords import SubWords
from inn.data.tokens import Tokens
from inn.data.vocabulary import END, UNKNOWN, Bytes, Characters, Vocabulary, Words
from inn.system.errors import InputError

PAD = "<pad>"
_SPACE = r"[\t-\r\u001c-\u0020\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+"
"""White space as Python's `str.split` has it."""


def build_tokenizer(vocabulary: Vocabulary) -> PreTrainedTokenizerFast:
    """The tokenizer that numbers every text as `vocabulary` does, and reads numbers back as it does.

    The number after the last symbol is `<pad>`, which no text is encoded to and the model never predicts: it stands for
    nothing but padding, which is on the left. A character that a vocabulary of characters lacks is an error. Tokenizers
    of others keep their special tokens, the first of which stands for padding, and add none to a text.

    >>> from inn.data.vocabulary import Characters
    >>> tokenizer = build_tokenizer(Characters("abc "))
    >>> tokenizer("a cab").input_ids, tokenizer.decode([1, 0, 3])
    ([1, 0, 3, 1, 2], 'a c')
    """
    if isinstance(vocabulary, Bytes):
        tokenizer = _byte_pairs(SubWords([]))
    elif isinstance(vocabulary, SubWords):
        tokenizer = _byte_pairs(vocabulary)
    elif isinstance(vocabulary, Characters):
        tokenizer = _characters(vocabulary)
    elif isinstance(vocabulary, Words):
        tokenizer = _words(vocabulary)
    elif isinstance(vocabulary, Tokens):
        return _of_others(vocabulary)
    else:
        raise InputError(f"a vocabulary of {vocabulary.kind} has no tokenizer of transformers; give another")
    tokenizer.add_special_tokens([AddedToken(PAD, special=True, normalized=False)])
    if tokenizer.token_to_id(PAD) != vocabulary.size:
        raise InputError(f"'{PAD}' is a symbol of the vocabulary, and stands for padding; take it out of the text")
    return _wrapped(tokenizer, pad_token=PAD, split_special_tokens=True)  # <pad> in a text means these five characters


def _wrapped(tokenizer: Tokenizer, **options: Any) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        padding_side="left",
        clean_up_tokenization_spaces=False,
        model_input_names=["input_ids", "attention_mask"],
        **options,
    )


def _of_others(vocabulary: Tokens) -> PreTrainedTokenizerFast:
    tree = {**vocabulary.tree, "post_processor": None}  # which adds special tokens
    tokenizer = Tokenizer.from_str(json.dumps(tree))
    special = [token["content"] for token in tree.get("added_tokens") or [] if token.get("special")]
    if special:
        return _wrapped(tokenizer, pad_token=special[0])
    tokenizer.add_special_tokens([AddedToken(PAD, special=True, normalized=False)])
    return _wrapped(tokenizer, pad_token=PAD, split_special_tokens=True)


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
