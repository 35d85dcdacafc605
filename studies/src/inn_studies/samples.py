"""Appendix A.5: what each model writes at temperature 0.8, from the same prompts, and how much of it are words."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise
from typing import Any

from inn.runs.directory import Run
from inn_studies import compressors
from inn_studies.lab import Lab
from inn_studies.rows import best_bits, facts, jobs, markdown, model_settings, tune
from inn_studies.sizes import TEXT8, Size
from inn_studies.study import Study, Verdict
from inn_studies.text8 import MODELS

INN_PAPER, TABLE, RECALLS = "inn-paper-fixed", "ngram", "inn"
PROMPTS = ("the history of ", "in the year one nine ", "the company said ", "a graph of ")
TEMPERATURE, SEED = 0.8, 0
KNOWN_FROM = 5_000_000
"""Symbols of the training text whose words count as known."""
STYLE = 0.9
"""Share of the held-out text's known words that counts as writing in its style."""


class Samples(Study):
    name = "samples"
    source = "appendix A.5"
    question = "What does each model write, from the same prompts at the same temperature?"

    def sizes(self) -> dict[str, Size]:
        return {scale: replace(size, seeds=1) for scale, size in TEXT8.items()}

    def run(self, lab: Lab, size: Size, seeds: int) -> dict[str, Any]:
        tuned = tune(lab, size, {label: model_settings(size, label) for label in MODELS}, seeds)
        lowest = replace(size, rates=size.rates[:1])
        table = lab.train(jobs(lowest, TABLE, model_settings(size, TABLE), lowest.rates, [0]))[0]  # counts: no rate
        runs = [*(model.runs[0] for model in tuned), table]
        tokens = 80 if size.scored is not None and size.scored < 10_000 else 400
        labels: list[tuple[str, float | None]] = [*((model.label, model.rate) for model in tuned), (TABLE, None)]
        written = lab.measure(writing, runs, tokens=tokens, fresh=False)
        rows = [_row(*label, *of) for label, of in zip(labels, zip(runs, written, strict=True), strict=True)]
        ours = next(model for model in tuned if model.label == RECALLS)
        (unread,) = lab.measure(writing, ours.runs[:1], tokens=tokens, fresh=True)
        rows.insert(1 + MODELS.index(RECALLS), _row(f"{RECALLS}, fresh", ours.rate, ours.runs[0], unread))
        held_out = lab.measure(held_out_words, [table], tokens=tokens)[0]
        return {"rows": rows, "held_out": held_out, "prompts": list(PROMPTS), "tokens": tokens}

    def readings(self, result: dict[str, Any]) -> list[dict[str, Any]]:
        return [compressors.validated(result["rows"][0])]

    def table(self, result: dict[str, Any]) -> str:
        rows = [
            [
                row["label"],
                "–" if row["valid_bits"] is None else f"{row['valid_bits']:.3f}",
                *_words(row["words"]),
            ]
            for row in result["rows"]
        ]
        rows.append(["held-out text itself", "–", *_words(result["held_out"])])
        words = markdown(["model", "valid BPC:", "known words:", "distinct words:", "words said twice running:"], rows)
        first = result["rows"][0]
        texts = "\n\n".join(
            f"**{row['label']}**\n\n"
            + "\n".join(f"> {_quoted(p, t)}\n>" for p, t in zip(result["prompts"], row["texts"]))
            for row in result["rows"]
            if row["texts"]
        )
        return (
            f"{first['symbols']:,} symbols of {first['data']['name']} per run; {result['tokens']} symbols from each of "
            f"{len(result['prompts'])} prompts, temperature {TEMPERATURE}, seed {SEED}; the first run of each model at "
            f"its best learning rate. *Known*: words that occur in the first {KNOWN_FROM:,} symbols of the training "
            f"text; the first and the last word of each text are left out. A model that recalls starts with what it "
            f"read last in training; *fresh*, with nothing.\n\n{words}\n\n{texts}"
        )

    def verdicts(self, result: dict[str, Any]) -> list[Verdict]:
        return [style_verdict(result)]


