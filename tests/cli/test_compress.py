"""`inn compress`: from a folder to a smaller folder, and what is refused."""

import json

import pytest
import torch

from inn.cli.main import main

transformers = pytest.importorskip("transformers")


def words(decoder, *more: str, out: str) -> list[str]:
    small = ["--rows", "4", "--length", "32", "--windows", "3"]
    return ["compress", str(decoder / "model"), "--calibrate", str(decoder / "text"), "--out", out, *small, *more]


def test_a_smaller_folder_that_transformers_opens(decoder, tmp_path, capsys):
    out = tmp_path / "small"
    assert main(words(decoder, "--keep", "0.5", "--json", out=str(out))) == 0
    found = json.loads(capsys.readouterr().out)
    back = transformers.AutoModelForCausalLM.from_pretrained(out)
    assert sum(p.numel() for p in back.parameters()) == found["after"]["parameters"] < found["before"]["parameters"]
    assert found["after"]["projections"] / found["before"]["projections"] == pytest.approx(0.5, abs=0.05)
    assert found["scored_symbols"] == 3 * 31
    assert min(found[when]["perplexity"] for when in ("before", "after")) > 1
    assert transformers.AutoTokenizer.from_pretrained(out)("a graph")["input_ids"]


def test_a_table_for_people(decoder, tmp_path, capsys):
    out = tmp_path / "small"
    heal = ["--heal", words(decoder, out="")[3], "--minutes", "0.02"]
    assert main(words(decoder, "--plan", "qkv-ug", "--roles", "qkv", *heal, out=str(out))) == 0
    told = capsys.readouterr().out
    assert "healed for 0." in told
    assert "; unhealed perplexity " in told
    assert list(tmp_path.iterdir()) == [out]
    assert "perplexity" in told
    assert "6 projections in 2 groups, 2 of them shared; scored on 93 symbols" in told
    assert f"wrote {out}" in told


def test_neurons_are_cut_and_the_folder_is_an_ordinary_one(decoder, tmp_path, capsys):
    out = tmp_path / "small"
    assert main(words(decoder, "--plan", "neurons", "--keep", "0.5", out=str(out))) == 0
    told = capsys.readouterr().out
    assert "left as they are: model.layers.*.self_attn.q_proj" in told
    assert "MLPs with fewer neurons" in told
    assert "transformers opens it\n" in told
    assert "quantization_config" not in (out / "config.json").read_text()
    assert not (out / "neuronal.py").exists()


def test_a_folder_of_several_sizes_and_one_of_them_taken_out(decoder, tmp_path, capsys):
    out, small = tmp_path / "sizes", tmp_path / "small"
    assert main(words(decoder, "--also", "0.5,0.3", "--json", out=str(out))) == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["keep"] for one in found["also"]] == [0.5, 0.3]
    take = ["compress", str(out), "--out", str(small)]
    for more, says in (
        ([], "--calibrate is missing"),
        (["--keep", "0.4"], "no size 0.4"),
        (["--keep", "0.5", "--plan", "neurons"], "leave out --plan"),
    ):
        assert main([*take, *more]) == 2
        assert says in capsys.readouterr().err
    assert main([*take, "--keep", "0.5"]) == 0
    assert capsys.readouterr().out == f"wrote {small}: {found['also'][0]['parameters']:,} parameters\n"
    back = transformers.AutoModelForCausalLM.from_pretrained(small)
    assert sum(p.numel() for p in back.parameters()) == found["also"][0]["parameters"]
    assert transformers.AutoTokenizer.from_pretrained(small)("a graph")["input_ids"]


