"""Policies, one algorithm a file: functions that return a `Policy(init, act, update)`.

`jaxprice.policies.ucb1(scale=2.0)` makes a policy; `list()` names all of them, and `cards()` describes each. The file of a
policy is in the folder of its family: `jaxprice.policies.stochastic.ucb1` is the module.

A new policy is a file in one of these folders, whose function is decorated with `registry.policy_maker`, and a line below.
"""

from jaxprice import checks
from jaxprice.policies import registry
from jaxprice.policies.adversarial.exp3 import exp3 as exp3
from jaxprice.policies.adversarial.exp3_ix import exp3_ix as exp3_ix
from jaxprice.policies.adversarial.exp3_p import exp3_p as exp3_p
from jaxprice.policies.adversarial.exp3_s import exp3_s as exp3_s
from jaxprice.policies.adversarial.tsallis_inf import tsallis_inf as tsallis_inf
from jaxprice.policies.benchmarks.fixed_price import fixed_price as fixed_price
from jaxprice.policies.benchmarks.oracle import oracle as oracle
from jaxprice.policies.benchmarks.prior_thompson import prior_thompson as prior_thompson
from jaxprice.policies.benchmarks.random_price import random_price as random_price
from jaxprice.policies.contextual.bayesian_linear import bayesian_linear as bayesian_linear
from jaxprice.policies.contextual.bootstrapped import bootstrapped as bootstrapped
from jaxprice.policies.contextual.contextual_epsilon_greedy import contextual_epsilon_greedy as contextual_epsilon_greedy
from jaxprice.policies.contextual.exp4 import exp4 as exp4
from jaxprice.policies.contextual.glm_ucb import glm_ucb as glm_ucb
from jaxprice.policies.contextual.lin_ts import lin_ts as lin_ts
from jaxprice.policies.contextual.lin_ucb import lin_ucb as lin_ucb
from jaxprice.policies.contextual.logistic_thompson import logistic_thompson as logistic_thompson
from jaxprice.policies.contextual.neural_linear import neural_linear as neural_linear
from jaxprice.policies.contextual.neural_thompson import neural_thompson as neural_thompson
from jaxprice.policies.contextual.neural_ucb import neural_ucb as neural_ucb
from jaxprice.policies.contextual.random_features import random_features as random_features
from jaxprice.policies.gradient.bandit_gradient import bandit_gradient as bandit_gradient
from jaxprice.policies.gradient.kiefer_wolfowitz import kiefer_wolfowitz as kiefer_wolfowitz
from jaxprice.policies.gradient.zooming import zooming as zooming
from jaxprice.policies.inventory.blind_network import blind_network as blind_network
from jaxprice.policies.inventory.blind_pricing import blind_pricing as blind_pricing
from jaxprice.policies.inventory.dp_pricing import dp_pricing as dp_pricing
from jaxprice.policies.inventory.lp_resolving import lp_resolving as lp_resolving
from jaxprice.policies.inventory.lp_ucb import lp_ucb as lp_ucb
from jaxprice.policies.inventory.primal_dual_bwk import primal_dual_bwk as primal_dual_bwk
from jaxprice.policies.inventory.run_out_price import run_out_price as run_out_price
from jaxprice.policies.inventory.ts_fixed import ts_fixed as ts_fixed
from jaxprice.policies.inventory.ts_update import ts_update as ts_update
from jaxprice.policies.moving.change_point_least_squares import change_point_least_squares as change_point_least_squares
from jaxprice.policies.moving.cusum_ucb import cusum_ucb as cusum_ucb
from jaxprice.policies.moving.discounted_least_squares import discounted_least_squares as discounted_least_squares
from jaxprice.policies.moving.discounted_thompson import discounted_thompson as discounted_thompson
from jaxprice.policies.moving.discounted_ucb import discounted_ucb as discounted_ucb
from jaxprice.policies.moving.glr_kl_ucb import glr_kl_ucb as glr_kl_ucb
from jaxprice.policies.moving.moving_window_least_squares import moving_window_least_squares as moving_window_least_squares
from jaxprice.policies.moving.rexp3 import rexp3 as rexp3
from jaxprice.policies.moving.sliding_window_thompson import sliding_window_thompson as sliding_window_thompson
from jaxprice.policies.moving.sliding_window_ucb import sliding_window_ucb as sliding_window_ucb
from jaxprice.policies.parametric.bayesian_linear_pricing import bayesian_linear_pricing as bayesian_linear_pricing
from jaxprice.policies.parametric.besbes_zeevi_linear import besbes_zeevi_linear as besbes_zeevi_linear
from jaxprice.policies.parametric.constrained_least_squares import constrained_least_squares as constrained_least_squares
from jaxprice.policies.parametric.controlled_variance import controlled_variance as controlled_variance
from jaxprice.policies.parametric.deterministic_testing import deterministic_testing as deterministic_testing
from jaxprice.policies.parametric.iterated_least_squares import iterated_least_squares as iterated_least_squares
from jaxprice.policies.parametric.mle_cycle import mle_cycle as mle_cycle
from jaxprice.policies.parametric.mle_greedy import mle_greedy as mle_greedy
from jaxprice.policies.parametric.o3fu import o3fu as o3fu
from jaxprice.policies.parametric.slow_moving import slow_moving as slow_moving
from jaxprice.policies.personal.ellipsoid_pricing import ellipsoid_pricing as ellipsoid_pricing
from jaxprice.policies.personal.emlp import emlp as emlp
from jaxprice.policies.personal.etc_glm import etc_glm as etc_glm
from jaxprice.policies.personal.glm_greedy import glm_greedy as glm_greedy
from jaxprice.policies.personal.onsp import onsp as onsp
from jaxprice.policies.personal.perturbed_pricing import perturbed_pricing as perturbed_pricing
from jaxprice.policies.personal.private_pricing import private_pricing as private_pricing
from jaxprice.policies.personal.private_quadrisection import private_quadrisection as private_quadrisection
from jaxprice.policies.personal.random_price_shocks import random_price_shocks as random_price_shocks
from jaxprice.policies.personal.rmlp import rmlp as rmlp
from jaxprice.policies.personal.rmlp2 import rmlp2 as rmlp2
from jaxprice.policies.posted_price.gp_thompson import gp_thompson as gp_thompson
from jaxprice.policies.posted_price.gp_ucb import gp_ucb as gp_ucb
from jaxprice.policies.posted_price.kleinberg_leighton import kleinberg_leighton as kleinberg_leighton
from jaxprice.policies.posted_price.monotone_ucb import monotone_ucb as monotone_ucb
from jaxprice.policies.posted_price.ucb_pi import ucb_pi as ucb_pi
from jaxprice.policies.posted_price.valuation_search import valuation_search as valuation_search
from jaxprice.policies.products.mnl_newton import mnl_newton as mnl_newton
from jaxprice.policies.products.mnl_thompson import mnl_thompson as mnl_thompson
from jaxprice.policies.products.mnl_ucb import mnl_ucb as mnl_ucb
from jaxprice.policies.products.opok import opok as opok
from jaxprice.policies.products.opol import opol as opol
from jaxprice.policies.registry import Card as Card
from jaxprice.policies.registry import cards as cards
from jaxprice.policies.registry import describe as describe
from jaxprice.policies.related.hierarchical_thompson import hierarchical_thompson as hierarchical_thompson
from jaxprice.policies.related.meta_dynamic_pricing import meta_dynamic_pricing as meta_dynamic_pricing
from jaxprice.policies.related.meta_thompson import meta_thompson as meta_thompson
from jaxprice.policies.stochastic.bayes_ucb import bayes_ucb as bayes_ucb
from jaxprice.policies.stochastic.boltzmann import boltzmann as boltzmann
from jaxprice.policies.stochastic.epsilon_greedy import epsilon_greedy as epsilon_greedy
from jaxprice.policies.stochastic.explore_then_commit import explore_then_commit as explore_then_commit
from jaxprice.policies.stochastic.gaussian_thompson import gaussian_thompson as gaussian_thompson
from jaxprice.policies.stochastic.gittins import gittins as gittins
from jaxprice.policies.stochastic.gradient_bandit import gradient_bandit as gradient_bandit
from jaxprice.policies.stochastic.imed import imed as imed
from jaxprice.policies.stochastic.information_directed import information_directed as information_directed
from jaxprice.policies.stochastic.kl_ucb import kl_ucb as kl_ucb
from jaxprice.policies.stochastic.kl_ucb_gaussian import kl_ucb_gaussian as kl_ucb_gaussian
from jaxprice.policies.stochastic.moss import moss as moss
from jaxprice.policies.stochastic.optimistic_thompson import optimistic_thompson as optimistic_thompson
from jaxprice.policies.stochastic.successive_elimination import successive_elimination as successive_elimination
from jaxprice.policies.stochastic.thompson import thompson as thompson
from jaxprice.policies.stochastic.ucb1 import ucb1 as ucb1
from jaxprice.policies.stochastic.ucb_tuned import ucb_tuned as ucb_tuned
from jaxprice.policies.stochastic.ucb_v import ucb_v as ucb_v
from jaxprice.policies.tabular.expected_sarsa import expected_sarsa as expected_sarsa
from jaxprice.policies.tabular.q_learning import q_learning as q_learning
from jaxprice.policies.tabular.sarsa import sarsa as sarsa
from jaxprice.policies.wrappers.batched import batched as batched
from jaxprice.policies.wrappers.delayed import delayed as delayed
from jaxprice.policies.wrappers.detectors import cusum as cusum
from jaxprice.policies.wrappers.detectors import page_hinkley as page_hinkley
from jaxprice.policies.wrappers.discounted import discounted as discounted
from jaxprice.policies.wrappers.guarded import guarded as guarded
from jaxprice.policies.wrappers.mixture import mixture as mixture
from jaxprice.policies.wrappers.per_context import per_context as per_context
from jaxprice.policies.wrappers.per_product import per_product as per_product
from jaxprice.policies.wrappers.restart_on import restart_on as restart_on
from jaxprice.policies.wrappers.sellers import sellers as sellers
from jaxprice.policies.wrappers.warm import warm as warm

__all__ = [*sorted(["Card", "cards", "describe", "list", "make", *registry.names()])]  # pyright: ignore[reportUnsupportedDunderAll]


def list():
    """Names of all policies, sorted."""
    return sorted(registry.makers())


def make(name, **options):
    """A policy by name; `make("ucb1", scale=1.0)` is `ucb1(scale=1.0)`.

    Raises:
      ValueError: an unknown name (the message names the closest match), or bad options.
    """
    known = registry.makers()
    return known[checks.choice("policy", name, known)](**options)


def __getattr__(name):
    if name.startswith("_"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return checks.choice("policy", name, __all__)
    except ValueError as error:
        raise AttributeError(f"module {__name__!r}: {error}") from None
