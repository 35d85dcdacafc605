"""Data: corpora, vocabularies, prepared data sets, and the streams that training reads."""
