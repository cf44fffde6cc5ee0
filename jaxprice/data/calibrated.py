"""Markets calibrated on real purchases: fitted parameters in small JSON files.

A calibration holds the fitted choice model (coefficients, covariance). It also holds the demand that a posted-price seller
faces: the logit demand curve in the seller's own price `p`,

    D(p) = 1 / (1 + exp(slope * p + intercept)),    revenue p * D(p), largest where slope * p * (1 - D(p)) = 1,

in the sign convention of Broder and Rusmevichientong (2012), Operations Research 60, 965-980, doi:10.1287/opre.1120.1057
(`z1 = slope > 0`, `z2 = intercept`). All attributes other than the own price are fixed at the values in `design`, which are
sample means unless the provenance says otherwise. The optimal price for revenue is `(1 + W(exp(-1 - intercept))) / slope`
with Lambert's W, the solution of the first-order condition. The code computes W(exp(x)) as Wright's omega function, which
does not overflow.

The household panels record purchases only: there is NO outside option, and `D` is a share of the category's purchases.
Buyers who leave without buying because of a high price are not observed, so demand appears less elastic than in a shop.
"""

import dataclasses
import difflib
import importlib.resources
import json
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit, wrightomega

from jaxprice.data.discrete_choice import Fit, own_price_curve
from jaxprice.data.fields import DESCRIBED, checked, names_of


@dataclass(frozen=True, eq=False)
class Calibration:
    """The fitted demand of one market. Prices are in `currency`; lists per brand follow the order of `brands`.

    Attributes:
        name: name of the market, as given to `load`.
        seller: the brand that sets its price.
        brands: the `B` brands with a price, including the seller.
        outside_option: whether buying none of the brands is an alternative of the model (utility zero, last row).
        names: names of the `K` coefficients of the choice model.
        coefficients: estimates `[K]`, in utility per unit of the attribute.
        covariance: their covariance `[K, K]`, the inverse observed information.
        log_likelihood: log likelihood at the estimates.
        observations: number of choices.
        price_name: name of the coefficient of the price.
        design: `[J, K]`, attributes of the alternatives for which the curve is computed, `J = B + outside_option`.
        intercept: intercept of the own-price curve, `D(0) = 1 / (1 + exp(intercept))`.
        slope: slope of the own-price curve, per unit of price, positive.
        curve_covariance: `[2, 2]`, covariance of (intercept, slope) by the delta method, which takes `design` as known.
        price_low: lower end of the default price grid.
        price_high: upper end of the default price grid.
        grid_rule: rule by which the ends were chosen.
        currency: unit of the prices.
        price_means: observed mean price of each brand.
        price_sds: observed standard deviation (divisor N - 1) of each brand's price.
        market_shares: share of the choices that went to each brand.
        own_elasticities: elasticity of each brand's expected sales with respect to its own price, if all its prices change
            by the same percentage: `theta_price * sum_n p P (1 - P) / sum_n P` over the observed choices.
        source: package and version that contain the data.
        licence: licence of that package; the data themselves are not included.
        reference: publication of the data.
        provenance: the fitted model, its data, and caveats.
        script: the fitting script.
    """

    name: str
    seller: str
    brands: tuple[str, ...]
    outside_option: bool
    names: tuple[str, ...]
    coefficients: np.ndarray
    covariance: np.ndarray
    log_likelihood: float
    observations: int
    price_name: str
    design: np.ndarray
    intercept: float
    slope: float
    curve_covariance: np.ndarray
    price_low: float
    price_high: float
    grid_rule: str
    currency: str
    price_means: tuple[float, ...]
    price_sds: tuple[float, ...]
    market_shares: tuple[float, ...]
    own_elasticities: tuple[float, ...]
    source: str
    licence: str
    reference: str
    provenance: str
    script: str

    @property
    def fit(self) -> Fit:
        """The choice model in the type that the estimators return."""
        return Fit(self.names, self.coefficients, self.covariance, self.log_likelihood, self.observations)

    @property
    def mean_price(self) -> float:
        """Observed mean price of the seller, in `currency`."""
        return self.price_means[self.brands.index(self.seller)]

    @property
    def market_share(self) -> float:
        """Observed share of the choices that went to the seller."""
        return self.market_shares[self.brands.index(self.seller)]

    @property
    def optimal_price(self) -> float:
        """The price that maximises revenue on the own-price curve if the marginal cost is zero, in `currency`."""
        return float((1.0 + wrightomega(-1.0 - self.intercept)) / self.slope)

    def demand(self, price: ArrayLike) -> np.ndarray:
        """Probability of a sale at each price, same shape as `price`."""
        return expit(-(self.slope * np.asarray(price, dtype=np.float64) + self.intercept))


def names() -> list[str]:
    """Names of the markets in this package, sorted."""
    return sorted(file.name.removesuffix(".json") for file in _folder().iterdir() if file.name.endswith(".json"))


