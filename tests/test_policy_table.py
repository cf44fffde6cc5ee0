"""One table of all policies, and the conditions that hold in every row of it.

A policy plays the first market of the harness that its `init` accepts. The full cross of policies and markets is a slow
test.
"""

import dataclasses
import functools
import inspect
import pydoc
import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import units_of_money
from every_policy import CARDS, EACH, LONG, NAMES, first_fit, fits, takes
from harness import LANES, SMALL_MARKETS, _act, _init, _update, market, play, problem_of
from strict import strict

from jaxprice import policies
from jaxprice.types import Discrete, Interval, Subset, Transition

ROUNDING = 2e-5  # of regret, in units of the oracle's reward
SELLERS = ("gradient", "posted_price", "parametric", "personal", "inventory", "products")
ROWS = [pytest.param(name, marks=LONG.get(name, [])) for name in NAMES if CARDS[name].family in SELLERS]
PERIODS = 12


def check(name, label):
    """Finite, within the action space, prices as promised, no negative regret; alike in any order of lanes."""
    env, params = market(label)
    problem, played = env.problem(params), play(policies.make(name), label)
    states, sales, info, last = played
    numbers = [leaf for leaf in jax.tree.leaves(played) if np.issubdtype(leaf.dtype, np.floating)]
    chex.assert_tree_all_finite(numbers)
    assert all(leaf.dtype.itemsize <= 4 for leaf in jax.tree.leaves(played))
    space, action = problem.action_space, sales.action
    assert action.shape[2:] == space.shape and np.issubdtype(action.dtype, space.kind)
    if isinstance(space, Discrete):
        assert action.min() >= 0 and action.max() < space.n
    elif isinstance(space, Interval):
        assert np.all(action >= np.asarray(problem.low) - 1e-5) and np.all(action <= np.asarray(problem.high) * (1 + 1e-5))
    elif isinstance(space, Subset):
        assert action.sum(axis=-1).max() <= space.size
    scale = max(np.abs(info["optimal_reward"]).mean(), 1e-3)
    assert info["regret"].min() >= -ROUNDING * scale
    chex.assert_trees_all_equal_shapes_and_dtypes(jax.tree.map(lambda x: x[0], states), last)


@pytest.mark.parametrize("name", EACH)
def test_in_its_market(name):
    assert fits(name), "no market of the harness has what this policy needs"
    check(name, fits(name)[0])


CROSS = [pytest.param(name, label, marks=LONG.get(name, [])) for name in NAMES for label in SMALL_MARKETS]


@pytest.mark.slow
@pytest.mark.many
@pytest.mark.parametrize(("name", "label"), CROSS)
def test_in_every_market(name, label):
    if not takes(name, label):
        pytest.skip("refused by init")
    check(name, label)


@pytest.mark.parametrize("name", EACH)
def test_decisions_do_not_depend_on_the_unit(name):
    units_of_money.check(name, first_fit(name, units_of_money.PRICED), units_of_money.UNITS, 30)


@pytest.mark.parametrize("name", ROWS)
def test_nothing_to_learn_or_to_earn(name):
    """Prices stay valid and finite if there are no sales at all, or only sales, also with a cost above every price.

    Policies of several products and of assortments see no sales.
    """
    label = first_fit(name)
    told, policy, sales = problem_of(label), policies.make(name), play(policies.make(name), label).sales
    dear = dataclasses.replace(told, cost=np.asarray(told.cost) + 2 * np.asarray(told.high))
    numbers, most = np.arange(LANES, dtype=np.uint32), 0 if np.ndim(told.high) else told.buyers
    for problem in (told, dear):
        for sold in sorted({0, most}):
            first = jax.tree.map(lambda x: x[0], sales.observation)
            state = _init(policy, problem, numbers, first)
            for time in range(PERIODS):
                seen, after = (jax.tree.map(lambda x, t=time: x[t], x) for x in (sales.observation, sales.next_observation))
                action = np.asarray(_act(policy, numbers, np.int32(time), state, seen))
                price = priced(problem, action, sales.price[time])
                demand = np.full_like(price, sold)
                reward = ((price - np.asarray(problem.cost)) * demand).reshape(LANES, -1).sum(axis=1).astype(np.float32)
                sale = Transition(seen, action, price, demand, reward, after)
                state = _update(policy, numbers, np.int32(time), state, sale)
            for leaf in jax.tree.leaves(jax.device_get(state)):
                assert not np.issubdtype(leaf.dtype, np.floating) or np.all(np.isfinite(leaf)), (sold, problem is dear)