def test_dense_layers_for_others(decoder, tmp_path, capsys):
    assert main(words(decoder, "--keep", "0.5", out=str(tmp_path / "small"))) == 0
    assert main(words(decoder, "--keep", "0.5", "--dense", out=str(tmp_path / "dense"))) == 0
    assert "transformers opens it\n" in capsys.readouterr().out
    config = json.loads((tmp_path / "dense/config.json").read_text())
    assert "quantization_config" not in config
    assert not (tmp_path / "dense/neuronal.py").exists()
    load = transformers.AutoModelForCausalLM.from_pretrained
    tokens = torch.arange(9)[None]
    with torch.no_grad():
        one, other = (load(tmp_path / name).eval()(tokens).logits for name in ("small", "dense"))
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "more, says",
    [
        (["--keep", "0"], "keep must be above 0 and at most 1, not 0.0"),
        (["--keep", "1.5"], "keep must be above 0 and at most 1, not 1.5"),
        (["--keep", "1"], "with --keep 1 every projection had better stay a dense weight; keep less"),
        (["--plan", "sdv"], "unknown plan 'sdv'; did you mean 'svd'?"),
        (["--plan", "cachee"], "unknown plan 'cachee'; did you mean 'cache'?"),
        (["--plan", "neurons", "--tune", "1"], "train neuronal groups, and plan 'neurons' makes none"),
        (["--keep", "1", "--bits", "4", "--tune", "1"], "train neuronal groups, and --keep 1 makes none"),
        (["--plan", "q-k-{x}"], "names the projection 'x', and this model has d, g, k, o, q, u, v"),
        (["--roles", "qx"], "unknown projection 'x'"),
        (["--rows", "400"], "400 rows of 32 need 12,800"),
        (["--length", "1"], "--length must be at least 2, not 1"),
        (["--evaluate", "/nowhere"], "/nowhere"),
        (["--also", "0.5", "--plan", "groups"], "of its own, not 'groups'; use plan 'auto' or 'neurons'"),
        (["--also", "0.9", "--plan", "neurons"], "shares above 0 and below --keep 0.8, not 0.9"),
        (["--also", "half"], "shares between commas, such as 0.5,0.3, not 'half'"),
        (["--also", "0.5", "--bits", "4"], "leave out --bits, or --also"),
        (["--also", "0.5", "--plan", "cache"], "leave out --plan cache, or --also"),
        (["--minutes", "2"], "--minutes is of --heal; give that too"),
        (["--heal", "/nowhere"], "/nowhere"),
        (["--heal", "/nowhere", "--minutes", "0"], "--minutes must be above 0, not 0"),
        (["--heal", "/nowhere", "--recipe", "best"], "unknown recipe 'best'"),
        (["--length", "1000", "--rows", "1"], "and a window takes 1,000"),
    ],
)
def test_mistakes_are_one_sentence_and_leave_nothing(decoder, tmp_path, capsys, more, says):
    out = tmp_path / "small"
    assert main(words(decoder, *more, out=str(out))) == 2
    told, error = capsys.readouterr()
    assert says in error
    assert error.count("\n") == 1
    assert not told or "--tune" not in more  # no work was begun
    assert not list(tmp_path.iterdir())


ENDS = {"vocab_size": 600, "bos_token_id": 0, "eos_token_id": 0}
FUSED = transformers.GPT2Config(n_embd=16, n_layer=1, n_head=2, n_positions=64, **ENDS)
SLIDING = transformers.MistralConfig(
    hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=1,
    sliding_window=16, **ENDS,
)  # fmt: skip


@pytest.mark.parametrize("config, says", [(FUSED, "has keys and values in one layer"), (SLIDING, "a sliding window")])
def test_a_cache_that_takes_no_states_is_refused_before_there_is_work(decoder, tmp_path, capsys, config, says):
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path / "model")
    transformers.AutoTokenizer.from_pretrained(decoder / "model").save_pretrained(tmp_path / "model")
    (tmp_path / "text").write_bytes((decoder / "text").read_bytes())
    assert main(words(tmp_path, "--plan", "cache", out=str(tmp_path / "small"))) == 2
    told, error = capsys.readouterr()
    assert says in error
    assert not told


