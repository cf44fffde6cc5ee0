"""Training of agents: probes, resume, invariance to devices, runs in one vmap, bad input; and trained agents."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rows import some
from strict import strict

import jaxprice
from jaxprice import agents, policies
from jaxprice.agents import imitation, learning, lifetimes, probes, rl2
from jaxprice.envs.bernoulli_bandit import BernoulliBandit
from jaxprice.types import Policy, Transition

T = 6
HYPER = agents.Hyper(learning_rate=1e-2, entropy=0.01, trace=0.95)
BANDIT = BernoulliBandit(num_arms=3)
BRIEF = {"updates": 1, "lanes": 4, "held_out": 64}  # of one run, shared so that it is compiled once


def network(env, name="gru", size=16, **inputs):
    return agents.networks.make(name, actions=env.num_arms, size=size, inputs=agents.Inputs(**inputs))


def trained(env, net, updates=60, **options):
    settings = {"horizon": T, "lanes": 128, "minibatches": 2, "hyper": HYPER, "chunk": 20, "held_out": 256, "seeds": [0, 1]}
    return rl2.train(env, net, updates=updates, **(settings | options))


@pytest.mark.parametrize("probe", some(probes.NAMES, "flip"))
def test_probe(probe):
    env = probes.make(probe)
    _, curve = trained(env, network(env))
    reached = curve["held_out"][-1] * T
    wanted = env.optimum(T) - (1 if probe == "delayed" else 0)  # there the last action pays nobody
    assert np.all(reached >= wanted - 0.15), (probe, curve["held_out"])
    if probe != "one_arm":
        assert np.all(curve["held_out"][-1] > curve["held_out"][0] - 0.02)


def test_memory_cut_fails_where_memory_is_needed():
    env = probes.make("flip")
    _, curve = trained(env, network(env, "none", action=False, demand=False, reward=False))
    assert np.all(np.abs(curve["held_out"][-1] - 0.5) < 0.1)


@pytest.mark.slow
def test_a2c_learns_too():
    env = probes.make("flip")
    _, curve = trained(env, network(env), updates=120, algorithm="a2c")
    assert np.all(curve["held_out"][-1] * T > env.optimum(T) - 0.3)


def leaves(tree):
    return [np.asarray(x) for x in jax.tree.leaves(tree)]


def test_a_killed_run_resumes_with_the_same_weights(tmp_path):
    net = network(BANDIT)
    whole, curve = trained(BANDIT, net, updates=6, chunk=2, folder=tmp_path / "whole")
    seen, save = [], agents.learning.checkpoint.Store.save

    def stop(self, state, curve, step):
        save(self, state, curve, step)
        seen.append(step)
        if step == 4:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(agents.learning.checkpoint.Store, "save", stop)
        with pytest.raises(KeyboardInterrupt):
            trained(BANDIT, net, updates=6, chunk=2, folder=tmp_path / "killed")
    resumed, again = trained(BANDIT, net, updates=6, chunk=2, folder=tmp_path / "killed")
    assert seen == [2, 4]
    for a, b in zip(leaves(whole), leaves(resumed), strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_allclose(curve["held_out"], again["held_out"], rtol=1e-6)


@pytest.mark.slow
def test_runs_of_one_vmap_are_those_apart_and_hyperparameters_are_traced():
    net = network(BANDIT)
    rates = dataclasses.replace(HYPER, learning_rate=jnp.array([1e-2, 1e-3]))
    together, _ = trained(BANDIT, net, updates=3, seeds=[4, 5], hyper=rates)
    for run, (seed, rate) in enumerate([(4, 1e-2), (5, 1e-3)]):
        alone, _ = trained(BANDIT, net, updates=3, seeds=seed, hyper=dataclasses.replace(HYPER, learning_rate=rate))
        for a, b in zip(leaves(agents.one(together, run)), leaves(agents.one(alone)), strict=True):
            np.testing.assert_allclose(a, b, atol=2e-5)


@pytest.mark.slow
def test_number_of_devices_does_not_matter():
    if jax.local_device_count() < 2:
        pytest.skip("one device")
    net = network(BANDIT)
    one, two = (trained(BANDIT, net, updates=3, devices=devices)[0] for devices in (1, 2))
    for a, b in zip(leaves(one), leaves(two), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-5)


@pytest.mark.slow
def test_distillation_learns_the_teacher_and_dpt_the_posterior():
    env = BernoulliBandit(num_arms=2)
    settings = {"horizon": T, "lanes": 256, "hyper": agents.Hyper(learning_rate=1e-2, warm_up=0.1), "chunk": 50}
    _, curve = imitation.train(env, network(env), policies.gittins(horizon=T), updates=150, **settings)
    assert curve["agreement"][-1] > 0.95
    _, curve = imitation.train(env, network(env), policies.oracle(), updates=150, **settings, actor=policies.thompson())
    ignorant = np.log(2)  # before anything is seen
    assert ignorant * 0.6 < curve["loss"][-1] < ignorant * 0.95


@pytest.mark.parametrize("name", ["sampled", "mean", "posterior_mean"])
def test_return_rewards_have_the_same_mean(name):
    lives = lived(BANDIT, network(BANDIT), name)
    total, truth = np.asarray(lives.reward.sum(axis=1), float), T / 2  # fresh weights play at random
    assert abs(total.mean() - truth) < 4 * total.std() / 4000**0.5
    shared = T * (T - 1) / 3 / 12  # two periods in the same arm share its mean
    spread = {"sampled": (T / 4 + shared) ** 0.5, "mean": (T / 12 + shared) ** 0.5}
    if name in spread:
        assert abs(total.std() / spread[name] - 1) < 4 * (2 * 4000) ** -0.5
    else:
        assert total.std() < 0.8 * spread["mean"]


def test_regret_as_return_is_what_is_lost_to_the_oracle():
    """In a bandit the mean less the best; with stock, whose oracle plans ahead, it sums to what the season loses."""
    net = network(BANDIT)
    lives = lived(BANDIT, net, "regret")
    np.testing.assert_allclose(lives.reward, lives.expected - lives.optimal, atol=1e-6)
    env, _ = jaxprice.make("FiniteInventory", stock=2, horizon=T)
    net = agents.networks.make("gru", actions=4, size=8)
    regret, mean = (lived(env, net, name) for name in ("regret", "mean"))
    unit = np.asarray(regret.facts.unit, float)
    lost, earned = (np.asarray(x.reward.sum(axis=1), float) * unit for x in (regret, mean))
    worth = np.asarray(regret.optimal.sum(axis=1), float)
    gap = worth + lost - earned
    assert abs(gap.mean()) < 4 * gap.std() / 4000**0.5 and abs(lost.mean()) > 20 * gap.std() / 4000**0.5


def test_forbidden_actions_are_replaced_as_in_the_engine():
    """A shop that closes once its unit is sold: the record keeps the choice, everything else is that of closing."""
    env, _ = jaxprice.make("FiniteInventory", demand="logit", num_prices=3, stock=1, horizon=T, shut_off=True, closes=True)
    net = agents.networks.make("gru", actions=4, size=8)
    weights = agents.networks.initial(net, jax.random.key(0), *lifetimes.Play(env, net, T).example())
    cheapest = Policy(lambda key, problem: (), lambda key, state, obs: jnp.int32(0), lambda key, state, sale: state)
    play = lifetimes.Play(env, net, T, return_reward="mean", teacher=cheapest)
    live = jax.jit(jax.vmap(play.live, (None, None, 0)))(weights, lifetimes.streams(0), jnp.arange(60, dtype=jnp.uint32))
    before = np.asarray(live.seen.demand).cumsum(axis=1) >= 1  # demand of the period before, at each period
    assert before[:, -1].sum() > 20 and np.any(np.asarray(live.action)[before] != 3)
    assert np.all(live.label[before] == 3) and np.all(live.label[~before] == 0)
    assert np.all(live.reward[before] == 0) and np.all(live.expected[before] == 0) and np.all(live.expected[:, 0] >= 0)
    shut = before[:, :-1]
    assert np.all(live.seen.action[:, 1:][shut] == 3)
    np.testing.assert_array_equal(live.seen.action[:, 1:][~shut], live.action[:, :-1][~shut])
    chosen = jax.nn.log_softmax(jax.jit(play.says)(weights, live).logits)
    chosen = np.take_along_axis(np.asarray(chosen), np.asarray(live.action)[..., None], axis=-1)[..., 0]
    np.testing.assert_allclose(live.log_prob, chosen, rtol=1e-4, atol=1e-5)


def lived(env, net, name):
    """Lifetimes of fresh weights."""
    play = lifetimes.Play(env, net, T, return_reward=name)
    weights = agents.networks.initial(net, jax.random.key(0), *play.example())
    return jax.jit(jax.vmap(play.live, (None, None, 0)))(weights, lifetimes.streams(0), jnp.arange(4000, dtype=jnp.uint32))


def test_what_the_market_showed_stands_beside_what_came_of_it():
    """Seen after a sale: the context before it as `past`, zeros before the first."""
    env, _ = jaxprice.make("GLMDemand", dimension=3, num_prices=4)
    net = agents.networks.make("gru", actions=4, size=8, inputs=agents.Inputs(past=True))
    seen = lived(env, net, "sampled").seen
    assert np.ptp(seen.observation) > 0.1 and not np.any(seen.past[:, 0])
    np.testing.assert_array_equal(seen.past[:, 1:], seen.observation[:, :-1])


def test_advantages_against_plain_loops():
    rng = np.random.default_rng(0)
    reward, value = rng.random((2, 5, T)).astype(np.float32)
    lives = lifetimes.Lifetime(*[None] * 9).replace(reward=jnp.asarray(reward), value=jnp.asarray(value))
    hyper = agents.Hyper(trace=0.9, discount=0.8)
    ours, returns = _on_one_device(lambda: rl2.advantages(lives, hyper, T))
    values, raw = value.astype(float) * T, np.zeros((5, T))
    for lane in range(5):
        for t in range(T):
            for i in range(t, T):
                later = values[lane, i + 1] if i + 1 < T else 0.0
                error = reward[lane, i] - reward.mean() + 0.8 * later - values[lane, i]
                raw[lane, t] += (0.8 * 0.9) ** (i - t) * error
    level = raw - raw.mean(axis=0)
    np.testing.assert_allclose(ours, level / np.sqrt((level**2).mean()), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(returns, raw + values, rtol=1e-4, atol=1e-5)


def _on_one_device(function):
    mesh = jaxprice.devices.mesh(1)
    spec = jax.sharding.PartitionSpec()
    return jax.jit(jax.shard_map(function, mesh=mesh, in_specs=(), out_specs=spec, check_vma=False))()


def test_a_loss_that_is_not_a_number_stops_with_the_step(tmp_path):
    net = network(BANDIT)

    def learn(training, state, hyper, streams, lanes, share):
        bad = jnp.where(state.update == 3, jnp.nan, 0.0)
        return state, {"loss": bad}

    training = learning.Training(lifetimes.Play(BANDIT, net, T), 4, 1)
    with pytest.raises(FloatingPointError, match="loss is not finite at update 4; the weights of update 2 are kept"):
        learning.run(training, learn, HYPER, 0, 6, folder=tmp_path, chunk=2, held_out=4)
    assert [path.name for path in tmp_path.glob("run-*/[0-9]*")] == ["2"]


def agent(name="gru", env=BANDIT, **changes):
    options = changes.setdefault("options", {"size": 8})
    net = agents.networks.make(name, actions=env.num_arms, **options)
    weights = agents.networks.initial(net, jax.random.key(3), *lifetimes.Play(env, net, 1).example())
    keys = iter(jax.random.split(jax.random.key(4), 100))
    weights = jax.tree.map(lambda w: w + jax.random.normal(next(keys), w.shape), weights)
    return agents.Agent(**({"name": name, "actions": env.num_arms, "weights": weights} | changes))


@pytest.mark.parametrize(
    "way",
    some(
        [f"{name}, {deploy}" for name in ("gru", "min_gru", "stats") for deploy in ("argmax", "sample")],
        "gru, sample",
        "stats, argmax",
    ),
)
def test_a_trained_agent_plays_as_it_lived(way):
    name, deploy = way.split(", ")
    one = agent(name, deploy=deploy)
    result = jaxprice.simulate(BANDIT, one.policy(), seed=5, lanes=20, horizon=T, traces=True)
    play = lifetimes.Play(BANDIT, one.network, T, deploy=deploy)
    live = jax.jit(jax.vmap(play.live, (None, None, 0)))
    lives = live(one.weights, lifetimes.streams(5), jnp.arange(20, dtype=jnp.uint32))
    np.testing.assert_array_equal(result["trace_action"].values.squeeze(), np.asarray(lives.action).T)
    assert np.ptp(lives.action) > 0


@pytest.mark.parametrize("name", agents.networks.NAMES)
def test_strict_settings_allow_an_agent(name):
    one = agent(name)
    with strict():
        env, params = jaxprice.make("BernoulliBandit", num_arms=BANDIT.num_arms)
        obs, _ = env.reset(jax.random.key(0), params)
        policy, problem = one.policy(), env.problem(params)
        state = jax.jit(policy.init)(jax.random.key(1), problem.with_observation(obs))
        for time in range(2):
            action = jax.jit(policy.act)(jax.random.key(2 + time), state, obs)
            sale = Transition(obs, action, jnp.float32(1), jnp.float32(1), jnp.float32(1), obs)
            after = jax.jit(policy.update)(jax.random.key(5 + time), state, sale)
            assert jax.tree.map(jnp.result_type, after) == jax.tree.map(jnp.result_type, state)
            state = after
        assert all(np.all(np.isfinite(x)) for x in leaves(state))


def test_an_agent_is_saved_and_read_back(tmp_path):
    one = agent(told={"horizon": T, "score": 0.5})
    path = tmp_path / "deep" / "one.npz"
    agents.save(path, one)
    back, policy = agents.load_agent(path), agents.load(path)
    assert back.card == one.card == policy.card and policy.longest is None
    for a, b in zip(leaves(one.weights), leaves(back.weights), strict=True):
        np.testing.assert_array_equal(a, b)
    runs = [jaxprice.simulate(BANDIT, p, lanes=8, horizon=T)["lane_regret"].values for p in (one.policy(), policy)]
    np.testing.assert_array_equal(*runs)
    assert list(path.parent.iterdir()) == [path]


def test_refusals_of_agents(tmp_path):
    with pytest.raises(ValueError, match=re.escape("saved as one .npz file")):
        agents.save(tmp_path / "one.bin", agent())
    with pytest.raises(ValueError, match="unknown agent"):
        agents.load("no such agent")
    other = BernoulliBandit(num_arms=4)
    with pytest.raises(ValueError, match="trained for 3 actions, the market has 4"):
        jaxprice.simulate(other, agent().policy(), lanes=2, horizon=T)
    jaxprice.simulate(other, agent("stats").policy(), lanes=2, horizon=T)  # takes any number
    short = agent("transformer", options={"size": 8, "longest": 7}).policy()
    with pytest.raises(ValueError, match="at most 7 periods, got the horizon 8"):
        jaxprice.simulate(BANDIT, short, lanes=2, horizon=8)
    env, params = jaxprice.make("BernoulliBandit", num_arms=BANDIT.num_arms, horizon=8)
    problem = env.problem(params).with_observation(env.reset(jax.random.key(0), params)[0])
    with pytest.raises(ValueError, match="remembers at most 7 periods, got a problem of 8"):
        short.init(jax.random.key(0), problem)
    env, _ = jaxprice.make("FiniteInventory", stock=3, horizon=T)
    with pytest.raises(ValueError, match="trained"):
        jaxprice.simulate(env, agent().policy(), lanes=2, horizon=T)
    with pytest.raises(ValueError, match="choose one of a number of actions"):
        jaxprice.simulate(jaxprice.make("PostedPrice", num_prices=None)[0], agent().policy(), lanes=2, horizon=T)


@pytest.mark.parametrize(
    ("message", "options"),
    [
        ("updates must be an integer of at least 1, got 0", {"updates": 0}),
        ("lanes must be a multiple of the 3 minibatches, got 128", {"minibatches": 3}),
        ("unknown algorithm 'ppoo'", {"algorithm": "ppoo"}),
        ("unknown return_reward", {"return_reward": "truth"}),
        ("horizon must be an integer of at least 1", {"horizon": 0}),
        ("chunk must be an integer of at least 1", {"chunk": 0}),
        ("seeds must be an integer in", {"seeds": -1}),
        ("seeds must be an integer in", {"seeds": 0.5}),
        ("seeds must be an integer in", {"seeds": []}),
        ("seeds must be an integer in", {"seeds": True}),
        ("seeds must be an integer in", {"seeds": [1, True]}),
        ("seeds must be an integer in", {"seeds": "1"}),
        ("seeds must be an integer in", {"seeds": np.array(2**32)}),
        ("seeds must be an integer in", {"seeds": np.zeros((1, 1), int)}),
        ("env must be an environment", {"env": "BernoulliBandit"}),
        ("env must be an environment", {"env": (BANDIT, None)}),
        ("network must be one of agents.networks.make, got 'gru'", {"net": "gru"}),
        ("network must be one of agents.networks.make", {"net": None}),
        ("hyper must be agents.Hyper, got {'clip': 0.2}", {"hyper": {"clip": 0.2}}),
        ("hyper must be agents.Hyper, got 0", {"hyper": 0}),
        ("clip must be a number, got None", {"hyper": agents.Hyper(clip=None)}),
        ("decay must be a number, got '0.1'", {"hyper": agents.Hyper(decay="0.1")}),
        ("trace must be one number, or one for each of the 2 runs", {"hyper": agents.Hyper(trace=[0.1, 0.2, 0.3])}),
        ("devices must be", {"devices": 0}),
        ("devices must be", {"devices": "all"}),
        ("devices must be", {"devices": 1.0}),
        ("devices must be JAX devices", {"devices": ["cpu"]}),
        ("minibatches must be an integer", {"minibatches": 2.0}),
        ("lanes must be an integer", {"lanes": "128"}),
        ("held_out must be an integer", {"held_out": 0}),
        ("progress must be True or False, got 'yes'", {"progress": "yes"}),
        ("unknown judge 'best'", {"judge": "best"}),
        ("unknown judge ''", {"judge": ""}),
        ("folder must be a path, got 5", {"folder": 5}),
        ("clip must be in", {"hyper": agents.Hyper(clip=2.0)}),
        ("learning_rate must be", {"hyper": agents.Hyper(learning_rate=-1.0)}),
    ],
)
def test_bad_options(message, options):
    options = {"env": BANDIT, "net": network(BANDIT)} | options
    with pytest.raises(ValueError, match=re.escape(message)):
        trained(**options)


def test_lanes_must_divide_among_devices():
    if jax.local_device_count() < 2:
        pytest.skip("one device")
    with pytest.raises(ValueError, match="lanes must be a multiple of minibatches x devices = 4, got 2"):
        trained(BANDIT, network(BANDIT), lanes=2, minibatches=2, devices=2)


def test_posterior_mean_needs_the_prior():
    env, _ = jaxprice.make("PostedPrice", num_prices=3)
    with pytest.raises(ValueError, match="needs a BernoulliBandit, got PostedPrice"):
        rl2.train(env, network(BANDIT), horizon=T, updates=1, return_reward="posterior_mean")


@pytest.mark.parametrize(
    ("message", "options"),
    [
        ("teacher must be a Policy, got 'gittins'", {"teacher": "gittins"}),
        ("teacher must be a Policy, got None", {"teacher": None}),
        ("actor must be a Policy, got 'ucb1'", {"actor": "ucb1"}),
        ("unknown deploy ''", {"deploy": ""}),
        ("hyper must be agents.Hyper", {"hyper": {}}),
        ("lanes must be an integer of at least 1, got 0", {"lanes": 0}),
    ],
)
def test_bad_options_of_imitation(message, options):
    settings = {"env": BANDIT, "network": network(BANDIT), "teacher": policies.oracle(), "horizon": T, "updates": 1}
    with pytest.raises(ValueError, match=re.escape(message)):
        imitation.train(**(settings | options))


OTHER_MARKETS = {
    "more actions": ("BernoulliBandit", {"num_arms": 4}, "must have the 4 actions of BernoulliBandit, got one of 3 actions"),
    "fewer actions": ("PostedPrice", {"num_prices": 2}, "must have the 2 actions of PostedPrice-logit, got one of 3"),
    "contexts and more actions": ("GLMDemand", {"num_prices": 5}, "must have the 5 actions"),
    "any price": ("PostedPrice", {"num_prices": None}, "agents choose one of a number of actions"),
    "several sellers": ("LogitOligopoly", {}, "agents choose one of a number of actions"),
    "sets of products": ("MNLAssortment", {}, "agents choose one of a number of actions"),
}


@pytest.mark.parametrize("case", OTHER_MARKETS)
def test_training_refuses_a_network_of_another_market(case):
    name, options, message = OTHER_MARKETS[case]
    env, _ = jaxprice.make(name, **options)
    for train in (rl2.train, lambda *args, **rest: imitation.train(*args, policies.oracle(), **rest)):
        with pytest.raises(ValueError, match=message):
            train(env, network(BANDIT), horizon=T, updates=1)


def test_training_refuses_lifetimes_beyond_what_its_players_were_made_for():
    short = agents.networks.make("transformer", actions=3, size=4, heads=2, longest=T - 1)
    with pytest.raises(ValueError, match="network was made for at most 5 periods, got the horizon 6"):
        rl2.train(BANDIT, short, horizon=T, updates=1)
    one = agent("transformer", options={"size": 4, "heads": 2, "longest": T - 1}).policy()
    with pytest.raises(ValueError, match="teacher was made for at most 5 periods, got the horizon 6"):
        imitation.train(BANDIT, network(BANDIT), one, horizon=T, updates=1)
    priced = Policy(lambda *_: (), lambda *_: jnp.float32(0.5), lambda *_: ())
    for who in ({"teacher": priced}, {"teacher": policies.oracle(), "actor": priced}):
        with pytest.raises(ValueError, match="must choose one action by its index"):
            imitation.train(BANDIT, network(BANDIT), **who, horizon=T, updates=1)


def test_a_share_of_nothing_is_told():
    """Where the oracle earns nothing there is no share of it; what is lost to it is told instead."""
    env = Nothing(num_arms=2)
    with pytest.warns(RuntimeWarning, match="held_out is NaN where what the oracle earns .* is not positive"):
        _, curve = trained(env, network(env, "none"), updates=2, chunk=1, lanes=4)
    assert np.all(np.isnan(curve["held_out"]))
    np.testing.assert_array_equal(curve["held_out_regret"], 0)
    _, curve = trained(BANDIT, network(BANDIT, "none", size=4), **BRIEF, seeds=4)
    assert np.all((curve["held_out"] > 0) & (curve["held_out"] < 1))
    best = curve["held_out_regret"] / (1 - curve["held_out"])
    assert np.all(np.abs(best - 0.75) < 4 * 0.194 / 8)  # the largest of three uniform means, of 64 markets


class Nothing(BernoulliBandit):
    """Arms that never pay."""

    def sample_params(self, key):
        return self.params_of(jnp.zeros(self.num_arms))


def test_any_kind_of_integer_is_a_seed():
    net = network(BANDIT, "none", size=4)
    one = learning.seeds_of([0, 2**32 - 1])
    for seeds in ((0, 2**32 - 1), np.array([0, 2**32 - 1]), np.uint32([0, 2**32 - 1]), [np.int8(0), np.uint64(2**32 - 1)]):
        np.testing.assert_array_equal(learning.seeds_of(seeds), one)
    kinds = (3, np.array(3), np.uint8(3), range(3, 4))
    weights = [trained(BANDIT, net, **BRIEF, seeds=seed)[0] for seed in kinds]
    for other in weights[1:]:
        for a, b in zip(leaves(weights[0]), leaves(other), strict=True):
            np.testing.assert_array_equal(a, b)


def test_one_run_of_several():
    weights = {"a": jnp.arange(6.0).reshape(3, 2), "b": jnp.arange(3.0)}
    assert agents.one(weights, np.int8(2))["a"].tolist() == [4, 5] and agents.one(weights, -1)["b"] == 2
    for run in (3, -4, 0.0, True):
        with pytest.raises(ValueError, match="run must be an integer in"):
            agents.one(weights, run)
    with pytest.raises(ValueError, match="must have a leading axis of runs"):
        agents.one({"a": jnp.zeros(2), "b": jnp.zeros(3)})