def priced(problem, action, shape):
    """The prices of actions, once they are checked."""
    if isinstance(problem.action_space, Discrete):
        assert action.min() >= 0 and action.max() < problem.action_space.n
        return np.asarray(problem.prices, np.float32)[action]
    if isinstance(problem.action_space, Interval):
        assert np.all(np.isfinite(action))
        assert np.all(action >= np.asarray(problem.low) - 1e-5) and np.all(action <= np.asarray(problem.high) * (1 + 1e-5))
        return action
    return np.where(action, np.asarray(problem.high, np.float32), np.float32(0)).astype(shape.dtype)


@pytest.mark.parametrize("name", NAMES)
def test_strict_settings_allow_it(name):
    """Types stay explicit under x64, ranks are never broadcast silently, no key is used twice."""
    label = first_fit(name)
    env, params = market(label)
    policy, problem = policies.make(name), env.problem(params)
    played = play(policy, label)
    before, sale = jax.tree.map(lambda x: jnp.asarray(x[-1, 3]), (played.states, played.sales))

    def once(key_init, key_act, key_update):
        fresh = policy.init(key_init, problem)
        return fresh, policy.act(key_act, before, sale.observation), policy.update(key_update, before, sale)

    with strict():
        fresh, _, after = jax.eval_shape(once, *(jax.random.key(i) for i in range(3)))
    assert jax.tree.map(lambda x: (x.shape, x.dtype), fresh) == jax.tree.map(lambda x: (x.shape, x.dtype), after)
    assert all(leaf.dtype.itemsize <= 4 for leaf in jax.tree.leaves((fresh, after)))


@pytest.mark.parametrize("name", NAMES)
def test_numbers_may_be_traced(name):
    """Every hyperparameter that is a float by default, so that a sweep is one `vmap`."""
    label = first_fit(name)
    env, params = market(label)
    observation, env_state = jax.eval_shape(lambda key: env.reset_env(key, params), jax.random.key(0))
    maker = getattr(policies, name)

    def period(option, value, key):
        policy = maker(**{option: value})
        state = policy.init(key, problem_of(label))
        obs = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), observation)
        action = policy.act(key, state, obs)
        start = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), env_state)
        after, _, reward, _, info = env.step_env(key, start, action, params)
        return state, policy.update(key, state, Transition(obs, action, info["price"], info["demand"], reward, after))

    for option, default in CARDS[name].options.items():
        if isinstance(default, float):
            number = jax.ShapeDtypeStruct((), jnp.float32)
            fresh, after = jax.eval_shape(functools.partial(period, option), number, jax.random.key(0))
            assert jax.tree.map(lambda x: (x.shape, x.dtype), fresh) == jax.tree.map(lambda x: (x.shape, x.dtype), after)


@pytest.mark.parametrize("name", NAMES)
def test_its_card(name):
    """All options have defaults; the docstrings of module and maker tell what is asked of them."""
    card, module = CARDS[name], inspect.getmodule(inspect.unwrap(getattr(policies, name)))
    assert module.__name__ == f"jaxprice.policies.{card.family}.{name}"
    assert all(default is not inspect.Parameter.empty for default in card.options.values())
    assert card.family == "benchmarks" or (card.source and ("Source" in module.__doc__ or "arXiv" in module.__doc__))
    assert "regret" in module.__doc__.lower()
    own = inspect.getdoc(inspect.unwrap(getattr(policies, name)))
    for option in card.options:
        assert option in own


@pytest.mark.parametrize("name", policies.registry.names())
def test_help_tells_everything(name):
    """`help` of a policy holds its formulas, papers and rate, which its module tells, and its arguments."""
    maker = getattr(policies, name)
    function = inspect.unwrap(maker)
    text, module, own = pydoc.plain(pydoc.render_doc(maker)), inspect.getmodule(function), inspect.getdoc(function)
    text, told = " ".join(text.split()), [*inspect.getdoc(module).split("\n\n"), *own.split("\n\n")[1:]]
    assert all(" ".join(paragraph.split()) in text for paragraph in told)
    assert text.count("Args:") == (1 if inspect.signature(function).parameters else 0)
    assert str(inspect.signature(function)) in text
    card = CARDS.get(name)
    if card and card.source:
        year = re.search(r"\d{4}", card.source)[0]
        assert all(word in text for word in (year, *re.findall(r"[A-Z][a-z]+", card.source.partition("(")[0])))


def test_cards_are_those_of_the_list():
    assert sorted(CARDS) == policies.list()
    assert {*policies.list()} <= {*policies.__all__}
    assert LANES >= 4


def test_the_page_of_policies_is_up_to_date():
    """`python -m experiments.tools.policy_table --write` writes it."""
    from experiments.tools.policy_table import PAGE, page

    assert PAGE.read_text() == page()
