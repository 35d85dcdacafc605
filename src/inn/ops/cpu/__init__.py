"""C++ kernels for CPUs: compiled on first use and cached; without a compiler the `torch` backend runs instead.

`library.why_not()` says whether they can be used; the operators are declared in `inn/ops/<op>/cpu.py`. Loading them
also has PyTorch keep freed CPU memory for the next buffer (`arena.h`), unless the environment chooses an allocator.
"""
