"""Tokenizers of others: what comes back, whatever they are like; a run that holds its own; bits per byte or none."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from inn.config.run import DataConfig
from inn.config.settings import resolve_settings
from inn.data.prepare import encode_corpus, prepare
from inn.data.size import scored_size
from inn.data.tokens import Tokens, read_symbols
from inn.data.vocabulary import Characters, Vocabulary
from inn.system.errors import InputError

ENGLISH = "The cat sat on the mat, and the other cat's hat was 100 times the hat of the cat \\ 42.\n" * 20
QUIET = {"show_progress": False}
ALPHABET = pre_tokenizers.ByteLevel.alphabet()


def byte_level(prefix: bool = False) -> Tokenizer:
    """GPT-2's kind, with GPT-NeoX's normal form and a token for the end of a text."""
    t = Tokenizer(models.BPE())
    t.normalizer = normalizers.NFC()
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix)
    t.decoder = decoders.ByteLevel()
    t.post_processor = processors.TemplateProcessing(single="$A <end>", special_tokens=[("<end>", 0)])
    t.train_from_iterator(
        [ENGLISH], trainers.BpeTrainer(vocab_size=300, special_tokens=["<end>"], initial_alphabet=ALPHABET, **QUIET)
    )
    t.enable_truncation(4)
    t.enable_padding(length=9, pad_token="<end>")
    return t


def marked() -> Tokenizer:
    """Llama's kind: a mark for a space, also before the text, and single bytes for what it has no token for."""
    letters = sorted(set(ENGLISH.replace(" ", "▁")))
    pieces = ["<unk>", *(f"<0x{i:02X}>" for i in range(256)), *letters, "at", "▁c", "▁cat"]
    merges = [("a", "t"), ("▁", "c"), ("▁c", "at")]
    t = Tokenizer(
        models.BPE({p: i for i, p in enumerate(pieces)}, merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True)
    )
    t.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    t.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return t


def unigram() -> Tokenizer:
    """T5's kind."""
    t = Tokenizer(models.Unigram())
    t.pre_tokenizer, t.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    t.train_from_iterator(
        [ENGLISH], trainers.UnigramTrainer(vocab_size=60, special_tokens=["<unk>"], unk_token="<unk>", **QUIET)
    )
    return t


def lower_case() -> Tokenizer:
    """BERT's kind."""
    t = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    t.normalizer, t.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.BertPreTokenizer()
    t.decoder = decoders.WordPiece(cleanup=True)
    t.train_from_iterator([ENGLISH], trainers.WordPieceTrainer(vocab_size=90, special_tokens=["[UNK]"], **QUIET))
    return t


def of(tokenizer: Tokenizer) -> Tokens:
    return Tokens(json.loads(tokenizer.to_str()))


KINDS = {
    "byte-level": of(byte_level()), "prefixed": of(byte_level(prefix=True)), "marked": of(marked()),
    "unigram": of(unigram()), "lower-case": of(lower_case()),
}  # fmt: skip
texts = st.one_of(st.text(max_size=60), st.text(st.sampled_from("The cat's  \n\t\u00a0 42,é🐕\u0301"), max_size=60))
words = st.lists(st.text(st.sampled_from("Thecat's42,é🐕\n"), min_size=1, max_size=6), max_size=12).map(" ".join)


@given(texts)
def test_byte_level_tokens_spell_any_text_in_its_normal_form(text):
    import unicodedata

    v = KINDS["byte-level"]
    symbols = v.encode(text)
    assert v.decode(symbols) == unicodedata.normalize("NFC", text)
    assert v.decode_bytes(symbols) == unicodedata.normalize("NFC", text).encode()
    assert v.spells(symbols, text.encode()) == (unicodedata.normalize("NFC", text) == text)
    assert v.encode(text.encode()).tolist() == symbols.tolist()


def test_the_library_agrees_and_nothing_is_added_cut_or_filled_up():
    t = byte_level()
    t.no_truncation()
    t.no_padding()
    symbols = KINDS["byte-level"].encode(ENGLISH)
    assert symbols.tolist() == t.encode(ENGLISH, add_special_tokens=False).ids
    assert KINDS["byte-level"].decode(symbols) == ENGLISH
    assert KINDS["byte-level"].decode(KINDS["byte-level"].encode("a<end>b")) == "a<end>b"  # a name in the text stays


