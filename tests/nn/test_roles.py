"""Roles: which neurons take the input in, and which are read out."""

from __future__ import annotations

import pytest
import torch

import inn
from inn.config.assemble import graph_config
from inn.system.errors import InputError

FIELDS = {"neurons": 5, "width": 4, "rounds": 2, "router": "attention", "router_options": {"heads": 2}}


def graph(input="split", topology="complete", sensors=(), read=(), readout="concat", **fields):
    torch.manual_seed(0)
    made = inn.Graph(
        **{**FIELDS, **fields}, input=input, topology=topology, readout=readout,
        topology_options={"sensors": list(sensors)}, readout_options={"read": list(read)},
    )  # fmt: skip
    with torch.no_grad():
        for p in made.parameters():
            p.add_(torch.randn(p.shape) * 0.1)
    return made.double()


@pytest.mark.parametrize("kind", ["complete", "ring", "groups"])
def test_input_is_split_among_the_sensors_alone(kind):
    some = graph(topology=kind, sensors=[3, 1])
    everyone = graph(topology=kind)
    x = torch.randn(2, 6, 8, dtype=torch.float64)
    whole = x.new_zeros(2, 6, 5, 4)
    whole[:, :, 3], whole[:, :, 1] = x[..., :4], x[..., 4:]
    assert some.in_features == 8
    torch.testing.assert_close(some(x)[0], everyone(whole.flatten(2))[0], rtol=0, atol=0)


def test_a_copied_input_reaches_the_sensors_alone():
    some = graph("copy", sensors=[0, 4])
    x = torch.randn(2, 3, 4, dtype=torch.float64)
    given = some.distribute(x)
    torch.testing.assert_close(given[:, :, [0, 4]], x[:, :, None].expand(-1, -1, 2, -1))
    assert not given[:, :, 1:4].any()


@pytest.mark.parametrize("readout", ["concat", "mean", "attention"])
@pytest.mark.parametrize("absent", [False, True])
def test_those_that_are_read_are_read_in_their_order(readout, absent):
    some, everyone = graph(read=[4, 2], readout=readout), graph()
    x = torch.randn(2, 6, 20, dtype=torch.float64)
    present = torch.rand(2, 6, 5) > 0.3 if absent else None
    y, _ = some(x, present=present)
    neurons = everyone(x, present=present)[0].unflatten(-1, (5, 4))[:, :, [4, 2]]
    assert y.shape[-1] == some.out_features
    if readout == "concat":
        torch.testing.assert_close(y, neurons.flatten(2))
    elif readout == "mean":
        count = 2 if present is None else present[:, :, [4, 2]].sum(2, keepdim=True).clamp_min(1)
        torch.testing.assert_close(y, neurons.sum(2) / count)


def test_who_is_absent_is_masked_by_its_number_and_not_by_its_place():
    some = graph(sensors=[3, 1])
    x = torch.randn(1, 4, 8, dtype=torch.float64)
    present = torch.ones(1, 4, 5, dtype=torch.bool)
    present[:, 1, 3] = False
    spoilt = x.clone()
    spoilt[:, 1, :4] = torch.nan
    torch.testing.assert_close(some(spoilt, present=present)[0], some(x, present=present)[0])


def test_any_split_of_time_and_steps_in_place_agree():
    torch.manual_seed(0)
    model = inn.INN(
        vocab=9, neurons=5, width=8, rounds=2, recall=[1], recall_options={"slots": 16, "width": 4},
        topology_options={"sensors": [0, 2]}, readout_options={"read": [1, 4]},
    ).double().eval()  # fmt: skip
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn(p.shape, dtype=p.dtype) * 0.1)
    tokens = torch.randint(9, (2, 12))
    whole, _ = model(tokens)
    first, state = model(tokens[:, :5])
    second, state = model(tokens[:, 5:10], state)
    torch.testing.assert_close(torch.cat((first, second), 1), whole[:, :10])
    for t in (10, 11):
        y, state = model.step_(tokens[:, t], state)
        torch.testing.assert_close(y, whole[:, t])


def test_what_is_recalled_is_no_input_of_inner_neurons():
    some = graph("copy", sensors=[2])
    recalled = torch.randn(1, 3, 5, 4, dtype=torch.float64)
    x, other = torch.randn(1, 3, 4, dtype=torch.float64), recalled.clone()
    other[:, :, [0, 1, 3, 4]] = 7
    torch.testing.assert_close(some(x, recalled=recalled)[0], some(x, recalled=other)[0], rtol=0, atol=0)


def test_channels_are_split_among_the_sensors():
    model = inn.build_model(
        inn.config.assemble.model_config(
            "signal", features=4, outputs=2, neurons=5, width=4, rounds=1, channels="split", router="attention",
            router_options={"heads": 2}, topology_options={"sensors": [1, 3]},
        )
    ).eval()  # fmt: skip
    x = torch.randn(2, 5, 4)
    x[0, 2, :2] = torch.nan
    present = model.present(x)
    assert present.shape == (2, 5, 5)
    assert (~present).nonzero().tolist() == [[0, 2, 1]]
    assert model(x)[0].isfinite().all()


def test_a_model_that_is_stored_has_its_roles():
    some = graph(sensors=[3, 1], read=[0])
    with torch.device("meta"):
        empty = inn.Graph(some.config)
    empty.to_empty(device="cpu").reset_parameters()
    assert empty.sensors.tolist() == [3, 1]
    assert empty.readout.places.tolist() == [0]
    assert {"sensors", "readout.places"} <= set(some.state_dict())
    assert not {"sensors", "readout.places"} & set(graph().state_dict())


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"topology_options": {"sensors": [5]}}, "sensors names neuron 5"),
        ({"topology_options": {"sensors": [1, 1]}}, "names a neuron twice"),
        ({"readout_options": {"read": [-1]}}, "read names neuron -1"),
    ],
)
def test_roles_of_neurons_that_are_not_there_are_refused(options, told):
    with pytest.raises(InputError, match=told):
        graph_config(**FIELDS, **options)


def test_neurons_of_different_roles_are_not_collapsed():
    model = inn.INN(
        vocab=5, neurons=3, width=8, rounds=1, input="copy", weights="shared", router="static", readout="mean",
        recall=[], topology_options={"sensors": [0]},
    )  # fmt: skip
    with pytest.raises(InputError, match="different roles"):
        inn.collapse(model)
