"""The picture of a sweep: how trials went, and what each setting did to the score."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from inn.sweep.programs import PREFIX
from inn.sweep.search import WHOLE
from inn.sweep.space import Choice, Range, Space
from inn.sweep.trials import counted
from inn.system.files import write_figure
from inn.system.packages import optional

if TYPE_CHECKING:
    import optuna  # pyright: ignore[reportMissingImports]


def draw_sweep(study: optuna.Study, space: Space, path: Path) -> Path | None:
    """Draw a sweep as a PNG and return its path; None where Matplotlib is missing or nothing has come out yet."""
    trials = [trial for trial in counted(study) if trial.value is not None and trial.state.name == "COMPLETE"]
    matplotlib = optional("matplotlib.figure")
    if matplotlib is None or not trials:
        return None
    names = [name for name in space.names if not name.startswith(PREFIX)]
    panels = 1 + len(names)
    columns = 2 if panels == 4 else min(panels, 3)
    rows = -(-panels // columns)
    figure = matplotlib.Figure(figsize=(4 * columns, 3.2 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).flatten()
    _curves(axes[0], counted(study), trials)
    dots = None
    for panel, name in zip(axes[1:], names, strict=False):
        dots = _setting(panel, name, space.parts[name], trials)
    for panel in axes[panels:]:
        panel.set_visible(False)
    if dots is not None:
        figure.colorbar(dots, ax=axes[:panels].tolist(), label="trial", shrink=0.6)
    write_figure(figure, path, dpi=110, metadata={"Software": None})
    return path


def _curves(axes: Any, trials: list[Any], done: list[Any]) -> None:
    """Validation over the course of the run: the best one bold, those that were pruned dotted."""
    best = min(done, key=lambda trial: trial.value)
    for trial in trials:
        points = sorted(trial.intermediate_values.items())
        if trial.value is not None and trial.state.name == "COMPLETE":
            points = [*points, (WHOLE, trial.value)]
        if points:
            x, y = [at / WHOLE * 100 for at, _ in points], [bits for _, bits in points]
            style = (
                {"lw": 2.2, "color": "C1", "zorder": 3} if trial is best else {"lw": 0.9, "color": "C0", "alpha": 0.6}
            )
            axes.plot(x, y, ls=":" if trial.state.name == "PRUNED" else "-", marker=".", **style)
    axes.set(xlabel="% of the run", ylabel="validation bits per symbol", title="trials (bold: best, dotted: pruned)")


def _setting(axes: Any, name: str, part: Range | Choice, trials: list[Any]) -> Any:
    """The score over the values of one setting."""
    trials = [trial for trial in trials if name in trial.params]  # under a condition it is not in all
    values = [trial.params[name] for trial in trials]
    if isinstance(part, Choice):
        places = [part.values.index(value) for value in values]
        axes.set_xticks(range(len(part.values)), [str(value) for value in part.values])
    else:
        places = values
        axes.set_xscale("log" if part.log else "linear")
    dots = axes.scatter(places, [t.value for t in trials], c=[t.number for t in trials], cmap="viridis", s=22)
    axes.set(title=name)
    return dots
