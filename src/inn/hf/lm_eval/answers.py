"""Questions with one right answer, in GSM8K's format; what several samples reach together is told apart from one.

Best of k asks whether any of k samples is right, which nobody knows who has only the samples: it grows with k for a
model that guesses. So it stands beside what a single sample reaches (`exact_match`, the mean over the samples) and what
the samples' majority says, never in their place. The gains that the authors of *Neuronal Group Communication* released
are best of five over topologies.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

from inn.system.errors import InputError

_NUMBER = re.compile(r"-?\$?\d[\d,]*(?:\.\d+)?")


def questions(file: str | None = None, count: int | None = None, **_: Any) -> dict[str, Any]:
    """The data set of a task, from `metadata`: a JSONL file of `question` and `answer`, the first `count` of them.

    The answer is what follows `####`, as in GSM8K, or all of it. Raises `InputError` for a file that is not like this.
    """
    from datasets import Dataset

    from inn.system.files import plain_errors

    if file is None:
        raise InputError('the task needs its questions: --metadata \'{"file": "QUESTIONS.jsonl"}\'')
    with plain_errors(file):
        lines = Path(file).read_text("utf-8").splitlines()
    found = []
    for i, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            found.append({"question": str(row["question"]), "answer": str(row["answer"])})
        except (ValueError, KeyError, TypeError):
            raise InputError(f"{file}, line {i}: not a JSON object with 'question' and 'answer'") from None
    if not found:
        raise InputError(f"{file} holds no questions")
    return {"test": Dataset.from_list(found[:count])}


def every_sample(samples: Any, docs: Any) -> Any:
    """A filter of the harness that keeps all samples of a question."""
    return samples


def judged(doc: dict[str, str], results: list[Any]) -> dict[str, float]:
    """Score the samples of one question, the only of `results`; of a single one there is `exact_match` only.

    >>> judged({"answer": "so it is\\n#### 1,200"}, [["$1200.", "about 7", "1200", "1,200.0"]])
    {'exact_match': 0.75, 'majority': 1.0, 'best_of_k': 1.0}
    """
    right = final(doc["answer"].rsplit("####", 1)[-1])
    samples = results[0] if isinstance(results[0], list) else results
    given = [final(sample) for sample in samples]
    single = sum(answer == right for answer in given) / len(given)
    if len(given) == 1:
        return {"exact_match": single}
    (first, _), *_ = Counter(given).most_common(1)
    return {"exact_match": single, "majority": float(first == right), "best_of_k": float(right in given)}


def final(text: str) -> str:
    """The last number of a text, written plainly; the text itself where it has none.

    >>> final("2 + 2 = $4.00."), final(" Paris. ")
    ('4', 'paris')
    """
    numbers = _NUMBER.findall(text)
    if not numbers:
        return text.strip().rstrip(".").lower()
    number: str = numbers[-1].replace("$", "").replace(",", "")
    return number.rstrip("0").rstrip(".") if "." in number else number
