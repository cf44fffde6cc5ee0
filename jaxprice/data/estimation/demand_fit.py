"""The fitted demand of the products of a panel: curves, intervals, predictions, and the market that has this demand.

`jaxprice.data.estimation.fit_demand` states the model and fits it.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float64
from numpy.typing import ArrayLike
from scipy import special

from jaxprice import checks
from jaxprice.data.estimation import cautions
from jaxprice.data.estimation.glm import inverse_link
from jaxprice.data.estimation.panel import Panel

if TYPE_CHECKING:
    from jaxprice.envs.fitted_demand import FittedDemand, Params


@dataclass(frozen=True, eq=False)
class DemandFit:
    """Fitted demand of `G` products.

    Attributes:
        products: identifiers; products that could not be fitted are left out.
        family, link, price: of the model.
        pooled: whether the products share a normal population.
        usual: median price of each product, `[G]`.
        price_range: lowest and highest price of each product in the data, `[G, 2]`.
        visits: mean visits of each product in a period, all folds together, `[G]`.
        coefficients: (a, b) of each product, `[G, 2]`.
        covariance: of (a, b), `[G, 2, 2]`.
        mean, population: mean `[2]` and covariance `[2, 2]` of (a, b) over products: the prior of a new product.
        mean_covariance: uncertainty of `mean`, `[2, 2]`.
        promotions: names of the `P` other columns.
        effects: their coefficients, `[G, P]`; the same for all products if pooled.
        effect_errors: standard errors, `[G, P]`.
        dispersion: of the negative binomial `[G]`, else 0.
        log_likelihood: at the estimate; marginal if pooled.
        observations: number of cells.
        period_days: days in a period.
    """

    products: tuple[Hashable, ...]
    family: str
    link: str
    price: str
    pooled: bool
    usual: Float64[np.ndarray, " g"]
    price_range: Float64[np.ndarray, "g 2"]
    visits: Float64[np.ndarray, " g"]
    coefficients: Float64[np.ndarray, "g 2"]
    covariance: Float64[np.ndarray, "g 2 2"]
    mean: Float64[np.ndarray, " 2"]
    population: Float64[np.ndarray, "2 2"]
    mean_covariance: Float64[np.ndarray, "2 2"]
    promotions: tuple[str, ...]
    effects: Float64[np.ndarray, "g p"]
    effect_errors: Float64[np.ndarray, "g p"]
    dispersion: Float64[np.ndarray, " g"]
    log_likelihood: float
    observations: int
    period_days: int

    @property
    def slopes(self) -> Float64[np.ndarray, " g"]:
        """Slope of each product; the elasticity with link "log" and price "log"."""
        return self.coefficients[:, 1]

    @property
    def slope_errors(self) -> Float64[np.ndarray, " g"]:
        """Standard errors of `slopes`."""
        return np.sqrt(self.covariance[:, 1, 1])

    def row(self, product: Hashable) -> int:
        """Position of a product.

        Raises:
            ValueError: it was not fitted.
        """
        if product not in self.products:
            raise ValueError(
                f"product: {product!r} is none of the {len(self.products)} products, {checks.shown(self.products)}"
            )
        return self.products.index(product)

    def demand(
        self,
        product: Hashable,
        price: ArrayLike,
        promotions: Mapping[str, float] | None = None,
        *,
        level: float | None = None,
    ) -> Any:
        """Mean demand of one visit at a price, same shape as `price`; clipped to the prices of the data, with a warning.

        Args:
            product: one of `products`.
            price: in the currency of the data.
            promotions: name -> value; by default 0.
            level: None for the estimate alone. A probability such as .95 gives `(estimate, low, high)`, the ends of the
                interval from the covariance of (a, b) at each price.
        """
        i = self.row(product)
        price = np.asarray(price, np.float64)
        low, high = self.price_range[i]
        inside = _clip(price, low, high)
        x = relative(inside / self.usual[i], self.price)
        shift = self.shift(i, promotions)
        eta = self.coefficients[i, 0] + self.coefficients[i, 1] * x + shift
        if level is None:
            return inverse_link(eta, self.link)
        direction = np.stack([np.ones_like(x), x], -1)
        error = np.sqrt(np.einsum("...i,ij,...j->...", direction, self.covariance[i], direction))
        width = special.ndtri(0.5 + float(checks.number("level", level, low=0, high=1, scalar=True)) / 2) * error
        return tuple(inverse_link(e, self.link) for e in (eta, eta - width, eta + width))

    def shift(self, row: int, promotions: Mapping[str, float] | None) -> float:
        """Effect of promotions on the linear predictor of a product.

        Raises:
            ValueError: an unknown promotion.
        """
        total = 0.0
        for name, value in (promotions or {}).items():
            total += self.effects[row, self.promotions.index(checks.choice("promotion", name, self.promotions))] * value
        return total

    def expected_units(self, panel: Panel) -> Float64[np.ndarray, "g t f"]:
        """Mean units in each cell of a panel of the same products, NaN where it is not valid; prices are clipped."""
        rows = np.array([self.row(product) for product in panel.products])
        low, high = (self.price_range[rows, k][:, None, None] for k in (0, 1))
        price = _clip(np.where(panel.valid, panel.price, self.usual[rows][:, None, None]), low, high)
        x = relative(price / self.usual[rows][:, None, None], self.price)
        a, b = (self.coefficients[rows, k][:, None, None] for k in (0, 1))
        order = [panel.promotions.index(checks.choice("promotion", name, panel.promotions)) for name in self.promotions]
        eta = a + b * x + np.einsum("gtfp,gp->gtf", panel.promotion[..., order], self.effects[rows])
        return np.where(panel.valid, panel.visits * inverse_link(eta, self.link), np.nan)

    def market(
        self,
        product: Hashable | None = None,
        *,
        promotions: Mapping[str, float] | None = None,
        slope: tuple[float, float] | None = None,
        allow_rising: bool = False,
        **options: Any,
    ) -> "tuple[FittedDemand, Params]":
        """A market with the fitted demand, and its params, the estimate; as from `jaxprice.make`.

        The task distribution (`simulate(..., params=None)`, and the prior of `policies.prior_thompson(env)`) draws (a, b)
        from the product's own estimate and covariance. Without a product it draws a new product of the population, at prices
        in units of its usual price.

        Args:
            product: one of `products`; None for a new product, or for the only one.
            promotions: name -> value; by default 0.
            slope: mean and standard deviation of the slope of a new product, such as `fit_demand_prior` gives; by default
                those of the population.
            allow_rising: whether demand may rise with the price; else the slopes that are drawn are negative.
            **options: options of `jaxprice.envs.fitted_demand.FittedDemand`: `num_prices`, `cost`, `horizon`, `buyers`,
                `low`, `high`.

        Raises:
            ValueError: an unknown product, demand that rises with the price, or a bad option.
        """
        from jaxprice.envs import fitted_demand

        return fitted_demand.market_of(self, product, promotions, slope, allow_rising, options)


def relative(ratio, form):
    """h of a price relative to the usual one: log r, or r - 1; same shape."""
    return np.log(ratio) if form == "log" else ratio - 1


def _clip(price, low, high):
    """Prices clipped to the range of the fit, with a warning that counts them."""
    outside = (price < low * (1 - 1e-6)) | (price > high * (1 + 1e-6))
    if outside.any():
        cautions.clipped(int(outside.sum()), price.size, float(np.min(price / low)), float(np.max(price / high)))
    return np.clip(price, low, high)
