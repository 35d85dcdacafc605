"""Data of one's own: what comes out is what the file says, and each thing wrong with a file is one sentence."""

from __future__ import annotations

import gzip
import lzma

import numpy as np
import pytest

from inn.config.run import DataConfig
from inn.data.task_data import task_data
from inn.data.tasks.csv import Csv, CsvOptions
from inn.data.tasks.npz import Npz, NpzOptions
from inn.data.tasks.own import ahead
from inn.system.errors import InputError
from inn.testing import check_task

PARTS = ("train", "valid", "test")


def written(tmp_path, text, name="my.csv", **options):
    path = tmp_path / name
    opened = {".xz": lzma.open, ".gz": gzip.open}.get(path.suffix, open)
    with opened(path, "wt", encoding="utf-8") as file:
        file.write(text)
    return Csv(CsvOptions(path=str(path), **options))


def labelled(count=20, steps=3, label=lambda i: "ab"[i % 2], value=lambda i, t: 10 * i + t):
    rows = [f"s{i},{t},{value(i, t)},{i / 8},{label(i)}" for i in range(count) for t in range(steps)]
    return "who,when,p,q,label\n" + "\n".join(rows) + "\n"


def sequences(part):
    return [part.inputs[a:b] for a, b in zip(part.starts[:-1], part.starts[1:])]


@pytest.mark.parametrize("name", ["my.csv", "my.csv.xz", "my.csv.gz"])
def test_series_with_classes_come_back(tmp_path, name):
    task = written(tmp_path, labelled(), name, series="who", time="when", target="label")
    assert (task.channels, task.classes, task.values, task.metric) == (["p", "q"], ["a", "b"], [], "accuracy")
    parts = [task.part(name) for name in PARTS]
    assert [len(part) for part in parts] == [14, 3, 3]
    seen = []
    for part in parts:
        for x, start in zip(sequences(part), part.starts):
            i = int(x[0, 0]) // 10
            seen.append(i)
            assert x.tolist() == [[10 * i + t, i / 8] for t in range(3)]
            assert part.targets[start : start + 3].tolist() == [-100, -100, i % 2]
    assert sorted(seen) == list(range(20))
    assert all(abs(np.bincount(part.targets[part.targets >= 0])[0] * 2 - len(part)) <= 1 for part in parts)


def test_rows_are_ordered_by_time_within_their_series(tmp_path):
    lines = labelled().splitlines()
    mixed = np.random.default_rng(0).permutation(lines[1:]).tolist()
    task = written(tmp_path, "\n".join([lines[0], *mixed]), series="who", time="when", target="label")
    for x in sequences(task.part("train")):
        assert np.diff(x[:, 0]).tolist() == [1, 1]


def test_the_split_follows_its_seed(tmp_path):
    one, same, other = (written(tmp_path, labelled(), series="who", target="label", seed=s) for s in (1, 1, 2))
    assert np.array_equal(one.part("train").inputs, same.part("train").inputs)
    assert not np.array_equal(one.part("train").inputs, other.part("train").inputs)


