"""Generated and bundled signals, against loops, formulas and the arrays they are made from."""

from __future__ import annotations

import gzip
import math
import struct

import numpy as np
import pytest

from inn.data.tasks.adding import Adding, AddingOptions
from inn.data.tasks.attractors import ATTRACTORS
from inn.data.tasks.balls import Balls, BallsOptions
from inn.data.tasks.chaos import Chaos, ChaosOptions
from inn.data.tasks.digits import Digits, DigitsOptions
from inn.data.tasks.fashion import CLASSES, Fashion, FashionOptions
from inn.data.tasks.flow import largest_exponent, trajectory
from inn.data.tasks.lorenz96 import Lorenz96, Lorenz96Options
from inn.registry import TASKS
from inn.system import packages
from inn.system.errors import InputError
from inn.testing import check_task

PARTS = ("train", "valid", "test")


def shown(part):
    """Inputs and targets `[n, T, ...]` of sequences of one length."""
    inputs, targets, mask = part.padded()
    assert mask is None
    return inputs, targets


@pytest.mark.parametrize("name", "adding balls lorenz96".split())
def test_the_same_numbers_give_the_same_examples(name):
    task = TASKS[name](TASKS.options(name)(examples=5))
    one, same, other = (task.draw(task.rng("train", batch), 7) for batch in (0, 0, 1))
    assert np.array_equal(one.inputs, same.inputs)
    assert not np.array_equal(one.inputs, other.inputs)
    assert one.inputs.dtype == one.targets.dtype == np.float32
    assert one.inputs.shape == (len(one.inputs), len(task.channels))
    assert task.part("train") is None
    assert not np.array_equal(task.part("valid").inputs, task.part("test").inputs)


def test_adding_is_the_sum_of_what_is_marked():
    task = Adding(AddingOptions(length=11))
    for x, y in zip(*shown(task.draw(task.rng("train"), 50))):
        marked = [t for t in range(11) if x[t, 1] == 1]
        assert len(marked) == 2
        assert marked[0] < 5 <= marked[1]
        assert np.isnan(y[:-1]).all()
        assert y[-1, 0] == x[marked[0], 0] + x[marked[1], 0]


def test_digits_are_those_of_sklearn():
    datasets = pytest.importorskip("sklearn.datasets")
    found = datasets.load_digits()
    task = Digits(DigitsOptions())
    parts = [shown(task.part(name)) for name in PARTS]
    assert [len(inputs) for inputs, _ in parts] == [1300, 197, 300]
    pixels = np.concatenate([inputs[:, :, 0] for inputs, _ in parts]) * 16
    labels = np.concatenate([targets[:, -1] for _, targets in parts])
    order = np.random.default_rng(0).permutation(1797)
    assert np.array_equal(pixels, found.data[order])
    assert np.array_equal(labels, found.target[order])
    assert (parts[0][1][:, :-1] == -100).all()


def test_spikes_come_at_their_latency():
    pytest.importorskip("sklearn")
    grey = shown(Digits(DigitsOptions()).part("valid"))[0][:20, :, 0]
    spikes = shown(Digits(DigitsOptions(form="spikes", steps=10)).part("valid"))[0][:20]
    for image, train in zip(grey, spikes):
        for pixel, x in enumerate(image):
            at = [] if x < 0.05 else [round((1 - float(x)) * 9)]
            assert np.flatnonzero(train[:, pixel]).tolist() == at
    with pytest.raises(InputError, match="steps does nothing with form 'pixels'"):
        DigitsOptions(steps=10)


def test_digits_say_what_they_need(monkeypatch):
    monkeypatch.setattr(packages, "optional", lambda module: None)
    with pytest.raises(InputError, match=r"scikit-learn; install it: pip install 'inn-torch\[sklearn\]'"):
        Digits(DigitsOptions()).part("train")


