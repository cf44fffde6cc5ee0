"""Time and memory of a seller at work: quotes and sales of `jaxprice.live`, one at a time and in arrays.

    python -m experiments.live_throughput                  # about a minute on two cores
    python -m experiments.live_throughput --out live.json

One quote and its sale are timed with the journal in the three ways to wait for the disk, without a journal, and beside a UCB
in plain Python that keeps its numbers in a list and survives nothing. Arrays have one buyer for each product. The cold start
is `Session.open` in this process, whose code is compiled already, from a snapshot of the given number of products.
"""

import dataclasses
import json
import math
import tempfile
import time
from pathlib import Path

import jax
import numpy as np
from rich.console import Console
from rich.table import Table

import jaxprice
from experiments.frame import command
from jaxprice import live, policies


@dataclasses.dataclass(frozen=True)
class Options:
    """What to measure."""

    policy: str = "ucb1"
    """Name of a policy."""
    prices: int = 10
    """Size of the price grid."""
    quotes: int = 3000
    """Quotes that are timed one at a time."""
    products: int = 10_000
    """Products of a call with arrays."""
    many: int = 100_000
    """Products of the cold start."""
    repeats: int = 20
    """Calls with arrays; the median counts."""
    out: Path | None = None
    """Write the numbers to this file, as JSON."""

    def __post_init__(self):
        for name in ("prices", "quotes", "products", "many", "repeats"):
            jaxprice.checks.positive_int(name, getattr(self, name))
        jaxprice.checks.choice("policy", self.policy, policies.list())


class PlainUCB:
    """UCB1 of one product in plain Python."""

    def __init__(self, prices):
        self.prices, self.pulls, self.sums = prices, [0] * len(prices), [0.0] * len(prices)
        self.time = 0

    def quote(self):
        """Index of the next price."""
        self.time += 1
        if 0 in self.pulls:
            return self.pulls.index(0)
        explore = 2 * math.log(self.time)
        index = [s / n + math.sqrt(explore / n) for s, n in zip(self.sums, self.pulls, strict=True)]
        return index.index(max(index))

    def observe(self, action, demand):
        """Learn from a sale."""
        self.pulls[action] += 1
        self.sums[action] += demand * self.prices[action] / self.prices[-1]


def timed(calls):
    """Times of the calls of a generator, in seconds."""
    times, before = [], time.perf_counter()
    for _ in calls:
        now = time.perf_counter()
        times.append(now - before)
        before = now
    return np.array(times)


def one_at_a_time(session, count):
    """Times of `count` quotes and of `count` sales."""
    for number in range(50):  # compiles
        session.observe(session.quote(number % session.products).id, number % 2)
    quotes, sales = [], []
    for number in range(count):
        start = time.perf_counter()
        quote = session.quote(number % session.products)
        middle = time.perf_counter()
        session.observe(quote.id, number % 2)
        quotes.append(middle - start)
        sales.append(time.perf_counter() - middle)
    return np.array(quotes), np.array(sales)


def plain(prices, count):
    """The same for `PlainUCB`."""
    seller, quotes, sales = PlainUCB(prices), [], []
    for number in range(count):
        start = time.perf_counter()
        action = seller.quote()
        middle = time.perf_counter()
        seller.observe(action, number % 2)
        quotes.append(middle - start)
        sales.append(time.perf_counter() - middle)
    return np.array(quotes), np.array(sales)


def in_arrays(session, repeats):
    """Median times of a quote and of a sale of every product, in seconds."""
    products, quotes, sales = np.arange(session.products), [], []
    for _ in range(repeats + 2):
        start = time.perf_counter()
        made = session.quote_many(products)
        middle = time.perf_counter()
        session.observe_many(made.id, made.id % 2)
        quotes.append(middle - start)
        sales.append(time.perf_counter() - middle)
    return np.median(quotes[2:]), np.median(sales[2:])


def measure(options):
    """All numbers -> `(rows of single calls, rows of arrays, the cold start)`."""
    env, params = jaxprice.make("PostedPrice", num_prices=options.prices)
    problem = env.problem(params).with_observation(env.reset_env(jax.random.key(0), params)[0])
    policy = getattr(policies, options.policy)()
    single, arrays, start = [], [], {}

    def told(name, quotes, sales):
        micro = {"p50": np.quantile(quotes, 0.5), "p99": np.quantile(quotes, 0.99), "observe p50": np.quantile(sales, 0.5)}
        single.append({"run": name} | {key: round(value * 1e6, 1) for key, value in micro.items()})

    with tempfile.TemporaryDirectory() as folder:
        told("plain Python UCB", *plain(problem.prices.tolist(), options.quotes))
        for sync in (None, "off", "normal", "full"):
            path = None if sync is None else Path(folder) / f"one-{sync}"
            name = "no journal" if sync is None else f"journal, sync={sync}"
            with live.Session(policy, problem, path, products=100, sync=sync or "off") as session:
                told(name, *one_at_a_time(session, options.quotes))
            path = None if sync is None else Path(folder) / f"many-{sync}"
            with live.Session(policy, problem, path, products=options.products, sync=sync or "off") as session:
                quote, sale = in_arrays(session, options.repeats)
            arrays.append(
                {"run": name, "quotes/s": round(options.products / quote), "sales/s": round(options.products / sale)}
            )
        path = Path(folder) / "start"
        session = live.Session(policy, problem, path, products=options.many, sync="off")
        session.quote_many(np.arange(options.many))
        start["bytes per product"] = round(session.nbytes / options.many, 1)
        session.close()
        start["journal, MB"] = round(path.stat().st_size / 1e6, 1)
        before = time.perf_counter()
        session = live.Session.open(path, policy, problem, sync="off")
        start["open, s"] = round(time.perf_counter() - before, 2)
        before = time.perf_counter()
        session.quote(0)
        start["first quote, s"] = round(time.perf_counter() - before, 2)
        session.close()
    return single, arrays, start


def show(title, rows, console):
    """Print rows with the same keys as a table."""
    table = Table(title=title, title_justify="left")
    for name in rows[0]:
        table.add_column(name, justify="left" if name == "run" else "right")
    for row in rows:
        table.add_row(*(f"{value:,}" if not isinstance(value, str) else value for value in row.values()))
    console.print(table)


def main(options):
    """Measure, print, and write what was asked for."""
    single, arrays, start = measure(options)
    console = Console()
    show(f"one quote of {options.policy}, microseconds", single, console)
    show(f"{options.products:,} products in arrays", arrays, console)
    show(f"{options.many:,} products", [start], console)
    if options.out is not None:
        content = {
            "options": dataclasses.asdict(options) | {"out": None},
            "single": single,
            "arrays": arrays,
            "start": start,
        }
        options.out.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    command.run(main, Options)
