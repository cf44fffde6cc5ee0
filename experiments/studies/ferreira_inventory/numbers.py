"""Numbers for comparison in the study of Ferreira, Simchi-Levi and Wang (2018), which prints none.

`STORED` has means and standard errors of the 500 runs of each case in the files of an independent replication
(github.com/Sitadhalur/TS-reproduction, `results/*.pkl`, the revenues of each run, read in November 2026). The table of its
report has other numbers for the seasons in between (TS-fixed, alpha = .25: 97.77 at T = 1000, while the runs have 96.52),
whose runs are not available; it is not used. `CHECKED` and `TOLD` come from a re-run with other code.
"""

import math

SEASONS = (500, 1000, 2000, 5000, 10_000)
STORED = {  # percent of the fluid bound for `SEASONS`: means of the replication's 500 stored runs, and their standard errors
    "alpha 0.25": {
        "TS-update": ((98.460, 99.299, 99.619, 99.881, 99.927), (0.0601, 0.0326, 0.0209, 0.0117, 0.0079)),
        "TS-fixed": ((93.928, 96.520, 97.741, 98.646, 99.198), (0.2154, 0.1398, 0.1017, 0.0660, 0.0413)),
        "BZ": ((78.836, 82.618, 87.452, 91.471, 93.674), (0.6946, 0.6040, 0.4974, 0.3760, 0.2783)),
        "Thompson, stock ignored": ((78.049, 76.763, 75.814, 75.040, 74.634), (0.1248, 0.1104, 0.0723, 0.0369, 0.0274)),
    },
    "alpha 0.5": {
        "TS-update": ((98.339, 99.126, 99.523, 99.784, 99.875), (0.0573, 0.0335, 0.0225, 0.0132, 0.0088)),
        "TS-fixed": ((94.732, 96.790, 98.107, 98.956, 99.370), (0.1287, 0.0939, 0.0648, 0.0385, 0.0247)),
        "BZ": ((88.735, 91.583, 94.443, 95.931, 97.127), (0.4655, 0.3558, 0.2373, 0.1890, 0.1378)),
        "Thompson, stock ignored": ((86.509, 85.401, 84.545, 83.974, 83.692), (0.1138, 0.0957, 0.0522, 0.0220, 0.0158)),
    },
    "linear": {
        "TS-update": ((97.786, 98.840, 99.381, 99.740, 99.861), (0.0230, 0.0131, 0.0067, 0.0025, 0.0015)),
        "TS-fixed": ((97.839, 98.743, 99.217, 99.539, 99.629), (0.0413, 0.0320, 0.0291, 0.0232, 0.0193)),
        "BZ": ((76.429, 81.863, 85.378, 88.984, 90.959), (0.2966, 0.2549, 0.2221, 0.1743, 0.1570)),
    },
    "exponential": {
        "TS-update": ((96.394, 97.595, 98.660, 99.405, 99.647), (0.1243, 0.0856, 0.0541, 0.0325, 0.0224)),
        "TS-fixed": ((94.737, 96.499, 97.843, 98.917, 99.352), (0.1330, 0.0968, 0.0596, 0.0392, 0.0244)),
        "BZ": ((88.829, 91.029, 92.966, 94.962, 96.482), (0.2949, 0.2442, 0.2171, 0.1528, 0.1107)),
    },
    "logit": {
        "TS-update": ((95.401, 97.041, 98.318, 99.115, 99.498), (0.1321, 0.0910, 0.0592, 0.0397, 0.0276)),
        "TS-fixed": ((94.229, 96.213, 97.799, 98.821, 99.241), (0.1391, 0.0967, 0.0621, 0.0425, 0.0299)),
        "BZ": ((91.127, 92.937, 94.699, 96.123, 96.960), (0.3178, 0.2278, 0.1631, 0.1062, 0.0843)),
    },
}
REPLICATION, RERUN = "500 stored runs of an independent replication", "re-run by other code, 2,000 simulations"
CHECKED = {"TS-update": (98.48, 99.23, 99.66, 99.86, 99.93), "TS-fixed": (94.18, 96.42, 97.78, 98.71, 99.15)}  # alpha = .25
TOLD = {  # the re-run of sellers that are not compared; used in notes
    "demand known, solved once": (96.99, 97.90, 98.52, 99.05, 99.34),
    "demand known, re-solved": (99.68, 99.84, 99.92, 99.97, 99.99),
}
OWN = {("alpha 0.25", "BZ", 500): (84.662, 0.066)}
SAME_RULE = "other code for the same rule, 40,000 simulations"
NOTES = {
    ("alpha 0.25", "BZ"): "the stored runs are what BZ earns with means of a Beta(1, 1) posterior for those of sales, and "
    "prices drawn from the mix: 78.9, 83.5, 87.3 at T = 500, 1,000, 2,000 by other code",
    ("linear", "BZ"): "two price vectors sell alike, so the programme has many optima and ours takes the larger estimate; "
    "with another solver's choice the same rule earns 82.0 +- .2 at T = 1,000, by other code",
}


def beside(market, name, horizon, spread):
    """The comparison numbers of a seller's cell: suffix of the cell's name -> arguments of its `Row`."""
    at, found = SEASONS.index(horizon), {"": {"note": NOTES.get((market, name), "")}}
    if name in STORED[market]:
        numbers, errors = STORED[market][name]
        found[""] |= {"published": numbers[at], "published_se": errors[at], "source": REPLICATION, "kind": "replication"}
    if market == "alpha 0.25" and name in CHECKED:
        error = spread / math.sqrt(2000)
        again = {"published": CHECKED[name][at], "published_se": error, "source": RERUN, "kind": "own"}
        found[", against the re-run"] = again
    if market == "alpha 0.25" and name in TOLD:
        found[""]["note"] = f"{TOLD[name][at]:.2f} in a {RERUN}"
    if (market, name, horizon) in OWN:
        number, error = OWN[market, name, horizon]
        found[", against other code"] = {"published": number, "published_se": error, "source": SAME_RULE, "kind": "own"}
    return found
