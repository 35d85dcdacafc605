"""What a finished model can recall of its training text, and that writing starts from it."""

from __future__ import annotations

import torch

import inn
from inn.config.assemble import stored_model
from inn.data.vocabulary import build_vocabulary
from inn.models.generate import complete, generate
from inn.models.inn import RECALL

SMALL = {"vocab": 27, "neurons": 3, "width": 8, "rounds": 1, "recall": [2, 3], "slots": 64}


def model(**fields):
    torch.manual_seed(0)
    made = inn.INN(stored_model({**SMALL, **fields})).eval()
    made.vocabulary = build_vocabulary("characters", "abcdefghijklmnopqrstuvwxyz ")
    return made


def text(n=500):
    return torch.randint(27, (n,), generator=torch.Generator().manual_seed(1))


def test_it_recalls_what_reading_the_text_would_have_left_and_nothing_else():
    made, read = model(), text()
    experience = made.after_reading(read)
    _, state = made(read[None])
    assert torch.equal(experience[RECALL, "table"], state[RECALL, "table"])
    fresh = made.initial_state(1)
    assert set(experience) == set(fresh)
    for key, part in experience.items():
        if key != (RECALL, "table"):
            assert torch.equal(part, fresh[key]), key


def test_a_model_without_recall_has_none():
    assert model(recall=[]).after_reading(text()) is None


def test_writing_starts_from_it_unless_told_otherwise():
    made = model()
    torch.nn.init.normal_(made.recall.shift, std=3.0)
    how = {"seed": 0, "temperature": 0.05}  # what is recalled decides
    plain = "".join(generate(made, "abc", 30, **how))
    made.experience = made.after_reading(text())
    before = made.experience.clone()
    experienced = "".join(generate(made, "abc", 30, **how))
    assert experienced != plain
    assert "".join(generate(made, "abc", 30, **how, fresh=True)) == plain
    prompts = ["abc", "xyz ab"]
    assert complete(made, prompts, 30, **how, fresh=True) != complete(made, prompts, 30, **how)
    for key, part in made.experience.items():
        assert torch.equal(part, before[key])  # writing leaves it as it was
