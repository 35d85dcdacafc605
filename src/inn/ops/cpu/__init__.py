"""C++ kernels for CPUs: compiled on first use, kept in a cache; without a compiler the `torch` backend does the work.

`library.why_not()` says whether they can be used; the operators are declared in `inn/ops/<op>/cpu.py`. Loading them
also has PyTorch keep freed CPU memory for the next buffer (`arena.h`), unless the environment chooses an allocator.
"""