def load(name: str) -> Calibration:
    """Reads one market of this package.

    Args:
        name: one of `names()`.

    Returns:
        The calibration; its arrays are read-only.

    Raises:
        ValueError: there is no such market; the message names the closest matches.
    """
    known = names()
    if name not in known:
        near = difflib.get_close_matches(str(name).lower(), known, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
        raise ValueError(f"name: no calibrated market {name!r}; {hint}allowed are {known}")
    return from_dict(json.loads((_folder() / f"{name}.json").read_text(encoding="utf-8")))


def from_dict(fields: dict[str, Any]) -> Calibration:
    """Builds a calibration from the fields of its JSON file: lists become read-only arrays or tuples.

    Raises:
        ValueError: a field is missing or unknown, or does not match its definition in `Calibration`; the message names it.
    """
    return Calibration(**checked(fields, [field.name for field in dataclasses.fields(Calibration)]))


def assemble(
    fit: Fit, data: np.ndarray, choice: np.ndarray, design: np.ndarray, price_name: str, **described: Any
) -> Calibration:
    """Builds a calibration from a fit and its data; numbers are rounded to 10 significant digits.

    The seller is the brand with the largest share. The price grid covers the 1 % to the 99 % quantile of the seller's
    observed price, because the extremes of scanner data contain some errors, for example prices of zero.

    Args:
        fit: the choice model.
        data: `[N, J, K]`, the brands first, an outside option last; columns as `fit.names`.
        choice: `[N]`, index of the chosen alternative.
        design: `[J, K]`, attributes for which the curve is computed.
        price_name: name of the price coefficient.
        **described: the fields of `Calibration` that are not computed: `name`, `brands`, `currency`, `source`,
            `licence`, `reference`, `provenance`, `script`.

    Returns:
        The calibration.

    Raises:
        ValueError: a described field is missing or unknown, an array has a wrong shape, the price is not a coefficient, or
            the optimal price is outside the price grid.
    """
    wanted = {"brands", *DESCRIBED}
    if set(described) != wanted:
        missing, unknown = sorted(wanted - set(described)), sorted(set(described) - wanted)
        raise ValueError(f"described must hold {sorted(wanted)}; missing are {missing}, unknown {unknown}")
    brands = names_of("brands", described["brands"])
    if price_name not in fit.names:
        raise ValueError(f"price_name: allowed are {list(fit.names)}, got {price_name!r}")
    column = fit.names.index(price_name)
    data, choice = np.asarray(data), np.asarray(choice)
    alternatives = data.shape[1] if data.ndim == 3 else 0
    if data.ndim != 3 or data.shape[2] != len(fit.names) or alternatives not in (len(brands), len(brands) + 1):
        raise ValueError(f"data: expected shape [N, {len(brands)} or one more, {len(fit.names)}], got {list(data.shape)}")
    if choice.shape != data.shape[:1] or choice.dtype.kind not in "iu" or not np.isin(choice, np.arange(alternatives)).all():
        raise ValueError(f"choice: expected {len(data)} integers in [0, {alternatives}), got {choice.dtype} {choice.shape}")
    prices = data[:, : len(brands), column]
    shares = np.bincount(choice, minlength=data.shape[1])[: len(brands)] / len(choice)
    seller = int(np.argmax(shares))
    utility = data @ fit.coefficients
    probability = np.exp(utility - np.logaddexp.reduce(utility, axis=1, keepdims=True))[:, : len(brands)]
    response = fit.coefficients[column] * prices * probability * (1.0 - probability)
    curve, curve_covariance = own_price_curve(fit, design, seller=seller, price=price_name)
    low, high = np.quantile(prices[:, seller], [0.01, 0.99]).round(4).tolist()
    computed = {
        "seller": brands[seller],
        "outside_option": data.shape[1] > len(brands),
        "names": fit.names,
        "coefficients": fit.coefficients,
        "covariance": fit.covariance,
        "log_likelihood": fit.log_likelihood,
        "observations": fit.observations,
        "price_name": price_name,
        "design": design,
        "intercept": curve[0],
        "slope": curve[1],
        "curve_covariance": curve_covariance,
        "price_low": low,
        "price_high": high,
        "grid_rule": "1 % and 99 % quantiles of the seller's observed price, rounded to 4 decimals; "
        f"observed extremes {prices[:, seller].min():.4g} and {prices[:, seller].max():.4g}",
        "price_means": prices.mean(0),
        "price_sds": prices.std(0, ddof=1),
        "market_shares": shares,
        "own_elasticities": response.sum(0) / probability.sum(0),
    }
    calibration = from_dict(described | {key: _rounded(value) for key, value in computed.items()})
    if not low < calibration.optimal_price < high:
        raise ValueError(f"design: revenue optimum {calibration.optimal_price} outside the prices [{low}, {high}]")
    return calibration


def to_json(calibration: Calibration) -> str:
    """Writes a calibration as JSON, one field a line."""
    fields = {f.name: getattr(calibration, f.name) for f in dataclasses.fields(calibration)}
    lists = {key: value.tolist() if isinstance(value, np.ndarray) else value for key, value in fields.items()}
    lines = [f"  {json.dumps(key)}: {json.dumps(value, allow_nan=False)}" for key, value in lists.items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _rounded(value: object) -> object:
    if isinstance(value, float | np.ndarray):
        return np.vectorize(lambda x: float(f"{x:.10g}"), otypes=[float])(value).tolist()
    return value


def _folder() -> Traversable:
    return importlib.resources.files("jaxprice.data") / "calibrated"
