"""The state as a value."""

import pytest
import torch

from inn.nn.state import State


def tree():
    return State({(0, "conv"): torch.randn(2, 3, 4), (1, "ssm"): torch.randn(2, 3, 5, 6, requires_grad=True)})


def test_selecting_and_joining():
    s = tree()
    left, right = s.select_neurons([0]), s.select_neurons([1, 2])
    joined = left.concat_neurons(right)
    assert all(torch.equal(joined[k], s[k]) for k in s)
    assert torch.equal(s.select_batch([1, 1, 0])[0, "conv"][1], s[0, "conv"][1])
    with pytest.raises(ValueError, match="different rounds"):
        s.concat_neurons(State({(0, "conv"): torch.zeros(2, 1, 4)}))


def test_values_are_not_shared_by_clone_and_not_tracked_after_detach():
    s = tree()
    copy = s.clone()
    with torch.no_grad():
        copy[0, "conv"].zero_()
    assert s[0, "conv"].abs().sum() > 0
    assert not any(t.requires_grad for t in s.detach().values())
    assert s.to(torch.float64)[0, "conv"].dtype == torch.float64
    assert s.bytes == 4 * (2 * 3 * 4 + 2 * 3 * 5 * 6)


def test_a_cast_leaves_integers_alone():
    """Counts and symbols: 1000 is not a number of bfloat16."""
    s = State({(0, "ssm"): torch.ones(1, 2), (0, "table"): torch.full((1, 2), 1001, dtype=torch.int32)})
    there = s.to(torch.bfloat16)
    assert there[0, "ssm"].dtype == torch.bfloat16
    assert torch.equal(there[0, "table"], s[0, "table"])
    assert {t.device.type for t in s.to("meta").values()} == {"meta"}


def test_file_form_round_trips_and_refuses_the_future():
    s = tree()
    back = State.from_tensors(s.to_tensors())
    assert set(back) == set(s)
    assert all(torch.equal(back[k], s[k]) for k in s)
    with pytest.raises(ValueError, match="newer"):
        State.from_tensors({"v9/0/ssm": torch.zeros(1)})
