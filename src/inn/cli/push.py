"""`inn push`: a run on the Hugging Face Hub, or what would be put there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from jsonargparse import Namespace

from inn.cli.common import JSON_HELP, console, print_json
from inn.config.parser import OptionParser

USAGE = "inn push RUN REPO [--dry-run] [--public] [--json]"


def main(argv: list[str]) -> int:
    """Run `inn push`."""
    args = parse(argv)
    facts = push(args.run, args.repo, public=args.public, dry=args.dry_run)
    if args.json:
        print_json(facts)
    else:
        show(facts)
    return 0


def parse(argv: list[str]) -> Namespace:
    """The command's arguments."""
    parser = OptionParser("inn push", USAGE, "Export a run and upload it to a model repository of the Hub.")
    parser.positional("run", "A run directory, or a folder that `inn export` wrote.")
    parser.positional("repo", "OWNER/NAME, or NAME of your own; created if missing.")
    parser.flag("--dry-run", "Show what would be uploaded, and upload nothing; needs no network and no token.")
    parser.flag("--public", "Make a new repository public; default: private.")
    parser.flag("--json", JSON_HELP)
    return parser.parse(argv)


def push(run: str, repo: str, *, public: bool = False, dry: bool = False) -> dict[str, Any]:
    """Upload a run; what was uploaded and where, as plain data."""
    from inn.runs.publish import check_repo, contents, upload

    check_repo(repo)
    with exported(run) as folder:
        files = contents(folder)
        address = None if dry else upload(folder, repo, public=public)
    return {"run": run, "repo": repo, "public": public, "files": files, "bytes": sum(files.values()), "url": address}


@contextmanager
def exported(run: str) -> Iterator[Path]:
    """The run as a folder for transformers; a temporary one, unless it is one already."""
    from inn.runs.publish import has_model, without_folders

    if has_model(run):
        yield Path(run)
        return
    from inn.runs.directory import Run

    corpus = Run(run).config().data.corpus
    from inn.export.base import export

    with TemporaryDirectory() as folder:
        path = Path(folder) / "model"
        export(run, path)
        without_folders(path, corpus)
        yield path


def show(facts: dict[str, Any]) -> None:
    out = console()
    for name, size in facts["files"].items():
        out.print(f"{size:>14,}  {name}", soft_wrap=True)
    total = f"{facts['bytes']:,} bytes in {len(facts['files'])} files"
    if facts["url"] is None:
        kind = "public" if facts["public"] else "private"
        out.print(f"would upload {total} to '{facts['repo']}' ({kind} if it is made); nothing was", soft_wrap=True)
    else:
        out.print(f"uploaded {total} to {facts['url']}", soft_wrap=True)
