"""Off-policy evaluation: what a policy would have earned, from the log of another one, with an interval."""

from jaxprice.ope.diagnostics import Diagnostics, diagnostics, weight_diagnostics
from jaxprice.ope.estimate import Estimate
from jaxprice.ope.estimated import estimated_propensities
from jaxprice.ope.estimators import (
    clipped_ips,
    direct_method,
    doubly_robust,
    fitted_q,
    ips,
    kernel_dr,
    kernel_ips,
    marginalised,
    per_decision,
    replay,
    self_normalised_dr,
    shrunk_dr,
    snips,
    switch_dr,
    table_features,
)
from jaxprice.ope.evaluate import evaluate
from jaxprice.ope.intervals import bootstrap, bootstrap_pairs, clt, empirical_bernstein
from jaxprice.ope.learning import Choice, LearnedPolicy, best_policy, learn_policy
from jaxprice.ope.log import DecisionLog
from jaxprice.ope.propensities import propensities
from jaxprice.ope.record import record
from jaxprice.ope.reward_model import price_model, reward_model
from jaxprice.ope.target import target
from jaxprice.ope.weights import importance_weights

__all__ = [
    "Choice",
    "DecisionLog",
    "Diagnostics",
    "Estimate",
    "LearnedPolicy",
    "best_policy",
    "bootstrap",
    "bootstrap_pairs",
    "clipped_ips",
    "clt",
    "diagnostics",
    "direct_method",
    "doubly_robust",
    "empirical_bernstein",
    "estimated_propensities",
    "evaluate",
    "fitted_q",
    "importance_weights",
    "ips",
    "kernel_dr",
    "kernel_ips",
    "learn_policy",
    "marginalised",
    "per_decision",
    "price_model",
    "propensities",
    "record",
    "replay",
    "reward_model",
    "self_normalised_dr",
    "shrunk_dr",
    "snips",
    "switch_dr",
    "table_features",
    "target",
    "weight_diagnostics",
]
