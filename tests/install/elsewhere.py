"""Run the library as if on another platform: what only POSIX, or only Linux, has is gone; files are as on Windows.

Started by `test_portable.py` in a process of its own, with what is to be done as its argument. Everything that others
import is imported first: only this library meets the other platform.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import io
import mmap
import os
import pkgutil
import signal
import sys
from pathlib import Path

MODULES = ("fcntl", "resource", "pwd", "grp", "termios", "tty", "pty", "syslog")
ATTRIBUTES = {
    os: "sched_getaffinity fork forkpty getuid geteuid getpgid killpg setsid posix_fadvise pread pwrite sysconf uname "
    "fchmod fchown chown mkfifo sync fdatasync",
    signal: "SIGKILL SIGHUP SIGUSR1 SIGUSR2 SIGALRM SIGPIPE SIGQUIT alarm setitimer pause pthread_kill sigwait",
    mmap: "MADV_DONTNEED MADV_WILLNEED MADV_SEQUENTIAL",
}
OTHERS = (
    "numpy torch.distributed.run torch._dynamo scipy.optimize optuna datasets "
    "lm_eval.api.task matplotlib.figure pandas sklearn.model_selection sklearn.utils.multiclass "
    "transformers.generation.utils transformers.models.auto.modeling_auto transformers.quantizers.auto"
)
"""What the library imports of others, some of it late: those have platforms of their own."""


def hide() -> None:
    """Take away what Windows has not, and refuse what it refuses."""
    import fcntl as real

    for name in MODULES:
        sys.modules[name] = None  # type: ignore[assignment]
    for owner, names in ATTRIBUTES.items():
        for name in names.split():
            if hasattr(owner, name):
                delattr(owner, name)
    fsync, open_ = os.fsync, os.open

    def fsync_of_what_may_be_written(handle: int) -> None:
        if real.fcntl(handle, real.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, "Bad file descriptor")
        fsync(handle)

    def open_no_folder(path, *arguments, **options):
        if Path(path).is_dir():
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return open_(path, *arguments, **options)

    os.fsync, os.open = fsync_of_what_may_be_written, open_no_folder
    inside = [False]

    def in_use(path: object) -> bool:
        """Whether this process has the file open."""
        here, found = Path(path).resolve(), False  # type: ignore[arg-type]
        for handle in Path("/proc/self/fd").iterdir():
            with contextlib.suppress(OSError):
                found |= handle.readlink() == here
        return found

    def refuse(event: str, arguments: tuple) -> None:
        if inside[0]:
            return
        inside[0] = True
        try:
            if event == "open" and str(arguments[0]).startswith(("/proc", "/sys")):
                raise FileNotFoundError(errno.ENOENT, "No such file or directory", str(arguments[0]))
            if event in ("os.rename", "os.remove"):
                for path in arguments[: 1 + (event == "os.rename")]:
                    if isinstance(path, str | os.PathLike) and Path(path).is_file() and in_use(path):
                        raise PermissionError(errno.EACCES, "The process cannot access the file", str(path))
        finally:
            inside[0] = False

    sys.addaudithook(refuse)


def import_everything() -> int:
    """Import every module of the library; a package that is not installed here is no fault of the platform's."""
    import inn

    count = 0
    for module in pkgutil.walk_packages(inn.__path__, "inn."):
        if module.name.endswith(("__main__", "_kernels")):
            continue
        try:
            importlib.import_module(module.name)
        except ImportError as error:
            if (error.name or "").partition(".")[0] in (*MODULES, "inn", ""):
                raise AssertionError(f"{module.name}: {error}") from error
        except AttributeError as error:
            raise AssertionError(f"{module.name}: {error}") from error
        count += 1
    return count


def main() -> None:
    for name in OTHERS.split():
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    hide()
    try:
        import fcntl  # noqa: F401
    except ImportError:
        pass
    else:
        raise AssertionError("fcntl is still there")
    assert not hasattr(os, "sched_getaffinity")
    lines = sys.argv[1:]
    if lines[0] == "import":
        print("imported", import_everything(), flush=True)
        del lines[0]
    # A console that knows neither ≥ nor é, as a pipe has on Windows.
    sys.stdout = io.TextIOWrapper(sys.stdout.buffer, encoding="cp1252")
    from inn.cli.main import main as inn

    for line in lines:
        code = inn(line.split())
        assert code == 0, f"inn {line}: {code}"
        print("did", line.split()[0], flush=True)


if __name__ == "__main__":
    main()
