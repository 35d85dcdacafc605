"""No option is accepted and ignored: each does something where its owner is chosen, and is refused where it is not."""

from __future__ import annotations

import hashlib
from dataclasses import fields

import pytest
import torch

import inn
from inn.config.checks import default_of
from inn.config.parts import option_names, parts_of
from inn.config.run import DataConfig, RunConfig, TrainConfig
from inn.config.settings import resolve
from inn.registry import GATES, INNERS, MEMORIES, MODELS, READOUTS, RECALLS, ROUTERS, TOPOLOGIES
from inn.system.errors import InputError

SMALL = {
    "inn": {
        "neurons": 6,
        "width": 8,
        "rounds": 2,
        "recall": {"kind": "last", "contexts": [1, 2], "slots": 64, "width": 4},
    },
    "lstm": {"width": 16, "layers": 2},
    "gru": {"width": 16, "layers": 2},
    "transformer": {"width": 16, "layers": 2, "heads": 2, "window": 4},
    "transformer-paper": {"width": 16, "layers": 2, "heads": 2, "window": 4},
    "mamba-stack": {"width": 16, "layers": 2},
    "mamba-stack-transposed": {"width": 16, "layers": 2},
    "ngram": {"order": 2},
    "signal": {"neurons": 6, "width": 8, "rounds": 2},
    "signal-lstm": {"width": 16, "layers": 2},
    "signal-gru": {"width": 16, "layers": 2},
    "signal-mamba": {"width": 16, "layers": 2},
    "signal-transformer": {"width": 16, "layers": 2, "heads": 2, "window": 4},
}
SIGNAL = {
    "channels": "split",
    "absent": 0.5,
    "head": "quantiles",
    "quantiles": [0.2, 0.8],
    "pool": "mean",
    "elapsed": 0,
}
"""Values of options that models of symbols have not, or have others of."""
OTHER = {
    "input": "copy", "weights": "shared", "identity": "embedding", "norm": "rms", "gate": "soft",
    "timescales": "spread", "update": "parallel", "residual": "input", "attend": 3,
    "head": "adaptive", "cutoffs": [3, 5], "embedding_width": 4, "dropout": 0.5, "hidden": 24, "workspace_width": 32,
    "population": [{"neurons": 2}, {"neurons": 4}], "recall": "none", "contexts": [3], "routing_dropout": 0.5,
    "letters": [1], "limit": 7,
    "neighbours": 4, "rewired": 1.0, "edges": [[0, 1]], "dt_rank": 2, "dt_max": 0.5, "dt_min": 0.002,
    "gate_penalty": 0.5, "identity_std": 0.5, "readout": "mean", "topology": "ring", "router": "bus",
    "memory": {"kind": "mamba", "state": 3}, "tau_min": 2.0, "branches": 4, "synapses": 2,
    "inner": "hourglass", "families": ["rbf", "hinge"], "order": 3,
    "vocab": 12, "tied": None, "share_rounds": True, "communal_states": 3, "between": 2, "across": 0.75, "groups": 3,
    "start": [[1.0] * 16] * 6, "density": 0.5, "keys": 3, "keep": 0.5, "reset": "soft", "exact": 0.5,
    "sensors": [1, 2, 4], "read": [0, 3], "activation": "stick", "loss": "mi",
    "inside": 1.0, "organs": [[4], [5]],
    "parts": [{"neurons": 2, "readout": "mean"}, {"neurons": 4}],
    "lags": [1, 2], "lag_window": 9,
}  # fmt: skip
"""A value that is not the default, where one more than the default will not do."""
WITH = {
    "head": {"tied": False}, "cutoffs": {"head": "adaptive", "tied": False}, "gate_penalty": {"gate": "soft"},
    "identity_std": {"identity": "embedding"}, "communal_states": {"weights": "communal"},
    "update": {"router": "attention"}, "embedding_std": {},
    "channels": {"features": 6}, "elapsed": {"memory": "liquid"}, "absent": {"channels": "split", "features": 6},
}  # fmt: skip
"""What an option needs to mean something."""
OF_CLASSES = {"kind": "edges", "edges": [[0, 2], [1, 0]], "classes": ["a", "b"], "itself": False}
NOT_SEEN = {("model", "kind"), ("recall", "forget")}
"""Not seen in one forward pass: a chance per training window (see `tests/nn/test_recall.py`)."""


