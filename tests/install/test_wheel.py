"""Wheel and sdist hold what they should, and the wheel runs where there is no repository."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest
import torch

from inn_benchmarks import install
from inn_benchmarks.rows import Skipped

pytest.importorskip("build")
from packaging.requirements import Requirement

import inn

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "inn"
TINY = (
    "--model.neurons 2 --model.width 8 --model.rounds 1 --model.recall.slots 64 --data.batch 4 --data.window 16 "
    "--train.symbols 256 --train.sample_every 0 --train.eval_symbols 200 --device cpu"
).split()


def sources() -> set[str]:
    """All files of the package in the checkout, as paths from its root."""
    return {
        str(path.relative_to(PACKAGE.parent).as_posix())
        for path in PACKAGE.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }


@pytest.fixture(scope="module")
def dist(tmp_path_factory) -> Path:
    """A folder with both, built as `python -m build` builds them: the sdist, and from it the wheel."""
    folder = tmp_path_factory.mktemp("checkout")
    install.copy_sources(ROOT, folder)
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder / "dist"), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stderr[-2000:]
    return folder / "dist"


@pytest.fixture(scope="module")
def wheel(dist) -> Path:
    return next(dist.glob("*.whl"))


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    """The wheel of the trained models."""
    folder = tmp_path_factory.mktemp("models")
    shutil.copytree(ROOT / "models", folder / "models", ignore=shutil.ignore_patterns("*.egg-info", "__pycache__"))
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), "models"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stderr[-2000:]
    return next(folder.glob("*.whl"))


@pytest.mark.slow
def test_the_wheel_of_the_models_holds_them_in_2_mb(models):
    package = ROOT / "models" / "src" / "inn_models"
    files = (path for path in package.rglob("*") if path.is_file() and path.suffix != ".pyc")
    with zipfile.ZipFile(models) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert names == {path.relative_to(package.parent).as_posix() for path in files}
    assert models.stat().st_size < 2_000_000


@pytest.mark.slow
def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert names == sources()
    assert wheel.name == f"inn_torch-{inn.__version__}-py3-none-any.whl"


@pytest.mark.slow
def test_the_sdist_makes_the_wheel_and_has_no_tests(dist):
    with tarfile.open(next(dist.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {f"src/{name}" for name in sources()} <= names
    assert {"pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md"} <= names
    assert not [name for name in names if name.startswith(("tests/", "runs/", "results/", "docs/"))]


@pytest.mark.slow
def test_extras_are_there_and_dev_has_them_all(wheel):
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith("METADATA"))
        about = Parser().parsestr(archive.read(name).decode())
    extras = {}
    for text in about.get_all("Requires-Dist"):
        need = Requirement(text)
        for extra in about.get_all("Provides-Extra"):
            if need.marker and need.marker.evaluate({"extra": extra}) and not need.marker.evaluate({"extra": ""}):
                extras.setdefault(extra, set()).add(need.name)
    assert {"bpe", "dev", "docs", "explore", "leiden", "sklearn", "sweep"} <= set(extras)
    for extra, names in extras.items():
        if extra not in ("leiden", "chaos", "bridges", "fields"):
            assert names <= extras["dev"], extra


@pytest.fixture(scope="module")
def bare(wheel, models, tmp_path_factory) -> Path:
    """A fresh environment with both wheels; what they need is found where the tests have it, and nothing of ours."""
    folder = tmp_path_factory.mktemp("bare")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / "env")], check=True)
    scripts = folder / "env" / ("Scripts" if os.name == "nt" else "bin")
    scheme = {"base": str(folder / "env"), "platbase": str(folder / "env")}
    packages = Path(sysconfig.get_path("purelib", "nt" if os.name == "nt" else "posix_prefix", scheme))
    places = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    places = dict.fromkeys([*places, str(Path(torch.__file__).parents[1])])
    (others := folder / "others").mkdir()
    for place in places:
        for entry in Path(place).iterdir():
            if not entry.name.startswith(("inn_", "__editable__")) and not (others / entry.name).exists():
                (others / entry.name).symlink_to(entry)
    (packages / "_of_the_tests.pth").write_text(f"{others}\n")
    pip = [sys.executable, "-m", "pip", "--python", str(scripts / "python"), "--disable-pip-version-check"]
    command = [*pip, "install", "--quiet", "--no-deps", "--no-index", "--ignore-installed", str(wheel), str(models)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return scripts


@pytest.fixture
def run(bare, tmp_path):
    """`run("inn", "info", "demo")` in an empty folder, away from any repository."""

    def call(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        environ = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "INN_DATA")}
        command = [str(bare / program), *arguments]
        return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environ)

    return call


@pytest.mark.slow
def test_it_runs_where_there_is_no_repository(run, tmp_path):
    for name in ("inn", "inn-torch"):  # the second for `pipx run inn-torch`
        assert run(name, "--version").stdout == f"inn {inn.__version__}\n"
    where = run("python", "-c", "import inn; print(inn.__file__)").stdout
    assert "site-packages" in where
    assert str(ROOT) not in where
    done = run("inn", "demo", *TINY)
    assert done.returncode == 0, done.stderr
    assert "wrote runs/demo/page.html" in done.stdout.replace(os.sep, "/")
    written = run("inn", "generate", "runs/demo", "--prompt", "The ", "--tokens", "20", "--seed", "1")
    assert (written.returncode, len(written.stdout)) == (0, 25)
    assert '"commit": null' in (tmp_path / "runs" / "demo" / "summary.json").read_text()
    written = run("inn", "generate", "text8", "--prompt", "the ", "--tokens", "20", "--seed", "1")
    assert (written.returncode, len(written.stdout)) == (0, 25)


@pytest.mark.slow
def test_what_needs_a_checkout_says_so(run, tmp_path):
    done = run("inn", "study", "--report")
    assert done.returncode == 2
    assert done.stderr == ("inn: command 'study' is not part of the package; in a checkout, pip install -e studies\n")
    assert list(tmp_path.iterdir()) == []


def test_the_row_of_the_benchmark_counts_every_step(tmp_path, monkeypatch):
    """Pip, training and writing are timed; building and downloading are not."""
    done = []

    def ran(command, folder, what):
        done.append(what)
        if what == "the wheel" and "wheel" in command:
            out = Path(command[command.index("--wheel-dir") + 1])
            out.mkdir()
            (out / "inn_torch-0-py3-none-any.whl").write_bytes(b"")
        return "a text"

    clock = iter(range(100))
    monkeypatch.setattr(install, "_run", ran)
    monkeypatch.setattr(install.time, "perf_counter", lambda: next(clock) ** 2)
    monkeypatch.setenv("INN_CACHE", str(tmp_path))
    found = install.install_time()
    assert done == ["the wheel", "the packages to install", "an environment", "the wheel", "a run", "a text"]
    assert found.details["seconds"] == {"pip install": 1, "inn train": 5, "inn generate": 9}
    assert found.ratio == 15


def test_the_row_is_skipped_without_a_checkout_or_packages(tmp_path, monkeypatch):
    with pytest.raises(Skipped, match=r"^the wheel cannot be had here: "):
        install._run([sys.executable, "-c", "import sys; sys.exit('ERROR: no network')"], tmp_path, "the wheel")
    monkeypatch.setattr(install.inn, "__file__", str(tmp_path / "a" / "b" / "c"))
    with pytest.raises(Skipped, match="a wheel is built from a checkout"):
        install.install_time()
