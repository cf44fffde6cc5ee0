"""Laws of independent unknowns x_k, one for each price: density, distribution function and partial expectation.

| law | E[x 1{x <= t}], with m the mean |
|---|---|
| Beta(a, b) | m F(t; a + 1, b) |
| Gamma with shape a and rate b | m F(t; a + 1, b) |
| normal with deviation s | m F(t) - s^2 f(t) |
| Student's t with centre c, scale s and n degrees of freedom | c F(t) - s^2 (n + z^2) / (n - 1) f(t),  z = (t - c) / s |

Parameters are float64 `[K]`; points broadcast against them.
"""

import dataclasses

import numpy as np
from scipy import special, stats


@dataclasses.dataclass(frozen=True)
class Betas:
    """x_k ~ Beta(a_k, b_k)."""

    a: np.ndarray
    b: np.ndarray

    @property
    def mean(self):
        return self.a / (self.a + self.b)

    @property
    def std(self):
        total = self.a + self.b
        return np.sqrt(self.a * self.b / (total + 1)) / total

    def cdf(self, x):
        return special.betainc(self.a, self.b, np.clip(x, 0, 1))

    def pdf(self, x):
        return stats.beta.pdf(x, self.a, self.b)

    def partial(self, x):
        """E[x_k 1{x_k <= x}]."""
        return self.mean * special.betainc(self.a + 1, self.b, np.clip(x, 0, 1))

    def quantiles(self, levels):
        return stats.beta.ppf(levels, self.a, self.b)


@dataclasses.dataclass(frozen=True)
class Gammas:
    """x_k ~ Gamma with a shape and a rate."""

    shape: np.ndarray
    rate: np.ndarray

    @property
    def mean(self):
        return self.shape / self.rate

    @property
    def std(self):
        return np.sqrt(self.shape) / self.rate

    def cdf(self, x):
        return special.gammainc(self.shape, self.rate * np.maximum(x, 0))

    def pdf(self, x):
        return stats.gamma.pdf(x, self.shape, scale=1 / self.rate)

    def partial(self, x):
        """E[x_k 1{x_k <= x}]."""
        return self.mean * special.gammainc(self.shape + 1, self.rate * np.maximum(x, 0))

    def quantiles(self, levels):
        return stats.gamma.ppf(levels, self.shape, scale=1 / self.rate)


@dataclasses.dataclass(frozen=True)
class Normals:
    """x_k ~ N(mean_k, std_k^2)."""

    mean: np.ndarray
    std: np.ndarray

    def cdf(self, x):
        return special.ndtr((x - self.mean) / self.std)

    def pdf(self, x):
        return stats.norm.pdf(x, self.mean, self.std)

    def partial(self, x):
        """E[x_k 1{x_k <= x}]."""
        return self.mean * self.cdf(x) - self.std**2 * self.pdf(x)

    def quantiles(self, levels):
        return stats.norm.ppf(levels, self.mean, self.std)


@dataclasses.dataclass(frozen=True)
class Students:
    """x_k = centre_k + scale_k T_k, T_k of Student's law with more than two degrees of freedom."""

    centre: np.ndarray
    scale: np.ndarray
    freedom: np.ndarray

    @property
    def mean(self):
        return self.centre

    @property
    def std(self):
        return self.scale * np.sqrt(self.freedom / (self.freedom - 2))

    def cdf(self, x):
        return special.stdtr(self.freedom, (x - self.centre) / self.scale)

    def pdf(self, x):
        return stats.t.pdf(x, self.freedom, self.centre, self.scale)

    def partial(self, x):
        """E[x_k 1{x_k <= x}]."""
        t = (x - self.centre) / self.scale
        return self.centre * self.cdf(x) - self.scale**2 * (self.freedom + t**2) / (self.freedom - 1) * self.pdf(x)

    def quantiles(self, levels):
        return stats.t.ppf(levels, self.freedom, self.centre, self.scale)
