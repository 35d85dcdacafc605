"""A run on the Hugging Face Hub: what would be put there, and putting it there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from inn.runs.exported import check_checksums, is_exported
from inn.system.errors import InputError
from inn.system.packages import require

_WEIGHTS = "model.safetensors"
_TEXTS = (".json", ".md", ".yaml", ".txt", ".py", ".jinja")
_SYMBOLS = ("tokenizer.json", "vocabulary.json")
"""Made of the training text's own symbols, which are published with any model; a path may be one of them."""
_PATHS = re.compile(r"(?:file:)?(?:/(?:home|Users|root|tmp|mnt|var|work)/|[A-Za-z]:\\{1,2}Users\\)[^\s\"'`,|]*")


def has_model(folder: str | Path) -> bool:
    """Whether a folder holds the files that `inn export` writes, whatever is in them."""
    return (Path(folder) / "config.json").is_file() and (Path(folder) / _WEIGHTS).is_file()


def contents(folder: str | Path) -> dict[str, int]:
    """What of a folder would be uploaded: bytes by name. Hidden files never are.

    Raises `InputError` where the folder is no exported model or not all of one, and where a file tells where it was
    made: the name of a person's or machine's folder is nobody else's business.

    Example: ``contents("exported")["config.json"]``
    """
    folder = Path(folder)
    if not has_model(folder):
        raise InputError(f"'{folder}' is no exported model; write one by `inn export RUN {folder}`")
    if is_exported(folder):
        check_checksums(folder)
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_dir() or any(part.startswith(".") for part in Path(name).parts):
            continue
        if path.suffix in _TEXTS and path.name not in _SYMBOLS:
            text = path.read_text(encoding="utf-8", errors="replace")
            own = (p for p in (str(Path.home()), str(folder.resolve())) if len(p) > 5 and p in text)
            place = next(own, None) or (match[0] if (match := _PATHS.search(text)) else None)
            if place:
                raise InputError(f"'{name}' names a folder of this machine, {place}; take it out before publishing")
        found[name] = path.stat().st_size
    return found


def check_repo(repo: str) -> None:
    """Raise `InputError` for what cannot be the name of a repository, and without huggingface_hub."""
    library = _library()
    try:
        library.utils.validate_repo_id(repo)
    except library.utils.HFValidationError:
        raise InputError(
            f"'{repo}' cannot be the name of a repository; give NAME or OWNER/NAME of letters, digits, '-', '_' and '.'"
        ) from None


def upload(folder: str | Path, repo: str, *, public: bool = False, endpoint: str | None = None) -> str:
    """Put an exported folder into a model repository of the Hub, in one commit; returns its address.

    Args:
        folder: what `inn export` wrote; only what `contents` lists is uploaded.
        repo: `OWNER/NAME`, or `NAME` of one's own; made where it is not there.
        public: whether a repository that is made can be seen by all; one that is there stays as it is.
        endpoint: address of the Hub; `HF_ENDPOINT`, or huggingface.co, when None.

    The token is what huggingface_hub finds (`hf auth login`, or `HF_TOKEN`); it is never read here.

    Raises `InputError` as `contents` and `check_repo` do, without a token, and where the Hub cannot be reached or says
    no.
    """
    check_repo(repo)
    names = list(contents(folder))
    library = _library()
    if library.get_token() is None:
        raise InputError("there is no token for the Hub; log in by `hf auth login`, or set HF_TOKEN")
    api = library.HfApi(endpoint=endpoint)
    with _plain(api.endpoint, repo):
        address = api.create_repo(repo, private=not public, exist_ok=True)
        api.upload_folder(
            repo_id=address.repo_id,
            folder_path=str(folder),
            allow_patterns=names,
            commit_message="Upload a model of inn",
        )
    return str(address)


def without_folders(folder: str | Path, corpus: str) -> None:
    """Let the card of an exported model name a text file by its name alone."""
    card = Path(folder) / "README.md"
    if corpus.startswith("file:") and card.is_file():
        text = card.read_text(encoding="utf-8")
        card.write_text(text.replace(corpus, f"file:{Path(corpus[5:]).name}"), encoding="utf-8")


@contextmanager
def _plain(endpoint: str, repo: str) -> Iterator[None]:
    """Turn what the Hub or the network refuses into an `InputError`."""
    library = _library()
    try:
        yield
    except library.errors.HfHubHTTPError as error:
        status = error.response.status_code
        if status in (401, 403):
            raise InputError(
                f"{endpoint} does not let your token write to '{repo}' ({status}); "
                "log in as its owner by `hf auth login`, with a token that may write"
            ) from error
        said = error.server_message or error.response.reason_phrase
        raise InputError(f"{endpoint} refused '{repo}' ({status} {said}); try again later") from error
    except (library.errors.HTTPError, OSError) as error:  # of the client that it uses
        raise InputError(
            f"{endpoint} cannot be reached ({type(error).__name__}); check the network and try again"
        ) from error


def _library() -> Any:
    for part in ("errors", "utils"):  # its parts are there when asked for
        require(f"huggingface_hub.{part}", "the Hub", "hf")
    return require("huggingface_hub", "the Hub", "hf")
