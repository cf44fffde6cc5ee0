"""Options of the command: what can be chosen, checked before anything is read, and the source that they name."""

import dataclasses
from pathlib import Path
from typing import Any, Literal, NamedTuple

from experiments.from_logs import sources
from jaxprice import checks, data


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
    """Columns of your file (or of --promotion-table) with 0 and 1, or shares, that move demand, such as display."""
    promotion_table: Path | None = None
    """A CSV file with columns time, product and the promotions: a calendar, in place of what the rows of sales say."""
    visits: Path | None = None
    """A CSV file with columns time, visits (and product, if they differ): visitors, whether they bought or not."""
    currency: str = ""
    """Currency of the money in your file, or the one to convert it into."""
    rates: tuple[str, ...] = ()
    """Value of one unit of each other currency, such as CHF=1.05; needs a column: --columns currency=money."""
    excluded: tuple[str, ...] = ()
    """Rows to leave out, by the value of a column, such as department=FUEL; for what is not sold by the piece."""
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
    names = "columns", "promotions", "promotion_table", "visits", "currency", "rates", "excluded"
    given = [name.replace("_", "-") for name in names if getattr(options, name)]
    if not own and given:
        raise ValueError(f"option {given[0]} is for a file of your own: give it as --path, without --data")
    for option, example in (("columns", "time=date"), ("rates", "CHF=1.05"), ("excluded", "department=FUEL")):
        pairs_of(option, getattr(options, option), example)
    rates_of(options.rates)
    if options.promotion_table is not None and not options.promotions:
        raise ValueError("promotions must name columns of promotion-table, got none")


def pairs_of(option, texts, example):
    """`(name, value)` of texts such as `name=value`.

    Raises:
      ValueError: a text is no such pair.
    """
    pairs = [tuple(text.partition("=")[::2]) for text in texts]
    for (name, value), text in zip(pairs, texts, strict=True):
        if not (name and value):
            raise ValueError(f"{option} must be pairs such as {example}, got {text!r}")
    return pairs


def rates_of(texts):
    """Currency -> its value, of texts such as `CHF=1.05`.

    Raises:
      ValueError: a value is not a number above 0.
    """
    rates = {}
    for name, value in pairs_of("rates", texts, "CHF=1.05"):
        try:
            rates[name] = float(value)
        except ValueError:
            raise ValueError(f"rates must be numbers above 0, such as CHF=1.05, got {name}={value!r}") from None
        checks.positive(f"rates[{name!r}]", rates[name])
    return rates


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
        columns = dict(pairs_of("columns", options.columns, "time=date"))
        more = {"visits": options.visits, "promotion_table": options.promotion_table}
        return sources.own_file(
            options.path,
            columns,
            options.promotions,
            options.cost_share,
            options.period,
            reading_of(options, columns),
            **more,
        )
    except ImportError as error:
        raise ValueError(f"data: {error}; records need the extra data: pip install 'jaxprice[data]'") from error
    except FileNotFoundError as error:
        raise ValueError(f"data: {error}") from error


def reading_of(options, columns):
    """Arguments of `data.read_transactions` besides the columns, a mapping of canonical names."""
    names = "time_format", "tz", "decimal", "unreadable", "currency"
    reading: dict[str, Any] = {name: getattr(options, name) for name in names}
    if options.separator != ",":
        reading["read_options"] = {"sep": options.separator}
    if options.rates:
        reading["rates"] = rates_of(options.rates)
    excluded = {}
    for column, value in pairs_of("excluded", options.excluded, "department=FUEL"):
        excluded.setdefault(column, []).append(value)
    if excluded:
        reading |= {
            "keep": [name for name in excluded if name not in columns],
            "rules": data.standard_rules(excluded=excluded),
        }
    return reading
