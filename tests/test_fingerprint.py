"""Fingerprints: which edits change them, the same text in every process, objects of all kinds."""

import collections
import concurrent.futures
import enum
import functools
import importlib
import os
import subprocess
import sys
import threading
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxprice
from jaxprice import fingerprint, policies
from jaxprice.simulate import simulate

SHOP = {
    "parts.py": '''
"""Parts."""
import functools

import jax
import jax.numpy as jnp

RATE = 2.0
LIMITS = {"low": 0.0, "high": 1.0}
RULES = {}


def rule(function):
    RULES[function.__name__] = function
    return function


@rule
def cheapest(prices):
    return jnp.min(prices)


def looked_up(name):
    return RULES[name]


def scaled(x, by=3.0, *, shift=0.5):
    """Scaled."""
    # a comment
    return by * x + shift


@jax.jit
def compiled(x):
    return x + 11


@functools.lru_cache
def cached(n):
    return n + 13


def mapped(x):
    return x + 17


wide = jax.vmap(mapped)


@jax.custom_jvp
def kinked(x):
    return jnp.abs(x) + 19


@kinked.defjvp
def slope(primals, tangents):
    return primals[0], 23 * tangents[0]


def late(x):
    return x + 29


def unused(x):
    return x + 31


def ordinary(values):
    return [value + 37 for value in values if value in ("a", "b", 41)]
''',
    "base.py": """
import abc
import dataclasses
from typing import NamedTuple


class Base(abc.ABC):
    factor = 43

    def shared(self):
        return self.factor

    @property
    def double(self):
        return 2 * self.shared()

    @staticmethod
    def still(x):
        return x + 47


class Other:
    def shared(self):
        return 53


@dataclasses.dataclass(frozen=True)
class Market(Base):
    size: int = 59

    def price(self):
        return self.double


class State(NamedTuple):
    time: int = 61
""",
    "__init__.py": """
from shop import base, parts
from shop.parts import scaled as rescaled

TOTAL = 67


def seller(scale):
    bonus = 71

    def act(key, state, observation):
        from shop.parts import late

        first = parts.scaled(state, by=scale) * bonus + TOTAL + parts.LIMITS["low"] + rescaled(1)
        second = late(parts.compiled(parts.cached(2))) + parts.wide(parts.kinked(state))
        return first + second + parts.ordinary([]) + parts.RATE

    return act


class Clerk:
    def __init__(self):
        self.mood = 73

    def greet(self):
        return self.mood + 79


class Bystander:
    def greet(self):
        return 83


CELL = seller(1.0), base.Market(), base.State, Clerk().greet, parts.looked_up, [lambda: 89]
""",
}


def print_of(folder, edits=()):
    """The fingerprint of `CELL` with some texts replaced, as a fresh process would see it."""
    package = folder / "shop"
    package.mkdir(exist_ok=True)
    for name, text in SHOP.items():
        for file, old, new in edits:
            if file == name:
                assert text.count(old) >= 1, old
                text = text.replace(old, new)
        (package / name).write_text(text)
    for name in [name for name in sys.modules if name.partition(".")[0] == "shop"]:
        del sys.modules[name]
    importlib.invalidate_caches()
    found = fingerprint.Walk().of(importlib.import_module("shop").CELL)
    assert found.unknown == ()
    return found.digest


