"""What a text tells about a model's projections: moments of what they read, and how much their outputs matter."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from inn.compress.blocks import Projection, layers_of, rows_of_weight, weight_of
from inn.compress.decoder import NO_FRAME, Frame
from inn.compress.entry import alike, arguments, first_input, unpacked
from inn.compress.inputs import IDS, Inputs, Rows, call, check_rows, readable
from inn.compress.pointwise import channels_last
from inn.compress.topologies import Block
from inn.compress.watch import Seen, Watch
from inn.system.errors import InputError

ROWS = 128
"""Rows of a text that are calibrated on, if it has so many: what the field's methods are measured with. Of 32 what is
fitted learns too much by heart (SmolLM2-135M by `auto` at 80 %: perplexity 28.3 after 32 rows, 26.6 after 128; the
dense model's is 24.0).
"""
Moments = dict[Block, Tensor]
_BATCH = 4
"""Rows of the text that go through a layer at once."""


class Stream:
    """A text on its way through a model, layer by layer: what is held is one layer's inputs.

    Args:
        model: a decoder or an encoder of Hugging Face's.
        rows: `[S, T]` int64, the text in rows of equal length; or other inputs by their names (`Rows`).

    Raises `InputError` as `check_rows` does, and where rows have masks that differ.
    """

    def __init__(self, model: nn.Module, rows: Rows | Inputs):
        check_rows(model, rows)
        self.model, self.inputs = model, Inputs.of(rows).to(model.device)
        self.path, self.layers = layers_of(model)
        parts = list(self.inputs.split(_BATCH))
        with torch.no_grad(), readable(model, self.inputs):
            self._extra, self.given = arguments(model, self.layers, parts[0])
            self._short = arguments(model, self.layers, parts[-1])[0] if len(parts[-1]) < len(parts[0]) else self._extra
            self.batches = [first_input(model, self.layers[0], part) for part in parts]
            if len(self.inputs.fields) > 1:
                self._refuse_masks(parts)

    def _refuse_masks(self, parts: Sequence[Inputs]) -> None:
        """Raise `InputError` where layers are given other things with one row than with another."""
        first, _ = arguments(self.model, self.layers, parts[0][:1])
        for part in parts:
            for row in part.split(1):
                if not alike(first, arguments(self.model, self.layers, row)[0]):
                    names = ", ".join(self.inputs.fields)
                    raise InputError(
                        f"the layers are told other things of one row than of another (inputs {names}), as where rows "
                        "are padded; give rows of equal length without a mask"
                    )

    @torch.no_grad()
    def run(self, layer: int, batches: Sequence[Tensor] | None = None, module: nn.Module | None = None) -> list[Tensor]:
        """What a layer, or a `module` in its place, makes of its inputs; hooks on it see them pass."""
        batches = self.batches if batches is None else batches
        module = self.layers[layer] if module is None else module
        made = []
        for x in batches:
            args, kwargs = (self._extra if len(x) == len(self.batches[0]) else self._short)[layer]
            made.append(unpacked(module(x, *args, **kwargs)))
        return made

    def watched(
        self, layer: int, x: Tensor, paths: Iterable[str], module: nn.Module | None = None, stop: bool = False
    ) -> tuple[list[Seen], Tensor]:
        """What modules of a layer, or of a `module` in its place, read of a batch, and what it makes of that batch.

        The batch itself where `stop` ends the run as soon as the modules at `paths` have read.
        """
        with Watch(self.layers[layer] if module is None else module, paths, stop) as seen:
            (x,) = self.run(layer, [x], module)
        return seen, x

    def moments(
        self, blocks: Mapping[Block, Projection], layer: int, batches: Sequence[Tensor]
    ) -> tuple[Moments, list[Tensor]]:
        """The moments of the inputs of a layer's blocks, float64, and what the layer makes of `batches`.

        Blocks that read the same tensor share one moment. Raises `InputError` for inputs that are not finite.
        """
        paths = self.paths(blocks, layer)
        sums: dict[str, Tensor] = {}
        first: dict[str, str] = {}
        made = []
        for x in batches:
            seen, y = self.watched(layer, x, paths.values())
            made.append(y)
            for one in seen:
                path, moment = one.readers[0], product(one.tensor, one.tensor)
                sums[path] = sums[path] + moment if path in sums else moment
                first.update(dict.fromkeys(one.readers, path))
        for path, moment in sums.items():
            check_finite(moment, f"{self.path}.{layer}.{path}")
        # What a layer never calls (Mamba takes the weight of its dt_proj by hand) has no moment.
        return {block: sums[first[path]] for block, path in paths.items() if path in first}, made

    def order(self, blocks: Mapping[Block, Projection]) -> dict[Block, int]:
        """When each block reads, within its layer: 0 for the first tensor that any reads, and so on.

        Blocks that the model never calls as layers are not in it. Goes through the whole text; give a short one.
        """
        found: dict[Block, int] = {}
        for layer in range(len(self.layers)):
            paths = self.paths(blocks, layer)
            seen, y = self.watched(layer, self.batches[0], paths.values())
            self.batches = [y]
            at = {path: i for i, one in enumerate(seen) for path in one.readers}
            found |= {block: at[path] for block, path in paths.items() if path in at}
        return found

    def paths(self, blocks: Mapping[Block, Projection], layer: int) -> dict[Block, str]:
        """The blocks of a layer, and where in it they are."""
        inside = f"{self.path}.{layer}."
        return {block: p.path.removeprefix(inside) for block, p in blocks.items() if block.layer == layer}


def product(x: Tensor, y: Tensor) -> Tensor:
    """X^T Y of two tensors `[..., n]` and `[..., m]` with a row for every symbol, `[n, m]` float64.

    Added up in float32 under autocast too: what a moment says of its weakest directions is lost in fewer digits.
    """
    with torch.autocast(x.device.type, enabled=False):
        return (x.flatten(0, -2).float().T @ y.flatten(0, -2).float()).double()


def check_finite(moment: Tensor, path: str) -> None:
    """Raise `InputError` where what the layer at `path` reads is not finite."""
    if not torch.isfinite(moment).all():
        raise InputError(f"the inputs of '{path}' are not finite on this text; use float32, or another text")


def importances(
    model: nn.Module,
    rows: Rows | Inputs,
    blocks: Mapping[Block, Projection],
    report: Callable[[int, int], None] | None = None,
) -> dict[Block, Tensor]:
    """How much each output of every block matters: the mean squared gradient of the loss at it, `[m]` float64.

    The loss is the cross-entropy of the text in nats, its gradient taken for every symbol. A small error e of an output
    costs about g^2 e^2 / 2: the diagonal of the Fisher information, as K-FAC (Martens and Grosse 2015) has it on its
    output side. What tells no next symbol is asked for what it says itself (`_loss`). Blocks that are never called as a
    layer are left out.
    """
    paths = {p.path for p in blocks.values()}
    sums: dict[str, Tensor] = {}

    def watch(path: str) -> Callable[..., None]:
        def add(gradient: Tensor) -> None:
            found = channels_last(model.get_submodule(path), gradient).double().square().flatten(0, -2).sum(0)
            sums[path] = sums[path] + found if path in sums else found

        def hook(module: nn.Module, args: Any, out: Tensor) -> None:
            if not out.requires_grad:  # what it reads is the same for every text, such as places
                out.requires_grad_()
            out.register_hook(add)

        return hook

    with ExitStack() as undo:
        for path in paths:
            undo.callback(model.get_submodule(path).register_forward_hook(watch(path)).remove)
        _backwards(model, rows, [], report or (lambda done, of: None))
    count, length = Inputs.of(rows).shape
    symbols = count * max(1, length - 1)
    return {block: sums[p.path][p.first : p.last] / symbols for block, p in blocks.items() if p.path in sums}


def weight_importances(
    model: nn.Module,
    rows: Rows | Inputs,
    blocks: Mapping[Block, Projection],
    report: Callable[[int, int], None] | None = None,
) -> dict[Block, Tensor]:
    """How much each input of every block matters to FWSVD (arXiv 2207.00112): squared gradients of its weights, `[n]`.

    Summed over the outputs, and over the rows of the text, each of which gives one gradient.
    """
    layers = {p.path: model.get_submodule(p.path) for p in blocks.values()}
    weights = {block: weight_of(model, p) for block, p in blocks.items()}
    sums = {block: torch.zeros(w.shape[1], dtype=torch.float64, device=w.device) for block, w in weights.items()}

    def add(done: int, of: int) -> None:
        for block, p in blocks.items():
            gradient: Tensor | None = layers[p.path].weight.grad  # type: ignore[union-attr, assignment]
            if gradient is not None:
                rowwise = rows_of_weight(layers[p.path], gradient)
                sums[block] += rowwise[p.first : p.last].double().square().sum(0)
        for layer in layers.values():
            layer.weight.grad = None  # type: ignore[union-attr]
        if report is not None:
            report(done, of)

    _backwards(model, rows, [layer.weight for layer in layers.values()], add)  # type: ignore[misc]
    return sums


def joint_importances(
    model: nn.Module,
    rows: Tensor,
    groups: Sequence[Sequence[Projection]],
    report: Callable[[int, int], None] | None = None,
) -> list[Tensor]:
    """How much errors of a group's outputs matter together: the mean of g g^T, `[sum m, sum m]` float64 for each group.

    g is the loss's gradient at all outputs of the group, side by side: the output side of K-FAC (Martens and Grosse
    2015), of which `importances` is the diagonal. The blocks of a group are whole layers that read the same text.
    """
    paths = [[p.path for p in group] for group in groups]
    seen: dict[str, Tensor] = {}
    sums = [torch.zeros(()).double() for _ in groups]

    def keep(path: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any, out: Tensor) -> None:
            out.register_hook(lambda gradient: seen.update({path: gradient.double().flatten(0, -2)}))

        return hook

    def add(done: int, of: int) -> None:
        for i, group in enumerate(paths):
            together = torch.cat([seen[path] for path in group], -1)
            sums[i] = sums[i].to(together.device) + together.T @ together
        if report is not None:
            report(done, of)

    with ExitStack() as undo:
        for path in (path for group in paths for path in group):
            undo.callback(model.get_submodule(path).register_forward_hook(keep(path)).remove)
        _backwards(model, rows, [], add)
    return [total / (rows.shape[0] * (rows.shape[1] - 1)) for total in sums]


def _backwards(
    model: nn.Module, rows: Rows | Inputs, wanted: Sequence[nn.Parameter], after: Callable[[int, int], None]
) -> None:
    """The loss of every row, and its gradient; only parameters that are wanted get one."""
    inputs = Inputs.of(rows).to(model.device)

    def begin(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        (args[0] if args else kwargs["hidden_states"]).requires_grad_()

    with ExitStack() as undo:
        for p in model.parameters():
            undo.callback(p.requires_grad_, p.requires_grad)
            p.requires_grad_(False)
        for p in wanted:
            p.requires_grad_(True)
        undo.callback(layers_of(model)[1][0].register_forward_pre_hook(begin, with_kwargs=True).remove)
        for i, row in enumerate(inputs.split(1)):
            with torch.enable_grad():
                _loss(model, row, i).backward()
            after(i + 1, len(inputs))


def _loss(model: nn.Module, row: Inputs, number: int) -> Tensor:
    """What a model's errors are measured by on one row, in nats.

    Of one that writes it is the cross-entropy of the row itself. Of others it is that of what the model says, drawn
    from it; where it says numbers, from a normal distribution around them (both as in the Fisher information).
    """
    out = call(model, row)
    if getattr(model, "can_generate", lambda: False)():
        ids = row.fields[IDS][0]
        return nn.functional.cross_entropy(out.logits[0, :-1].float(), ids[1:], reduction="sum")
    drawing = torch.Generator().manual_seed(number)
    if (logits := getattr(out, "logits", None)) is not None:
        logs = logits.float().flatten(0, -2).log_softmax(-1)
        drawn = torch.multinomial(logs.detach().exp().cpu(), 1, generator=drawing).to(logs.device)
        return -logs.gather(-1, drawn).sum()
    said = out.last_hidden_state.float()
    return (said * torch.randn(said.shape, generator=drawing).to(said.device)).sum()


def rows_of(
    tokens: Iterable[int] | Tensor, rows: int | None, length: int, seed: int = 0, frame: Frame = NO_FRAME
) -> Tensor:
    """Draw stretches of a text without overlap: `[rows, length]` int64, `frame` before and after each.

    So many as `rows` says, or as the text has, `ROWS` at most, when it is None. Raises `InputError` for a text that is
    too short for them, and a length that the frame leaves nothing of.
    """
    length = frame.room(length)
    flat = torch.as_tensor(tokens if isinstance(tokens, Tensor) else list(tokens), dtype=torch.long)
    there = len(flat) // length
    rows = max(1, min(ROWS, there)) if rows is None else rows
    if there < rows:
        raise InputError(
            f"the text to calibrate on has {len(flat):,} symbols, and {rows} rows of {length} need {rows * length:,}; "
            "use a longer text, or fewer or shorter rows"
        )
    chosen = torch.randperm(there, generator=torch.Generator().manual_seed(seed))[:rows].sort().values
    return frame.around(flat[: there * length].view(there, length)[chosen])
