"""Smaller models on demand: which neurons of a large one are needed for a task, within a budget."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from inn.config.typed import typed
from inn.nn.modes import device_of, evaluating, learns
from inn.surgery.neurons import keep
from inn.surgery.plans import config_of, graph_of
from inn.system.errors import InputError
from inn.training.optim import parameter_groups

Example = tuple[Tensor, Tensor, Tensor, Tensor]
"""Inputs `[B, T]` or `[B, T, F]`, targets as the model takes them, tasks `[B, E]` and budgets `[B]`, row by row."""
TRIED = (1.0, 0.85, 0.7)
"""Shares of a budget whose candidates are made."""


class Generator(nn.Module):
    """Gates on the neurons of a model, made of a task and a budget: `[B, E]`, `[B]` -> `[B, N]`.

    The model and its gates are trained together, over many tasks (`learn`); then `make` cuts out what a task needs,
    seen before or not, without any training. In training a gate is open where it is above 0, and what is
    learned of it goes to that number as it is (straight through); in use the highest are open, as many as the budget
    allows. A neuron whose
    gate is closed is silent: others hear nothing of it, and the readout has zeros in its place. After *NN-Factory*,
    arXiv 2308.15003.

    Args:
        model: an INN or a `signal` model of many narrow neurons, whose router has no mass to share (none, dendrites,
            bus, mixing); it is trained as it is, no copy.
        tasks: E, the numbers that describe a task.
        width: hidden numbers between a task and the gates.

    Raises `InputError` for models whose neurons cannot be gated.

    >>> from inn import INN
    >>> model = INN(vocab=9, neurons=8, width=4, rounds=1, router="none", recall="none")
    >>> small = Generator(model, tasks=3).make(torch.ones(3), budget=0.25)
    >>> small.config.neurons <= 2
    True
    """

    @typed
    def __init__(self, model: Any, tasks: int, width: int = 64):
        super().__init__()
        config = config_of(model)
        if tasks < 1 or width < 1:
            raise InputError(f"a task is described by at least one number, in a width of 1, not {tasks} and {width}")
        if getattr(model, "votes", None) is not None:
            raise InputError(
                f"recall '{config.recall.kind}' votes beside the neurons, which gates do not reach; use last"
            )
        for module in graph_of(model).rounds:
            router: Any = module.router
            if config.lag or (router is not None and router.mass is not None):
                raise InputError(
                    f"router '{config.router.kind}' shares a mass among the neurons, or hears them a step later, and a "
                    "gate would not be a neuron less; use router none, dendrites, bus or mixing"
                )
        self.neurons, self.tasks = config.neurons, tasks
        self.gates = nn.Sequential(nn.Linear(tasks + 1, width), nn.ReLU(), nn.Linear(width, self.neurons))
        # Tasks that differ begin with other halves of the neurons: alike, they would never come to need others.
        first, last = self.gates[0], self.gates[2]
        nn.init.normal_(first.weight)  # type: ignore[arg-type]
        nn.init.normal_(last.weight, std=3 / width**0.5)  # type: ignore[arg-type]
        nn.init.zeros_(last.bias)  # type: ignore[arg-type]
        self._model = [model]  # not a child: its weights are not the generator's
        self.to(device_of(model))

    @property
    def model(self) -> Any:
        """The model that smaller ones are cut out of."""
        return self._model[0]

    def forward(self, tasks: Tensor, budgets: Tensor) -> Tensor:
        """How much each neuron is needed, `[B, N]`, above 0 that it is, of tasks `[B, E]` and budgets `[B]`."""
        return self.gates(torch.cat((tasks, budgets[:, None].log2() / 4), 1))

    @contextmanager
    def gated(self, gates: Tensor) -> Iterator[None]:
        """Let the model's neurons be as loud as gates `[B, N]` say while the `with` block runs; 0 silences one."""
        graph = graph_of(self.model)

        def sent(module: nn.Module, args: tuple, options: dict[str, Any]):
            own = gates[:, None].expand(-1, args[0].shape[1], -1).to(args[0].dtype)
            before = options.get("gate")
            return args, {**options, "gate": own if before is None else before * own}

        def read(module: nn.Module, args: tuple):
            return (args[0] * gates[:, None, :, None].to(args[0].dtype), *args[1:])

        with ExitStack() as hooks:
            for module in graph.rounds:
                if (router := module.router) is not None:
                    hooks.callback(router.register_forward_pre_hook(sent, with_kwargs=True).remove)  # type: ignore[union-attr]
            hooks.callback(graph.readout.register_forward_pre_hook(read).remove)
            yield

    @learns
    def learn(
        self,
        examples: Iterable[Example],
        loss: Callable[[Tensor, Tensor, Tensor], Tensor] | None = None,
        *,
        lr: float = 3e-3,
        steps: int = 1000,
        price: float = 2.0,
        weight_decay: float = 0.01,
    ) -> list[dict[str, float]]:
        """Train the model and its gates, a step for each batch of `examples`; returns loss and mean gate of every step.

        Minimised is the loss and `price` times what the mean gate of a row is above its budget. The price rises from 0
        over the first half of the steps, so that neurons have learned something before they are chosen from; the
        learning rate falls over the second.

        Args:
            loss: of what the model tells, targets and tasks; None: the model's own, per target.
        """
        model, told = self.model, []
        parameters = [*parameter_groups(model, weight_decay), *parameter_groups(self, weight_decay)]
        optimizer = torch.optim.AdamW(parameters, lr=lr)
        model.train()
        for step, (inputs, targets, tasks, budgets) in enumerate(islice(examples, steps), 1):
            done = step / steps
            asked = self(tasks, budgets) / 4
            gates = (asked > 0).to(asked) + asked - asked.detach()
            with self.gated(gates):
                y, _ = model(inputs)
            own = model.loss(y, targets) / model.counted(targets) if loss is None else loss(y, targets, tasks)
            above = (gates.mean(1) - budgets).relu().mean() * min(1.0, (2 * done) ** 2)
            optimizer.zero_grad(set_to_none=True)
            (own + price * above).backward()
            torch.nn.utils.clip_grad_norm_([p for group in parameters for p in group["params"]], 1.0)
            for group in optimizer.param_groups:
                group["lr"] = lr * min(1.0, 2.05 - 2 * done)
            optimizer.step()
            told.append({"loss": float(own.detach()), "gates": float(gates.detach().mean())})
        model.eval()
        return told

    @torch.no_grad()
    def chosen(self, task: Tensor, budget: float) -> list[int]:
        """The neurons that a task `[E]` needs, as many as the budget, a share of all, allows at most; one at least."""
        if not 0 < budget <= 1:
            raise InputError(f"budget must be in (0, 1], a share of the {self.neurons} neurons, not {budget}")
        if task.shape != (self.tasks,):
            raise InputError(f"a task is described by [{self.tasks}] numbers, not {list(task.shape)}")
        device = device_of(self)
        needed = self(task.to(device, torch.float32)[None], torch.tensor([budget], device=device))[0]
        most = max(1, min(int(budget * self.neurons + 1e-6), int((needed > 0).sum())))
        return sorted(needed.topk(most).indices.tolist())

    def make(
        self,
        task: Tensor,
        budget: float,
        *,
        examples: tuple[Tensor, Tensor] | None = None,
        seconds: float | None = None,
        latency: Mapping[int, float] | None = None,
    ) -> Any:
        """A model of the neurons that a task `[E]` needs, cut out by `inn.keep`.

        Candidates for the budget, and for budgets somewhat below, are made. With `examples` (inputs, targets) of the
        task it is the one of the least loss on them, else the largest. With a table `latency` of seconds by number of
        neurons (`latencies`) none that takes longer than `seconds` is.

        Raises `InputError` for a budget outside (0, 1], and where no candidate is fast enough.
        """
        if (seconds is None) is not (latency is None):
            raise InputError("seconds are looked up in a table; give seconds and latency, or neither")
        found = {tuple(self.chosen(task, budget * share)): None for share in TRIED}
        if latency is not None and seconds is not None:
            slow = min((latency.get(len(one), float("inf")) for one in found), default=0.0)
            found = {one: None for one in found if latency.get(len(one), float("inf")) <= seconds}
            if not found:
                raise InputError(f"no candidate takes at most {seconds:g} seconds, the fastest {slow:g}; lower budget")
        made = [keep(self.model, neurons=list(one)) for one in found]
        if examples is None or len(made) == 1:
            return max(made, key=lambda one: one.config.neurons)
        return min(made, key=lambda one: _loss(one, *examples))

    def latencies(self, inputs: Tensor, budgets: Iterable[float], repeats: int = 5) -> dict[int, float]:
        """Seconds to read `inputs`, the least of `repeats`, by number of neurons: those that `make` tries."""
        sizes = sorted({max(1, int(b * share * self.neurons + 1e-6)) for b in budgets for share in TRIED})
        made = {n: keep(self.model, neurons=range(n)) for n in sizes}
        found = dict.fromkeys(sizes, float("inf"))
        for _ in range(repeats):
            for n, one in made.items():
                began = time.perf_counter()
                with torch.no_grad(), evaluating(one):
                    one(inputs)
                found[n] = min(found[n], time.perf_counter() - began)
        return found


@torch.no_grad()
def _loss(model: Any, inputs: Tensor, targets: Tensor) -> float:
    with evaluating(model):
        return float(model.loss(model(inputs)[0], targets) / model.counted(targets))
