"""Agents of other libraries as policies: `from_act` wraps the function by which a trained agent acts.

    act = ppo.make_act(state)                                    # rejax: (observation, key) -> action
    policy = agents.from_act(act, takes=("observation", "key"))
    jaxprice.simulate(env, policy, lanes=1000, horizon=30, params=params)

The agent sees what it saw in the views of `jaxprice.compat`: the observation as one flat vector. If it was trained on a view
with `normalised=True`, give the view's `normal_observation` as `see`. What it returns is turned into an action of the market
as in the views: an index, a price of shape `[1]`, prices `[n]`, or weights of products; prices are cut at the market's
interval. The function is compiled, so it must be made of JAX operations; others can be called through `jax.pure_callback`.
"""

import inspect

import jax
import jax.numpy as jnp

from jaxprice import checks
from jaxprice.types import Discrete, Interval, Policy, to_action

TAKEN = {1: ("observation",), 2: ("key", "observation"), 3: ("params", "key", "observation")}


def from_act(act, params=None, *, takes=None, see=None):
    """A trained agent of another library as a `Policy`, which does not learn any more.

    Args:
      act: function that returns the action; its positional arguments are `takes`.
      params: what the agent has learned, a pytree, if `act` takes it.
      takes: names of the arguments of `act` in their order, of "observation", "key" and "params". By default the last of
        ("params", "key", "observation"), as many as `act` has.
      see: function of the flat observation, float `[size]`, whose result the agent sees; by default the observation itself.

    Returns:
      The policy.

    Raises:
      ValueError: an argument is wrong; when it plays, `act` cannot take the observation, or returns no action of the market.
    """
    if not callable(act):
        raise ValueError(f"act must be a function, got {checks.shown(act)}")
    if not callable(see) and see is not None:
        raise ValueError(f"see must be a function of an observation, got {checks.shown(see)}")
    takes = _taken(act) if takes is None else takes
    if not isinstance(takes, tuple | list) or len(set(map(str, takes))) != len(takes):
        raise ValueError(f"takes must be names of arguments in their order, each once, got {checks.shown(takes)}")
    takes = tuple(checks.choice("argument in takes", name, TAKEN[3]) for name in takes)
    if "observation" not in takes:
        raise ValueError(f"takes must have 'observation', got {takes}")
    if ("params" in takes) != (params is not None):
        raise ValueError(
            f"params must be given if act takes it, and only then: act takes {takes}, got {checks.shown(params)}"
        )

    def action(key, space, observation):
        flat = jnp.concatenate([jnp.ravel(x).astype(jnp.float32) for x in jax.tree.leaves(observation)])
        given = {"observation": flat if see is None else see(flat), "key": key, "params": params}
        chosen = act(*[given[name] for name in takes])
        _check(chosen, space)
        return to_action(space, chosen)

    def init(key, problem):
        if problem.observation is not None:
            jax.eval_shape(lambda: action(key, problem.action_space, problem.observation))
        return problem

    def choose(key, state, observation):
        one = action(key, state.action_space, observation)
        return jnp.clip(one, state.low, state.high) if isinstance(state.action_space, Interval) else one

    def update(key, state, transition):
        del key, transition
        return state

    return Policy(init, choose, update)


def _taken(act):
    """The arguments of a function, by their number."""
    try:
        parameters = inspect.signature(act).parameters.values()
    except (TypeError, ValueError):
        raise ValueError(f"takes must name the arguments of act, {checks.shown(act)} does not tell them") from None
    count = sum(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and p.default is p.empty for p in parameters)
    if count not in TAKEN:
        raise ValueError(f"takes must name the arguments of act, which has {count} without a default")
    return TAKEN[count]


def _check(chosen, space):
    """Raise if what an agent returns is no action of the market.

    Raises:
      ValueError: it is not.
    """
    wanted = 1
    for size in space.shape:
        wanted *= size
    leaves = jax.tree.leaves(chosen)
    got = sum(int(jnp.size(x)) for x in leaves)
    whole = all(jnp.issubdtype(jnp.result_type(x), jnp.integer) for x in leaves)
    if got != wanted or (isinstance(space, Discrete) and not whole):
        shown = ", ".join(f"{jnp.result_type(x)}{list(jnp.shape(x))}" for x in leaves)
        what = "integer" if isinstance(space, Discrete) else "number"
        raise ValueError(f"act must return an action of {space}, {wanted} {what}(s), got {shown}")
