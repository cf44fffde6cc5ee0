"""Records on planted logs: every planted fault is caught by its rule, no row is lost, and no bad input gets through."""

import dataclasses
import sys

import numpy as np
import pytest

from jaxprice import data
from jaxprice.data.records import checked

pandas = pytest.importorskip("pandas")
pytest.importorskip("pandera")


def clean_log(rows=400, seed=0):
    """Rows of a shop that is open every day for ten whole weeks, from a Monday on; two pieces never agree in all columns."""
    rng = np.random.default_rng(seed)
    units = rng.integers(1, 4, rows).astype(float)
    return pandas.DataFrame(
        {
            "when": pandas.Timestamp("2024-01-01 09:00") + pandas.to_timedelta(np.linspace(0, 70 * 24 - 12, rows), unit="h"),
            "sku": rng.choice(["a", "b", "c"], rows),
            "buyer": rng.integers(0, 50, rows),
            "receipt": np.arange(rows) // 2,
            "pieces": units,
            "money": units * rng.choice([1.8, 2.0, 2.2], rows),
            "off": 0.1 * units,
            "voucher": 0.0,
        }
    )


names = {
    "time": "when",
    "product": "sku",
    "customer": "buyer",
    "basket": "receipt",
    "units": "pieces",
    "paid": "money",
    "discount": "off",
    "coupon": "voucher",
}


def planted(log):
    """The log with one fault of each kind, and the rule that must catch each row."""
    faults = {10: "missing_product", 11: "missing_units", 12: "missing_paid", 13: "missing_time", 20: "no_units"}
    faults |= {21: "no_price", 22: "outlier", 23: "outlier", 24: "negative_reduction", 400: "duplicates", 401: "duplicates"}
    log = log.copy()
    for row, column in ((10, "sku"), (11, "pieces"), (12, "money"), (13, "when")):
        log.loc[row, column] = None
    log.loc[20, "pieces"] = 0
    log.loc[21, "money"] = 0
    log.loc[22, "money"] = 9 * log.loc[22, "pieces"]
    log.loc[23, "money"] = 0.4 * log.loc[23, "pieces"]
    log.loc[24, "off"] = -1
    log.loc[[30, 31], ["pieces", "money"]] *= -1
    return pandas.concat([log, log.iloc[[5, 6]]], ignore_index=True), faults


def counts(records):
    return dict(zip(records.report["rule"], records.report["rows"], strict=True))


def test_each_planted_fault_is_caught_by_its_rule_and_no_row_is_lost():
    log, faults = planted(clean_log())
    made = data.read_transactions(log, names)
    assert dict(zip(made.quarantined["row"], made.quarantined["rule"], strict=True)) == faults
    assert made.returns["row"].tolist() == [30, 31] and (made.returns["units"] < 0).all()
    rows = np.concatenate([made.sales["row"], made.returns["row"], made.quarantined["row"]])
    assert sorted(rows) == list(range(len(log)))
    found = counts(made)
    assert found["read"] == 402 and found["clean"] == len(made.sales) == 402 - 13 and found["returns"] == 2
    assert all(found[rule] == list(faults.values()).count(rule) for rule in set(faults.values()))
    left = made.report["left"].to_numpy()
    taken = made.report["rows"].where(~made.report["rule"].isin(["read", "partial_weeks", "time_zone", "clean"]), 0)
    assert (left == 402 - taken.cumsum()).all()
    # a quarantined row is kept as it came
    kept = made.quarantined.set_index("row")
    pandas.testing.assert_frame_equal(kept[log.columns], log.loc[kept.index], check_names=False, check_dtype=False)


def test_rules_run_in_their_order():
    """A row with several faults is counted once, by the first rule that catches it."""
    log = clean_log()
    log.loc[3, ["pieces", "money"]] = [0, 0]
    log.loc[4, "money"] = 0
    found = counts(data.read_transactions(log, names))
    assert (found["no_units"], found["no_price"], found["outlier"]) == (1, 1, 0)
    log.loc[3, "sku"] = None
    found = counts(data.read_transactions(log, names))
    assert (found["missing_product"], found["no_units"]) == (1, 0)


