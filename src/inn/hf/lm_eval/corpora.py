"""What the tasks beside this file read: a part of a corpus as one document, exactly as `inn` reads it."""

from __future__ import annotations

from typing import Any

from inn.data.corpora import corpus_text


def part_of(corpus: str = "text8", part: str = "test", characters: int | None = None, **_: Any) -> dict[str, Any]:
    """The data set of a task, `{"test": one document}`; the arguments come from the task's `metadata`.

    `corpus` is one by name (`inn data list`) or `file:PATH`; `characters` keeps the first of them only. Raises
    `InputError` as `inn.data.corpora.corpus_text` does.
    """
    from datasets import Dataset

    text = corpus_text(corpus).read(part).decode("utf-8")
    return {"test": Dataset.from_list([{"text": text[:characters]}])}
