"""Models of signals: one contract over every kind, head and pool; units, missing values, quantiles, bad input."""

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import inn
import inn.testing
from inn.config.assemble import model_config
from inn.data.examples import IGNORED
from inn.models.build import build_model
from inn.models.names import filed
from inn.models.size import with_parameters
from inn.nn.state import State
from inn.system.errors import InputError

SMALL = {
    "signal": {"neurons": 3, "width": 4, "rounds": 2, "memory": {"kind": "mamba", "state": 2}},
    "signal-lstm": {"width": 8, "layers": 2},
    "signal-gru": {"width": 8, "layers": 2},
    "signal-mamba": {"width": 8, "layers": 2, "memory": {"kind": "mamba", "state": 2}},
    "signal-transformer": {"width": 8, "heads": 2, "layers": 2, "window": 4},
}
HEADS = {"classes": 4, "values": 2, "next": 3, "quantiles": 2}
ALL = list(itertools.product(SMALL, HEADS, ("none", "mean")))
B, T, N = 2, 9, 3


def built(kind, head="values", pool="none", **fields):
    torch.manual_seed(0)
    config = model_config(
        kind, **{"features": N, "outputs": HEADS[head], "head": head, "pool": pool, **SMALL[kind]}, **fields
    )
    return build_model(config).double().eval()


def signal(*shape, seed=1, missing=0.2):
    torch.manual_seed(seed)
    x = torch.randn(*shape or (B, T, N), dtype=torch.float64)
    return torch.where(torch.rand(x.shape) < missing, torch.nan, x)


def set_units(model):
    """Means and scales that are not those of the start."""
    rng = np.random.default_rng(0)
    outputs = rng.normal(-2, 5, (50, model.config.outputs))
    return model.standardise(rng.normal(7, 3, (50, N)), outputs if model.config.head != "next" else None)


@pytest.mark.parametrize("kind, head, pool", ALL)
def test_the_contract_of_models(kind, head, pool):
    inn.testing.check_model(kind, outputs=HEADS[head], head=head, pool=pool, **SMALL[kind])


