"""Statistics over lanes and pictures of them."""

import numpy as np
import pytest

import jaxprice
from jaxprice import plot, policies, stats


def lanes(seed=0, checkpoints=4, count=1000):
    rng = np.random.default_rng(seed)
    return rng.gamma(2.0, 10.0, (checkpoints, count)) * np.arange(1, checkpoints + 1)[:, None]


@pytest.mark.parametrize("chunk", [1, 7, 333, 1000])
def test_moments_in_chunks_equal_numpy(chunk):
    values, moments = lanes() + 1e6, stats.Moments()
    for first in range(0, values.shape[1], chunk):
        moments.add(values[:, first : first + chunk])
    np.testing.assert_allclose(moments.mean, values.mean(axis=1), rtol=1e-14)
    np.testing.assert_allclose(moments.standard_error(), values.std(axis=1, ddof=1) / np.sqrt(1000), rtol=1e-9)


def test_one_lane_has_no_standard_error():
    moments = stats.Moments()
    moments.add(np.ones((3, 1)))
    assert np.all(np.isnan(moments.standard_error()))


def test_quantiles_are_exact_while_they_fit():
    values, levels = lanes(), (0.05, 0.5, 0.9)
    quantiles = stats.Quantiles(levels)
    for first in range(0, 1000, 100):
        quantiles.add(values[:, first : first + 100])
    np.testing.assert_allclose(quantiles.result(), np.quantile(values.astype(np.float32), levels, axis=1).T, rtol=1e-6)


def test_sketched_quantiles_are_within_half_a_per_cent():
    """Against the order statistic that the sketch aims at; values of both signs, and zeros."""
    values = np.concatenate([lanes(count=4000), -lanes(1, count=2000), np.zeros((4, 100))], axis=1)
    levels = np.array([0.02, 0.2, 0.33, 0.5, 0.75, 0.99])
    quantiles = stats.Quantiles(levels, exact=5000)
    for first in range(0, values.shape[1], 700):
        quantiles.add(values[:, first : first + 700])
    assert quantiles.counts is not None and not quantiles.kept
    exact = np.quantile(values, levels, axis=1, method="lower").T
    np.testing.assert_allclose(quantiles.result(), exact, rtol=0.0051, atol=1e-6)


def test_interval_covers():
    """95 % intervals of a mean of 400 draws cover it 95 % of the time, within 4 standard errors of 2,000 repetitions."""
    values = np.random.default_rng(2).normal(3.0, 2.0, (2000, 400))
    moments = stats.Moments()
    moments.add(values)
    low, high = stats.interval(moments.mean, moments.standard_error())
    covered = np.mean((low < 3) & (high > 3))
    assert abs(covered - 0.95) < 4 * np.sqrt(0.95 * 0.05 / 2000) + 0.002  # .002: normal instead of t quantiles


def test_paired_difference():
    rng = np.random.default_rng(3)
    market = rng.normal(0, 10, 500)
    values, reference = market + 1 + rng.normal(0, 0.1, 500), market + rng.normal(0, 0.1, 500)
    gap, se = stats.paired_difference(values, reference)
    assert abs(gap - 1) < 4 * se
    assert se == pytest.approx((values - reference).std(ddof=1) / np.sqrt(500))
    assert se < 0.02 < np.hypot(values.std(), reference.std()) / np.sqrt(500)
    with pytest.raises(ValueError, match=r"\[lanes\] each"):
        stats.paired_difference(values, reference[1:])


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("last", [0.0, -1.0, np.nan, np.inf])
def test_what_has_no_logarithm_has_no_exponent(last):
    assert np.isnan(stats.growth_exponent([1, 2], [1.0, last]))


@pytest.mark.parametrize("exponent", [0.5, 2 / 3, 1.0])
def test_growth_exponent(exponent):
    times = np.geomspace(10, 1e5, 20)
    assert stats.growth_exponent(times, 3 * times**exponent) == pytest.approx(exponent)


def test_regret_plot():
    import matplotlib

    matplotlib.use("Agg")
    env, params = jaxprice.make("BernoulliBandit", means=[0.3, 0.6])
    sellers = {"oracle": policies.oracle(), "random": policies.random_price(), "fixed": policies.fixed_price(1.0)}
    result = jaxprice.simulate(env, sellers, lanes=8, horizon=30, params=params)
    ax = plot.regret(result)
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert "random" in labels and "oracle" not in labels  # the oracle has no regret to draw on a log axis
    assert ax.get_xscale() == ax.get_yscale() == "log"
    line = ax.get_lines()[labels.index("random")]
    np.testing.assert_allclose(line.get_ydata(), result["regret"].sel(policy="random"))
    per_period = plot.regret(result, relative=True, band=None)
    np.testing.assert_allclose(
        per_period.get_lines()[labels.index("random")].get_ydata(), result["regret"].sel(policy="random") / result["time"]
    )
    with pytest.raises(ValueError, match="band must be"):
        plot.regret(result, band="sigma")


