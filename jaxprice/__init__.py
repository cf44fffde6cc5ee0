"""jaxprice: dynamic pricing and bandits at scale.

State a market, state a policy, and get a trustworthy answer: regret with confidence intervals against the exact optimum,
over thousands of markets, in seconds.
"""

from typing import TYPE_CHECKING

from jaxprice import demand, envs, invariants, lazy, plot, policies, stats
from jaxprice.devices import use_cpu_cores
from jaxprice.environment import Environment
from jaxprice.envs import list_envs, make
from jaxprice.simulate import rollout, simulate
from jaxprice.types import (
    ActFn,
    Discrete,
    InitFn,
    Interval,
    Oracle,
    Policy,
    Problem,
    Subset,
    Transition,
    UpdateFn,
)

if TYPE_CHECKING:
    from jaxprice import agents, compat, data, experiment, explain, live, ope, oracles
    from jaxprice.ope import record

_LATER = ("agents", "compat", "data", "experiment", "explain", "live", "ope", "oracles")  # imported at first use
__getattr__, __dir__ = lazy.modules(__name__, _LATER, {"record": "ope"})

__all__ = [
    "ActFn",
    "Discrete",
    "Environment",
    "InitFn",
    "Interval",
    "Oracle",
    "Policy",
    "Problem",
    "Subset",
    "Transition",
    "UpdateFn",
    "agents",
    "compat",
    "data",
    "demand",
    "envs",
    "experiment",
    "explain",
    "invariants",
    "list_envs",
    "live",
    "make",
    "ope",
    "oracles",
    "plot",
    "policies",
    "record",
    "rollout",
    "simulate",
    "stats",
    "use_cpu_cores",
]

__version__ = "0.1.0"