def test_prices_follow_from_money_discounts_and_coupons():
    """A product of 5.00, 1.00 off for everybody: a voucher of the shop of .50, one of the maker of .75 which it refunds."""
    log = pandas.DataFrame(
        {
            "time": ["2024-05-01"] * 4,
            "product": "x",
            "units": [1, 2, 1, 1],
            "paid": [4.0, 8.0, 3.5, 4.0],
            "discount": [1.0, 2.0, 1.0, 1.0],
            "coupon": [0, 0, 0.5, 0],
            "refunded": [0, 0, 0, 0.75],
        }
    )
    sales = data.read_transactions(log, rules=()).sales
    np.testing.assert_allclose(sales["posted_price"], 4.0)
    np.testing.assert_allclose(sales["regular_price"], 5.0)
    np.testing.assert_allclose(sales["paid_price"], [4.0, 4.0, 3.5, 3.25])
    from_price = log.drop(columns="paid").assign(posted_price=4.0)
    pandas.testing.assert_frame_equal(data.read_transactions(from_price, rules=()).sales[sales.columns], sales)


def test_currencies_are_refused_unless_there_is_a_rate():
    log = clean_log(60).assign(coin=["EUR"] * 40 + ["USD"] * 20)
    mapped = names | {"currency": "coin"}
    with pytest.raises(ValueError, match=r"'coin'.*EUR \(40 rows\), USD \(20 rows\).*currencies.*rates="):
        data.read_transactions(log, mapped)
    with pytest.raises(ValueError, match="USD"):
        data.read_transactions(log, mapped, currency="EUR")
    with pytest.raises(ValueError, match=r"rates\['USD'\]"):
        data.read_transactions(log, mapped, currency="EUR", rates={"USD": 0.0})
    made = data.read_transactions(log, mapped, currency="EUR", rates={"USD": 0.9})
    plain = data.read_transactions(log, names)
    factor = np.where(made.sales["row"] < 40, 1.0, 0.9)
    for column in ("paid", "discount", "posted_price", "regular_price", "paid_price"):
        np.testing.assert_allclose(made.sales[column], plain.sales[column] * factor)
    assert made.currency == "EUR"
    assert data.read_transactions(log[:40], mapped).currency == "EUR"
    with pytest.raises(ValueError, match="rates"):
        data.read_transactions(log, names, currency="EUR", rates={"USD": 0.9})


def test_gasoline_is_suspected_named_and_taken_out():
    log = clean_log().assign(department="FOOD")
    log.loc[::40, ["sku", "pieces", "money", "department"]] = ["gas", 9000.0, 25.0, "FUEL"]
    with pytest.warns(UserWarning, match=r"1 products \(gas, .*10 rows.*max_units="):
        made = data.read_transactions(log, names, keep=["department"])
    assert len(made.sales) == 400
    for rules in (data.standard_rules(max_units=100), data.standard_rules(excluded={"department": ["FUEL"]})):
        made = data.read_transactions(log, names, keep=["department"], rules=rules)
        assert len(made.quarantined) == 10 and (made.quarantined["sku"] == "gas").all()
    with pytest.raises(ValueError, match=r"'FUELS'.*did you mean 'FUEL'"):
        wrong = data.standard_rules(excluded={"department": ["FUELS"]})
        data.read_transactions(log, names, keep=["department"], rules=wrong)
    with pytest.raises(ValueError, match=r"excluded: no column 'departmnt'.*'department'"):
        wrong = data.standard_rules(excluded={"departmnt": ["FUEL"]})
        data.read_transactions(log, names, keep=["department"], rules=wrong)


