"""From recipes and overrides to settings."""

from __future__ import annotations

from dataclasses import fields

import pytest

from inn.config.models import PRESETS, INNConfig
from inn.config.rivals import LSTMConfig
from inn.config.run import RunConfig
from inn.config.settings import read_recipe, recipes, resolve, resolve_settings, split_overrides
from inn.registry import MODELS
from inn.system.errors import InputError

NAMES = [
    "bytes-counts", "demo", "enwik8", "locked-plastic", "ptb", "study-smoke", "text8", "text8-10m", "text8-1m",
    "text8-graph", "text8-last", "text8-paper", "text8-small", "wikitext2",
]  # fmt: skip
KINDS = ["inn", "lstm", "transformer", "transformer-paper", "mamba-stack", "ngram"]


def test_the_recipes_of_the_package():
    assert sorted(recipes()) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_says_everything_and_has_every_kind(name):
    tree = read_recipe(name)
    assert tree["description"]
    assert set(KINDS) <= set(tree["models"])
    for kind in MODELS:
        config = resolve_settings(name, ["--model.kind", kind])
        assert config.model.kind == kind
        assert RunConfig.from_dict(config.to_dict()) == config


def test_no_recipe_gives_the_defaults():
    assert resolve_settings().model == INNConfig()


def test_overrides_are_dotted_and_typed():
    config = resolve_settings(
        "text8", ["--model.width=32", "--train.lr", "1e-3", "--model.share_rounds", "true", "--data.corpus", "enwik8"]
    )
    assert (config.model.width, config.train.lr, config.model.share_rounds) == (32, 1e-3, True)
    assert config.data.corpus == "enwik8"


def test_short_names():
    config = resolve_settings("text8", ["--device", "cpu", "--dtype=bfloat16", "--seed", "7"])
    assert (config.train.device, config.train.dtype, config.train.seed) == ("cpu", "bfloat16", 7)


def test_a_later_override_wins():
    assert resolve_settings("text8", ["--seed", "1", "--train.seed", "2"]).train.seed == 2


def test_the_kind_picks_the_class_and_its_own_fields():
    config = resolve_settings("text8", ["--model.layers", "3", "--model.kind", "lstm"])
    assert isinstance(config.model, LSTMConfig)
    assert config.model.layers == 3


def test_a_preset_replaces_the_recipes_model_and_later_fields_override_it():
    model = resolve_settings("text8-small", ["--model.preset", "paper", "--model.rounds", "2"]).model
    assert (model.neurons, model.width, model.weights, model.embedding_std) == (32, 256, "shared", 1.0)
    assert model.rounds == 2
    assert resolve_settings("text8-paper", ["--model.preset", "paper-fixed"]).model.embedding_std == 0.02
    distinct = resolve_settings("text8-paper", ["--model.preset", "distinct"]).model
    assert distinct == INNConfig(vocab=27, router="attention", recall="none")
    for preset in PRESETS:
        assert resolve_settings("text8", ["--model.preset", preset]).model.recall.kind == "none"


def test_lists_are_set_too():
    assert resolve_settings("text8", ["--model.recall", "[3,1]"]).model.recall.contexts == [3, 1]
    assert resolve_settings("text8", ["--model.recall=[]"]).model.recall.kind == "none"


def test_the_paper_recipe_is_the_published_training():
    config = resolve_settings("text8-paper")
    t = config.train
    assert (t.lr, t.schedule, t.warmup, t.beta1, t.beta2, t.weight_decay, t.clip) == (
        4e-4, "onecycle", 0.3, 0.9, 0.999, 0.01, 1.0,
    )  # fmt: skip
    assert (config.data.batch, config.data.window, t.symbols) == (16, 256, 90_000_000)
    assert (config.model.neurons, config.model.memory.dt_rank, config.model.router.routing_dropout) == (32, 16, 0.1)


def test_the_declared_vocabulary_holds_for_the_recipes_own_data_only():
    assert resolve("text8-paper").vocab == 27
    assert resolve("text8-paper", ["--model.kind", "lstm"]).config.model.vocab == 27
    assert resolve("text8-paper", ["--data.corpus", "pydoc"]).vocab is None
    assert resolve("text8-paper", ["--data.vocabulary", "bytes"]).vocab is None
    assert resolve("text8-paper", ["--model.vocab", "30"]).vocab == 30


def test_the_vocabulary_is_checked_against_the_data():
    assert resolve("demo").with_sizes({"vocab": 91}).model.vocab == 91
    assert resolve("text8-paper").with_sizes({"vocab": 27}).model.vocab == 27
    with pytest.raises(InputError, match=r"model.vocab is 27, but corpus 'text8' has 28 distinct symbols"):
        resolve("text8-paper").with_sizes({"vocab": 28})


def test_a_runs_config_is_a_recipe(tmp_path):
    import yaml

    config = resolve_settings("text8-small", ["--model.kind", "lstm", "--model.width", "40"])
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config.to_dict()))
    assert resolve_settings(str(path)) == config


