"""`inn study models`: train the models of `inn-models`, measure them, and write them with their cards."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory

from jsonargparse import Namespace

from inn.cli.common import console
from inn.config.parser import OptionParser
from inn.export.base import export
from inn.runs.card import CARD
from inn.system.errors import lookup
from inn.system.files import remove_folder, replace_file
from inn_studies.lab import Lab
from inn_studies.models import TRAINED, Trained, folder_of
from inn_studies.models.card import MEASURED, card
from inn_studies.tasks import register

USAGE = "inn study models [NAME ...] [--runs DIR] [--cards]"


def main(argv: list[str]) -> int:
    """Run `inn study models`."""
    args = parse(argv)
    known = {one.name: one for one in TRAINED}
    chosen = [lookup("trained model", name, known) for name in args.names or known]
    register()
    lab, out = Lab(Path(args.runs), report=lambda what, done, of: None), console()
    for one in chosen:
        if not args.cards:
            write(one, lab, folder_of(one.name))
        replace_file(folder_of(one.name) / CARD, card(one, folder_of(one.name)))
        size = sum(path.stat().st_size for path in folder_of(one.name).rglob("*") if path.is_file())
        out.print(f"{one.name}: {size:,} bytes in {folder_of(one.name)}", soft_wrap=True)
    return 0


def parse(argv: list[str]) -> Namespace:
    """The command's arguments."""
    parser = OptionParser("inn study models", USAGE, "Train the models of inn-models, and write them with their cards.")
    parser.positional("names", f"Only these: {', '.join(one.name for one in TRAINED)}.", many=True)
    parser.option("--runs", default="runs/studies", help="The folder of runs; what is trained there is used again.")
    parser.flag("--cards", "Write the cards anew of what is there; nothing is trained or measured.")
    return parser.parse(argv)


def write(one: Trained, lab: Lab, place: Path) -> None:
    """Train a model, unless it is, and put it in 8 bits in the place of the one that is there."""
    run = str(lab.train([one.job(lab)])[0])
    with TemporaryDirectory(dir=place.parent) as folder:
        small = Path(folder) / one.name
        export(run, small, to="small", experience=one.experience)
        measured = one.measure(run, str(small))
        replace_file(small / MEASURED, json.dumps(measured, indent=1) + "\n")
        if place.exists():
            remove_folder(place)
        small.rename(place)
