"""What the command prints."""

import math

import numpy as np
from rich.table import Table

Z = 1.96  # standard errors on either side of a 95 % interval


def cleaned(report):
    """Rows of the report that say something."""
    told = report[(report["rows"] > 0)]
    return [(row.rule, f"{row.rows:,}", f"{row.left:,}", row.done[:60]) for row in told.itertuples()]


def show_products(console, fit, best, names, source):
    """Print slopes and best prices of some products, and how many intervals hold the truth."""
    rows = []
    true = None if source.truth is None else source.truth.coefficients[:, 1]
    for name in names:
        i, one = fit.row(name), best[name]
        row = [f"{name}", f"{fit.usual[i]:.2f}", f"{fit.slopes[i]:.2f} ± {Z * fit.slope_errors[i]:.2f}"]
        row += [] if true is None else [f"{true[source.truth.rows([name])[0]]:.2f}"]
        rows.append(
            [*row, f"{one.price:.2f}", f"{one.low:.2f} to {one.high:.2f}", "end of the prices seen" if one.at_end else ""]
        )
    heads = ["product", "usual price", "slope", *([] if true is None else ["true slope"]), "best price", "95 % interval", ""]
    show(console, "Products with the largest revenue", heads, rows)
    if true is not None:
        inside = np.abs(fit.slopes - true[source.truth.rows(fit.products)]) <= Z * fit.slope_errors
        console.print(f"{inside.sum()} of {len(inside)} true slopes are inside their 95 % intervals", highlight=False)


def show_rules(console, rules, count, known_law):
    """Print the values of the rules: a row each, a column an estimator; red where the interval does not hold the truth."""
    first, *rest = rules
    names = list(dict.fromkeys(value.rule for value in rest))
    estimators = list(dict.fromkeys(value.estimator for value in rest))
    at = {(value.rule, value.estimator): value for value in rest}
    has_truth = not math.isnan(first.truth)

    def cell(value):
        text = f"{value.value:.1f} ± {Z * value.se:.1f}"
        return text if not has_truth or abs(value.value - value.truth) <= Z * value.se else f"[red]{text}[/red]"

    rows = []
    for name in names:
        several = [at[name, estimator] for estimator in estimators]
        effective = f"{next(value.effective for value in several if not math.isnan(value.effective)):.0f}"
        rows.append([name, effective, *map(cell, several), *([f"{several[0].truth:.1f}"] if has_truth else [])])
    law = "propensities known" if known_law else "propensities estimated: nothing else may move price and demand"
    heads = ["rule", "worth", *estimators, *(["truth"] if has_truth else [])]
    show(console, f"Profit of price rules, % of revenue before, from {count} decisions; {law}", heads, rows)
    told = f"As the shop did: {first.value:.1f} ± {Z * first.se:.1f}. Worth: effective number of decisions."
    console.print(told + (" Red: the interval does not hold the truth." if has_truth else ""), highlight=False)


def show_sellers(console, results, product, sizes):
    """Print the shares of the policies."""
    names = list(next(iter(results.values()))["policy"].values)
    rows = []
    for name in names:
        row = [name]
        for result in results.values():
            last = result.sel(policy=name).isel(time=-1)
            row.append(f"{100 * float(last['share']):.1f} ± {100 * Z * float(last['share_se']):.1f}")
        rows.append(row)
    title = f"Policies in the market of {product}, {sizes.horizon} periods, {sizes.lanes} lanes: % of the optimum"
    show(console, title, ("policy", *results), rows)


def show(console, title, heads, rows):
    """Print a table."""
    printed = Table(title=title, title_justify="left", title_style="bold")
    for k, head in enumerate(heads):
        printed.add_column(head, justify="left" if k == 0 or head in ("done", "estimator", "") else "right")
    for row in rows:
        printed.add_row(*map(str, row))
    console.print(printed)
