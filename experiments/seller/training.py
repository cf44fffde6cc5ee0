"""Training of the seller: its prior from the markets, and PPO on the loss to the oracle over a mixture of markets.

First come the priors of the demand filter (`priors`). The seller then plays a rule that needs no training
(`jaxprice.agents.seller_net`). From there it learns by PPO, one kind of market in an update. The reward of a period is minus
its expected loss, in units of what the oracle earns in a period of that market, so that all markets count alike. With V the
value, in periods lost until the end, and l the trace,

    A_t = sum_(i >= 0) l^i (r_(t+i) + V_(t+i+1) - V_(t+i)),

where the mean over lanes at the same t is subtracted from A, which then is divided by its standard deviation in the update:
kinds of markets with small losses count like those with large ones. The rows that the network sees do not depend on its
weights, so they are computed once for an update and decisions are independent examples.

Lanes continue from update to update and all randomness is addressed, so a killed run that resumes ends with the same
weights.
"""

import functools
import time

import jax
import jax.numpy as jnp
import numpy as np

from experiments.seller import markets, priors
from jaxprice.agents import lifetimes, networks
from jaxprice.agents.checkpoint import Clock, Store
from jaxprice.agents.optimiser import Hyper, State, adam, descend

HYPER = Hyper(learning_rate=5e-4, entropy=0.0, trace=0.97, warm_up=0.03, value_weight=0.5)
EPOCHS, PARTS = 2, 4
TAUGHT = 0.9  # weight of what a price teaches in the agent that is saved: PPO explores too little for long seasons
CHUNK = 11  # updates between checkpoints
OPTIONS = {"size": 32, "layers": 2}
PRIORS = ("prior_mean", "prior_root", "prior_effects")  # weights that PPO leaves


@functools.cache
def network():
    """The network of the seller."""
    return networks.make("seller", actions=10, **OPTIONS)


def start(seed):
    """The state before the first update."""
    play = lifetimes.Play(markets.groups()["arms"].env, network(), 2)
    weights = networks.initial(network(), jax.random.key(seed), *play.example())
    weights["params"] |= {name: jnp.asarray(part) for name, part in zip(PRIORS, priors.fitted(), strict=True)}
    return State(weights, adam(0.5).init(weights), jnp.int32(0))


@functools.cache
def advance(name):
    """Compiled function of a group, `(state, streams, first lane, share of the updates done) -> (state, metrics)`."""
    group, net, optimiser = markets.groups()[name], network(), adam(0.5)
    play = lifetimes.Play(group.env, net, group.horizon, return_reward="regret")
    part = group.lanes // PARTS

    @jax.jit
    def update(state, streams, first, share):
        lanes = first + jnp.arange(group.lanes, dtype=jnp.uint32)
        lives = jax.vmap(play.live, (None, None, 0))(state.weights, streams, lanes)
        rows, common = jax.vmap(lambda f, s: net.apply(state.weights, f, s, method="evidence"))(lives.facts, lives.seen)
        left = group.horizon - lives.seen.time.astype(jnp.float32)
        scale = jnp.sqrt(left)
        worth = jnp.maximum(lives.optimal.mean(axis=1), 1e-3 * lives.facts.unit)[:, None]
        reward = jnp.maximum(lives.reward * lives.facts.unit[:, None] / worth, -5.0)
        advantage, returns = advantages(reward, lives.value * scale, HYPER.trace)
        batch = rows, common, lives.action, lives.log_prob, advantage, returns / scale

        def loss(weights, batch):
            rows, common, action, before, advantage, returns = batch
            says = net.apply(weights, rows, common, method="decide")
            log_probs = jax.nn.log_softmax(says.logits)
            mine = jnp.take_along_axis(log_probs, action[..., None], -1)[..., 0]
            ratio = jnp.exp(mine - before)
            cut = jnp.clip(ratio, 1 - HYPER.clip, 1 + HYPER.clip)
            gain = jnp.minimum(ratio * advantage, cut * advantage).mean()
            entropy = -jnp.sum(jnp.exp(log_probs) * log_probs, axis=-1).mean()
            value = jnp.mean((says.value - returns) ** 2)
            total = -gain + HYPER.value_weight * value - HYPER.entropy * (1 - share) * entropy
            return total, {"loss": total, "value_loss": value, "entropy": entropy}

        def step(state, batch):
            gradient, metrics = jax.grad(loss, has_aux=True)(state.weights, batch)
            for fixed in PRIORS:
                gradient["params"][fixed] = jnp.zeros_like(gradient["params"][fixed])
            return descend(optimiser, state, gradient, HYPER, share), metrics

        parts = jax.tree.map(lambda x: x.reshape(PARTS, part, *x.shape[1:]), batch)
        state, metrics = jax.lax.scan(lambda state, _: jax.lax.scan(step, state, parts), state, None, length=EPOCHS)
        metrics = jax.tree.map(jnp.mean, metrics) | {"lost": -reward.mean()}
        return state.replace(update=state.update + 1), metrics

    return update


