"""Markets drawn by `sample_params` are valid and have the structure of those of `make`, at extreme options too."""

import jax
import numpy as np
import pytest
import scaled
import test_markets
from rows import some

import jaxprice

DRAWN = 64
EXTREME = {
    "one arm": ("BernoulliBandit", {"num_arms": 1}),
    "informative, large prize": ("InformativeBandit", {"num_arms": 3, "prize": 1e30}),
    "informative, small prize": ("InformativeBandit", {"prize": 1.0001}),
    "wheel, wide": ("WheelBandit", {"low": 0.0, "safe": 1e-6, "high": 1e6, "noise_scale": 1e6, "intercept": False}),
    "rows, one label": ("LabelledRows", {"num_arms": 1, "intercept": False, "hit": 1e-3}),
    "posted, one price": ("PostedPrice", {"num_prices": 1, "cost": 1e6}),
    "posted, many buyers": ("PostedPrice", {"demand": "iso_elastic", "noise": "poisson", "buyers": 40}),
    "posted, three segments": (
        "PostedPrice",
        {"demand": jaxprice.demand.Mixture(np.float32([0.2, 0.3, 0.5]), jaxprice.demand.Logit(np.ones(3), -np.ones(3)))},
    ),
    "posted, one atom": ("PostedPrice", {"demand": jaxprice.demand.Atoms(np.float32([0.5]), np.float32([1]))}),
    "fair, cost near the top": ("FairPricing", {"cost": 4.6}),
    "fair, cost at the top": ("FairPricing", {"cost": 4.999, "low": 4.9, "fairness": 0.0}),
    "fair, large prices": ("FairPricing", {"high": 1e9, "cost": 9.9e8, "level": [0.5, 0.5], "rate": [1e-9, 1e-9]}),
    "fair, small prices": ("FairPricing", {"high": 1e-9, "cost": 9e-10, "fairness": 1.0}),
    "fair, linear": ("FairPricing", {"curve": "linear", "cost": 4.99}),
    "glm, one feature": ("GLMDemand", {"dimension": 1, "cost": 2.99, "low": 2.9}),
    "glm, large prices": ("GLMDemand", {"dimension": 40, "sparsity": 1, "high": 1e9, "cost": 1e10, "context": "sphere"}),
    "glm, linear, small prices": ("GLMDemand", {"link": "linear", "high": 1e-9, "context": "uniform", "num_prices": 2}),
    "glm, linear, unit": ("GLMDemand", {"link": "linear", "context": "unit", "low": 2.9, "cost": 50.0, "dimension": 2}),
    "valuation, sharp": ("LinearValuation", {"scale": 1e-6, "noise": "uniform", "dimension": 1}),
    "valuation, flat": ("LinearValuation", {"scale": 1e6, "noise": "gaussian", "cost": 1e6, "num_prices": 1}),
    "valuation, sharp mixture": ("LinearValuation", {"scale": 1e-6, "noise": "mixture", "context": "schedule"}),
    "valuation, sharp logistic": ("LinearValuation", {"scale": 1e-9, "high": 1e9, "intercept": True, "sparsity": 1}),
    "oligopoly, outside": ("LogitOligopoly", {"outside": 995.0, "quality": 997.0, "num_prices": 2, "num_sellers": 1}),
    "oligopoly, sharp": ("LogitOligopoly", {"scale": 1e-3, "quality": 5.0, "num_prices": 3, "capacity": 1e-3}),
    "low rank, one product": ("LowRankDemand", {"num_products": 1, "rank": 1, "curvature": 1e-6, "radius": 1e-9}),
    "low rank, steep": ("LowRankDemand", {"num_products": 5, "rank": 5, "curvature": 1e9, "radius": 1e9}),
    "mnl, narrow": ("MNLPricing", {"num_products": 1, "low": 100.0, "high": 101.0}),
    "mnl, large prices": ("MNLPricing", {"num_products": 20, "high": 1e12}),
    "assortment of one": ("MNLAssortment", {"num_products": 1, "size": 1}),
    "products, one": ("MultiProduct", {"num_products": 1, "low": 0.0, "high": 1e-6, "cost": 10.0}),
    "products, poisson": ("MultiProduct", {"family": "exponential", "num_products": 5, "low": 0.0}),
    "network, one period": ("NetworkRevenue", {"horizon": 1}),
    "network, bernoulli": (
        "NetworkRevenue",
        {"demand": [[1.0]], "prices": [[1e-9]], "consumption": [[1e-9]], "stock": [0], "noise": "bernoulli", "horizon": 3},
    ),
    "change at once": ("NonStationary", {"horizon": 1, "num_markets": 3}),
    "calendar of five": ("NonStationary", {"kind": "calendar", "slots": [0, 1, 1, 1, 0]}),
    "regimes, one": ("NonStationary", {"kind": "regimes", "num_markets": 1, "market": "FairPricing"}),
    "reference, long memory": ("ReferencePrice", {"memory": 0.99, "num_prices": 2, "low": 10.0, "high": 10.1, "cost": 20.0}),
    "reference, no memory": ("ReferencePrice", {"memory": 0.0, "resolution": 3, "high": 1e6}),
    "related, all the same": ("RelatedProducts", {"similarity": 1.0}),
    "related, spread": ("RelatedProducts", {"market": "GLMDemand", "spread": 0.4, "leaves": ["alpha", "beta"]}),
    "replenishment, small": ("Replenishment", {"prices": [1e-3], "largest_demand": 1, "law": "binomial"}),
    "replenishment, free": ("Replenishment", {"prices": [0.0, 1e6], "largest_demand": 3, "backlog": True, "stock": -3}),
    "rival, one price": ("ReactiveRival", {"num_prices": 1, "low": 3.0}),
    "rival, two prices": ("ReactiveRival", {"prices": [0.0, 1e-9], "rule": "undercut", "cost": 1.0, "lag": 1.0}),
    "rival, dear": ("ReactiveRival", {"rule": "fixed", "num_prices": 4, "low": 1e6, "high": 1e9, "lag": 0.0}),
    "segments, one": ("SegmentedValuation", {"law": "beta(9,2)", "num_segments": 1, "num_prices": 9, "buyers": 1}),
    "segments, beta(.2,.3)": ("SegmentedValuation", {"law": "beta(.2,.3)", "num_prices": 5, "half_width": 1e-6}),
    "storefront, wide": ("Storefront", {"size": "small", "low": 1e-3, "high": 1e3, "cost": 1e4, "offers": "coupon"}),
    "inventory, dear": ("FiniteInventory", {"cost": 50.0, "stock": 2, "horizon": 3}),
    "inventory, atoms": ("FiniteInventory", {"demand": "atoms", "stock": 1, "horizon": 1, "arrival": 1e-6}),
    "inventory, none": ("FiniteInventory", {"demand": "beta", "stock": 0, "horizon": 2, "salvage": 0.9, "num_prices": 1}),
}
ROWS = EXTREME | {f"usual: {row}": case for row, case in (test_markets.RICHER_MARKETS | scaled.SCALED_MARKETS).items()}
QUICK = (*EXTREME, *(f"usual: {row}" for row in ("inventory", "linear", "calendar", "bandit", "apple", "fair prices")))


@pytest.mark.parametrize("row", some(ROWS, *QUICK))
def test_markets_drawn_are_possible_and_alike_the_one_made(row):
    kind, options = ROWS[row]
    env, params = jaxprice.make(kind, **options)
    drawn = jax.device_get(jax.jit(jax.vmap(env.sample_params))(jax.random.split(jax.random.key(1), DRAWN)))
    env.check_params(drawn)
    for name in env.tables:  # a unit that is not there has infinite worth
        assert not np.any(np.isnan(getattr(drawn, name)))
    made, structure = jax.tree.flatten(params)
    others, other = jax.tree.flatten(drawn)
    assert structure == other
    for ours, theirs in zip(made, others, strict=True):
        ours = np.asarray(ours)
        assert (ours.shape, ours.dtype) == (theirs.shape[1:], theirs.dtype)
    default = jax.tree.map(np.asarray, env.default_params())
    assert jax.tree.structure(default) == structure
    assert [leaf.shape for leaf in jax.tree.leaves(default)] == [np.shape(leaf) for leaf in made]
