"""What a person waits for who has just heard of this: from `pip install` of the wheel to the first text."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import inn
from inn.system.cache import cache_dir
from inn_benchmarks.rows import Measured, Skipped

SOURCES = ("src", "pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff", "MANIFEST.in")
"""What of a checkout makes the wheel."""
PIP = ("-m", "pip", "--disable-pip-version-check", "--no-input", "--quiet")


@dataclass(frozen=True)
class InstallSize:
    """How much is trained before the first text, in symbols of recipe demo, and how much text that is."""

    symbols: int = 4096
    tokens: int = 100
    settings: tuple[str, ...] = ()


def install_time(size: InstallSize = InstallSize()) -> Measured:
    """Seconds from an empty environment to the first text, with an empty cache; downloads are done before.

    The clock runs while `pip install` puts the wheel and all that it needs (PyTorch above all) into a new environment,
    `inn train` compiles the C++ kernels and trains for two steps, and `inn generate` writes. The environment itself
    (`python -m venv`) is made before.
    """
    root = Path(inn.__file__).resolve().parents[2]
    if not all((root / name).exists() for name in SOURCES):
        raise Skipped("a wheel is built from a checkout of the repository, and this is none")
    house = cache_dir() / "bench" / "wheelhouse"
    with TemporaryDirectory() as name:
        folder = Path(name)
        wheel = build_wheel(root, folder / "build")
        house.mkdir(parents=True, exist_ok=True)
        pin = f"torch=={importlib.metadata.version('torch')}"
        fetch = [sys.executable, *PIP, "download", "--dest", str(house), str(wheel), pin]
        _run(fetch, folder, "the packages to install")
        _run([sys.executable, "-m", "venv", str(folder / "env")], folder, "an environment")
        bin_ = folder / "env" / ("Scripts" if os.name == "nt" else "bin")
        install = [str(bin_ / "python"), *PIP, "install", "--no-index", "--find-links", str(house), str(wheel)]
        settings = ("--train.symbols", str(size.symbols), "--train.sample_every", "0", "--train.eval_symbols", "2000")
        steps: dict[str, Callable[[], str]] = {
            "pip install": lambda: _run(install, folder, "the wheel"),
            "inn train": lambda: _run(
                [str(bin_ / "inn"), "train", "demo", "--run", "first", *settings, *size.settings], folder, "a run"
            ),
            "inn generate": lambda: _run(
                [str(bin_ / "inn"), "generate", "first", "--tokens", str(size.tokens), "--seed", "1"], folder, "a text"
            ),
        }
        seconds = {}
        for step, do in steps.items():
            began = time.perf_counter()
            said = do()
            seconds[step] = time.perf_counter() - began
    if not said.strip():
        raise RuntimeError("inn generate wrote nothing")
    details: dict[str, Any] = {"seconds": seconds, "wheel_bytes": wheel_bytes(house, wheel.name)}
    sizes = f"Python {sys.version_info[0]}.{sys.version_info[1]}, {size.symbols:,} symbols of recipe demo, empty cache"
    return Measured(sum(seconds.values()), "float32", sizes, details)


def build_wheel(root: Path, folder: Path) -> Path:
    """Build the wheel of a checkout in another folder, and return its path; the checkout is left as it is."""
    folder.mkdir()
    copy_sources(root, folder)
    out = folder / "dist"
    _run([sys.executable, *PIP, "wheel", "--no-deps", "--wheel-dir", str(out), str(folder)], folder, "the wheel")
    return next(out.glob("inn_torch-*.whl"))


def copy_sources(root: Path, folder: Path) -> None:
    """Copy what of a checkout makes the wheel."""
    for name in SOURCES:
        if (root / name).is_dir():
            shutil.copytree(root / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            shutil.copy(root / name, folder / name)


def wheel_bytes(house: Path, own: str) -> dict[str, int]:
    """Bytes of the wheels that were installed: this package's, PyTorch's, and all."""
    sizes = {path.name: path.stat().st_size for path in house.glob("*.whl")}
    return {
        "inn": sizes.get(own, 0),
        "torch": max((size for name, size in sizes.items() if name.startswith("torch-")), default=0),
        "all": sum(sizes.values()),
    }


def _run(command: list[str], folder: Path, what: str) -> str:
    """Run a command in a folder, as somebody who has nothing of this library yet; returns what it printed."""
    environ = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONSAFEPATH", "INN_DATA")}
    environ["INN_CACHE"] = str(folder / "cache")
    done = subprocess.run(command, capture_output=True, text=True, env=environ, cwd=folder)
    if done.returncode:
        lines = [line.strip() for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("ERROR")]
        raise Skipped(f"{what} cannot be had here: {(errors or lines or ['no message'])[-1]}")
    return done.stdout