def test_medians_of_the_outlier_rule_can_be_those_of_training():
    """Prices are 1 in training and 5 later: with all rows the many later prices make those of training outliers."""
    log = clean_log().assign(voucher=0.0)
    late = log["when"] >= pandas.Timestamp("2024-01-15")
    log["money"] = log["pieces"] * np.where(late, 5.0, 1.0)
    everything = data.read_transactions(log, names)
    training = data.read_transactions(log, names, rules=data.standard_rules(medians_until="2024-01-15"))
    assert set(everything.quarantined["row"]) == set(np.flatnonzero(~late))
    assert set(training.quarantined["row"]) == set(np.flatnonzero(late))


def test_partial_weeks_are_flagged_or_taken_out():
    log = clean_log()
    assert not data.read_transactions(log, names).sales["partial_week"].any()
    cut = log[(log["when"] >= "2024-01-03") & (log["when"] < "2024-03-06")]
    made = data.read_transactions(cut, names)
    outside = (made.sales["time"] < "2024-01-08") | (made.sales["time"] >= "2024-03-04")
    assert made.sales["partial_week"].equals(outside) and outside.any()
    assert (made.sales["week"].dt.day_name() == "Monday").all()
    dropped = data.read_transactions(cut, names, partial_weeks="quarantine")
    assert len(dropped.sales) == (~outside).sum() and set(dropped.quarantined["rule"]) == {"partial_weeks"}
    sunday = data.read_transactions(cut, names, week_starts="Sunday").sales
    assert (sunday["week"].dt.day_name() == "Sunday").all() and (sunday["time"] >= sunday["week"]).all()


def test_offsets_are_moved_to_the_clock_of_the_shop():
    log = clean_log(6)
    log["when"] = ["2024-07-01T23:30:00+00:00", "2024-07-02T01:30:00+02:00", *["2024-01-05 10:00:00Z"] * 4]
    made = data.read_transactions(log, names, tz="Europe/Berlin")
    assert made.sales.set_index("row")["time"].loc[[0, 1, 2]].astype(str).tolist() == [
        "2024-07-02 01:30:00",
        "2024-07-02 01:30:00",
        "2024-01-05 11:00:00",
    ]
    with pytest.raises(ValueError, match=r"'when'.*tz="):
        data.read_transactions(log, names)
    with pytest.raises(ValueError, match=r"tz must be a time zone.*'Berlin'"):
        data.read_transactions(log, names, tz="Berlin")
    with pytest.raises(ValueError, match="mixes times"):
        data.read_transactions(log.assign(when=["2024-01-05 10:00:00", *log["when"][1:]]), names, tz="Europe/Berlin")


@pytest.mark.parametrize(
    ("dates", "first"),
    [
        (["11/1/2000", "11/13/2000", "1/2/2001"], "2000-11-01"),
        (["1/11/2000", "13/11/2000", "2/12/2000"], "2000-11-01"),
        (["01.11.2000", "13.11.2000", "02.12.2000"], "2000-11-01"),
        (["2000-11-01", "2000-11-13 10:15", "2000-12-02"], "2000-11-01"),
        (["1 Nov 2000", "13 Nov 2000", "2 Dec 2000"], "2000-11-01"),
    ],
)
def test_dates_in_texts(dates, first):
    made = data.read_transactions(clean_log(3).assign(when=dates), names)
    assert str(made.sales["time"].iloc[0].date()) == first and len(made.sales) == 3


def test_dates_that_are_numbers_need_a_format():
    log = clean_log(3).assign(when=[20240105, 20240106, 20240107])
    with pytest.raises(ValueError, match=r"'when' holds numbers.*time_format"):
        data.read_transactions(log, names)
    assert str(data.read_transactions(log, names, time_format="%Y%m%d").sales["time"].iloc[0].date()) == "2024-01-05"
    log["when"] = [1704412800, 1704412801, 1704412802]
    assert str(data.read_transactions(log, names, time_format="s").sales["time"].iloc[0]) == "2024-01-05 00:00:00"


