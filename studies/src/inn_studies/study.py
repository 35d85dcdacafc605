"""What a study is: a question, the runs that answer it, a table, a figure, and what became of the paper's claims."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from inn_studies.lab import Lab
from inn_studies.sizes import Size

if TYPE_CHECKING:
    from matplotlib.figure import Figure  # pyright: ignore[reportMissingImports]

Outcome = Literal["reproduced", "not reproduced", "artefact", "not measured"]


@dataclass(frozen=True)
class Verdict:
    """What became of one number or claim of the paper."""

    claim: str
    """The claim, in a few words."""
    paper: str
    """The paper's number, as printed, with its place: `1.705 BPC (Table 2)`."""
    ours: str
    """Our number, from the study's result."""
    outcome: Outcome
    """`artefact`: the number can be had, but its cause is not the one the paper gives."""
    because: str
    """The cause or the evidence, in a sentence."""


class Study(ABC):
    """One study: a file of `inn_studies`, a name of `STUDIES`.

    A subclass sets the class attributes, lists its runs in `run` and says in `table`, `draw` and `verdicts` how the
    result is read. `run` gives plain data (it becomes JSON); the others are functions of that data alone, so a
    committed result can be shown and reported anywhere.
    """

    name: ClassVar[str]
    """What `inn study` calls it, and its file in `results/`."""
    source: ClassVar[str]
    """The paper's tables and figures that it re-creates."""
    question: ClassVar[str]
    """What it asks, in a sentence."""
    compressor_rows: ClassVar[bool] = False
    """Whether its table has rows for the compressors of `readings`; else a sentence below it names them."""
    page: ClassVar[str] = "reproduction"
    """The page of `docs/` that its result is on: one of `inn_studies.report.PAGES`."""

    @property
    def command(self) -> str:
        """What runs it, without a scale."""
        return f"inn study {self.name}"

    @abstractmethod
    def sizes(self) -> dict[str, Size]:
        """How large its runs are at each scale: `smoke`, `cpu`, `gpu`."""

    @abstractmethod
    def run(self, lab: Lab, size: Size, seeds: int) -> dict[str, Any]:
        """Train and measure; return the result as plain data, with every row's settings and provenance."""

    def readings(self, result: dict[str, Any]) -> list[dict[str, Any]]:
        """The texts that compressors are measured on beside the models, see `inn_studies.compressors`."""
        return []

    @abstractmethod
    def table(self, result: dict[str, Any]) -> str:
        """The result as Markdown: one table or several, and the sentences that a reader needs."""

    def draw(self, result: dict[str, Any], figure: Figure) -> bool:
        """Draw the result into an empty figure; False where the study has no figure."""
        return False

    @abstractmethod
    def verdicts(self, result: dict[str, Any]) -> list[Verdict]:
        """What became of the paper's numbers; judged by the result, never by hand."""
