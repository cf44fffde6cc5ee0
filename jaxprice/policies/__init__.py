"""Policies, one algorithm a file: functions that return a `Policy(init, act, update)`.

`jaxprice.policies.ucb1(scale=2.0)` makes one; `list()` names them all, and `cards()` says what each is.
"""

from jaxprice import checks
from jaxprice.policies.bandit_gradient import bandit_gradient
from jaxprice.policies.batched import batched
from jaxprice.policies.bayes_ucb import bayes_ucb
from jaxprice.policies.bayesian_linear import bayesian_linear
from jaxprice.policies.bayesian_linear_pricing import bayesian_linear_pricing
from jaxprice.policies.besbes_zeevi_linear import besbes_zeevi_linear
from jaxprice.policies.blind_network import blind_network
from jaxprice.policies.blind_pricing import blind_pricing
from jaxprice.policies.boltzmann import boltzmann
from jaxprice.policies.bootstrapped import bootstrapped
from jaxprice.policies.change_point_least_squares import change_point_least_squares
from jaxprice.policies.constrained_least_squares import constrained_least_squares
from jaxprice.policies.contextual_epsilon_greedy import contextual_epsilon_greedy
from jaxprice.policies.controlled_variance import controlled_variance
from jaxprice.policies.cusum_ucb import cusum_ucb
from jaxprice.policies.delayed import delayed
from jaxprice.policies.detectors import cusum, page_hinkley
from jaxprice.policies.deterministic_testing import deterministic_testing
from jaxprice.policies.discounted import discounted
from jaxprice.policies.discounted_least_squares import discounted_least_squares
from jaxprice.policies.discounted_thompson import discounted_thompson
from jaxprice.policies.discounted_ucb import discounted_ucb
from jaxprice.policies.dp_pricing import dp_pricing
from jaxprice.policies.ellipsoid_pricing import ellipsoid_pricing
from jaxprice.policies.emlp import emlp
from jaxprice.policies.epsilon_greedy import epsilon_greedy
from jaxprice.policies.etc_glm import etc_glm
from jaxprice.policies.exp3 import exp3
from jaxprice.policies.exp3_ix import exp3_ix
from jaxprice.policies.exp3_p import exp3_p
from jaxprice.policies.exp3_s import exp3_s
from jaxprice.policies.exp4 import exp4
from jaxprice.policies.expected_sarsa import expected_sarsa
from jaxprice.policies.explore_then_commit import explore_then_commit
from jaxprice.policies.fixed_price import fixed_price
from jaxprice.policies.gaussian_thompson import gaussian_thompson
from jaxprice.policies.gittins import gittins
from jaxprice.policies.glm_greedy import glm_greedy
from jaxprice.policies.glm_ucb import glm_ucb
from jaxprice.policies.glr_kl_ucb import glr_kl_ucb
from jaxprice.policies.gp_thompson import gp_thompson
from jaxprice.policies.gp_ucb import gp_ucb
from jaxprice.policies.gradient_bandit import gradient_bandit
from jaxprice.policies.guarded import guarded
from jaxprice.policies.hierarchical_thompson import hierarchical_thompson
from jaxprice.policies.imed import imed
from jaxprice.policies.information_directed import information_directed
from jaxprice.policies.iterated_least_squares import iterated_least_squares
from jaxprice.policies.kiefer_wolfowitz import kiefer_wolfowitz
from jaxprice.policies.kl_ucb import kl_ucb
from jaxprice.policies.kl_ucb_gaussian import kl_ucb_gaussian
from jaxprice.policies.kleinberg_leighton import kleinberg_leighton
from jaxprice.policies.lin_ts import lin_ts
from jaxprice.policies.lin_ucb import lin_ucb
from jaxprice.policies.logistic_thompson import logistic_thompson
from jaxprice.policies.lp_resolving import lp_resolving
from jaxprice.policies.lp_ucb import lp_ucb
from jaxprice.policies.meta_dynamic_pricing import meta_dynamic_pricing
from jaxprice.policies.meta_thompson import meta_thompson
from jaxprice.policies.mixture import mixture
from jaxprice.policies.mle_cycle import mle_cycle
from jaxprice.policies.mle_greedy import mle_greedy
from jaxprice.policies.mnl_newton import mnl_newton
from jaxprice.policies.mnl_thompson import mnl_thompson
from jaxprice.policies.mnl_ucb import mnl_ucb
from jaxprice.policies.monotone_ucb import monotone_ucb
from jaxprice.policies.moss import moss
from jaxprice.policies.moving_window_least_squares import moving_window_least_squares
from jaxprice.policies.neural_linear import neural_linear
from jaxprice.policies.neural_thompson import neural_thompson
from jaxprice.policies.neural_ucb import neural_ucb
from jaxprice.policies.o3fu import o3fu
from jaxprice.policies.onsp import onsp
from jaxprice.policies.opok import opok
from jaxprice.policies.opol import opol
from jaxprice.policies.optimistic_thompson import optimistic_thompson
from jaxprice.policies.oracle import oracle
from jaxprice.policies.per_context import per_context
from jaxprice.policies.per_product import per_product
from jaxprice.policies.perturbed_pricing import perturbed_pricing
from jaxprice.policies.primal_dual_bwk import primal_dual_bwk
from jaxprice.policies.prior_thompson import prior_thompson
from jaxprice.policies.private_pricing import private_pricing
from jaxprice.policies.private_quadrisection import private_quadrisection
from jaxprice.policies.q_learning import q_learning
from jaxprice.policies.random_features import random_features
from jaxprice.policies.random_price import random_price
from jaxprice.policies.random_price_shocks import random_price_shocks
from jaxprice.policies.registry import Card, cards, describe, makers
from jaxprice.policies.restart_on import restart_on
from jaxprice.policies.rexp3 import rexp3
from jaxprice.policies.rmlp import rmlp
from jaxprice.policies.rmlp2 import rmlp2
from jaxprice.policies.run_out_price import run_out_price
from jaxprice.policies.sarsa import sarsa
from jaxprice.policies.sellers import sellers
from jaxprice.policies.sliding_window_thompson import sliding_window_thompson
from jaxprice.policies.sliding_window_ucb import sliding_window_ucb
from jaxprice.policies.slow_moving import slow_moving
from jaxprice.policies.successive_elimination import successive_elimination
from jaxprice.policies.thompson import thompson
from jaxprice.policies.ts_fixed import ts_fixed
from jaxprice.policies.ts_update import ts_update
from jaxprice.policies.tsallis_inf import tsallis_inf
from jaxprice.policies.ucb1 import ucb1
from jaxprice.policies.ucb_pi import ucb_pi
from jaxprice.policies.ucb_tuned import ucb_tuned
from jaxprice.policies.ucb_v import ucb_v
from jaxprice.policies.valuation_search import valuation_search
from jaxprice.policies.zooming import zooming