def test_numbers_in_a_recipe_may_be_written_as_on_the_command_line(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("train: {lr: 1e-3}\nmodel: {kind: lstm, width: 20}\nmodels: {lstm: {width: 30, layers: 1}}\n")
    config = resolve_settings(str(path))
    assert (config.train.lr, config.model.width, config.model.layers) == (1e-3, 20, 1)


@pytest.mark.parametrize(
    "recipe, overrides, sentence",
    [
        ("txt8", [], "unknown recipe 'txt8'; did you mean 'text8'?"),
        ("/", [], "unknown recipe '/'; there is such a path, but it is no recipe and no run; a text is"),
        ("nowhere.yaml", [], "there is no recipe file 'nowhere.yaml'"),
        ("text8", ["--model.widht", "3"], "unknown field 'model.widht'; did you mean 'width'?"),
        ("text8", ["--model.kind", "lstm", "--model.neurons", "3"], "unknown field 'model.neurons'; known: "),
        ("text8", ["--model.kind", "lsmt"], "unknown model kind 'lsmt'; did you mean 'lstm'?"),
        ("text8", ["--model.preset", "papr"], "unknown preset 'papr'; did you mean 'paper'?"),
        ("text8", ["--model.preset", "paper", "--model.kind", "lstm"], "preset 'paper' is of model kind 'inn'"),
        ("text8", ["--model.router", "atention"], "--model.router cannot be 'atention'; did you mean 'attention'?"),
        ("text8", ["--model.width", "wide"], "--model.width expects a whole number, not 'wide'"),
        ("text8", ["--model.width", "1.5"], "--model.width expects a whole number, not '1.5'"),
        ("text8", ["--model.dt_rank", "x"], "--model.memory.dt_rank expects a whole number or null, not 'x'"),
        ("text8", ["--train.lr", "fast"], "--train.lr expects a number, not 'fast'"),
        ("text8", ["--model.tied", "perhaps"], "--model.tied expects true or false, not 'perhaps'"),
        ("text8", ["--model.cutoffs", "a,b"], "--model.cutoffs expects a list like [1,2] or null, not 'a,b'"),
        ("text8", ["--seed"], "--train.seed needs a value: a whole number"),
        ("text8", ["--seed", "--device", "cpu"], "--train.seed needs a value: a whole number"),
        ("text8", ["--train.symbols", "-5"], "symbols must be at least 1, not -5"),
        ("text8", ["--data.batch", "0"], "batch must be at least 1, not 0"),
        ("text8", ["--model.router", "attention", "--model.width", "30"], "width 30 is not divisible by heads 4"),
        ("text8", ["--model.update", "parallel"], "update 'parallel' has no meaning with router 'dendrites'"),
        ("text8", ["--model.recall", "[2,70]"], "recall lists contexts of 1 to 64 symbols, not 70"),
        ("text8", ["--model.recall", "2;3"], "--model.recall cannot be '2;3'"),
        ("text8", ["--model.recall.slots", "0"], "recall.slots must be at least 4, not 0"),
        ("text8", ["--data.vocabulary", "chars"], "--data.vocabulary cannot be 'chars'; did you mean 'characters'?"),
        ("text8", ["--width", "3"], "unexpected argument '--width' among the settings"),
    ],
)
def test_mistakes_are_named(recipe, overrides, sentence):
    with pytest.raises(InputError) as caught:
        resolve_settings(recipe, overrides)
    assert str(caught.value).startswith(sentence)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text, sentence",
    [
        ("a: [", "is not valid YAML (line "),
        ("train: {lr: 0.1}\ntrain: {lr: 0.2}", "is not valid YAML (line 2: 'train' is there twice)"),
        ("- 1", "must hold sections"),
        ("trian: {}", "unknown section 'trian'; did you mean 'train'?"),
        ("train: 3", "'train' must hold fields, not '3'"),
        ("train: {lrr: 3}", "unknown field 'train.lrr'; did you mean 'lr'?"),
        ("train: {symbols: many}", "--train.symbols expects a whole number, not 'many'"),
        ("models: {lsmt: {}}", "unknown model kind 'lsmt'; did you mean 'lstm'?"),
        ("models: {inn: 3}", "'inn' must hold fields, not '3'"),
        ("vocab: many", "vocab expects a whole number above 0, not 'many'"),
        ("model: {kind: lstm, preset: paper}", "preset 'paper' is of model kind 'inn'"),
    ],
)
def test_mistakes_in_a_recipe_are_named(tmp_path, text, sentence):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        resolve_settings(str(path))
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_split_overrides_leaves_the_commands_own_arguments():
    own, settings = split_overrides(["text8", "--run", "here", "--model.width", "3", "--json", "--seed=1"])
    assert own == ["text8", "--run", "here", "--json"]
    assert settings == ["--model.width=3", "--train.seed=1"]


def test_every_field_can_be_set():
    for name, cls in (("inn", INNConfig), ("lstm", LSTMConfig)):
        for f in fields(cls):
            if f.name != "kind" and isinstance(f.default, int | float):
                value = str(f.default).lower()
                config = resolve_settings("demo", ["--model.kind", name, f"--model.{f.name}", value])
                assert getattr(config.model, f.name) == f.default
