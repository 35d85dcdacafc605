"""Learn one thing after another: a model grows an organ for what is new to it, and keeps all else as it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import torch

from inn.config.run import DataConfig, TrainConfig
from inn.config.typed import typed
from inn.data.examples import Examples
from inn.models.inn import INN
from inn.models.signal_graph import SignalGraph
from inn.nn.descriptors import NAMES, Descriptors
from inn.nn.modes import learns
from inn.nn.topology.base import learned
from inn.registry import READOUTS
from inn.surgery.neurons import freeze_old
from inn.surgery.novelty import Descriptor, describe, judged, units_of
from inn.surgery.plans import fewer, more
from inn.surgery.reading import organs_of
from inn.surgery.rebuild import rebuilt
from inn.surgery.stream import Domain, StreamLog, score_of, stream_of
from inn.system.errors import InputError
from inn.training.optim import build_optimizer, build_schedule
from inn.training.parallel.single import SingleDevice
from inn.training.step import Stepper

SYMBOLS = 200_000
"""What an organ is trained on where nobody says otherwise, symbols or steps."""
UNITS = {True: 16, False: 128}
"""Stretches of a text, or examples, of a batch that is judged."""
Report = Callable[[StreamLog], None]


@typed
@learns
@torch.random.fork_rng(devices=[])
def learn_on(
    model: Any,
    stream: Sequence[Any],
    *,
    novelty: Literal["calibrated"] | float = "calibrated",
    neurons: int = 2,
    memory: Any = None,
    data: Mapping[str, Any] | None = None,
    train: Mapping[str, Any] | None = None,
    span: int | None = None,
    rank: int | None = None,
    held: int = 20_000,
    seed: int = 0,
    report: Report | None = None,
) -> tuple[Any, StreamLog]:
    """Learn what comes in a stream; for what is new a model grows neurons, an organ, and trains nothing else.

    The first of the stream is what the model knows. A descriptor of what its neurons do there is made, and one for each
    organ (`inn.nn.descriptors`); what none of them fits is new. An organ's neurons hear all others, and are heard by
    none of them; the head reads them where their descriptor fits what is read, and does not elsewhere. All weights that
    were there stay as they are, bit for bit. So what the model knew it tells as before, as long as it is recognised:
    texts by the last `span` symbols, stream by stream; signals by all sequences that are read together, so read those
    of one kind at a time. After *SEMA*, arXiv 2403.18886.

    Args:
        model: an `INN` or a `SignalGraph`, trained on the first of the stream, with readout `concat` and a norm; it is
            left as it is. One that has learned on before goes on.
        stream: what comes, in order: corpora by name (`file:PATH`), data sets, or each an `inn.surgery.stream.Domain`.
        novelty: the mean deviation from what is known above which something is new; `calibrated`: one that batches of
            what is known do not come to by chance, the mean and 5 deviations of 200 drawn ones.
        neurons: of an organ.
        memory: of an organ's neurons, as `inn.grow` takes it.
        data, train: how an organ is trained, by field of `DataConfig` (`batch`, `window`) and `TrainConfig` (`lr`,
            `symbols`, `SYMBOLS` where not given, ...); there is no weight decay.
        span, rank: of the descriptors (`readout.span`, 256, and `readout.rank`, 32), where the model has none yet.
        held: the most symbols or examples of a domain's test part that are scored, each time; 0: all.
        seed: of new weights, and of the order of the data.
        report: called with the log after each of the stream.

    Returns the model, `[B, T]` or `[B, T, F]` as before, and the log: scores of all after each, transfer, parameters.

    Raises `InputError` for a stream of one, for what the model does not read, and for parts that cannot be added to.

    Example: ``grown, log = learn_on(inn.load("runs/demo"), ["pydoc", "file:notes.txt"])``
    """
    _check(model, novelty, neurons, held)
    domains = stream_of(model, stream)
    options = TrainConfig(**{"symbols": SYMBOLS, "seed": seed, **(train or {}), "weight_decay": 0.0})
    data_options = DataConfig(**(data or {}))
    known = _known(model)
    sizes = _sizes(model, span, rank)
    units = UNITS[domains[0].text]
    log, new, mode = StreamLog([one.name for one in domains]), model, model.training
    limit = None if novelty == "calibrated" else float(novelty)
    for t, domain in enumerate(domains):
        found = units_of(new, domain, sizes["span"])
        if not known:
            known.append(describe(found, sizes["rank"]))
            log.novelty.append(None)
            log.fits.append(0)
        else:
            seen = found[: 4 * units]
            ratio, best = judged(seen, known, min(units, len(seen)), limit, seed)
            log.novelty.append(ratio)
            if ratio > 1:
                new = _with_organ(new, known, neurons, memory, seed + t, domain, data_options, options, sizes)
                known.append(describe(found, sizes["rank"]))
                best = len(known) - 1
                new.descriptors.put(best, **vars(known[-1]))
                log.expanded.append(t)
            log.fits.append(best)
        _score(new, domains, log, held)
        if report is not None:
            report(log)
    return new.train(mode) if new is not model else rebuilt(model, fewer(model, [*range(model.config.neurons)])), log


def _check(model: Any, novelty: Any, neurons: int, held: int) -> None:
    if not isinstance(model, INN | SignalGraph):
        raise InputError(f"what learns on is an INN or a SignalGraph, not a {type(model).__name__}")
    readout = model.config.readout.kind
    if not READOUTS[readout].side_by_side or not hasattr(model.config.readout, "organs"):
        raise InputError(
            f"organs are told apart by readout 'concat', and this model has '{readout}'; train one with it"
        )
    if learned(model.config) or model.config.router.kind == "workspace":
        what = f"topology '{model.config.topology.kind}'" if learned(model.config) else "router 'workspace'"
        raise InputError(f"with {what} new neurons would change what the old ones hear; train a model without it")
    if novelty != "calibrated" and not novelty > 0:
        raise InputError(f"novelty must be 'calibrated', or deviations above 0, not {novelty}")
    for name, value, least in (("neurons", neurons, 1), ("held", held, 0)):
        if value < least:
            raise InputError(f"{name} must be at least {least}, not {value}")


def _sizes(model: Any, span: int | None, rank: int | None) -> dict[str, int]:
    """The sizes of the descriptors."""
    own, found = model.config.readout, {}
    for name, value in (("span", span), ("rank", rank)):
        found[name] = getattr(own, name) if value is None else value
        if found[name] < 1:
            raise InputError(f"{name} must be at least 1, not {value}")
        if organs_of(model.config) and found[name] != getattr(own, name):
            raise InputError(f"the model's descriptors have {name} {getattr(own, name)}, not {value}; leave it out")
    return found


def _known(model: Any) -> list[Descriptor]:
    """The descriptors that a model has, where it has learned on before."""
    own: Descriptors | None = model.descriptors
    count = 0 if own is None else own.count
    return [Descriptor(**{n: getattr(own, n)[k].detach().cpu().clone() for n in NAMES}) for k in range(count)]


def _with_organ(
    model: Any,
    known: Sequence[Descriptor],
    neurons: int,
    memory: Any,
    seed: int,
    domain: Domain,
    data: DataConfig,
    train: TrainConfig,
    sizes: Mapping[str, int],
) -> Any:
    """A model with one organ more, trained on a domain; nothing else of it has changed."""
    torch.manual_seed(seed)
    plan = more(model, neurons, memory, seed, organ=True)
    plan.config = replace(plan.config, readout=replace(plan.config.readout, **sizes))
    new = rebuilt(model, plan)
    for k, one in enumerate(known):
        new.descriptors.put(k, **vars(one))
    own = [i for i, n in enumerate(new.config.read) if n in organs_of(new.config)[-1]]
    with torch.no_grad():
        new.norm.gain[own] = 1.0  # it answers for itself alone, and need not begin silent
    freeze_old(model, new, plan.neurons, unheard=True)
    new.descriptors.forced = len(known)
    train_on(new, domain, data, train)
    new.eval()
    return rebuilt(new, fewer(new, [*range(new.config.neurons)]))  # without the hooks that held the rest still


def train_on(model: Any, domain: Domain, data: DataConfig, train: TrainConfig) -> None:
    """Train a model, where its parameters have gradients, on a domain alone; without a run directory."""
    batches = domain.batches(data, train.seed)
    batch = next(batches)
    steps = max(1, -(-train.symbols // (batch[0].shape[0] * batch[0].shape[1])))
    optimizer, schedule = build_optimizer(model, train), build_schedule(train, steps)
    model.train()
    carry = not isinstance(domain.train, Examples) and data.order != "random"
    stepper, state = Stepper(SingleDevice(model), optimizer, replace(train, objective="predict"), carry, steps), None
    device = next(model.parameters()).device
    for step in range(steps):
        (inputs, targets), (reset, weights) = batch[:2], (None if t is None else t.to(device) for t in batch[2:])
        there = inputs.to(device), targets.to(device)
        state = stepper(*there, reset, state, schedule(step), step + 1, weights=weights).state
        batch = next(batches)
    if stepper.average is not None:
        stepper.average.take()


def _score(model: Any, domains: Sequence[Domain], log: StreamLog, held: int) -> None:
    """Write down what a model does on all domains; one that has not changed does the same as before."""
    if log.matrix and len(log.matrix) not in log.expanded:
        log.matrix.append([*log.matrix[-1]])
    else:
        found = [score_of(model, one, held) for one in domains]
        log.score = found[0][1]
        log.matrix.append([value for value, _ in found])
    log.parameters.append(model.num_parameters)