def test_ambiguous_dates_are_refused():
    log = clean_log(3).assign(when=["1/2/2024", "3/4/2024", "5/6/2024"])
    with pytest.raises(ValueError, match=r"'1/2/2024'.*may come first.*time_format"):
        data.read_transactions(log, names)
    made = data.read_transactions(log, names, time_format="%d/%m/%Y")
    assert made.sales["time"].dt.month.tolist() == [2, 4, 6]


@pytest.mark.parametrize(("column", "value"), [("when", "yesterday"), ("pieces", "two"), ("money", "3,50"), ("off", "inf")])
def test_what_cannot_be_read_is_refused_or_quarantined(column, value):
    log = clean_log(40).astype({column: "object"})
    log["when"] = log["when"].astype(str)
    log.loc[[7, 9], column] = value
    with pytest.raises(ValueError, match=rf"'{column}'.*2 values.*'{value}'.*\[7, 9\].*unreadable"):
        data.read_transactions(log, names)
    made = data.read_transactions(log, names, unreadable="quarantine")
    assert made.quarantined[["row", "rule"]].to_numpy().tolist() == [[7, "unreadable"], [9, "unreadable"]]
    assert made.quarantined[column].tolist() == [value, value]


def test_cancelled_rows_are_kept_apart():
    log = clean_log(20).assign(state=["sold"] * 18 + ["void", "CANCELLED"])
    made = data.read_transactions(log, names | {"status": "state"}, cancelled=["void", "CANCELLED"])
    assert made.returns["row"].tolist() == [18, 19] and len(made.sales) == 18
    with pytest.raises(ValueError, match="cancelled must list"):
        data.read_transactions(log, names | {"status": "state"})
    with pytest.raises(ValueError, match="cancelled must be a list"):
        data.read_transactions(log, names | {"status": "state"}, cancelled="void")


def test_a_visit_counts_though_its_sales_are_not_clean():
    log, _ = planted(clean_log())
    visits = data.read_transactions(log, names).visits
    assert set(visits["basket"]) == set(range(200)) - {15} and visits["basket"].is_unique  # rows 30 and 31 are returns
    assert (
        data.read_transactions(log.drop(columns="receipt"), {k: v for k, v in names.items() if k != "basket"}).visits is None
    )


@pytest.mark.parametrize("ending", ["csv", "csv.gz", "parquet"])
def test_a_file_gives_the_same_as_its_frame(tmp_path, ending):
    log, _ = planted(clean_log())
    path = tmp_path / f"log.{ending}"
    log.to_parquet(path) if ending == "parquet" else log.to_csv(path, index=False)
    made, wanted = data.read_transactions(path, names), data.read_transactions(log, names)
    assert made.report.equals(wanted.report) and made.source.startswith(f"{path.name}, sha256 ")
    number = {"customer": "int64", "basket": "int64"}
    pandas.testing.assert_frame_equal(made.sales.astype(number), wanted.sales.astype(number), check_dtype=False)


