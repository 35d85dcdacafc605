"""Dynamic sparse training: the weakest edges between neurons go, and as many grow elsewhere."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from inn.config.run import TrainConfig
from inn.nn.graph import Graph
from inn.nn.routing.base import Router
from inn.system.errors import InputError
from inn.training.objectives.base import Context, StepResult
from inn.training.objectives.options import RewireOptions
from inn.training.objectives.predict import Predict
from inn.training.parallel.group import Group


class Rewire(Predict):
    """Predict, and every `every` steps move a share of the edges of topology `rewired`.

    The edges of smallest weight go, by the norm of their weights in all rounds: exactly so many, those from a neuron to
    itself never. At the neuron that lost an edge one grows, from a neuron it did not hear. Its weights start at zero,
    and so do the optimiser's moments of them. All neurons hear as many as before, so that the number of edges is the
    same in the whole run. After *Neuro-inspired Ensemble-to-Ensemble Communication Primitives*, arXiv 2508.14140, where
    neurons are numbers; here they are vectors, and a cosine of two activities is ‖Σ y xᵀ‖ / √(‖Σ x xᵀ‖ ‖Σ y yᵀ‖).

    Where edges are is in the model's checkpoints, among its buffers; what is drawn depends on the seed and the step.
    """

    Options = RewireOptions

    def __init__(self, options: RewireOptions, context: Context, config: TrainConfig):
        super().__init__(options, context, config)
        graph = getattr(self.model, "graph", None)
        if not isinstance(graph, Graph) or graph.config.topology.kind != "rewired":
            found = "this model has none" if not isinstance(graph, Graph) else f"'{graph.config.topology.kind}' stays"
            raise InputError(
                f"objective 'rewire' moves the edges of topology 'rewired', and {found}; set model.topology rewired"
            )
        self.graph: Any = graph
        self.routers: list[Any] = [module.router for module in self.graph.rounds]
        if not all(router.edge_weights() for router in self.routers):
            raise InputError(
                f"objective 'rewire' needs a weight for every edge, and router '{graph.config.router.kind}' has "
                "none of its own; use router dendrites, bus or mixing"
            )
        if any(p.numel() == 0 or hasattr(p, "device_mesh") for r in self.routers for p, _ in r.edge_weights()):
            raise InputError("objective 'rewire' needs whole weights in every process; set train.parallel ddp")
        self.scores: list[_Scores] = []

    def due(self, step: int) -> bool:
        """Whether edges move at the end of this step."""
        return step % self.options.every == 0 and step <= self.options.until * self.context.steps

    def before_step(self, step: int) -> None:
        if self.options.grow != "random" and self.due(step):
            self.scores = [_Scores(router, self.options.grow == "gradient") for router in self.routers]

    @torch.no_grad()
    def after_step(self, step: int, result: StepResult) -> None:
        scores, self.scores = self.scores, []
        if not self.due(step):
            return
        sources: Tensor = self.graph.edge_sources
        size = self._sizes()
        neurons = len(sources)
        if scores:
            wish = sum((s.end() for s in scores), torch.zeros(neurons, neurons, dtype=torch.float64))
            wish = _together(wish, self.context.group)
        else:
            wish = torch.rand(neurons, neurons, generator=self.generator(step), dtype=torch.float64)
        own = torch.arange(neurons, device=sources.device)[:, None]
        movable = (sources != own) & self.graph.edge_open
        count = round(self.options.share * int(movable.sum()))
        order = size.masked_fill(~movable, torch.inf).flatten().argsort(stable=True)  # of equal ones the first
        gone = torch.zeros_like(movable).flatten().index_fill(0, order[:count], True).view_as(movable)
        # Whom a neuron hears does not grow; whom it has just lost only where there is no other.
        wish = wish.to(sources.device)
        wish = wish.scatter(1, torch.where(gone, sources, own), -1.0).scatter(1, sources.where(~gone, own), -torch.inf)
        wish = wish.masked_fill(own == own.T, -torch.inf)
        best = wish.argsort(dim=1, descending=True, stable=True)[:, : sources.shape[1]]
        rank = (gone.cumsum(1) - 1).clamp_min(0)
        sources.copy_(torch.where(gone, best.gather(1, rank), sources))
        self._clear(gone)

    def _sizes(self) -> Tensor:
        """‖R‖² of every edge `[N, K]`, summed over rounds."""
        found: Any = 0.0
        for router in self.routers:
            views = [view(p) for p, view in router.edge_weights()]
            found = found + torch.cat([w.double().square().reshape(*w.shape[:2], -1).sum(2) for w in views])
        return found

    def _clear(self, gone: Tensor) -> None:
        """Zero the weights of edges that have just grown, and what is kept of them: moments and averages."""
        average = self.context.average
        for router in self.routers:
            first = 0
            for p, view in router.edge_weights():
                rows = gone[first : first + len(view(p))]
                first += len(rows)
                moments = self.context.optimizer.state.get(p, {}).values()
                kept = (p, *moments, *(() if average is None else (average.of[p],)))
                for t in (t for t in kept if isinstance(t, Tensor) and t.shape == p.shape):
                    edges = view(t.detach())
                    edges.masked_fill_(rows.view(*rows.shape, *[1] * (edges.ndim - 2)), 0.0)


class _Scores:
    """What an edge from each neuron to each would be good for, gathered while a batch goes through a router.

    Args:
        gradient: ‖Σ g_i x_jᵀ‖ with g_i the gradient of what neuron i hears, summed over calls; else the cosine of what
            it hears and what j sends. Where an edge's weight is one number, |Σ g_i · x_j|.
    """

    def __init__(self, router: Router, gradient: bool):
        self.router, self.gradient = router, gradient
        self.found = torch.zeros(router.neurons, router.neurons, dtype=torch.float64)
        out = getattr(router, "out", None)  # where a map follows, what is heard is what goes into it
        self.sent: Tensor | None = None
        self.single = all(view(p).ndim == 2 for p, view in router.edge_weights())
        self.hooks = [router.register_forward_pre_hook(self._take, with_kwargs=True)]
        if isinstance(out, nn.Module):
            self.hooks.append(out.register_forward_pre_hook(lambda _, given: self._hear(given[0])))
        else:
            self.hooks.append(router.register_forward_hook(lambda _m, _a, result: self._hear(result[0])))

    def end(self) -> Tensor:
        """`[N_to, N_from]`."""
        for hook in self.hooks:
            hook.remove()
        return self.found

    def _take(self, _: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        with torch.no_grad():
            self.sent = self.router.sent(given[0], named.get("gate"))

    def _hear(self, heard: Tensor) -> None:
        sent, self.sent = self.sent, None
        if sent is None or not torch.is_grad_enabled():
            return
        if not self.gradient:
            self._add(heard.detach(), sent, cosine=True)
        elif heard.requires_grad:
            heard.register_hook(lambda g: self._add(g, sent, cosine=False))

    @torch.no_grad()
    def _add(self, y: Tensor, x: Tensor, cosine: bool) -> None:
        """Add ‖Σ y_i x_jᵀ‖ over all steps, for `y` `[B, T, N, I]` and `x` `[B, T, N, D]`."""
        x, y = (t.float().flatten(0, 1) for t in (x, y))  # [S, N, D]
        if self.single:
            size, of_x, of_y = torch.einsum("snd,smd->nm", y, x).abs(), *(t.square().sum((0, 2)) for t in (x, y))
        else:  # neuron by neuron: all at once would be N² matrices
            flat = x.flatten(1)
            rows = [(y[:, i].T @ flat).unflatten(1, x.shape[1:]).square().sum((0, 2)).sqrt() for i in range(y.shape[1])]
            size = torch.stack(rows)
            of_x, of_y = (torch.linalg.matrix_norm(torch.einsum("snd,sne->nde", t, t)) for t in (x, y))
        if cosine:
            whole = (of_y[:, None] * of_x).sqrt()
            size = torch.where(whole > 0, size / whole.where(whole > 0, 1.0), 0.0)  # of one that is silent: 0 / 0
        self.found += size.cpu().double()


def _together(scores: Tensor, group: Group) -> Tensor:
    """The sum over all processes, the same in each."""
    return torch.tensor(group.sum(*scores.flatten().tolist()), dtype=scores.dtype).view_as(scores)