def _row(label: str, rate: float | None, run: Run, text: dict[str, Any] | None) -> dict[str, Any]:
    found = {"texts": text and text["texts"], "words": text and text["words"]}
    return {"label": label, "lr": rate, "valid_bits": best_bits(run), **found, **facts(run)}


def writing(run: str, tokens: int, fresh: bool) -> dict[str, Any]:
    """What a run writes from `PROMPTS`, and what is to be said of its words (a measure for `Lab.measure`).

    Unless `fresh`, a model that recalls does so from the end of its training text, as after `inn.load`.
    """
    from inn.models.generate import complete
    from inn.runs.load import load_with_data
    from inn.training.validation import experience

    model, dataset = load_with_data(run)
    model.experience = model.experience or experience(model, dataset)  # runs from before do not have it
    texts = complete(model, PROMPTS, tokens, temperature=TEMPERATURE, seed=SEED, unknown="skip", fresh=fresh)
    return {"texts": texts, "words": word_facts(texts, known_words(dataset))}


def held_out_words(run: str, tokens: int) -> dict[str, float]:
    """The same of as much held-out text, cut at as many places."""
    from inn.runs.load import load_with_data

    _, dataset = load_with_data(run)
    places = [i * (len(dataset.valid) // len(PROMPTS)) for i in range(len(PROMPTS))]
    texts = [dataset.vocabulary.decode(dataset.valid[at : at + tokens].tolist()) for at in places]
    return word_facts(texts, known_words(dataset))


def known_words(dataset: Any) -> set[str]:
    """The words of the training text's beginning."""
    return set(dataset.vocabulary.decode(dataset.train[:KNOWN_FROM].tolist()).split())


def word_facts(texts: list[str], known: set[str]) -> dict[str, float]:
    """Shares of a text's words: `known`, `distinct`, and `repeated` right after themselves.

    >>> word_facts(["x the cat cat sax y"], {"the", "cat"})
    {'known': 0.75, 'distinct': 0.75, 'repeated': 0.25}
    """
    whole = [text.split()[1:-1] for text in texts]
    words = [word for text in whole for word in text]
    count = max(1, len(words))
    repeated = sum(a == b for text in whole for a, b in pairwise(text))
    return {
        "known": sum(word in known for word in words) / count,
        "distinct": len(Counter(words)) / count,
        "repeated": repeated / count,
    }


def style_verdict(result: dict[str, Any]) -> Verdict:
    """What became of the well-written sample."""
    rows = {row["label"]: row for row in result["rows"]}
    ours, table, real = rows[INN_PAPER]["words"], rows[TABLE]["words"], result["held_out"]
    claim, paper = "writes in the style of its text", '"syntactically correct", "some repetition" (A.5)'
    if ours is None or table is None:
        return Verdict(claim, paper, "–", "not measured", "every run diverged")
    shown = f"{ours['known']:.0%} known words; held-out text {real['known']:.0%}, table of counts {table['known']:.0%}"
    if ours["known"] >= STYLE * real["known"]:
        return Verdict(claim, paper, shown, "reproduced", "it writes as many known words as its text, all but a tenth")
    because = "it still invents words; the paper's sample is of words, which cannot be misspelt"
    return Verdict(claim, paper, shown, "not reproduced", because)


def _words(words: dict[str, float] | None) -> list[str]:
    return ["–"] * 3 if words is None else [f"{words[name]:.0%}" for name in ("known", "distinct", "repeated")]


def _quoted(prompt: str, text: str) -> str:
    """A text on one line of Markdown, its own markup made plain."""
    plain = "".join(f"\\{c}" if c in "\\`*_<>[]#|" else c for c in text)
    return f"*{prompt.strip()}* " + " ".join(plain.split())
