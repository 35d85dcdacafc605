"""Rules: trees as scikit-learn grows them, questions about words, marks and sequences."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from inn.analysis.rules.automaton import Automaton, automaton
from inn.analysis.rules.questions import answers, questions
from inn.analysis.rules.read import Read
from inn.analysis.rules.trees import grow
from inn.data.names import Names
from inn.data.vocabulary import Characters
from inn.inference.examples import auroc
from inn.system.errors import InputError


@pytest.mark.parametrize("outputs", [1, 3])
def test_trees_are_those_of_scikit_learn(outputs: int) -> None:
    """Best first, by the variance that is explained; of one outcome 0 or 1 that is the Gini impurity."""
    metrics = pytest.importorskip("sklearn.metrics")
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    generator = torch.Generator().manual_seed(outputs)
    asked = torch.rand(600, 12, generator=generator) < torch.linspace(0.1, 0.9, 12)
    noise = torch.rand(600, 2, outputs, generator=generator)
    y = ((asked[:, :1, None] & asked[:, 1:2, None]) * 0.5 + asked[:, 2:3, None] * noise + noise > 0.8).float()
    for u, tree in enumerate(grow(asked, y, leaves=6, least=20)):
        learner = DecisionTreeClassifier if outputs == 1 else DecisionTreeRegressor
        theirs = learner(max_leaf_nodes=6, min_samples_leaf=20, random_state=0).fit(asked.numpy(), y[:, u].numpy())
        told = theirs.predict_proba(asked.numpy())[:, 1:] if outputs == 1 else theirs.predict(asked.numpy())
        torch.testing.assert_close(tree.values(asked), torch.tensor(told, dtype=torch.float32), atol=1e-5, rtol=0)
        label = y[:, u, 0] > 0
        assert auroc(tree.values(asked)[:, 0].numpy(), label.numpy()) == pytest.approx(
            metrics.roc_auc_score(label.numpy(), tree.values(asked)[:, 0].numpy())
        )


def test_values_of_a_variable_are_asked_for_together() -> None:
    """Two of five symbols, of which each alone says less than a question beside them."""
    symbol = torch.arange(500) % 5
    asked = torch.stack([*(symbol == i for i in range(5)), torch.arange(500) % 3 == 0], 1)
    wanted = (symbol == 1) | (symbol == 4)
    (tree,) = grow(asked, wanted.float()[:, None], leaves=2, variables=[range(5)])
    assert [leaf.path for leaf in tree.leaves] == [(((1, 4), False),), (((1, 4), True),)]
    torch.testing.assert_close(tree.values(asked)[:, 0], wanted.float(), atol=1e-6, rtol=0)


def test_questions_of_a_text() -> None:
    """What is asked about words, quotes, brackets and lines is answered as a reader would."""
    text = 'He said "a (b" cd))\nefg 121 1. "H' + " x" * 35
    v = Characters(text)
    rows = v.encode(text)[None].astype(np.int64)
    read = Read(rows, np.arange(rows.size)[None] == 0, rows.size, v, {})
    asked = questions(read)
    found = {q.yes: of for q, of in zip(asked, answers(asked, read).T.tolist(), strict=True)}

    def where(said: str) -> str:
        return "".join(c for c, yes in zip(text, found[said], strict=True) if yes)

    assert where('inside " "') == '"a (b"H' + " x" * 35
    assert where("open brackets ≥ 1") == '(b" cd'
    assert where("letters of the word ≥ 2") == "eaiddfg21"
    assert where("digits in a row ≥ 2") == "21"
    assert where("the word before is 'efg'") == " 121"
    assert where("symbols into the line ≥ 5").startswith('aid "a')
    assert where("last is 'g'") == "g"


def test_questions_of_sequences() -> None:
    """Each sequence is counted from its own beginning."""
    v = Names(["0", "1"])
    rows = np.array([[1, 0, 1, 1, 0, 1, 1, 0, 0, 1]])
    begins = np.array([[True, False, False, False, True, *[False] * 5]])
    read = Read(rows, begins, 10, v, {})
    asked = questions(read)
    found = {q.yes: of for q, of in zip(asked, answers(asked, read).T.int().tolist(), strict=True)}
    assert found["the number of '1' so far, modulo 2, is 0"] == [0, 0, 1, 0, 1, 0, 1, 1, 1, 0]
    assert found["2nd last is '1'"] == [0, 1, 0, 1, 0, 0, 1, 1, 0, 0]
    assert found["steps into the sequence ≥ 3"] == [0, 0, 1, 1, 0, 0, 1, 1, 1, 1]


def of_table(following: np.ndarray, answer: np.ndarray) -> Automaton:
    names = tuple(map(str, range(max(following.shape[1], answer.max() + 1))))
    return Automaton(following, answer, names[: following.shape[1]], names)


@pytest.mark.parametrize("states, symbols", [(1, 2), (3, 1), (5, 2), (9, 3), (14, 2)])
def test_automata_are_learned_from_their_answers(states: int, symbols: int) -> None:
    """Random ones, minimised by splitting states; and whatever is learned is minimal already."""
    rng = np.random.default_rng(states)
    true = of_table(rng.integers(0, states, (states, symbols)), rng.integers(0, 2, (states, symbols)))
    learned = automaton(true.read, true.symbols, true.answers, length=64)
    assert learned.states == true.minimal().states == learned.minimal().states
    assert learned.same_as(true)
    strings = rng.integers(0, symbols, (20, 300))
    np.testing.assert_array_equal(learned.read(strings), true.read(strings))
    other = of_table(true.following, 1 - true.answer)
    assert not learned.same_as(other)


def test_what_is_told_apart_late_takes_a_string_that_does_it() -> None:
    """Seven symbols in a row before anything is answered: single symbols tell nothing apart."""
    following, answer = np.stack([np.zeros(7, int), (np.arange(7) + 1) % 7], 1), np.zeros((7, 2), int)
    answer[6, 1] = 1
    learned = automaton(of_table(following, answer).read, ["stop", "go"], ["-", "ring"], length=400)
    assert learned.following.tolist() == following.tolist()
    assert learned.table()[6] == ["6", "0 / -", "0 / ring"]
    assert "s6 --> s0 : stop / -, go / ring" in learned.mermaid()
    assert learned.svg().count("<circle") == 7


def test_what_counts_without_end_is_refused() -> None:
    """How many more ones than zeros there were takes a state for each number."""
    with pytest.raises(InputError, match="no automaton of up to 20 states"):
        automaton(lambda s: (np.cumsum(2 * s - 1, 1) > 0).astype(int), ["0", "1"], ["no", "yes"], states=20)


def test_answers_that_are_drawn_are_refused() -> None:
    """A state for what was drawn would be told from itself for ever."""
    rng = np.random.default_rng(0)
    with pytest.raises(InputError, match=r"asked again|no automaton"):
        automaton(lambda strings: (rng.random(strings.shape) < 0.02).astype(int), ["0", "1"], ["no", "yes"])