@pytest.fixture
def clothes(tmp_path):
    """A folder with twelve images to train and three to test."""
    rng = np.random.default_rng(0)
    found = {}
    for name, count in (("train", 12), ("t10k", 3)):
        images, labels = rng.integers(0, 256, (count, 28, 28), np.uint8), rng.integers(0, 10, count, np.uint8)
        head = struct.pack(">4B3I", 0, 0, 8, 3, count, 28, 28)
        (tmp_path / f"{name}-images-idx3-ubyte.gz").write_bytes(gzip.compress(head + images.tobytes()))
        head = struct.pack(">4BI", 0, 0, 8, 1, count)
        (tmp_path / f"{name}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(head + labels.tobytes()))
        found[name] = images, labels
    return tmp_path, found


def test_fashion_reads_its_files(clothes):
    folder, found = clothes
    images, labels = found["train"]
    task = Fashion(FashionOptions(folder=str(folder), held=2))
    assert [len(task.part(name)) for name in PARTS] == [10, 2, 3]
    inputs, targets = shown(task.part("valid"))
    assert np.array_equal(inputs * 255, images[-2:])
    assert np.array_equal(targets[:, -1], labels[-2:])
    pixels, _ = shown(Fashion(FashionOptions(folder=str(folder), form="pixels")).part("test"))
    assert np.array_equal(pixels[:, :, 0] * 255, found["t10k"][0].reshape(3, 784))
    assert len(CLASSES) == 10
    some = Fashion(FashionOptions(folder=str(folder), held=2, skip=3, images=4))
    assert np.array_equal(shown(some.part("train"))[0] * 255, images[3:7])
    assert np.array_equal(shown(some.part("valid"))[0], inputs)
    with pytest.raises(InputError, match="skip 8 and images 3 are more than the 10 images there are to train on"):
        Fashion(FashionOptions(folder=str(folder), held=2, skip=8, images=3)).part("train")


def test_fashion_keeps_the_contract(clothes):
    check_task("fashion", folder=str(clothes[0]), held=2)


def test_fashion_says_what_is_wrong_with_its_files(clothes, tmp_path):
    folder, _ = clothes
    with pytest.raises(InputError, match="apt install dataset-fashion-mnist"):
        Fashion(FashionOptions(folder=str(tmp_path / "none"))).part("train")
    with pytest.raises(InputError, match="held must be less than the 12 images"):
        Fashion(FashionOptions(folder=str(folder))).part("train")
    for content in (gzip.compress(b"\0\0\x08\x03" + bytes(20)), b"no"):
        (folder / "t10k-images-idx3-ubyte.gz").write_bytes(content)
        with pytest.raises(InputError, match="from dataset-fashion-mnist again"):
            Fashion(FashionOptions(folder=str(folder))).part("test")


def test_a_ball_alone_goes_straight_and_is_reflected():
    task = Balls(BallsOptions(balls=1, length=200, speed=0.07, radius=0.1))
    inputs, targets = shown(task.draw(task.rng("train"), 10))
    for track in inputs.astype(np.float64):
        place, speed = track[0], track[1] - track[0]
        if ((track[:2] < 0.17) | (track[:2] > 0.83)).any():
            continue  # the first way may have met a wall
        for seen in track:
            folded = (place - 0.1) % 1.6  # a wall is a mirror
            assert seen == pytest.approx(0.1 + np.minimum(folded, 1.6 - folded), abs=1e-4)
            place = place + speed
    assert np.array_equal(targets[:, :-1], inputs[:, 1:])
    assert np.isnan(targets[:, -1]).all()


def test_balls_that_meet_keep_momentum_and_energy():
    task = Balls(BallsOptions(balls=3, length=2))
    rng = np.random.default_rng(0)
    places, speeds = rng.uniform(0.3, 0.7, (500, 3, 2)), rng.standard_normal((500, 3, 2)) * 0.01
    there = np.ones((500, 3), bool)
    _, after = task.move(places.copy(), speeds.copy(), there)
    assert (after != speeds).any((1, 2)).sum() > 50
    assert after.sum(1) == pytest.approx(speeds.sum(1), abs=1e-12)
    assert (after**2).sum((1, 2)) == pytest.approx((speeds**2).sum((1, 2)), abs=1e-12)
    _, after = task.move(places.copy(), speeds.copy(), np.array([[True, False, False]] * 500))
    assert np.array_equal(after, speeds)


def test_balls_fill_slots_at_random_and_the_rest_is_missing():
    task = Balls(BallsOptions(balls=2, fewest=1, slots=4, length=5))
    assert task.channels == ["x0", "y0", "x1", "y1", "x2", "y2", "x3", "y3"]
    inputs, _ = shown(task.draw(task.rng("train"), 400))
    there = ~np.isnan(inputs).reshape(400, 5, 4, 2)
    assert (there == there[:, :1, :, :1]).all()
    assert set(there[:, 0, :, 0].sum(1)) == {1, 2}
    assert (np.abs(there[:, 0, :, 0].mean(0) - 0.375) < 0.1).all()
    assert ((inputs >= 0.0999) | np.isnan(inputs)).all()


def test_a_picture_shows_each_ball():
    task = Balls(BallsOptions(form="picture", grid=10, balls=2, radius=0.15))
    grey = task.picture(np.array([[[[0.25, 0.65], [np.nan, np.nan]]]])).reshape(10, 10)
    assert grey[6, 2] == 1  # y is the row
    assert grey[0, 0] == grey[2, 6] == 0
    assert grey.sum() == pytest.approx(math.pi * 1.5**2, rel=0.1)


@pytest.mark.parametrize(
    "options, says",
    [
        ({"slots": 1}, "balls must be at most 1"),
        ({"fewest": 3}, "fewest must be at most 2"),
        ({"speed": 0.9}, "speed at most"),
        ({"balls": 20}, "too many for the box"),
        ({"grid": 9}, "grid does nothing with form 'coordinates'"),
    ],
)
def test_balls_that_cannot_be(options, says):
    with pytest.raises(InputError, match=says):
        BallsOptions(**options)


def test_lorenz96_equals_its_equations_by_a_loop():
    task = Lorenz96(Lorenz96Options(dimension=6, forcing=5.0))
    x = np.random.default_rng(0).standard_normal((3, 6))
    by_loop = [[(row[(i + 1) % 6] - row[i - 2]) * row[i - 1] - row[i] + 5.0 for i in range(6)] for row in x]
    assert task.rate(x) == pytest.approx(np.array(by_loop), abs=1e-12)


def test_the_integration_is_of_fourth_order():
    task = Lorenz96(Lorenz96Options())
    x = trajectory(task.rate, np.full((4, 8), 8.0) + np.eye(4, 8), 0.02, 200)[-1]
    exact = trajectory(task.rate, x, 0.4, 2, 320)[-1]
    errors = [np.abs(trajectory(task.rate, x, 0.4, 2, inner)[-1] - exact).max() for inner in (10, 20, 40)]
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    assert orders == pytest.approx([4, 4], abs=0.4)


def test_lorenz96_tells_its_next_step():
    task = Lorenz96(Lorenz96Options(length=9, dt=0.1))
    inputs, targets = shown(task.draw(task.rng("train"), 4))
    assert np.array_equal(targets[:, :-1], inputs[:, 1:])
    assert np.isnan(targets[:, -1]).all()
    assert trajectory(task.rate, inputs[:, 0].astype(float), 0.1, 9, 2).swapaxes(0, 1) == pytest.approx(
        inputs, abs=1e-3
    )


def test_largest_exponent_of_a_linear_flow():
    def rate(x):
        return x * np.array([0.7, -1.0])

    assert largest_exponent(rate, np.zeros((3, 2)), 0.1, 100, 4) == pytest.approx(0.7, rel=0.01)


@pytest.fixture(scope="module")
def trajectories():
    """A few sequences of each system: name -> [n, T, 3]."""
    task = Chaos(ChaosOptions(systems="all", length=32))
    inputs, targets = shown(task.draw(task.rng("test"), 80))
    assert np.array_equal(targets[:, :-1], inputs[:, 1:])
    assert np.isnan(targets[:, -1]).all()
    return {name: inputs[i::20] for i, name in enumerate(task.systems)}


def test_chaotic_systems_are_ten_and_ten_others():
    train, unseen = (Chaos(ChaosOptions(systems=name)).systems for name in ("train", "unseen"))
    assert len(train) == len(unseen) == 10
    assert {*train, *unseen} == set(ATTRACTORS)
    assert list(Chaos(ChaosOptions(systems="rossler")).systems) == ["rossler"]
    with pytest.raises(InputError, match="did you mean 'lorenz'"):
        Chaos(ChaosOptions(systems="lorentz")).part("valid")


def test_trajectories_are_standardised_and_follow_their_equations(trajectories):
    for name, states in trajectories.items():
        system = ATTRACTORS[name]
        assert np.abs(states).max() < 10
        assert 0.1 < states.std() < 2
        raw = states * system.scale + system.mean
        after = trajectory(system.rate, raw[:, :-1].reshape(-1, 3), system.step, 2, 16)[1]
        off = (after.reshape(4, -1, 3) - raw[:, 1:]) / system.scale
        assert np.abs(off).max() < 2e-3, name


@pytest.mark.slow
@pytest.mark.parametrize("name", ATTRACTORS)
def test_attractors_are_what_their_table_says(name):
    system = ATTRACTORS[name]
    task = Chaos(ChaosOptions(systems=name, length=500))
    states, _ = shown(task.draw(task.rng("test"), 200))
    assert np.abs(states.mean((0, 1))).max() < 0.15
    assert states.std((0, 1)) == pytest.approx(np.ones(3), rel=0.1)
    ends = states[:64, -1].astype(float) * system.scale + system.mean
    assert largest_exponent(system.rate, ends, system.step, 2000, 4).mean() == pytest.approx(system.lyapunov, rel=0.15)


def test_dysts_says_what_it_needs(monkeypatch):
    monkeypatch.setattr(packages, "optional", lambda module: None)
    with pytest.raises(InputError, match=r"'dysts'; install it: pip install 'inn-torch\[chaos\]'"):
        Chaos(ChaosOptions(family="dysts")).part("train")


@pytest.mark.slow
def test_dysts_takes_the_place_of_the_family():
    pytest.importorskip("dysts")
    train, unseen = (Chaos(ChaosOptions(family="dysts", systems=name)).systems for name in ("train", "unseen"))
    assert len(train) > 20
    assert not {*train} & {*unseen}
    task = Chaos(ChaosOptions(family="dysts", systems="Lorenz", length=200))
    assert np.abs(shown(task.draw(task.rng("test"), 10))[0]).max() < 5


DIVERGENCES = {
    "lorenz": -41 / 3,
    "halvorsen": -3.81,
    "rucklidge": -3,
    "burke-shaw": -11,
    "chen": -10,
    "thomas": -0.54,
    "rikitake": -2,
    "windmi": -0.7,
    "sprott-b": -1,
    "sprott-c": -1,
    "sprott-f": -0.5,
    "sprott-h": -0.5,
    "sprott-m": -1,
    "sprott-n": -2,
}
"""What the sum of all exponents must be, where it is the same everywhere."""


@pytest.mark.parametrize("name", DIVERGENCES)
def test_volumes_shrink_as_they_should(name):
    x, by = np.random.default_rng(0).uniform(-2, 2, (5, 3)), 1e-5 * np.eye(3)
    rate = ATTRACTORS[name].rate
    divergence = sum((rate(x + by[i]) - rate(x - by[i]))[:, i] / 2e-5 for i in range(3))
    assert divergence == pytest.approx(np.full(5, DIVERGENCES[name]), abs=1e-6)


def test_lorenz_rests_where_it_should():
    rest = np.array([[72**0.5, 72**0.5, 27.0], [-(72**0.5), -(72**0.5), 27.0]])
    assert ATTRACTORS["lorenz"].rate(rest) == pytest.approx(np.zeros((2, 3)), abs=1e-12)
