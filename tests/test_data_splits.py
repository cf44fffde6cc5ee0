"""Splits and normalisation: parts are disjoint and whole, and nothing of validation and test reaches training."""

import numpy as np
import pytest

from jaxprice import data

pandas = pytest.importorskip("pandas")


def sales(rows=600, seed=0):
    rng = np.random.default_rng(seed)
    product = rng.integers(0, 12, rows)
    day = np.sort(rng.integers(0, 60, rows))
    return pandas.DataFrame(
        {
            "time": pandas.Timestamp("2024-01-01") + pandas.to_timedelta(day * 24 + rng.integers(8, 20, rows), unit="h"),
            "product": product,
            "category": np.array(["x", "y", "z", "w"])[product % 4],
            "customer": [f"c{number:03}" for number in rng.integers(0, 100, rows)],
            "posted_price": np.exp(rng.normal(product / 4, 0.1)),
        }
    ).sample(frac=1, random_state=seed)  # in no order


def whole(parts, table):
    """Parts have all rows of the table, once, unchanged."""
    together = pandas.concat(parts)
    assert together.index.is_unique
    pandas.testing.assert_frame_equal(together.loc[table.index], table)


def test_a_split_in_time_lets_no_later_row_into_an_earlier_part():
    table = sales()
    parts = data.split_in_time(table, "2024-02-01", "2024-02-15")
    whole(parts, table)
    assert parts.train["time"].max() < pandas.Timestamp("2024-02-01") <= parts.validation["time"].min()
    assert parts.validation["time"].max() < pandas.Timestamp("2024-02-15") <= parts.test["time"].min()
    days = [set(part["time"].dt.date) for part in parts]
    assert not days[0] & days[1] and not days[1] & days[2]
    cut = data.split_in_time(table, "2024-02-01", "2024-02-15", "2024-02-20")
    assert cut.train.equals(parts.train) and cut.test["time"].max() < pandas.Timestamp("2024-02-20")
    last = data.split_in_time(table, "2024-02-01", "2024-02-15", table["time"].max())  # the end is not in the test part
    assert last.test["time"].max() < table["time"].max()


def test_a_panel_is_split_at_the_numbers_of_its_weeks():
    panel = pandas.DataFrame({"week": np.repeat(np.arange(1, 53), 3), "units": 1.0})
    parts = data.split_in_time(panel, 37, 45, column="week")
    assert [sorted(set(part["week"]))[:: len(set(part["week"])) - 1] for part in parts] == [[1, 36], [37, 44], [45, 52]]


