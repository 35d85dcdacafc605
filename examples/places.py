"""Where am I? Small spiking networks, each of which knows a stretch of a route, and neurons that answer everywhere.

After *Ensembles of Compact, Region-specific & Regularized Spiking Neural Networks for Scalable Place Recognition*,
arXiv 2209.08723. A region is a group of leaky integrate-and-fire neurons that inhibit one another (the winner takes
all) and learn, by what wins, the pictures of 25 places. All regions answer a picture of the second drive, and the place
of whoever fires most is the answer. A region never saw the others' places: neurons that won nothing there have low
thresholds and answer anything. They are found on the first drive (`inn.analysis.hyperactive`) and silenced.

The neurons are one graph of this library: memory `lif`, router `dendrites` with a lag (who fired a step before
inhibits), topology `groups` (regions do not hear one another). How they learn, a rule of competition with thresholds
that rise with what wins, is this file's: the library trains by gradients.

    python examples/places.py
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

import inn
from inn.analysis import hyperactive, silenced

PLACES, NEURONS = 25, 50
"""Of a region."""
SIZE, AHEAD, STEPS = 16, 4, 16
"""Pixels of a picture, how many the next one is ahead, and steps for which a picture is looked at."""
GAIN, INHIBITION, TAU = 2.0, 0.2, 4.0
PASSES, RATE = 10, 0.3
RISE = 0.1
"""By how much a threshold rises with a win; all fall a little meanwhile, so that it is worth 1 in the long run."""
ABOVE = (2.0, 3.0, 4.0)
"""From how many times the average response a neuron is hyperactive: the best on a drive for calibration."""


def street(places: int, seed: int) -> Tensor:
    """What stands along a route, a strip of random textures of three sizes below a bright sky."""
    draw, height, length = torch.Generator().manual_seed(seed), SIZE + 4, places * AHEAD + SIZE + 4
    strip = torch.linspace(1.5, -1.5, height)[:, None].expand(-1, length).clone()
    for size in (2, 4, 8):
        coarse = torch.randn(1, 1, height // size + 3, length // size + 3, generator=draw)
        strip += F.interpolate(coarse, size=strip.shape, mode="bicubic")[0, 0]
    return strip


def drive(strip: Tensor, places: int, seed: int, changed: float = 1.0) -> Tensor:
    """Pictures `[places, F]` of a drive: other light, noise and a pixel's shift; brighter than around, and darker."""
    draw, pictures = torch.Generator().manual_seed(seed), []
    for place in range(places):
        down, right = torch.randint(1, 4, (2,), generator=draw).tolist() if changed else (2, 2)
        right += place * AHEAD
        light = F.interpolate(torch.randn(1, 1, 3, 3, generator=draw), size=(SIZE, SIZE), mode="bicubic")
        noise = 0.5 * torch.randn(1, 1, SIZE, SIZE, generator=draw)
        seen = F.avg_pool2d(strip[None, None, down : down + SIZE, right : right + SIZE] + changed * (light + noise), 2)
        contrast = (seen - F.avg_pool2d(seen, 5, 1, 2, count_include_pad=False)).flatten()
        pictures.append(F.normalize(torch.cat((contrast.clamp_min(0), (-contrast).clamp_min(0))), dim=0))
    return torch.stack(pictures)


