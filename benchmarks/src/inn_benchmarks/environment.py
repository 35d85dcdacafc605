"""The benchmark's own environment: the peers it compares with, on top of this interpreter's packages.

It lies in the cache and is never the project's: PyTorch and everything else that is here is found where it is, through
a .pth file, and only what is missing is installed.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from inn.system.cache import cache_dir
from inn.system.errors import InputError
from inn.system.files import CACHE, only_one

PINS = ("mambapy==1.2.0", "transformers==5.20.2", "matplotlib==3.10.9")
"""What is installed, by `pip`, at these versions."""


class Unavailable(Exception):
    """The environment could not be built; the message is one sentence that says why."""


def python() -> Path:
    """Return the environment's Python, building the environment if it is not there yet.

    Several processes may ask at once; one that was killed while it built leaves nothing that counts.
    Raises `Unavailable` where pip cannot install the peers (no network, say) or the cache cannot be written.
    """
    folder = cache_dir() / "bench" / key()
    interpreter = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    done = folder / "done"
    if done.exists():
        return interpreter
    try:
        with only_one(folder, CACHE):
            if not done.exists():
                shutil.rmtree(folder, ignore_errors=True)
                _build(folder, interpreter)
                done.write_text("\n".join(PINS) + "\n")
    except (OSError, InputError) as error:
        raise Unavailable(f"the benchmark's environment cannot be built in {folder}: {error}") from None
    return interpreter


def key() -> str:
    """Names everything the environment depends on: this interpreter, its packages' places, PyTorch, the pins."""
    parts = [sys.version, sys.prefix, *_folders(), importlib.metadata.version("torch"), *PINS]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _folders() -> list[str]:
    """Where this interpreter has its packages."""
    import torch

    found = [p for p in sys.path if Path(p).name in ("site-packages", "dist-packages")]
    return list(dict.fromkeys([*found, str(Path(torch.__file__).parents[1])]))


def _build(folder: Path, interpreter: Path) -> None:
    _run([sys.executable, "-m", "venv", str(folder)], "the benchmark's environment")
    scheme = {"base": str(folder), "platbase": str(folder)}
    packages = Path(sysconfig.get_path("purelib", "nt" if os.name == "nt" else "posix_prefix", scheme))
    (packages / "_this_interpreter.pth").write_text("\n".join(_folders()) + "\n")
    # pip sees the packages behind the .pth as installed; the constraint keeps it from ever replacing PyTorch.
    (folder / "constraints.txt").write_text(f"torch=={importlib.metadata.version('torch')}\n")
    options = ["--quiet", "--disable-pip-version-check", "--retries", "1", "--no-input"]
    install = [str(interpreter), "-m", "pip", "install", *options, "-c", str(folder / "constraints.txt"), *PINS]
    _run(install, ", ".join(PINS))


def _run(command: list[str], what: str) -> None:
    # Packages of the user's own path would be taken for installed, and be missing later.
    environ = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(command, capture_output=True, text=True, env=environ)
    if done.returncode:
        lines = [line.strip() for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        errors = [line.removeprefix("ERROR:").strip() for line in lines if line.startswith("ERROR")]
        raise Unavailable(f"{what} cannot be installed: {(errors or lines or ['no message'])[-1]}")
