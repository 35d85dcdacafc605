"""What types of numbers and functions of them are called in JavaScript."""

from __future__ import annotations

ARRAYS = {
    "float32": "Float32Array",
    "float64": "Float64Array",
    "int64": "Float64Array",  # whole numbers up to 2^53; what takes all 64 bits is a key
    "int32": "Int32Array",
    "uint8": "Uint8Array",
    "bool": "Uint8Array",
}
KEYS = "BigUint64Array"
FUNCTIONS = {
    "neg": "-{0}",
    "sigmoid": "sigmoid({0})",
    "silu": "silu({0})",
    "relu": "Math.max({0}, 0)",
    "rsqrt": "1 / Math.sqrt({0})",
    "reciprocal": "1 / {0}",
    "exp2": "2 ** {0}",
    "round": "roundEven({0})",
    "isnan": "Number.isNaN({0})",
    "isinf": "Math.abs({0}) === Infinity",
    "erf": "erf({0})",
    "gelu": "0.5 * {0} * (1 + erf({0} * Math.SQRT1_2))",
    "gelu_tanh": "0.5 * {0} * (1 + Math.tanh(0.7978845608028654 * ({0} + 0.044715 * {0} ** 3)))",
    "logical_not": "!{0}",
    **{
        fn: f"Math.{fn}({{0}})"
        for fn in "exp expm1 log log2 log1p sqrt abs sin cos tan atan tanh floor ceil sign".split()
    },
    **{
        fn: f"{{0}} {sign} {{1}}"
        for fn, sign in {
            "add": "+",
            "sub": "-",
            "mul": "*",
            "div": "/",
            "pow": "**",
            "eq": "===",
            "ne": "!==",
            "lt": "<",
            "le": "<=",
            "gt": ">",
            "ge": ">=",
            "logical_and": "&&",
            "logical_or": "||",
            "bitwise_and": "&",
            "bitwise_or": "|",
            "bitwise_xor": "^",
        }.items()
    },
    "logical_xor": "!{0} !== !{1}",
    "atan2": "Math.atan2({0}, {1})",
    "minimum": "Math.min({0}, {1})",
    "maximum": "Math.max({0}, {1})",
    "remainder": "remainder({0}, {1})",
    "floordiv": "Math.floor({0} / {1})",
    "truncdiv": "Math.trunc({0} / {1})",
    "where": "{0} ? {1} : {2}",
}
"""Functions of numbers, which stand in brackets where they are more than a name."""
REDUCED = {
    "sum": ("0", "all += {0}", "all"),
    "mean": ("0", "all += {0}", "all / {1}"),
    "prod": ("1", "all *= {0}", "all"),
    "amax": ("-Infinity", "all = Math.max(all, {0})", "all"),
    "amin": ("Infinity", "all = Math.min(all, {0})", "all"),
    "any": ("0", "all ||= {0} !== 0", "all ? 1 : 0"),
    "all": ("1", "all &&= {0} !== 0", "all ? 1 : 0"),
}
"""By operation: what it begins with, what each number does, and what comes of it (`{1}`: how many there were)."""
