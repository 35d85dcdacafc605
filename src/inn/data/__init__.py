"""Text in, symbols out: corpora, vocabularies, prepared data sets and the streams that training reads."""

from inn.data.catalogue import Verification, get, list_corpora, verify
from inn.data.corpora import CORPORA, Corpus, corpus_text, find_corpus
from inn.data.prepare import Dataset, prepare
from inn.data.streams import Batch, Streams
from inn.data.text import CorpusText
from inn.data.vocabulary import VOCABULARIES, Vocabulary, build_vocabulary

__all__ = [
    "CORPORA",
    "VOCABULARIES",
    "Batch",
    "Corpus",
    "CorpusText",
    "Dataset",
    "Streams",
    "Verification",
    "Vocabulary",
    "build_vocabulary",
    "corpus_text",
    "find_corpus",
    "get",
    "list_corpora",
    "prepare",
    "verify",
]
