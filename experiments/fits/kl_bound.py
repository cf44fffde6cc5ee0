"""Fit the first guess of `jaxprice.policies.parts.kl_bound.upper_bound`.

    python -m experiments.fits.kl_bound

The solution y of kl = d is between 73 and 100 % of (d + sqrt(2 d p (1 - p))) / (1 - p). The ratio is fitted by a cubic in p
and w = d / (d + sqrt(2 d p (1 - p))), minimax by iteratively reweighted least squares (Lawson 1961), over mean p in [0, 1]
and d in [1e-7, 30]. The command prints the coefficients of p**i w**j and the largest error.
"""

import numpy as np


def samples(count=30_000, seed=0):
    """Means, solutions and divergences that cover the whole range, float `[count]` each."""
    rng = np.random.default_rng(seed)
    third = count // 3
    p = np.concatenate([rng.uniform(size=third), 10 ** -rng.uniform(0, 9, third), 1 - 10 ** -rng.uniform(0, 7, third)])
    y = 10 ** rng.uniform(-4, 2.5, p.size)
    d = (1 - p) * y - p * np.log1p(-(1 - p) * np.expm1(-y) / p)
    inside = (d > 1e-7) & (d < 30)
    return p[inside], y[inside], d[inside]


def main(degree=3, rounds=200):
    """Fit and print."""
    p, y, d = samples()
    guess = d + np.sqrt(2 * d * p * (1 - p))
    target, w = y * (1 - p) / guess, d / guess
    terms = [(i, j) for i in range(degree + 1) for j in range(degree + 1 - i)]
    design = np.stack([p**i * w**j for i, j in terms], axis=1)
    weights, best = np.ones_like(target), (np.inf, None)
    for _ in range(rounds):
        root = np.sqrt(weights)
        coefficients = np.linalg.lstsq(design * root[:, None], target * root, rcond=None)[0]
        error = np.abs(design @ coefficients - target)
        best = min(best, (error.max(), tuple(coefficients)))
        weights *= error + 1e-12
        weights /= weights.sum()
    for i in range(degree + 1):
        print(f"    ({', '.join(f'{c:.7g}' for (k, _), c in zip(terms, best[1], strict=True) if k == i)},),")
    print(f"largest relative error {best[0]:.2g}")


if __name__ == "__main__":
    main()
