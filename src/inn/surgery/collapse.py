"""A population of provably identical neurons is one neuron."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from inn.config.typed import typed
from inn.models.inn import INN
from inn.nn.topology.base import edges_of, learned
from inn.nn.topology.roles import check_alike
from inn.registry import READOUTS
from inn.system.errors import InputError


@typed
def collapse(model: INN) -> INN:
    """Replace a population of provably identical neurons by one neuron that computes the same function.

    Neurons are identical, whatever the input, if they receive the same, have equal weights and equal identities,
    and hear the same: then attention is exactly uniform and the mean over neurons is each neuron. So it is for the
    published model. Routing dropout, which tells the neurons of the published model apart in training, is off in
    evaluation; the collapsed model trains differently.

    Args:
        model: N neurons; it is left as it is.

    Returns a new model of one neuron, `[B, T]` -> `[B, T, vocab]` as before, in the training mode of the old one; its
    weights are copies. Collapse a carried state with `state.select_neurons([0])`.

    Raises `InputError` that names what makes the neurons differ.

    >>> small = collapse(INN(preset="paper", vocab=27, neurons=4, width=16, rounds=1, heads=2).eval())
    >>> small.config.neurons
    1
    """
    c = model.config
    if c.input != "copy":
        raise InputError(f"cannot collapse: with input '{c.input}' every neuron receives its own part of the embedding")
    if c.population:
        raise InputError("cannot collapse: the neurons of a mixed population remember in different ways")
    if not READOUTS[c.readout.kind].exchangeable:
        raise InputError(f"cannot collapse: readout '{c.readout.kind}' gives every neuron its own part of the head")
    check_alike(c, "cannot collapse")
    if edges_of(c) is not None or learned(c):
        raise InputError(f"cannot collapse: in topology '{c.topology.kind}' neurons hear different ones")
    router = model.graph.round(0).router
    if router is not None and not router.exchangeable:
        raise InputError(f"cannot collapse: router '{c.router.kind}' does not say that alike neurons hear the same")
    if model.recall is not None:
        raise InputError("cannot collapse: every neuron recalls in its own way; it needs a model with recall none")
    old = model.state_dict()
    one = INN(replace(c, neurons=1))
    new: dict[str, Tensor] = {}
    for name, single in one.state_dict().items():
        value = old[name]
        if value.shape != single.shape:
            if name != "backbone.ids" and not bool((value == value[:1]).all()):
                raise InputError(f"cannot collapse: the neurons differ in {name}")
            value = value[:1]
        new[name] = value.clone()
    like = next(model.parameters())
    one.to(like.device, like.dtype).load_state_dict(new)
    one.vocabulary = model.vocabulary
    return one.train(model.training)
