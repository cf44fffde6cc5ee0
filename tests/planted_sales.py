"""Sales logs whose demand is known, for the tests of what is fitted to them."""

import numpy as np
import pandas as pd


def shop(
    seed=0,
    products=40,
    weeks=52,
    households=400,
    weekly=5.0,
    slope=-2.0,
    slope_sd=0.8,
    moving=0.15,
    promotion=None,
    visits_a_week=200,
):
    """Rows of a shop's log, one a product and basket, and the true (a, b) of each product `[G, 2]`.

    In each week `visits_a_week` visits of random households meet the price of each product, whose logarithm is normal around
    the usual price with standard deviation `moving` and is redrawn in each week. A visit buys Poisson(exp(a + b log(p /
    usual) + promotion * shown)) units. `weekly` is the mean number of units of a product in a week at the usual price.
    """
    rng = np.random.default_rng(seed)
    usual = np.exp(rng.normal(1.0, 0.5, products))
    truth = np.stack(
        [
            np.log(weekly / visits_a_week) + 0.3 * rng.normal(size=products),
            slope + slope_sd * rng.normal(size=products),
        ],
        1,
    )
    ratio = np.exp(moving * rng.normal(size=(products, weeks)))
    shown = (ratio < 0.9) & (rng.uniform(size=ratio.shape) < 0.8)
    rate = np.exp(truth[:, :1] + truth[:, 1:] * np.log(ratio) + (promotion or 0.0) * shown)
    house = rng.integers(0, households, (weeks, visits_a_week))
    units = rng.poisson(np.broadcast_to(rate[:, :, None], (products, weeks, visits_a_week)))
    g, t, v = np.nonzero(units)
    frame = pd.DataFrame(
        {
            "time": np.datetime64("2024-01-01", "us")
            + t * np.timedelta64(7, "D")
            + rng.integers(0, 7, len(t)) * np.timedelta64(1, "D"),
            "product": np.char.add("p", np.char.zfill(g.astype(str), 3)),
            "customer": house[t, v],
            "basket": t * visits_a_week + v,
            "units": units[g, t, v].astype(float),
            "posted_price": usual[g] * ratio[g, t],
            "shown": shown[g, t].astype(float),
        }
    )
    frame = frame.sort_values(["time", "basket"], kind="stable").reset_index(drop=True)
    prices = pd.DataFrame(
        {
            "time": np.tile(np.datetime64("2024-01-01") + np.arange(weeks) * np.timedelta64(7, "D"), products),
            "product": np.repeat(np.unique(frame["product"]), weeks)
            if len(np.unique(frame["product"])) == products
            else None,
            "price": (usual[:, None] * ratio).ravel(),
            "shown": shown.ravel().astype(float),
        }
    )
    traffic = pd.DataFrame({"time": prices["time"][:weeks], "visits": float(visits_a_week)})
    return frame, truth, prices, traffic