@pytest.mark.parametrize("count", [2, 3, 4, 6, 8, 29])
def test_intervals_over_few_batches_cover(count):
    """With 1.96 they would cover 70, 81, 85, 89, 91 and 94 %; 20,000 repetitions, four standard errors."""
    values = np.random.default_rng(count).normal(3.0, 2.0, (20_000, count))
    moments = stats.Moments()
    moments.add(values)
    low, high = stats.interval(moments.mean, moments.standard_error(), count)
    assert abs(np.mean((low < 3) & (high > 3)) - 0.95) < 4 * np.sqrt(0.95 * 0.05 / 20_000)


def test_how_far_an_interval_reaches():
    """Tabulated points of Student's t: 1, 4, 9 and 28 degrees of freedom."""
    assert stats.critical() == stats.critical(30) == stats.critical(10**6) == stats.Z95
    reach = stats.critical(np.array([[1, 2], [5, 10], [29, 30]]))
    np.testing.assert_allclose(reach, [[np.nan, 12.7062], [2.7764, 2.2622], [2.0484, 1.9600]], atol=5e-5)
    assert np.isnan(stats.critical(1)) and isinstance(stats.critical(np.int64(5)), float)
    for count in (0, -1, 2.0, "3", [3, 0], True):
        with pytest.raises(ValueError, match="count must be integers of at least 1, got"):
            stats.interval(0.0, 1.0, count)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("exact", [100, stats.EXACT])
def test_quantiles_of_every_magnitude(kind, exact):
    """From 1e-30 to 1e30 of either sign; beyond the bins that once ended at 1e-6 and 5e11."""
    rng = np.random.default_rng(5)
    for low, high in ((-12, 12), (-30, 30), (13, 30), (-30, -10)):
        values = (10.0 ** rng.uniform(low, high, (2, 3000)) * rng.choice([-1, 1], (2, 3000))).astype(kind)
        levels = np.array([0.0, 0.01, 0.3, 0.49, 0.51, 0.8, 0.999, 1.0])
        quantiles = stats.Quantiles(levels, exact=exact)
        for chunk in np.array_split(values, 7, axis=1):
            quantiles.add(chunk)
        expected = np.quantile(values, levels, axis=1, method="lower").T
        if exact > values.size:
            expected = np.quantile(values.astype(np.float32), levels, axis=1).T
        np.testing.assert_allclose(quantiles.result(), expected, rtol=0.0051)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("exact", [3, stats.EXACT])
def test_quantiles_of_what_is_infinite_or_no_number(exact):
    values = np.array([[-np.inf, -2, 0, 1, np.inf, np.inf], [-np.inf, -2, 0, 1, np.nan, np.inf], [1, 2, 3, 4, 5, 6]])
    quantiles = stats.Quantiles([0, 0.2, 0.4, 0.6, 0.8, 1], exact=exact)
    for chunk in np.split(values, 2, axis=1):
        quantiles.add(chunk)
    np.testing.assert_allclose(quantiles.result(), [values[0], [np.nan] * 6, values[2]], rtol=0.0051)


@pytest.mark.filterwarnings("error")
def test_share_needs_a_positive_optimum():
    regret, optimal = np.array([1.0, 0.0, 3.0, 0.0, 2.0]), np.array([2.0, 4.0, -1.0, 0.0, 1.0])
    np.testing.assert_allclose(stats.share(regret, optimal), [0.5, 1.0, np.nan, np.nan, -1.0])
    summary = stats.Summary([1], (0.5,))
    columns = {"regret": regret[None], "optimal": optimal[None], "reward": regret[None], "revenue": regret[None]}
    summary.add(columns)
    found = summary.dataset()
    np.testing.assert_array_equal(found["lane_share"], stats.share(regret, optimal))
    assert np.isnan(found["share"].values[0]) and found["regret"].values[0] == pytest.approx(1.2)


def test_what_is_kept_of_a_lane_is_one_number():
    """Not the checkpoints that it was cut from."""
    summary = stats.Summary(range(1, 32), (0.5,))
    columns = {name: np.ones((31, 10)) for name in ("regret", "optimal", "reward", "revenue")}
    summary.add(columns)
    assert all(chunk.base is None for chunks in summary.last.values() for chunk in chunks)
    none = stats.Summary(range(1, 32), (0.5,), per_lane=False)
    none.add(columns)
    assert "lane_regret" not in none.dataset() and not none.last