@pytest.mark.parametrize("column", ["customer", "product", "category"])
def test_a_split_by_group_shares_no_group(column):
    table = sales()
    parts = data.split_by(table, column, (0.5, 0.25, 0.25))
    whole(parts, table)
    groups = [set(part[column]) for part in parts]
    assert sum(map(len, groups)) == len(set.union(*groups)) == table[column].nunique()
    count = table[column].nunique()
    assert [len(group) for group in groups] == [count // 2, count // 4, count - count // 2 - count // 4]


def test_a_split_by_group_depends_on_names_and_seed_only():
    table = sales()
    parts = data.split_by(table, "customer", seed=3)
    again = data.split_by(table.sample(frac=1, random_state=9), "customer", seed=3)
    assert [set(part["customer"]) for part in parts] == [set(part["customer"]) for part in again]
    other = data.split_by(table, "customer", seed=4)
    assert set(other.train["customer"]) != set(parts.train["customer"])


def test_nothing_leaks_from_later_parts_into_the_normaliser():
    table = sales()
    parts = data.split_in_time(table, "2024-02-01", "2024-02-15")
    spoiled = table.copy()
    spoiled.loc[spoiled["time"] >= "2024-02-01", "posted_price"] *= 1000
    again = data.split_in_time(spoiled, "2024-02-01", "2024-02-15")
    how = {"within": "product", "log": True, "clip": True}
    made = data.Normaliser.fit(parts.train, ["posted_price"], **how)
    same = data.Normaliser.fit(again.train, ["posted_price"], **how)
    assert made.apply(parts.train).equals(same.apply(again.train)) and made.apply(parts.test).equals(same.apply(parts.test))
    leaky = data.Normaliser.fit(spoiled, ["posted_price"], **how)  # the same comparison sees a leak where there is one
    assert not leaky.apply(parts.train).equals(made.apply(parts.train))


def test_the_normaliser_is_what_its_formula_says():
    table = sales()
    train, _, test = data.split_in_time(table, "2024-02-01", "2024-02-15")
    made = data.Normaliser.fit(train, ["posted_price"], within="product", log=True)
    logs = np.log(train["posted_price"])
    centre = {product: logs[train["product"] == product].mean() for product in range(12)}
    scale = np.sqrt(np.mean([(y - centre[product]) ** 2 for y, product in zip(logs, train["product"], strict=True)]))
    wanted = (np.log(test["posted_price"]) - test["product"].map(centre)) / scale
    np.testing.assert_allclose(made.apply(test)["posted_price"], wanted, rtol=1e-12)
    np.testing.assert_allclose(made.invert(made.apply(test))["posted_price"], test["posted_price"], rtol=1e-12)
    applied = made.apply(train)["posted_price"]
    assert abs(applied.mean()) < 1e-12 and abs(np.sqrt(np.mean(applied**2)) - 1) < 1e-12
    assert test.equals(data.split_in_time(table, "2024-02-01", "2024-02-15").test)  # the argument stays as it was


def test_later_values_are_clipped_to_the_range_of_their_group_in_training():
    train = pandas.DataFrame({"product": [1, 1, 2, 2], "x": [1.0, 3.0, 10.0, 20.0]})
    made = data.Normaliser.fit(train, ["x"], within="product", clip=True, scale=False)
    later = pandas.DataFrame({"product": [1, 1, 2, 3, 3], "x": [0.0, 99.0, 15.0, 99.0, 0.0]})
    # product 3 was never seen: range of all rows, 1 to 20, and their mean, 8.5
    np.testing.assert_allclose(made.apply(later)["x"], [1 - 2, 3 - 2, 15 - 15, 20 - 8.5, 1 - 8.5])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("2025-01-01", "2025-02-01"), r"validation part is empty: no time from 2025-01-01.* goes from 2024-01-01"),
        (("2024-02-01", "2025-02-01"), "test part is empty"),
        (("2023-01-01", "2024-02-01"), "train part is empty"),
        (("2024-02-15", "2024-02-01"), "in this order, got '2024-02-15', '2024-02-01'"),
        (("2024-02-01", "2024-02-15", "2024-02-10"), "in this order"),
        (("soon", "2024-02-15"), "validation must be a time.*'soon'"),
        ((20, "2024-02-15"), "validation must be a time.*20"),
    ],
)
def test_bad_cuts_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        data.split_in_time(sales(), *arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"column": "shop"}, "no column 'shop'"),
        ({"column": "customer", "fractions": (0.5, 0.5, 0.5)}, "fractions must be three numbers.*sum 1"),
        ({"column": "customer", "fractions": (0.5, 0.5)}, r"fractions must have shape \[3\]"),
        ({"column": "category", "fractions": (0.9, 0.05, 0.05)}, "validation part is empty: 'category' has 4 values"),
    ],
)
def test_bad_groups_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        data.split_by(sales(), **arguments)
    missing = sales().assign(customer=None)
    with pytest.raises(ValueError, match="'customer' misses 600 values"):
        data.split_by(missing, "customer")


@pytest.mark.parametrize(
    ("change", "arguments", "message"),
    [
        ({"posted_price": 0.0}, {"log": True}, r"'posted_price' must be finite and above 0.*\[0.0, 0.0, 0.0\] in 600 rows"),
        ({"posted_price": np.nan}, {}, "'posted_price' must be finite, got .*600 rows"),
        ({"posted_price": 2.0}, {}, "'posted_price' does not vary in train"),
        ({"posted_price": lambda table: 1.0 + table["product"]}, {"within": "product"}, "does not vary within 'product'"),
        ({}, {"within": "shop"}, "no column 'shop'"),
        ({}, {"columns": "posted_price"}, "columns must be a list"),
    ],
)
def test_bad_columns_are_not_normalised(change, arguments, message):
    with pytest.raises(ValueError, match=message):
        data.Normaliser.fit(sales().assign(**change), **({"columns": ["posted_price"]} | arguments))
    with pytest.raises(ValueError, match="train has no rows"):
        data.Normaliser.fit(sales()[:0], ["posted_price"])