def test_identifiers_of_a_csv_keep_their_zeros_and_a_decimal_comma_is_read(tmp_path):
    (tmp_path / "log.csv").write_text(
        "time;product;units;paid\n2024-01-02;007;1;1.234,50\n2024-01-03; 07 ;2;3,00\n", "latin-1"
    )
    options = {"sep": ";", "encoding": "latin-1"}
    with pytest.raises(ValueError, match=r"'1\.234,50'"):
        data.read_transactions(tmp_path / "log.csv", read_options=options, decimal=",")
    made = data.read_transactions(tmp_path / "log.csv", read_options=options, decimal=",", unreadable="quarantine")
    assert made.sales["product"].tolist() == ["07"] and made.sales["paid"].tolist() == [3.0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"columns": names | {"time": "wen"}}, r"columns\['time'\]: no column 'wen' \(did you mean 'when'\?\)"),
        ({"columns": names | {"unit": "pieces"}}, r"'unit' is not one of .*did you mean 'units'"),
        ({"columns": {"time": "when"}}, r"no column for 'product'.*no column for 'units'.*'paid' or 'posted_price'"),
        ({"columns": names | {"store": "receipt"}}, r"'receipt' is given twice"),
        ({"keep": ["of"]}, r"keep: no column 'of' \(did you mean 'off'\?\)"),
        ({"keep": "off"}, "keep must be a list"),
        ({"unreadable": "drop"}, "unknown unreadable 'drop'"),
        ({"week_starts": "Munday"}, "did you mean .*'Monday'"),
        ({"read_options": {"sep": ";"}}, "read_options are for files"),
        ({"rules": [data.Rule("all", lambda table: table["units"] > 0, "everything")]}, "no row is left.*all: 20"),
        ({"source": "nowhere.csv"}, "source must be a file.*'nowhere.csv'"),
        ({"source": clean_log(20)[:0]}, "no rows"),
        (
            {"source": clean_log(20).assign(off=lambda log: -log["off"])},
            r"'off' \(discount\).*positive.*20 of 20.*\[0, 1, 2\]",
        ),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        data.read_transactions(**({"source": clean_log(20), "columns": names} | arguments))


def test_limits_are_where_the_rules_say():
    """Off by 4 times, up or down, is an outlier; a row of the largest number of units is not; a period has no end in it."""
    log = clean_log(40).assign(sku="a", pieces=1.0, money=1.0)
    log.loc[[3, 4, 5, 6], "money"] = [4.0, 3.99, 0.25, 0.26]
    log.loc[[7, 8], ["pieces", "money"]] = [[10, 10], [11, 11]]
    log.loc[9, "money"] = -1.0  # a refund without units below 0
    rules = data.standard_rules(max_units=10, between=("2024-01-01", log["when"].iloc[-1]))
    made = data.read_transactions(log, names, rules=rules)
    caught = made.quarantined.set_index("row")["rule"].to_dict()
    assert caught == {3: "outlier", 5: "outlier", 8: "max_units", 39: "outside_period"}
    assert made.returns["row"].tolist() == [9]


def test_a_rule_of_ones_own():
    rule = data.Rule("friday", lambda table: table["time"].dt.day_name() == "Friday", "sold on a Friday")
    log = clean_log().assign(row="mine")
    made = data.read_transactions(log, names, rules=[*data.standard_rules(), rule])
    assert made.quarantined["rule"].eq("friday").all() and not made.sales["time"].dt.day_name().eq("Friday").any()
    assert made.quarantined["source_row"].eq("mine").all() and len(made.quarantined) == counts(made)["friday"] > 0
    for bad in (lambda table: True, lambda table: table["units"], lambda table: np.zeros(3, bool)):
        with pytest.raises(ValueError, match="rule 'odd' must give a bool for each of 400 rows"):
            data.read_transactions(log, names, rules=[data.Rule("odd", bad, "")])


def test_clean_sales_read_again_stay_as_they_are():
    first = data.read_transactions(clean_log(), names).sales
    again = data.read_transactions(first).sales
    pandas.testing.assert_frame_equal(again, first)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"outlier_ratio": 1.0}, "outlier_ratio must be above 1"),
        ({"max_units": 0}, "max_units must be above 0"),
        ({"between": ("2024-02-01", "2024-01-01")}, "between"),
        ({"medians_until": "soon"}, "medians_until must be a time.*'soon'"),
        ({"excluded": {"department": "FUEL"}}, r"excluded\['department'\] must be a list"),
    ],
)
def test_bad_rules_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        data.standard_rules(**arguments)


def test_impossible_dates_are_taken_out_by_a_period():
    log = clean_log()
    log.loc[0, "when"] = pandas.Timestamp("1900-01-01")
    made = data.read_transactions(log, names, rules=data.standard_rules(between=("2024-01-01", "2024-03-11")))
    assert made.quarantined["rule"].tolist() == ["outside_period"] and not made.sales["partial_week"].any()


