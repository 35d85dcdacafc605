"""Models that read signals: vectors of numbers, of which some may be missing."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from statistics import NormalDist
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inn.models.running import last_seen, running_mean
from inn.models.sequence import SequenceModel
from inn.models.views import told
from inn.nn.direct import home
from inn.nn.masked import legible
from inn.nn.parts import mean_of
from inn.nn.population import Linear
from inn.nn.state import State
from inn.nn.symbols import products
from inn.ops.tensors import autocasts
from inn.system.errors import InputError

READ = -1
"""Where the state keeps what belongs to no layer of the body: before the first round."""
Body = Callable[[Tensor, State | None, Tensor | None, Tensor | None], tuple[Tensor, State]]
STANDARDS = ("input_mean", "input_scale", "target_mean", "target_scale")
"""The buffers that standardise a signal."""


class SignalModel(SequenceModel):
    """A model of signals: linear in, a body that carries a state, linear out.

    It reads numbers `[B, T, F]`, in which NaN is a value that is missing, standardised by `input_mean` and
    `input_scale` `[F]`; a missing value counts as the mean, and that it is missing is told to the body by a linear map
    that starts at zero. What it tells depends on `config.head`: logits of classes `[B, T, O]`; `values` `[B, T, O]` in
    their own units, by `target_mean` and `target_scale` `[O]`; the `next` step of the signal `[B, T, F]`, as a change
    from the last value given; or `quantiles` `[B, T, O, Q]`, which never cross.

    Subclasses define `body`, `body_state` and `body_flops`. The state holds the body's, and in round -1 `seen`
    `[B, 1, F]` (head `next`), `sum` `[B, 1, width]` and `count` `[B, 1]` (pool `mean`).
    """

    symbols, gaps = False, True
    input: Any
    input_mean: Tensor
    input_scale: Tensor
    target_mean: Tensor
    target_scale: Tensor

    def __init__(self, config: Any, width: int, hidden: int, views: int = 1):
        """`width` and `hidden`: of what the body reads and gives, the latter so many times (`views`)."""
        super().__init__(config)
        self.views = views
        for name, size in (("input", config.features), ("target", config.outputs)):
            self.register_buffer(f"{name}_mean", torch.zeros(size))
            self.register_buffer(f"{name}_scale", torch.ones(size))
        self.input = self.way_in(width)
        parts = len(config.readouts) if hasattr(getattr(config, "readout", None), "parts") else 0
        self.head = Head(hidden, config.outputs, config.levels, parts)
        self.dropout = nn.Dropout(config.dropout) if config.dropout else nn.Identity()

    def way_in(self, width: int) -> nn.Module:
        """The map of a signal to what the body reads."""
        return Entry(self.config.features, width)

    @abstractmethod
    def body(self, x: Tensor, state: State | None, reset: Tensor | None, mask: Tensor | None) -> tuple[Tensor, State]:
        """`[B, T, width]` -> hidden states `[B, T, hidden]`, normalised, and the state; see `SequenceModel.forward`."""

    @abstractmethod
    def body_state(self, batch: int) -> State:
        """The body's state of `batch` streams before their first step."""

    @abstractmethod
    def body_flops(self) -> dict[str, float]:
        """FLOPs of the body per step, by part."""

    def check_given(self, given: Any) -> Tensor:
        features = self.config.features
        if not isinstance(given, Tensor):
            raise InputError(f"a signal must be a tensor [B, T, {features}] of numbers, not a {type(given).__name__}")
        if given.ndim != 3:
            raise InputError(f"a signal must be [B, T, {features}], which is [batch, time, features], "
                             f"not {list(given.shape)}")  # fmt: skip
        if given.shape[-1] != features:
            raise InputError(f"the model reads signals of {features} features, not of {given.shape[-1]}")
        if not given.is_floating_point():
            raise InputError(f"a signal must be numbers with a point, not {given.dtype}; convert it with .float()")
        self.check_device("the signal", given)
        dtype = self.own().dtype
        if dtype is None or given.dtype == dtype or autocasts(given):
            return given
        return given.to(torch.promote_types(dtype, torch.float32))

    def check_values(self, given: Tensor) -> None:
        if legible(given) and bool(given.isinf().any()):
            where = given.detach().isinf().nonzero()[0].tolist()
            raise InputError(
                f"the signal is infinite at row {where[0]}, step {where[1]}, feature {where[2]}; "
                "clip it, or give NaN where a value is missing"
            )

    def forward(
        self, x: Tensor, state: State | None = None, *, reset: Tensor | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """Tell what the head says of every step: `[B, T, F]` -> `[B, T, O]`, of quantiles `[B, T, O, Q]`.

        See `SequenceModel.forward`; NaN is a missing value. A reset at a masked position still clears the state.
        """
        hidden, last, after = self.read(x, state, reset, mask, self.body)
        return self.predict(hidden, last), after

    def read(
        self, x: Tensor, state: State | None, reset: Tensor | None, mask: Tensor | None, body: Body
    ) -> tuple[Tensor, Tensor | None, State]:
        """What the head reads `[B, T, hidden]`, the last values given `[B, T, F]` (head `next`), and the state."""
        own, inner = self.own_state(x.shape[0]) if state is None else state.round(READ), state
        if own and state is not None:
            inner = State({key: t for key, t in state.items() if key[0] != READ})
        hidden, after = body(self.enter(x), inner, reset, mask)
        hidden, last, kept = self.so_far(x, hidden, own, reset, mask)
        if kept:
            after = State({**after, **{(READ, name): t for name, t in kept.items()}}, after.penalties)
        return hidden, last, after

    def so_far(
        self, x: Tensor, hidden: Tensor, own: dict[str, Tensor], reset: Tensor | None, mask: Tensor | None
    ) -> tuple[Tensor, Tensor | None, dict[str, Tensor]]:
        """What the head reads of the body's hidden states, the last values given, and what is kept of both."""
        last, kept = None, {}
        if "count" in own:
            hidden, kept["sum"], kept["count"] = running_mean(hidden, own["sum"], own["count"], reset, mask)
        if "seen" in own:
            last, kept["seen"] = last_seen(x.to(own["seen"].dtype), own["seen"], self.input_mean, reset, mask)
        return hidden, last, kept

    def enter(self, x: Tensor) -> Tensor:
        """What the body reads, `[B, T, width]`, of a signal `[B, T, F]`."""
        missing = x.isnan()
        x = (torch.where(missing, self.input_mean.to(x.dtype), x) - self.input_mean) / self.input_scale
        return self.input(x.to(self.input.weight.dtype), missing)

    def predict(self, hidden: Tensor, last: Tensor | None = None, every: bool = False) -> Tensor:
        """What is told, in its own units, of what the head reads, its last view, and the last values given."""
        y, head = told(lambda one: self.head(self.dropout(one)), hidden, self.views, every), self.config.told
        last = last[:, :, None] if every and last is not None else last
        if head == "classes":
            return y
        y = y.to(torch.promote_types(y.dtype, torch.float32))
        mean, scale = self.target_mean if last is None else last, self.target_scale
        return mean + scale * y if head != "quantiles" else mean[:, None] + scale[:, None] * y

    def loss(self, y: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
        """The loss `[]` of what `forward` told, summed over the targets that count; `weights` `[B]` of the rows.

        Classes `[B, T]`: cross-entropy, -100 does not count. Numbers `[B, T, O]`, of which NaN does not count, in
        standardised units: half the squared error, or the mean over the quantiles of the pinball loss.
        """
        if self.config.told == "classes":
            return super().loss(y, targets, weights)
        each = self._each(y, targets)
        return each.sum() if weights is None else (each.sum((1, 2)) * weights.to(each.dtype)).sum()

    def losses(self, y: Tensor, targets: Tensor) -> Tensor:
        return super().losses(y, targets) if self.config.told == "classes" else self._each(y, targets).sum(-1)

    def _each(self, y: Tensor, targets: Tensor) -> Tensor:
        """The loss of every number told, `[B, T, O]`; 0 where it does not count."""
        ignored, quantiles = targets.isnan(), self.config.told == "quantiles"
        if not ignored.is_cpu or bool(ignored.any()):  # a NaN there would go round the loss and into the gradients
            y = y.masked_fill(ignored[..., None] if quantiles else ignored, 0.0)
            targets = targets.masked_fill(ignored, 0.0)
        scale = self.target_scale.to(y.dtype)
        if quantiles:
            off = (targets[..., None].to(y.dtype) - y) / scale[:, None]
            pairs = zip(self.config.levels, off.unbind(-1), strict=True)  # a tensor of levels would wait for a GPU
            return torch.stack([torch.maximum(q * one, (q - 1) * one) for q, one in pairs]).mean(0)
        return 0.5 * ((y - targets.to(y.dtype)) / scale).square()

    def counted(self, targets: Tensor) -> Tensor:
        """How many targets count, `[]`."""
        return (~targets.isnan()).sum() if targets.is_floating_point() else super().counted(targets)

    @torch.no_grad()
    def standardise(self, inputs: Any, targets: Any = None) -> SignalModel:
        """Take mean and scale from a training part: inputs `[S, F]`, and where numbers are told targets `[S, O]`.

        NaN is left out; a channel that is constant, or not there at all, has scale 1. Head `next` tells how the inputs
        change, and takes the scale of that: to the targets where they are given, else from each step to the one after.

        >>> from inn.models.build import build_model
        >>> from inn.config.assemble import model_config
        >>> build_model(model_config("signal-gru")).standardise(np.array([[1.0], [3.0], [np.nan]])).input_mean
        tensor([2.])
        """
        self._take("input", inputs, self.config.features)
        if self.config.told == "next":
            given, told = _array(inputs), None if targets is None else _array(targets)
            change = np.diff(given, axis=0) if told is None or told.shape != given.shape else told - given
            self._take("target", change, self.config.outputs)
            self.target_mean.copy_(self.input_mean)
        elif self.config.told != "classes" and targets is not None:
            self._take("target", targets, self.config.outputs)
        return self

    def _take(self, what: str, values: Any, width: int) -> None:
        array = _array(values)
        if array.ndim != 2 or array.shape[1] != width:
            raise InputError(f"{what}s to standardise by must be [steps, {width}], not {list(array.shape)}")
        mean, scale = moments(array, what)
        getattr(self, f"{what}_mean").copy_(torch.from_numpy(mean))
        getattr(self, f"{what}_scale").copy_(torch.from_numpy(scale))

    def initial_state(self, batch: int) -> State:
        """The body's, nothing seen yet (which counts as the mean), and nothing to take a mean of."""
        own = self.own_state(batch)
        return State({**self.body_state(batch), **{(READ, name): t for name, t in own.items()}})

    def own_state(self, batch: int) -> dict[str, Tensor]:
        """What the state holds beside the body's, before the first step."""
        own, weight = {}, self.input.weight
        dtype, device = torch.promote_types(weight.dtype, torch.float32), home(self.input, weight)
        if self.config.told == "next":
            own["seen"] = self.input_mean.to(device, dtype).repeat(batch, 1, 1)  # its own numbers, to be changed
        if self.config.pool == "mean":
            own["sum"] = torch.zeros(batch, 1, self.views * self.head.in_features, dtype=dtype, device=device)
            own["count"] = torch.zeros(batch, 1, dtype=torch.int64, device=device)
        return own

    def step(self, tokens: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Tell after one step of every stream: `[B, F]` -> `[B, O]` and the state; `forward` with T = 1."""
        y, after = self(self._one_step(tokens), state)
        return y[:, 0], after

    def check_step(self, given: Any) -> Tensor:
        x = self.check_given(self._one_step(given))
        self.check_values(x)
        return x[:, 0]

    def _one_step(self, x: Any) -> Tensor:
        if not isinstance(x, Tensor) or x.ndim != 2:
            given = list(x.shape) if isinstance(x, Tensor) else f"a {type(x).__name__}"
            raise InputError(f"a step takes [B, {self.config.features}], one vector for each stream, not {given}")
        return x[:, None]

    @torch.no_grad()
    def reset_parameters(self) -> None:
        for name in ("input", "target"):
            getattr(self, f"{name}_mean").zero_()
            getattr(self, f"{name}_scale").fill_(1.0)
        super().reset_parameters()

    def flops(self) -> dict[str, float]:
        return {"input": products(self.input), **self.body_flops(), "head": products(self.head)}


class Entry(nn.Linear):
    """A linear map of values `[..., F]` and of which are missing `[..., F]`, to `[..., width]`; the latter at 0."""

    def __init__(self, features: int, width: int):
        super().__init__(2 * features, width)

    @torch.no_grad()
    def reset_parameters(self) -> None:
        values, missing = self.weight.chunk(2, 1)
        bound = values.shape[1] ** -0.5  # as PyTorch starts a map of the values alone
        nn.init.uniform_(values, -bound, bound)
        nn.init.uniform_(self.bias, -bound, bound)
        missing.zero_()

    def forward(self, input: Tensor, missing: Tensor) -> Tensor:
        return super().forward(torch.cat((input, missing.to(input.dtype)), -1))


class Head(Linear):
    """`[..., hidden]` -> `[..., O]`, or with `levels` quantiles `[..., O, Q]` that never cross.

    Each quantile is the one below it and something above zero; they start as those of a standard normal distribution.
    With `parts` it tells by the mean of what so many maps say (`inn.nn.parts`).
    """

    no_decay = ("bias",)

    std = 0.02
    levels: Sequence[float] = ()

    def __init__(self, hidden: int, outputs: int, levels: Sequence[float] = (), parts: int = 0):
        super().__init__(hidden, outputs * max(1, len(levels)))
        if parts:
            self.bias = nn.Parameter(torch.empty(parts, self.out_features))
        self.levels = levels
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        super().reset_parameters()
        if self.levels:
            normal = torch.tensor([NormalDist().inv_cdf(level) for level in self.levels])
            rise = normal.diff().expm1().log()  # softplus leads back
            self.bias.unflatten(-1, (-1, len(self.levels))).copy_(torch.cat((normal[:1], rise)))

    def forward(self, input: Tensor) -> Tensor:
        y = super().forward(input) if self.bias.ndim == 1 else mean_of(input, self.weight, self.bias)
        if not self.levels:
            return y
        y = y.to(torch.promote_types(y.dtype, torch.float32)).unflatten(-1, (-1, len(self.levels)))
        return torch.cat((y[..., :1], F.softplus(y[..., 1:])), -1).cumsum(-1)


def _array(values: Any) -> np.ndarray:
    return values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)


def moments(array: np.ndarray, what: str = "input") -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation `[F]` of `[S, F]`, in float64, NaN left out; 1 for what does not vary.

    >>> moments(np.array([[1.0, 5.0], [3.0, 5.0], [np.nan, 5.0]]))
    (array([2., 5.]), array([1., 1.]))
    """
    mean, scale = np.zeros(array.shape[1]), np.ones(array.shape[1])
    for i in range(array.shape[1]):
        column = array[:, i].astype(np.float64)
        column = column[~np.isnan(column)]
        if not len(column):
            continue
        if not np.isfinite(column).all():
            raise InputError(f"{what} {i} is infinite somewhere; clip it, or give NaN where a value is missing")
        mean[i], deviation = column.mean(), column.std()
        if column.min() < column.max() and np.float32(deviation) > 0:
            scale[i] = deviation
    return mean, scale
