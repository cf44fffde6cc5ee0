"""From the estimates of every log to rows, and from the rows to the table of answers.

A row is an estimator, with its interval, for a target in a cell. Over its logs it has

    bias, rmse, sd    of the estimates around the true value, and the standard error of the bias
    mean_se           mean of the standard errors that the estimator states; below sd the interval is too short
    coverage          share of logs whose interval holds the true value, and its standard error
    width             mean width of the interval
    failed            share of logs without an estimate; their intervals count as not holding
    effective         mean effective sample size as a share of the decisions

An interval holds in a row if its coverage is at least .95 minus two standard errors of that many logs.
"""

import math

import numpy as np
from rich.table import Table
from scipy.special import ndtr, ndtri

LEVEL = 0.95
WIDEST = 1.0  # width of an interval in true values beyond which it says nothing
MARKETS = {
    "posted prices": "one product, no features",
    "apple": "calibrated from randomised prices",
    "features": "buyers with features, reward model right",
    "wrong model": "buyers with features, reward model wrong",
    "estimated propensities": "buyers with features, propensities estimated",
    "confounded": "prices followed a shock that the log lacks",
    "drift": "demand drifts",
    "stock": "limited stock, value of a season",
    "any price": "prices from an interval",
}
HEADER = (
    "market",
    "logging",
    "target",
    "estimator",
    "logs",
    "decisions",
    "value",
    "bias",
    "bias_se",
    "rmse",
    "sd",
    "mean_se",
)
HEADER += ("coverage", "coverage_se", "width", "failed", "effective", "holds")


def rows_of(market, logging, decisions, found):
    """Rows of a cell, dicts with the keys `HEADER`; `found` is what `cases.measure` returned."""
    rows = []
    for k, (target, estimator) in enumerate(found["names"].tolist()):
        value, truth, se = (found[name][k].astype(float) for name in ("value", "truth", "se"))
        low, high = found["low"][k].astype(float), found["high"][k].astype(float)
        fine = np.isfinite(value)
        error, logs = (value - truth)[fine], len(value)
        slack = 1e-5 * np.abs(truth)  # of numbers in single precision
        coverage = float(np.mean((low - slack <= truth) & (truth <= high + slack)))
        sd = float(error.std(ddof=1)) if len(error) > 1 else math.nan
        numbers = {
            "value": truth.mean(),
            "bias": error.mean() if len(error) else math.nan,
            "bias_se": sd / math.sqrt(max(len(error), 1)),
            "rmse": math.sqrt(np.mean(error**2)) if len(error) else math.nan,
            "sd": sd,
            "mean_se": _mean(se),
            "coverage": coverage,
            "coverage_se": math.sqrt(coverage * (1 - coverage) / logs),
            "width": _mean(high - low),
            "failed": 1 - float(fine.mean()),
            "effective": _mean(found["effective"][k]),
        }
        told = {"market": market, "logging": logging, "target": target, "estimator": estimator}
        told |= {"logs": logs, "decisions": decisions} | {name: float(x) for name, x in numbers.items()}
        rows.append(told | {"holds": holds(coverage, logs)})
    return rows


def _mean(values):
    """Mean of the finite values; NaN if there are none."""
    values = np.asarray(values, float)
    values = values[np.isfinite(values)]
    return float(values.mean()) if len(values) else math.nan


def holds(coverage, logs, rows=1):
    """Whether a coverage does not contradict .95: at most two standard errors below it, or more for the smallest of many.

    Args:
      coverage: share of `logs`.
      logs: number of logs.
      rows: number of rows of which this is the smallest coverage.
    """
    reach = -float(ndtri(float(ndtr(-2.0)) / rows))
    return coverage >= LEVEL - reach * math.sqrt(LEVEL * (1 - LEVEL) / logs)


def texts(row):
    """A row as texts for the table."""
    return {name: ("" if math.isnan(x) else f"{x:.6g}") if isinstance(x, float) else x for name, x in row.items()} | {
        "holds": "yes" if row["holds"] else "no"
    }


def groups(rows, *keys):
    """Values of the keys -> their rows, in order."""
    found = {}
    for row in rows:
        found.setdefault(tuple(row[key] for key in keys), []).append(row)
    return found


def useful(row):
    """Whether an interval holds and says something: it is no wider than `WIDEST` true values."""
    return row["holds"] and row["width"] <= WIDEST * abs(row["value"])


def narrowest(rows):
    """The row with the narrowest useful interval, or None."""
    return min((row for row in rows if useful(row)), key=lambda row: row["width"], default=None)


def verdicts(rows):
    """For each estimator: a dict with its rows, how many are useful, the smallest coverage, its mean width over the value.

    `always`: the smallest coverage passes the bound for the smallest of that many rows, and no width exceeds `WIDEST`.
    """
    found = []
    for (name,), mine in groups(rows, "estimator").items():
        least = min(row["coverage"] for row in mine)
        widths = [row["width"] / abs(row["value"]) for row in mine]
        told = {"estimator": name, "rows": len(mine), "hold": sum(map(useful, mine)), "least": least}
        always = holds(least, mine[0]["logs"], len(mine)) and max(widths) <= WIDEST
        found.append(told | {"width": float(np.mean(widths)), "always": always})
    return sorted(found, key=lambda one: (not one["always"], -one["hold"] / one["rows"], one["width"]))


