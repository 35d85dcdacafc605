"""Rivals of our compression that are no plans of it, written from their papers: `f(model, rows, keep)`, in place."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn

    from inn.compress import Outcome


def nystrom(model: nn.Module, rows: Tensor, keep: float) -> Outcome:
    """MLPs cut as MoDeGPT cuts them (arXiv 2408.09632, its type I; attention left as it is), in place.

    Kept are the neurons of the largest ridge leverage, the same number in every layer, and the down projection is
    fitted anew by Nyström's approximation, which is ridge regression on them; its ridge is the mean of the moment's
    diagonal, as its leverages have it.

    Args:
        model: a decoder of Hugging Face's.
        rows: `[S, T]` int64, the text.
        keep: the share of the neurons.
    """
    import torch

    from inn.compress import Outcome
    from inn.compress.blocks import find_blocks, weight_of
    from inn.compress.calibrate import Stream
    from inn.compress.neurons import fitted
    from inn.compress.neurons_layers import narrow, neuron_groups

    blocks = find_blocks(model)
    outcome = Outcome()
    stream = Stream(model, rows)
    for group in neuron_groups(model, blocks):
        here, stream.batches = stream.moments(blocks, group[0].layer, stream.batches)
        moment, weight = here[group[0]], weight_of(model, blocks[group[0]])
        ridge = moment.diagonal().mean()
        leverage = torch.linalg.solve(moment + ridge * torch.eye(len(moment)), moment).diagonal()
        kept = leverage.topk(round(keep * len(leverage))).indices.sort().values
        narrow(model, [blocks[b] for b in group], kept, fitted(weight, moment, kept))
        outcome.neurons.append((group, len(kept)))
    return outcome


RIVALS = {"nystrom": nystrom}
