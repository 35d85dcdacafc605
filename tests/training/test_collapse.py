"""A gate that lets all neurons take part, or none, for 200 steps is told of, once; one that chooses is not."""

import pytest
import torch

from inn.models.inn import INN
from inn.training import alarms, events, validation
from inn.training.start import train


@pytest.mark.parametrize(("price", "said"), [(300.0, "no neuron has taken part"), (0.0, "all neurons have taken part")])
def test_a_gate_that_collapses_is_told_of_once(tmp_path, price, said):
    told = []

    def report(event):
        if isinstance(event, events.Warned) and "rounds.0.gate" in event.message:
            told.append(event)

    model = {"kind": "inn", "neurons": 2, "width": 4, "rounds": 1, "recall": "[]", "gate": "active",
             "gate_penalty": price}  # fmt: skip
    run = train(
        "task:recall", tmp_path / "run", model=model, data={"batch": 2, "task": {"pairs": 1, "length": 4}},
        train={"symbols": 2720, "lr": 0.03, "log_every": 20, "eval_every": 5000, "threads": 1}, report=report,
    )  # fmt: skip
    lines = [line for line in run.metrics() if line["event"] == "train"]
    assert len(told) == 1
    assert said in told[0].message
    seen = {line["step"]: line["active.rounds.0.gate"] for line in lines if line["step"] <= told[0].step}
    assert {share for step, share in seen.items() if step >= told[0].step - 200} == {float(price == 0)}
    assert (
        len({share for step, share in seen.items() if step >= told[0].step - 220}) == 2
        or min(seen) == told[0].step - 200
    )


def test_one_step_in_between_is_enough():
    on, off, some = {"a": 1.0}, {"a": 0.0}, {"a": 0.5}
    assert alarms.collapsed([(10, off), (209, off)]) == {}
    assert alarms.collapsed([(10, off), (210, off)]) == {"a": 0.0}
    assert alarms.collapsed([(10, on), (210, on)]) == {"a": 1.0}
    assert alarms.collapsed([(10, on), (110, off), (210, on)]) == {}
    assert alarms.collapsed([(10, off), (110, some), (210, off), (300, off)]) == {}


def test_the_share_is_that_of_the_decisions():
    torch.manual_seed(0)
    model = INN(vocab=7, neurons=2, width=4, rounds=2, gate="active")
    with torch.no_grad():
        for module in model.graph.rounds:
            module.gate.weight.zero_()
            module.gate.bias.copy_(torch.tensor([1.0, -1.0]))
        model.graph.rounds[1].gate.bias.fill_(-1.0)
    tokens = torch.randint(7, (2, 5))
    assert validation.taking_part(model, tokens) == {"rounds.0.gate": 0.5, "rounds.1.gate": 0.0}
    assert model.training
    assert validation.taking_part(INN(vocab=7, neurons=2, width=4, rounds=1), tokens) == {}
