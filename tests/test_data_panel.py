"""Panels: zero periods, cross-fitted prices, visits, stock-outs; and what a fit on a planted panel finds."""

import warnings

import numpy as np
import pandas as pd
import pytest

from jaxprice.data import estimation
from jaxprice.data.estimation import cells
from tests.planted_sales import shop


def small():
    """Ten rows of two products and five customers in four weeks; nothing of "b" in the third."""
    return pd.DataFrame(
        {
            "time": np.datetime64("2024-01-01") + np.array([0, 2, 6, 7, 9, 15, 16, 21, 22, 27]).astype("timedelta64[D]"),
            "product": ["a", "a", "b", "a", "b", "a", "a", "b", "a", "b"],
            "customer": [1, 2, 3, 4, 5, 1, 2, 3, 4, 5],
            "basket": [1, 2, 3, 4, 5, 6, 6, 8, 9, 10],
            "units": [1.0, 2, 1, 1, 3, 1, 1, 2, 1, 1],
            "posted_price": [4.0, 5, 9, 6, 8, 4, 6, 7, 5, 9],
            "shown": [0.0, 1, 0, 0, 1, 1, 0, 0, 0, 1],
        }
    )


def test_without_folds_a_cell_has_the_median_price_and_the_sum_of_units():
    panel = estimation.panel(small(), folds=1, promotions=["shown"])
    assert panel.products == ("a", "b") and len(panel.periods) == 4 and panel.periods[0] == np.datetime64("2024-01-01")
    np.testing.assert_array_equal(panel.units[:, :, 0], [[3, 1, 2, 1], [1, 3, 0, 3]])
    np.testing.assert_array_equal(panel.price[:, :, 0], [[4.5, 6, 5, 5], [9, 8, 8, 8]])
    np.testing.assert_array_equal(panel.price_seen[1, :, 0], [True, True, False, True])
    np.testing.assert_array_equal(panel.promotion[:, :, 0, 0], [[0.5, 0, 0.5, 0], [0, 1, 0, 0.5]])
    np.testing.assert_array_equal(panel.visits[0, :, 0], [3, 2, 1, 3])
    assert panel.on_sale.all() and panel.valid.all() and panel.buyers_only and panel.share_buying == 1
    np.testing.assert_allclose(panel.units_per_week, [7 / 4, 7 / 4])


def test_periods_before_the_first_and_after_the_last_sale_are_not_on_sale():
    rows = small()
    panel = estimation.panel(rows.drop(index=[7, 9]), folds=1)
    np.testing.assert_array_equal(panel.on_sale, [[True] * 4, [True, True, False, False]])
    assert not panel.valid[1, 2:].any() and panel.units.sum() == rows["units"].sum() - 3


def test_a_fold_faces_the_price_that_the_others_paid():
    frame = shop(products=3, weeks=12, households=40, weekly=3.0, visits_a_week=60)[0]
    panel = estimation.panel(frame, folds=4, seed=3)
    fold = cells.folds_of(frame, 4, 3)
    assert all(len(np.unique(fold[frame["customer"] == c])) == 1 for c in frame["customer"].unique())
    weeks = (frame["time"].to_numpy().astype("datetime64[D]") - panel.periods[0]) // np.timedelta64(7, "D")
    for g in range(3):
        mine = (frame["product"] == panel.products[g]).to_numpy()
        for f in range(4):
            for t in range(12):
                assert panel.units[g, t, f] == frame["units"][mine & (weeks == t) & (fold == f)].sum()
                others = frame[mine & (fold != f)]
                rows = others[weeks[mine & (fold != f)] == t]
                if len(rows):
                    np.testing.assert_allclose(panel.price[g, t, f], rows["posted_price"].median())
                    assert panel.price_seen[g, t, f]
                else:
                    assert not panel.price_seen[g, t, f]


def test_the_price_of_a_fold_does_not_move_with_its_own_purchases():
    frame = shop(products=3, weeks=12, households=40, weekly=3.0, visits_a_week=60)[0]
    fold = cells.folds_of(frame, 5, 0)
    before = estimation.panel(frame)
    changed = frame.assign(posted_price=frame["posted_price"].where(fold != 2, 77.0))
    after = estimation.panel(changed)
    np.testing.assert_array_equal(before.price[:, :, 2], after.price[:, :, 2])
    assert (before.price[:, :, 1] != after.price[:, :, 1]).any()


def test_unseen_prices_are_those_before_them():
    price = np.array([[np.nan, 3, np.nan, np.nan, 5, np.nan], [np.nan] * 6])[:, :, None]
    carried = cells.carried(price)
    np.testing.assert_array_equal(carried[0, :, 0], [3, 3, 3, 3, 5, 5])
    assert np.isnan(carried[1]).all()


def test_tables_of_visits_prices_and_stock_outs():
    weeks = pd.to_datetime(["2024-01-01", "2024-01-08", "2024-01-15", "2024-01-22"])
    prices = pd.DataFrame({"time": weeks.repeat(2), "product": ["a", "b"] * 4, "price": np.arange(8.0) + 1})
    visits = pd.DataFrame({"time": weeks, "visits": [10.0, 20, 30, 40]})
    out = pd.DataFrame({"time": weeks[1:2], "product": ["b"]})
    panel = estimation.panel(small(), prices=prices, visits=visits, stock_outs=out)
    assert panel.price.shape == (2, 4, 1) and not panel.buyers_only and panel.price_seen.all()
    np.testing.assert_array_equal(panel.price[:, :, 0], [[1, 3, 5, 7], [2, 4, 6, 8]])
    np.testing.assert_array_equal(panel.visits[0, :, 0], [10, 20, 30, 40])
    np.testing.assert_array_equal(panel.stock_out, [[False] * 4, [False, True, False, False]])
    by_product = visits.assign(product="a")
    np.testing.assert_array_equal(estimation.panel(small(), visits=by_product, folds=1).visits[:, :, 0].sum(1), [100, 0])
    np.testing.assert_allclose(estimation.panel(small(), visits=visits).visits[0].sum(1), [10, 20, 30, 40])


