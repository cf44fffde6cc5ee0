"""Options of policies: refused values, equal calls, and descriptions of calls."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from harness import problem_of

import jaxprice
from jaxprice import policies
from jaxprice.policies import options

CARDS = {card.name: card for card in policies.cards()}
NEVER = (
    *(b"x", [], (), {}, {1}, 1j, object(), float("nan"), float("inf"), -float("inf"), 10**40, lambda: 0, slice(1)),
    *(np.zeros(0), np.array("x"), np.array(object(), dtype=object), np.array(["demand"]), ["demand"], np.datetime64("2020")),
)  # of no option whatever
ARRAYS = ([1.0, 2.0], [[0.5]], (0.5,), np.ones(3), np.ones((2, 2), np.float32), jnp.ones(2))
MANY = {(name, option) for name in ("hierarchical_thompson", "meta_thompson") for option in ("mean",)} | {
    *((name, option) for name in ("q_learning", "sarsa", "expected_sarsa") for option in ("bins", "low", "high", "initial")),
    *((name, "demand") for name in ("dp_pricing", "lp_resolving", "run_out_price")),
    *(("o3fu", option) for option in ("prices", "demands")),
}  # options that may be arrays
NONE = {("mle_cycle", "first"), ("mle_cycle", "second"), ("mle_greedy", "first"), ("private_quadrisection", "epsilon")}


def bad_values(name, option, default):
    """Values that an option of that default does not take."""
    bad = [*NEVER, *(() if (name, option) in MANY else ARRAYS)]
    bad += [] if default is None or (name, option) in NONE else [None]
    if isinstance(default, bool):
        return [*bad, "false", "x", 0, 1, 0.0, np.int32(1), jnp.bool_(True)[None]]
    if isinstance(default, str):
        return [*bad, "", "x", default.upper(), True, 0, 1.5]
    bad += ["x", "", "1", True, False, np.True_]
    if isinstance(default, int):
        bad += [1.5, np.float32(2.5), -1, 0] if (name, option) not in {("gittins", "a"), ("gittins", "b")} else [-1, 0]
    return bad


@pytest.mark.parametrize("name", CARDS)
def test_bad_options_are_refused(name):
    """A ValueError that names the option, before anything is traced; never another exception, never accepted."""
    maker = getattr(policies, name)
    for option, default in CARDS[name].options.items():
        for bad in bad_values(name, option, default):
            with pytest.raises(ValueError, match=option):
                maker(**{option: bad})
    with pytest.raises(ValueError, match=f"unknown option of {name} 'no_such_option'"):
        maker(no_such_option=1)
    with pytest.raises(ValueError, match=f"{name} takes .*too many"):
        maker(*CARDS[name].options.values(), 1)


COMBINED = {
    "delayed": ({"delay": 3, "law": "fixed"}, [{"delay": -1}, {"delay": 1.5}, {"delay": True}, {"law": "x"}, {"law": None}]),
    "batched": ({"size": 2}, [{"size": 0}, {"size": [2]}, {"size": "2"}]),
    "guarded": ({}, [{"low": [0.1]}, {"hold": 0}, {"hold": 1.0}, {"markdown": 1}, {"markdown": "no"}, {"gap": "x"}]),
    "per_context": ({}, [{"bins": 0}, {"bins": 2.0}, {"low": None}, {"high": np.ones(2)}]),
    "per_product": ({}, [{"products": 0}, {"products": None}]),
    "mixture": ({}, [{"weights": 1.0}, {"weights": "x"}, {"weights": [1, 2]}, {"weights": [0]}, {"weights": [[1.0]]}]),
    "restart_on": ({"detector": policies.cusum()}, [{"detector": None}, {"detector": policies.cusum}]),
    "discounted": ({"discount": 0.9}, [{"discount": 0}, {"discount": 2}, {"discount": [0.5]}, {"discount": None}]),
}


@pytest.mark.parametrize("name", COMBINED)
def test_combinators_refuse_the_same(name):
    good, bad = COMBINED[name]
    combine, inner = getattr(policies, name), policies.ucb1()
    made = combine(inner, **good)
    assert combine(inner, **good) is made and policies.describe(made).startswith(f"{name}(ucb1(")
    for wrong in bad:
        with pytest.raises(ValueError, match=next(iter(wrong)) if name != "restart_on" else "Detector"):
            combine(inner, **(good | wrong))
    with pytest.raises(ValueError, match=f"unknown option of {name}"):
        combine(inner, **good, other=1)
    with pytest.raises(ValueError, match=name):
        combine("ucb1", **good)


def test_detectors_refuse_the_same_and_are_kept():
    assert policies.cusum(reference=np.int8(50)) is policies.cusum() is not policies.page_hinkley()
    watched = policies.restart_on(policies.ucb1(), policies.cusum())
    assert watched is policies.restart_on(policies.ucb1(), policies.cusum())
    for bad in ({"reference": 0}, {"tolerance": None}, {"threshold": "x"}, {"signal": 1}, {"changes": [1.0]}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            policies.cusum(**bad)


SAME = [
    ("ucb1", "scale", [1.5, np.float32(1.5), np.float64(1.5), np.array(1.5), jnp.float32(1.5), jnp.array(1.5)]),
    ("sliding_window_ucb", "window", [20, np.int64(20), np.uint8(20), np.array(20), jnp.int32(20)]),
    ("moss", "anytime", [True, np.True_, np.array(True), jnp.array(True)]),
    ("ucb1", "signal", ["reward", np.str_("reward"), np.array("reward")]),
    ("q_learning", "bins", [(1, 4), [1, 4], np.array([1, 4]), (np.int8(1), np.int64(4)), jnp.array([1, 4])]),
    ("hierarchical_thompson", "mean", [[0.5, 0.25], (0.5, 0.25), np.array([0.5, 0.25]), jnp.array([0.5, 0.25])]),
    ("q_learning", "initial", [np.ones((15, 15)), np.ones((15, 15)).tolist(), jnp.ones((15, 15))]),
]


@pytest.mark.parametrize(("name", "option", "values"), SAME)
def test_the_same_call_in_other_types_is_the_same_policy(name, option, values):
    """So it is compiled once; and it says how it was made, which is what an experiment is filed under."""
    made = [getattr(policies, name)(**{option: value}) for value in values]
    assert all(policy is made[0] for policy in made)
    assert f"{option}=" in policies.describe(made[0])


def test_arrays_are_told_apart_and_copied():
    table = np.zeros((15, 15))
    first = policies.q_learning(initial=table)
    table[3, 4] = 1
    second = policies.q_learning(initial=table)
    assert first is not second and policies.describe(first) != policies.describe(second)
    problem = problem_of("pricing")
    assert np.all(policies.q_learning(initial=np.zeros(4)).init(jax.random.key(0), problem).table == 0)
    row = np.zeros(4)
    kept = policies.q_learning(initial=row)
    row[:] = 7
    assert np.all(kept.init(jax.random.key(0), problem).table == 0)


def test_one_and_true_are_not_the_same():
    """Python holds 1, 1.0 and True for equal; descriptions do not."""
    one, other = policies.ucb1(scale=1), policies.ucb1(scale=1.0)
    assert policies.describe(one) == "ucb1(scale=1, signal='demand')" != policies.describe(other)


def test_traced_options_are_passed_through():
    seen = []

    def regret(scale):
        policy = policies.ucb1(scale=scale)
        seen.append(policy)
        state = policy.init(jax.random.key(0), problem_of("bandit"))
        return policy.act(jax.random.key(1), state, jnp.zeros(3))

    assert jax.vmap(regret)(jnp.array([1.0, 2.0])).shape == (2,)
    assert not hasattr(seen[0].act, "description")
    with pytest.raises(ValueError, match="no description"):
        policies.describe(seen[0])
    with pytest.raises(ValueError, match="scale must be one number"):
        jax.eval_shape(regret, jax.ShapeDtypeStruct((3,), jnp.float32))


def test_unknown_names_give_the_nearest():
    with pytest.raises(AttributeError, match=r"unknown policy 'ucb'; did you mean .*'ucb1'"):
        _ = policies.ucb
    with pytest.raises(ValueError, match=r"unknown policy 'ucb'; did you mean .*'ucb1'"):
        policies.make("ucb")
    with pytest.raises(ValueError, match="unknown option of ucb1 'scal'; did you mean 'scale'"):
        policies.ucb1(scal=1)
    assert not hasattr(policies, "__wrapped__")


def test_a_fixed_price_is_one_of_the_market():
    env, params = jaxprice.make("PostedPrice", num_prices=8, prices=None)
    highest = float(np.max(env.problem(params).prices))
    for price in (1000.0, highest * 1.01):
        with pytest.raises(ValueError, match=r"fixed_price got price=.*, but prices of this market go from"):
            jaxprice.simulate(env, policies.fixed_price(price), params=params, lanes=2, horizon=4)
    jaxprice.simulate(env, policies.fixed_price(highest), params=params, lanes=2, horizon=4)
    interval = problem_of("interval")
    with pytest.raises(ValueError, match="fixed_price got price"):
        policies.fixed_price(float(interval.high) * 2).init(jax.random.key(0), interval)


def test_descriptions_spell_short_arrays_and_name_long_ones():
    assert options.describe(np.array([1.0, 2.5], np.float32)) == "[1.0, 2.5]"
    assert options.describe(np.zeros((9, 9))).startswith("array([9, 9], sha256=")
    assert options.describe(dataclasses.replace) is None
