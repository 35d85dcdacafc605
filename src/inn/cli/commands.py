"""The commands there are: built in, by what a user wants to do, or brought by an installed package."""

from __future__ import annotations

from inn.registry import Kinds

GROUPS: dict[str, dict[str, str]] = {
    "start": {
        "demo": "train a small graph of neurons on text that is already here, and show what came out",
        "recipes": "the recipes to train: text, size, minutes on two cores, whether the text is here",
        "data": "list, get and verify the corpora",
        "train": "train a model: a recipe's, or one of your own settings",
        "eval": "score a run on held-out text, beside n-gram baselines",
        "generate": "continue a prompt, one symbol at a time",
    },
    "look inside": {
        "look": "write a page that shows what the neurons of a run do",
        "play": "type a text on a page of this machine; watch and silence the neurons",
        "analyze": "what each neuron encodes, and what the run loses without it",
    },
    "use": {
        "score": "bits per symbol of every line of a file or a pipe; flags unusual lines",
        "compress-text": "compress a file with a trained model",
        "decompress-text": "get the file back, byte for byte, with the same run",
        "export": "write a run as a folder that Hugging Face transformers opens",
        "push": "upload a run to the Hugging Face Hub, or show what would be uploaded",
    },
    "manage": {
        "runs": "compare the runs of a folder: settings, scores, learning curves",
        "info": "parameters, compute, state and settings of a recipe or a run",
        "kinds": "every memory, router, topology, ... with its options and where it comes from",
        "sweep": "search for the settings of a recipe that suit its text best",
    },
    "research": {
        "stability": "how a perturbation decays over time and grows with depth, in any model",
        "upcycle": "convert a pretrained Mamba of Hugging Face into a graph of neurons",
        "compress": "low-rank factorisation of a trained model, with shared states",
    },
}
"""Every built-in command and what it is for, by group."""

_SUMMARIES = {name: text for group in GROUPS.values() for name, text in group.items()}

COMMANDS = Kinds(
    "command",
    "inn.commands",
    {name: f"inn.cli.{'evaluate' if name == 'eval' else name.replace('-', '_')}" for name in _SUMMARIES},
)
"""Every command: the module whose `main(argv)` runs it, imported when it is asked for."""


def summary_of(name: str) -> str:
    """What a command is for; of one that a package brings, what the package says."""
    return _SUMMARIES.get(name) or COMMANDS.summary(name)


def summaries() -> dict[str, dict[str, str]]:
    """Every command there is here and what it is for, by group; what packages bring stands with research."""
    brought = {name: summary_of(name) for name in COMMANDS if name not in _SUMMARIES}
    return {**GROUPS, "research": {**GROUPS["research"], **brought}}