NAMES = ["$x", "a$b$c", "$\\frac{", "{", "_hidden", "__", "%", "\\alpha", "a_b^c", "plain", "", "$$", "\\$"]


@pytest.mark.filterwarnings("error")
def test_names_are_drawn_as_they_are(tmp_path):
    import matplotlib

    matplotlib.use("Agg")
    env, params = jaxprice.make("BernoulliBandit", means=[0.3, 0.6])
    result = jaxprice.simulate(env, {"a": policies.random_price()}, lanes=8, horizon=5, params=params)
    result = result.isel(policy=[0] * len(NAMES)).assign_coords(policy=NAMES).assign_attrs(environment="$a_{")
    ax = plot.regret(result)
    ax.figure.savefig(tmp_path / "picture.png")
    assert [text.get_text() for text in ax.get_legend().get_texts()] == NAMES
    ax.legend()  # by somebody who adds a line of their own
    ax.figure.savefig(tmp_path / "picture.png")
    assert len(ax.get_legend().get_texts()) == len(NAMES) - 1  # Matplotlib leaves out the empty name


@pytest.mark.parametrize("lanes", [5, 100])
def test_bands_are_those_of_the_lanes(lanes):
    """Student's intervals of few lanes, the outermost quantiles in whatever order; in any unit of money."""
    import matplotlib

    matplotlib.use("Agg")
    env, params = jaxprice.make("BernoulliBandit", means=[0.3, 0.6])
    seller = {"a": policies.random_price(), "oracle": policies.oracle()}
    play = {"lanes": lanes, "horizon": 9, "params": params, "checkpoints": [9], "quantiles": [0.5, 0.9, 0.1]}
    result = jaxprice.simulate(env, seller, **play)
    small = result.assign({name: 1e-12 * result[name] for name in ("regret", "regret_se", "regret_quantile")})
    for one in (result, small):
        mean, se = float(one["regret"][0, 0]), float(one["regret_se"][0, 0])
        reach = {5: 2.7764, 100: 1.95996}[lanes] * se
        band = plot.regret(one).collections
        assert len(band) == 1
        heights = band[0].get_paths()[0].vertices[:, 1]
        np.testing.assert_allclose([heights.min(), heights.max()], [mean - reach, mean + reach], rtol=1e-4)
        heights = plot.regret(one, band="quantile").collections[0].get_paths()[0].vertices[:, 1]
        np.testing.assert_allclose([heights.min(), heights.max()], one["regret_quantile"].values[0, 0, [2, 1]], rtol=1e-6)


def test_what_cannot_be_drawn():
    env, params = jaxprice.make("BernoulliBandit", means=[0.3, 0.6])
    result = jaxprice.simulate(env, policies.random_price(), lanes=4, horizon=5, params=params, quantiles=[])
    for wrong in (None, 3, {}, result["regret"], result.isel(policy=0), result.drop_vars("regret_se")):
        with pytest.raises(ValueError, match="result must"):
            plot.regret(wrong)
    for options, message in (
        ({"ax": 3}, "ax must be Matplotlib Axes or None, got 3"),
        ({"relative": "yes"}, "relative must be True or False"),
        ({"band": ["interval"]}, "band must be 'interval', 'quantile' or None"),
        ({"band": np.array(["interval"])}, "band must be 'interval', 'quantile' or None"),
        ({"band": "quantile"}, "where the result has no quantiles"),
    ):
        with pytest.raises(ValueError, match=message):
            plot.regret(result, **options)


def test_bad_arguments_of_statistics():
    for wrong in (None, "12", [], [[1.0, 2.0]], 3.0, [True, False], [1j, 2j], [[1], [2, 3]], ["a", "b"]):
        with pytest.raises(ValueError, match="values must be numbers"):
            stats.paired_difference(wrong, [1.0, 2.0])
        with pytest.raises(ValueError, match="reference must be numbers"):
            stats.paired_difference([1.0, 2.0], wrong)
        with pytest.raises(ValueError, match="regret must be numbers"):
            stats.growth_exponent([1.0, 2.0], wrong)
    for times, regret, message in (
        ([0, 2], [1.0, 2.0], "times must be positive and finite"),
        ([2, 2], [1.0, 2.0], "at least two times"),
        ([1, 2, 3], [1.0, 2.0], "times and regret must be"),
    ):
        with pytest.raises(ValueError, match=message):
            stats.growth_exponent(times, regret)
