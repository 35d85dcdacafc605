"""What this machine can do at best: matrix products, bytes moved and exponentials per second, each measured."""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from inn.ops import neuron_linear, selective_scan
from inn_benchmarks.measure import Product, Work
from inn_benchmarks.scan import ScanSize, scan_inputs

Clock = Callable[[], float]
SIZES = tuple(2**n for n in range(16, 29, 2))
"""Bytes, read and written together, at which copying is measured: from the first cache to the memory."""
EXPONENTIALS = (torch.exp, torch.exp2, torch.sigmoid)


def clock() -> Clock:
    """The processor time of a single thread, which other work on the machine does not add to; else the time of day."""
    return time.thread_time if torch.get_num_threads() == 1 else time.perf_counter


@dataclass(frozen=True)
class Rates:
    """What a bound is made of.

    Attributes:
        products: FLOPs per second of the better of PyTorch's matrix product and the library's own map, by dtype.
        copies: bytes per second, read and written, by the bytes that a copy moves.
        exponentials: per second, in float32 and in the first cache.
    """

    products: dict[str, float]
    copies: dict[int, float]
    exponentials: float

    def bound(self, flops: float, dtype: str, moved: float, exponentials: float) -> tuple[float, str]:
        """Least seconds that an op needs for its work, and what of it takes them; a copy is timed at its own size.

        >>> Rates({"float32": 1e9}, {0: 1e9}, 1e9).bound(2e9, "float32", 1e9, 0)
        (2.0, 'products')
        """
        products = self.products.get(dtype, self.products["float32"])
        sizes = sorted(self.copies)
        copies = self.copies[sizes[max(0, bisect_right(sizes, moved) - 1)]]
        times = {
            "products": flops / products,
            "bytes": moved / copies,
            "exponentials": exponentials / self.exponentials,
        }
        most = max(times, key=lambda what: times[what])
        return times[most], most

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "products": self.products,
            "copies": {str(size): rate for size, rate in self.copies.items()},
            "exponentials": self.exponentials,
        }


def measure(side: int = 2048, sizes: tuple[int, ...] = SIZES, sample: float = 0.02, rounds: int = 7) -> Rates:
    """Measure the rates with the threads at hand: of everything the fastest reading."""
    now = clock()

    def fastest(work: Work) -> float:
        work()
        start = now()
        work()
        repeats = max(1, int(sample / max(now() - start, 1e-7)))
        found = []
        for _ in range(rounds):
            start = now()
            for _ in range(repeats):
                work()
            found.append((now() - start) / repeats)
        return max(min(found), 1e-9)

    products = {}
    for dtype in (torch.float32, torch.bfloat16):
        product = Product(dtype, side)
        products[str(dtype)[6:]] = product.flops / fastest(product)
    x, weight = torch.randn(1, 2 * side, 1, side // 8), torch.randn(1, side // 2, side // 8)
    own = 2 * x.numel() * weight.shape[1] / fastest(lambda: neuron_linear(x, weight))
    products["float32"] = max(own, products["float32"])
    copies = {}
    for size in sizes:
        a, b = torch.zeros(size // 8), torch.zeros(size // 8)
        copies[size] = size / fastest(lambda a=a, b=b: a.copy_(b))
    numbers = torch.randn(8192 * torch.get_num_threads())
    out = torch.empty_like(numbers)
    rates = [numbers.numel() / fastest(lambda of=of: of(numbers, out=out)) for of in EXPONENTIALS]
    return Rates(products, copies, max(*rates, _in_the_scan(fastest)))


def _in_the_scan(fastest: Callable[[Work], float], few: int = 16, many: int = 64) -> float:
    """Exponentials per second of the scan itself: what further states of a few channels, in the first cache, add."""
    seconds, numbers = {}, 0
    for states in (few, many):
        size = ScanSize(torch.get_num_threads(), 64, 1, 32, states)
        given = [t.detach() for t in scan_inputs(size)]
        seconds[states] = fastest(lambda given=given: selective_scan(*given))
        numbers = size.batch * size.length * size.channels
    return numbers * (many - few) / max(seconds[many] - seconds[few], 1e-9)
