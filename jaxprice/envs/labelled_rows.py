"""A classification table as a bandit: the context is a row, an arm is a label, and the right label pays.

In every period a row is drawn with replacement from a table of R rows; the seller sees its features x and chooses a label k:

    reward 1 with probability `hit` if k is the label of the row, otherwise with probability `miss`.

With hit = 1 and miss = 0 this is the usual reduction of classification, in which a policy's regret is its number of wrong
rows. The oracle knows the label; a model of x may not reach it.

Tables: arrays of the user, one of the data sets of scikit-learn, or rows drawn around a centre for each label. Features are
centred and divided by their standard deviation and by sqrt(d), so that |x|^2 is 1 on average; constant features are left
out. With `intercept` a constant 1 is the first entry.

| data | rows | features that vary | labels |
|---|---|---|---|
| "digits" | 1797 | 61 | 10 |
| "breast_cancer" | 569 | 30 | 2 |
| "wine" | 178 | 13 | 3 |

Sources: A. Bietti, A. Agarwal, J. Langford (2021), "A contextual bandit bake-off", arXiv:1802.04064; C. Riquelme, G. Tucker,
J. Snoek (2018), "Deep Bayesian bandits showdown", arXiv:1802.09127.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.typing import ArrayLike

from jaxprice import checks, noise, rules
from jaxprice.environment import Environment
from jaxprice.envs.market import ContextualMarket
from jaxprice.envs.options import market, option, periods, share, switch, whole
from jaxprice.types import Problem

DATA = ("digits", "breast_cancer", "wine")
SPREAD = 0.5  # standard deviation of drawn rows around the centre of their label


@struct.dataclass
class Params:
    """One table.

    Attributes:
      rows: contexts, float `[R, d]`.
      labels: int `[R]`.
      hit, miss: probability that the right label pays, and that a wrong label pays.
      prices, cost: ones `[num_arms]`, and zero.
      max_steps_in_episode: horizon.
    """

    rows: ArrayLike
    labels: ArrayLike
    hit: ArrayLike
    miss: ArrayLike
    prices: ArrayLike
    cost: ArrayLike
    max_steps_in_episode: ArrayLike


@struct.dataclass
class State:
    """Number of periods played and label of the row, int scalars; and its features, float `[d]`."""

    time: jax.Array
    label: jax.Array
    context: jax.Array


@market(
    kind="bandit",
    what="a classification table, a label an arm; sets of scikit-learn or arrays of one's own",
    paper="Bietti, Agarwal and Langford (2021)",
    oracle="the label of the row",
    merit="regret, % of a random arm's",
)
@dataclasses.dataclass(frozen=True)
class LabelledRows(ContextualMarket):
    """Labels as arms; see the module.

    Observation: share of the horizon passed, last price (always 1), last reward, context; float `[3 + d]`.
    Action: index of a label, int scalar.
    Reward: 0 or 1, float scalar.
    Oracle: the label of the row.

    Tables drawn by `sample_params` have centres N(0, I / d) for each label and rows N(centre, SPREAD^2 I / d).

    Attributes:
      num_rows, num_features: R and d, including the constant if there is one.
    """

    num_rows: int = 300
    num_features: int = 5
    num_arms: int = option(3, "number of labels", whole)
    intercept: bool = option(True, "whether contexts have a constant 1 in front", switch)
    hit: float = option(1.0, "probability that the right label pays", share)
    miss: float = option(0.0, "probability that a wrong label pays, below `hit`", share)
    horizon: int = periods(2000)

    def check_options(self):
        checks.fits(num_arms=self.num_arms, num_features=self.num_features)
        if not self.miss < self.hit:
            raise ValueError(f"miss must be below hit, got miss={self.miss!r} and hit={self.hit!r}")

    @classmethod
    def make(cls, data=None, *, features=None, labels=None, num_arms=None, intercept=True, **choices):
        """A bandit over a table and its params.

        Args:
          data: "digits", "breast_cancer" or "wine", which need scikit-learn.
          features: your own table, `[R, d]`, with `labels`; without these and without data, rows are drawn around three
            centres.
          labels: labels of its rows, integers from 0, `[R]`.
          num_arms: number of labels; by default the largest label plus one.
          intercept: whether a constant 1 is the first entry of contexts.
          **choices: fields of the class.

        Raises:
          ValueError: unknown data, both data and a table, a table of wrong shapes, numbers out of range.
          ImportError: scikit-learn is not installed.
        """
        switch("intercept", intercept)
        if (features is None) != (labels is None):
            raise ValueError("features and labels make up a table together: give both or neither")
        if data is not None:
            if features is not None:
                raise ValueError(f"data={data!r} is a table of its own: leave out features and labels")
            features, labels = load(data)
        if features is None:
            env = cls(
                num_arms=3 if num_arms is None else num_arms, num_features=4 + intercept, intercept=intercept, **choices
            )
            return env, env.default_params()
        features = checks.array("features", features, (None, None))
        labels = checks.array("labels", labels, (len(features),), low=0)
        if np.any(labels != np.round(labels)):
            raise ValueError(f"labels must be integers of at least 0, one a row, got {labels.min():g} to {labels.max():g}")
        arms = int(labels.max()) + 1 if num_arms is None else whole("num_arms", num_arms)
        if labels.max() >= arms:
            raise ValueError(f"num_arms must be above the largest label {labels.max():g}, got {arms}")
        rows = standard(features, intercept)
        env = cls(len(rows), rows.shape[1], arms, intercept, **choices)
        return env, env.params_of(rows, labels.astype(np.int32))

    @property
    def num_actions(self):
        return self.num_arms

    def default_params(self):
        return jax.tree.map(np.asarray, jax.jit(self.sample_params)(jax.random.key(0)))

    def params_of(self, rows, labels):
        """Params with the given table."""
        return Params(
            rows=rows,
            labels=labels,
            hit=np.float32(self.hit),
            miss=np.float32(self.miss),
            prices=np.ones(self.num_arms, np.float32),
            cost=np.float32(0),
            max_steps_in_episode=np.int32(self.horizon),
        )

    def sample_params(self, key):
        free = self.num_features - self.intercept
        of_centres, of_labels, of_rows = jax.random.split(key, 3)
        centres = jax.random.normal(of_centres, (self.num_arms, free), jnp.float32)
        labels = jax.random.randint(of_labels, (self.num_rows,), 0, self.num_arms, jnp.int32)
        around = SPREAD * jax.random.normal(of_rows, (self.num_rows, free), jnp.float32)
        rows = (centres[labels] + around) * np.float32(free**-0.5)
        if self.intercept:
            rows = jnp.concatenate([jnp.ones((self.num_rows, 1), jnp.float32), rows], axis=1)
        return self.params_of(rows, labels)

    def rules(self, params):
        yield from super().rules(params)
        yield from rules.above(params, 0, "prices")
        yield from rules.at_least(params, 0, "cost")
        yield from rules.shares(params, "hit", "miss")
        yield "hit miss", params.miss < params.hit, "miss below hit"
        known = (params.labels >= 0) & (params.labels < self.num_arms)
        yield "labels", known, f"labels in [0, {self.num_arms})"

    def problem(self, params):
        return Problem.of(
            params,
            prices=np.ones(self.num_arms, np.float32),  # concrete before tracing: policies use this
            noise_scale=np.float32(0.5),
            context_size=self.num_features,
        )

    def start(self, key, params):
        return self._fresh(key, jnp.int32(0), params)

    def move(self, key, state, params):
        return self._fresh(key, state.time, params)

    def _fresh(self, key, time, params):
        row = jax.random.randint(key, (), 0, self.num_rows, jnp.int32)
        return State(time, jnp.asarray(params.labels)[row], jnp.asarray(params.rows)[row])

    def table(self, params, state: Any = None):
        right = jnp.arange(self.num_arms, dtype=jnp.int32) == state.label
        return jnp.where(right, params.hit, params.miss)

    believed = Environment.believed  # none: the features of a row do not determine its label

    def draw(self, key, action, mean, params):
        return noise.draw(key, mean, "bernoulli")


def load(name):
    """`(features [R, d], labels [R])` of a data set of scikit-learn, as NumPy arrays.

    Raises:
      ValueError: an unknown name.
      ImportError: scikit-learn is not installed.
    """
    checks.choice("data", name, DATA)
    try:
        from sklearn import datasets
    except ImportError as error:
        raise ImportError(f'data={name!r} needs scikit-learn: pip install "jaxprice[benchmarks]"') from error
    found = getattr(datasets, f"load_{name}")()
    return np.asarray(found.data, float), np.asarray(found.target)


def standard(features, intercept=True):
    """Features in the form of contexts, see the module; float32 `[R, d]`."""
    features = np.asarray(features, float)
    spread, size = features.std(axis=0), np.abs(features).max(axis=0)
    kept = features[:, spread > 1e-6 * size]  # constants have deviations of the size of rounding errors
    if not kept.size:
        raise ValueError(f"features must vary over the rows, got {features.shape[1]} that are constant")
    rows = (kept - kept.mean(axis=0)) / kept.std(axis=0) / np.sqrt(max(kept.shape[1], 1))
    return np.column_stack([np.ones(len(rows)), rows] if intercept else [rows]).astype(np.float32)