def other(name: str, default: object) -> object:
    """A value that is not the default."""
    if name in OTHER and OTHER[name] is not None:
        return OTHER[name]
    if isinstance(default, bool):
        return not default
    if name in ("width", "heads"):
        return default * 2 if default <= 2 or name == "width" else default // 2
    assert isinstance(default, int | float), f"give OTHER a value for '{name}'"
    return default + 1 if isinstance(default, int) else default * 2 + 0.1


EFFECTS: dict[str, str] = {}
"""What was found before, by the configuration's text: options of one kind are held against the same model."""


def effect(config: object) -> str:
    """What a model of this configuration is and does in training: weights, logits, state, penalties, FLOPs."""
    if (said := repr(config)) not in EFFECTS:
        EFFECTS[said] = _effect(config)
    return EFFECTS[said]


def _effect(config: object) -> str:
    torch.manual_seed(0)
    model = inn.build_model(config)
    with torch.no_grad():
        for p in model.parameters():  # a part that begins silent, too
            p.add_(torch.randn(p.shape) * 0.05)
    given = torch.arange(14).reshape(2, 7) % 11 if model.symbols else torch.randn(2, 7, config.features).abs()
    logits, state = model.train()(given)
    trained = [name for name, p in model.named_parameters() if p.requires_grad]
    found = hashlib.sha256(f"{sorted(model.flops().items())} {trained}".encode())
    for name, t in [
        *model.state_dict().items(),
        ("logits", logits),
        *state.to_tensors().items(),
        *state.penalties.items(),
    ]:
        found.update(name.encode() + str(t.shape).encode() + t.detach().contiguous().numpy().tobytes())
    return found.hexdigest()


@pytest.mark.parametrize("kind", list(SMALL))
def test_every_option_of_a_model_does_something(kind):
    config_type = MODELS.options(kind)
    parts = parts_of(config_type)
    for f in fields(config_type):
        if ("model", f.name) in NOT_SEEN or (f.name in parts and len(parts[f.name]) == 1 and f.name != "memory"):
            continue
        signal = kind.startswith("signal")
        needed = {"quantiles": {"head": "quantiles"}, **WITH, **({"head": {}} if signal else {})}.get(f.name, {})
        base = {**({} if signal else {"vocab": 11}), **SMALL[kind], **needed}
        default = default_of(f)
        if f.name == "tied":
            value = not default
        elif signal and f.name in SIGNAL:
            value = SIGNAL[f.name]
        else:
            value = other(f.name, base.get(f.name, default))
        if f.name == "population":
            base.pop("neurons")
        if f.name in ("dropout",) and kind == "ngram":
            continue
        without = inn.model_config(kind, **base)
        try:
            given = inn.model_config(kind, **{**base, f.name: value})
        except InputError:
            pytest.fail(f"{kind}: {f.name}={value} is refused where it should mean something")
        assert effect(given) != effect(without), f"{kind}: {f.name}={value} does nothing"


PARTS = [
    (part, kinds, kind, option)
    for part, kinds in {
        "memory": MEMORIES,
        "router": ROUTERS,
        "topology": TOPOLOGIES,
        "inner": INNERS,
        "gate": GATES,
        "readout": READOUTS,
        "recall": RECALLS,
    }.items()
    for kind in kinds
    if kinds.origin(kind) == "built in"
    for option in option_names(kinds, kind)
    if (part, option) not in NOT_SEEN
]