@pytest.mark.parametrize("kind, head, pool", ALL)
def test_any_split_equals_one_pass_gradients_included(kind, head, pool):
    model, x = set_units(built(kind, head, pool)), signal(2, 13, N)
    reset, mask = torch.rand(2, 13) < 0.2, torch.rand(2, 13) < 0.8
    reset[0, 4], mask[0, 4] = True, False

    def run(cuts):
        state, told = None, []
        for a, b in itertools.pairwise([0, *cuts, 13]):
            y, state = model(x[:, a:b], state, reset=reset[:, a:b], mask=mask[:, a:b])
            told.append(y)
        y = torch.cat(told, 1)[mask]
        model.zero_grad()
        (y.sin().sum() + sum(t.sin().sum() for t in state.values() if t.is_floating_point())).backward()
        return [y, *(state[key] for key in sorted(state)), *(p.grad for p in model.parameters())]

    for found, expected in zip(run([3, 4, 10]), run([]), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("kind, head, pool", ALL)
def test_the_state_is_a_value_that_gradients_reach(kind, head, pool):
    model = set_units(built(kind, head, pool))
    state = model(signal(missing=0.0))[1]
    kept = state.clone()
    model(signal(), state, mask=torch.rand(B, T) < 0.5, reset=torch.rand(B, T) < 0.5)
    model.step_(signal(B, N), state.clone())
    assert all(torch.equal(state[key], kept[key]) for key in kept)
    leaves = {k: t.detach().requires_grad_() for k, t in state.items() if t.is_floating_point()}
    model(signal(B, 1, N, missing=1.0), State({**state, **leaves}))[0].sin().sum().backward()
    assert all(t.grad is not None and t.grad.abs().sum() > 0 for t in leaves.values())


@pytest.mark.parametrize("kind", SMALL)
def test_a_mask_and_nan_behind_it_change_nothing(kind):
    model, x = set_units(built(kind, "next", "mean")), signal()
    mask = torch.ones(B, T, dtype=torch.bool)
    mask[0, 6:] = False
    padded = x.masked_fill(~mask[..., None], torch.inf)
    y, state = model(padded, mask=mask)
    alone, after = model(x[:1, :6])
    torch.testing.assert_close(y[:1, :6], alone)
    for key, t in after.items():
        torch.testing.assert_close(state[key][:1], t)


def test_standardised_by_hand():
    model = build_model(model_config("signal-gru", features=3, outputs=2, width=8))
    inputs = np.array([[1.0, 5.0, np.nan], [3.0, 5.0, np.nan], [np.nan, 5.0, np.nan], [5.0, 5.0, np.nan]])
    targets = torch.tensor([[10.0, 0.1], [20.0, 0.1], [torch.nan, 0.1], [30.0, 0.1]])
    assert model.standardise(inputs, targets) is model
    assert model.input_mean.tolist() == [3.0, 5.0, 0.0]
    torch.testing.assert_close(model.input_scale, torch.tensor([(8 / 3) ** 0.5, 1.0, 1.0]))
    torch.testing.assert_close(model.target_mean, torch.tensor([20.0, 0.1]))
    torch.testing.assert_close(model.target_scale, torch.tensor([(200 / 3) ** 0.5, 1.0]))
    other = build_model(model.config)
    other.load_state_dict(model.state_dict())
    assert torch.equal(other.input_scale, model.input_scale)
    model.reset_parameters()
    assert model.target_scale.tolist() == [1.0, 1.0]


@pytest.mark.parametrize("kind", SMALL)
def test_units_are_those_of_the_data(kind):
    """A signal in other units, standardised by them, is told the same in other units."""
    plain, other = (built(kind, "values") for _ in range(2))
    rng, x = np.random.default_rng(0), signal()
    inputs, targets = rng.normal(size=(99, N)), rng.normal(size=(99, 2))
    plain.standardise(inputs, targets)
    other.standardise(inputs * 100 + 7, targets * 0.1 - 3)
    torch.testing.assert_close(other(x * 100 + 7)[0], plain(x)[0] * 0.1 - 3)
    wanted = torch.randn(B, T, 2, dtype=torch.float64)
    wanted[0, 3, 1] = torch.nan
    torch.testing.assert_close(other.loss(other(x * 100 + 7)[0], wanted * 0.1 - 3), plain.loss(plain(x)[0], wanted))
    assert plain.counted(wanted) == B * T * 2 - 1


@pytest.mark.parametrize("kind", SMALL)
def test_what_is_missing_is_known_to_be_missing(kind):
    model = set_units(built(kind))
    x = signal(missing=0.0)
    x[0, 4, 1] = model.input_mean[1]
    gone = x.clone()
    gone[0, 4, 1] = torch.nan
    torch.testing.assert_close(model(gone)[0], model(x)[0])  # at the start, as the mean
    assert not model.input.weight[:, N:].any()
    torch.nn.init.normal_(model.input.weight)
    assert not torch.allclose(model(gone)[0][0, 4:], model(x)[0][0, 4:])
    torch.testing.assert_close(model(gone)[0][:, :4], model(x)[0][:, :4])


def test_the_next_step_is_told_as_a_change_from_the_last_value_given():
    model = set_units(built("signal-gru", "next"))
    torch.nn.init.zeros_(model.head.weight)
    x = torch.tensor([[[1.0, torch.nan, 3.0], [torch.nan, 5.0, torch.nan], [7.0, torch.nan, torch.nan]]]).double()
    mean = float(model.input_mean[1])
    told, state = model(x)
    torch.testing.assert_close(told[0], torch.tensor([[1.0, mean, 3.0], [1.0, 5.0, 3.0], [7.0, 5.0, 3.0]]).double())
    reset = torch.tensor([[True, False, False]])
    again = model(torch.full_like(x, torch.nan), state, reset=reset)[0]
    torch.testing.assert_close(again[0], model.input_mean.expand(3, -1))
    assert torch.equal(model(torch.full_like(x, torch.nan), state)[0][0], told[0, -1:].expand(3, -1))


def test_quantiles_never_cross_and_start_as_a_normal_distribution():
    model = set_units(built("signal", "quantiles", quantiles=[0.05, 0.25, 0.5, 0.9]))
    told = (model(signal())[0] - model.target_mean[:, None]) / model.target_scale[:, None]
    assert told.shape == (B, T, 2, 4)
    normal = torch.tensor([-1.645, -0.674, 0.0, 1.282]).double()
    torch.testing.assert_close(told.mean((0, 1, 2)), normal, atol=0.1, rtol=0)
    torch.nn.init.normal_(model.head.weight, std=9.0)
    assert (model(signal())[0].diff(dim=-1) >= 0).all()
    y, wanted = model(signal())[0], torch.randn(B, T, 2, dtype=torch.float64)
    off = (wanted[..., None] - y) / model.target_scale[:, None]
    q = torch.tensor([0.05, 0.25, 0.5, 0.9])
    torch.testing.assert_close(model.loss(y, wanted), torch.where(off > 0, q * off, (q - 1) * off).sum() / 4)


@pytest.mark.parametrize(
    "kind, head", [("gru", ""), ("signal-gru", "classes"), ("signal", "values"), ("signal", "quantiles")]
)
def test_weights_of_rows_and_targets_that_do_not_count(kind, head):
    if head:
        model, x = set_units(built(kind, head)), signal()
    else:
        model, x = build_model(model_config(kind, vocab=4, width=8)).double(), torch.randint(4, (B, T))
    classes = head in ("", "classes")
    targets = torch.randint(4, (B, T)) if classes else torch.randn(B, T, 2, dtype=torch.float64)
    targets[0, 2:5] = IGNORED if classes else torch.nan
    y = model(x)[0].detach().requires_grad_()
    rows = [model.loss(y[i : i + 1], targets[i : i + 1]) for i in range(B)]
    torch.testing.assert_close(model.loss(y, targets), sum(rows))
    weighted = model.loss(y, targets, torch.tensor([3.0, 0.5]))
    torch.testing.assert_close(weighted, 3 * rows[0] + 0.5 * rows[1])
    assert model.counted(targets) == (B * T - 3) * (1 if classes else 2)
    ignored = targets == IGNORED if classes else targets.isnan()
    shown = y.masked_fill(ignored.view(B, T, -1, *[1] * (y.ndim - 3)), torch.nan)
    (grad,) = torch.autograd.grad(model.loss(shown, targets), y)
    assert grad.isfinite().all()
    assert (grad[0, 2:5] == 0).all()


def test_the_loss_of_classes_is_a_cross_entropy():
    model = built("signal-lstm", "classes")
    y, targets = model(signal())[0], torch.randint(4, (B, T))
    expected = F.cross_entropy(y.flatten(0, 1).float(), targets.flatten(), reduction="sum")
    assert torch.equal(model.loss(y, targets), expected)


@pytest.mark.parametrize(
    "given, sentence",
    [
        (torch.zeros(B, T, 4), "reads signals of 3 features, not of 4"),
        (torch.zeros(B, T), r"\[B, T, 3\], which is \[batch, time, features\], not \[2, 9\]"),
        (torch.zeros(B, T, N, dtype=torch.long), "not torch.int64; convert it"),
        (np.zeros((B, T, N)), "must be a tensor"),
        (torch.zeros(B, T, N).index_fill(1, torch.tensor([4]), torch.inf), "infinite at row 0, step 4, feature 0"),
    ],
)
def test_bad_signals_are_refused_in_a_sentence(given, sentence):
    with pytest.raises(InputError, match=sentence):
        built("signal-gru")(given)


def test_other_mistakes_are_refused_in_a_sentence():
    model = built("signal")
    with pytest.raises(InputError, match=r"takes \[B, 3\], one vector for each stream, not \[3\]"):
        model.step(torch.zeros(3))
    with pytest.raises(InputError, match="reads numbers and writes no text"):
        model.generate("abc")
    with pytest.raises(InputError, match=r"inputs to standardise by must be \[steps, 3\], not \[5, 2\]"):
        model.standardise(np.zeros((5, 2)))
    with pytest.raises(InputError, match="input 1 is infinite"):
        model.standardise(np.array([[0.0, np.inf, 0.0]]))
    with pytest.raises(InputError, match="quantiles does nothing with head 'auto'; set head quantiles"):
        model_config("signal", quantiles=[0.5])
    with pytest.raises(InputError, match="quantiles must rise"):
        model_config("signal-lstm", head="quantiles", quantiles=[0.5, 0.1])
    with pytest.raises(InputError, match="head 'next' tells the 3 features, not 2 outputs"):
        model_config("signal-mamba", features=3, outputs=2, head="next")


@pytest.mark.parametrize("kind", SMALL)
def test_the_width_for_a_number_of_parameters(kind):
    config = with_parameters(built(kind).config, 30_000)
    model = build_model(config)
    assert abs(model.num_parameters - 30_000) < 6_000
    assert sum(model.parameters_by_part().values()) == model.num_parameters
    assert model.flops().keys() >= {"input", "head"}


def test_the_next_step_is_told_in_units_of_the_change():
    model = build_model(inn.model_config("signal-gru", features=1, outputs=1, head="next", width=4))
    inputs = np.array([[0.0], [10.0], [30.0], [5.0], [6.0]])
    model.standardise(inputs, np.array([[10.0], [30.0], [np.nan], [6.0], [np.nan]]))  # two sequences
    assert model.target_scale.item() == pytest.approx(np.std([10.0, 20.0, 1.0]))
    assert model.input_scale.item() == pytest.approx(inputs.std())
    model.standardise(inputs)
    assert model.target_scale.item() == pytest.approx(np.std([10.0, 20.0, -25.0, 1.0]))


def test_the_data_says_what_is_told_and_a_person_may_choose_among_that():
    from inn.config.sizes import with_sizes

    def head(chosen: str, data: str) -> str:
        return with_sizes(vars(inn.model_config("signal", head=chosen)), {"features": 2, "outputs": 2, "head": data})[
            "head"
        ]

    assert [head("auto", data) for data in ("classes", "values", "next")] == ["classes", "values", "next"]
    assert [head(chosen, "next") for chosen in ("values", "quantiles", "next")] == ["values", "quantiles", "next"]
    for chosen, data in (("values", "classes"), ("classes", "next"), ("next", "values")):
        with pytest.raises(InputError, match=f"which head '{chosen}' does not; leave model.head out"):
            with_sizes(
                {"kind": "signal", "features": 1, "outputs": 1, "head": chosen},
                {"features": 2, "outputs": 2, "head": data},
            )


@pytest.mark.parametrize("kind", SMALL)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, "autocast"], ids=str)
def test_other_types_come_close(kind, dtype):
    model, x = set_units(built(kind, "next", "mean")), signal()
    expected = model(x, model(x)[1])[0]
    model = model.float() if dtype == "autocast" else model.to(dtype)
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == "autocast"):
        y, state = model(x.float(), model(x.float())[1])
    kept = {torch.float32, torch.int64, *([dtype] if dtype == torch.bfloat16 else [])}
    assert {t.dtype for t in state.values()} <= kept
    torch.testing.assert_close(y.double(), expected, rtol=0.1, atol=0.3)


