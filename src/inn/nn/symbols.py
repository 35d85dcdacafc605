"""Vocabularies of many symbols: an embedding narrower than the model, a head that spends less on rarer symbols."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from inn.nn.population import Linear, started
from inn.ops.tensors import autocasts
from inn.system.errors import InputError


def widening(narrow: int | None, width: int) -> nn.Module:
    """The map `[B, T, narrow]` -> `[B, T, width]` behind a narrow embedding (Lan et al. 2020); none for None.

    Its numbers start as spread as the embedding's.

    >>> widening(8, 64)(torch.zeros(2, 3, 8)).shape
    torch.Size([2, 3, 64])
    """
    if narrow is None:
        return nn.Identity()
    return started(Linear(narrow, width, bias=False), narrow**-0.5)


class _Scores(nn.Linear):
    """A product inside an adaptive head that starts at the guess that all symbols are equally likely.

    Attributes:
        sizes: symbols that each output stands for.
    """

    sizes: tuple[int, ...] = ()

    def reset_parameters(self) -> None:
        nn.init.normal_(self.weight, std=0.02)
        if self.bias is not None:
            self.bias.data.copy_(torch.tensor(self.sizes, dtype=torch.float32).log())


class AdaptiveHead(nn.Module):
    """Log-probabilities of the symbols, `[..., width]` -> `[..., vocab]`, those before the first cutoff in full.

    After Grave et al. 2017: the k-th cluster of rarer symbols is predicted as a whole beside the frequent ones, and its
    symbols from width / 4^k numbers. It starts at the guess that all symbols are equally likely. Log-probabilities are
    logits like any other; all of them are computed, so that the head saves parameters more than time.

    Args:
        width: numbers that come in.
        vocab: symbols, numbered by falling frequency.
        cutoffs: the first symbol of each cluster, rising.

    Raises `InputError` for cutoffs outside the vocabulary, and a width that cannot be divided by 4 so often.

    >>> AdaptiveHead(16, 100, [20, 60])(torch.zeros(2, 3, 16)).exp().sum(-1).round(decimals=3)
    tensor([[1., 1., 1.],
            [1., 1., 1.]], grad_fn=<RoundBackward1>)
    """

    def __init__(self, width: int, vocab: int, cutoffs: Sequence[int]):
        super().__init__()
        edges = [0, *cutoffs, vocab]
        if any(a >= b for a, b in pairwise(edges)):
            raise InputError(
                f"cutoffs {list(cutoffs)} must rise between 0 and the {vocab} symbols of the vocabulary; give others"
            )
        if width < 4 ** len(cutoffs):
            raise InputError(
                f"{len(cutoffs)} cutoffs leave the rarest symbols 1/{4 ** len(cutoffs)} of the adaptive head's width, "
                f"which is {width}; give fewer cutoffs, or a larger width"
            )
        self.softmax = nn.AdaptiveLogSoftmaxWithLoss(width, vocab, cutoffs, div_value=4.0, head_bias=True)
        head: Any = self.softmax.head
        products = [head, *(cluster[1] for cluster in self.softmax.tail)]  # type: ignore[index]
        for product in products:
            product.__class__ = _Scores
        head.sizes = (*[1] * cutoffs[0], *(b - a for a, b in pairwise(edges[1:])))
        for product in products:
            product.reset_parameters()

    def forward(self, x: Tensor, scores: Any = None) -> Tensor:
        """See the class; `scores` is for heads that are tied, and not used."""
        if autocasts(x):
            x = x.float()  # the products are in the lower precision, their logarithms are not
        return self.softmax.log_prob(x.flatten(0, -2)).unflatten(0, x.shape[:-1])


def products(*modules: nn.Module) -> float:
    """FLOPs per symbol of modules that are matrix products: two for each weight of a matrix.

    >>> products(nn.Linear(3, 5), nn.Identity())
    30.0
    """
    named = (pair for m in modules for pair in m.named_parameters())
    return 2.0 * math.fsum(p.numel() for name, p in named if p.ndim == 2 and not name.endswith("bias"))