@pytest.fixture
def shop(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    return tmp_path


COUNTING = [
    ("parts.py", "RATE = 2.0", "RATE = 2.5"),
    ("parts.py", '"low": 0.0', '"low": 0.1'),
    ("parts.py", "jnp.min", "jnp.max"),
    ("parts.py", "by=3.0", "by=3.5"),
    ("parts.py", "shift=0.5", "shift=0.6"),
    ("parts.py", "by * x + shift", "by * x - shift"),
    ("parts.py", "x + 11", "x + 12"),
    ("parts.py", "n + 13", "n + 14"),
    ("parts.py", "x + 17", "x + 18"),
    ("parts.py", "jnp.abs(x) + 19", "jnp.abs(x) + 20"),
    ("parts.py", "23 * tangents", "24 * tangents"),
    ("parts.py", "x + 29", "x + 30"),
    ("parts.py", '"b", 41', '"c", 41'),
    ("parts.py", "value + 37", "value - 37"),
    ("parts.py", "jax.vmap(mapped)", "jax.vmap(mapped, 1)"),
    ("base.py", "factor = 43", "factor = 44"),
    ("base.py", "return self.factor", "return -self.factor"),
    ("base.py", "2 * self", "3 * self"),
    ("base.py", "x + 47", "x + 48"),
    ("base.py", "Market(Base)", "Market(Other, Base)"),
    ("base.py", "size: int = 59", "size: int = 60"),
    ("base.py", "time: int = 61", "time: int = 62"),
    ("base.py", "return self.double", "return self.double + 0"),
    ("__init__.py", "TOTAL = 67", "TOTAL = 68"),
    ("__init__.py", "bonus = 71", "bonus = 72"),
    ("__init__.py", "self.mood = 73", "self.mood = 74"),
    ("__init__.py", "self.mood + 79", "self.mood + 80"),
    ("__init__.py", "seller(1.0)", "seller(1)"),
    ("__init__.py", "lambda: 89", "lambda: 90"),
    ("__init__.py", "by=scale", "shift=scale"),
]
IDLE = [
    ("parts.py", '"""Parts."""', '"""Other parts."""\n\n\n'),
    ("parts.py", '    """Scaled."""\n', "    \n\n"),
    ("parts.py", "# a comment", "# another\n    # comment"),
    ("parts.py", "x + 31", "x + 32"),
    ("base.py", "return 53", "return 54"),
    ("base.py", "class Base(abc.ABC):", 'class Base(abc.ABC):\n    """Documented."""\n'),
    ("__init__.py", "return 83", "return 84"),
    ("__init__.py", "class Bystander:", "NEW = 5\n\n\nclass Bystander:"),
    ("__init__.py", "def greet(self):", 'def greet(self):\n        """Documented."""'),
    ("__init__.py", "bonus = 71", "bonus = 70 + 1"),
]


def test_an_edit_counts_where_it_is_reached(shop):
    before = print_of(shop)
    assert print_of(shop) == before
    prints = [print_of(shop, [edit]) for edit in COUNTING]
    assert [edit for edit, found in zip(COUNTING, prints, strict=True) if found == before] == []
    assert len(set(prints)) == len(COUNTING)


def test_an_edit_elsewhere_does_not_count(shop):
    before = print_of(shop)
    assert [edit for edit in IDLE if print_of(shop, [edit]) != before] == []


def test_code_without_a_file_counts(tmp_path):
    """Functions made by `exec`, as in a notebook."""

    def made(text):
        scope = {"__name__": "__main__"}
        exec(text, scope)
        return fingerprint.of(scope["f"])

    text = "K = 3\ndef g(x): return x * K\nclass A:\n    def __init__(self): self.x = 5\ndef f(x): return g(x) + A().x"
    edits = [("K = 3", "K = 4"), ("x * K", "x / K"), ("self.x = 5", "self.x = 6"), ("g(x) +", "g(x) -")]
    assert made(text) == made(text.replace("\n", "\n\n"))
    assert len({made(text), *(made(text.replace(*edit)) for edit in edits)}) == 5


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


class Point(NamedTuple):
    x: float
    y: float


class Whole(int):
    pass


def closure(value):
    return lambda: value


def ring(value):
    one, other = {"value": value}, []
    one["other"], other = other, [one]
    one["other"].append(other)
    return one


@pytest.mark.parametrize(
    "things",
    [
        (1, 1.0, True, "1", b"1", None, np.float32(1), np.float64(1), np.int32(1), 2, -1, 0.0, -0.0, float("nan"), 1j),
        ((1, 2), [1, 2], {1, 2}, frozenset({1, 2}), {1: 2}, (2, 1), [1, [2]], [[1], 2], {2: 1}, (1, (2,)), ((1,), 2)),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, collections.OrderedDict(a=1, b=2), collections.deque([1, 2])),
        (np.zeros(2), np.zeros((2, 1)), np.zeros(2, np.float32), np.ones(2), np.array([None, 0]), np.array(["a", "b"])),
        (jax.random.key(0), jax.random.key(1), jax.random.PRNGKey(0), jnp.bfloat16(2), np.float16(2)),
        (closure(1), closure(2), closure((1, 2)), closure(closure(1)), closure(np.arange(3)), closure(np.arange(3) * 1.0)),
        (functools.partial(closure, 1), functools.partial(closure, value=1), functools.partial(closure), closure),
        (Colour.RED, Colour.BLUE, Colour),
        (Point(1.0, 2.0), Point(2.0, 1.0), (1.0, 2.0), Whole(1), Whole(2), 1),
        ([].append, [1].append, len, max, str.upper, "a".upper, np.mean, jnp.mean, np.random.default_rng(0).normal),
        (np.random.default_rng(0), np.random.default_rng(1), np.random.RandomState(0)),
        (jax.jit(closure(1)), jax.jit(closure(2)), jax.vmap(closure(1)), jax.vmap(closure(2)), jax.grad(closure(1))),
        (policies.ucb1(), policies.ucb1(scale=1.0), policies.ucb1(signal="reward"), policies.thompson(), policies.kl_ucb()),
        (policies.mixture(policies.ucb1(), policies.thompson()), policies.mixture(policies.thompson(), policies.ucb1())),
        (ring(1), ring(2), range(3), range(4), slice(3), slice(4), ..., NotImplemented, np.dtype("f4"), np.dtype("f8")),
    ],
)  # fmt: skip
def test_other_things_have_other_fingerprints(things):
    prints = [fingerprint.of(thing) for thing in things]
    assert len(set(prints)) == len(things)
    assert prints == [fingerprint.of(thing) for thing in things]
    assert all(fingerprint.Walk().of(thing).unknown == () for thing in things)


