"""Models and surveys made by hand, for the page, and a browser to open it."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch

from inn import INN
from inn.config.assemble import model_config
from inn.data.examples import Examples, last_step
from inn.data.names import Channels
from inn.data.vocabulary import build_vocabulary
from inn.explorer.examples import read_examples
from inn.explorer.page import build_page
from inn.explorer.passage import read_passage
from inn.explorer.wiring import wiring_of
from inn.models.build import build_model

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)> \x07\u202e=1+1\n"
LARGE: dict[str, Any] = {
    "neurons": 320, "width": 2, "rounds": 2, "router": "attention", "heads": 1,
    "topology": "groups", "topology_options": {"groups": 20, "across": 0.01}, "gate": "active",
}  # fmt: skip
WIRING: dict[str, Any] = {
    "kind": "rewired", "neurons": 24, "number": 71, "sensors": [0, 1, 2], "read": [2, 22, 23],
    "edges": [[n, (n + d) % 24] for n in range(24) for d in (1, 2)][:-1], "new": [n % 5 == 0 for n in range(47)],
    "gone": [[3, 20], [4, 21]], "signs": [1 - 2 * (n % 2) for n in range(47)], "lags": [n % 3 for n in range(47)],
}  # fmt: skip
CLASSES = ("vowel", "consonant", "space", "digit")


def _model_of(text: str, kind: str = "characters", **fields: Any) -> INN:
    """An untrained model of the symbols of a text, uneven enough that its neurons differ."""
    vocabulary = build_vocabulary(kind, text)
    torch.manual_seed(0)
    fields = {"neurons": 4, "width": 8, "rounds": 2, "recall": [], **fields}
    model = INN(vocab=vocabulary.size, **fields).eval()
    model.vocabulary = vocabulary
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model


def _survey_of(neurons: int, rounds: int, hostile: str = "") -> dict[str, Any]:
    """A survey of every part of the schema, with made-up numbers; neuron 0 is a hub, neuron 1 a specialist."""
    draw = random.Random(0)

    def table(*shape: int) -> Any:
        return [table(*shape[1:]) for _ in range(shape[0])] if shape else draw.random()

    def cost() -> dict[str, float]:
        bits = draw.random()
        return {"bits": bits, "low": 0.9 * bits, "high": 1.1 * bits}

    cards = [
        {
            "neuron": n,
            "name": f"neuron {n}",
            "information": {name: {"bits": draw.random(), "null": 0.01} for name in CLASSES},
            "contexts": [
                {"before": f"before {hostile}", "symbol": "x", "after": f"{hostile} after", "activity": 3.0, "at": 9}
            ],
            "timescale": {"half_life": 5.0, "spectrum": [1.0, 10.0, 100.0]},
            "lens": {"bits": 3.0, "top": [["a", 1.0], [" ", -0.5]]},
            "hears": [[0, 0.5], [1, 0.2]],
            "heard_by": [[1, 0.4]],
            "recall": {"length": [2, 3], "bits": 0.01},
            "lesion": {**cost(), "by_class": {name: draw.uniform(-1, 1) for name in CLASSES}, "mean_replaced": 0.1},
            "importance": draw.random(),
        }
        for n in range(neurons)
    ]
    null = {"observed": 0.4, "mean": 0.1, "high": 0.2, "p": 0.001}
    return {
        "run": "by hand", "corpus": "words", "split": "valid", "symbols": 4096, "bits": 1.5, "metric": "BPC",
        "parameters": 12345, "neurons": neurons, "rounds": rounds, "router": "dendrites", "mass": None,
        "effective_neurons": 3.3,
        "activity": {"mean": table(rounds, neurons), "variance": table(rounds, neurons), "sparsity": table(rounds)},
        "connectivity": table(rounds, neurons, neurons),
        "received": [2.0, 0.5, *table(neurons - 2)], "hubs": [0], "specialists": [1],
        "degree": {key: table(rounds, neurons) for key in ("in", "out", "effective")},
        "change": table(rounds - 1),
        "roles": {"hubs": null, "edges": {**null, "map": table(neurons, neurons)}},
        "communities": {"groups": [list(range(0, neurons, 2)), list(range(1, neurons, 2))], "modularity": 0.3,
                        "null": null, "method": "louvain"},
        "classes": dict.fromkeys(CLASSES, 0.25),
        "cards": cards,
        "edges": [{"to": 0, "from": 1, "round": None, **cost()}, {"to": 1, "from": 0, "round": 0, **cost()}],
        "rounds_lesioned": [{"round": r, "what": "communication", **cost()} for r in range(rounds)],
        "control": {"untrained": {"effective_neurons": 3.9, "sparsity": 0.1, "modularity": 0.01,
                                  "received_spread": 0.02}},
    }  # fmt: skip


def _history_of() -> dict[str, Any]:
    """Curves and two samples, one of them hostile."""
    train = [{"step": s, "symbols": 100 * s, "bits": 5 / s, "effective_neurons": 2.0 + s / 50} for s in range(1, 40)]
    return {
        "train": train,
        "validation": [{"step": p["step"], "symbols": p["symbols"], "bits": p["bits"] + 0.1} for p in train[::10]],
        "floors": {"uniform": 4.75, "bigram": 3.4},
        "facts": {"parameters": 12345, "best": {"bits": 1.5}},
        "samples": [{"step": 10, "text": "an early one"}, {"step": 20, "text": "</script><script>alert(1)</script>"}],
    }


@pytest.fixture(scope="session")
def model_of():
    """`model_of(text, kind, **fields)`: an untrained model of the symbols of a text, its neurons different."""
    return _model_of


@pytest.fixture(scope="session")
def survey_of():
    """`survey_of(neurons, rounds, hostile)`: a survey of every part of the schema, with made-up numbers."""
    return _survey_of


@pytest.fixture(scope="session")
def history_of():
    """`history_of()`: curves and samples."""
    return _history_of


@pytest.fixture(scope="session")
def pages(tmp_path_factory, model_of, survey_of, history_of):
    """Pages by name: one run of hostile text, two runs, many neurons, sequences of a task, and one without a survey."""
    folder = tmp_path_factory.mktemp("pages")

    def look(name, survey=True, **fields):
        model = model_of(HOSTILE, **fields)
        passage = read_passage(model, model.vocabulary.encode(HOSTILE * 2), title=HOSTILE)
        size = model.config.neurons, model.config.rounds
        return {
            "name": name,
            "passage": passage,
            "survey": survey_of(*size, HOSTILE) if survey else None,
            "wiring": wiring_of(model),
            "history": history_of() if survey else None,
            "facts": {"model.router.kind": HOSTILE},
        }

    def sequences():
        torch.manual_seed(0)
        model = build_model(model_config("signal", features=2, outputs=2, head="classes", neurons=3, width=4, rounds=2))
        model.vocabulary = Channels([HOSTILE, "y"], classes=["low", HOSTILE])
        examples = Examples.equal(torch.randn(5, 9, 2).numpy(), np.tile(last_step(1, 9), (5, 1)))
        survey = {**survey_of(3, 2, HOSTILE), "task": True, "targets": 5, "notes": []}
        for card in survey["cards"]:
            card.update(lens=None, information=None, recall=None)
        passage = read_examples(model.eval(), examples, title=HOSTILE)
        return {"name": "task", "play": None, "passage": passage, "survey": survey, "history": history_of()}

    one = look(HOSTILE)
    made = {
        "one": [one],
        "two": [one, look("other", neurons=3, router="attention", heads=2)],
        "large": [look("large", survey=False, **LARGE)],
        "many": [look("many", neurons=256, width=4, router="attention", heads=1)],
        "task": [sequences()],
        "bare": [look("bare", survey=False, router="none")],
        "wired": [{**look("wired", neurons=24, width=4, topology="rewired"), "wiring": WIRING}],
    }
    for name, looks in made.items():
        (folder / f"{name}.html").write_text(build_page(looks, made_with=HOSTILE), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def hostile():
    """What a text, a name or a setting of the `pages` is: markup, control characters, a formula."""
    return HOSTILE


@pytest.fixture
def tab(chromium):
    """`tab(file, view, width, height, listen=..., **context options)`: a page in a tab, once it is drawn.

    An error on it fails the test, and whatever `listen(page, faults)` adds to the faults.
    """
    faults, contexts = [], []

    def open_page(file, view, width, height, listen=lambda page, faults: None, **options):
        contexts.append(chromium.new_context(viewport={"width": width, "height": height}, offline=True, **options))
        page = contexts[-1].new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        listen(page, faults)
        page.goto(file.as_uri() + f"#{view}")
        page.wait_for_selector("html[data-drawn]", state="attached")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert faults == []


@pytest.fixture
def opened(tab, tmp_path):
    """`opened(look, view, **context options)`: the page of one run in a tab; an error on it fails the test."""

    def open_page(look, view="passage", width=1280, **options):
        (tmp_path / "page.html").write_text(build_page([{"name": "a run", **look}]), encoding="utf-8")
        return tab(tmp_path / "page.html", view, width, 800, **options)

    return open_page