def advantages(reward, value, trace):
    """Normalised advantages and returns, `[lanes, T]` both; `value` is that of all periods to come."""
    later = jnp.concatenate([value[:, 1:], jnp.zeros_like(value[:, :1])], axis=1)

    def back(ahead, error):
        ahead = error + trace * ahead
        return ahead, ahead

    _, raw = jax.lax.scan(back, jnp.zeros_like(reward[:, 0]), (reward + later - value).T, reverse=True)
    raw = raw.T
    level = raw - raw.mean(axis=0)
    return level / jnp.maximum(level.std(), 1e-8), raw + value


def run(seed, updates, folder, *, minutes=None, told=print):
    """Train one run, or go on with it: `(weights, curve)`.

    Args:
      seed: seed of the run.
      updates: total number of updates; the learning rate falls until the last one.
      folder: folder of checkpoints.
      minutes: stop after so many minutes, at a checkpoint; the same call goes on later. None: no limit.
      told: called with a line of progress at each checkpoint.

    Raises:
      FloatingPointError: the loss is not finite; the last good checkpoint stays.
    """
    turns = markets.schedule()
    configuration = {"seed": seed, "updates": updates, "hyper": {k: float(v) for k, v in vars(HYPER).items()}}
    configuration |= {"epochs": EPOCHS, "parts": PARTS, "options": OPTIONS, "groups": repr(markets.groups())}
    store = Store(folder, lambda: configuration)
    try:
        state, curve = store.resume(start(seed), {})
        clock, begun = Clock(curve), time.perf_counter()
        streams = lifetimes.streams(seed)
        done = int(state.update)
        most = max(group.lanes for group in markets.groups().values())
        while done < updates and (minutes is None or time.perf_counter() - begun < 60 * minutes):
            new, lost = state, dict.fromkeys(turns, np.nan)
            count = min(CHUNK, updates - done)
            for k in range(done, done + count):
                name = turns[k % len(turns)]
                new, metrics = advance(name)(new, streams, np.uint32(k * most), np.float32(k / updates))
                if not np.isfinite(float(metrics["loss"])):
                    raise FloatingPointError(f"the loss is not finite at update {k}; the weights of update {done} are kept")
                lost[name] = float(metrics["lost"])
            state, done = new, done + count
            point = {f"lost {name}": np.array([value]) for name, value in lost.items()}
            point |= {"update": np.array([done])} | {key: np.array([x]) for key, x in clock.seconds().items()}
            curve = {key: np.concatenate([curve[key] if key in curve else x[None][:0], x[None]]) for key, x in point.items()}
            store.save(state, curve, done)
            told(f"seed {seed} update {done} " + " ".join(f"{name}:{100 * x:.1f}" for name, x in lost.items() if x == x))
        return state.weights, curve
    finally:
        store.close()
