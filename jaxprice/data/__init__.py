"""Real purchase data: choice models by maximum likelihood, and the markets calibrated with them.

The package contains fitted parameters only; it needs no data set at run time. `load("apple")` returns a `Calibration`,
`names()` lists them, and `experiments/fits/calibrate.py` refits them from the original data.
"""

from jaxprice.data.calibrated import Calibration, load, names
from jaxprice.data.discrete_choice import Fit, fit_binary_logit, fit_multinomial_logit, own_price_curve

__all__ = ["Calibration", "Fit", "fit_binary_logit", "fit_multinomial_logit", "load", "names", "own_price_curve"]
