from __future__ import annotations

import pytest

from inn.data.vocabulary import build_vocabulary
from inn.runs.directory import Run
from inn.system.errors import InputError

VOCABULARY = build_vocabulary("characters", "abcé\n")


def test_a_new_run_holds_its_configuration_and_vocabulary(tmp_path, tiny):
    config = tiny("lstm", lr=1e-5)
    run = Run.create(tmp_path / "deep" / "run", config, VOCABULARY)
    assert sorted(p.name for p in run.path.iterdir()) == [
        "checkpoints", "config.yaml", "metrics.jsonl", "samples.txt", "vocabulary.json",
    ]  # fmt: skip
    opened = Run(run.path)
    assert opened.config() == config
    assert opened.vocabulary() == VOCABULARY
    assert opened.summary() is None


def test_an_empty_directory_may_be_used_and_one_with_a_file_may_not(tmp_path, tiny):
    (tmp_path / "empty").mkdir()
    Run.create(tmp_path / "empty", tiny(), VOCABULARY)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes").write_text("keep me")
    for taken in ("mine", "empty"):
        with pytest.raises(InputError, match=r"exists already.*--resume.*--run"):
            Run.create(tmp_path / taken, tiny(), VOCABULARY)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="exists already"):
        Run.create(tmp_path / "file", tiny(), VOCABULARY)
    assert (tmp_path / "mine" / "notes").read_text() == "keep me"


def test_a_run_that_cannot_be_written_leaves_nothing(tmp_path, tiny):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write"):
        Run.create(tmp_path / "file" / "run", tiny(), VOCABULARY)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(InputError, match="is not a run: it does not exist"):
        Run(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"is not a run: it has no config\.yaml"):
        Run(tmp_path)
    (tmp_path / "text").touch()
    with pytest.raises(InputError, match="is not a run: it is a file"):
        Run(tmp_path / "text")


@pytest.mark.parametrize("content", ["", "just text", "a: [", "model: {kind: lstm}\nextra: {}", "- 1"])
def test_a_damaged_configuration_is_a_clear_error(tmp_path, content):
    (tmp_path / "config.yaml").write_text(content)
    with pytest.raises(InputError):
        Run(tmp_path).config()


def test_damaged_summary_and_vocabulary_are_clear_errors(tmp_path, tiny):
    run = Run.create(tmp_path / "run", tiny(), VOCABULARY)
    (run.path / "summary.json").write_text("{")
    (run.path / "vocabulary.json").write_text("{")
    with pytest.raises(InputError, match=r"summary\.json"):
        run.summary()
    with pytest.raises(InputError, match=r"vocabulary\.json"):
        run.vocabulary()


def test_metrics_and_samples_are_cut_back_to_a_checkpoint(tmp_path, tiny):
    run = Run.create(tmp_path / "run", tiny(), VOCABULARY)
    run.log(event="train", step=1, loss=0.1)
    run.log_sample(1, "ein Stück\nText")
    sizes = run.sizes()
    before = [(run.path / name).read_bytes() for name in ("metrics.jsonl", "samples.txt")]
    run.log(event="train", step=2, loss=0.2)
    run.log_sample(2, "more")
    with (run.path / "metrics.jsonl").open("a") as file:
        file.write('{"event": "tr')  # a crash in the middle of a line
    assert [line["step"] for line in run.metrics()] == [1, 2]
    run.rewind(sizes)
    assert [(run.path / name).read_bytes() for name in ("metrics.jsonl", "samples.txt")] == before
    run.rewind({"metrics.jsonl": 10_000, "samples.txt": 10_000})  # shorter than remembered: left as it is
    assert (run.path / "metrics.jsonl").read_bytes() == before[0]
