"""Conditions that every policy and every market must satisfy: `check_policy` and `check_market`, for your own ones.

The checks play some lanes for a few periods with compiled one-lane functions and the addressed keys of the engine. They test
the conditions below. The first one that fails raises a ValueError that says what failed, where and by how much.

| name | what must hold |
|---|---|
| "params" | drawn markets have the structure, shapes and types of the given one, so that compiled code serves both |
| "shapes" | states keep their structure, shapes and types, without random keys; actions have the type of the action space |
| "finite" | no state, observation or reward is infinite or NaN |
| "inside" | actions are in the action space (JAX would clamp an index out of range without an error) |
| "mask" | where a market forbids actions (`allowed`), one at least is allowed, and the oracle's is |
| "info" | `step_env` returns the entries that every market has, in the right shapes, counts periods, reaches the horizon |
| "vmap" | a lane gives the same numbers alone and among many |
| "plain" | plain code gives the same numbers as compiled code |
| "deterministic" | the same key gives the same numbers again |
| "keys" | no key is used twice |
| "one trace" | Python code runs once, and never again for other numbers |
| "law" | a policy's `probabilities`, if it has them, are those of its actions, within five standard errors |
| "engine" | `simulate` posts the same prices and sells the same units |
| "regret" | no action beats the oracle, whose own regret is zero; `optimal_reward` sums to the sum of reward plus regret |
| "mean" | the mean of rewards is within five standard errors of `expected_reward` |
"""

import jax
import jax.numpy as jnp
import numpy as np

from jaxprice import checks, policies, preparation, random
from jaxprice.game import Game, alike
from jaxprice.simulate import simulate
from jaxprice.types import Discrete, Oracle, Policy

ROUNDING = 2e-5  # tolerance for regret, in units of the oracle's reward
DRAWS = 2000  # of an action, to compare with its probability
AGAIN = ("vmap", "plain", "deterministic", "keys", "one trace")


def check_policy(policy, env, params=None, *, lanes=8, periods=12, seed=0):
    """Check a policy in a market of the kind that it is made for.

    Args:
      policy: the `Policy`.
      env: an environment.
      params: one market; None means the environment's default.
      lanes, periods: number of lanes and periods to play, at least two of each.
      seed: seed of all random numbers.

    Returns:
      Names of the conditions that were checked, a tuple.

    Raises:
      ValueError: a condition fails, or an argument is wrong.
    """
    if not isinstance(policy, Policy) or isinstance(policy, Oracle):
        hint = preparation.hint(policy)
        raise ValueError(f"policy must be a Policy that acts by itself, got {checks.shown(policy)}{hint}")
    lanes, periods, seed = _sizes(env, lanes, periods, seed)
    params = preparation.one_market(env, params, periods)
    many = jax.tree.map(lambda x: np.broadcast_to(x, (lanes, *np.shape(x))), params)
    game = Game(env, policy, many, lanes, periods, seed)
    game.play()
    for name in ("init", "act", "update"):
        game.functions[name].look_again(game.params, game.lanes)
    law = _check_law(game)
    _check_engine(game, params)
    return ("shapes", "finite", "inside", *AGAIN, *law, "engine")


def check_market(env, params=None, *, lanes=256, periods=12, attained=True, seed=0):
    """Check a market, both the given one and drawn ones, under a random seller and under the oracle.

    Args:
      env: the environment.
      params: one market; None means the environment's default.
      lanes, periods: number of lanes and periods to play, at least two of each.
      attained: whether the oracle can be attained. It is False if the oracle is only a bound, as in `NetworkRevenue`; then
        the regret of the oracle and the mean of rewards are not checked.
      seed: seed of all random numbers.

    Returns:
      Names of the conditions that were checked, a tuple.

    Raises:
      ValueError: a condition fails, or an argument is wrong.
    """
    lanes, periods, seed = _sizes(env, lanes, periods, seed)
    attained = checks.boolean("attained", attained)
    given, params = params, preparation.one_market(env, params, periods)
    drawn = jax.eval_shape(env.sample_params, jax.random.key(0))
    given = jax.tree.structure(drawn).flatten_up_to(env.solved(env.default_params() if given is None else given))
    given = jax.tree.unflatten(jax.tree.structure(drawn), [jnp.asarray(leaf) for leaf in given])
    alike("params", "markets drawn by sample_params differ from the one given", given, drawn)
    words = random.stream(seed, "market")
    sample = jax.jit(jax.vmap(lambda lane: jax.tree.map(jnp.asarray, env.sample_params(random.address(words, 0, lane)))))
    many = jax.device_get(sample(np.arange(lanes, dtype=np.uint32)))
    many = jax.tree.map(lambda x, mine: np.concatenate([np.asarray(mine, x.dtype)[None], x[1:]]), many, params)
    game = Game(env, policies.random_price(), many, lanes, periods, seed)
    best = Game(env, None, many, lanes, periods, seed)
    for one in (game, best):
        one.play(attained)
    for name in ("reset_env", "step_env"):
        game.functions[name].look_again(game.params, game.lanes)
    _check_engine(game, many)
    _check_regret(game, best, attained)
    mask = ("mask",) if best.functions["allowed"].calls else ()
    return ("params", "shapes", "finite", *mask, "info", *AGAIN, "engine", "regret", *(("mean",) if attained else ()))


