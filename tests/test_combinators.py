"""Policies made of policies: neutral options change nothing; states against plain loops; price rules, alarms, lanes."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from harness import HORIZON, LANES, SMALL_MARKETS, assert_choices, market, play, problem_of, state_after
from rows import some
from strict import strict

import jaxprice
from jaxprice import policies
from jaxprice.policies.wrappers.detectors import Detector
from jaxprice.types import Discrete, Transition

QUIET = policies.cusum(threshold=1e6)
FAIR = ("FairPricing", ())


def noisy(coin=True):
    """A policy whose prices show the order of sales and what it draws in `init`, `act` and, with `coin`, in `update`."""

    def act(key, state, observation):
        return jnp.argmax(state + 0.5 * jax.random.uniform(key, state.shape, jnp.float32)).astype(jnp.int32)

    def update(key, state, transition):
        weight = jax.random.uniform(key, (), jnp.float32) if coin else 1.0
        return (0.9 * state).at[transition.action].add(weight * transition.reward)

    def init(key, problem):
        return jax.random.uniform(key, (problem.num_prices,), jnp.float32)

    return jaxprice.Policy(init, act, update)


NOISY, ORDERED = noisy(), noisy(coin=False)


def assert_same(one, other):
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=2e-5, atol=1e-6), one, other)


@functools.partial(jax.jit, static_argnums=0)
def _states(policy, state, sales):
    def period(state, sale):
        after = policy.update(jax.random.key(0), state, sale)
        return after, after

    return jax.lax.scan(period, state, sales)[1]


def plain_states(policy, name, sales, start=None):
    """States of a policy without random updates before each of some sales `[T]` and after the last, `[T + 1]`."""
    start = jax.tree.map(jnp.asarray, policy.init(jax.random.key(0), problem_of(name)) if start is None else start)
    after = _states(policy, start, sales)
    return jax.tree.map(lambda x, xs: np.concatenate([np.asarray(x)[None], xs]), start, after)


def row(tree, *index):
    return jax.tree.map(lambda x: np.asarray(x)[index], tree)


ALL = policies.restart_on(policies.guarded(policies.batched(policies.delayed(NOISY, 0), 1)), QUIET)


def test_neutral_options_give_the_policy_itself():
    one, other = play(policies.per_context(policies.mixture(ALL), bins=1), "features"), play(NOISY, "features")
    assert np.unique(other.sales.action).size > 2
    np.testing.assert_array_equal(one.sales.action, other.sales.action)
    np.testing.assert_array_equal(one.last.copies.each[0].inner.inner.inner.inner[:, 0], other.last)
    one, other = play(policies.discounted(policies.ucb1(), 1.0), "pricing"), play(policies.ucb1(), "pricing")
    np.testing.assert_array_equal(one.sales.action, other.sales.action)
    np.testing.assert_array_equal(one.last.inner.arms.counts, other.last.arms.counts)
    np.testing.assert_array_equal(one.last.inner.arms.sums, other.last.arms.sums)
    np.testing.assert_array_equal(one.last.inner.time, other.last.time)


def test_delayed_states_are_those_of_some_sales_ago():
    played, late = play(policies.delayed(policies.ucb1(), 7), "pricing"), np.maximum(np.arange(HORIZON) - 7, 0)
    for k in range(LANES):
        reference = plain_states(policies.ucb1(), "pricing", row(played.sales, slice(None), k))
        assert_same(row(played.states.inner, slice(None), k), row(reference, late))
        assert_same(row(played.last.inner, k), row(reference, HORIZON - 7))
    first = played.sales.action[: 4 * 8]  # UCB1 repeats each price of its first round until it has heard of one sale of it
    np.testing.assert_array_equal(first, np.broadcast_to(np.repeat(np.arange(4), 8)[:, None], first.shape))


def test_random_delays():
    """Every sale arrives once, when it is due; delays are uniform."""
    longest, policy = 5, ORDERED
    played = play(policies.delayed(policy, longest, law="uniform"), "bandit")
    arrivals = np.concatenate([played.states.arrival[1:], played.last.arrival[None]])
    numbers = np.arange(HORIZON)
    due = arrivals[numbers, :, numbers % (longest + 1)]
    delays = due - numbers[:, None]
    share = np.bincount(delays.ravel(), minlength=longest + 1) / delays.size
    assert share.size == longest + 1
    assert np.all(np.abs(share - 1 / 6) < 4 * np.sqrt(5 / 36 / delays.size))
    assert delays.min(axis=0).max() == 0
    for k in range(2):
        order = [s for now in numbers for s in numbers[: now + 1] if due[s, k] == now]
        assert order != sorted(order)
        reference = plain_states(policy, "bandit", row(played.sales, np.array(order), k), played.states.inner[0, k])
        heard = [np.sum(due[:now, k] < now) for now in range(HORIZON)]
        assert_same(row(played.states.inner, slice(None), k), row(reference, heard))


def test_batches():
    played, policy = play(policies.batched(ORDERED, 7), "crowd"), ORDERED
    for k in range(LANES):
        reference = plain_states(policy, "crowd", row(played.sales, slice(None), k), played.states.inner[0, k])
        assert_same(row(played.states.inner, slice(None), k), row(reference, np.arange(HORIZON) // 7 * 7))
        assert_same(row(played.last.inner, k), row(reference, HORIZON // 7 * 7))
    assert HORIZON % 7


@pytest.mark.parametrize("name", [*SMALL_MARKETS, FAIR], ids=str)
def test_sales_are_kept_in_every_market(name):
    """What is kept has the shapes and types of what the market gives, and none is lost."""
    env, params = market(name)
    problem, policy = env.problem(params), policies.batched(policies.delayed(policies.random_price(), 2), 3)

    def period(key):
        obs, env_state = env.reset_env(key, params)
        state = policy.init(key, problem.with_observation(obs))
        action = policy.act(key, state, obs)
        after, _, reward, _, info = env.step_env(key, env_state, action, params)
        sale = Transition(obs, action, info["price"], info["demand"], reward, after)
        return sale, state, policy.update(key, state, sale)

    sale, before, after = jax.eval_shape(period, jax.random.key(0))
    kinds = [jax.tree.map(lambda x: (x.shape, x.dtype), tree) for tree in (before, after, sale)]
    assert kinds[0] == kinds[1]
    one = jax.tree.map(lambda x: (x.shape[1:], x.dtype), after.buffer.ring)
    assert one == kinds[2]


RULES = {
    "band": ("pricing", {"low": 0.5, "high": 0.75}),
    "step": ("pricing", {"step": 0.2}),
    "hold": ("crowd", {"hold": 4}),
    "all": ("crowd", {"low": 0.4, "step": 0.16, "hold": 2, "markdown": True}),
    "network": ("network", {"step": 3.0, "hold": 2, "gap": 0.9}),
    "interval": ("interval", {"low": 0.8, "step": 0.05}),
    "interval, hold": ("interval, logit", {"step": 0.7, "hold": 3, "high": 2.0}),
    "interval, markdown": ("interval", {"markdown": True}),
    "products": ("several products", {"step": 0.1, "hold": 2}),
    "groups": (FAIR, {"low": 1.0, "step": 0.5, "gap": 0.3}),
    "no rule": ("interval", {"gap": 0.0}),
    "one price for all": (FAIR, {"step": 0.5, "gap": 0.0, "hold": 2}),
}


@functools.partial(jax.jit, static_argnums=(0, 1))
def _post(inner, policy, problem, keys):
    def lane(key):
        def period(state, key):
            action = policy.act(key, state, None)
            price = action if problem.num_prices == 0 else problem.prices[action]
            zero = jnp.zeros_like(price)
            after = policy.update(key, state, Transition(None, action, price, zero, jnp.float32(0), None))
            return after, (price, inner.act(key, inner.init(key, problem), None))

        return jax.lax.scan(period, policy.init(key, problem), jax.random.split(key, HORIZON))

    return jax.vmap(lane)(keys)


def post(inner, name, **rules):
    """Prices and proposals of a guarded policy that does not learn, `[lane, time, ...]`, and the last state."""
    policy, keys = policies.guarded(inner, **rules), jax.random.split(jax.random.key(0), LANES)
    last, posted = jax.device_get(_post(inner, policy, problem_of(name), keys))
    return *posted, last


@pytest.mark.parametrize("label", some(RULES, "all", "network", "interval, hold", "groups", "no rule"))
def test_guards(label):
    """Random prices under rules: none is broken, and what is posted is the nearest price that they allow."""
    name, rules = RULES[label]
    problem, close = problem_of(name), 2e-6 * float(np.max(problem_of(name).high))
    rules = {"low": 0.0, "high": np.inf, "step": np.inf, "hold": 1, "markdown": False, "gap": np.inf} | rules
    low, high, step, hold, markdown, gap = rules.values()
    posted, proposed, _ = post(policies.random_price(), name, **RULES[label][1])
    proposed = proposed if problem.num_prices == 0 else np.asarray(problem.prices)[proposed]
    prices, wanted = (np.moveaxis(x.reshape(LANES, HORIZON, -1).astype(float), 0, 1) for x in (posted, proposed))
    grid = isinstance(problem.action_space, Discrete)
    table = np.asarray(problem.prices, float).reshape(problem.num_prices, -1) if grid else None
    assert np.any(prices != wanted) or label == "no rule"
    assert prices.min() >= low - close and prices.max() <= high + close
    assert np.all(np.ptp(prices, axis=2) <= gap + close)
    moves = np.diff(prices, axis=0)
    assert np.abs(moves).max() <= step + close and (not markdown or moves.max() <= 0)
    for k in range(LANES):
        age = 0
        for t in range(HORIZON):
            last = prices[t - 1, k] if t else prices[t, k]
            if 0 < age < hold:
                expected = last
            elif grid:
                allowed = np.all((table >= low - close) & (table <= high + close), axis=1) & (
                    np.ptp(table, axis=1) <= gap + close
                )
                if t:
                    allowed &= np.all(np.abs(table - last) <= step + close, axis=1) & (
                        np.all(table <= last, axis=1) | (not markdown)
                    )
                distance = np.sum((table - wanted[t, k]) ** 2, axis=1)
                expected = table[np.argmin(np.where(allowed, distance, np.inf))]
            else:
                expected = np.clip(wanted[t, k], low, high)
                middle = (expected.min() + expected.max()) / 2
                expected = np.clip(expected, middle - gap / 2, middle + gap / 2)
                if t:
                    expected = np.clip(expected, last - step, last if markdown else last + step)
            np.testing.assert_allclose(prices[t, k], expected, atol=2 * close)
            age = age + 1 if t and np.all(prices[t, k] == last) else 1
    changes = [np.flatnonzero(np.any(moves[:, k], axis=1)) for k in range(LANES)]
    assert min((np.diff(x).min() for x in changes if x.size > 1), default=hold) >= hold


def test_guards_keep_what_they_cannot_move_and_tell_what_was_posted():
    """Two actions of one price; a forbidden price is never learned from; the exact price of a band of one."""
    problem = problem_of("pricing", prices=jnp.array([0.35, 0.55, 0.55, 0.9]))
    policy = policies.guarded(policies.fixed_price(0.9), high=0.6)
    assert int(policy.act(jax.random.key(0), policy.init(jax.random.key(0), problem), None)) == 1
    twin = jaxprice.Policy(
        policies.random_price().init, lambda key, state, obs: jnp.int32(2), policies.random_price().update
    )
    policy = policies.guarded(twin, low=0.5, high=0.6, step=0.0, hold=3, markdown=True)
    for actions in ([], [1], [1, 2], [2, 1, 1, 1]):
        state = state_after(policy, problem, actions, np.zeros(len(actions)))
        assert int(policy.act(jax.random.key(0), state, None)) == 2
        assert int(state.age) == len(actions)
    price, _, last = post(policies.ucb1(), "pricing", high=0.6)
    assert price.max() == np.float32(0.55)
    np.testing.assert_array_equal(last.inner.arms.counts[:, 2:] < 0.5, True)
    np.testing.assert_allclose(last.inner.arms.counts[:, :2].sum(axis=1), HORIZON)


def test_a_copy_for_each_cell():
    policy, told = policies.ucb1(), {"low": 0.55, "high": 1.15}
    played = play(policies.per_context(policy, bins=3, **told), "features")
    context = played.sales.observation[..., -3:]
    cells = np.digitize(context, [0.75, 0.95]) @ [1, 3, 9]
    assert np.unique(cells).size > 8
    for k in range(3):
        for cell in range(27):
            mine = np.flatnonzero(cells[:, k] == cell)
            reference = plain_states(policy, "features", row(played.sales, mine, k))
            assert_same(row(played.last.copies, k, cell), row(reference, mine.size))
            inner = row(played.states.copies, mine, k, cell)
            assert_same(inner, row(reference, np.arange(mine.size)))
            np.testing.assert_array_equal(played.sales.action[mine[:4], k], np.arange(4)[: mine.size])


@pytest.mark.parametrize("products", [1, 7])
def test_a_fresh_start_for_each_product(products):
    policy = policies.ucb1()
    played = play(policies.per_product(policy, products), "pricing")
    starts = [m * HORIZON // products for m in range(products)] + [HORIZON]
    for k in range(0, LANES, 5):
        for begin, end in itertools.pairwise(starts):
            reference = plain_states(policy, "pricing", row(played.sales, slice(begin, end), k))
            assert_same(row(played.states.inner, slice(begin, end), k), row(reference, slice(end - begin)))
            np.testing.assert_array_equal(played.sales.action[begin : begin + 4, k], np.arange(4))
    told = policies.per_product(policies.explore_then_commit(share=0.5), products)
    assert int(told.init(jax.random.key(0), problem_of("pricing", horizon=100)).inner.budget) == 100 // products // 2
    with pytest.raises(ValueError, match="products must be an integer of at least 1, got 0"):
        policies.per_product(policy, 0)


def test_what_copies_are_told():
    policy = policies.per_context(policies.explore_then_commit(share=0.5))
    copies = policy.init(jax.random.key(0), problem_of("features", horizon=100)).copies
    assert copies.budget.tolist() == [6] * 8  # half of 100 / 8, rounded up before it is halved
    assert np.unique(copies.order, axis=0).shape[0] > 1
    signs = policies.per_context(policies.fixed_price())
    state = signs.init(jax.random.key(0), problem_of("features"))
    state = state.replace(
        copies=policies.fixed_price().init(jax.random.key(0), problem_of("features")).replace(action=jnp.arange(8))
    )
    for cell in range(8):
        signed = jnp.array([1.0 if cell >> i & 1 else -0.1 for i in range(3)])
        assert int(signs.act(jax.random.key(0), state, jnp.concatenate([jnp.ones(3), signed]))) == cell
    assert int(signs.act(jax.random.key(0), state, jnp.zeros(6))) == 7  # zero counts as positive


def test_mixture_draws_by_weight_and_all_learn():
    three = [policies.fixed_price(p) for p in (0.35, 0.55, 0.9)]
    problem, key = problem_of("pricing"), jax.random.key(0)
    weighted, equal = policies.mixture(*three, weights=(1, 0, 3)), policies.mixture(*three)
    assert_choices(weighted, weighted.init(key, problem), [0.25, 0, 0, 0.75], against=[[0.3, 0, 0, 0.7]])
    assert_choices(equal, equal.init(key, problem), [1 / 3, 1 / 3, 0, 1 / 3])
    both = play(
        policies.mixture(policies.ucb1(), policies.random_price(), policies.exp3(), weights=(0.5, 0.25, 0.25)), "pricing"
    )
    for i, policy in ((0, policies.ucb1()), (2, policies.exp3())):
        reference = plain_states(policy, "pricing", row(both.sales, slice(None), 0))
        assert_same(row(both.states.each[i], slice(None), 0), row(reference, slice(HORIZON)))
    twins = policies.mixture(NOISY, NOISY).init(key, problem).each
    assert np.all(twins[0] != twins[1])


def walks_by_hand(kind, first, tolerance, actions, signals):
    """Largest walk after each signal, float64; Page-Hinkley by its cumulative sums and their smallest."""
    seen, largest = {}, []
    for arm, x in zip(actions, signals, strict=True):
        xs = seen.setdefault(arm, [])
        xs.append(float(x))
        if kind == "cusum":
            r, rest = np.mean(xs[:first]), xs[first:]
            gaps = np.array([x - r for x in rest])
        else:
            gaps = np.array([x - np.mean(xs[: i + 1]) for i, x in enumerate(xs)])
        tops = []
        for sign in (1, -1):
            sums = np.concatenate([[0.0], np.cumsum(sign * gaps - tolerance)])
            tops.append(sums[-1] - sums.min())
        largest.append((max(tops), len(xs) > first))
    return np.array([top for top, _ in largest]), np.array([loud for _, loud in largest])


@functools.partial(jax.jit, static_argnums=0)
def _watch(detector, state, actions, demands):
    def period(state, sale):
        state, alarm = detector.update(state, Transition(None, sale[0], jnp.float32(1), sale[1], sale[1], None))
        return state, (jnp.maximum(state.up, state.down)[sale[0]], alarm)

    return jax.lax.scan(period, state, (actions, demands))[1]


@pytest.mark.parametrize("kind", ["cusum", "page_hinkley"])
def test_detectors_against_sums(kind):
    generator = np.random.default_rng(0)
    actions = generator.integers(0, 4, 300).astype(np.int32)
    demands = (generator.random(300) < np.where(np.arange(300) < 150, 0.2, 0.7)).astype(np.float32)
    detector = getattr(policies, kind)(12, tolerance=0.07, threshold=3.0)
    top, alarm = _watch(detector, detector.init(problem_of("bandit")), actions, demands)
    expected, loud = walks_by_hand(kind, 12, 0.07, actions, demands)
    np.testing.assert_allclose(top, expected, atol=2e-5)
    clear = np.abs(expected - 3) > 1e-4
    np.testing.assert_array_equal(np.asarray(alarm)[clear], ((expected >= 3) & loud)[clear])
    assert np.any(alarm) and not np.all(alarm)


def test_alarms_come_when_they_should():
    """A jump from 0 to 1 takes h / (1 - e) signals; false alarms of an excursion are rarer than exp(-8 e h)."""
    zeros_then_ones = np.repeat(np.float32([0, 1]), 60)
    detector, arm = policies.cusum(20, tolerance=0.1, threshold=4.0), np.zeros(120, np.int32)
    alarm = np.asarray(_watch(detector, detector.init(problem_of("bandit")), arm, zeros_then_ones)[1])
    assert np.argmax(alarm) == 60 + np.ceil(4 / 0.9) - 1
    default = policies.cusum().init(problem_of("bandit", horizon=1000))
    assert float(default.threshold) == pytest.approx(np.log(1000))
    quick = policies.page_hinkley(changes=10).init(problem_of("bandit", horizon=1000))
    assert float(quick.threshold) == pytest.approx(np.log(100))
    generator, e, h = np.random.default_rng(1), 0.1, 2.0
    detector = policies.cusum(1, tolerance=e, threshold=1e6)
    start = detector.init(problem_of("bandit"))
    known = start.replace(counts=start.counts + 5, reference=start.reference + 0.5)  # the true mean
    demands = (generator.random(200_000) < 0.5).astype(np.float32)
    walk = np.asarray(_watch_up(detector, known, demands))
    starts = np.flatnonzero((walk > 0) & (np.concatenate([[0], walk[:-1]]) == 0))
    reached = np.maximum.reduceat(walk, starts) >= h
    bound, error = np.exp(-8 * e * h), np.sqrt(reached.mean() / reached.size)
    assert 0.2 * bound < reached.mean() < bound + 3 * error


@functools.partial(jax.jit, static_argnums=0)
def _watch_up(detector, state, demands):
    def period(state, demand):
        state, _ = detector.update(state, Transition(None, jnp.int32(0), jnp.float32(1), demand, demand, None))
        return state, state.up[0]

    return jax.lax.scan(period, state, demands)[1]


def test_restarts():
    """On an alarm, policy and detector are as they were at the start, and the sale is dropped; else nothing happens."""
    inner, detector = policies.explore_then_commit(), policies.page_hinkley(5, tolerance=0.05, threshold=1.5)
    played = play(policies.restart_on(inner, detector), "pricing")
    restarts = np.concatenate([played.states.restarts, played.last.restarts[None]])
    assert restarts[-1].min() >= 1
    found, update, learn = 0, jax.jit(detector.update), jax.jit(inner.update)
    for k in (0, 1):
        start = played.lane(k)[0][0]
        assert_same(start.start, (start.inner, start.detector))
        for t, (state, sale) in enumerate(played.lane(k)):
            after = row(played.states, t + 1, k) if t + 1 < HORIZON else row(played.last, k)
            seen, alarm = update(state.detector, sale)
            assert restarts[t + 1, k] - restarts[t, k] == alarm
            found += int(alarm)
            fresh = learn(jax.random.key(0), state.inner, sale), seen
            assert_same((after.inner, after.detector), start.start if alarm else fresh)
            jax.tree.map(np.testing.assert_array_equal, after.start, start.start)
    assert found


def test_discounted_ucb_is_discounted_ucb1():
    """As long as no count falls below one half, where `arms.best` plays the arm at once."""
    one = play(policies.discounted(policies.ucb1(scale=1.0, signal="reward"), 0.98), "pricing")
    other = play(policies.discounted_ucb(discount=0.98, xi=0.25, signal="reward"), "pricing")
    assert one.states.inner.arms.counts[4:].min() > 0.5
    np.testing.assert_array_equal(one.sales.action, other.sales.action)
    np.testing.assert_allclose(one.last.total, other.last.total, rtol=1e-5)
    np.testing.assert_allclose(one.last.inner.arms.sums, other.last.sums, rtol=1e-4, atol=1e-5)


def test_a_discounted_arm_comes_back():
    played = play(policies.discounted(policies.ucb1(scale=0.0), 0.95), "bandit")
    late = 0
    for k in range(LANES):
        times = np.flatnonzero(played.sales.action[:, k] == 2)
        left = played.states.inner.arms.counts[times[:-1] + 1, k, 2]  # after the pull
        limit = np.log(2 * left) / -np.log(0.95)
        assert np.all(np.diff(times) <= limit + 5)  # four arms may ask at once
        late += np.sum(np.diff(times) > limit)
    assert late
    harsh = play(policies.discounted(policies.ucb1(), 1e-6), "bandit")
    assert harsh.last.inner.arms.counts.min() > 0
    np.testing.assert_array_equal(harsh.sales.action, np.broadcast_to(harsh.sales.action[:, :1], harsh.sales.action.shape))


NESTED = policies.delayed(policies.restart_on(NOISY, policies.cusum(5, threshold=2.0)), 2)
ROWS = {
    "delayed": ("bandit", policies.delayed(NOISY, 4, law="uniform")),
    "nested": ("pricing", policies.batched(policies.guarded(NESTED, step=0.25, hold=2), 3)),
    "mixture": ("pricing", policies.mixture(policies.discounted(policies.ucb1(), 0.95), NOISY, weights=(0.7, 0.3))),
    "per_context": ("features", policies.per_context(NOISY, low=0.5, high=1.2)),
    "per_product": ("pricing", policies.per_product(NOISY, 5)),
}


@pytest.mark.parametrize("label", some(ROWS, "nested"))
def test_lanes_do_not_depend_on_the_chunk(label):
    """The engine, four lanes at a time and the last chunk not full, against twelve lanes of `vmap`."""
    name, policy = ROWS[label]
    env, params = market(name)
    result = jaxprice.simulate(env, policy, lanes=7, horizon=HORIZON, params=params, chunk=4, devices=1)
    regret = result["lane_regret"].values[0]
    assert np.unique(regret).size > 4
    np.testing.assert_allclose(regret, play(policy, name).info["regret"][:, :7].sum(axis=0), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("label", ROWS)
def test_strict_settings_allow_it(label):
    """Types stay explicit under x64, ranks are never broadcast silently, no key is used twice."""
    name, policy = ROWS[label]
    played, (env, params) = play(policy, name), market(name)
    before, sale = jax.tree.map(lambda x: jnp.asarray(x[-1, 3]), (played.states, played.sales))
    for leaf in jax.tree.leaves((played.states, played.last)):
        assert leaf.dtype.itemsize <= 4 and np.all(np.isfinite(leaf))

    def once(key_init, key_act, key_update):
        fresh = policy.init(key_init, env.problem(params).with_observation(sale.observation))
        return fresh, policy.act(key_act, before, sale.observation), policy.update(key_update, before, sale)

    with strict():
        fresh, _, after = jax.eval_shape(once, *(jax.random.key(i) for i in range(3)))
    assert jax.tree.map(lambda x: (x.shape, x.dtype), fresh) == jax.tree.map(lambda x: (x.shape, x.dtype), after)
    assert all(leaf.dtype.itemsize <= 4 for leaf in jax.tree.leaves((fresh, after)))


def test_numbers_may_be_traced():
    """A sweep over the numbers of a combinator is one `vmap`."""
    env, params = market("pricing")

    def regret(x, make):
        return jaxprice.rollout(env, make(x), lanes=4, horizon=20, params=params)["regret"]

    makers = [
        lambda x: policies.guarded(policies.random_price(), low=x, high=2 * x, step=x),
        lambda x: policies.mixture(policies.ucb1(), policies.random_price(), weights=[x, 1 - x]),
        lambda x: policies.restart_on(policies.ucb1(), policies.cusum(tolerance=x, threshold=x, changes=x)),
        lambda x: policies.discounted(policies.ucb1(), x),
    ]
    for make in makers:
        assert jax.eval_shape(functools.partial(regret, make=make), jax.ShapeDtypeStruct((), jnp.float32)).shape == (4,)


def test_in_a_market_with_several_sellers():
    """A seller's combinator keeps what this seller sees."""
    name = "LogitOligopoly", (("num_prices", 5),)
    watched = policies.delayed(policies.ucb1(signal="reward"), 2)
    played = play(policies.sellers(watched, policies.guarded(policies.random_price(), step=0.1)), name)
    grid = np.asarray(problem_of(name).prices)[:, 1]
    assert np.diff(grid).min() > 0.1
    assert np.all(played.sales.action[:, :, 1] == played.sales.action[0, :, 1])  # no step is small enough
    ring, now = played.last.each[0].buffer, HORIZON - 1
    assert ring.ring.observation.shape == (LANES, 3, 4)
    np.testing.assert_array_equal(ring.ring.action[:, now % 3], played.sales.action[now, :, 0])
    np.testing.assert_array_equal(ring.ring.demand[:, now % 3], played.sales.demand[now, :, 0])