@pytest.mark.parametrize("kind", SMALL)
def test_transforms_of_torch_func(kind):
    model, x = set_units(built(kind, "next", "mean")), signal()
    parameters = dict(model.named_parameters())

    def loss(own, rows):
        return torch.func.functional_call(model, own, (rows,))[0].sin().sum()

    whole = torch.func.grad(loss)(parameters, x)
    each = torch.func.vmap(torch.func.grad(loss), (None, 0))(parameters, x[:, None])
    along = {name: torch.randn_like(p) for name, p in parameters.items()}
    slope = torch.func.jvp(lambda own: loss(own, x), (parameters,), (along,))[1]
    torch.testing.assert_close(slope, sum((whole[name] * along[name]).sum() for name in whole))
    for name, g in whole.items():
        torch.testing.assert_close(each[name].sum(0), g)


@pytest.mark.parametrize("kind", SMALL)
def test_steps_in_place_change_nothing_of_the_model(kind):
    model, x = set_units(built(kind, "next", "mean")), signal(1, T, N)
    before, state = {name: t.clone() for name, t in model.state_dict().items()}, None
    for t in range(T):
        y, state = model.step_(x[:, t], state)
    torch.testing.assert_close(y, model(x)[0][:, -1])
    for key, t in model(x)[1].items():
        torch.testing.assert_close(state[key], t)
    assert all(torch.equal(t, before[name]) for name, t in model.state_dict().items())
    y, after = model.step_(x[:, 0], state)
    assert (after is state) == (kind in ("signal", "signal-mamba"))


@pytest.mark.parametrize("kind", SMALL)
def test_it_is_made_without_memory_and_loads_under_the_names_of_files(kind):
    model = set_units(built(kind, "quantiles"))
    with torch.device("meta"):
        bare = build_model(model.config)
    bare = bare.to_empty(device="cpu").double()
    bare.reset_parameters()
    assert all(t.isfinite().all() for t in bare.state_dict().values())
    bare.load_state_dict({filed(name): t for name, t in model.state_dict().items()})
    torch.testing.assert_close(bare(signal())[0], model(signal())[0])


def test_closed_edges_reach_the_graph():
    model, x, edges = built("signal"), signal(), inn.Edges.complete(3)
    torch.testing.assert_close(model(x, edges=edges)[0], model(x)[0])
    alone = edges.close([(i, j) for i in range(3) for j in range(3) if i != j])
    assert not torch.allclose(model(x, edges=alone)[0], model(x)[0])
