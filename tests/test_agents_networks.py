"""Networks: one decision at a time equals all at once; memory is used; equivariance; bad input is refused."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxprice.agents import Inputs, networks, recurrence
from jaxprice.agents.inputs import Facts, Seen

T, ACTIONS = 9, 3
SMALL = {
    "gru": {"size": 8},
    "lstm": {"size": 8},
    "min_gru": {"size": 8},
    "transformer": {"size": 8, "heads": 2, "longest": T},
    "none": {"size": 8},
    "mlp": {"size": 8, "layer_norm": True},
    "stats": {"size": 8, "attention": True},
    "seller": {"size": 8},
}


def facts(actions=ACTIONS):
    prices = jnp.linspace(0.3, 1.0, actions)
    return Facts(prices, prices - 0.1, jnp.float32(T), jnp.float32(1), 1)


def history(seed, actions=ACTIONS, features=2):
    """What was seen over a lifetime, `[T]`."""
    rng = np.random.default_rng(seed)
    action = rng.integers(0, actions, T)
    action[0] = -1
    demand = rng.integers(0, 2, T) * (action >= 0)
    return Seen(
        jnp.asarray(action, jnp.int32),
        jnp.asarray(demand, jnp.float32),
        jnp.asarray(demand * 0.5, jnp.float32),
        jnp.arange(T, dtype=jnp.int32),
        *jnp.asarray(rng.normal(size=(2, T, features)), jnp.float32),
    )


def made(name):
    """A network with random weights; zero heads would make all its outputs equal."""
    network = networks.make(name, actions=ACTIONS, inputs=Inputs(grid=True), head_scale=1.0, **SMALL[name])
    first = jax.tree.map(lambda x: x[0], history(0))
    weights = jax.jit(lambda key: networks.initial(network, key, facts(), first))(jax.random.key(1))
    keys = iter(jax.random.split(jax.random.key(2), 100))
    return network, jax.tree.map(lambda w: w + 0.3 * jax.random.normal(next(keys), w.shape), weights)


def stepped(network, weights, facts, seen):
    """The lifetime one decision at a time."""

    def step(memory, now):
        return network.apply(weights, memory, facts, now, method="step")

    return jax.lax.scan(step, network.apply(weights, facts, method="start"), seen)[1]


@pytest.mark.parametrize("name", networks.NAMES)
def test_stepping_equals_the_sequence(name):
    network, weights = made(name)
    one = jax.jit(lambda seen: stepped(network, weights, facts(), seen))(history(3))
    whole = jax.jit(lambda seen: network.apply(weights, facts(), seen, method="apply_sequence"))(history(3))
    assert one.logits.shape == (T, ACTIONS) and one.value.shape == (T,)
    assert np.ptp(one.logits) > 1e-2
    np.testing.assert_allclose(one.logits, whole.logits, rtol=2e-6, atol=1e-5)
    np.testing.assert_allclose(one.value, whole.value, atol=1e-5)


@pytest.mark.parametrize("name", networks.NAMES)
def test_no_output_knows_the_future_and_only_memory_knows_the_past(name):
    network, weights = made(name)
    run = jax.jit(lambda seen: network.apply(weights, facts(), seen, method="apply_sequence").logits)
    seen, middle = history(4), T // 2
    other = seen.replace(demand=seen.demand.at[middle].set(1 - seen.demand[middle]))
    moved = np.abs(np.asarray(run(seen)) - run(other)).max(axis=-1) > 1e-6
    assert not moved[:middle].any() and moved[middle]
    assert moved[middle + 1 :].all() == (name not in ("none", "mlp"))


def test_linear_recurrence_is_the_same_in_both_forms(monkeypatch):
    keep, write = jax.random.uniform(jax.random.key(0), (2, 33, 4))
    loop = recurrence.linear_recurrence(keep, write)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    np.testing.assert_allclose(loop, recurrence.linear_recurrence(keep, write), atol=1e-6)
    h = np.zeros(4)
    for k, w, ours in zip(np.asarray(keep, float), np.asarray(write, float), loop, strict=True):
        h = k * h + w
        np.testing.assert_allclose(ours, h, atol=1e-6)


def test_gru_against_its_formulas():
    core = recurrence.GRU(size=4, chrono=20)
    tokens = jax.random.normal(jax.random.key(0), (T, 5))
    weights = core.init(jax.random.key(1), tokens, method="apply_sequence")
    ours = core.apply(weights, tokens, method="apply_sequence")
    w = jax.tree.map(lambda x: np.asarray(x, float), weights["params"])
    assert np.allclose(1 / (1 + np.exp(-w["into"]["bias"][:4])), 1 / (1 + np.linspace(1, 20, 4)))  # time scales
    for block in np.split(w["gates"]["kernel"], 2, axis=1):
        np.testing.assert_allclose(block @ block.T, np.eye(4), atol=1e-5)
    h = np.zeros(4)
    for x, now in zip(np.asarray(tokens, float), ours, strict=True):
        into = x @ w["into"]["kernel"] + w["into"]["bias"]
        gates = 1 / (1 + np.exp(-(into[:8] + h @ w["gates"]["kernel"])))
        z, r = gates[:4], gates[4:]
        h = (1 - z) * h + z * np.tanh(into[8:] + (r * h) @ w["candidate"]["kernel"])
        np.testing.assert_allclose(now, h, atol=1e-5)


def test_stats_net_is_equivariant_and_takes_any_number_of_actions():
    network, weights = made("stats")
    order = np.array([2, 0, 1])
    place = np.argsort(order)  # where each action went
    seen, f = history(5), facts()
    moved = f.replace(prices=f.prices[order], margins=f.margins[order])
    renamed = seen.replace(action=jnp.where(seen.action < 0, -1, jnp.asarray(place)[seen.action]))
    run = jax.jit(lambda facts, seen: network.apply(weights, facts, seen, method="apply_sequence"))
    np.testing.assert_allclose(run(f, seen).logits[:, order], run(moved, renamed).logits, atol=1e-5)
    np.testing.assert_allclose(run(f, seen).value, run(moved, renamed).value, atol=1e-5)
    assert run(facts(7), history(6, actions=7)).logits.shape == (T, 7)


def test_inputs_are_as_told():
    seen = jax.tree.map(lambda x: x[4], history(7))
    token = np.asarray(Inputs(grid=True).token(facts(), seen))
    hot = np.eye(ACTIONS)[int(seen.action)]
    wanted = [0, *hot, seen.demand, seen.reward, 4 / T, *facts().prices, *facts().margins, *seen.observation]
    np.testing.assert_allclose(token, np.asarray(wanted, float), rtol=1e-6)
    past = np.asarray(Inputs(grid=True, past=True).token(facts(), seen))
    np.testing.assert_allclose(past, [*token, *np.asarray(seen.past)], rtol=1e-6)
    none = Inputs(action=False, demand=False, reward=False, time=False, observation=False)
    assert none.token(facts(), jax.tree.map(lambda x: x[0], history(7))).tolist() == [1.0]


@pytest.mark.parametrize(
    ("message", "options"),
    [
        ("unknown network 'gruu'; did you mean 'gru'", {"name": "gruu"}),
        ("actions must be an integer of at least 1, got 0", {"name": "gru", "actions": 0}),
        ("takes the options", {"name": "gru", "layers": 2}),
        ("size must be an integer of at least 1, got 0", {"name": "gru", "size": 0}),
        ("size must be an integer of at least 1, got 2.0", {"name": "stats", "size": 2.0}),
        ("layers must be an integer in [1, 256], got 1000", {"name": "min_gru", "layers": 1000}),
        ("chrono must be an integer of at least 0, got -1", {"name": "gru", "chrono": -1}),
        ("attention must be True or False, got 'no'", {"name": "stats", "attention": "no"}),
        ("head_scale must be one number, got 'small'", {"name": "gru", "head_scale": "small"}),
        ("inputs must be agents.Inputs, got 'all'", {"name": "gru", "inputs": "all"}),
        ("multiple of heads, got 8 and 3", {"name": "transformer", "size": 8, "heads": 3}),
        ("multiple of heads, got 10 and 4", {"name": "transformer", "size": 10}),
    ],
)
def test_bad_options(message, options):
    with pytest.raises(ValueError, match=re.escape(message)):
        networks.make(**({"actions": ACTIONS} | options))


def test_inputs_are_switches():
    for value in (1, "no", None, [True]):
        with pytest.raises(ValueError, match="grid must be True or False"):
            Inputs(grid=value)


def test_transformer_refuses_what_it_cannot_hold():
    first = jax.tree.map(lambda x: x[0], history(0))
    network = networks.make("transformer", actions=ACTIONS, size=8, heads=2, longest=T - 1)
    weights = networks.initial(network, jax.random.key(0), facts(), first)
    with pytest.raises(ValueError, match="lifetimes of 8 periods at most, got 9"):
        network.apply(weights, facts(), history(0), method="apply_sequence")
