"""Functions of numbers, built of + - x / and of the bits of an exponent alone: they come out the same everywhere.

A library's `exp` differs in its last bits from machine to machine; these do not, whatever computes them. They are good
to about 1e-8, which is more than the float32 that models are trained in.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from inn.export.lowering import Lowering
from inn.export.program import View

ROUND = 1.5 * 2.0**52
"""x + ROUND - ROUND is the whole number next to x, an even one between two, while |x| < 2^51."""
KEPT = frozenset(
    "copy add sub mul div neg abs sqrt floor ceil round sign where minimum maximum relu eq ne lt le gt ge "
    "logical_and logical_or logical_not logical_xor bitwise_and bitwise_or bitwise_xor bitwise_not isnan isinf "
    "floordiv truncdiv remainder".split()
)
"""Functions that IEEE 754 leaves no choice in, and those of whole numbers."""
# Written out, since a library's `log` is not to be asked. Where a number is in two parts the first has few bits, so
# that a whole number of them is exact.
_LN2, _PER_LN2 = 0.6931471805599453, 1.4426950408889634
_LN2_HIGH, _LN2_LOW = 0.693145751953125, 1.4286068203094173e-06
_QUARTER_HIGH, _QUARTER_LOW, _PER_QUARTER = 1.5707963267341256, 6.077100506506192e-11, 0.6366197723675814
_LARGEST = 700.0


class Formulas:
    """Writes functions of numbers of one shape as maps of a lowering.

    `two` is 2^n of a whole n within -1022 to 1023, `exponent` the largest whole n with 2^n <= x of a positive x: the
    only functions that look at the bits of a number.
    """

    def __init__(self, low: Lowering, shape: Sequence[int]):
        self.low, self.shape = low, tuple(shape)

    def of(self, fn: str, *inputs: Any) -> View:
        """An elementwise function in float64."""
        return self.low.map(fn, self.shape, "float64", *inputs)

    def test(self, fn: str, *inputs: Any) -> View:
        """A comparison of numbers in float64."""
        return self.low.map(fn, self.shape, "bool", *inputs, within="float64")

    def polynomial(self, x: View, *factors: float) -> View:
        """Horner's scheme, the highest power first."""
        y: Any = factors[0]
        for factor in factors[1:]:
            y = self.of("add", self.of("mul", y, x), factor)
        return y

    def whole(self, x: View) -> View:
        """The nearest whole number, of |x| < 2^51."""
        return self.of("sub", self.of("add", x, ROUND), ROUND)

    def exp(self, x: View, strict: bool = False) -> View:
        """e^x, which stays at e^-700 below and at e^700 above; `strict`: it is 0 and infinite there."""
        t = self.of("minimum", self.of("maximum", x, -_LARGEST), _LARGEST)
        n = self.whole(self.of("mul", t, _PER_LN2))
        r = self.of("sub", self.of("sub", t, self.of("mul", n, _LN2_HIGH)), self.of("mul", n, _LN2_LOW))
        y = self.of("mul", self.polynomial(r, *(1 / math.factorial(i) for i in range(8, -1, -1))), self.of("two", n))
        if not strict:
            return y
        y = self.of("where", self.test("lt", x, -_LARGEST), 0.0, y)
        return self.of("where", self.test("gt", x, _LARGEST), math.inf, y)

    def log(self, x: View) -> View:
        """The natural logarithm."""
        t = self.of("minimum", self.of("maximum", x, 1e-300), 1e300)
        n = self.of("exponent", t)
        m = self.of("mul", t, self.of("two", self.of("neg", n)))
        upper = self.test("gt", m, math.sqrt(2))
        m = self.of("where", upper, self.of("mul", m, 0.5), m)
        n = self.of("where", upper, self.of("add", n, 1.0), n)
        s = self.of("div", self.of("sub", m, 1.0), self.of("add", m, 1.0))
        own = self.of("mul", self.of("mul", s, 2.0), self._artanh(s, 5))
        y = self.of("add", self.of("mul", n, _LN2_HIGH), self.of("add", self.of("mul", n, _LN2_LOW), own))
        y = self.of("where", self.test("gt", x, 1e300), math.inf, y)
        y = self.of("where", self.test("le", x, 0.0), -math.inf, y)
        return self.of("where", self.test("lt", x, 0.0), math.nan, y)

    def _artanh(self, s: View, terms: int) -> View:
        """artanh(s) / s."""
        return self.polynomial(self.of("mul", s, s), *(1 / (2 * i + 1) for i in range(terms, -1, -1)))

    def softplus(self, x: View) -> View:
        """log(1 + e^x) = max(x, 0) + 2 artanh(u / (2 + u)), u = e^-|x|."""
        u = self.exp(self.of("neg", self.of("abs", x)))
        s = self.of("div", u, self.of("add", u, 2.0))
        own = self.of("mul", self.of("mul", s, 2.0), self._artanh(s, 8))
        return self.of("add", self.of("maximum", x, 0.0), own)

    def sigmoid(self, x: View) -> View:
        return self.of("div", 1.0, self.of("add", self.exp(self.of("neg", x)), 1.0))

    def silu(self, x: View) -> View:
        return self.of("mul", x, self.sigmoid(x))

    def tanh(self, x: View) -> View:
        return self.of("sub", 1.0, self.of("div", 2.0, self.of("add", self.exp(self.of("add", x, x)), 1.0)))

    def expm1(self, x: View) -> View:
        near = self.of("add", x, self.of("mul", self.of("mul", x, x), 0.5))
        small = self.test("lt", self.of("abs", x), 1e-5)
        return self.of("where", small, near, self.of("sub", self.exp(x, True), 1.0))

    def log1p(self, x: View) -> View:
        near = self.of("sub", x, self.of("mul", self.of("mul", x, x), 0.5))
        small = self.test("lt", self.of("abs", x), 1e-5)
        return self.of("where", small, near, self.log(self.of("add", x, 1.0)))

    def erf(self, x: View) -> View:
        """By the polynomial 7.1.26 of Abramowitz & Stegun (1964), to 1.5e-7."""
        a = self.of("abs", x)
        t = self.of("div", 1.0, self.of("add", self.of("mul", a, 0.3275911), 1.0))
        p = self.polynomial(t, 1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592)
        tail = self.of("mul", self.of("mul", p, t), self.exp(self.of("neg", self.of("mul", a, a))))
        return self.of("mul", self.of("sign", x), self.of("sub", 1.0, tail))

    def gelu(self, x: View) -> View:
        own = self.of("add", self.erf(self.of("mul", x, math.sqrt(0.5))), 1.0)
        return self.of("mul", self.of("mul", x, 0.5), own)

    def gelu_tanh(self, x: View) -> View:
        cube = self.of("mul", self.of("mul", x, x), self.of("mul", x, 0.044715))
        own = self.of("add", self.tanh(self.of("mul", self.of("add", x, cube), 0.7978845608028654)), 1.0)
        return self.of("mul", self.of("mul", x, 0.5), own)

    def pow(self, x: View, exponent: Any) -> View:
        """A power: by products where it is a small whole number, else of what is positive."""
        if isinstance(exponent, (int, float)) and float(exponent).is_integer() and 1 <= abs(exponent) <= 8:
            y = x
            for _ in range(int(abs(exponent)) - 1):
                y = self.of("mul", y, x)
            return y if exponent > 0 else self.of("div", 1.0, y)
        return self.exp(self.of("mul", self.log(x), exponent), True)

    def _turned(self, x: View, quarters: int) -> View:
        """The sine of x, `quarters` quarter turns on; of |x| below 2^20."""
        n = self.whole(self.of("mul", x, _PER_QUARTER))
        r = self.of("sub", self.of("sub", x, self.of("mul", n, _QUARTER_HIGH)), self.of("mul", n, _QUARTER_LOW))
        q = self.of("mul", r, r)
        sine = self.of("mul", r, self.polynomial(q, *((-1) ** i / math.factorial(2 * i + 1) for i in range(6, -1, -1))))
        cosine = self.polynomial(q, *((-1) ** i / math.factorial(2 * i) for i in range(6, -1, -1)))
        turn = self.of("add", n, float(quarters))
        turn = self.of("sub", turn, self.of("mul", self.of("floor", self.of("mul", turn, 0.25)), 4.0))
        odd = self.of("sub", turn, self.of("mul", self.of("floor", self.of("mul", turn, 0.5)), 2.0))
        y = self.of("where", self.test("gt", odd, 0.0), cosine, sine)
        return self.of("where", self.test("ge", turn, 2.0), self.of("neg", y), y)


FORMULAS: dict[str, Callable[..., View]] = {
    "exp": lambda f, x: f.exp(x, True),
    "exp2": lambda f, x: f.exp(f.of("mul", x, _LN2), True),
    "log2": lambda f, x: f.of("mul", f.log(x), _PER_LN2),
    "rsqrt": lambda f, x: f.of("div", 1.0, f.of("sqrt", x)),
    "reciprocal": lambda f, x: f.of("div", 1.0, x),
    "sin": lambda f, x: f._turned(x, 0),
    "cos": lambda f, x: f._turned(x, 1),
    **{
        name: getattr(Formulas, name)
        for name in "log softplus sigmoid silu tanh expm1 log1p erf gelu gelu_tanh".split()
    },
    "pow": Formulas.pow,
}
"""By the name of a map's function."""