def test_no_model_no_text_no_place(decoder, tmp_path, capsys):
    assert main(["compress", "/nowhere", "--calibrate", str(decoder / "text"), "--out", str(tmp_path / "x")]) == 2
    assert "model '/nowhere' does not exist" in capsys.readouterr().err
    assert main(["compress", str(decoder / "model"), "--keep", "0.5", "--out", str(tmp_path / "x")]) == 2
    assert "--calibrate is missing" in capsys.readouterr().err
    assert main(words(decoder, out=str(tmp_path))) == 2
    assert "exists already" in capsys.readouterr().err
    (decoder / "binary").write_bytes(b"\xff\xfe\x00")
    assert (
        main(["compress", str(decoder / "model"), "--calibrate", str(decoder / "binary"), "--out", str(tmp_path / "x")])
        == 2
    )
    assert "is not UTF-8 text: byte 0xff at 0" in capsys.readouterr().err


def test_a_compressed_model_is_not_compressed_again(decoder, tmp_path, capsys):
    out = tmp_path / "small"
    assert main(words(decoder, out=str(out))) == 0
    capsys.readouterr()
    again = words(decoder, out=str(tmp_path / "smaller"))
    again[1] = str(out)
    assert main(again) == 2
    assert "compressed already" in capsys.readouterr().err


def test_an_interrupted_compression_leaves_nothing(decoder, tmp_path, monkeypatch, capsys):
    import inn.compress.folder

    def stop(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(inn.compress.folder, "save", stop)
    assert main(words(decoder, out=str(tmp_path / "small"))) == 130
    assert not list(tmp_path.iterdir())


@pytest.fixture
def spelled(trained, tmp_path):
    """A text that the run can read, as a file."""
    from inn.runs.load import load_with_data

    _, dataset = load_with_data(str(trained))
    (tmp_path / "text").write_text(dataset.vocabulary.decode(dataset.train[:4000]))
    return tmp_path / "text"


def test_an_inn_becomes_communal_and_is_opened_again(inn, own_run, spelled, tmp_path):
    import inn as library

    out = tmp_path / "small"
    more = ["--calibrate", spelled, "--out", out, "--rows", "4", "--length", "64", "--keep", "0.5"]
    found = json.loads(inn("compress", own_run, *more, "--json").out)
    small = library.load(out)
    assert small.config.weights == "communal"
    assert small.num_parameters == found["after"]["parameters"] < found["before"]["parameters"]
    assert found["after"]["projections"] / found["before"]["projections"] == pytest.approx(0.5, abs=0.05)
    parts = found["after"]["projections"] + found["after"]["embeddings"]
    assert parts < found["after"]["parameters"]
    assert found["after"]["flops_per_symbol"] < found["before"]["flops_per_symbol"]
    assert inn("generate", out, "--tokens", "5").code == 0


def test_a_table_for_an_inn(inn, own_run, spelled, tmp_path):
    out = tmp_path / "small"
    told = inn("compress", own_run, "--calibrate", spelled, "--out", out, "--rows", "4", "--length", "64").out
    assert "maps of the population" in told
    assert f"wrote {out}; `inn generate` and `inn.load` open it" in told


@pytest.mark.parametrize(
    "more, says",
    [
        (["--plan", "qkv"], "--plan, --roles, --also, --heal, --dense and --bits are for decoders"),
        (["--keep", "2"], "keep must be above 0 and at most 1, not 2.0"),
        (["--rows", "4000"], "symbols, and 4000 rows"),
    ],
)
def test_mistakes_with_an_inn(refused, own_run, spelled, tmp_path, more, says):
    small = ["--rows", "4", "--length", "32", "--calibrate", spelled, "--out", tmp_path / "small"]
    assert says in refused("compress", own_run, *small, *more)
    assert not (tmp_path / "small").exists()


def test_a_communal_inn_is_not_compressed_again(inn, refused, own_run, spelled, tmp_path):
    more = ["--calibrate", spelled, "--rows", "4", "--length", "64", "--out"]
    assert inn("compress", own_run, *more, tmp_path / "small").code == 0
    assert "has nothing to share" in refused("compress", tmp_path / "small", *more, tmp_path / "smaller")
