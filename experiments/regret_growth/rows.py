"""The rows of the growth of regret: a policy, the market of its paper, and the theoretical rate."""

import numpy as np

import jaxprice
from jaxprice import policies
from jaxprice.policies.parts import recent

ACROSS = (  # the policy or the market depends on the horizon
    "exp3",
    "exp3_ix",
    "exp3_p",
    "exp3_s",
    "rexp3",
    "ucb1, after a change",
    "sliding_window_ucb",
    "discounted_ucb",
    "discounted_thompson",
    "sliding_window_thompson",
    "cusum_ucb",
    "glr_kl_ucb",
    "ts_update",
    "ts_fixed",
    "blind_network",
    "primal_dual_bwk",
    "lp_ucb",
    "thompson, stock ignored",
    "kleinberg_leighton",
    "kleinberg_leighton, adversarial",
    "moving_window_least_squares",
    "discounted_least_squares",
    "change_point_least_squares",
    "opok",
    "opol",
    "private_quadrisection",
    "private_quadrisection, no noise",
)

ARMS = ("BernoulliBandit", {"means": [0.3, 0.4, 0.5, 0.6]})
LINE = ("ParametricDemand", {"family": "keskin_zeevi"})
SPREAD = ("BernoulliBandit", {"num_arms": 10})
ELASTIC = ("GLMDemand", {"link": "linear", "num_prices": 6, "low": 0.5, "dimension": 3})
BUYERS = ("GLMDemand", {"instance": "S1", "num_prices": 10, "dimension": 3})
LOGIT = ("ParametricDemand", {"family": "logit", "parameters": (1.0, -1.0)})
FALLING = ("PostedPrice", {"demand": "linear", "num_prices": 20})
SHOWN = ("MNLAssortment", {})
PRIVATE = {"link": "linear", "num_prices": 5, "low": 0.5, "dimension": 1, "context": "unit", "alpha": [0.9], "beta": [0.28]}
PRIVATE = ("GLMDemand", PRIVATE)
CUBES = {"link": "linear", "context": "uniform", "low": 0.5, "high": 4.5, "noise_scale": 0.058}
CUBES = ("GLMDemand", CUBES | {"alpha": [0.9, 0.78, 0.78], "beta": [0.2, 0.0, 0.0]})


