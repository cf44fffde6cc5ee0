"""Options of markets, each defined once, as a field of the market's class; and the list of markets.

    @market(kind="one product", what="...", paper="...", oracle="...")
    @dataclasses.dataclass(frozen=True)
    class MyMarket(MyopicMarket):
        num_prices: int = option(10, "size of the price grid", whole)

The constructor checks `num_prices` in every call. `jaxprice.make("MyMarket", num_prices=5)` accepts it, and `help(MyMarket)`
describes it. Numbers of one market are not fields: they are keyword arguments of the class method `make`, which passes the
other options to the constructor:

    @classmethod
    def make(cls, *, means=None, **choices):
"""

import dataclasses
import functools
import inspect
import textwrap
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from jaxprice import checks
from jaxprice.anatomy import Cache
from jaxprice.environment import Environment
from jaxprice.registry import Registry

KINDS = ("bandit", "one product", "buyers with features", "limited stock", "memory", "several products", "any market")
MAKERS = Registry("markets")
_CARDS = Cache()  # descriptions do not influence results, so fingerprints ignore them

whole, switch = checks.positive_int, checks.boolean


def number(low=-float("inf"), high=float("inf")):
    """A check: one finite number in `[low, high]`, as a float."""
    return lambda name, value: float(checks.number(name, value, low=low, high=high, scalar=True))


amount, share = number(0), number(0, 1)


def positive(name, value):
    """One finite number above zero, as a float."""
    return float(checks.positive(name, value))


def optional(check):
    """A check that accepts None, and otherwise applies the given check."""
    return lambda name, value: None if value is None else check(name, value)


def grid(name, value):
    """A price grid, as a tuple of floats."""
    del name
    return tuple(checks.price_grid(value).tolist())


def given(params, **numbers):
    """Params with the given numbers, that is, those that are not None."""
    return dataclasses.replace(params, **{name: value for name, value in numbers.items() if value is not None})


def inner(market, options):
    """The market inside a wrapper: an environment, or the one that `make` builds from a name and options.

    Raises:
      ValueError: the name is unknown, or the options are not a dict or come with an environment.
    """
    from jaxprice import envs

    options = checks.options("options", options)
    if not isinstance(market, Environment):
        return envs.make(checks.choice("market", market, envs.list_envs()), **options)[0]
    if options:
        raise ValueError(f"options are those of a market given by name, but market is {market!r}")
    return market


def option(default: Any, about: str, check: Callable[[str, Any], Any] | None) -> Any:
    """A field of a market that `make` accepts.

    Args:
      default: its default value.
      about: a description.
      check: `(name, value) -> value`, which raises a ValueError or returns the normal form of the value.
    """
    return dataclasses.field(default=default, metadata={"about": about, "check": check})


def choice(default: str | None, about: str, names: Iterable[str]) -> Any:
    """An option that is one of some names."""
    *first, last = map('"{}"'.format, names)
    return option(default, f"{about}: {', '.join(first)} or {last}", lambda name, value: checks.choice(name, value, names))


def periods(default: int = 1000) -> Any:
    """The option `horizon`."""
    return option(default, "periods in an episode", whole)


class Card(NamedTuple):
    """A description of a market.

    Attributes:
      name: name for `make`.
      kind: one of `KINDS`.
      what: a description of one line.
      paper: authors and year.
      oracle: the benchmark of regret.
      merit: the figure of merit.
      options: name -> default.
    """

    name: str
    kind: str
    what: str
    paper: str
    oracle: str
    merit: str
    options: dict


def market(*, kind, what, paper, oracle, merit="regret", names=None):
    """Register a class of markets under its name.

    Args:
      kind, what, paper, oracle, merit: as in `Card`.
      names: replaces the name of the class; name -> the options for which it stands.
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")

    def register(cls):
        defaults, lines = options_of(cls), [f"{name}: {about}" for name, about in words(cls)]
        lines = [textwrap.fill(line, 121, initial_indent="  ", subsequent_indent="    ") for line in lines]
        cls.__doc__ = "\n".join([inspect.getdoc(cls), "", "Options of `make`:", *lines])
        for name, fixed in ({cls.__name__: {}} if names is None else names).items():
            MAKERS[name] = functools.partial(cls.make, **fixed) if fixed else cls.make
            rest = {option: default for option, default in defaults.items() if option not in fixed}
            _CARDS[name] = Card(name, kind, what, paper, oracle, merit, rest)
        return cls

    return register


def cards():
    """The `Card` of every market, by kind, then by name."""
    return sorted(_CARDS.values(), key=lambda card: (KINDS.index(card.kind), card.name))


def card(name):
    """The `Card` of a market."""
    return _CARDS[name]


def _fields(cls):
    """The fields of a class that are options: they are no arguments of `make`, and not `derived` from others."""
    taken = inspect.signature(cls.make).parameters
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in taken.values()):
        return []
    taken = {*taken, *getattr(cls, "derived", ())}
    return [field for field in dataclasses.fields(cls) if "about" in field.metadata and field.name not in taken]


def options_of(cls):
    """Option -> default, for a class of markets."""
    taken = inspect.signature(cls.make).parameters.values()
    given = {parameter.name: parameter.default for parameter in taken if parameter.kind is not parameter.VAR_KEYWORD}
    return given | {field.name: field.default for field in _fields(cls)}


def words(cls):
    """`(option, description)` for a class of markets, from the docstring of `make` and from its fields."""
    _, _, rest = (inspect.getdoc(cls.make) or "").partition("Args:\n")
    entries, found = rest.partition("\n\n")[0], []
    for line in textwrap.dedent(entries).splitlines():
        if line.startswith(" "):
            found[-1] += " " + line.strip()
        elif not line.startswith("**"):
            found.append(line)
    written = [tuple(entry.split(": ", 1)) for entry in found]
    return written + [(field.name, f"{field.metadata['about']}{_usual(field.default)}.") for field in _fields(cls)]


def _usual(default):
    """The default, as the end of the description of an option."""
    return "" if default is None else f"; {default!r} by default"
