"""Off-policy estimators, one a file. Each maps logs and a target to an `Estimate`, vectorised over leading axes."""

from jaxprice.ope.estimators.clipped_ips import clipped_ips
from jaxprice.ope.estimators.direct_method import direct_method
from jaxprice.ope.estimators.doubly_robust import doubly_robust
from jaxprice.ope.estimators.fitted_q import fitted_q, table_features
from jaxprice.ope.estimators.ips import ips
from jaxprice.ope.estimators.kernel_dr import kernel_dr
from jaxprice.ope.estimators.kernel_ips import kernel_ips
from jaxprice.ope.estimators.marginalised import marginalised
from jaxprice.ope.estimators.per_decision import per_decision
from jaxprice.ope.estimators.replay import replay
from jaxprice.ope.estimators.self_normalised_dr import self_normalised_dr
from jaxprice.ope.estimators.shrunk_dr import shrunk_dr
from jaxprice.ope.estimators.snips import snips
from jaxprice.ope.estimators.switch_dr import switch_dr

__all__ = [
    "clipped_ips",
    "direct_method",
    "doubly_robust",
    "fitted_q",
    "ips",
    "kernel_dr",
    "kernel_ips",
    "marginalised",
    "per_decision",
    "replay",
    "self_normalised_dr",
    "shrunk_dr",
    "snips",
    "switch_dr",
    "table_features",
]