def rows(horizon):
    """Name -> (policy, market, expected rate)."""
    base = jaxprice.make("BernoulliBandit", num_arms=2)[0]
    rise = [base.params_of(np.float32(means)) for means in ([0.7, 0.1], [0.7, 1.0])]
    change = ("NonStationary", {"market": base, "markets": rise, "changes": [horizon // 2], "horizon": horizon})
    drift = ("NonStationary", {"market": "BernoulliBandit", "kind": "drift", "budget": 1.0, "horizon": horizon})
    stock, root = ("FiniteInventory", {"horizon": horizon, "stock": horizon // 4}), horizon**0.5
    line = {"demand": jaxprice.demand.Linear(9.0, 4.5), "num_prices": None, "low": 0.7, "high": 1.25}
    steep = ("PostedPrice", line | {"noise": "gaussian", "noise_scale": 0.1})
    any_price = ("PostedPrice", {"demand": "linear", "num_prices": None, "low": 0.0, "high": 1.0})
    one_value = any_price[1] | {"demand": jaxprice.demand.UniformValuation(0.637, 0.637001)}
    base, _ = jaxprice.make("ParametricDemand", family="keskin_zeevi")
    lines = [base.params_at(np.float32(numbers)) for numbers in ((1.0, 0.6), (1.2, 0.4))]
    turn = ("NonStationary", {"market": base, "markets": lines, "changes": [horizon // 2], "horizon": horizon})
    many = {"num_products": 20, "rank": 2, "noise_scale": 1.0}
    similar = {"market": "GaussianBandit", "options": {"num_arms": 4, "stds": 0.5}, "similarity": 0.7}
    similar = jaxprice.make("RelatedProducts", **similar)[0]
    in_turns = ("NonStationary", {"market": similar, "kind": "calendar", "num_markets": 20, "horizon": horizon})
    in_sequence = ("NonStationary", {"market": similar, "num_markets": 40, "horizon": horizon})
    greedy = dict(bins=1, discount=0.0, rate=1.0, power=1.0, exploration="harmonic", epsilon=1.0, decay=0.02)
    cubes = dict(horizon=horizon, features=2, highest=3**-0.5)
    return {
        "ucb1": (policies.ucb1(), ARMS, "log T"),
        "kl_ucb": (policies.kl_ucb(), ARMS, "log T"),
        "thompson": (policies.thompson(), ARMS, "log T"),
        "epsilon_greedy": (policies.epsilon_greedy(), ARMS, "T"),
        "exp3": (policies.exp3(), ARMS, "T^1/2"),
        "ucb_v": (policies.ucb_v(c=0.1), SPREAD, "log T"),
        "moss": (policies.moss(), SPREAD, "(K T)^1/2 at worst"),
        "imed": (policies.imed(), SPREAD, "log T"),
        "bayes_ucb": (policies.bayes_ucb(), SPREAD, "log T"),
        "successive_elimination": (policies.successive_elimination(scale=0.1), SPREAD, "log T"),
        "boltzmann": (policies.boltzmann(), SPREAD, "T"),
        "boltzmann, gumbel": (policies.boltzmann(schedule="gumbel"), SPREAD, "log^2 T"),
        "gradient_bandit": (policies.gradient_bandit(), SPREAD, "log T for small steps"),
        "optimistic_thompson": (policies.optimistic_thompson(), SPREAD, "log T"),
        "information_directed": (policies.information_directed(), SPREAD, "T^1/2"),
        "gittins": (policies.gittins(discount=0.99), SPREAD, "T: it stops exploring"),
        "kl_ucb_gaussian": (policies.kl_ucb_gaussian(), SPREAD, "log T"),
        "exp3_ix": (policies.exp3_ix(), SPREAD, "T^1/2"),
        "exp3_p": (policies.exp3_p(), SPREAD, "T^1/2 log T"),
        "tsallis_inf": (policies.tsallis_inf(), SPREAD, "log T"),
        "ucb1, after a change": (policies.ucb1(scale=0.5), change, "T: it does not notice"),
        "sliding_window_ucb": (policies.sliding_window_ucb(window=recent.tuned_window(horizon)), change, "T^1/2 log T"),
        "discounted_ucb": (policies.discounted_ucb(), change, "T^1/2 log T"),
        "discounted_thompson": (policies.discounted_thompson(discount=1 - 0.25 / root), change, "T^1/2, not proved"),
        "sliding_window_thompson": (policies.sliding_window_thompson(window=round(root)), change, "T^1/2 log T"),
        "exp3_s": (policies.exp3_s(), change, "T^1/2 log T"),
        "rexp3": (policies.rexp3(), drift, "T^2/3"),
        "cusum_ucb": (policies.cusum_ucb(reference=20, tolerance=0.05), change, "T^1/2 log T"),
        "glr_kl_ucb": (policies.glr_kl_ucb(), change, "T^1/2 log T"),
        "lin_ucb": (policies.lin_ucb(form="joint"), ELASTIC, "T^1/2"),
        "lin_ts": (policies.lin_ts(form="joint", ridge=0.01), ELASTIC, "T^1/2"),
        "contextual_epsilon_greedy": (policies.contextual_epsilon_greedy(), ELASTIC, "T^2/3"),
        "bayesian_linear": (policies.bayesian_linear(form="joint"), ELASTIC, "T^1/2"),
        "bootstrapped": (policies.bootstrapped(), ELASTIC, "T^1/2"),
        "glm_ucb": (policies.glm_ucb(), BUYERS, "T^1/2"),
        "logistic_thompson": (policies.logistic_thompson(), BUYERS, "T^1/2"),
        "exp4": (policies.exp4(), ELASTIC, "T at a fixed horizon"),
        "ts_update": (policies.ts_update(), stock, "T^1/2"),
        "ts_fixed": (policies.ts_fixed(), stock, "T^1/2"),
        "blind_network": (policies.blind_network(), stock, "T^2/3"),
        "primal_dual_bwk": (policies.primal_dual_bwk(confidence=0.05), stock, "T^1/2"),
        "lp_ucb": (policies.lp_ucb(confidence=0.05), stock, "T^1/2"),
        "thompson, stock ignored": (policies.thompson(), stock, "T: a quarter of the revenue"),
        "iterated_least_squares": (policies.iterated_least_squares(), LINE, "T: it gets stuck"),
        "constrained_least_squares": (policies.constrained_least_squares(), LINE, "T^1/2 log T"),
        "deterministic_testing": (policies.deterministic_testing(), LINE, "T^1/2 log T"),
        "deterministic_testing, references": (
            policies.deterministic_testing(),
            ("ReferencePrice", {}),
            "T: biased for ever",
        ),
        "controlled_variance": (policies.controlled_variance(), steep, "T^1/2"),
        "mle_cycle": (policies.mle_cycle(), LOGIT, "T^1/2"),
        "mle_greedy": (policies.mle_greedy(), ("ParametricDemand", {"family": "separated_logit"}), "log T"),
        "besbes_zeevi_linear": (policies.besbes_zeevi_linear(), LINE, "T^1/2"),
        "bayesian_linear_pricing": (policies.bayesian_linear_pricing(), LINE, "T^1/2 log T"),
        "kiefer_wolfowitz": (policies.kiefer_wolfowitz(), LINE, "T^1/2"),
        "bandit_gradient": (policies.bandit_gradient(), LINE, "T^3/4"),
        "kleinberg_leighton": (policies.kleinberg_leighton(horizon=horizon), any_price, "T^1/2 log^1/2 T"),
        "kleinberg_leighton, adversarial": (
            policies.kleinberg_leighton(horizon=horizon, valuations="adversarial"),
            any_price,
            "at most T^2/3",
        ),
        "valuation_search": (policies.valuation_search(), ("PostedPrice", one_value), "log log T"),
        "monotone_ucb": (policies.monotone_ucb(scale=0.5), FALLING, "log T"),
        "gp_ucb": (policies.gp_ucb(), FALLING, "at most T^1/2"),
        "gp_thompson, monotone": (policies.gp_thompson(monotone=True), FALLING, "at most T^1/2"),
        "q_learning": (policies.q_learning(**greedy), ARMS, "log T"),
        "neural_ucb": (policies.neural_ucb(), BUYERS, "T^1/2"),
        "neural_thompson": (policies.neural_thompson(), BUYERS, "T^1/2"),
        "random_features": (policies.random_features(), BUYERS, "T^1/2, and a linear part"),
        "neural_linear": (policies.neural_linear(), BUYERS, "T, small"),
        "moving_window_least_squares": (
            policies.moving_window_least_squares(window=round(horizon ** (2 / 3))),
            turn,
            "T^2/3",
        ),
        "discounted_least_squares": (policies.discounted_least_squares(), turn, "T^2/3"),
        "change_point_least_squares": (policies.change_point_least_squares(), turn, "T^1/2 log T"),
        "slow_moving": (policies.slow_moving(gap=0.2), ("ReferencePrice", {}), "T^1/2"),
        "mnl_ucb": (policies.mnl_ucb(scale=1.0), SHOWN, "at most T^1/2"),
        "mnl_thompson": (policies.mnl_thompson(), SHOWN, "at most T^1/2"),
        "mnl_newton": (policies.mnl_newton(), ("MNLPricing", {}), "T^1/2"),
        "opok": (policies.opok(), ("LowRankDemand", many | {"features_known": True}), "T^3/4"),
        "opol": (policies.opol(rank=2), ("LowRankDemand", many), "T^3/4"),
        "hierarchical_thompson": (policies.hierarchical_thompson(20, "turns"), in_turns, "T^1/2 at worst"),
        "meta_thompson": (policies.meta_thompson(40), in_sequence, "T: linear in the number of products"),
        "o3fu": (policies.o3fu(width=0.3), LINE, "T^1/2"),
        "private_pricing": (
            policies.private_pricing(epsilon=10.0, radius=1.0),
            PRIVATE,
            "T^1/2, not reached: random prices lose less up to T = 8,000 at least",
        ),
        "private_quadrisection": (policies.private_quadrisection(epsilon=10.0, **cubes), CUBES, "T^2/3 + T^1/3 / epsilon"),
        "private_quadrisection, no noise": (policies.private_quadrisection(epsilon=None, **cubes), CUBES, "T^2/3"),
        "zooming": (policies.zooming(scale=0.2), ("PostedPrice", {"demand": "linear", "num_prices": None}), "T^3/5"),
    }
