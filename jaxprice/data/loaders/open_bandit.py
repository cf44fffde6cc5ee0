"""Open Bandit, the small one: 10,000 shown items a campaign and logging policy, with propensity and click. NO prices.

A fashion shop showed three items at a time, chosen at random or by Bernoulli Thompson sampling. It is a log for checking
estimators of off-policy evaluation, not for prices. The propensity of Thompson sampling was counted in simulations.

Source: Saito, Aihara, Matsutani and Narita (2021), arXiv:2008.07146; package obp (Apache-2.0).
"""

from pathlib import Path

from jaxprice import checks
from jaxprice.data import frames
from jaxprice.data.frames import Frame
from jaxprice.data.loaders.found import locate


def open_bandit(campaign: str = "all", policy: str = "random", path: str | Path | None = None) -> Frame:
    """The log of a campaign, in order of time.

    Args:
      campaign: "all", "men" or "women".
      policy: that chose the items, "random" or "bts" (Bernoulli Thompson sampling).
      path: of the CSV file; None for the package obp.

    Returns:
      `time` (UTC), `item` (0, 1, ...), `position` (0, 1, 2: left, centre, right), `click` (0 or 1), `propensity`, and what
      is known of the buyer, `user_feature_0..3`.

    Raises:
      FileNotFoundError: the package is not installed.
      ValueError: there is no such campaign or policy, no file at `path`, it lacks columns, or a propensity is not in (0, 1].
    """
    pandas = frames.pandas()

    checks.choice("campaign", campaign, ("all", "men", "women"))
    checks.choice("policy", policy, ("random", "bts"))
    file = locate("obp", f"dataset/obd/{policy}/{campaign}/{campaign}.csv", path, install="pip install --no-deps obp")
    columns = {"timestamp": "time", "item_id": "item", "position": "position", "click": "click"}
    columns |= {"propensity_score": "propensity"} | {f"user_feature_{k}": f"user_feature_{k}" for k in range(4)}
    present = pandas.read_csv(file, nrows=0).columns
    lacking = [column for column in columns if column not in present]
    if lacking:
        raise ValueError(f"{file} is not a log of Open Bandit: it lacks {', '.join(lacking)}")
    table = pandas.read_csv(file, usecols=list(columns))[list(columns)].rename(columns=columns)
    table["time"] = pandas.to_datetime(table["time"], format="ISO8601", utc=True).dt.tz_localize(None)
    table["position"] -= table["position"].min()
    wrong = ~((table["propensity"] > 0) & (table["propensity"] <= 1))
    if wrong.any():
        rows = table.index[wrong].tolist()
        raise ValueError(f"column 'propensity_score' must be in (0, 1], but {len(rows)} are not, as in rows {rows[:3]}")
    return table.sort_values("time", kind="stable").reset_index(drop=True)
