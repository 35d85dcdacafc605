"""The commands there are: built in, by what a user wants to do, or brought by an installed package."""

from __future__ import annotations

from inn.registry import Kinds

GROUPS: dict[str, dict[str, str]] = {
    "start": {
        "demo": "train a small graph (no download), and show the result",
        "recipes": "what `inn train` can train by name, and how long it takes",
        "data": "list, get and verify the corpora",
        "train": "train a model: a recipe's, or one of your own settings",
        "eval": "score a run on held-out text, beside n-gram baselines",
        "generate": "continue a prompt, one symbol at a time",
    },
    "look inside": {
        "look": "write a page that shows what the neurons of a run do",
        "play": "a local page: type a text, watch and silence the neurons",
        "analyze": "what each neuron encodes, and its ablation (lesion)",
        "explain": "when each neuron is active, as rules; the automaton of what counts",
        "topology": "the wiring: edges, degrees, hubs, and what learning changed",
    },
    "use": {
        "score": "bits per symbol of each line; flag unusual lines",
        "compress-text": "compress a file with a trained model",
        "decompress-text": "decompress the file, byte for byte, with the same run",
        "serve": "serve a run: OpenAI's API, many texts at a time",
        "export": "write a run as a folder for Hugging Face transformers",
        "push": "upload a run to the Hugging Face Hub, or show what it would",
    },
    "manage": {
        "runs": "compare the runs of a folder: settings, scores, curves",
        "info": "size, compute and settings of a recipe or a run",
        "kinds": "every memory, router, topology, ... with its options",
        "sweep": "search for the best settings of a recipe",
    },
    "neurons as parts": {
        "keep": "a smaller run of some of the neurons or rounds",
        "grow": "a larger run that computes the same, with new neurons",
        "cut": "neurons or rounds of a run as a file: an organ",
        "graft": "put an organ into a run",
        "merge": "one run of several, their neurons side by side",
        "split": "neurons in groups, of which some take part at each step",
        "unsplit": "a run whose neurons all take part again",
        "learn-on": "learn one thing after another, each new one by an organ",
    },
    "research": {
        "stability": "how a perturbation decays over time and grows with depth",
        "upcycle": "convert a pretrained Mamba into a graph of neurons",
        "compress": "make a trained model smaller: low rank, shared states",
    },
}
"""Every built-in command and what it is for, by group."""

_SUMMARIES = {name: text for group in GROUPS.values() for name, text in group.items()}

_ELSEWHERE = {
    "eval": "evaluate",
    **{name: f"surgery:{name}" for name in GROUPS["neurons as parts"] if name != "learn-on"},
}
COMMANDS = Kinds(
    "command",
    "inn.commands",
    {name: f"inn.cli.{_ELSEWHERE.get(name, name.replace('-', '_'))}" for name in _SUMMARIES},
)
"""Every command: the module (or object) whose `main(argv)` runs it, imported when it is asked for."""


def summary_of(name: str) -> str:
    """What a command is for; of one that a package brings, what the package says."""
    return _SUMMARIES.get(name) or COMMANDS.summary(name)


def summaries() -> dict[str, dict[str, str]]:
    """Every command there is here and what it is for, by group; what packages bring stands with research."""
    brought = {name: summary_of(name) for name in COMMANDS if name not in _SUMMARIES}
    return {**GROUPS, "research": {**GROUPS["research"], **brought}}