__all__ = [
    "Card",
    "bandit_gradient",
    "batched",
    "bayes_ucb",
    "bayesian_linear",
    "bayesian_linear_pricing",
    "besbes_zeevi_linear",
    "blind_network",
    "blind_pricing",
    "boltzmann",
    "bootstrapped",
    "cards",
    "change_point_least_squares",
    "constrained_least_squares",
    "contextual_epsilon_greedy",
    "controlled_variance",
    "cusum",
    "cusum_ucb",
    "delayed",
    "describe",
    "deterministic_testing",
    "discounted",
    "discounted_least_squares",
    "discounted_thompson",
    "discounted_ucb",
    "dp_pricing",
    "ellipsoid_pricing",
    "emlp",
    "epsilon_greedy",
    "etc_glm",
    "exp3",
    "exp3_ix",
    "exp3_p",
    "exp3_s",
    "exp4",
    "expected_sarsa",
    "explore_then_commit",
    "fixed_price",
    "gaussian_thompson",
    "gittins",
    "glm_greedy",
    "glm_ucb",
    "glr_kl_ucb",
    "gp_thompson",
    "gp_ucb",
    "gradient_bandit",
    "guarded",
    "hierarchical_thompson",
    "imed",
    "information_directed",
    "iterated_least_squares",
    "kiefer_wolfowitz",
    "kl_ucb",
    "kl_ucb_gaussian",
    "kleinberg_leighton",
    "lin_ts",
    "lin_ucb",
    "list",
    "logistic_thompson",
    "lp_resolving",
    "lp_ucb",
    "make",
    "meta_dynamic_pricing",
    "meta_thompson",
    "mixture",
    "mle_cycle",
    "mle_greedy",
    "mnl_newton",
    "mnl_thompson",
    "mnl_ucb",
    "monotone_ucb",
    "moss",
    "moving_window_least_squares",
    "neural_linear",
    "neural_thompson",
    "neural_ucb",
    "o3fu",
    "onsp",
    "opok",
    "opol",
    "optimistic_thompson",
    "oracle",
    "page_hinkley",
    "per_context",
    "per_product",
    "perturbed_pricing",
    "primal_dual_bwk",
    "prior_thompson",
    "private_pricing",
    "private_quadrisection",
    "q_learning",
    "random_features",
    "random_price",
    "random_price_shocks",
    "restart_on",
    "rexp3",
    "rmlp",
    "rmlp2",
    "run_out_price",
    "sarsa",
    "sellers",
    "sliding_window_thompson",
    "sliding_window_ucb",
    "slow_moving",
    "successive_elimination",
    "thompson",
    "ts_fixed",
    "ts_update",
    "tsallis_inf",
    "ucb1",
    "ucb_pi",
    "ucb_tuned",
    "ucb_v",
    "valuation_search",
    "zooming",
]


def list():
    """Names of all policies, sorted."""
    return sorted(makers())


def make(name, **options):
    """A policy by name; `make("ucb1", scale=1.0)` is `ucb1(scale=1.0)`.

    Raises:
      ValueError: an unknown name (the message names the nearest), or bad options.
    """
    known = makers()
    return known[checks.choice("policy", name, known)](**options)


def __getattr__(name):
    if name.startswith("_"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return checks.choice("policy", name, __all__)
    except ValueError as error:
        raise AttributeError(f"module {__name__!r}: {error}") from None
