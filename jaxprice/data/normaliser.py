"""Normalisation that knows the training part only.

    made = Normaliser.fit(parts.train, ["posted_price"], within="product", log=True, clip=True)
    test = made.apply(parts.test)          # log(price / usual price of the product), in standard deviations of training

For a value `x` of group `g`, with `y = log(x)` or `x`,

    z = (clip(y) - centre[g]) / scale,

where `centre` is the mean of `y` in the group, and `scale` the root of the mean squared deviation from the centres, one for
all groups, since a group may have few rows. `clip` moves later values into the range that the group had in training: one
price far outside can wreck a test score. Groups never seen in training take the mean of all training rows, and the range of
all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from jaxprice import checks
from jaxprice.data.frames import Frame


@dataclass(frozen=True, eq=False)
class Normaliser:
    """Made by `Normaliser.fit`.

    Attributes:
      columns: that it normalises.
      within: column of the groups, or None for one group.
      log: whether logarithms are taken first.
      clip: whether values are moved into the range of training.
      centres, lows, highs: column -> frame index group -> value; group None stands for all rows.
      scales: column -> scale.
    """

    columns: tuple[str, ...]
    within: str | None
    log: bool
    clip: bool
    centres: Mapping[str, Mapping]
    lows: Mapping[str, Mapping]
    highs: Mapping[str, Mapping]
    scales: Mapping[str, float]

    @classmethod
    def fit(
        cls,
        train: Frame,
        columns: Sequence[str],
        *,
        within: str | None = None,
        log: bool = False,
        clip: bool = False,
        scale: bool = True,
    ) -> "Normaliser":
        """Learns centres, scales and ranges from the training part.

        Args:
          train: the training part.
          columns: to normalise, of numbers.
          within: column of the groups, such as "product"; None for one group.
          log: take logarithms first; the values must be above 0.
          clip: move values into the range of training.
          scale: divide by the standard deviation; otherwise only centre.

        Raises:
          ValueError: there is no such column, no row, a value is missing or not finite or, with `log`, not above 0, or a
            column does not vary within groups and is to be scaled.
        """
        if isinstance(columns, str) or not list(columns):
            raise ValueError(f"columns must be a list of columns, got {checks.shown(columns)}")
        if not len(train):
            raise ValueError("train has no rows")
        centres, lows, highs, scales = {}, {}, {}, {}
        for column in columns:
            values = _values(train, column, within, log)
            groups = values.groupby(train[within], observed=True) if within is not None else None
            for made, how in ((centres, "mean"), (lows, "min"), (highs, "max")):
                made[column] = {} if groups is None else getattr(groups, how)().to_dict()
                made[column][None] = float(getattr(values, how)())
            middle = values.mean() if groups is None else groups.transform("mean")
            spread = float(np.sqrt(np.mean((values - middle) ** 2)))
            if scale and not spread > 1e-12 * max(1.0, abs(centres[column][None])):
                inside = "" if within is None else f" within {within!r}"
                raise ValueError(f"column {column!r} does not vary{inside} in train: leave it out, or set scale=False")
            scales[column] = spread if scale else 1.0
        return cls(tuple(columns), within, log, clip, centres, lows, highs, scales)

    def apply(self, table: Frame) -> Frame:
        """A copy with normalised columns.

        Raises:
          ValueError: a column is missing, or a value is, or is not finite or, with `log`, not above 0.
        """
        made = {}
        for column in self.columns:
            values = _values(table, column, self.within, self.log).to_numpy()
            if self.clip:
                values = np.clip(values, self._of(self.lows, column, table), self._of(self.highs, column, table))
            made[column] = (values - self._of(self.centres, column, table)) / self.scales[column]
        return table.assign(**made)

    def invert(self, table: Frame) -> Frame:
        """A copy in the original units. What was clipped stays clipped."""
        made = {}
        for column in self.columns:
            values = table[column].to_numpy(float) * self.scales[column] + self._of(self.centres, column, table)
            made[column] = np.exp(values) if self.log else values
        return table.assign(**made)

    def _of(self, known, column, table):
        """`[rows]`, the value of each row's group."""
        if self.within is None:
            return np.full(len(table), known[column][None])
        found = table[self.within].map({name: value for name, value in known[column].items() if name is not None})
        found = found.to_numpy(float)
        return np.where(np.isnan(found), known[column][None], found)


def _values(table, column, within, log):
    for name in (column, *([] if within is None else [within])):
        if name not in table:
            raise ValueError(f"table has no column {name!r} (columns: {', '.join(map(str, table.columns))})")
    values = table[column].astype("float64")
    wrong = ~np.isfinite(values.to_numpy()) | (log & ~(values.to_numpy() > 0))
    if wrong.any():
        rows = np.flatnonzero(wrong)
        allowed = "finite and above 0, for the logarithm" if log else "finite"
        shown = [float(values.iloc[row]) for row in rows[:3]]
        raise ValueError(f"column {column!r} must be {allowed}, got {shown} in {len(rows)} rows, as in {rows[:3].tolist()}")
    return np.log(values) if log else values