@pytest.mark.parametrize("kind", KINDS)
@given(st.data())
def test_one_by_one_is_all_at_once(kind, data):
    v = KINDS[kind]
    ids = data.draw(st.lists(st.integers(0, v.size - 1), max_size=40))
    decoder = v.decoder()
    assert "".join(map(decoder.feed, ids)) + decoder.flush() == v.decode(ids)


@pytest.mark.parametrize("kind", KINDS)
@given(words)
def test_a_text_of_words_reads_as_the_library_reads_it(kind, text):
    v = KINDS[kind]
    symbols = v.encode(text).tolist()
    assert v.decode(symbols) == v._tokenizer.decode(symbols, skip_special_tokens=False)


@pytest.mark.parametrize("kind", KINDS)
@given(words, st.integers(1, 9))
def test_a_text_in_blocks_is_encoded_as_the_whole(kind, text, size):
    v = KINDS[kind]
    stretches = list(v.stretches(text[i : i + size] for i in range(0, len(text), size)))
    assert [i for stretch in stretches for i in v.encode(stretch).tolist()] == v.encode(text).tolist()
    assert len("".join(stretches)) >= len(text) - len(stretches)


def test_a_text_without_spaces_is_cut_all_the_same():
    blocks = ["x" * 50_000] * 8
    assert max(map(len, KINDS["byte-level"].stretches(blocks))) <= 100_000


@pytest.mark.parametrize("kind", KINDS)
def test_json_restores_it_whole(kind):
    v = KINDS[kind]
    again = Vocabulary.from_json(v.to_json())
    assert again == v
    assert again.encode(ENGLISH).tolist() == v.encode(ENGLISH).tolist()
    names = [v.symbol(i) for i in range(v.size)]
    assert len(set(names)) == v.size
    assert all(name.isprintable() and not name.isspace() for name in names)


def test_symbols_behind_its_own_mean_nothing_and_are_kept():
    v = KINDS["byte-level"].filled(512)
    assert (v.size, v.decode([511, *v.encode("a cat").tolist(), 400])) == (512, "a cat")
    assert Vocabulary.from_json(v.to_json()) == v != KINDS["byte-level"]
    assert v.symbol(511) == "<unused>#511"
    with pytest.raises(IndexError):
        v.decode([512])
    with pytest.raises(ValueError, match="100 symbols for a tokenizer of 293"):
        KINDS["byte-level"].filled(100)


def test_unknown_tokens_are_left_out_if_asked():
    v = KINDS["lower-case"]
    assert len(v.encode("the 🐕 cat")) == len(v.encode("the cat")) + 1
    assert v.encode("the 🐕 cat", unknown="skip").tolist() == v.encode("the cat").tolist()
    with pytest.raises(InputError, match=r"U\+D800.*--unknown skip"):
        v.encode("a\ud800b")
    assert v.encode("the\ud800 cat", unknown="skip").tolist() == v.encode("the cat").tolist()


