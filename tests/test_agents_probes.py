"""Every deep learner finds the exact values of the probe worlds, and a learner with one mistake fails the probe of it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rows import some

from jaxprice.agents import choices, courses, dqn, ppo, pqn
from jaxprice.agents.probe_worlds import NAMES, SHOWN, Probe

DISCOUNT = 0.6
SMALL = {"size": 32, "layers": 1, "points": 1, "held_out": 64, "devices": 1}
LEARNERS = {
    "dqn": lambda world, **changes: dqn.train(
        world,
        **SMALL
        | {"steps": 20_000, "hyper": dqn.Hyper(discount=DISCOUNT, learning_rate=5e-3, tau=0.01), "n_step": 1}
        | changes,
    ),
    "pqn": lambda world, **changes: pqn.train(
        world,
        **SMALL
        | {
            "steps": 40_000,
            "lanes": 32,
            "length": 32,
            "hyper": pqn.Hyper(discount=DISCOUNT, learning_rate=5e-3, trace=0.65, epsilon=0.5, explore=0.3),
        }
        | changes,
    ),
    "ppo": lambda world, **changes: ppo.train(
        world, **SMALL | {"steps": 40_000, "hyper": ppo.Hyper(discount=DISCOUNT, learning_rate=5e-3)} | changes
    ),
}


def errors(name, trained, world):
    """By probe: largest error of a value, as a share of the value if that is above 1; whether all decisions are right."""
    tokens, exact = world.situations(DISCOUNT)
    weights = jax.tree.map(lambda x: x[0], trained.weights)
    says = jax.vmap(lambda token: trained.course.decide(weights, (), token)[1])(jnp.asarray(tokens))
    scale, logits = trained.about["reward_scale"][0], np.asarray(says.logits)
    wrong = np.ptp(exact, axis=1) > 0
    wrong &= np.argmax(logits, axis=1) != np.argmax(exact, axis=1)
    error = np.abs(np.asarray(says.value) * scale - exact.max(axis=1))
    if name != "ppo":
        error = np.abs(logits * scale - exact).max(axis=1)
    error = error / np.maximum(1, np.abs(exact).max(axis=1))
    kinds = np.argmax(tokens[:, 2:], axis=1)
    return {NAMES[kind]: (error[kinds == kind].max(), not np.any(wrong[kinds == kind])) for kind in np.unique(kinds)}


@pytest.mark.parametrize("learner", LEARNERS)
def test_all_probes_at_once(learner):
    world = Probe("all")
    trained = LEARNERS[learner](world)
    for probe, (error, right) in errors(learner, trained, world).items():
        assert right and error < 0.2, (probe, error)


@pytest.mark.parametrize("case", some([f"{x}, {y}" for x in LEARNERS for y in NAMES[:SHOWN]], "pqn, constant"))
def test_a_probe_alone(case):
    learner, probe = case.split(", ")
    world = Probe(probe)
    error, right = errors(learner, LEARNERS[learner](world), world)[probe]
    assert right and error < 0.15, error


@pytest.mark.slow
@pytest.mark.parametrize("learner", ["ppo", "pqn"])
def test_what_was_seen_before_is_remembered(learner):
    changes = {"network": "gru", "layers": None, "size": 16}
    trained = LEARNERS[learner](Probe("remembered"), **changes)
    assert trained.curve["held_out"][-1, 0] > 0.95
    trained = LEARNERS[learner](Probe("remembered"))  # a network without memory
    assert abs(trained.curve["held_out"][-1, 0]) < 0.5


def blind(course, weights, memory, token):
    return course.network.apply(weights, memory, token.at[0].set(0.0), method="decide")


def changed(**fields):
    """A replacement of `choices.returns` that changes what it is given."""

    def returns(rewards, values, done, discount, trace):
        given = {"rewards": rewards, "values": values, "done": done, "discount": discount, "trace": trace}
        given |= {name: change(given) for name, change in fields.items()}
        return PLAIN(**given)

    return returns


PLAIN = choices.returns
MISTAKES = {
    "constant": (choices, "returns", changed(rewards=lambda x: -x["rewards"])),
    "observed": (courses.Course, "decide", blind),
    "later": (choices, "returns", changed(discount=lambda x: 0.0)),
    "action": (pqn.PQN, "greedy", lambda learner, course, output: jnp.argmin(output.logits, axis=-1)),
    "both": (choices, "returns", changed(rewards=lambda x: jnp.roll(x["rewards"], 1, axis=1))),
    "endless": (choices, "returns", changed(values=lambda x: jnp.where(x["done"], 0.0, x["values"]))),
}


@pytest.mark.parametrize("probe", some(MISTAKES, "endless"))
def test_a_mistake_fails_its_probe(monkeypatch, probe):
    """Signs, blindness, nothing of what follows, the worse action, a lane's reward for another lane, ends that are none."""
    where, name, mistake = MISTAKES[probe]
    monkeypatch.setattr(where, name, mistake)
    world = Probe("all")
    trained = LEARNERS["pqn"](world)
    error, right = errors("pqn", trained, world)[probe]
    if name == "greedy":
        assert trained.curve["held_out"][-1, 0] < 0.9
    else:
        assert error > 0.3 or not right


def test_exact_values_are_those_of_the_world():
    """Each situation is played with each action, and then by the best actions of the table."""
    world = Probe("all")
    tokens, exact = world.situations(DISCOUNT)
    step = jax.jit(jax.vmap(world.step))
    n = 400
    state, token = jax.vmap(world.reset)(jax.random.split(jax.random.key(0), n))
    rng, seen = np.random.default_rng(0), set()
    for time in range(6):
        here = np.array([np.flatnonzero(np.all(tokens == one, axis=1))[0] for one in np.asarray(token)])
        actions = rng.integers(0, 2, n)
        keys = jax.vmap(lambda k: jax.random.split(k, 2))(jax.random.split(jax.random.key(1 + time), n))
        state, now = step(keys[:, 0], keys[:, 1], state, jnp.int32(actions))
        later = np.array([exact[np.all(tokens == one, axis=1)].max(initial=-9) for one in np.asarray(now.last)])
        later = np.where(now.terminated, 0.0, later)
        np.testing.assert_allclose(exact[here, actions], now.reward + DISCOUNT * later, rtol=1e-6)
        seen |= set(zip(here.tolist(), actions.tolist(), strict=True))
        token = now.token
    assert len(seen) == 2 * len(tokens)


def test_a_probe_that_is_remembered_and_names():
    world = Probe("remembered")
    tokens, exact = world.situations(DISCOUNT)
    np.testing.assert_array_equal(tokens[:, 0], [1, -1, 0, 0])
    np.testing.assert_allclose(exact, [[DISCOUNT] * 2, [DISCOUNT] * 2, [-1, 1], [1, -1]])
    with pytest.raises(ValueError, match="unknown probe 'al'"):
        Probe("al")
