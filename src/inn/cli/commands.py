"""The commands there are: built in, or brought by an installed package."""

from __future__ import annotations

from inn.registry import Kinds

COMMANDS = Kinds(
    "command",
    "inn.commands",
    {
        "train": "inn.cli.train",
        "eval": "inn.cli.evaluate",
        "analyze": "inn.cli.analyze",
        "stability": "inn.cli.stability",
        "score": "inn.cli.score",
        "compress-text": "inn.cli.compress_text",
        "decompress-text": "inn.cli.decompress_text",
        "runs": "inn.cli.runs",
        "push": "inn.cli.push",
        "generate": "inn.cli.generate",
        "export": "inn.cli.export",
        "look": "inn.cli.look",
        "play": "inn.cli.play",
        "upcycle": "inn.cli.upcycle",
        "info": "inn.cli.info",
        "kinds": "inn.cli.kinds",
        "data": "inn.cli.data",
        "compress": "inn.cli.compress",
        "sweep": "inn.cli.sweep",
        "demo": "inn.cli.demo",
    },
)
"""Every command: the module whose `main(argv)` runs it, imported when it is asked for."""

SUMMARIES = {
    "train": "train a model: a recipe's, or one of your own settings",
    "eval": "score a run on held-out text, beside n-gram floors",
    "analyze": "look inside a run: what each neuron does, carries and causes",
    "stability": "how a push fades over symbols and grows over depth, in models of any kind",
    "score": "what every line of a text or a pipe costs a run; the surprising ones stand out",
    "compress-text": "write a text in the bits that a run needs to predict it",
    "decompress-text": "get the text back, byte for byte, with the same run",
    "runs": "the runs of a folder, side by side: what they are, what they reached, their curves",
    "push": "put a run on the Hugging Face Hub, or show what would be put there",
    "generate": "let a run write, one symbol at a time",
    "export": "write a run as a folder that Hugging Face transformers opens",
    "look": "write a page that shows what the neurons of a run do",
    "play": "type a text on a page of this machine, and watch and silence the neurons",
    "upcycle": "make a population of neurons of a pretrained Mamba of Hugging Face",
    "info": "parameters, compute, state and settings of a recipe or a run",
    "kinds": "every memory, router, topology, ... there is here, with its options and where it comes from",
    "data": "list, get and verify the corpora",
    "compress": "make a trained model smaller: neuronal states in place of weights",
    "sweep": "search for the settings of a recipe that suit its text best",
    "demo": "train, evaluate and sample a small graph of neurons, here and now",
}
"""What each built-in command is for; of one that a package brings, the package's own summary says it."""


def summaries() -> dict[str, str]:
    """Every command there is here, and what it is for."""
    return {name: SUMMARIES.get(name) or COMMANDS.summary(name) for name in COMMANDS}
