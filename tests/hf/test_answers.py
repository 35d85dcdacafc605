"""Questions with one right answer in EleutherAI's harness: one sample, the majority of five, the best of five."""

from __future__ import annotations

import json

import pytest

import inn.hf.lm_eval
from inn.hf.lm_eval.answers import final, judged, questions
from inn.system.errors import InputError

ROWS = [
    {"question": "2 + 2?", "answer": "Two and two.\n#### 4"},
    {"question": "A thousand and two hundred?", "answer": "#### 1,200"},
    {"question": "The capital of France?", "answer": "Paris"},
]
SAMPLES = {
    "2 + 2?": ["it is 4", "5", "5", "so 4.0", "4"],
    "A thousand and two hundred?": ["12", "13", "12", "$1,200.00", "no idea"],
    "The capital of France?": ["Rome"] * 5,
}


@pytest.fixture
def file(tmp_path):
    file = tmp_path / "questions.jsonl"
    file.write_text("\n".join(map(json.dumps, ROWS)) + "\n\n")
    return file


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("#### -3", "-3"),
        ("1,234,567 apples", "1234567"),
        ("from 3 to 0.50", "0.5"),
        ("10", "10"),
        ("x.", "x"),
        ("", ""),
    ],
)
def test_the_final_answer(text, answer):
    assert final(text) == answer


def test_one_sample_has_no_best_of_k():
    assert judged({"answer": "4"}, ["4"]) == {"exact_match": 1.0}
    assert judged({"answer": "4"}, [["14"]]) == {"exact_match": 0.0}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no questions"),
        ('{"question": "?"}', "line 1"),
        ('{"question": "?", "answer": "!"}\nno', "line 2"),
        ("[]", "line 1"),
    ],
)
def test_bad_files(tmp_path, text, message):
    pytest.importorskip("datasets")
    (tmp_path / "bad.jsonl").write_text(text)
    with pytest.raises(InputError, match=message):
        questions(str(tmp_path / "bad.jsonl"))


def test_no_file():
    pytest.importorskip("datasets")
    with pytest.raises(InputError, match="needs its questions"):
        questions()
    with pytest.raises(InputError, match="no such file"):
        questions("nowhere.jsonl")


def test_in_the_harness(file):
    """A model that says what is written above: every measure is known."""
    pytest.importorskip("lm_eval", reason="lm_eval is not installed; pip install lm_eval")
    from lm_eval import simple_evaluate
    from lm_eval.api.model import LM
    from lm_eval.tasks import TaskManager

    class Parrot(LM):
        def __init__(self):
            super().__init__()
            self.said: dict[str, int] = {}

        def generate_until(self, requests, **_):
            answers = []
            for request in requests:
                question = request.args[0].split("Question: ")[1].split("\n")[0]
                turn = self.said.get(question, 0)
                self.said[question] = turn + 1
                answers.append(SAMPLES[question][turn % 5])
            return answers

        def loglikelihood(self, requests, **_):
            raise AssertionError

        loglikelihood_rolling = loglikelihood

    tasks = TaskManager(include_path=inn.hf.lm_eval.__path__[0], include_defaults=False, metadata={"file": str(file)})
    tasks_ = ["inn_answers", "inn_answers_sampled"]
    found = {task: simple_evaluate(Parrot(), tasks=[task], task_manager=tasks, bootstrap_iters=0) for task in tasks_}
    one, five = (found[task]["results"][task] for task in tasks_)
    assert "best_of_k,none" not in one
    assert five["best_of_k,none"] == pytest.approx(2 / 3)
    assert five["exact_match,none"] == pytest.approx((3 / 5 + 1 / 5 + 0) / 3)
    assert five["majority,none"] == pytest.approx(1 / 3)