@pytest.mark.parametrize(("part", "kinds", "kind", "option"), PARTS, ids=lambda v: v if isinstance(v, str) else "")
def test_every_option_of_a_part_does_something_with_its_kind_and_is_refused_with_others(
    part, kinds, kind, option, tmp_path
):
    own = {"edges": [[0, 2], [1, 0]]} if kind in ("edges", "file") else {}
    if option == "each":
        own = {"families": ["rbf", "hinge", "fourier", "bspline", "wavelet", "chebyshev"]}
    own |= {"activation": "fourier"} if option.startswith("fourier_") else {}
    own |= {"loss": "mi"} if option == "loss_weight" else {"groups": 3} if option == "inside" else {}
    own |= {"size": 3} if kind == "chain" else {}
    own |= {"lag_seed": {"lags": [1, 60]}, "lag_window": {"lags": [1, 4]}}.get(option, {})
    own |= {"itself": False} if option == "classes" else {"gains": True} if option == "organs" else {}
    own |= {"gains": True, "organs": [[4, 5]]} if kind == "concat" and option in ("rank", "span") else {}
    own |= {"contexts": [1, "word"], "letters": [2, 3]} if option == "letters" else {}
    if kind == "file":
        (tmp_path / "edges.csv").write_text("0,2\n1,0\n")
    base = {"vocab": 11, **SMALL["inn"], part: kind}
    base |= {"topology": {"kind": "chain", "size": 2}} if (part, kind) == ("readout", "each") else {}
    default = {f.name: default_of(f) for f in fields(kinds.options(kind))}[option]
    special = {"path": str(tmp_path / "edges.csv"), "table": [i % 2 for i in range(11)]}
    special |= {"start": "random"} if kind == "address" else {"rank": 3} if kind == "concat" else {}
    special |= {"classes": ["a", "a"], "class_start": "uniform", "lower": -1.0, "upper": 0.01}
    base |= {"router": "mixing"} if option == "classes" else {}
    base |= {"topology": {**OF_CLASSES}} if option == "class_start" else {}
    special |= {"size": 2} if kind == "chain" else {"read": [0, 1, 4, 5]} if kind == "each" else {}
    value = special[option] if option in special else other(option, default)
    given = {**own, option: value}
    if option == "path":
        given.pop("edges")
    before = inn.model_config(**base, **{f"{part}_options": own})
    after = inn.model_config(**base, **{f"{part}_options": given})
    if option == "path":  # the same edges by another way
        assert after.topology.edges == before.topology.edges
    else:
        assert effect(after) != effect(before), f"{part} {kind}: {option}={value} does nothing"
    for stranger in kinds:
        if option not in option_names(kinds, stranger):
            with pytest.raises(InputError, match=f"'{option}'|{part}.{option}"):
                inn.model_config(**{**base, part: stranger, f"{part}_options": {option: value}})


@pytest.mark.parametrize("config_type", [MODELS.options("inn"), DataConfig, TrainConfig])
def test_what_means_nothing_beside_the_others_is_refused(config_type):
    needy = [f for f in fields(config_type) if "on" in f.metadata]
    assert needy
    for f in needy:
        on = f.metadata["on"]
        onecycle = "onecycle" if f.name == "lr_floor" else "cosine"
        idle = {"router": "none", "schedule": onecycle, "corpus": "task:parity"}.get(on)
        beside = {} if idle is None else {on: idle}
        beside |= {"update": "parallel", "router": "attention"} if on == "update" else {}
        of_text = {"vocabulary": "bytes", "order": "random", "tokenizer": "a.json"} if on == "corpus" else {}
        value = of_text.get(f.name) or other(f.name, default_of(f))
        with pytest.raises(InputError, match=f"{f.name} does nothing with {on}"):
            config_type(**beside, **{f.name: value})


def test_the_command_line_refuses_what_it_was_given_and_leaves_out_what_a_recipe_says(tmp_path):
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("model: {topology: ring, router: attention, heads: 2, gate: soft, gate_penalty: 0.5}\n")
    model = resolve(str(recipe), ["--model.router", "none"]).config.model
    assert (model.topology.kind, model.gate.kind, model.gate_penalty) == ("complete", "none", 0.0)
    model = resolve(str(recipe), ["--model.router", "bus"]).config.model
    assert (model.topology.kind, model.gate.kind, model.router.kind) == ("ring", "soft", "bus")
    for given in (["--model.topology", "ring"], ["--model.gate", "hard"], ["--model.update", "parallel"]):
        with pytest.raises(InputError, match="does nothing with router 'none'"):
            resolve(str(recipe), ["--model.router", "none", *given])


def test_rounds_are_not_checkpointed_where_there_are_none():
    with pytest.raises(InputError, match="checkpoint_rounds does nothing"):
        RunConfig(inn.model_config("lstm"), DataConfig(), TrainConfig(checkpoint_rounds=True))