def test_one_object_per_call_and_its_description():
    one = policies.delayed(policies.ucb1(), 3)
    assert one is policies.delayed(policies.ucb1(), delay=3, law="fixed")
    assert one is not policies.delayed(policies.ucb1(), 4)
    assert policies.describe(one) == "delayed(ucb1(scale=2.0, signal='demand'), delay=3, law='fixed')"
    both = policies.mixture(one, policies.random_price(), weights=[1, 2])
    assert both is policies.mixture(one, policies.random_price(), weights=(1, 2))
    assert policies.describe(both) == f"mixture({policies.describe(one)}, random_price(), weights=(1, 2))"
    watched = policies.restart_on(both, policies.page_hinkley(threshold=3.0))
    assert policies.describe(watched).endswith(
        "detector=page_hinkley(silent=20, tolerance=0.1, threshold=3.0, changes=1.0, signal='demand'))"
    )
    own = policies.ucb1()._replace(act=lambda *arguments: policies.ucb1().act(*arguments))
    assert not hasattr(policies.batched(own, 2).act, "description")
    combinators = {"delayed", "batched", "guarded", "per_context", "mixture", "restart_on", "discounted", "per_product"}
    assert not combinators & {*policies.list()}


UCB1 = policies.ucb1()
REFUSED = [
    (lambda: policies.delayed(policies.oracle(), 1), "delayed takes policies that learn"),
    (lambda: policies.mixture(UCB1, policies.oracle()), "mixture takes policies that learn"),
    (lambda: policies.guarded("ucb1"), "guarded takes a Policy, got 'ucb1'"),
    (lambda: policies.delayed(UCB1, -1), "delay must be"),
    (lambda: policies.delayed(UCB1, 1.5), "delay must be"),
    (lambda: policies.delayed(UCB1, 1, law="normal"), "unknown law 'normal'"),
    (lambda: policies.batched(UCB1, 0), "size must be"),
    (lambda: policies.guarded(UCB1, low=-1.0), "low must be"),
    (lambda: policies.guarded(UCB1, low=2.0, high=1.0), "low must be at most high"),
    (lambda: policies.guarded(UCB1, step=float("nan")), "step must be"),
    (lambda: policies.guarded(UCB1, hold=0), "hold must be"),
    (lambda: policies.guarded(UCB1, gap=-0.1), "gap must be"),
    (lambda: policies.guarded(UCB1, markdown=1), "markdown must be"),
    (lambda: policies.per_context(UCB1, bins=0), "bins must be"),
    (lambda: policies.per_context(UCB1, low=1.0, high=1.0), "low must be below high"),
    (lambda: policies.mixture(), "at least one policy"),
    (lambda: policies.mixture(UCB1, weights=[1, 2]), "weights must be 1 numbers"),
    (lambda: policies.mixture(UCB1, UCB1, weights=[1, -2]), "weights must be in"),
    (lambda: policies.mixture(UCB1, UCB1, weights=[0, 0.0]), "weights must not all be zero"),
    (lambda: policies.restart_on(UCB1, "cusum"), "takes a Detector"),
    (lambda: policies.cusum(0), "reference must be"),
    (lambda: policies.page_hinkley(0), "silent must be"),
    (lambda: policies.cusum(threshold=0), "threshold must be"),
    (lambda: policies.cusum(tolerance=-1), "tolerance must be"),
    (lambda: policies.page_hinkley(changes=0), "changes must be"),
    (lambda: policies.cusum(signal="profit"), "unknown signal 'profit'"),
    (lambda: policies.discounted(UCB1, 0.0), "discount must be"),
    (lambda: policies.discounted(UCB1, 1.1), "discount must be"),
    ((lambda: policies.delayed(UCB1, 11), "bandit"), "longer than the horizon of 10"),
    ((lambda: policies.delayed(UCB1, 2), "bandit"), "delayed keeps observations"),
    ((lambda: policies.batched(UCB1, 2), "bandit"), "batched keeps observations"),
    ((lambda: policies.guarded(policies.random_price(), low=0.91), "pricing"), "guarded got low=0.91"),
    ((lambda: policies.guarded(policies.random_price(), low=0.6, high=0.65), "pricing"), "guarded got low=0.6"),
    ((lambda: policies.guarded(policies.random_price(), low=100.0), "interval"), "guarded got low=100.0"),
    ((lambda: policies.guarded(policies.random_price()), "assortments"), "guarded keeps prices"),
    ((lambda: policies.guarded(policies.random_price(), gap=1.0), "several products"), "guarded cannot keep a gap"),
    ((lambda: policies.guarded(policies.random_price()), ("LogitOligopoly", ())), "guarded sets the prices of one seller"),
    ((lambda: policies.per_context(UCB1), "bandit"), "per_context needs buyers with features"),
    ((lambda: policies.per_context(UCB1, bins=11), "features"), "per_context allows 1024 cells"),
    ((lambda: policies.restart_on(policies.random_price(), QUIET), "interval"), "cusum chooses from a price grid"),
    (
        (lambda: policies.discounted(policies.ucb_tuned(), 0.9), "bandit"),
        "discounted takes index policies .*variance_bound.State",
    ),
    ((lambda: policies.discounted(policies.random_price(), 0.9), "bandit"), "discounted takes index policies"),
]


@pytest.mark.parametrize(("make", "message"), REFUSED, ids=lambda x: x if isinstance(x, str) else "")
def test_refusals(make, message):
    with pytest.raises(ValueError, match=message):
        if callable(make):
            make()
        else:
            make[0]().init(jax.random.key(0), problem_of(make[1], horizon=10))


def test_any_detector_will_do():
    """Two functions make one."""
    every_third = Detector(lambda problem: jnp.int32(0), lambda state, transition: (state + 1, state == 2))
    policy = policies.restart_on(policies.ucb1(), every_third)
    state = state_after(policy, problem_of("bandit"), [0, 1, 2, 3, 3], np.ones(5))
    assert int(state.restarts) == 1 and int(state.detector) == 2
    np.testing.assert_allclose(state.inner.arms.counts, [0, 0, 0, 2], atol=1e-6)
