"""Compressing an INN: its neurons come to share the states of what they read, each keeps those of what it makes of it.

The neurons of a population are to one another what adjacent layers are to Basis Sharing: blocks of the same kind, so
one group with one set of input states (`weights: communal`). Dendrites hand all neurons one and the same input, and
there the pooled moment is exact.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from inn.compress.states import dense_size, factorise, lost, per_rank, refit, shapes_of
from inn.compress.watch import Watch
from inn.models.inn import INN
from inn.nn.modes import evaluating
from inn.nn.population import CommunalLinear
from inn.system.errors import InputError

Maps = dict[str, list[Tensor]]
"""A tensor per neuron, by the path of a map."""


@torch.random.fork_rng(devices=[])
@torch.no_grad()
def communal(
    model: INN, rows: Tensor, keep: float = 0.6, *, report: Callable[[int, int], None] = lambda done, of: None
) -> tuple[INN, dict[str, float]]:
    """An INN with communal weights that does with a text what a trained one of separate weights does.

    A map's weights `[N, O, I]` become input states `[I, k]`, which all neurons share, and output states `[N, O, k]`.

    Args:
        model: one with separate weights; it is left as it is.
        rows: `[S, T]` int64, the text that it is calibrated on.
        keep: the share of the parameters to keep of the maps that neurons read through, in (0, 1]; those inside their
            memories stay as they are.
        report: called with the rows read, and how many there are.

    Returns the new model, in evaluation mode, and the share of output energy that each map lost.

    Raises `InputError` for a model of other weights, a share out of range, and a text that the model makes numbers of
    that are not finite.

    >>> small, lost = communal(INN(vocab=11, neurons=4, width=8, rounds=1), torch.randint(11, (2, 64)), 0.5)
    >>> small.config.weights, small.config.communal_states, list(lost)
    ('communal', 13, ['backbone.rounds.0.router.hear'])
    """
    c = model.config
    if not 0 < keep <= 1:
        raise InputError(f"keep must be above 0 and at most 1, not {keep}; 0.6 keeps three fifths of the parameters")
    if c.weights != "separate" or c.neurons < 2:
        raise InputError(
            f"an INN with weights '{c.weights}' and {c.neurons} neurons has nothing to share; "
            "give one with separate weights and more than one neuron"
        )
    moments = moments_of(model, rows, report)
    weights = {path: list(model.get_parameter(f"{path}.weight").double()) for path in moments}
    shapes = list(map(shapes_of, weights.values()))
    dense, costs = sum(map(dense_size, shapes)), sum(map(per_rank, shapes))
    states = max(1, min(round(keep * dense / costs), shapes[0][0][1] - 1))
    small = INN(replace(c, weights="communal", communal_states=states)).to(next(model.parameters()))
    for name, parameter in small.named_parameters():
        path, _, own = name.rpartition(".write.")
        if path in weights and own == "bias":
            parameter.copy_(model.get_parameter(f"{path}.bias"))
        elif path not in weights and name.rpartition(".read.")[0] not in weights:
            parameter.copy_(model.get_parameter(name))
    shares = {}
    for path, each in weights.items():
        layer = small.get_submodule(path)
        assert isinstance(layer, CommunalLinear)
        found = refit(factorise(each, moments[path], states), each, moments[path])
        layer.read.weight.copy_(found.inputs.T[None])
        layer.write.weight.copy_(torch.stack(found.outputs))
        gone = lost(found, each, moments[path])
        shares[path] = sum(gone) / len(gone)
    small.vocabulary, small.experience = model.vocabulary, model.experience
    return small.eval(), shares


def moments_of(model: INN, rows: Tensor, report: Callable[[int, int], None]) -> Maps:
    """The moments `[I, I]` of what each neuron reads, by the path of the map; the same tensor where all read one.

    Args:
        model, rows, report: as `communal` has them.

    Raises `InputError` for inputs that are not finite.
    """
    c = replace(model.config, weights="communal", communal_states=1)
    with torch.device("meta"):
        paths = [name for name, m in INN(c).named_modules() if isinstance(m, CommunalLinear)]
    sums: dict[str, Tensor] = {}
    with evaluating(model):
        for i, row in enumerate(rows):
            with Watch(model, paths) as seen:
                model(row[None])
            for one in seen:
                x = one.tensor.detach().flatten(0, 1).transpose(0, 1).double()  # [N or 1, symbols, I]
                moment = x.mT @ x
                for path in one.readers:
                    sums[path] = sums[path] + moment if path in sums else moment
            report(i + 1, len(rows))
    for path, moment in sums.items():
        if not torch.isfinite(moment).all():
            raise InputError(f"the inputs of '{path}' are not finite on this text; is the model whole?")
    return {path: [m[0]] * c.neurons if len(m) == 1 else list(m) for path, m in sums.items()}