def answer(rows):
    """The answer in words: the narrowest interval that holds in all rows, or that none does and which comes nearest.

    Estimators that do not take all targets (replay) are left out.
    """
    found = verdicts(rows)
    most = max(one["rows"] for one in found)
    whole = [one for one in found if one["rows"] == most]
    always = [one for one in whole if one["always"]]
    if always:
        best = min(always, key=lambda one: one["width"])
        return f"**{best['estimator']}** (smallest coverage {best['least']:.1%}, width {best['width']:.0%} of the value)"
    best = max(whole, key=lambda one: (one["hold"], one["least"]))
    if not best["hold"]:
        return f"none, in no row (coverage at most {max(row['coverage'] for row in rows if _says(row)):.1%})"
    return f"none; {best['estimator']} in {best['hold']} of {best['rows']} rows (smallest coverage {best['least']:.1%})"


def _says(row):
    """Whether an interval is narrow enough to say something; if none of a market is, all count."""
    return row["width"] <= WIDEST * abs(row["value"])


def asked(rows):
    """Market, or market and what is asked, -> rows: values after the end of the log are a question of their own."""
    found = {}
    for row in rows:
        later = row["target"].endswith(", next periods")
        found.setdefault(f"{row['market']}, next periods" if later else row["market"], []).append(row)
    return found


def lines_of(rows):
    """Market, logging seller, effective decisions, answer: one line a seller, and one for all sellers of a market."""
    for name, mine in asked(rows).items():
        for (logging,), own in groups(mine, "logging").items():
            shares = [row["effective"] for row in own]
            effective = "" if math.isnan(shares[0]) else f"{min(shares):.1%} to {max(shares):.1%}"
            yield name, logging, effective, answer(own)
        yield name, "all", "", answer(mine)


def show(rows, console):
    """Print which interval holds with each seller of each market."""
    printed = Table(title="narrowest 95 % interval that holds for all targets")
    for column in ("market", "logging seller", "effective decisions", "interval"):
        printed.add_column(column)
    for line in lines_of(rows):
        printed.add_row(*(text.replace("**", "") for text in line))
    console.print(printed)


def markdown(rows, sizes):
    """The answers, and the coverage of every row, in Markdown."""
    bound = LEVEL - 2 * math.sqrt(LEVEL * (1 - LEVEL) / sizes.logs)
    lines = [
        "# Which intervals of off-policy evaluation hold",
        "",
        f"Written by `python -m experiments.ope_coverage`: {sizes.logs:,} logs of {sizes.decisions:,} decisions a cell.",
        "A row is a logging seller, a target and an estimator with its 95 % interval. The interval holds in a row if its",
        f"coverage is at least 95 % minus two standard errors, {bound:.1%}; in several rows, if the smallest coverage meets",
        "the bound for the smallest of so many. An interval that is wider than the true value says nothing and does not",
        "count. Effective decisions: effective sample size of the importance weights, as a share of the decisions.",
        "",
        "| market | logging seller | effective decisions | narrowest interval that holds for all targets |",
        "|---|---|---|---|",
        *("| " + " | ".join(line) + " |" for line in lines_of(rows)),
    ]
    for name, mine in asked(rows).items():
        lines += [
            "",
            f"## {name}",
            "",
            MARKETS[mine[0]["market"]].capitalize() + ".",
            "",
            *_answers(mine),
            "",
            *_coverages(mine),
        ]
    return "\n".join(lines) + "\n"


def _answers(rows):
    """The narrowest interval that holds in each row of a market."""
    lines = ["| logging seller | target | narrowest interval that holds | coverage, % | width, % | effective decisions, % |"]
    lines.append("|---" * 6 + "|")
    for (logging, target), mine in groups(rows, "logging", "target").items():
        best = narrowest(mine)
        effective = "" if math.isnan(mine[0]["effective"]) else f"{mine[0]['effective']:.1%}"
        told = (
            ("none", "", "")
            if best is None
            else (best["estimator"], _coverage(best), f"{best['width'] / best['value']:.0%}")
        )
        lines.append(f"| {logging} | {target} | {' | '.join(told)} | {effective} |".replace("%", ""))
    return lines


def _coverages(rows):
    """Estimators by what they cover: coverage and, in brackets, bias in percent of the value."""
    cells = groups(rows, "logging", "target")
    lines = [
        "Coverage in %, in brackets the bias in % of the value; bold if the interval holds and is no wider than the value.",
        "",
    ]
    lines.append("| estimator | " + " | ".join(f"{logging}: {target}" for logging, target in cells) + " |")
    lines.append("|---" * (len(cells) + 1) + "|")
    for (name,), mine in groups(rows, "estimator").items():
        by_cell = {(row["logging"], row["target"]): row for row in mine}
        lines.append(f"| {name} | " + " | ".join(_entry(by_cell.get(cell)) for cell in cells) + " |")
    return lines


def _coverage(row):
    return f"{100 * row['coverage']:.1f} ± {196 * row['coverage_se']:.1f}"


def _entry(row):
    """Coverage and bias of a row as text."""
    if row is None:
        return ""
    found = f"{100 * row['coverage']:.1f}"
    found = f"**{found}**" if useful(row) else found
    return f"{found} ({100 * row['bias'] / row['value']:+.1f})"
