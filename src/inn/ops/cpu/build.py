"""Compiles the C++ kernels into a cache: once per machine and version, however many processes ask at the same time."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from inn.system.cache import cache_dir

SOURCES = Path(__file__).parent
LIBRARY = "kernels.so"


class BuildError(Exception):
    """The kernels could not be built; the message is one line that says why and what helps."""


def library() -> Path:
    """Return the path of the compiled kernels, building them if this machine has none yet.

    Raises `BuildError` if there is no compiler, it fails, or the cache cannot be written.
    """
    folder = cache_dir() / "kernels" / key()
    built = folder / LIBRARY
    if built.exists():
        return built
    compiler = find_compiler()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _lock(folder / "lock"):
            if not built.exists():  # another process may have built it while this one waited
                _build(compiler, built)
    except OSError as error:
        raise BuildError(f"{error}; set INN_CACHE to a folder that can be written") from error
    return built


def key() -> str:
    """Names everything a compiled library depends on: sources, torch, its ABI, Python's, and what the CPU can do."""
    parts = [
        torch.__version__,
        str(torch.compiled_with_cxx11_abi()),
        str(sys.implementation.cache_tag),
        platform.system(),
        platform.machine(),
        _cpu(),
        *(f"{p.name}\n{p.read_text(encoding='utf-8')}" for p in _sources("*.cpp") + _sources("*.h")),
    ]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def find_compiler() -> str:
    """Return the C++ compiler to use: `CXX` if it is set, else the first of c++, g++, clang++ on the path."""
    for name in filter(None, (os.environ.get("CXX"), "c++", "g++", "clang++")):
        if found := shutil.which(name):
            return found
    raise BuildError("no C++ compiler found; install g++ (or clang++), or set CXX")


def _sources(pattern: str) -> list[Path]:
    return sorted(SOURCES.glob(pattern))


def _cpu() -> str:
    """Model and instruction sets: a cache may be shared by machines, and a library is for one kind of them."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return f"{platform.processor()} {torch.backends.cpu.get_cpu_capability()}"
    # the first processor's; "Features" is what ARM calls its flags
    wanted = ("model name", "flags", "Features", "CPU part")
    found = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in reversed(lines))}
    return "\n".join(found[w] for w in wanted if w in found)


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Only one process at a time; the system lets go of the lock if its holder dies. Without locks all build."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


_THREADS = ["-Xpreprocessor", "-fopenmp"] if sys.platform == "darwin" else ["-fopenmp"]  # as Apple's compiler knows it
# From the fastest down to what every compiler knows: this machine's instructions (Clang on ARM says -mcpu), threads.
_WAYS = (["-march=native", *_THREADS], ["-mcpu=native", *_THREADS], ["-march=native"], ["-mcpu=native"], [])


def _build(compiler: str, to: Path) -> None:
    """Compile and link in a folder of its own, load-test, then move into place: nobody ever sees half a library."""
    for left in to.parent.glob("build-*"):  # of a process that was killed; the lock is ours
        shutil.rmtree(left, ignore_errors=True)
    errors = ""
    for flags in _WAYS:
        if not _accepts(compiler, flags):
            continue
        with tempfile.TemporaryDirectory(dir=to.parent, prefix="build-") as folder:
            made = Path(folder) / LIBRARY
            errors = _compile(compiler, flags, made.parent) or _load_test(made)
            if not errors:
                made.replace(to)
                return
    raise BuildError(f"{compiler} failed: {errors}")


def _accepts(compiler: str, flags: list[str]) -> bool:
    command = [compiler, *flags, "-fsyntax-only", "-x", "c++", "-"]
    return not flags or subprocess.run(command, input="", capture_output=True, text=True).returncode == 0


def _compile(compiler: str, flags: list[str], folder: Path) -> str:
    """Run the compiler on every source at once, then link; return what it said if it failed, else nothing."""
    root = Path(torch.__file__).parent
    include = [f"-I{root / 'include'}", f"-I{root / 'include' / 'torch' / 'csrc' / 'api' / 'include'}"]
    abi = f"-D_GLIBCXX_USE_CXX11_ABI={int(torch.compiled_with_cxx11_abi())}"
    # No math flags that change results, except that nobody reads errno or floating-point traps.
    common = ["-std=c++20", "-O3", "-fPIC", "-w", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast"]
    running = []
    for source in _sources("*.cpp"):
        # Only the operators need PyTorch's headers, and only the kernels the instruction set and threads.
        own = ["-O1", abi, *include] if source.name == "ops.cpp" else flags
        command = [compiler, *common, *own, "-c", str(source), "-o", str(folder / f"{source.stem}.o")]
        running.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True))
    said = [process.communicate()[0] for process in running]
    for process, text in zip(running, said, strict=True):
        if process.returncode:
            return _last_line(text)
    # OpenMP is not linked: its functions are found in the runtime that PyTorch has loaded. A second runtime would
    # start threads of its own and know nothing of torch.set_num_threads.
    objects = [str(folder / f"{source.stem}.o") for source in _sources("*.cpp")]
    undefined = ["-undefined", "dynamic_lookup"] if sys.platform == "darwin" else []
    torch_libraries = [f"-L{root / 'lib'}", "-ltorch_cpu", "-lc10", "-pthread", *undefined]
    link = [compiler, "-shared", "-o", str(folder / LIBRARY), *objects, *torch_libraries]
    done = subprocess.run(link, capture_output=True, text=True)
    return _last_line(done.stderr) if done.returncode else ""


def _load_test(path: Path) -> str:
    """Load the library in a process of its own, since what crashes or is refused there must not do so here."""
    code = "import sys, torch; torch.ops.load_library(sys.argv[1]); torch.ops.inn.selective_scan_fwd"
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True)
    return _last_line(done.stderr) or "the library cannot be loaded" if done.returncode else ""


def _last_line(text: str) -> str:
    """The line of a compiler's or Python's output that says most: the first with "error", else the last."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return next((line for line in lines if "error" in line.lower()), lines[-1] if lines else "no message")