def _sizes(env, lanes, periods, seed):
    """Lanes and periods as ints of at least two, with periods limited to the oracle's tables; and the seed."""
    lanes, periods = checks.whole("lanes", lanes, 2, 2**20), checks.whole("periods", periods, 2, 2**20)
    longest = getattr(env, "longest", None)
    return lanes, periods if longest is None else min(periods, longest), checks.seed(seed)


def _check_law(game):
    """Raise if a policy states other probabilities than those of its actions, in its last period; `("law",)` if checked."""
    policy, space = game.policy, game.problem.action_space
    if policy.probabilities is None or not isinstance(space, Discrete) or space.shape:
        return ()
    _, (state, obs), _ = game.functions["act"].calls[-1]
    law = np.asarray(jax.jit(jax.vmap(policy.probabilities))(state, obs))
    if law.shape != (len(game.lanes), space.n):
        raise ValueError(f"law: probabilities must be [{space.n}], one an action, got shape {list(law.shape[1:])}")
    if not (np.all(law >= -1e-6) and np.all(np.abs(law.sum(axis=1) - 1) < 1e-4)):
        raise ValueError(f"law: probabilities must not be negative and sum to 1, got {law[0].tolist()} in the first lane")
    acts = jax.jit(jax.vmap(jax.vmap(policy.act, (0, None, None)), (None, 0, 0)))
    actions = np.asarray(acts(jax.random.split(jax.random.key(game.seed), DRAWS), state, obs))
    shares = np.mean(actions[..., None] == np.arange(space.n), axis=1)
    beyond = np.abs(shares - law) - 5 * np.sqrt(np.maximum(law * (1 - law), 0) / DRAWS)
    lane, action = np.unravel_index(beyond.argmax(), beyond.shape)
    if beyond[lane, action] > 1e-3:
        raise ValueError(
            f"law: action {action} has probability {law[lane, action]:.4g} in lane {lane}, but act takes it in "
            f"{shares[lane, action]:.4g} of {DRAWS} draws"
        )
    return ("law",)


def _check_engine(game, params):
    """Raise if the engine posts other prices or sells other units; some lanes may differ after a tie decided by rounding."""
    lanes = len(game.lanes)
    run = simulate(game.env, game.policy, seed=game.seed, lanes=lanes, horizon=game.periods, params=params, traces=True)
    same = np.ones(lanes, bool)
    for name in ("price", "demand"):
        ours = np.moveaxis(game.stacked(name), 1, -1)
        close = np.isclose(run[f"trace_{name}"].values[0], ours, rtol=1e-3, atol=1e-4 * np.abs(ours).max())
        same &= close.all(axis=tuple(range(close.ndim - 1)))
    if same.mean() < 0.75:
        raise ValueError(f"engine: simulate plays {np.sum(~same)} of {lanes} lanes otherwise than the plain functions do")


def _check_regret(game, best, attained):
    """Raise if a regret is negative, the oracle has regret, or rewards have another mean than stated."""
    scale = np.abs(game.stacked("optimal_reward")).mean() or np.abs(game.stacked("reward")).mean()  # unit of money
    regret = game.stacked("regret")
    if regret.min() < -ROUNDING * scale:
        time = np.unravel_index(regret.argmin(), regret.shape)[0]
        raise ValueError(f"regret: {regret.min():.4g} in period {time}: an action earns more than the oracle promises")
    for one, seller in ((game, "a random seller"), (best, "its oracle")):
        _check_sums(one, best, seller, scale, attained)
    if not attained:
        return
    if np.abs(best.stacked("regret")).max() > ROUNDING * scale:
        raise ValueError(f"regret: that of optimal_action is {np.abs(best.stacked('regret')).max():.4g}, not zero")
    gaps = game.stacked("reward") - np.stack(game.expected)
    error = gaps.std() / np.sqrt(gaps.size)
    if abs(gaps.mean()) > 5 * error + ROUNDING * scale:
        raise ValueError(f"mean: rewards are {gaps.mean():.4g} above expected_reward, {abs(gaps.mean()) / error:.1f} errors")


def _check_sums(game, best, seller, scale, attained):
    """Raise if sums of `optimal_reward` depend on the seller, or differ in expectation from sums of reward plus regret.

    If the oracle is a bound that nobody attains, the sums may only be below. If the oracle plans for an infinite horizon,
    the sums differ by the values of the first and the last state.
    """
    optimal, other = game.stacked("optimal_reward").sum(axis=0), best.stacked("optimal_reward").sum(axis=0)
    gaps = {f"those under its oracle in the same markets, under {seller}": (optimal - other, 1)}
    if not game.env.endless:
        earned = (game.stacked("reward") + game.stacked("regret")).sum(axis=0)
        gaps[f"those of reward and regret, under {seller}"] = (optimal - earned, 1 if attained else 0)
    for what, (gap, both) in gaps.items():
        error = gap.std(ddof=1) / np.sqrt(gap.size)
        beyond = (abs(gap.mean()) if both else gap.mean()) - 5 * error
        if beyond > ROUNDING * scale * game.periods:
            how = f"{gap.mean():.4g} above {what}, with a standard error of {error:.2g}"
            raise ValueError(f"regret: the sums of optimal_reward are {how}; see Environment.optimal_reward")