class Regions:
    """Groups of neurons that fire, one for each stretch of a route, as a graph.

    A neuron's two numbers are the current that it is given and the spikes that it sends.

    Attributes:
        wants: what each neuron looks for `[N, F]`.
        thresholds: of the neurons `[N]`; a current is divided by them.
        places: what each neuron stands for `[N]`: where in its region it fires most; -1 if it never fired there.
    """

    def __init__(self, regions: int, seed: int):
        self.regions, self.draw, n = regions, torch.Generator().manual_seed(seed), regions * NEURONS
        self.graph = inn.Graph(
            neurons=n, width=2, rounds=1, norm="none", identity="none", readout="concat",
            topology={"kind": "groups", "groups": regions, "between": 0},
            router={"kind": "dendrites", "lag": 1},
            memory={"kind": "lif", "expand": 1, "tau": TAU, "threshold": 1.0},
        ).requires_grad_(False)  # fmt: skip
        only, edges = self.graph.round(0), self.graph.edges
        for weight in self.graph.parameters():
            weight.zero_()
        only.router.own.weight[:, 0, 0] = 1.0  # the current that is given drives the unit,
        others = edges.sources != torch.arange(n)[:, None]
        only.router.hear.weight.view(n, 2, -1, 2)[:, 0, :, 1] = -INHIBITION * others  # the others' spikes hold it back,
        only.memory.out_proj.weight[:, 1, 0] = 1.0  # and its own are told
        self.wants = F.normalize(torch.rand(n, SIZE**2 // 2, generator=self.draw), dim=1)
        self.thresholds, self.places = torch.ones(n), torch.full((n,), -1)

    def fire(self, currents: Tensor) -> Tensor:
        """How often each neuron fires `[B, N]` while it is given a current `[B, N]`."""
        counts = []
        for given in currents.split(64):
            x = torch.stack((given, torch.zeros_like(given)), -1).flatten(1)
            told = self.graph(x[:, None].expand(-1, STEPS, -1))[0]
            counts.append(told.unflatten(2, (-1, 2))[..., 1].sum(1))
        return torch.cat(counts)

    def answer(self, pictures: Tensor, off: Sequence[int] = ()) -> Tensor:
        """How often each neuron fires `[B, N]` at pictures `[B, F]`, those of `off` silenced."""
        with silenced(self.graph, off):
            return self.fire(GAIN * pictures @ self.wants.T / self.thresholds)

    def learn(self, pictures: Tensor, rise: float = RISE) -> Tensor:
        """Learn a first drive `[P, F]`, each region its own part of it at the same time; returns all answers to it."""
        own = pictures.view(self.regions, PLACES, -1)
        wants, thresholds = self.wants.view(self.regions, NEURONS, -1), self.thresholds.view(self.regions, NEURONS)
        every = torch.arange(self.regions)
        for _ in range(PASSES):
            for place in torch.randperm(PLACES, generator=self.draw).tolist():
                seen = own[:, place]
                currents = GAIN * (wants @ seen[..., None])[..., 0] / thresholds
                fired = self.fire(currents.view(1, -1)).view_as(currents)
                won = (fired + 1e-3 * currents).argmax(1)  # of those that fired as often the one that is driven most
                wants[every, won] = F.normalize(torch.lerp(wants[every, won], seen, RATE), dim=1)
                thresholds *= 1 - rise / NEURONS
                thresholds[every, won] += rise
                thresholds.clamp_min_(0.5)
        answers = self.answer(pictures)
        within = answers.view(self.regions, PLACES, self.regions, NEURONS)[every, :, every]  # regions, places, neurons
        most, where = within.max(1)
        self.places = torch.where(most > 0, where + PLACES * every[:, None], -1).flatten()
        return answers

    def recognised(self, pictures: Tensor, off: Sequence[int] = ()) -> float:
        """Recall@1 of a drive: at how many places most spikes come from neurons that stand for it."""
        known = self.places >= 0
        votes = torch.zeros(len(pictures), len(pictures))
        votes.index_add_(1, self.places[known], self.answer(pictures, off)[:, known])
        return (votes.argmax(1) == torch.arange(len(pictures))).double().mean().item()


def recalls(regions: int, seed: int, rise: float = RISE) -> dict[str, float]:
    """Recall@1 on the second drive: as learned, without hyperactive neurons, without as many at random, by pixels."""
    strip, places = street(regions * PLACES, seed), regions * PLACES
    first, second, third = (drive(strip, places, 1000 * seed + n, n > 0) for n in range(3))
    nets = Regions(regions, seed)
    answers = nets.learn(first, rise)
    lists = {tuple(hyperactive(answers, above)) for above in ABOVE} | {()}
    off = max(sorted(lists), key=lambda some: nets.recognised(third, some))  # the second drive decides nothing
    drawn = torch.randperm(len(nets.places), generator=nets.draw)[: len(off)].tolist()
    nearest = torch.cdist(second, first).argmin(1) == torch.arange(places)
    return {
        "as learned": nets.recognised(second),
        "without the hyperactive": nets.recognised(second, off),
        "without as many at random": nets.recognised(second, drawn),
        "nearest picture": nearest.double().mean().item(),
        "off": len(off) / len(nets.places),
    }


def main(seeds: Sequence[int] = (0, 1, 2), regions: Sequence[int] = (2, 4, 8)) -> None:
    for many in regions:
        found = [recalls(many, seed) for seed in seeds]
        shown = ", ".join(f"{name} {sum(f[name] for f in found) / len(found):.3f}" for name in found[0])
        print(f"{many} regions, {many * PLACES} places: {shown}")


if __name__ == "__main__":
    main()
