"""A watched step is the model's own, and silences what `inn.analysis` silences."""

from __future__ import annotations

import pytest
import torch

import inn
from inn.analysis import cut, silenced
from inn.config.assemble import stored_model
from inn.export.watched import Watched, everything
from inn.system.errors import InputError

SMALL = {"vocab": 27, "neurons": 4, "width": 8, "rounds": 2, "zero_start": False}
FORMS = [
    {"recall": {"kind": "counts", "slots": 64}},
    {"router": "bus", "gate": "soft", "recall": "none"},
    {"router": "attention", "heads": 2, "recall": "none"},
    {"router": "dendrites", "recall": "none"},
    {"router": "mixture", "recall": "none"},
    {"router": "none", "recall": "none"},
    {"topology": "ring", "recall": "none"},
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "fields", [pytest.param(f, marks=[pytest.mark.slow] * (i % 3 > 0)) for i, f in enumerate(FORMS)], ids=str
)
def test_silencing_in_the_traced_step(fields):
    torch.manual_seed(0)
    model = inn.INN(stored_model({**SMALL, **fields})).eval()
    tokens, spoken, edges = torch.randint(27, (6, 1)), *everything(model)
    given = (tokens[0], model.initial_state(1), spoken, edges)
    program = torch.export.export(Watched(model), given).module()
    without, closed, alone = spoken.clone(), edges.clone(), edges.clone()
    without[2], closed[:, 2], closed[2, 2], alone[0, 3] = False, False, True, False
    spoke = []
    for lesion, *inputs in (
        (None, spoken, edges),
        (silenced(model, [2]), without, closed),
        (cut(model, [(0, 3)]), spoken, alone),
    ):
        state = bar = model.initial_state(1)
        for symbol in tokens:
            ours, state, told = program(symbol, state, *inputs)
        if lesion is None:
            for symbol in tokens:
                theirs, bar = model.step(symbol, bar)
        else:
            with lesion:
                for symbol in tokens:
                    theirs, bar = model.step(symbol, bar)
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
        spoke.append(ours)
        if "routing" in told and lesion is not None:
            assert (told["routing"][:, :, 0, 3 if inputs[0].all() else 2] == 0).all()
    assert not torch.equal(spoke[0], spoke[1])


def test_what_has_no_neurons_is_refused():
    with pytest.raises(InputError, match="to watch is an INN, not a LSTM"):
        Watched(inn.models.build.build_model(inn.config.assemble.model_config("lstm", vocab=5, width=4)))  # type: ignore