def test_arrays_count_by_their_content():
    """NumPy or JAX, whoever owns the memory."""
    assert fingerprint.of(np.arange(3, dtype=np.float32)) == fingerprint.of(jnp.arange(3, dtype=np.float32))
    assert fingerprint.of(np.arange(6)[::2]) == fingerprint.of(np.array([0, 2, 4]))
    assert fingerprint.of(jnp.asarray(2.0)) != fingerprint.of(jnp.float32(2.0))  # the first takes the type of its company


def test_models_of_other_packages_count_by_their_state():
    linear_model = pytest.importorskip("sklearn.linear_model")
    rows, values = np.arange(8.0).reshape(4, 2), np.array([0.0, 1.0, 0.0, 1.0])

    def fitted(**options):
        return closure(linear_model.Ridge(**options).fit(rows, values).predict)

    found = fingerprint.Walk().of(fitted())
    assert found.unknown == () and found.packages["scikit-learn" if "scikit-learn" in found.packages else "sklearn"]
    assert fingerprint.of(fitted()) == fingerprint.of(fitted()) != fingerprint.of(fitted(alpha=2.0))


def test_what_has_no_content_is_named_and_never_the_same(tmp_path):
    with open(tmp_path / "file", "w") as file:
        found = [fingerprint.Walk().of(closure(file)) for _ in range(2)]
    assert found[0].digest != found[1].digest
    assert "TextIOWrapper" in found[0].unknown[0]


def test_memory_does_not_count():
    """Caches fill and locks are taken while a program runs."""
    remembered, lock, pool = fingerprint.Cache(), threading.Lock(), concurrent.futures.ThreadPoolExecutor(1)

    @functools.cache
    def kept(n):
        return remembered, lock, pool, n

    def play():
        return kept(1)

    before = fingerprint.of(play)
    remembered[1], _ = object(), play()
    lock.acquire()
    pool.submit(print)
    assert fingerprint.of(play) == before


def test_bookkeeping_does_not_count():
    """Training keeps checkpoints, whose names hold the process and the host."""
    from jaxprice import files
    from jaxprice.agents import rl2

    def play():
        return files.TOKEN, files.HOST, fingerprint.of, __file__

    before = fingerprint.of(rl2.train, play)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "TOKEN", "another")
        patch.setattr(files, "LEFTOVER", None)
        patch.setitem(globals(), "__file__", "elsewhere")
        assert fingerprint.of(rl2.train, play) == before


def test_lists_that_are_only_appended_to_do_not_count():
    """A log of what was done; one that is read counts."""
    log, read = [], []

    def play(x):
        log.append(x)
        return [y for y in read if y]

    before = fingerprint.of(play)
    log.append(1)
    assert fingerprint.of(play) == before
    read.append(1)
    assert fingerprint.of(play) != before


