"""Tables of `deep_rl`: the share of the optimum of every seller on every market, with intervals, as CSV and Markdown."""

import numpy as np

from jaxprice import files, robust_stats, stats

HEADER = (
    "seller", "market", "kind", "runs", "share", "low", "high", "worst", "within_2", "steps", "seconds", "cpu_seconds"
)  # fmt: skip
ALL = "all"
NEAR = 0.98  # within two percent of the optimum


def of_runs(seller, market, kind, shares, cell=None):
    """A row of trained runs: interquartile mean with its stratified bootstrap interval.

    Args:
      seller, market, kind: texts.
      shares: `[runs, markets]`.
      cell: of the training, for its steps and seconds.
    """
    found = robust_stats.stratified_bootstrap(robust_stats.interquartile_mean, shares, repeats=2000)
    told = {key: f"{float(cell[key]):.4g}" if cell else "" for key in ("steps", "seconds", "cpu_seconds")}
    numbers = {"share": found.value, "low": found.low, "high": found.high, "worst": np.min(shares)}
    numbers["within_2"] = np.mean(shares >= NEAR)
    return {"seller": seller, "market": market, "kind": kind, "runs": len(shares), **_texts(numbers), **told}


def of_lanes(seller, market, share, error):
    """A row of a seller without training: its share and the 95 % interval over lanes, which is a point if it is exact."""
    low, high = stats.interval(share, error)
    numbers = {"share": share, "low": low, "high": high, "worst": share, "within_2": float(share >= NEAR)}
    told = dict.fromkeys(("steps", "seconds", "cpu_seconds"), "")
    return (
        {"seller": seller, "market": market, "kind": "exact" if error == 0 else "simulated", "runs": 1}
        | _texts(numbers)
        | told
    )


def rows_of(markets, heuristics, learned):
    """All rows.

    Args:
      markets: names.
      heuristics: market -> cell of `heuristics.measured`.
      learned: seller -> market -> cell of `learners.measured`.
    """
    rows = []
    for market in markets:
        cell = heuristics[market]
        for name, share, error in zip(cell["name"], cell["share"], cell["se"], strict=True):
            rows.append(of_lanes(str(name), market, float(share), float(error)))
    return rows + learned_rows(markets, learned)


def learned_rows(markets, learned):
    """Rows of learners on each market, and over all markets for those that play all of them."""
    rows = []
    for seller, cells in learned.items():
        kind = "table" if "curve_share" not in next(iter(cells.values())) else "network"
        rows += [of_runs(seller, market, kind, cell["share"][:, None], cell) for market, cell in cells.items()]
        if set(cells) == set(markets):
            shares = np.stack([cells[market]["share"] for market in markets], axis=1)
            rows.append(of_runs(seller, ALL, kind, shares))
    return rows


def improvements(markets, learned):
    """Rows of the probability that a run of one learner beats a run of another, over all markets, with intervals."""
    whole = {seller: cells for seller, cells in learned.items() if set(cells) == set(markets)}
    shares = {seller: np.stack([cells[m]["share"] for m in markets], axis=1) for seller, cells in whole.items()}
    rows = []
    for one in shares:
        for other in shares:
            if one != other:
                found = robust_stats.stratified_bootstrap(
                    robust_stats.probability_of_improvement, shares[one], shares[other], repeats=1000
                )
                rows.append({"seller": one, "over": other, **_texts(found._asdict())})
    return rows


def write(path, rows):
    """Write rows as CSV, atomically."""
    files.write_csv(path, tuple(rows[0]), rows)


def markdown(rows, markets):
    """A table of sellers by markets in percent of the optimum, with half widths of intervals (or their ends)."""
    kinds = {"network": "deep", "table": "tabular", "exact": "no training", "simulated": "no training"}
    cells = {(row["seller"], row["market"]): row for row in rows}
    columns = (*markets, ALL)
    lines = ["| seller | kind | " + " | ".join(columns) + " |", "| --- " * (len(columns) + 2) + "|"]
    order = sorted({(row["seller"], kinds[row["kind"]]) for row in rows}, key=lambda x: _order(rows, *x))
    for seller, kind in order:
        texts = [shown(cells.get((seller, column))) for column in columns]
        lines.append(f"| {seller} | {kind} | " + " | ".join(texts) + " |")
    return "\n".join(lines) + "\n"


def shown(row):
    """A cell as text: percent of the optimum and the interval; "-" if there is none."""
    if row is None:
        return "-"
    share, low, high = (100 * float(row[name]) for name in ("share", "low", "high"))
    return f"{share:.1f}" if row["kind"] == "exact" else f"{share:.1f} [{low:.1f}, {high:.1f}]"


def _order(rows, seller, kind):
    """Deep learners first, then tables, then the others; each in the order in which they came."""
    place = next(i for i, row in enumerate(rows) if row["seller"] == seller)
    return ("deep", "tabular", "no training").index(kind), place


def _texts(numbers):
    return {name: f"{float(value):.5f}" for name, value in numbers.items()}
