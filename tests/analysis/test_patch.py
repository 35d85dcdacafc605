"""Patching: a neuron's memory of one text in the place of another's."""

from __future__ import annotations

import pytest
import torch

import inn
from inn.analysis.lesions.patch import patch, transplanted
from inn.system.errors import InputError


def model(**fields):
    torch.manual_seed(0)
    return inn.INN(**{"vocab": 7, "neurons": 3, "width": 8, "rounds": 2, "recall": [], **fields}).eval()


A, B, THEN = (torch.randint(7, (n,), generator=torch.Generator().manual_seed(n)) for n in (40, 25, 12))


@torch.no_grad()
def probabilities(m, *texts):
    state = None
    for text in texts:
        logits, state = m(text[None], state)
    return logits[0].double().softmax(-1)


def test_all_neurons_patched_have_read_the_other_text():
    m = model()
    found = patch(m, A, B, THEN, [0, 1, 2])
    torch.testing.assert_close(found.patched, probabilities(m, B, THEN))
    torch.testing.assert_close(found.plain, probabilities(m, A, THEN))
    kl = (found.patched * (found.patched / found.plain).log2()).sum(-1)
    torch.testing.assert_close(found.divergence, kl.clamp_min(0))


@pytest.mark.parametrize("neurons", [[], [0], [0, 1, 2]])
def test_its_own_memory_changes_nothing(neurons):
    assert patch(model(recall=[2, 3], slots=64), A, A, THEN, neurons).divergence.abs().max() == 0


def test_one_patched_neuron_alone_by_hand():
    m = model()
    with torch.no_grad():
        _, into = m(A[None])
        _, source = m(B[None])
        mixed = inn.State({k: torch.where(torch.arange(3).view(1, 3, *[1] * (t.ndim - 2)) == 1, source[k], t)
                           for k, t in into.items()})  # fmt: skip
        by_hand = m(THEN[None], mixed)[0][0].double().softmax(-1)
    found = patch(m, A, B, THEN, [1])
    torch.testing.assert_close(found.patched, by_hand)
    assert found.divergence.max() > 0


def test_without_messages_only_the_patched_neuron_is_touched():
    m = model(router="none")
    with torch.no_grad():
        _, into = m(A[None])
        _, source = m(B[None])
        patched = transplanted(into, source, [2])
        with inn.record(m, "outputs") as plain:
            m(THEN[None], into)
        with inn.record(m, "outputs") as changed:
            m(THEN[None], patched)
    assert torch.equal(plain.last_outputs[:, :, :2], changed.last_outputs[:, :, :2])
    assert not torch.equal(plain.last_outputs[:, :, 2], changed.last_outputs[:, :, 2])


def test_what_is_recalled_stays_and_no_state_is_changed():
    m = model(recall=[2, 3], slots=64)
    with torch.no_grad():
        _, into = m(A[None])
        _, source = m(B[None])
    before = into.clone()
    patched = transplanted(into, source, [0])
    assert all(torch.equal(into[key], before[key]) for key in into)
    for name in ("table", "recent"):
        assert torch.equal(patched[-1, name], into[-1, name])
        assert not torch.equal(source[-1, name], into[-1, name])
    assert torch.equal(patched[0, "ssm"][:, 0], source[0, "ssm"][:, 0])
    assert torch.equal(patched[0, "ssm"][:, 1:], into[0, "ssm"][:, 1:])


def test_mistakes():
    m = model()
    for texts in ((A[:0], B, THEN), (A, B[None], THEN), (A, B, THEN[:0])):
        with pytest.raises(InputError, match="must be one text of at least a symbol"):
            patch(m, *texts, [0])
    with pytest.raises(InputError, match="no neuron 3 to patch among 3"):
        patch(m, A, B, THEN, [3])
    with pytest.raises(InputError, match="different models or numbers of streams"):
        transplanted(m.initial_state(1), m.initial_state(2), [0])
    with pytest.raises(InputError, match="different models or numbers of streams"):
        transplanted(m.initial_state(1), model(rounds=1).initial_state(1), [0])
