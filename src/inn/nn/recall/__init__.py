"""Recall: what neurons look up in what a stream has read; one file per kind, one protocol (`inn.Recall`)."""
