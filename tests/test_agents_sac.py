"""Soft actor-critic: the squashed Gaussian, a gradient step against NumPy, known optima, agents that post prices."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats
from flax import struct
from test_agents_formulas import Adam

import jaxprice
from jaxprice import agents
from jaxprice.agents import choices, courses, dqn, fitting, inputs, lifetimes, replay, running, sac, squashed, worlds
from jaxprice.envs.posted_price import PostedPrice
from jaxprice.ope.propensities import density

LAWS = [(0.0, 1.0), (0.7, 0.3), (-2.0, 0.8), (0.4, 0.02), (1.5, 1.2)]
BATCH = 6


@pytest.mark.parametrize(("mean", "std"), LAWS)
def test_the_density_is_that_of_the_tangent_of_a_normal_number(mean, std):
    """It integrates to one, and to the normal probability between any two actions."""
    edges = np.linspace(-1, 1, 400_001)
    middle = np.float32((edges[1:] + edges[:-1]) / 2)
    law = squashed.Law(jnp.full(1, mean), jnp.full(1, np.log(std)))
    mass = np.asarray(squashed.density(law, jnp.asarray(middle)[:, None]), float) * (edges[1] - edges[0])
    inside = np.abs(edges) < 0.999
    below = scipy.stats.norm.cdf((np.arctanh(edges[inside]) - mean) / std)
    found = np.concatenate([[0.0], np.cumsum(mass[inside[1:] & inside[:-1]])])
    np.testing.assert_allclose(found, below - below[0], atol=2e-3)
    rest = 1 - (below[-1] - below[0])
    assert mass.sum() == pytest.approx(1, abs=3e-3 + 0.2 * rest)
    assert squashed.density(law, jnp.array([[1.01], [-1.5]])).tolist() == [0, 0]


def test_draws_and_their_densities():
    rng = np.random.default_rng(0)
    mean, log_std, noise = rng.normal(size=(3, 4000, 2))
    law = squashed.Law(jnp.float32(mean), jnp.float32(log_std / 2))
    action, log_prob = jax.jit(squashed.draw)(law, jnp.float32(noise))
    u = mean + np.exp(log_std / 2) * noise
    np.testing.assert_allclose(action, np.tanh(u), atol=1e-6)
    exact = scipy.stats.norm.logpdf(noise) - log_std / 2 + 2 * np.log(np.cosh(u))
    np.testing.assert_allclose(log_prob, exact.sum(axis=1), rtol=1e-4, atol=1e-4)
    near = np.all(np.abs(u) < 3, axis=1)  # beyond, the tangent has few digits left
    np.testing.assert_allclose(np.log(squashed.density(law, action))[near], exact.sum(axis=1)[near], atol=1e-2)
    np.testing.assert_allclose(law.middle, np.tanh(mean), atol=1e-6)
    far = squashed.Law(jnp.array([40.0, -40.0]), jnp.zeros(2))  # where the tangent is one in float32
    slope = jax.grad(lambda mean: squashed.draw(far.replace(mean=mean), jnp.zeros(2))[1])(far.mean)
    exact = 2 * scipy.stats.norm.logpdf(0) + 2 * (80 - 2 * np.log(2))
    assert squashed.draw(far, jnp.zeros(2))[1] == pytest.approx(exact, rel=1e-5)
    np.testing.assert_allclose(slope, [2, -2], rtol=1e-5)


def small_course(normalise, centred, entries=1):
    """A course with tiny networks on a season."""
    env, params = jaxprice.make("FiniteInventory", demand="logit", stock=3, horizon=5)
    learner = sac.SAC(rows=8, batch=BATCH, gradient_steps=2, size=3, layers=1, centred=centred)
    options = ("gaussian", {"size": 3, "layers": 1})
    return courses.course_of(worlds.make(env, params), learner, 2, 4, options, entries, 0.5, normalise)


class Reference:
    """Losses of `sac` in NumPy; gradients are central differences."""

    def __init__(self, hyper, statistics, entries):
        self.hyper, self.entries = hyper, entries
        self.level, self.spread, self.reward_level, self.reward_spread = statistics

    def hidden(self, weights, name, x):
        return np.maximum(x @ weights[f"{name}/kernel"] + weights[f"{name}/bias"], 0)

    def normal(self, token):
        return np.clip((token - self.level) / self.spread, -10, 10)

    def draw(self, actor, token, noise):
        x = self.hidden(actor, "core/dense_0", self.normal(token))
        out = x @ actor["policy/kernel"] + actor["policy/bias"]
        mean, log_std = out[:, : self.entries], np.clip(out[:, self.entries :], squashed.NARROWEST, squashed.WIDEST)
        u = mean + np.exp(log_std) * noise
        log_prob = scipy.stats.norm.logpdf(noise) - log_std + 2 * (np.logaddexp(u, -u) - np.log(2))  # 1 / cosh(u)^2
        return np.tanh(u), log_prob.sum(axis=1)

    def values(self, critics, token, action):
        out = []
        for k in range(2):
            one = {name: w[k] for name, w in critics.items()}
            x = self.hidden(one, "Perceptron_0/dense_0", np.concatenate([self.normal(token), action], axis=1))
            out.append((x @ one["Dense_0/kernel"] + one["Dense_0/bias"])[:, 0])
        return np.array(out)

    def targets(self, actor, target, log_temperature, batch, noise):
        action, log_prob = self.draw(actor, batch["last"], noise)
        soft = self.hyper.bonus * np.exp(log_temperature) * log_prob
        worth = self.values(target, batch["last"], action).min(axis=0) - soft
        return (batch["reward"] - self.reward_level) / self.reward_spread + batch["factor"] * worth

    def critic_loss(self, critics, batch, targets):
        return 0.5 * np.sum(np.mean((self.values(critics, batch["token"], batch["action"]) - targets) ** 2, axis=1))

    def actor_loss(self, actor, critics, log_temperature, batch, noise):
        action, log_prob = self.draw(actor, batch["token"], noise)
        return np.mean(np.exp(log_temperature) * log_prob - self.values(critics, batch["token"], action).min(axis=0))


def slopes(loss, weights, step=1e-6):
    """The gradient of a loss of weights by name, by central differences."""
    out = {}
    for name, w in weights.items():
        out[name] = np.zeros(w.shape)
        for place in np.ndindex(w.shape):
            ends = []
            for sign in (1, -1):
                moved = w.copy()
                moved[place] += sign * step
                ends.append(loss(weights | {name: moved}))
            out[name][place] = (ends[0] - ends[1]) / (2 * step)
    return out


def exact(tree):
    return {name: np.asarray(w, float) for name, w in fitting.flat(tree).items()}


@pytest.mark.parametrize(("normalise", "centred", "entries"), [(True, True, 1), (False, False, 2)])
def test_gradient_steps_against_numpy(normalise, centred, entries):
    rng, share = np.random.default_rng(3), 0.4
    course = small_course(normalise, centred, entries)
    hyper = sac.Hyper(learning_rate=0.05, discount=0.8, tau=0.3, target_entropy=-0.6, bonus=0.7, decay=0.2)
    state = course.learner.start(course, 0)
    params = jax.tree.map(lambda w: jnp.float32(0.5 * rng.normal(size=w.shape)), state.weights["params"])
    size = state.lanes.token.shape[1]
    level, variance = rng.normal(size=size), rng.uniform(0.5, 2.0, size)
    rewards = running.Running(jnp.float32(9), jnp.float32(0.3), jnp.float32(2.5))
    stats = {"stats": {"normal": {"mean": jnp.float32(level), "variance": jnp.float32(variance)}}} if normalise else {}
    rest = state.rest.replace(
        rewards=rewards,
        temperature=state.rest.temperature.replace(weights=jnp.log(jnp.float32(0.4))),
        target=jax.tree.map(lambda w: w + jnp.float32(0.3 * rng.normal(size=w.shape)), state.rest.target),
    )
    state = state.replace(weights={"params": params} | stats, rest=rest)
    scales = (level, np.sqrt(variance + 1e-8)) if normalise else (0.0, 1.0)
    reference = Reference(hyper, (*scales, 0.3 if centred else 0.0, 2.5**0.5 if normalise else 1.0), entries)
    actor, critics = Adam(exact(params), 0.5), Adam(exact(rest.critics.weights), 0.5)
    heat, target = Adam({"c": np.log(0.4)}, 0.5), exact(rest.target)
    descend = jax.jit(course.learner.descend, static_argnums=0)
    for _ in range(2):
        batch = {
            "token": rng.normal(size=(BATCH, size)),
            "action": rng.uniform(-1, 1, (BATCH, entries)),
            "reward": rng.normal(size=BATCH),
            "last": rng.normal(size=(BATCH, size)),
            "factor": 0.8 * (rng.random(BATCH) < 0.7),
        }
        noise = rng.normal(size=(2, BATCH, entries))
        told = replay.Batch(**{name: jnp.float32(x) for name, x in batch.items()}, weight=jnp.ones(BATCH), place=None)
        state, metrics = descend(course, state, told, jnp.float32(noise), hyper, jnp.float32(share))

        goals = reference.targets(actor.weights, target, heat.weights["c"], batch, noise[0])
        loss = reference.critic_loss(critics.weights, batch, goals)
        critics.step(slopes(lambda w, b=batch, y=goals: reference.critic_loss(w, b, y), critics.weights), hyper, share)
        log_temperature, e = heat.weights["c"], noise[1]
        entropy = -reference.draw(actor.weights, batch["token"], e)[1].mean()
        before = reference.actor_loss(actor.weights, critics.weights, log_temperature, batch, e)
        of_actor = slopes(
            lambda w, b=batch, c=log_temperature, e=e: reference.actor_loss(w, critics.weights, c, b, e), actor.weights
        )
        actor.step(of_actor, hyper, share)
        heat.step({"c": np.asarray(entropy - entries * hyper.target_entropy)}, dataclasses.replace(hyper, decay=0.0), share)
        target = {name: w + 0.3 * (critics.weights[name] - w) for name, w in target.items()}
        expected = [loss, before, entropy, np.exp(log_temperature)]
        found = [metrics[name] for name in ("loss", "actor_loss", "entropy", "temperature")]
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
    pairs = [(actor, state.weights["params"], state.optimiser)]
    pairs += [(critics, state.rest.critics.weights, state.rest.critics.optimiser)]
    for ours, weights, optimiser in pairs:
        for name, w in exact(weights).items():
            np.testing.assert_allclose(w, ours.weights[name], rtol=1e-3, atol=1e-4)
            np.testing.assert_allclose(exact(optimiser[1].mu)[name], ours.first[name], rtol=1e-3, atol=1e-4)
            np.testing.assert_allclose(exact(optimiser[1].nu)[name], ours.second[name], rtol=2e-3, atol=1e-6)
    for name, w in exact(state.rest.target).items():
        np.testing.assert_allclose(w, target[name], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(state.rest.temperature.weights, heat.weights["c"], rtol=1e-4)


def test_an_update_plays_writes_and_descends():
    """From the first update: its temperature, the statistics of rewards, and the gradient steps on what the replay holds."""
    course, hyper = small_course(True, True), sac.Hyper(temperature=0.37)
    learner, streams = course.learner, lifetimes.streams(0)
    update = jax.jit(lambda state: learner(course, state, hyper, streams, jnp.float32(0)))
    after, metrics = update(learner.start(course, 0))
    rows = after.rest.replay.rows
    written = np.asarray(rows.reward)[:4]
    np.testing.assert_allclose(after.rest.rewards.mean, written.mean(), rtol=1e-5)
    np.testing.assert_allclose(after.rest.rewards.variance, written.var(), rtol=1e-4)
    assert after.rest.rewards.count == 8 and np.all(np.abs(rows.action) <= 1) and np.ptp(rows.action) > 0.1
    np.testing.assert_allclose(np.exp(after.rest.temperature.weights), 0.37, rtol=0.01)
    again, _ = update(after.replace(update=jnp.int32(1)))
    np.testing.assert_allclose(again.rest.temperature.weights, after.rest.temperature.weights, atol=0.01)
    assert again.rest.temperature.weights != after.rest.temperature.weights
    seen = np.asarray(again.rest.replay.rows.reward)
    np.testing.assert_allclose(again.rest.rewards.mean, seen.mean(), rtol=1e-5)
    assert metrics["reward"] == pytest.approx(written.mean(), rel=1e-5)


@pytest.fixture(scope="module")
def trained():
    """Sellers of a product whose best price is known."""
    env, params = jaxprice.make("ParametricDemand", family="logit", parameters=(1.0, -1.0))
    options = {"horizon": 50, "held_out": 8, "points": 2, "size": 32, "hyper": sac.Hyper(learning_rate=3e-3, tau=0.05)}
    return env, params, sac.train(env, params, steps=8_000, seeds=[0, 1], **options)


def test_a_known_price_is_learned(trained):
    """Revenue p / (1 + exp(p - 1)) is largest at p = 1 + W(1)."""
    env, params, result = trained
    best = 1 + scipy.special.lambertw(1).real
    most = best / (1 + np.exp(best - 1))
    for run in range(2):
        played = jaxprice.simulate(env, {"sac": result.policy(run)}, lanes=16, horizon=50, params=params)
        earned = 1 - played["lane_regret"].values.mean() / (50 * most)
        assert 0.98 < earned <= 1.0001
        assert result.curve["held_out"][-1, run] == pytest.approx(earned, abs=5e-3)


@pytest.mark.slow
def test_a_season_is_sold_near_the_dynamic_programme():
    env, params = jaxprice.make("FiniteInventory", demand="logit", stock=2, horizon=6)
    options = {"held_out": 512, "points": 2, "size": 32, "hyper": sac.Hyper(discount=1.0)}
    result = sac.train(env, params, steps=25_000, seeds=[0, 1], **options)
    assert np.all(result.curve["held_out"][-1] > 0.98), result.curve["held_out"]


def test_an_agent_is_saved_and_read_back(trained, tmp_path):
    env, params, result = trained
    agent = result.agent(1)
    agents.save(tmp_path / "one.npz", agent)
    back, policy = agents.load_agent(tmp_path / "one.npz"), agents.load(tmp_path / "one.npz")
    assert back.card == agent.card == policy.card and back.name == "gaussian" and back.actions == 1
    assert agent.card["told"]["market"] == env.name and policy.probabilities is None
    for name, weight in fitting.flat(agent.weights).items():
        np.testing.assert_array_equal(fitting.flat(back.weights)[name], weight)
    sellers = {"one": agent.policy(), "two": policy}
    told = jaxprice.simulate(env, sellers, lanes=4, horizon=20, params=params)
    played = [told["lane_regret"].sel(policy=name).values for name in sellers]
    np.testing.assert_array_equal(*played)
    broken = jax.tree.map(lambda w: w * np.float32(np.nan), agent.weights)
    with pytest.raises(ValueError, match="finite"):
        agents.save(tmp_path / "two.npz", dataclasses.replace(agent, weights=broken))
    lacking = {"params": agent.weights["params"]}
    with pytest.raises(ValueError, match="lack"):
        dataclasses.replace(agent, weights=lacking).policy()


def test_a_seller_that_draws_its_prices(trained):
    """The law of its prices is the density that it tells, and the price of `argmax` is the median."""
    env, params, result = trained
    agent = dataclasses.replace(result.agent(), deploy="sample")
    policy, argmax = agent.policy(), result.policy()
    obs, _ = env.reset(jax.random.key(0), params)
    problem = env.problem(params).with_observation(obs)
    state = policy.init(jax.random.key(1), problem)
    prices = np.sort(jax.vmap(lambda key: policy.act(key, state, obs))(jax.random.split(jax.random.key(2), 4000)))
    assert np.all((prices >= params.low) & (prices <= params.high))
    edges = np.linspace(params.low, params.high, 20_001)
    middle = jnp.float32((edges[1:] + edges[:-1]) / 2)
    mass = np.asarray(density(policy, state, obs, middle), float) * np.diff(edges)
    assert mass.sum() == pytest.approx(1, abs=2e-3)
    gap = np.abs(np.interp(prices, edges[1:], np.cumsum(mass)) - (np.arange(4000) + 0.5) / 4000)
    assert gap.max() < 1.95 / 4000**0.5  # Kolmogorov and Smirnov, one in a thousand
    told = float(argmax.act(jax.random.key(3), argmax.init(jax.random.key(1), problem), obs))
    assert np.interp(told, edges[1:], np.cumsum(mass)) == pytest.approx(0.5, abs=5e-3)


class Wide(PostedPrice):
    """Markets whose interval of prices is drawn too."""

    def sample_params(self, key):
        u = jax.random.uniform(key, (2,), jnp.float32)
        return dataclasses.replace(super().sample_params(key), low=u[0], high=2 + 5 * u[1])


def test_an_action_reaches_from_the_lowest_to_the_highest_price_of_each_market():
    env = Wide("logit", num_prices=None)
    world = worlds.Market(env, horizon=3, fed=agents.Inputs(grid=True))
    lows = set()
    for seed, action in enumerate([-1.0, -0.3, 0.5, 1.0]):
        state, token = world.reset(jax.random.key(seed))
        facts = state.facts
        low, high = float(state.params.low), float(state.params.high)
        price = low + (high - low) * (action + 1) / 2
        step = world.step(jax.random.key(1), jax.random.key(2), state, jnp.full(1, action))[1]
        earned = env.expected_reward(state.market, jnp.float32(price), state.params)
        np.testing.assert_allclose(step.earned, earned, rtol=1e-4)
        np.testing.assert_allclose(inputs.to_price(facts, action), price, rtol=1e-6)
        np.testing.assert_allclose(inputs.of_price(facts, price), action, atol=1e-6)
        names = ("first", "action", "demand", "reward", "time", "low", "high", "margin low", "margin high")
        told, after = dict(zip(names, np.asarray(token), strict=False)), dict(zip(names, step.last, strict=False))
        cost = float(state.params.cost)
        unit = max(abs(low - cost), high - cost)
        expected = {"low": low / high, "high": 1, "margin low": (low - cost) / unit, "margin high": (high - cost) / unit}
        for name, number in (expected | {"first": 1, "action": 0, "time": 0}).items():
            assert told[name] == pytest.approx(number, abs=1e-6), name
        assert after["first"] == 0 and after["action"] == pytest.approx(action, abs=1e-6)
        lows.add(low)
    assert len(lows) == 4


class Box:
    def __init__(self, low, high, shape):
        self.low, self.high, self.shape = low, high, shape


@struct.dataclass
class Clock:
    time: jax.Array


class Mover:
    """An environment in the form of gymnax, whose reward is the sum of the action."""

    @dataclasses.dataclass(frozen=True)
    class Params:
        max_steps_in_episode: int = 3

    def __init__(self, space):
        self.space, self.default_params = space, self.Params()

    def action_space(self, params):
        return self.space

    def reset_env(self, key, params):
        return jnp.zeros(2), Clock(jnp.int32(0))

    def step_env(self, key, state, action, params):
        assert action.shape == self.space.shape
        after = state.replace(time=state.time + 1)
        return jnp.ones(2), after, jnp.sum(action), after.time >= 3, {}


def test_actions_of_an_environment_between_bounds():
    low, high = np.array([-1.0, 2.0], np.float32), np.array([3.0, 2.5], np.float32)
    world = worlds.make(Mover(Box(low, high, (2,))))
    state, _ = world.reset(jax.random.key(0))
    for action in ([-1.0, -1.0], [1.0, 1.0], [0.5, -0.2]):
        step = world.step(jax.random.key(0), jax.random.key(1), state, jnp.array(action))[1]
        assert step.reward == pytest.approx(np.sum(low + (high - low) * (np.array(action) + 1) / 2), rel=1e-6)
    scalar = worlds.make(Mover(Box(-2.0, 2.0, ())))
    assert choices.continuous(scalar, "sac") == 1 and choices.continuous(world, "sac") == 2
    step = scalar.step(jax.random.key(0), jax.random.key(1), scalar.reset(jax.random.key(0))[0], jnp.full(1, 0.5))[1]
    assert step.reward == pytest.approx(1.0)
    with pytest.raises(ValueError, match="finite bounds"):
        worlds.make(Mover(Box(-np.inf, np.inf, (2,))))


def test_refusals(trained):
    env, params, result = trained
    grid = jaxprice.make("PostedPrice", num_prices=5)
    with pytest.raises(ValueError, match=r"sac chooses a price of an interval, PostedPrice-logit takes .*; dqn chooses"):
        sac.train(*grid, steps=10)
    with pytest.raises(ValueError, match=r"dqn chooses one of a number of actions.*sac takes prices"):
        dqn.train(env, params, steps=10)
    with pytest.raises(ValueError, match="learners choose one price"):
        sac.train(jaxprice.make("MultiProduct")[0], steps=10)
    for name, number in {
        "target_entropy": 1.0,
        "temperature": 0.0,
        "bonus": 1.5,
        "tau": -0.1,
        "learning_rate": -1.0,
    }.items():
        with pytest.raises(ValueError, match=name):
            sac.train(env, params, steps=10, hyper=sac.Hyper(**{name: number}))
    for name, number in {
        "size": 0,
        "gradient_steps": 1.5,
        "centred": 1,
        "batch": 0,
        "capacity": 7,
        "hyper": dqn.Hyper(),
    }.items():
        with pytest.raises(ValueError, match=name):
            sac.train(env, params, steps=10, **{name: number})
    with pytest.raises(ValueError, match="memory"):
        sac.train(env, params, steps=10, capacity=2 * 10**9)
    with pytest.raises(ValueError, match="'gaussian' has no dueling"):
        agents.networks.make("gaussian", actions=1, dueling=True)
    with pytest.raises(ValueError, match="actions must be 1"):
        agents.Agent("gaussian", 2, None)
    with pytest.raises(ValueError, match="posts a price of an interval, this market takes"):
        jaxprice.simulate(grid[0], result.policy(), lanes=2, horizon=3)
    inventory, _ = jaxprice.make("FiniteInventory", demand="logit", stock=3, horizon=5)
    with pytest.raises(ValueError, match="trained on other observations"):
        jaxprice.simulate(inventory, result.policy(), lanes=2, horizon=5)


@pytest.mark.slow
def test_pendulum_swings_up():
    """Mean return of at least -200, the usual mark of a solved pendulum."""
    gymnax = pytest.importorskip("gymnax")
    env, params = gymnax.make("Pendulum-v1")
    result = sac.train(env, params, steps=60_000, seeds=[0, 1, 2, 3], lanes=8, centred=True, held_out=100, points=4)
    assert np.all(result.curve["held_out"][-1] > -200), result.curve["held_out"]
