"""An Optuna study that outlives the process, is open to others, and loses no trial when one of them dies."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Literal

import numpy

from inn.system.errors import InputError, nearest
from inn.system.packages import require

if TYPE_CHECKING:
    import optuna  # pyright: ignore[reportMissingImports]

    from inn.sweep.space import Space

SAMPLERS = ("tpe", "random", "mcts", "evolution")
"""How a sweep may search: Optuna's TPE or at random, Monte Carlo tree search, evolution."""
Pruner = Literal["median", "hyperband", "none"]
WHOLE = 1000
"""What trials are compared by: thousandths of the run, for steps mean nothing where the batch is searched too."""
HEARTBEAT = 10
"""Seconds between signs of life of a trial."""
GRACE = 60
"""Seconds without one after which a trial counts as lost."""
RETRIES = 3
"""How often a trial that was lost is begun again."""


def load_optuna(who: str) -> Any:
    """Return the module `optuna`, quiet; raises `InputError` where it is not installed.

    Args:
        who: what needs it, for the sentence.
    """
    optuna = require("optuna", who, "sweep")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


def open_study(url: str, name: str, *, fresh: bool = False, pruner: Any = None, heartbeat: bool = True) -> optuna.Study:
    """Open a study that minimises, or make it; raises `InputError` where the storage cannot be reached.

    Args:
        url: an RDB URL, such as `sqlite:///sweep.db` or `postgresql://user@host/db`.
        name: of the study in the storage.
        fresh: forget what the study has, if it is there.
        pruner: Optuna's; for `study.optimize`.
        heartbeat: trials that `study.optimize` runs give signs of life, and one whose process died is begun again.
    """
    optuna = load_optuna("a sweep")
    from sqlalchemy.exc import SQLAlchemyError  # pyright: ignore[reportMissingImports]

    signs: dict[str, Any] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if heartbeat:
            signs = {"heartbeat_interval": HEARTBEAT, "grace_period": GRACE, "heartbeat_stale_trial_callback": retry}
        try:
            storage = optuna.storages.RDBStorage(_patient(url), **signs)
            if fresh and name in optuna.get_all_study_names(storage):
                optuna.delete_study(study_name=name, storage=storage)
            return optuna.create_study(storage=storage, study_name=name, load_if_exists=True, pruner=pruner)
        except (SQLAlchemyError, ImportError, ValueError, OSError, RuntimeError) as error:
            why = next(iter(str(error).splitlines()), type(error).__name__)
            raise InputError(f"storage '{without_password(url)}' cannot be opened: {why}") from error


def retry(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
    """Put a trial that was lost back into the queue, with what it reported."""
    from optuna.storages import RetryHeartbeatStaleTrialCallback  # pyright: ignore[reportMissingImports]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        RetryHeartbeatStaleTrialCallback(max_retry=RETRIES, inherit_intermediate_values=True)(study, trial)


def fail_lost(study: optuna.Study) -> None:
    """Fail the trials whose process gave no sign of life for `GRACE` seconds, and put them back into the queue."""
    from optuna.storages import fail_stale_trials  # pyright: ignore[reportMissingImports]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fail_stale_trials(study)


def sampler(begun: int, startup: int = 8, kind: str = "tpe", space: Space | None = None, seed: int = 0) -> Any:
    """A sampler of Optuna, seeded by how many trials were begun: one that is gone on with draws as if it never stopped.

    Trials that others are at work on count as bad ones, so that two do not look in the same place.

    Args:
        begun: trials that were begun.
        startup: of `tpe`, trials that are drawn at random first.
        kind: one of `SAMPLERS`.
        space: what is searched; `mcts` and `evolution` need it.
        seed: of a search; another one draws otherwise.

    Raises `InputError` for another kind.
    """
    optuna = load_optuna("a sweep")
    if kind not in SAMPLERS:
        raise InputError(f"there is no sampler '{kind}'{nearest(kind, SAMPLERS)}")
    own = begun if seed == 0 else int(numpy.random.SeedSequence([seed, begun]).generate_state(1)[0])
    if kind == "random":
        return optuna.samplers.RandomSampler(seed=own)
    if kind == "tpe":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return optuna.samplers.TPESampler(seed=own, n_startup_trials=startup, constant_liar=True)
    if space is None:
        raise InputError(f"sampler '{kind}' draws from a space; give it one")
    from inn.sweep.samplers import EvolutionSampler, TreeSampler

    return {"mcts": TreeSampler, "evolution": EvolutionSampler}[kind](space, seed)


def pruner(kind: Pruner) -> Any:
    """What ends a trial that promises little, of Optuna; it counts in thousandths of the run (`WHOLE`)."""
    pruners = load_optuna("`inn sweep`").pruners
    if kind == "median":  # young runs are no guide: the first fifth counts for nothing
        return pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=WHOLE // 5)
    if kind == "hyperband":
        return pruners.HyperbandPruner(min_resource=WHOLE // 10, max_resource=WHOLE)
    return pruners.NopPruner()


def without_password(url: str) -> str:
    """A URL as it may be shown; as it is where it is none.

    >>> without_password("sqlite:///sweep.db")
    'sqlite:///sweep.db'
    """
    try:
        from sqlalchemy.engine import make_url  # pyright: ignore[reportMissingImports]

        return make_url(url).render_as_string(hide_password=True)
    except Exception:  # not installed, or no URL
        return url


def _patient(url: str) -> str:
    """SQLite waits for its turn when others write."""
    return f"{url}?timeout=60" if url.startswith("sqlite:") and "?" not in url else url
