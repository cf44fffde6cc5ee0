"""A shop for the tests of `jaxprice.live`, and a child process that runs it until it is killed."""

import functools
import itertools
import sys

import jax
import jax.numpy as jnp
import numpy as np

import jaxprice
from jaxprice import live, policies, random

PRODUCTS = 16


@functools.cache
def market(num_prices=5, horizon=24):
    """A market, its params, and what the seller is told."""
    env, params = jaxprice.make("PostedPrice", num_prices=num_prices, horizon=horizon)
    observation, _ = env.reset_env(jax.random.key(0), params)
    return env, params, env.problem(params).with_observation(observation)


def problem():
    """What the seller is told."""
    return market()[2]


def session(path, policy=None, **options):
    """A new session, without waiting for the disk."""
    policy = policies.ucb1() if policy is None else policy
    return live.Session(policy, problem(), path, **{"products": PRODUCTS, "sync": "off", **options})


def reopened(path, policy=None, **options):
    """The session of a journal."""
    return live.Session.open(path, policies.ucb1() if policy is None else policy, problem(), **{"sync": "off", **options})


def crash(session):
    """Leave a session as a killed process does: without a snapshot."""
    session._journal._file.close()
    session._closed = True


def play(session, first, last):
    """Calls `first`, ..., `last` - 1 of a fixed programme of quotes and sales; each is one event of the journal."""
    for number in range(first, last):
        counts = session.metrics()
        if number % 5 == 3:
            session.quote_many([(number * 7 + k) % PRODUCTS for k in range(10)])
        elif number % 5 == 4:
            ids = np.flatnonzero(
                session._shelf.ledger.status[: session._shelf.ledger.last - session._shelf.ledger.first] == 0
            )
            ids = session._shelf.ledger.first + ids[-8:][::-1]  # the newest first
            session.observe_many(ids, (ids * 13 % 3 == 0).astype(float))
        elif number % 5 == 2:
            chosen = session._shelf.ledger.oldest
            session.observe(chosen, float(chosen % 2))
        else:
            session.quote(number * 5 % PRODUCTS)
        yield number, counts


def sell(env, params, seed, lanes, horizon):
    """The buyers of `simulate`: a function from the prices of a period to what becomes of them, as NumPy arrays."""
    words = {role: random.stream(seed, role) for role in random.ROLES}
    numbers = np.arange(lanes, dtype=np.uint32)
    start = jax.jit(jax.vmap(lambda n: env.reset_env(random.address(words["reset"], 0, n), params)))

    @jax.jit
    def step(time, states, actions):
        def one(number, state, action):
            return env.step_env(random.address(words["demand"], time, number), state, action, params)

        return jax.vmap(one)(numbers, states, actions)

    (_, states), sold = start(numbers), None
    for time in itertools.count():
        actions = yield sold
        seen, states, reward, _, info = jax.device_get(step(time, states, jnp.asarray(actions)))
        sold = info["demand"], reward, seen


if __name__ == "__main__":
    path, total = sys.argv[1], int(sys.argv[2])
    shop = reopened(path) if len(sys.argv) > 3 else session(path, snapshot_every=40)
    print("ready", flush=True)
    for done, _ in play(shop, shop._journal.next, total):
        print(done, flush=True)
