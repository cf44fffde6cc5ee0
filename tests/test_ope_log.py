"""Decision logs: what follows from what, and that bad rows are named before anything is computed."""

import datetime

import jax
import numpy as np
import pytest

from jaxprice.ope import DecisionLog

GOOD = {
    "action": np.array([[0, 2, 1], [1, 1, 0]]),
    "reward": np.array([[1.0, 0.0, 2.0], [0.5, 0.0, 1.0]]),
    "probabilities": np.tile([0.5, 0.3, 0.2], (2, 3, 1)),
    "prices": np.array([1.0, 2.0, 3.0]),
}


def log_of(**changes):
    return DecisionLog.of(**(GOOD | changes))


def test_price_propensity_and_time_follow():
    log = log_of()
    np.testing.assert_allclose(log.propensity, [[0.5, 0.2, 0.3], [0.3, 0.3, 0.5]], rtol=1e-6)
    np.testing.assert_array_equal(log.price, [[1, 3, 2], [2, 2, 1]])
    np.testing.assert_array_equal(log.time, [[0, 1, 2]] * 2)
    assert np.isnan(log.demand).all()
    assert (log.discrete, log.num_actions, log.shape, log.known) == (True, 3, (2, 3), True)


def test_a_log_is_a_pytree_whose_rows_are_logs():
    log = log_of(observation={"age": np.arange(6.0).reshape(2, 3)})
    second = log[1]
    np.testing.assert_array_equal(second.observation["age"], [3, 4, 5])
    assert second.shape == (3,) and second.prices is log.prices
    each = jax.vmap(lambda log: log.reward.sum())(log.replace(prices=None))
    np.testing.assert_allclose(each, GOOD["reward"].sum(1))


def test_one_propensity_stands_for_all_decisions_and_nan_for_an_unknown_one():
    log = DecisionLog.of(action=[0, 1, 8], reward=[1.0, 0.0, 2.0], price=[1.0, 2.0, 9.0], propensity=1 / 9)
    np.testing.assert_allclose(log.propensity, 1 / 9, rtol=1e-6)
    unknown = DecisionLog.of(action=[0, 1, 8], reward=[1.0, 0.0, 2.0], price=[1.0, 2.0, 9.0], propensity=float("nan"))
    assert log.known and not unknown.known


def test_prices_from_an_interval_have_densities():
    log = DecisionLog.of(action=[1.5, 2.5], reward=[1.0, 0.0], propensity=[4.0, 2.0])
    assert not log.discrete and log.num_actions == 0
    np.testing.assert_array_equal(log.price, [1.5, 2.5])


def test_an_action_may_price_several_products():
    prices = np.array([[1.0, 2.0, 0.0], [3.0, 4.0, 0.0]])
    log = DecisionLog.of(action=[1, 0], reward=[1.0, 2.0], propensity=0.5, prices=prices)
    np.testing.assert_array_equal(log.price, [[3, 4, 0], [1, 2, 0]])
    assert log.demand.shape == (2, 3) and log.num_actions == 2


P = GOOD["probabilities"]
MASK = np.ones((2, 3, 3), bool)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rewards": GOOD["reward"]}, r"unknown column of a DecisionLog 'rewards'; did you mean 'reward'"),
        ({"reward": None}, "reward must be given"),
        ({"reward": GOOD["reward"][0]}, r"reward must have shape \[2, 3\].*got \[3\]"),
        ({"reward": np.where(GOOD["reward"] == 0.5, np.nan, 1)}, r"reward must .*; 1 of 6 do not, first at \[1, 0"),
        ({"reward": [["a", "b", "c"]] * 2}, "reward must hold numbers"),
        ({"action": GOOD["action"] + 1}, r"action must hold an index in \[0, 3\); 1 of 6 do not, first at \[0, 1\]: 3"),
        ({"action": GOOD["action"] > 0}, "action must hold indices of the grid"),
        ({"probabilities": P * 0.9}, "probabilities must hold probabilities with sum 1; 6 of 6"),
        ({"probabilities": P * [1, -1, 4]}, r"probabilities must hold a number in \[0, 1\]; 6 of 18"),
        ({"probabilities": P * [0, 1, 3.5]}, r"propensity must hold .* in \(0, 1\]; 2 of 6 do not, first at \[0, 0\]: 0"),
        ({"propensity": np.full((2, 3), 0.5)}, "propensity must hold the entry of `probabilities`"),
        ({"propensity": 0.0, "probabilities": None}, r"propensity must hold a probability in \(0, 1\]; 6 of 6"),
        ({"propensity": 1.5, "probabilities": None}, "propensity must hold a probability"),
        ({"probabilities": None}, "propensity is missing.*estimated_propensities"),
        ({"allowed": MASK & (np.arange(3) != 2)}, r"action must hold an action that the mask `allowed` permits; 1 of 6"),
        ({"allowed": MASK & (np.arange(3) != 2), "action": GOOD["action"] % 2}, "probabilities must hold zero for actions"),
        ({"time": [[0, 2, 1], [0, 0, 0]]}, r"time must hold times that never decrease.*1 of 6 do not, first at \[0, 2\]"),
        ({"observation": np.zeros((3, 2))}, r"observation must have leaves \[2, 3, ...\]"),
        ({"observation": np.full((2, 3, 1), np.inf)}, "observation must hold finite numbers"),
        ({"propensity_se": -P[..., 0]}, "propensity_se must hold a standard error"),
        ({"prices": None}, "price is missing"),
    ],
)  # fmt: skip
def test_bad_logs_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        log_of(**changes)