def save(tokenizer: Tokenizer, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def config(path: Path, tokenizer: Path, **fields) -> DataConfig:
    return DataConfig(**{"corpus": f"file:{path}", "vocabulary": "tokenizer", "tokenizer": str(tokenizer), **fields})


@pytest.fixture
def story(tmp_path) -> Path:
    path = tmp_path / "story.txt"
    path.write_text(ENGLISH + "The naïve 🐕 !\n" * 30, "utf-8")
    return path


@pytest.mark.parametrize("block", [7, 1 << 20])
def test_a_corpus_is_kept_by_the_content_of_the_tokenizer(tmp_path, story, block, monkeypatch, own_cache):
    monkeypatch.setattr("inn.data.text.BLOCK", block)
    one, same = save(byte_level(), tmp_path / "one"), save(byte_level(), tmp_path / "same")
    other = save(byte_level(prefix=True), tmp_path / "other")
    data = prepare(config(story, one))
    text = b"".join(data.vocabulary.decode_bytes(data.split(part)) for part in ("train", "valid", "test"))
    assert text == story.read_bytes()
    assert data.inexact == ()
    module = sys.modules["inn.data.prepare"]
    with monkeypatch.context() as patch:
        patch.setattr(module, "_write", lambda *a: pytest.fail("prepared twice"))
        assert prepare(config(story, same / "tokenizer.json")).vocabulary == data.vocabulary
        assert prepare(config(story, tmp_path / "gone"), data.vocabulary).train.tolist() == data.train.tolist()
    prepare(config(story, other))
    assert len(list((own_cache / "prepared").glob("file-tokenizer-*"))) == 2


@pytest.mark.parametrize("kind, exact", [(byte_level, True), (marked, True), (lower_case, False)])
def test_bytes_are_counted_only_where_tokens_spell_them(tmp_path, story, kind, exact):
    data = prepare(config(story, save(kind(), tmp_path / "t")))
    size = scored_size(data, "test", data.test)
    assert (size is not None) == exact
    assert bool(data.inexact) != exact
    if size is not None:
        symbols = data.test
        whole = data.vocabulary.decode_bytes(symbols)
        assert size.bytes == len(whole) - len(data.vocabulary.decode_bytes(symbols[:1]))
        assert story.read_bytes().endswith(whole)
        rest = whole[-size.bytes :].decode("utf-8", "replace")
        assert size.words == len(rest.replace("\n", " <eos> ").split())


def test_another_text_is_read_in_the_tokens_of_a_model(story):
    data = encode_corpus(f"file:{story}", KINDS["byte-level"])
    assert data.vocabulary.decode(data.train).startswith("The cat sat")


def test_a_run_and_its_vocabulary_are_places_too(tmp_path, story):
    KINDS["byte-level"].filled(400).save(tmp_path / "run/vocabulary.json")
    assert prepare(config(story, tmp_path / "run")).vocabulary.size == 400
    Characters(story.read_text("utf-8") + "Q").save(tmp_path / "letters.json")
    with pytest.raises(InputError, match=r"kind 'characters', not 'tokenizer'; set data\.vocabulary characters"):
        prepare(config(story, tmp_path / "letters.json"))
    data = prepare(config(story, tmp_path / "letters.json", vocabulary="characters"))
    assert "Q" in data.vocabulary.symbols()


def damaged(text: str):
    def write(folder: Path) -> Path:
        (folder / "tokenizer.json").write_text(text)
        return folder

    return write


@pytest.mark.parametrize(
    "place, sentence",
    [
        (lambda folder: folder / "none", "there is no tokenizer at .*none'; give a tokenizer.json"),
        (lambda folder: folder, "holds no tokenizer.json; have transformers write one"),
        (damaged("{"), "is not a tokenizer.json: "),
        (damaged("[]"), "it has no field 'model'"),
        (damaged('{"model": {"type": "BPE"}}'), "is not a tokenizer.json: not a tokenizer"),
        (damaged('{"format": 9, "kind": "bytes"}'), "cannot be used: a vocabulary of format 9"),
    ],
)
def test_what_is_no_tokenizer_is_refused(tmp_path, place, sentence):
    with pytest.raises(InputError, match=sentence) as error:
        read_symbols(place(tmp_path))
    assert "\n" not in str(error.value)


def test_the_package_is_named_where_it_is_not_installed(tmp_path, monkeypatch):
    place = save(byte_level(), tmp_path)
    monkeypatch.setitem(sys.modules, tokenizers.__name__, None)
    with pytest.raises(InputError, match="vocabulary 'tokenizer' needs the package 'tokenizers'"):
        read_symbols(place)


def test_settings_know_what_a_tokenizer_means():
    data = resolve_settings("demo", ["--data.tokenizer", "some/place"]).data
    assert (data.vocabulary, data.tokenizer) == ("tokenizer", "some/place")
    data = resolve_settings("demo", ["--data.tokenizer", "some/run", "--data.vocabulary", "words"]).data
    assert (data.vocabulary, data.tokenizer) == ("words", "some/run")
    with pytest.raises(InputError, match=r"vocabulary 'tokenizer' needs data\.tokenizer"):
        resolve_settings("demo", ["--data.vocabulary", "tokenizer"])


def test_a_recipe_may_name_one_and_a_person_other_symbols(tmp_path):
    recipe = tmp_path / "own.yaml"
    recipe.write_text("data: {corpus: pydoc, tokenizer: some/place}\nmodel: {kind: inn}\nvocab: 99\n")
    assert resolve_settings(str(recipe)).data.vocabulary == "tokenizer"
    data = resolve_settings(str(recipe), ["--data.vocabulary", "bytes"]).data
    assert (data.vocabulary, data.tokenizer) == ("bytes", None)