def test_promotions_of_a_table_replace_those_of_the_rows():
    days = pd.to_datetime(["2024-01-02", "2024-01-05", "2024-01-08", "2024-01-15", "2024-02-20", "2024-01-22"])
    table = pd.DataFrame({"time": days, "product": ["a", "a", "b", "b", "a", "z"], "shown": [1, 0, True, 0.25, 1, 1]})
    panel = estimation.panel(small(), promotions=["shown"], promotion_table=table, folds=3)
    wanted = np.zeros((2, 4))
    for g, product in enumerate(panel.products):  # the mean of the rows of a product and week, 0 without rows
        for t, week in enumerate(panel.periods):
            rows = table[(table["product"] == product) & (table["time"] >= week) & (table["time"] < week + 7)]
            wanted[g, t] = rows["shown"].astype(float).mean() if len(rows) else 0.0
    np.testing.assert_array_equal(panel.promotion[..., 0], np.repeat(wanted[..., None], 3, 2))
    assert panel.promotions == ("shown",) and wanted[0, 0] == 0.5 and wanted[1].tolist() == [0, 1, 0.25, 0]
    plain = estimation.panel(small(), folds=3)
    np.testing.assert_array_equal(panel.price, plain.price)
    cost = small().assign(cost=np.arange(10.0))
    both = estimation.panel(cost, promotions=["shown"], promotion_table=table, instruments=["cost"], folds=1)
    np.testing.assert_array_equal(both.instrument, estimation.panel(cost, instruments=["cost"], folds=1).instrument)
    listed = pd.DataFrame({"time": days[:2], "product": ["a", "b"], "price": [2.0, 3.0]})
    of_list = estimation.panel(small(), prices=listed, promotions=["shown"], promotion_table=table)
    np.testing.assert_array_equal(of_list.promotion[..., 0, 0], wanted)
    for change, options, message in (
        (table, {}, "expected names of columns of promotion_table"),
        (table.rename(columns={"shown": "show"}), {"promotions": ["shown"]}, "promotion_table.*did you mean 'show'"),
        (table.assign(shown="yes"), {"promotions": ["shown"]}, "promotion_table: column 'shown' must hold finite.*'yes'"),
        (table.assign(shown=[0, 1, 0, np.nan, 0, 0]), {"promotions": ["shown"]}, "1 of 6 rows do not, first row 3: nan"),
    ):
        with pytest.raises(ValueError, match=message):
            estimation.panel(small(), promotion_table=change, **options)


def test_partial_weeks_are_left_out_and_periods_can_be_cut():
    rows = small().assign(partial_week=[False] * 8 + [True] * 2)
    assert estimation.panel(rows, folds=1).units.sum() == small()["units"].sum() - 2
    days = estimation.panel(rows, folds=1, period="day")
    assert len(days.periods) == 28 and days.units.sum() == small()["units"].sum() and days.period_days == 1
    panel = estimation.panel(small(), folds=1)
    train, test = panel.between(end="2024-01-15"), panel.between("2024-01-15")
    np.testing.assert_array_equal(np.concatenate([train.units, test.units], 1), panel.units)
    with pytest.raises(ValueError, match="no period"):
        panel.between("2025-01-01")


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (lambda f: f.rename(columns={"posted_price": "posted_prise"}), {}, "did you mean 'posted_prise' for 'posted_price'"),
        (lambda f: f, {"period": "weak"}, "week"),
        (lambda f: f, {"products": ["z"]}, "'z'"),
        (lambda f: f, {"at_least": 100}, "the largest has 6"),
        (lambda f: f, {"folds": 0}, "folds"),
        (lambda f: f, {"promotions": ["show"]}, "did you mean 'shown'"),
        (lambda f: f.to_numpy(), {}, "pandas frame"),
    ],
)
def test_bad_input_is_named(change, options, message):
    with pytest.raises(ValueError, match=message):
        estimation.panel(change(small()), **options)


def test_a_planted_panel_gives_its_elasticities_back_and_few_units_do_not():
    """Numbers of an earlier study: at 5 units a week -1.97 +- .10, correlation above .85; at .5 units -2 comes out as -1."""
    frame, truth, prices, traffic = shop()
    panel = estimation.panel(frame, visits=traffic)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit = estimation.fit_demand(panel)
    assert abs(fit.mean[1] - truth[:, 1].mean()) < 3 * np.sqrt(fit.mean_covariance[1, 1]) < 0.45
    assert np.corrcoef(fit.slopes, truth[:, 1])[0, 1] > 0.85
    errors = (fit.slopes - truth[:, 1]) / fit.slope_errors
    assert abs(errors.mean()) < 0.5 and 0.75 < errors.std() < 1.3
    assert fit.pooled and fit.observations == panel.valid.sum()

    slow, truth, prices, traffic = shop(weekly=0.5, slope_sd=0.3)
    with pytest.warns(UserWarning, match=r"(39|40) of 40 products sell less than 2 units a week|rises with"):
        biased = estimation.fit_demand(estimation.panel(slow, visits=traffic))
    assert -1.5 < biased.mean[1] < -0.7
    unbiased = estimation.fit_demand(estimation.panel(slow, prices=prices, visits=traffic))
    assert abs(unbiased.mean[1] - truth[:, 1].mean()) < 3 * np.sqrt(unbiased.mean_covariance[1, 1])
