"""Numbers as counts of spikes: the code, its expansions in time, and the maps that read them."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import inn
from inn.nn.spikes import CODES, coded, counts, expanded, sent
from inn.system.errors import InputError

SMALL = {
    "vocab": 11,
    "neurons": 3,
    "width": 8,
    "rounds": 2,
    "recall": {"kind": "last", "contexts": [1], "slots": 16, "width": 4},
}
TOKENS = torch.arange(18).reshape(2, 9) % 11


def test_counts_are_multiples_of_the_mean_size_by_k():
    x = torch.tensor([[1.0, -2.0, 3.0, 0.0], [0.0] * 4, [2.0, 2.0, -2.0, 2.0]])
    s, unit = counts(x, 2)
    assert s.tolist() == [[1, -3, 4, 0], [0, 0, 0, 0], [2, 2, -2, 2]]  # 1 / 0.75 and so on, rounded
    assert unit[:, 0].tolist() == [0.75, 0.0, 1.0]
    assert torch.equal(coded(x, 2), s * unit)
    assert coded(x.bfloat16(), 2).dtype == torch.bfloat16


def test_the_gradient_goes_through_as_if_nothing_were_rounded():
    x = torch.randn(5, 4, requires_grad=True)
    y = coded(x, 1)
    with torch.no_grad():
        assert torch.equal(y, coded(x, 1))
    y.mul(torch.arange(4.0)).sum().backward()
    assert torch.equal(x.grad, torch.arange(4.0).expand(5, 4))


@given(st.lists(st.integers(-40, 40), max_size=12), st.sampled_from(sorted(CODES)))
def test_spikes_times_weights_are_the_count_and_their_products_the_integer_product(numbers, code):
    s = torch.tensor(numbers, dtype=torch.float32)
    spikes, weights = expanded(s, code)
    assert torch.equal((weights[:, None] * spikes).sum(0), s.long())
    assert int(spikes.abs().max()) <= 1 if spikes.numel() else True
    if code in ("binary", "complement"):
        assert not (spikes < 0).any()
    assert torch.equal(sent(s, code), spikes.abs().sum(0))
    matrix = torch.arange(-7, -7 + 3 * len(numbers)).reshape(3, -1)
    each = spikes @ matrix.T  # what a map adds up at each step
    assert torch.equal((weights[:, None] * each).sum(0), s.long() @ matrix.T)


@pytest.mark.parametrize(
    ("code", "counts", "steps"),
    [
        ("binary", [3, 0, 1], 3), ("binary", [3, -2], 5), ("ternary", [3, -5], 5), ("bitwise", [8, -8], 4),
        ("bitwise", [7], 3), ("complement", [-8], 5), ("complement", [7], 4), ("ternary", [0], 0), ("bitwise", [0], 0),
    ],
)  # fmt: skip
def test_as_many_steps_as_the_tensor_needs(code, counts, steps):
    assert len(expanded(torch.tensor(counts), code)[1]) == steps


def test_bad_counts_and_codes_are_refused():
    with pytest.raises(InputError, match="spike code"):
        expanded(torch.tensor([1]), "trinary")
    with pytest.raises(InputError, match="whole numbers"):
        expanded(torch.tensor([0.5]))
    with pytest.raises(InputError, match="spikes must be at least 0, not -1"):
        inn.INN(vocab=5, spikes=-1.0)


@pytest.mark.parametrize("fields", [{}, {"router": "attention"}, {"weights": "communal", "communal_states": 4},
                                    {"memory": "lif"}, {"memory": "gru"}])  # fmt: skip
def test_a_model_of_coded_maps_steps_as_it_reads_and_nears_the_plain_one(fields):
    torch.manual_seed(0)
    plain = inn.INN(**SMALL, **fields).eval()
    for k, most in ((1, None), (5000, 1e-2)):
        model = inn.INN(**SMALL, **fields, spikes=float(k)).eval()
        model.load_state_dict(plain.state_dict())
        with torch.no_grad():
            whole, bar = model(TOKENS)[0], plain(TOKENS)[0]
            apart = (whole - bar).abs().max()
            assert apart > 1e-3 if most is None else apart < most
            state, found = None, []
            for t in range(9):
                logits, state = model.step_(TOKENS[:, t], state)
                found.append(logits)
        torch.testing.assert_close(torch.stack(found, 1), whole, rtol=1e-4, atol=1e-4)
        assert torch.equal(copy.deepcopy(model)(TOKENS)[0], whole)


def test_what_is_spikes_already_is_not_coded_again():
    model = inn.INN(**SMALL, memory="lif", spikes=2.0)
    hooks = {name: len(m._forward_pre_hooks) for name, m in model.named_modules() if name.endswith("_proj")}
    assert hooks
    assert not any(hooks.values())
    assert len(model.graph.round(0).router.hear._forward_pre_hooks) == 1