ROWS = {
    "tier": [0, 1, 1],
    "profit": [2.0, 0.0, 1.5],
    "p": [0.5, 0.25, 0.25],
    "day": [datetime.datetime(2024, 3, d) for d in (1, 1, 4)],
    "store": ["north", "south", "north"],
    "age": [30, 41, 55],
    "income": [1.0, 2.5, 2.0],
}
NAMES = {
    "action": "tier",
    "reward": "profit",
    "propensity": "p",
    "time": "day",
    "product": "store",
    "observation": ["age", "income"],
}


@pytest.mark.parametrize("kind", ["mapping", "records", "pandas"])
def test_tables_become_logs(kind):
    frame = ROWS | {"day": np.array(ROWS["day"], "datetime64[s]")}
    if kind == "records":
        frame = [dict(zip(frame, row, strict=True)) for row in zip(*frame.values(), strict=True)]
    elif kind == "pandas":
        frame = pytest.importorskip("pandas").DataFrame(frame)
    log = DecisionLog.from_frame(frame, NAMES, prices=[1.0, 2.0])
    np.testing.assert_array_equal(log.observation, [[30, 1.0], [41, 2.5], [55, 2.0]])
    np.testing.assert_array_equal(log.time, [0, 0, 3])
    np.testing.assert_array_equal(log.product, [0, 1, 0])
    np.testing.assert_array_equal(log.price, [1, 2, 2])
    assert log.shape == (3,) and log.discrete


@pytest.mark.parametrize(
    ("changes", "columns", "message"),
    [
        ({}, {"reward": "profits"}, "unknown column for reward of a log 'profits'; did you mean 'profit'"),
        ({}, {"rewrad": "profit"}, "unknown attribute of a DecisionLog 'rewrad'; did you mean 'reward'"),
        ({}, {"observation": ["age", "incme"]}, "unknown column for observation of a log 'incme'; did you mean 'income'"),
        ({}, {"prices": "age"}, "prices must be a column or an argument, got both"),
        ({"profit": np.array([2.0, np.nan, 1.5])}, {}, r"reward must hold finite numbers; 1 of 3 do not, first at \[1\]"),
        ({"profit": [2.0, None, 1.5]}, {}, "column 'profit' must hold no missing values; 1 of 3 rows do, first row 1"),
        ({"profit": [2.0, "much", 1.5]}, {}, "column 'profit', the reward of a log, must hold numbers, got"),
        ({"day": [3, 2, 5]}, {}, r"time must hold times that never decrease along the last axis; sort the log; 1 of 3"),
    ],
)
def test_bad_tables_are_refused(changes, columns, message):
    with pytest.raises(ValueError, match=message):
        DecisionLog.from_frame(ROWS | {"day": [1, 2, 3]} | changes, NAMES | columns, prices=[1.0, 2.0])


def test_what_is_no_table_is_refused():
    with pytest.raises(ValueError, match="frame must be a frame, a mapping of columns or a list of records"):
        DecisionLog.from_frame(np.zeros(3))
    with pytest.raises(ValueError, match="record 1 differs in 'b'"):
        DecisionLog.from_frame([{"a": 1}, {"a": 1, "b": 2}])