@pytest.mark.parametrize("pandera", [True, False])
@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("units", -1.0),
        ("units", 0.0),
        ("paid", np.nan),
        ("posted_price", np.inf),
        ("coupon", -1.0),
        ("row", 7),
        ("time", "late"),
    ],
)
def test_the_schema_refuses_what_is_not_a_clean_sale(column, value, pandera, monkeypatch):
    """With pandera, and by columns without it."""
    if not pandera:
        monkeypatch.setitem(sys.modules, "pandera.pandas", None)
    sales = data.read_transactions(clean_log(), names).sales
    assert checked(sales) is sales
    if column == "time":
        sales = sales.iloc[::-1].reset_index(drop=True)
    else:
        sales.loc[3, column] = value
    with pytest.raises(ValueError, match=f"sales: .*{column}"):
        checked(sales)
    with pytest.raises(ValueError, match=column):
        checked(sales.drop(columns=column))


def same(a, b):
    for field in dataclasses.fields(a):
        left, right = getattr(a, field.name), getattr(b, field.name)
        if field.name == "quarantined":
            assert left[["row", "rule"]].to_numpy().tolist() == right[["row", "rule"]].to_numpy().tolist()
            assert list(left) == list(right)
        elif isinstance(left, pandas.DataFrame):
            pandas.testing.assert_frame_equal(left, right, check_dtype=field.name == "sales")
        else:
            assert left == right


@pytest.mark.parametrize("format", ["parquet", "csv"])
def test_records_come_back_from_a_folder(tmp_path, format):
    log, _ = planted(clean_log().assign(sku=lambda log: "00" + log["sku"].map({"a": "1", "b": "2", "c": "3"})))
    made = data.read_transactions(log, names, currency="EUR", notice="planted")
    made.save(tmp_path / "records", format=format)
    same(data.Records.load(tmp_path / "records"), made)
    quarantined = pandas.read_csv(tmp_path / "records" / "quarantined.csv")
    assert quarantined["rule"].tolist() == made.quarantined["rule"].tolist()
    made.save(tmp_path / "records", format=format)  # the same again


def test_nothing_that_was_written_is_lost(tmp_path):
    first = data.read_transactions(clean_log(), names)
    second = data.read_transactions(clean_log(seed=1), names)
    folder = tmp_path / "records"
    first.save(folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(ValueError, match=r"holds others \(400 sales"):
        second.save(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    other = tmp_path / "other"
    other.mkdir()
    (other / "sales.parquet").write_bytes(b"mine")
    with pytest.raises(ValueError, match=r"sales\.parquet"):
        first.save(other)
    assert (other / "sales.parquet").read_bytes() == b"mine" and len(list(other.iterdir())) == 1
    with pytest.raises(ValueError, match="format"):
        first.save(tmp_path / "third", format="excel")


def test_an_interrupted_save_is_noticed_and_completed(tmp_path, monkeypatch):
    made = data.read_transactions(clean_log(), names)
    with monkeypatch.context() as patch:
        patch.setattr(pandas.DataFrame, "to_csv", lambda *_, **__: (_ for _ in ()).throw(OSError("disk full")))
        with pytest.raises(OSError, match="disk full"):
            made.save(tmp_path / "records")
    with pytest.raises(ValueError, match="not written to its end"):
        data.Records.load(tmp_path / "records")
    made.save(tmp_path / "records")
    same(data.Records.load(tmp_path / "records"), made)
    table = pandas.read_parquet(tmp_path / "records" / "sales.parquet")
    table.assign(paid=table["paid"] + 1).to_parquet(tmp_path / "records" / "sales.parquet")
    with pytest.raises(ValueError, match=r"sales.parquet was changed"):
        data.Records.load(tmp_path / "records")
    (tmp_path / "records" / "sales.parquet").unlink()
    with pytest.raises(ValueError, match=r"lacks sales.parquet"):
        data.Records.load(tmp_path / "records")
    with pytest.raises(ValueError, match="must hold saved records"):
        data.Records.load(tmp_path)