def test_a_narrow_walk_counts_the_entries_that_are_named():
    """Whoever looks up another is known by it."""
    entries = {"one": lambda: 1, "two": lambda: 2}
    shop = fingerprint.Registry("shop", entries)

    def buy(name="one"):
        return shop[name]()

    def told(play, narrow=True, **changes):
        shop.update(entries | changes)
        return fingerprint.Walk(narrow).of(play)

    narrow, whole = told(buy), told(buy, narrow=False)
    assert narrow.entries == {("shop", "one")} and whole.entries == {("shop", "one"), ("shop", "two")}
    assert told(buy, one=lambda: 3).digest != narrow.digest and told(buy, two=lambda: 3).digest == narrow.digest
    assert told(buy, narrow=False, two=lambda: 3).digest != whole.digest
    assert told(buy, three=lambda: 3).digest == narrow.digest
    with fingerprint.watching() as looked:
        buy("tw" + "o")
    assert looked == {("shop", "two")} and not looked <= told(buy).entries
    del fingerprint.Registry.every["shop"]


def test_entries_of_registries_are_read_again():
    shop = fingerprint.Registry("shop", {"one": lambda: 1})

    def buy():
        return shop["one"]()

    walk = fingerprint.Walk()
    first = walk.of(buy).digest
    assert walk.again().of(buy).digest == first
    shop["one"] = lambda: 3
    assert walk.again().of(buy).digest != first
    del fingerprint.Registry.every["shop"]


def test_a_market_by_name_counts_and_others_do_not():
    def play():
        return jaxprice.make("PostedPrice"), policies.thompson()

    found = fingerprint.Walk(narrow=True).of(play)
    assert {name for title, name in found.entries if title == "markets"} == {"PostedPrice"} and found.unknown == ()


def test_playing_does_not_change_the_fingerprint_of_what_plays():
    env, params = jaxprice.make("BernoulliBandit", means=[0.2, 0.8])

    def act(key, state, observation):
        return jax.pure_callback(lambda x: np.int32(x), jax.ShapeDtypeStruct((), jnp.int32), jnp.int32(1))

    sellers = policies.thompson(), jaxprice.Policy(lambda key, problem: (), act, lambda key, state, transition: ())
    before = fingerprint.of(simulate, env, sellers)
    for policy in sellers:
        simulate(env, policy, params=params, lanes=4, horizon=8)
    assert fingerprint.of(simulate, env, sellers) == before


def test_everything_of_the_package_has_a_fingerprint():
    walk, prints = fingerprint.Walk(), {}
    assert walk.of(simulate).unknown == ()
    for name, make in policies.registry.makers().items():
        try:
            prints[name] = walk.of(make())
        except (TypeError, ValueError):  # makers that must be told something
            continue
    for env in ("PostedPrice", "GLMDemand", "NonStationary", "LogitOligopoly", "Storefront"):
        prints[env] = walk.of(jaxprice.make(env)[0])
    assert [name for name, found in prints.items() if found.unknown] == []
    assert len(prints) > 90 and len({found.digest for found in prints.values()}) == len(prints)
    assert {"jax", "numpy", "python"} <= set(prints["thompson"].packages)


PROCESS = """
from jaxprice import agents, fingerprint, policies
from jaxprice.simulate import simulate
agent = agents.load("pricing_in_context")
print(*(fingerprint.of(x) for x in (simulate, agent, policies.thompson(), {"a", "b", "c", "d"}, ("x", frozenset("xyz")))))
"""


def test_processes_agree():
    """Whatever the order in which each holds its sets."""

    def told(seed):
        env = os.environ | {"PYTHONHASHSEED": seed}
        return subprocess.run([sys.executable, "-c", PROCESS], env=env, capture_output=True, text=True, check=True).stdout

    assert told("1") == told("2")


def test_what_reaches_the_fingerprints_themselves_has_one():
    """Code that keeps its results by fingerprints, as training does: what they remember decides nothing."""
    from jaxprice.agents import rl2

    assert fingerprint.of(rl2.train) == fingerprint.of(rl2.train) and not fingerprint.Walk().of(rl2.train).unknown