def test_whole_numbers_are_classes_in_their_order_and_others_values(tmp_path):
    task = written(tmp_path, labelled(label=lambda i: 10 - i % 2), series="who", time="when", target="label")
    assert task.classes == ["9", "10"]
    task = written(tmp_path, labelled(label=lambda i: f"{i % 2}_1"), series="who", time="when", target="label")
    assert task.classes == ["0_1", "1_1"]  # not 1 and 11, as Python reads them
    task = written(tmp_path, labelled(label=lambda i: i / 8), series="who", target="label", columns=["p"])
    assert (task.channels, task.classes, task.values, task.metric) == (["p"], [], ["label"], "rmse")
    part = task.part("valid")
    assert np.isnan(part.targets[:, 0]).tolist() == [True, True, False] * 3
    assert part.targets[2::3, 0].tolist() == [x[0, 0] // 10 / 8 for x in sequences(part)]
    task = written(tmp_path, labelled(label=lambda i: i), series="who", target="label", predict="values")
    assert task.values == ["label"]


def test_labels_that_change_along_a_series_count_at_each_step(tmp_path):
    rows = [f"s{i},{t},{'xy'[(i + t) % 2] if t else ''}" for i in range(10) for t in range(4)]
    task = written(tmp_path, "who,p,label\n" + "\n".join(rows), series="who", target="label")
    part = task.part("train")
    assert all(part.targets[at] == -100 for at in part.starts[:-1])
    assert part.counted == 3 * len(part)


def test_one_long_series_is_cut_along_time_and_told_ahead(tmp_path):
    text = "a,b\n" + "\n".join(f"{t},{'' if t == 5 else -t}" for t in range(100))
    task = written(tmp_path, text, length=20, split=[0.5, 0.25, 0.25])
    parts = [task.part(name) for name in PARTS]
    assert [part.lengths.tolist() for part in parts] == [[20, 20, 10], [20, 5], [20, 5]]
    assert np.concatenate([p.inputs[:, 0] for p in parts]).tolist() == list(range(100))
    train = parts[0]
    assert np.isnan(train.inputs[5, 1])
    assert np.isnan(train.targets[4, 1])
    assert train.targets[:3].tolist() == [[1, -1], [2, -2], [3, -3]]
    assert np.isnan(train.targets[19]).all()
    assert (task.channels, task.classes, task.values) == (["a", "b"], [], [])


def test_a_later_step_is_a_value(tmp_path):
    text = "a,b\n" + "\n".join(f"{t},{t / 2}" for t in range(60))
    task = written(tmp_path, text, horizon=3, length=10, stride=5)
    assert task.values == ["a+3", "b+3"]
    assert task.part("train").targets[0].tolist() == [3, 1.5]
    task = written(tmp_path, text, horizon=3, length=10, target="b")
    assert (task.channels, task.values) == (["a", "b"], ["b"])
    part = task.part("train")
    assert part.targets[:-1, 0].tolist() == (part.inputs[:-1, 0] / 2 + 1.5).tolist()
    assert np.isnan(part.targets[-1]).all()
    task = written(tmp_path, text, target="b")
    assert task.channels == ["a"]
    assert (task.part("test").targets[:, 0] == task.part("test").inputs[:, 0] / 2).all()


def test_tabs_and_semicolons(tmp_path):
    text = "a\tb\n" + "\n".join(f"{t}\t{t}" for t in range(60))
    assert written(tmp_path, text, "my.tsv").channels == ["a", "b"]
    assert written(tmp_path, text.replace("\t", ";"), separator=";").channels == ["a", "b"]


GOOD = {"series": "who", "time": "when", "target": "label"}
REFUSED = {
    "a string in a number column": (
        labelled(value=lambda i, t: "hot" if i + t == 4 else 1),
        {},
        "row 10: column 'p' has",
    ),
    "a number that Python alone reads": (
        labelled(value=lambda i, t: "1_5"),
        {},
        "row 2: column 'p' has '1_5', which is",
    ),
    "an infinite value": (labelled(value=lambda i, t: "-inf" if i == 2 else 1), {}, "row 8: column 'p' has '-inf'"),
    "a ragged row": (labelled() + "s1,2\n", {}, "row 62: 2 cells"),
    "an empty file": ("", {}, "is empty"),
    "a header alone": ("who,when,p,label\n", {}, "a header and no rows"),
    "a channel without a value": (labelled(value=lambda i, t: "NA"), {}, "column 'p' has no value"),
    "one class": (labelled(label=lambda i: "a"), {}, "the only class is 'a'"),
    "an unknown column": (labelled(), {"target": "lable"}, "did you mean 'label'"),
    "an unknown input": (labelled(), {"columns": ["qq"]}, "no column 'qq'"),
    "too few series": (labelled(2), {}, "2 series, too few for a"),
    "a class that is never trained on": (labelled(8, label=lambda i: f"c{i}"), {}, "none of it in the training part"),
    "two columns of one name": ("p,p\n1,2\n", {"series": None}, "two columns are called 'p'"),
    "a column without a name": ("p,\n1,2\n", {}, "column 2 has no name"),
    "no header": ("1,2\n3,4\n", {}, "the first row holds numbers"),
    "another separator": ("p;q\n1;2\n", {}, "set data.task.separator to ';'"),
    "a label that is missing": (
        labelled(label=lambda i: "ab"[i % 2] if i else ""),
        {},
        "the series at row 2 has nothing",
    ),
    "a number among labels": (labelled(label=lambda i: i / 2 if i else "x"), {}, "column 'label' has 'x'"),
    "a time that is missing": (labelled().replace("s3,1,", "s3,,"), {}, "row 12: column 'when' is empty"),
    "one role twice": (labelled(), {"time": "who"}, "must be different columns"),
    "nothing to read": ("who,when,label\na,1,x\n", {}, "no column to read"),
    "an open quotation": ('who,when,p,label\na,1,"2,x\n', {}, "cannot be read as a table"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_wrong_with_a_table_is_one_sentence(tmp_path, case):
    text, options, says = REFUSED[case]
    with pytest.raises(InputError) as caught:
        written(tmp_path, text, **{**GOOD, **options}).part("train")
    sentence = str(caught.value)
    assert says in sentence
    assert "my.csv" in sentence or case == "one role twice"
    assert "\n" not in sentence


def test_files_that_cannot_be_read(tmp_path):
    for name, content in [("a.csv", b"\xff\xfe\x00a"), ("b.csv.xz", b"no"), ("c.csv.gz", b"no"), ("d.xlsx", b"no")]:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=name):
            Csv(CsvOptions(path=str(tmp_path / name))).part("train")
    with pytest.raises(InputError, match="no such file"):
        Csv(CsvOptions(path=str(tmp_path / "none.csv"))).part("train")
    with pytest.raises(InputError, match="give csv:PATH"):
        Csv(CsvOptions(kind="csv")).part("train")
    with pytest.raises(InputError, match="too few for the train part"):
        written(tmp_path, "a\n1\n", length=8).part("train")
    with pytest.raises(InputError, match="sum to 1"):
        CsvOptions(split=[0.5, 0.5, 0.5])


def arrays(tmp_path, **content):
    options = content.pop("options", {})
    np.savez(tmp_path / "my.npz", **content)
    return Npz(NpzOptions(path=str(tmp_path / "my.npz"), **options))


X = np.arange(120, dtype=np.float64).reshape(20, 3, 2)
Y = np.array(["no", "yes"] * 10)


def test_arrays_come_back(tmp_path):
    task = arrays(tmp_path, X=X, y=Y, channels=["p", "q"])
    assert (task.channels, task.classes) == (["p", "q"], ["no", "yes"])
    found = np.concatenate([task.part(name).inputs for name in PARTS]).reshape(-1, 3, 2)
    assert sorted(found[:, 0, 0].tolist()) == X[:, 0, 0].tolist()
    part = task.part("train")
    assert part.targets[2::3].tolist() == [int(x[0, 0] / 6) % 2 for x in sequences(part)]


def test_padded_and_flat_arrays_are_the_same(tmp_path):
    lengths = np.arange(20) % 3 + 1
    there = np.arange(3) < lengths[:, None]
    padded = arrays(tmp_path, X=X, y=Y, lengths=lengths).part("train")
    flat = arrays(tmp_path, X=X[there], y=Y, lengths=lengths).part("train")
    assert np.array_equal(padded.inputs, flat.inputs)
    assert np.array_equal(padded.starts, flat.starts)
    assert np.array_equal(padded.targets, flat.targets)


def test_targets_at_each_step(tmp_path):
    task = arrays(tmp_path, X=X, y=X[:, :, :1] / 4)
    assert task.values == ["y"]
    part = task.part("test")
    assert (part.targets[:, 0] == part.inputs[:, 0] / 4).all()
    task = arrays(tmp_path, X=X[:, :, 0], y=(X[:, :, 0] % 3).astype(int))
    assert task.classes == ["0", "1", "2"] or task.classes == ["0", "2"]
    assert task.part("valid").counted == 9
    task = arrays(tmp_path, X=X)
    assert (task.classes, task.values) == ([], [])
    assert np.isnan(task.part("train").targets[2::3]).all()


def test_parts_that_are_given_stay(tmp_path):
    task = arrays(tmp_path, X_train=X[:10], y_train=Y[:10], X_test=X[10:], y_test=Y[10:])
    assert [len(task.part(name)) for name in PARTS] == [8, 2, 10]
    assert np.array_equal(task.part("test").inputs, X[10:].reshape(-1, 2).astype(np.float32))


def test_labels_kept_as_floats_are_classes_if_told_so(tmp_path):
    y = np.arange(20.0) % 2
    assert arrays(tmp_path, X=X, y=y).values == ["y"]
    assert arrays(tmp_path, X=X, y=y, options={"predict": "classes"}).classes == ["0", "1"]


bad = X.copy()
bad[4, 1, 0] = np.inf
gone = X.copy()
gone[:, :, 1] = np.nan
REFUSED_ARRAYS = {
    "infinite": ({"X": bad, "y": Y}, "X[4, 1, 0] is infinite"),
    "texts": ({"X": X.astype(str), "y": Y}, "give arrays of numbers"),
    "no inputs": ({"x": X, "y": Y}, "no array 'X'"),
    "another count of targets": ({"X": X, "y": Y[:7]}, "one target for each of the 20 series"),
    "one class": ({"X": X, "y": np.ones(20, int)}, "the only class is '1'"),
    "an empty series": ({"X": X, "y": Y, "lengths": np.arange(20)}, "lengths[0] is 0"),
    "lengths that do not fit": ({"X": X, "y": Y, "lengths": np.full(20, 4)}, "do not fit X"),
    "a channel without a value": ({"X": gone, "y": Y}, "channel 'x1' has no value"),
    "names of channels": ({"X": X, "y": Y, "channels": ["a"]}, "channels must be 2 different names"),
    "one part alone": ({"X_train": X, "y_train": Y}, "give X_train and X_test"),
    "no targets in a part": ({"X_train": X, "y_train": Y, "X_test": X}, "no y_test"),
    "no series": ({"X": X[:0], "y": Y[:0]}, "holds nothing"),
    "objects": ({"X": np.array([X[0], X[1, :2]], object), "y": Y[:2]}, "holds objects"),
}


@pytest.mark.parametrize("case", REFUSED_ARRAYS)
def test_what_is_wrong_with_arrays_is_one_sentence(tmp_path, case):
    content, says = REFUSED_ARRAYS[case]
    with pytest.raises(InputError) as caught:
        arrays(tmp_path, **content).part("train")
    assert says in str(caught.value)
    assert "my.npz" in str(caught.value)


def test_a_file_that_is_none(tmp_path):
    (tmp_path / "my.npz").write_bytes(b"no")
    with pytest.raises(InputError, match=r"is no \.npz file"):
        Npz(NpzOptions(path=str(tmp_path / "my.npz"))).part("train")


def test_ahead_stays_within_its_sequence():
    assert ahead(np.array([1, 2, 3, 4]), np.array([0, 3, 4]), 1).tolist() == [2, 3, -100, -100]
    assert ahead(np.array([1, 2, 3]), np.array([0, 3]), 5).tolist() == [-100, -100, -100]


@pytest.mark.parametrize("options", [{"target": "label"}, {"target": "q"}, {}, {"horizon": 2}])
def test_a_table_keeps_the_contract_of_tasks(tmp_path, options):
    (tmp_path / "my.csv").write_text(labelled(label=lambda i: 1 - i % 2))
    check_task("csv", path=str(tmp_path / "my.csv"), series="who", time="when", **options)


def test_arrays_keep_the_contract_of_tasks(tmp_path):
    np.savez(tmp_path / "my.npz", X=X, y=Y)
    check_task("npz", path=str(tmp_path / "my.npz"))
    check_task("npz", path=str(tmp_path / "my.npz"), target=None)


def test_two_paths_are_refused(tmp_path):
    path = str(tmp_path / "my.csv")
    written(tmp_path, labelled())
    with pytest.raises(InputError, match=r"data\.task\.path is 'other\.csv', and the corpus names"):
        task_data(DataConfig(corpus=f"csv:{path}", task={"path": "other.csv"}))
